"""Images as MCP content: the only place that knows its blocks and how big they may be.

A result that shows pixels is a list of blocks: a short JSON text, then one preview per image. It
never has structured content: several clients drop the images of a result that has. Links are
left out unless a setting asks for them: AutoGen refuses a whole result for one, and LangChain
makes an image address of it that other adapters cannot read. A result without pixels is
structured, with the same JSON as text.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread
from attrs import frozen
from mcp_types import (
    Annotations,
    CallToolResult,
    ContentBlock,
    ImageContent,
    ResourceLink,
    TextContent,
)

import gptimage
from gptimage_mcp.config.settings import enabled_tools
from gptimage_mcp.content.errors import make_room, to_tool_error
from gptimage_mcp.content.records import uri_of
from gptimage_mcp.content.sanitize import clean_json, redact, strip_invisible


if TYPE_CHECKING:
    from gptimage_mcp.app import App
    from gptimage_mcp.jobs.job import Job


# The JSON text of results that show images: what was drawn, where it is, what to do next.
#
# Claude Code, Codex and others show text where they show no pixels, so it names file and address.

SANDBOX: Final = "offline sandbox: test images, nothing billed"

_TOKENS: Final = ("input_tokens", "output_tokens", "total_tokens")
_LONGEST: Final = 500
_LONGEST_SPEECH: Final = 4_000
_NEXT: Final = (
    "Tell the person where the file is. view_image shows it larger; edit_image and refine_image "
    "take its id."
)
_NEXT_UNSAVED: Final = (
    "The images are paid but NOT in the store, and these previews may be all the person ever "
    "sees: say so. Do not draw them again. "
)


def completed_summary(app: App, drawn: CompletedCall) -> dict[str, Any]:
    """A finished call."""
    result, turn = drawn.result, drawn.turn
    unsaved = drawn.unsaved is not None
    return {
        "status": "not_saved" if unsaved else "done",
        "handle": drawn.handle,
        "images": [],
        **_others(result.stored[len(result.images) :]),
        "model": redact(result.model, 100),
        "cost_usd": usd(result.cost),
        "usage": _usage(result.usage),
        **_chosen(result.requested, result.effective),
        "cached": result.cached,
        "warnings": _warnings(result.warnings),
        **({} if turn is None else {"revised_prompt": _speech(turn.revised_prompt)}),
        **(_turn(turn) if turn else {}),
        **({"recovery_copies": list(drawn.unsaved.recovery_copies)} if drawn.unsaved else {}),
        **_sandbox(app),
        "next": _NEXT_UNSAVED + make_room(drawn.unsaved) if drawn.unsaved else _NEXT,
    }


def restored_summary(
    app: App, handle: str | None, records: Sequence[gptimage.Record], shown: int
) -> dict[str, Any]:
    """A call of which the records are left; the first so many answer it."""
    first = records[0]
    warnings = dict.fromkeys(warning for record in records for warning in record.warnings)
    return {
        "status": "done",
        "handle": handle,
        "images": [],
        **_others(records[shown:]),
        "model": redact(first.model, 100),
        "cost_usd": usd(first.cost if len(records) == first.batch_count else _together(records)),
        "usage": _usage(first.usage),
        **_chosen(first.requested, first.effective),
        "cached": False,
        "warnings": _warnings(warnings),
        **_sandbox(app),
        "next": _NEXT,
    }


def _others(records: Sequence[gptimage.Record]) -> dict[str, list[str]]:
    """Name the images that were drawn for a call, and are not its answer."""
    return {"others": [record.id for record in records]} if records else {}


def viewed_summary(app: App, record: gptimage.Record) -> dict[str, Any]:
    """One saved image."""
    return {
        "status": "done",
        "images": [],
        "prompt": strip_invisible(record.prompt, _LONGEST),
        "model": redact(record.model, 100),
        "tags": [strip_invisible(tag, 100) for tag in record.tags[:50]],
        "warnings": [],
        **_sandbox(app),
        "next": "get_image_info tells everything about it. " + _NEXT,
    }


def running_summary(app: App, job: Job) -> dict[str, Any]:
    """A call that goes on."""
    progress = job.progress
    then = (
        f"Call view_image with id={job.handle} to wait for the images. Do NOT ask for them again: "
        "they would be paid twice."
    )
    if "view_image" not in enabled_tools(app.settings):
        then = "The same call made again while it runs joins it, and is paid once."
    return {
        "status": "running",
        "handle": job.handle,
        "operation": job.operation,
        "seconds": round(progress.seconds, 1),
        "progress": redact(progress.message, 200),
        "max_cost_usd": None if job.most is None else format(job.most, "f"),
        **_sandbox(app),
        "next": f"It is being drawn, and goes on whatever happens to this call. {then}",
    }


def image_facts(
    image: gptimage.Image | gptimage.Record,
    record: gptimage.Record | None,
    *,
    copy: str | None = None,
    revised_prompt: str | None = None,
) -> dict[str, object]:
    """Return the facts of one image; its bytes are described as they are now."""
    length = image.bytes if isinstance(image, gptimage.Record) else image.nbytes
    return {
        "id": record and record.id,
        "uri": record and uri_of(record.id),
        "path": record and record.path and str(record.path),
        "width": image.width,
        "height": image.height,
        "format": image.format,
        "bytes": length,
        **({} if copy is None else {"saved_to": copy}),
        **({} if revised_prompt is None else {"revised_prompt": _speech(revised_prompt)}),
    }


def preview_text(image: gptimage.Image | None) -> str | None:
    """Return the size and format a model sees, such as ``1568x882 jpeg``; None for nothing."""
    return None if image is None else f"{image.width}x{image.height} {image.format}"


def missing_previews(facts: Iterable[Mapping[str, object]]) -> list[str]:
    """A warning for every image that has no preview."""
    return [_why_no_preview(each) for each in facts if each["preview"] is None]


def usd(cost: gptimage.Cost | None) -> str | None:
    """An amount as text, so that no digit is lost; None when it is not known."""
    return None if cost is None else format(cost.usd, "f")


def _why_no_preview(facts: Mapping[str, object]) -> str:
    name = facts["id"] or "an image"
    if facts["format"] == "svg":
        return f"{name}: an svg is a program and is never run here, so you cannot see it"
    return f"{name}: no preview could be made; the image itself is not changed by that"


def _turn(turn: gptimage.Turn) -> dict[str, object]:
    failed = [
        {"message": redact(each.message, _LONGEST), "code": each.code and redact(each.code, 60)}
        for each in turn.failed[:10]
    ]
    return {
        "response_id": turn.response_id,
        "text": _speech(turn.text),
        "chat_model": redact(turn.chat_model, 100),
        "chat_cost_usd": usd(turn.chat_cost),
        **({"failed": failed} if failed else {}),
    }


def _chosen(
    requested: Mapping[str, object], effective: Mapping[str, object]
) -> dict[str, dict[str, object]]:
    """Return what took effect other than requested, besides size and format, which are shown."""
    others = {
        name: value
        for name in ("quality", "background")
        if (value := effective.get(name)) not in (None, requested.get(name))
    }
    return {"effective": others} if others else {}


def _usage(usage: gptimage.Usage | None) -> dict[str, int] | None:
    if usage is None:
        return None
    # get_image_info tells the parts; what is here is paid for at every turn that follows.
    return {name: getattr(usage, name) for name in _TOKENS}


def _together(records: Sequence[gptimage.Record]) -> gptimage.Cost | None:
    shares = [record.cost_share for record in records]
    known = [share.usd for share in shares if share is not None]
    if len(known) < len(shares):
        return None
    return gptimage.Cost(usd=sum(known, Decimal(0)).quantize(Decimal("1e-9")).normalize())


def _warnings(sentences: Iterable[str]) -> list[str]:
    return [redact(sentence, _LONGEST) for sentence in sentences][:30]


def _speech(text: str | None) -> str | None:
    return text and strip_invisible(text, _LONGEST_SPEECH)


def _sandbox(app: App) -> dict[str, str]:
    return {"sandbox": SANDBOX} if app.settings.sandbox else {}


LARGEST: Final = 900_000
"""Bytes of a whole result as JSON. Claude Desktop and readers of SSE stop at 1 MiB."""

_BLOCK: Final = 150
"""Bytes of a preview's block besides its base64, and of its facts in the JSON."""

_at_once: Final = anyio.CapacityLimiter(min(4, os.cpu_count() or 1))
"""How many results have previews made at a time: each holds its images' pixels meanwhile."""

_logger: Final = logging.getLogger(__name__)


@frozen(kw_only=True)
class CompletedCall:
    """Images a call has drawn.

    Attributes:
        outcome: The images, or the turn of a conversation they belong to.
        handle: The handle of the call, or None.
        copies: Where ``save_to`` wrote each image; empty when it was not asked to.
        unsaved: Why the images are not in the store, or None when they are.
    """

    outcome: gptimage.Result | gptimage.Turn
    handle: str | None = None
    copies: Sequence[Path] = ()
    unsaved: gptimage.StoreError | None = None

    @property
    def turn(self) -> gptimage.Turn | None:
        """The turn of a conversation, or None."""
        return self.outcome if isinstance(self.outcome, gptimage.Turn) else None

    @property
    def result(self) -> gptimage.Result:
        """The images."""
        return self.outcome.result if isinstance(self.outcome, gptimage.Turn) else self.outcome


@frozen(kw_only=True)
class _ImageView:
    """One image of a result.

    Attributes:
        facts: What the JSON says about it.
        record: Its record, or None when it is not in the store.
        image: The image, where it is at hand; else it is read from the store.
    """

    facts: dict[str, object]
    record: gptimage.Record | None
    image: gptimage.Image | None = None


async def job_result(
    app: App,
    job: Job,
    *,
    max_px: int | None = None,
) -> CallToolResult:
    """Return a job's images when it is done, or its handle while it runs.

    Args:
        app: The server.
        job: The job.
        max_px: Long edge of the previews, 0 for none; ``settings.preview_pixels`` when left out.

    Raises:
        ToolError: It has failed.
    """
    if job.state == "running":
        return running(app, job)
    if job.outcome is not None:
        unsaved = job.error if isinstance(job.error, gptimage.StoreError) else None
        shown = CompletedCall(
            outcome=job.outcome, handle=job.handle, copies=job.copies, unsaved=unsaved
        )
        return await completed(app, shown, max_px=max_px)
    if job.records:
        first = len(job.shown)
        return await restored(app, job.handle, job.records, shown=first, max_px=max_px)
    raise to_tool_error(job_error(job)) from job.error


def job_error(job: Job) -> Exception:
    """Return why a job that is over has no images to show."""
    gone = f"the images of {job.handle} are not in the store any more"
    return job.error or gptimage.ImageNotFoundError(gone)


async def completed(app: App, drawn: CompletedCall, *, max_px: int | None = None) -> CallToolResult:
    """A finished call: JSON, and previews.

    Args:
        app: The server.
        drawn: What there is to show.
        max_px: Long edge of the previews, 0 for none; ``settings.preview_pixels`` when left out.
    """
    result = drawn.result
    records = [*result.stored, *[None] * len(result.images)]
    copies = [*map(str, drawn.copies), *[None] * len(result.images)]
    several = len(result.images) > 1  # that of a single image stands for the whole turn
    prompts = drawn.turn.revised_prompts if drawn.turn and several else ()
    views = [
        _ImageView(
            facts=image_facts(image, record, copy=copy, revised_prompt=_at(prompts, place)),
            record=record,
            image=image,
        )
        for place, (image, record, copy) in enumerate(
            zip(result.images, records, copies, strict=False)
        )
    ]
    summary = completed_summary(app, drawn)
    return await _shown(app, summary, views, max_px)


async def restored(
    app: App,
    handle: str | None,
    records: Sequence[gptimage.Record],
    *,
    shown: int | None = None,
    max_px: int | None = None,
) -> CallToolResult:
    """A call of which only the saved images are left, as after a restart of the server."""
    views = [_ImageView(facts=image_facts(each, each), record=each) for each in records[:shown]]
    return await _shown(app, restored_summary(app, handle, records, len(views)), views, max_px)


async def saved_image(
    app: App, record: gptimage.Record, max_px: int | None = None
) -> CallToolResult:
    """Return one saved image, as large as requested and as fits.

    Raises:
        ImageNotFoundError: Its file is gone.
        ImageDecodeError: Its file is no image any more.
        StoreError: The store cannot be read.
    """
    view = _ImageView(facts=image_facts(record, record), record=record)
    return await _shown(app, viewed_summary(app, record), [view], max_px, needed=True)


def running(app: App, job: Job) -> CallToolResult:
    """A call that goes on: its handle, and what to call next. No pixels, nothing structured."""
    return CallToolResult(content=[_text(running_summary(app, job))])


def structured(document: Mapping[str, Any]) -> CallToolResult:
    """Return the result of a tool without pixels: structured, and the same JSON as text."""
    harmless = clean_json(document)
    return CallToolResult(content=[_text(harmless)], structured_content=harmless)


async def _shown(
    app: App,
    summary: dict[str, Any],
    views: Sequence[_ImageView],
    max_px: int | None,
    *,
    needed: bool = False,
) -> CallToolResult:
    """The summary with what it says about each image, and the previews.

    Args:
        app: The server.
        summary: The JSON besides what it says about images.
        views: The images.
        max_px: Long edge of the previews; ``settings.preview_pixels`` when left out.
        needed: Whether a file that cannot be read is an error, and not only a warning.
    """
    _add_links(app, views)
    linked = views if app.settings.links else ()
    links = [_link(each.record) for each in linked if each.record is not None]
    pixels = app.settings.preview_pixels if max_px is None else max_px
    without = _result(summary, views, [None] * len(views), links, shows=pixels != 0)
    if pixels == 0:
        return without
    room = LARGEST - len(without.model_dump_json(by_alias=True, exclude_none=True).encode())
    max_bytes = (room - _BLOCK * len(views)) // 4 * 3
    try:
        small = await anyio.to_thread.run_sync(
            _previews, _loaded(app.store, views, needed), pixels, max_bytes, limiter=_at_once
        )
    except Exception as error:  # a paid image is reported, whatever its preview does
        if needed and isinstance(error, gptimage.GptImageError):
            raise
        _logger.exception("the previews could not be made")
        small = [None] * len(views)
    return _result(summary, views, small, links)


def _add_links(app: App, views: Sequence[_ImageView]) -> None:
    """Name the address of each image that can be fetched without a token, if there are any."""
    if app.settings.link_minutes is None:
        return
    from gptimage_mcp.http.links import link_to  # late: over stdio there are no links

    for each in views:
        if each.record is not None and (link := link_to(each.record.id, app.settings)):
            each.facts["link"] = link


def _previews(
    images: Iterator[gptimage.Image | None], max_px: int, max_bytes: int
) -> Sequence[gptimage.Image | None]:
    from gptimage.image import previews  # late: it needs Pillow

    return previews(images, max_px=max_px, max_bytes=max_bytes)


def _loaded(
    store: gptimage.Store, views: Sequence[_ImageView], needed: bool
) -> Iterator[gptimage.Image | None]:
    """One at a time, so that only one original is read into memory."""
    for view in views:
        if view.image is not None or view.record is None:
            yield view.image
            continue
        try:
            yield store.open(view.record.id)
        except gptimage.GptImageError as error:
            if needed:
                raise
            _logger.warning("an image cannot be shown: %s", redact(str(error), 300))
            yield None


def _result(
    summary: dict[str, Any],
    views: Sequence[_ImageView],
    small: Sequence[gptimage.Image | None],
    links: Sequence[ResourceLink],
    *,
    shows: bool = True,
) -> CallToolResult:
    facts = [
        {**view.facts, **({"preview": preview_text(shown)} if shows else {})}
        for view, shown in zip(views, small, strict=True)
    ]
    warnings = [*summary["warnings"], *(missing_previews(facts) if shows else ())]
    blocks: list[ContentBlock] = [
        _text({**summary, "images": facts, "warnings": warnings}),
        *(_preview(shown) for shown in small if shown is not None),
        *links,
    ]
    return CallToolResult(content=blocks)


def _text(document: Mapping[str, Any]) -> TextContent:
    # Without spaces: the model pays for each of them.
    words = json.dumps(clean_json(document), ensure_ascii=False, separators=(",", ":"))
    return TextContent(text=words)


def _preview(image: gptimage.Image) -> ImageContent:
    import pybase64

    return ImageContent(data=pybase64.b64encode_as_string(image.data), mime_type=image.mime_type)


def _link(record: gptimage.Record) -> ResourceLink:
    """Return the link to the whole image; the audience is left open, so that nobody hides it."""
    return ResourceLink(
        uri=uri_of(record.id),
        name=strip_invisible(record.key.rpartition("/")[2], 300),
        mime_type=record.mime_type,
        size=record.bytes,
        annotations=Annotations(last_modified=record.created.isoformat()),
    )


def _at(several: Sequence[str | None], place: int) -> str | None:
    return several[place] if place < len(several) else None
