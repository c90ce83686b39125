"""What a picture becomes on the wire: the only place that knows MCP content and how big it may be.

A result that shows pixels is a list of blocks: a short JSON text, one preview per picture, one
link per picture. It never has structured content: several clients drop the pictures of a result
that has. A result without pixels is structured, with the same JSON as text.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

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
from gptimage_mcp import summaries
from gptimage_mcp.content.errors import failure
from gptimage_mcp.content.sanitize import plain, told, visible
from gptimage_mcp.resources import uri_of


if TYPE_CHECKING:
    from gptimage_mcp.app import App
    from gptimage_mcp.job import Job

__all__ = [
    "LARGEST",
    "Drawn",
    "answered",
    "data",
    "drawn",
    "failure",
    "recalled",
    "running",
    "trouble",
    "viewed",
]

LARGEST: Final = 900_000
"""Bytes of a whole result as JSON. Claude Desktop and readers of SSE stop at 1 MiB."""

_BLOCK: Final = 150
"""Bytes of a preview's block besides its base64, and of what is said about it in the JSON."""

_at_once: Final = anyio.CapacityLimiter(min(4, os.cpu_count() or 1))
"""How many results have previews made at a time: each holds its pictures' pixels meanwhile."""

_logger: Final = logging.getLogger(__name__)


@frozen(kw_only=True)
class Drawn:
    """What a call has drawn.

    Attributes:
        result: The pictures.
        turn: The turn of a conversation they belong to, or None.
        handle: The handle of the call, or None.
        copies: Where ``save_to`` wrote each picture; empty when it was not asked to.
        notes: More warnings for the assistant, one sentence each.
        unsaved: Why the pictures are not in the store, or None when they are.
    """

    result: gptimage.Result
    turn: gptimage.Turn | None = None
    handle: str | None = None
    copies: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    unsaved: gptimage.StoreError | None = None

    @classmethod
    def of(
        cls,
        outcome: gptimage.Result | gptimage.Turn,
        *,
        handle: str | None = None,
        copies: Sequence[Path] = (),
        notes: Sequence[str] = (),
        unsaved: gptimage.StoreError | None = None,
    ) -> Self:
        """What a job's outcome has to show."""
        turn = outcome if isinstance(outcome, gptimage.Turn) else None
        return cls(
            result=outcome.result if isinstance(outcome, gptimage.Turn) else outcome,
            turn=turn,
            handle=handle,
            copies=tuple(copies),
            notes=tuple(notes),
            unsaved=unsaved,
        )


@frozen(kw_only=True)
class _Picture:
    """One picture of a result.

    Attributes:
        facts: What the JSON says about it.
        record: Its record, or None when it is not in the store.
        image: The picture, where it is at hand; else it is read from the store.
    """

    facts: Mapping[str, object]
    record: gptimage.Record | None
    image: gptimage.Image | None = None


async def answered(
    app: App,
    job: Job,
    *,
    notes: Sequence[str] = (),
    max_px: int | None = None,
) -> CallToolResult:
    """How a job is: its pictures when it is done, its handle while it goes on.

    Args:
        app: The server.
        job: The job.
        notes: More warnings for the assistant, one sentence each.
        max_px: Long edge of the previews; ``settings.preview_pixels`` when left out.

    Raises:
        ToolError: It has failed.
    """
    if job.state == "running":
        return running(app, job)
    if job.outcome is not None:
        unsaved = job.error if isinstance(job.error, gptimage.StoreError) else None
        shown = Drawn.of(
            job.outcome, handle=job.handle, copies=job.copies, notes=notes, unsaved=unsaved
        )
        return await drawn(app, shown, max_px=max_px)
    if job.records:
        return await recalled(app, job.handle, job.records, notes=notes, max_px=max_px)
    raise failure(trouble(job)) from job.error


def trouble(job: Job) -> Exception:
    """Why a job that is over has no pictures to show."""
    gone = f"the pictures of {job.handle} are not in the store any more"
    return job.error or gptimage.ImageNotFoundError(gone)


async def drawn(app: App, drawn: Drawn, *, max_px: int | None = None) -> CallToolResult:
    """A finished call: JSON, previews, links.

    Args:
        app: The server.
        drawn: What there is to show.
        max_px: Long edge of the previews; ``settings.preview_pixels`` when left out.
    """
    result = drawn.result
    records = [*result.stored, *[None] * len(result.images)]
    copies = [*map(str, drawn.copies), *[None] * len(result.images)]
    prompts = drawn.turn.revised_prompts if drawn.turn else ()
    pictures = [
        _Picture(
            facts=summaries.picture(image, record, copy=copy, revised_prompt=_at(prompts, place)),
            record=record,
            image=image,
        )
        for place, (image, record, copy) in enumerate(
            zip(result.images, records, copies, strict=False)
        )
    ]
    summary = summaries.drawn(app, drawn)
    return await _shown(app, summary, pictures, max_px)


async def recalled(
    app: App,
    handle: str | None,
    records: Sequence[gptimage.Record],
    *,
    notes: Sequence[str] = (),
    max_px: int | None = None,
) -> CallToolResult:
    """A call of which only the saved pictures are left, as after a restart of the server."""
    pictures = [_Picture(facts=summaries.picture(each, each), record=each) for each in records]
    return await _shown(app, summaries.recalled(app, handle, records, notes), pictures, max_px)


async def viewed(app: App, record: gptimage.Record, max_px: int | None = None) -> CallToolResult:
    """One saved picture, as large as asked for and as fits.

    Raises:
        ImageNotFoundError: Its file is gone.
        ImageDecodeError: Its file is no picture any more.
        StoreError: The store cannot be read.
    """
    picture = _Picture(facts=summaries.picture(record, record), record=record)
    return await _shown(app, summaries.viewed(app, record), [picture], max_px, needed=True)


def running(app: App, job: Job) -> CallToolResult:
    """A call that goes on: its handle, and what to call next. No pixels, nothing structured."""
    return CallToolResult(content=[_text(summaries.running(app, job))])


def data(document: Mapping[str, Any]) -> CallToolResult:
    """The answer of a tool without pixels: structured, and the same JSON as text."""
    harmless = plain(document)
    return CallToolResult(content=[_text(harmless)], structured_content=harmless)


async def _shown(
    app: App,
    summary: dict[str, Any],
    pictures: Sequence[_Picture],
    max_px: int | None,
    *,
    needed: bool = False,
) -> CallToolResult:
    """The summary with what it says about each picture, the previews, the links.

    Args:
        app: The server.
        summary: The JSON besides what it says about pictures.
        pictures: The pictures.
        max_px: Long edge of the previews; ``settings.preview_pixels`` when left out.
        needed: Whether a file that cannot be read is an error, and not only a warning.
    """
    links = [_link(each.record) for each in pictures if each.record is not None]
    without = _result(summary, pictures, [None] * len(pictures), links)
    room = LARGEST - len(without.model_dump_json(by_alias=True, exclude_none=True).encode())
    pixels = app.settings.preview_pixels if max_px is None else max_px
    max_bytes = (room - _BLOCK * len(pictures)) // 4 * 3
    try:
        small = await anyio.to_thread.run_sync(
            _previews, _loaded(app.store, pictures, needed), pixels, max_bytes, limiter=_at_once
        )
    except Exception as error:  # a picture that is paid is told of, whatever its preview does
        if needed and isinstance(error, gptimage.GptImageError):
            raise
        _logger.exception("the previews could not be made")
        small = [None] * len(pictures)
    return _result(summary, pictures, small, links)


def _previews(
    images: Iterator[gptimage.Image | None], max_px: int, max_bytes: int
) -> Sequence[gptimage.Image | None]:
    from gptimage.previews import previews  # late: it needs Pillow

    return previews(images, max_px=max_px, max_bytes=max_bytes)


def _loaded(
    store: gptimage.Store, pictures: Sequence[_Picture], needed: bool
) -> Iterator[gptimage.Image | None]:
    """One at a time, so that only one original is read into memory."""
    for picture in pictures:
        if picture.image is not None or picture.record is None:
            yield picture.image
            continue
        try:
            yield store.open(picture.record.id)
        except gptimage.GptImageError as error:
            if needed:
                raise
            _logger.warning("a picture cannot be shown: %s", told(str(error), 300))
            yield None


def _result(
    summary: dict[str, Any],
    pictures: Sequence[_Picture],
    small: Sequence[gptimage.Image | None],
    links: Sequence[ResourceLink],
) -> CallToolResult:
    facts = [
        {**picture.facts, "preview": summaries.preview(shown)}
        for picture, shown in zip(pictures, small, strict=True)
    ]
    warnings = [*summary["warnings"], *summaries.hidden(facts)]
    blocks: list[ContentBlock] = [
        _text({**summary, "images": facts, "warnings": warnings}),
        *(_preview(shown) for shown in small if shown is not None),
        *links,
    ]
    return CallToolResult(content=blocks)


def _text(document: Mapping[str, Any]) -> TextContent:
    return TextContent(text=json.dumps(plain(document), ensure_ascii=False))


def _preview(image: gptimage.Image) -> ImageContent:
    import pybase64

    return ImageContent(data=pybase64.b64encode_as_string(image.data), mime_type=image.mime_type)


def _link(record: gptimage.Record) -> ResourceLink:
    """Where the whole picture is read; the audience is left open, so that nobody hides it."""
    return ResourceLink(
        uri=uri_of(record.id),
        name=visible(record.key.rpartition("/")[2], 300),
        mime_type=record.mime_type,
        size=record.bytes,
        annotations=Annotations(last_modified=record.created.isoformat()),
    )


def _at(several: Sequence[str | None], place: int) -> str | None:
    return several[place] if place < len(several) else None
