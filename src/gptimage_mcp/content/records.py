"""The JSON of what is in the store, the catalogue and the templates.

Resources and tools share it; the field names are those of ``gptimage ... --json``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, TypeAlias

import attrs

import gptimage
from gptimage.config import BadValueError, read_duration
from gptimage.store import Page, Stats
from gptimage_mcp.content.sanitize import redact, strip_invisible


_LONGEST: Final = 300
_BRIEF: Final = 80
_RECORD: Final = (
    "id",
    "created",
    "operation",
    "model",
    "format",
    "width",
    "height",
    "bytes",
    "index",
    "of",
    "cost_usd",
    "cost_is_upper_bound",
    "parent",
    "tags",
    "pinned",
)


_CHOICES: Final = ("replacements", "qualities", "formats", "input_fidelity", "images_per_minute")


def history(page: Page) -> dict[str, Any]:
    """A page of images; the prompts are cut, `get_image_info` has them whole."""
    return {"records": [_record(record) for record in page], "next": page.next}


def listing(page: Page) -> dict[str, Any]:
    """Return a record as short as a choice allows: an assistant pays for each word."""
    return {"records": [brief_record(record) for record in page], "next": page.next}


def stats(name: str, stats: Stats) -> dict[str, Any]:
    """Return what is in a store."""
    plain = ("images", "bytes", "inputs", "input_bytes", "unknown_cost", "pinned")
    return {
        "store": name,
        **{field: getattr(stats, field) for field in plain},
        "cost_usd": format(stats.cost.usd, "f"),
        "oldest": stats.oldest and stats.oldest.isoformat(),
        "newest": stats.newest and stats.newest.isoformat(),
        **{name: dict(getattr(stats, name)) for name in ("by_model", "by_operation", "by_format")},
    }


def model(spec: gptimage.ModelSpec, catalogue: gptimage.Models, today: date) -> dict[str, Any]:
    """Return a model's facts, with the prices of this day in USD per million tokens."""
    price = spec.price(today)
    return {
        "id": spec.id,
        "default": spec.id == catalogue.default,
        "role": spec.role,
        "state": spec.state(today),
        "released": _day(spec.released),
        "snapshot": spec.snapshot,
        "shutdown": _day(spec.shutdown),
        "sizes": str(spec.sizes),
        **{name: list(getattr(spec, name)) for name in _CHOICES},
        **{name: getattr(spec, name) for name in ("transparent", "complexity", "markup")},
        "price": None if price is None else _price(price),
        "source": spec.source,
        "checked": spec.checked.isoformat(),
    }


def templates(templates: gptimage.PromptTemplates, problem: str | None) -> dict[str, Any]:
    """Every template; the problem is what keeps the folder from being read again."""
    return {
        "templates": [template.describe() for template in templates.values()],
        "problem": problem,
    }


def template(template: gptimage.PromptTemplate) -> dict[str, Any]:
    """Everything about one template, with the JSON Schema of its arguments."""
    return {**template.describe(), "schema": template.schema()}


def in_short(record: gptimage.Record) -> str:
    """An image's facts in one line, without its prompt."""
    pixels = "?" if record.size is None else f"{record.width}x{record.height}"
    facts = [f"{record.created:%Y-%m-%d %H:%M} UTC", f"{pixels} {record.format}", record.model]
    return ", ".join([*facts, *_words(record)])


def _words(record: gptimage.Record) -> Iterable[str]:
    if record.cost_share is not None:
        yield str(record.cost_share)
    yield from (f"#{redact(tag, 40)}" for tag in record.tags[:5])


def _record(record: gptimage.Record) -> Mapping[str, Any]:
    whole = record.to_dict()
    return {
        **{name: whole[name] for name in _RECORD},
        "prompt": strip_invisible(record.prompt, _LONGEST),
        "uri": f"generated-images://{record.id}",
        "path": record.path and str(record.path),
    }


def brief_record(record: gptimage.Record) -> Mapping[str, Any]:
    """Return a saved image in brief."""
    facts = {
        "id": record.id,
        "prompt": _brief(record.prompt, _BRIEF),
        "size": None if record.size is None else f"{record.width}x{record.height}",
        "format": None if record.format == "png" else record.format,
        "tags": [_brief(tag, 20) for tag in record.tags if not tag.startswith("job_")][:3],
    }
    return {name: value for name, value in facts.items() if value}


def _brief(text: str, longest: int) -> str:
    """The beginning of a text, in bytes: of most scripts each letter is paid for."""
    line = " ".join(text.split())
    cut = line.encode("utf-8", "replace")[:longest].decode("utf-8", "ignore")
    return strip_invisible(cut) if cut == line else f"{strip_invisible(cut)}…"


def _day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _price(price: gptimage.Price) -> dict[str, Any]:
    """Money as text, so that no digit is lost, and days as ISO 8601."""
    values = attrs.asdict(price)
    del values["batch"]
    return {name: None if value is None else str(value) for name, value in values.items()}


# Times and lengths of time as tools take them: ``2026-11-20``, ``2026-11-20T08:00Z`` or ``7d``.

Clock: TypeAlias = Callable[[], datetime]
"""Tells the time (UTC)."""


def utc_now() -> datetime:
    """The time of this machine, in UTC; asked where no clock was given."""
    return datetime.now(UTC)


def parse_duration(text: str, field: str) -> timedelta:
    """A length of time such as ``90s``, ``30m``, ``12h``, ``7d`` or ``2w``.

    Raises:
        InvalidRequestError: It is written otherwise; names the field.
    """
    try:
        return read_duration(text.strip())
    except BadValueError:
        raise _refused(text, field, "a length of time such as 90s, 30m, 12h, 7d or 2w") from None


def parse_time(text: str | None, field: str, clock: Clock = utc_now) -> datetime | None:
    """A date, a time, or as long ago as an age says; without a zone it is the server's time.

    Raises:
        InvalidRequestError: It is none of these; names the field.
    """
    if text is None or not text.strip():
        return None
    try:
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError):
        pass
    try:
        return clock() - parse_duration(text, field)
    except (gptimage.InvalidRequestError, OverflowError):
        raise _refused(text, field, "2026-11-20, 2026-11-20T08:00Z, or an age: 7d") from None


def _refused(text: str, field: str, allowed: str) -> gptimage.InvalidRequestError:
    return gptimage.InvalidRequestError(
        f"{field} {redact(text, 60)!r} is not understood", field=field, value=text, allowed=allowed
    )


# Images, history, storage, models and templates as MCP resources.
#
# An image is given byte for byte as it was saved, under its own MIME type. Over stdio one message
# can be too large for the client: TypeScript clients close the connection at 10 MiB, and the server
# is gone for the session. So a larger image is refused there, with the other ways to get it.
# Over HTTP nothing breaks, and every image is given.


def uri_of(image_id: str) -> str:
    """The address of an image."""
    return f"generated-images://{image_id}"
