"""Saving: inputs, then the image, then its sidecar, and only then the index.

The sidecar is what makes an image part of the store, so nothing is ever half saved. A
failure after that is a warning; a failure before it raises an error that carries the
images, and leaves a recovery copy in the user's state folder.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Final

from attrs import evolve, field, frozen

from gptimage._internal.text import one_line, reason
from gptimage._internal.user_dirs import make_private, recovery_folder
from gptimage._internal.version import library_version
from gptimage.errors import GptImageError, InvalidRequestError, StoreError
from gptimage.image.image import Image
from gptimage.models.pricing import Cost, Usage
from gptimage.store import sidecar
from gptimage.store.blobs import Blobs
from gptimage.store.context import StoreContext
from gptimage.store.index import IndexEntry, storable
from gptimage.store.local_blobs import FileBlobs
from gptimage.store.names import DEFAULT, IMAGES, SIDECAR, Naming, time_of
from gptimage.store.sidecar import input_images, key_of, request_to_json
from gptimage.types.record import MAX_ALT, Original, Record


if TYPE_CHECKING:
    from gptimage.types.result import Result


OWNER: Final = "rescued_for"
"""The field of a recovery copy's sidecar that names the store it belongs to."""

_JOINERS: Final = re.compile("[\u200c\u200d]")
MAX_TAGS: Final = 64
MAX_TAG: Final = 100


@frozen(kw_only=True)
class CallMetadata:
    """The facts about the call that made some images.

    Attributes:
        request: The request, as `request_to_json` writes it.
        model: The model of the request.
        created_at_service: When the service says it answered (UTC).
        effective: What the main parameters came to.
        inputs: The images the request needs.
        usage: Tokens of the call.
        cost: What the call cost.
        warnings: The warnings of the result.
        request_id: The service's id of the call.
        tags: The user's words.
        parent: Id of the image that was refined.
        response_id: Id of the service's response.
        call_id: Id of the image call within it.
        message: The model's message that the image came in, see `Record`.
        sandbox: Whether the sandbox drew the images.
    """

    request: Mapping[str, object]
    model: str
    created_at_service: datetime
    effective: Mapping[str, object] = field(factory=dict[str, object])
    inputs: tuple[Image, ...] = field(default=(), repr=False)
    usage: Usage | None = None
    cost: Cost | None = None
    warnings: tuple[str, ...] = ()
    request_id: str | None = None
    tags: tuple[str, ...] = ()
    parent: str | None = None
    response_id: str | None = None
    call_id: str | None = None
    message: Mapping[str, object] | None = None
    sandbox: bool = False

    @classmethod
    def of(cls, result: Result) -> CallMetadata:
        """Return what a result says."""
        return cls(
            request=request_to_json(result.request),
            model=result.model,
            created_at_service=result.created,
            effective=result.effective,
            inputs=input_images(result.request),
            usage=result.usage,
            cost=result.cost,
            sandbox=result.sandbox,
            warnings=result.warnings,
            request_id=result.request_id,
        )


@frozen(kw_only=True)
class PendingImage:
    """One image that is about to be saved.

    Attributes:
        record: What will be known of it.
        image: The image.
        inputs: The images its request needs.
    """

    record: Record
    image: Image
    inputs: tuple[Image, ...] = ()


def check_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return the tags, sorted and without doubles, once they are proved to be usable.

    Raises:
        InvalidRequestError: One is empty, long or holds control characters, or there are too
            many.
    """
    if isinstance(tags, str):
        tags = (tags,)
    found = tuple(sorted({_tag(tag) for tag in tags}))
    if len(found) > MAX_TAGS:
        raise _bad_tag(f"{len(found)} tags are too many", found)
    return found


def check_alt(text: str | None) -> str | None:
    """Return a text alternative on one line, once it is proved to be one.

    Raises:
        InvalidRequestError: It is no text, or has more than 1,000 characters.
    """
    if text is None:
        return None
    line = one_line(storable(text)) if isinstance(text, str) else None  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
    if line is None or len(line) > MAX_ALT:
        allowed = f"one line of at most {MAX_ALT:,} characters"
        raise InvalidRequestError(
            f"alt {text!r:.60} cannot be saved: use {allowed}",
            field="alt",
            value=text,
            allowed=allowed,
        )
    return line


def pending_images(
    context: StoreContext, call: CallMetadata, images: Sequence[Image]
) -> list[PendingImage]:
    """Give every image of a call an id, a name and a record."""
    return [
        _pending_image(context, call, image, number, len(images))
        for number, image in enumerate(images, 1)
    ]


def save(
    context: StoreContext,
    pending: Sequence[PendingImage],
    warn: Callable[[str], None],
    *,
    result: Result | None,
) -> tuple[Record, ...]:
    """Write images and note them in the index.

    Raises:
        StoreError: At least one could not be written; the error carries all of them.
    """
    keys = [_sidecar_key(each) for each in pending]
    _try_index(context, lambda: context.index.begin(keys, context.clock()))
    entries: list[IndexEntry] = []
    failures: list[tuple[PendingImage, Exception]] = []
    for each in pending:
        try:
            entries.append(write(context.blobs, each))
        except Exception as error:  # noqa: BLE001  # whatever it is, the paid images come first
            failures.append((each, error))
    unnoted = _try_index(context, lambda: context.index.add(entries))
    if failures:
        raise _failure(context, result, entries, failures)
    if unnoted:
        warn(f"saved, but not noted in the index ({unnoted}); the next sync adds it")
    return tuple(entry.record for entry in entries)


def write(blobs: Blobs, pending: PendingImage) -> IndexEntry:
    """Write one image with all that belongs to it, the sidecar last.

    Raises:
        OSError: It could not be written; what was begun is removed again.
    """
    for image in pending.inputs:
        blobs.touch_or_create(key_of(image), image.data)
    record, original = pending.record, pending.image.original
    body = sidecar.dump(record)
    written: list[str] = []
    # The sidecar lies in the same folder and settles the names before it as well.
    try:
        if record.original is not None and original is not None:
            blobs.create(record.original.key, original.data, fsync_dir=False)
            written.append(record.original.key)
        blobs.create(record.key, pending.image.data, fsync_dir=False)
        written.append(record.key)
        etag = blobs.create(_sidecar_key(pending), body)
    except BaseException:
        _roll_back(blobs, pending, written)
        raise
    return IndexEntry(record=record, etag=etag, body=body)


def _roll_back(blobs: Blobs, pending: PendingImage, written: Sequence[str]) -> None:
    """Remove what a failed save began, unless its sidecar may have arrived after all."""
    with suppress(OSError):
        if blobs.stat(_sidecar_key(pending)) is None:
            for key in written:
                blobs.delete(key)


def _pending_image(
    context: StoreContext, call: CallMetadata, image: Image, number: int, count: int
) -> PendingImage:
    id = context.new_id()
    measured = {"size": image.size and f"{image.width}x{image.height}", "format": image.format}
    record = Record(
        id=id,
        created=time_of(id),
        created_at_service=call.created_at_service,
        operation=str(call.request["operation"]),
        request=call.request,
        effective={**call.effective, **measured} if call.effective else {},
        model=call.model,
        usage=call.usage,
        cost=call.cost,
        key="",
        format=image.format,
        width=image.width,
        height=image.height,
        bytes=image.nbytes,
        sha256=image.sha256,
        sources=tuple(dict.fromkeys(each.sha256 for each in call.inputs)),
        parent=call.parent,
        response_id=call.response_id,
        call_id=call.call_id,
        message=call.message,
        index=number,
        batch_count=count,
        tags=call.tags,
        provenance=image.has_provenance,
        digital_source=None if image.ai_label is None else image.ai_label.source,
        template=_maybe_text(call.request.get("template")),
        version=library_version(),
        warnings=call.warnings,
        request_id=call.request_id,
        sandbox=call.sandbox,
    )
    return PendingImage(
        record=placed(record, image, context.naming, context.blobs), image=image, inputs=call.inputs
    )


def placed(record: Record, image: Image, naming: Naming, blobs: Blobs) -> Record:
    """Return the record with the names its files get in a store."""
    base, drawn = IMAGES + naming.stem(record), image.original
    key = f"{base}.{image.extension}"
    return evolve(
        record,
        key=key,
        path=blobs.folder.joinpath(*key.split("/")) if blobs.folder else None,
        original=None
        if drawn is None
        else original_of(f"{base}.original.{drawn.extension}", drawn),
    )


def original_of(key: str, image: Image) -> Original:
    """Return what a record says of the file of an original."""
    return Original(
        key=key,
        format=image.format,
        width=image.width,
        height=image.height,
        bytes=image.nbytes,
        sha256=image.sha256,
    )


def _sidecar_key(pending: PendingImage) -> str:
    return pending.record.key.rpartition(".")[0] + SIDECAR


def _try_index(context: StoreContext, action: Callable[[], None]) -> str | None:
    """Return why the index could not be written, or None; it is then marked as behind."""
    try:
        action()
    except StoreError as error:
        with suppress(OSError):
            context.stale_marker.touch()
        return str(error)
    return None


def _failure(
    context: StoreContext,
    result: Result | None,
    entries: Sequence[IndexEntry],
    failures: Sequence[tuple[PendingImage, Exception]],
) -> StoreError:
    cause = failures[0][1]
    owner = context.blobs.name
    recovery_copies = _write_copies([each for each, _ in failures], owner) if result else []
    total = len(entries) + len(failures)
    error = StoreError(
        f"{len(failures)} of {total} images could not be saved in {context.blobs.name} "
        f"({reason(cause)}); {_where_they_are(result, recovery_copies)}",
        result=result and evolve(result, stored=tuple(entry.record for entry in entries)),
        recovery_copies=recovery_copies,
    )
    error.__cause__ = cause
    return error


def _where_they_are(result: Result | None, recovery_copies: Sequence[str]) -> str:
    if result is None:
        return "what they came from is left alone"
    copies = (
        f"recovery copies are in {recovery_folder()}: run 'gptimage recover' when it works again"
        if recovery_copies
        else "no recovery copy could be written either: save .result.images yourself"
    )
    return f"all are paid for and safe in .result, and {copies}"


def _write_copies(pending: Sequence[PendingImage], owner: str) -> list[str]:
    """Write images to the user's state folder, laid out like a store; their paths."""
    paths: list[str] = []
    for each in pending:
        with suppress(OSError, GptImageError):
            # Images may be private, and this is not the place the user chose for them.
            make_private(recovery_folder())
            blobs = FileBlobs(recovery_folder())
            record = placed(each.record, each.image, Naming(DEFAULT), blobs)
            marked = evolve(record, extra={**record.extra, OWNER: owner})
            write(blobs, evolve(each, record=marked))
            paths.append(str(record.path))
    return paths


def _tag(tag: object) -> str:
    text = unicodedata.normalize("NFC", tag).strip() if isinstance(tag, str) else ""
    # A joiner holds the parts of an emoji together, and letters of some scripts apart.
    if not text or len(text) > MAX_TAG or not _JOINERS.sub("", text).isprintable():
        raise _bad_tag(f"tag {tag!r:.80} cannot be used", tag)
    return text


def _bad_tag(problem: str, value: object) -> InvalidRequestError:
    allowed = f"up to {MAX_TAGS} tags of 1 to {MAX_TAG} printable characters"
    return InvalidRequestError(
        f"{problem}: use {allowed}", field="tags", value=value, allowed=allowed
    )


def _maybe_text(value: object) -> str | None:
    return value if isinstance(value, str) else None
