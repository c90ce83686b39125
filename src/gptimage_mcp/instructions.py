"""What the server tells every client about itself, built from its real settings."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from gptimage_mcp.app import App
from gptimage_mcp.config.settings import Settings, variable


def instructions(app: App) -> str:
    """A few sentences for the model that will call the tools."""
    return "\n".join((*_ways(app), *_money(app.settings), *_files(app)))


def _ways(app: App) -> Iterator[str]:
    settings = app.settings
    if settings.sandbox:
        yield (
            "SANDBOX: pictures are drawn by an offline imitation. They are test pictures, cost "
            "nothing, and every result says so. Tell the person."
        )
    elif app.client is None:
        yield (
            f"NO API KEY: nothing can be drawn until the person sets {variable('api_key')} where "
            "this server is configured. Everything else works. Never ask for a key in the chat."
        )
    yield (
        "Draws and edits pictures with OpenAI's image models, and keeps every one. New picture: "
        "generate_image. Change one: edit_image, or refine_image to go on in words, turn by turn. "
        "Other versions of one: create_variations. Name pictures by id (img_...)."
    )
    yield (
        f"A call that takes longer than {settings.wait:g} s answers with a handle (job_...), and "
        "goes on: pass it to view_image, which waits. Do not make the call again; it is paid once. "
        "After a timeout, list_images and get_server_status show what came of it."
    )


def _money(settings: Settings) -> Iterator[str]:
    limits = [f"at most {settings.max_images} pictures per call"]
    if settings.max_per_call is not None:
        limits.append(f"{_usd(settings.max_per_call)} per call")
    if settings.max_per_day is not None:
        limits.append(f"{_usd(settings.max_per_day)} per day (UTC)")
    yield f"Limits: {', '.join(limits)}. estimate_cost tells the cost of a call before it is made."
    if settings.confirm_above is not None:
        yield (
            f"Before a call that may cost more than {_usd(settings.confirm_above)} the person is "
            "asked, if the client can ask; if it cannot, the call goes on within the limits."
        )


def _files(app: App) -> Iterator[str]:
    settings = app.settings
    where = [
        *map(str, settings.input_folders),
        *([str(app.store.folder)] if app.store.folder else ()),
    ]
    named = f"in {', '.join(where)}" if where else "nowhere"
    urls = "also by https URL" if settings.fetch_urls else "not by URL"
    yield f"Pictures may be read from files {named}; {urls}."
    if settings.output_folders:
        yield f"save_to may write copies in {', '.join(map(str, settings.output_folders))}."


def _usd(amount: Decimal) -> str:
    return f"${amount:f}"
