"""The JSON text of results that show pictures: what was drawn, where it is, what to do next.

Claude Code, Codex and others show text where they show no pixels, so it names file and address.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import attrs

import gptimage
from gptimage_mcp.content.sanitize import told, visible
from gptimage_mcp.resources import uri_of


if TYPE_CHECKING:
    from gptimage_mcp.app import App
    from gptimage_mcp.content.results import Drawn
    from gptimage_mcp.job import Job

SANDBOX: Final = "drawn by the offline sandbox: test pictures, and nothing was billed"

_LONGEST: Final = 500
_LONGEST_SPEECH: Final = 4_000
_NEXT: Final = (
    "Tell the person where the file is. view_image shows a picture larger; edit_image, "
    "create_variations and refine_image take its id."
)
_NEXT_UNSAVED: Final = (
    "The pictures are paid but NOT in the store, and these previews may be all the person ever "
    "sees: say so. Do not draw them again. The person makes room on the disk of the store and runs "
    "`gptimage rescue`."
)


def drawn(app: App, drawn: Drawn) -> dict[str, Any]:
    """A finished call."""
    result, turn = drawn.result, drawn.turn
    unsaved = drawn.unsaved is not None
    return {
        "status": "not_saved" if unsaved else "done",
        "handle": drawn.handle,
        "images": [],
        "model": told(result.model, 100),
        "cost_usd": usd(result.cost),
        "usage": _usage(result.usage),
        "cached": result.cached,
        "warnings": _warnings([*result.warnings, *drawn.notes]),
        "revised_prompt": _speech(turn.revised_prompt if turn else None),
        **(_turn(turn) if turn else {}),
        **({"rescued": list(drawn.unsaved.rescued)} if drawn.unsaved else {}),
        **_sandbox(app),
        "next": _NEXT_UNSAVED if unsaved else _NEXT,
    }


def recalled(
    app: App, handle: str | None, records: Sequence[gptimage.Record], notes: Iterable[str]
) -> dict[str, Any]:
    """A call of which the records are left."""
    first = records[0]
    warnings = dict.fromkeys(warning for record in records for warning in record.warnings)
    return {
        "status": "done",
        "handle": handle,
        "images": [],
        "model": told(first.model, 100),
        "cost_usd": usd(first.cost if len(records) == first.of else _together(records)),
        "usage": _usage(first.usage),
        "cached": False,
        "warnings": _warnings([*warnings, *notes]),
        "revised_prompt": None,
        **_sandbox(app),
        "next": _NEXT,
    }


def viewed(app: App, record: gptimage.Record) -> dict[str, Any]:
    """One saved picture."""
    return {
        "status": "done",
        "images": [],
        "prompt": visible(record.prompt, _LONGEST),
        "model": told(record.model, 100),
        "tags": [visible(tag, 100) for tag in record.tags[:50]],
        "warnings": [],
        **_sandbox(app),
        "next": "get_image_info tells everything about it. " + _NEXT,
    }


def running(app: App, job: Job) -> dict[str, Any]:
    """A call that goes on."""
    progress = job.progress
    return {
        "status": "running",
        "handle": job.handle,
        "operation": job.operation,
        "seconds": round(progress.seconds, 1),
        "progress": told(progress.message, 200),
        "ceiling_usd": None if job.most is None else format(job.most, "f"),
        **_sandbox(app),
        "next": (
            f"It is being drawn, and goes on whatever happens to this call. Call view_image with "
            f"id={job.handle} to wait for the pictures. Do NOT ask for them again: they would be "
            "paid twice."
        ),
    }


def picture(
    image: gptimage.Image | gptimage.Record,
    record: gptimage.Record | None,
    *,
    copy: str | None = None,
    revised_prompt: str | None = None,
) -> dict[str, object]:
    """What is said of one picture; its bytes are described as they are now."""
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


def preview(image: gptimage.Image | None) -> str | None:
    """What the model sees of a picture, such as ``1568x882 jpeg``; None when it sees nothing."""
    return None if image is None else f"{image.width}x{image.height} {image.format}"


def hidden(facts: Iterable[Mapping[str, object]]) -> list[str]:
    """A warning for every picture that has no preview."""
    return [_why_hidden(each) for each in facts if each["preview"] is None]


def usd(cost: gptimage.Cost | None) -> str | None:
    """An amount as text, so that no digit is lost; None when it is not known."""
    return None if cost is None else format(cost.usd, "f")


def _why_hidden(facts: Mapping[str, object]) -> str:
    name = facts["id"] or "a picture"
    if facts["format"] == "svg":
        return f"{name}: an svg is a program and is never run here, so you cannot see it"
    return f"{name}: no preview could be made; the picture itself is not changed by that"


def _turn(turn: gptimage.Turn) -> dict[str, object]:
    return {
        "response_id": turn.response_id,
        "text": _speech(turn.text),
        "outer_model": told(turn.outer_model, 100),
        "outer_cost_usd": usd(turn.outer_cost),
        "failed": [
            {"message": told(each.message, _LONGEST), "code": each.code and told(each.code, 60)}
            for each in turn.failed[:10]
        ],
    }


def _usage(usage: gptimage.Usage | None) -> dict[str, int] | None:
    if usage is None:
        return None
    return {name: count for name, count in attrs.asdict(usage).items() if count is not None}


def _together(records: Sequence[gptimage.Record]) -> gptimage.Cost | None:
    shares = [record.share for record in records]
    known = [share.usd for share in shares if share is not None]
    if len(known) < len(shares):
        return None
    return gptimage.Cost(usd=sum(known, Decimal(0)).quantize(Decimal("1e-9")).normalize())


def _warnings(sentences: Iterable[str]) -> list[str]:
    return [told(sentence, _LONGEST) for sentence in sentences][:30]


def _speech(text: str | None) -> str | None:
    return text and visible(text, _LONGEST_SPEECH)


def _sandbox(app: App) -> dict[str, str]:
    return {"sandbox": SANDBOX} if app.settings.sandbox else {}
