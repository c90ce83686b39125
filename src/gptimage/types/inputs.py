"""From whatever a caller passes as an image to an `Image` that is proved to be one.

Nothing is uploaded that was not decoded to its last pixel first, so a private file named as
an image by mistake, or by a stranger's prompt, stays where it is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final, TypeGuard, cast

from attrs import evolve

from gptimage._internal.keywords import is_async
from gptimage._internal.text import reason
from gptimage.errors import ConfigurationError, ImageDecodeError, InvalidRequestError
from gptimage.image.formats import jpeg_segments
from gptimage.image.image import Image, ImageSource
from gptimage.image.lookalike import lookalike
from gptimage.image.protocols import BinaryFile, PilImage
from gptimage.image.svg_still import still_of
from gptimage.secrets import display_url
from gptimage.types.parameters import MAX_IMAGES
from gptimage.types.record import Record
from gptimage.types.request import FileRef, HasImages, Prompt, Source, Sources


API_FORMATS: Final = ("png", "jpeg", "webp")
"""What the service takes as input."""

MAX_BYTES: Final = 50_000_000
"""The service takes less than 50 MB for each image."""

MAX_READ: Final = 250_000_000
"""What is larger than the service takes is made smaller, up to here."""

_SOURCES: Final = (
    "a path, bytes, a binary file, a PIL image, an Image, an http(s) or data: URL, or a file id"
)
_FILE_ID: Final = re.compile(r"file-[A-Za-z0-9_-]{8,200}")
_SCHEME: Final = re.compile(r"(data|https?):|[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_BASE64: Final = {
    "iVBOR": "png", "/9j/": "jpeg", "_9j_": "jpeg", "UklGR": "webp", "R0lGOD": "gif",
}  # fmt: skip
"""How base64 of each format begins."""

_BASE64_TEXT: Final = re.compile(r"[A-Za-z0-9+/_\s-]+={0,2}\s*")
_SHORTEST_BASE64: Final = 40
"""Characters; less is no image, and may be the name of a file that is not there."""

_SINGLE: Final = (str, bytes, bytearray, memoryview)  # sequences, but not of images
_LONGEST_PATH: Final = 4096  # on Linux; elsewhere it is less
_CHUNK: Final = 1 << 20


def resolve(
    source: Source,
    *,
    field: str,
    fetch: Callable[[str], bytes],
    formats: Collection[str] | None = API_FORMATS,
) -> Image | FileRef:
    """Read one image, wherever it is, and prove that it is one.

    The whole image is decoded, about 50 ms for 4 million pixels. One in a format the service
    does not take is made a png (its first frame, where it is animated; an svg needs the extra
    ``svg``, and cannot be a mask or a markup), and one of 50 MB or more
    is made smaller; `Image.original` is then the one given. An uploaded file is
    passed on unseen. A text is a URL when it starts like one; the id of an uploaded file
    when it is ``file-`` and 8 or more letters, digits, ``_`` or ``-``, and no file has that
    name; otherwise a path, in which ``~`` is your home. A file object is read from where
    it stands.

    Args:
        source: The image.
        field: The parameter it was passed as, for errors.
        fetch: Downloads an ``http`` or ``https`` URL.
        formats: Formats to accept, or None for all that Pillow reads (masks).

    Raises:
        InvalidRequestError: There is no such file, or it holds no whole image, or an svg
            that cannot be drawn here.
        FetchError: A URL was refused, or its download failed.
    """
    if is_sdk_file(source):
        source = _of_tuple(source, field)
    if isinstance(source, FileRef):
        return source
    if isinstance(source, str) and _is_file_id(source):
        return FileRef(source)
    if isinstance(source, Record):
        source = _path_of(source, field)
    name = _name(source)
    try:
        image = _prove(_read(source, fetch), formats)
    except _RefusedError as error:
        raise InvalidRequestError(
            f"{field}: {name} {error}", field=field, value=name, allowed=error.allowed
        ) from error.__cause__
    except ImageDecodeError as error:
        raise InvalidRequestError(
            f"{field}: {name} is no image that can be sent: {error}",
            field=field,
            value=name,
            allowed=_allowed(formats),
        ) from error
    except InvalidRequestError as error:
        raise InvalidRequestError(
            f"{field}: {error}", field=field, value=name, allowed=_SOURCES
        ) from error
    return image


def with_references(
    prompt: str | Prompt, images: tuple[Image | FileRef, ...], *, fetch: Callable[[str], bytes]
) -> tuple[str | Prompt, tuple[Image | FileRef, ...]]:
    """Read the images that belong to a prompt.

    Args:
        prompt: The prompt.
        images: The images of the call, which come first: a mask belongs to the first of them.
        fetch: Downloads an ``http`` or ``https`` URL.

    Returns:
        The prompt with a sentence for each of its images, and all images in that order.

    Raises:
        InvalidRequestError: A file is missing or no image, or there are more than 16 in all.
    """
    if not isinstance(prompt, Prompt) or not prompt.images:
        return prompt, images
    own = prompt.images
    if len(images) + len(own) > MAX_IMAGES:
        raise InvalidRequestError(
            f"{len(own)} reference images of the prompt and {len(images)} of the call are "
            f"{len(own) + len(images)}, and an edit takes {MAX_IMAGES}; nothing was sent",
            field="images",
            value=len(own) + len(images),
            allowed=f"at most {MAX_IMAGES}",
        )
    read = tuple(resolve(each.file, field=f"images.{each.name}", fetch=fetch) for each in own)
    text = prompt.full_text(after=len(images))
    return evolve(prompt, text=text, images=()), (*images, *read)


def resolve_all(sources: Sources, *, fetch: Callable[[str], bytes]) -> tuple[Image | FileRef, ...]:
    """Read one image, or a list or tuple of up to 16, in order.

    Raises:
        InvalidRequestError: There are none or too many, or one is no usable image; then
            `InvalidRequestError.field` says which: ``images[2]`` is the third.
        FetchError: A URL was refused, or its download failed.
    """
    several = spread(sources, stored=False)
    if not _are_several(several):
        return (resolve(cast("Source", several), field="images", fetch=fetch),)
    if not 1 <= len(several) <= MAX_IMAGES:
        raise InvalidRequestError(
            f"images: an edit takes 1 to {MAX_IMAGES} images, not {len(several)}",
            field="images",
            value=len(several),
            allowed=f"1 to {MAX_IMAGES}",
        )
    return tuple(
        resolve(cast("Source", each), field=f"images[{index}]", fetch=fetch)
        for index, each in enumerate(several)
    )


def spread(sources: Sources, *, stored: bool) -> Sequence[Source] | Source:
    """Return the sources with the images of each result in its place.

    Args:
        sources: What the caller gave.
        stored: Whether images of a result are named by their records, so that the new image
            says what it was made from; the client must have their store.
    """
    if _are_several(sources):
        found: list[Source] = []
        for each in sources:
            found += _images_of(each, stored=stored)
        return found
    one = cast("Source | HasImages", sources)
    images = _images_of(one, stored=stored)
    return images[0] if len(images) == 1 else images


def _images_of(source: Source | HasImages, *, stored: bool) -> Sequence[Source]:
    if not hasattr(source, "images") or not hasattr(source, "stored"):
        return [source]  # pyright: ignore[reportReturnType]  # hasattr() narrows for mypy alone
    result = cast("HasImages", source)
    return result.stored if stored and result.stored else result.images


def _of_tuple(given: object, field: str) -> Source:
    """The image in what the SDK takes for a file: ``(name, content)``, perhaps with its type."""
    parts = cast("tuple[Any, ...]", given)
    content = parts[1]
    if not isinstance(content, (bytes, bytearray, memoryview, os.PathLike)) and not _is_file(
        content
    ):
        raise InvalidRequestError(
            f"{field}: a tuple is (file name, bytes), not (…, {type(content).__name__})",
            field=field,
            value=type(content).__name__,
            allowed=_SOURCES,
        )
    return cast("Source", content)


def is_sdk_file(source: object) -> bool:
    """Return whether this is the SDK's way to write one file, and no tuple of two or three images.

    The first is a bare file name, the second its content, the third a MIME type.
    """
    if not isinstance(source, tuple):
        return False
    parts = cast("tuple[object, ...]", source)
    if len(parts) not in (2, 3, 4) or not (parts[0] is None or isinstance(parts[0], str)):
        return False
    if isinstance(parts[1], str) or (isinstance(parts[0], str) and _SCHEME.match(parts[0])):
        return False
    kind = parts[2] if len(parts) > 2 else "image/png"
    if len(parts) == 2 and isinstance(parts[0], str) and Path(parts[0]).is_file():
        return False  # two images: a path and bytes
    return isinstance(kind, str) and "/" in kind and not Path(kind).exists()


def _path_of(record: Record, field: str) -> Path:
    """Return the file of a record whose store the client does not have."""
    if record.path is None:
        raise InvalidRequestError(
            f"{field}: {record.id} lies in a store this client does not have",
            field=field,
            value=record.id,
            allowed="a client with that store, or store.open(id)",
        )
    return record.path


class _RefusedError(Exception):
    """Why a source cannot be used; worded to follow its name."""

    def __init__(self, reason: str, allowed: object = _SOURCES) -> None:
        super().__init__(reason)
        self.allowed = allowed


def _are_several(sources: Sources) -> TypeGuard[Sequence[Source | HasImages]]:
    return (
        isinstance(sources, Sequence)
        and not isinstance(sources, _SINGLE)
        and not is_sdk_file(sources)
    )


def _is_file(source: object) -> TypeGuard[BinaryFile]:
    return hasattr(source, "read")


def _is_file_id(text: str) -> bool:
    return bool(_FILE_ID.fullmatch(text)) and not Path(text).exists()


def _name(source: ImageSource) -> str:
    """Return how errors call a source: short, and without what may be secret in it."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"<{memoryview(source).nbytes} bytes>"
    if isinstance(source, (str, os.PathLike)):
        text = os.fspath(source)
        if text[:5].lower() == "data:":
            text = text.partition(",")[0][:60] + ",…"
        elif _SCHEME.match(text):
            text = display_url(text)
        if len(text) > 100:  # a path's end says most; what is longer is none
            text = f"…{text[-99:]}" if len(text) <= _LONGEST_PATH else f"{text[:99]}…"
        line = "".join(c if c.isprintable() else "�" for c in text)
        return f"'{line}'"
    return f"<{type(source).__name__}>"


def _read(source: ImageSource, fetch: Callable[[str], bytes]) -> Image:
    if isinstance(source, str):
        return _from_text(source, fetch)
    if isinstance(source, os.PathLike):
        return Image.from_bytes(_from_path(Path(source)))
    if isinstance(source, bytes) and source.isascii() and _base64_kind(source.decode()):
        return _from_text(source.decode(), fetch)  # as base64.b64encode returns it
    if isinstance(source, (bytes, bytearray, memoryview, Image)):
        return Image.open(source)
    if _is_file(source):
        return Image.from_bytes(_drain(_reading(source)))
    return Image.from_pil(cast("PilImage", source))


def _from_text(text: str, fetch: Callable[[str], bytes]) -> Image:
    scheme = _SCHEME.match(text)
    if scheme is None:
        if (kind := _base64_kind(text)) is not None:
            return Image.open(f"data:image/{kind};base64,{''.join(text.split())}")
        if len(text) > _LONGEST_PATH:
            raise _RefusedError("is too long for a path; base64 text belongs in a data: URL")
        return Image.from_bytes(_from_path(Path(text)))
    kind = (scheme[1] or "").lower()
    if kind == "data":
        return Image.open(text)
    if kind:
        return Image.from_bytes(fetch(text))
    raise _RefusedError("has a scheme that is not read: pass a path, an http(s) or a data: URL")


def _base64_kind(text: str) -> str | None:
    """Of which format this base64 text is, by its first letters; a file of that name wins."""
    kind = next((kind for head, kind in _BASE64.items() if text.startswith(head)), None)
    if kind is None or len(text) < _SHORTEST_BASE64 or not _BASE64_TEXT.fullmatch(text):
        return None
    return None if len(text) <= _LONGEST_PATH and _exists(text) else kind


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long for a name
        return False


def _reading(source: BinaryFile) -> Callable[[int], object]:
    """How to read a file; an upload of FastAPI or Starlette must be awaited, its file need not."""
    if is_async(source.read):
        inner = getattr(source, "file", None)
        if not _is_file(inner) or is_async(inner.read):
            raise _RefusedError("must be awaited: pass the bytes, await it.read()")
        return inner.read
    return source.read


def _from_path(path: Path) -> bytes:
    """Read a regular file; a pipe or device could wait, or give bytes, for ever."""
    try:
        path = lookalike(path.expanduser())
        if path.is_file():
            with path.open("rb") as file:
                return _drain(file.read)
        found = path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # also an unknown ~user, a NUL
        raise _RefusedError(f"cannot be read: {reason(error)}") from error
    if found:
        raise _RefusedError("is not a file: open it yourself and pass the file object")
    raise _RefusedError("does not exist")


def _drain(read: Callable[[int], object]) -> bytes:
    """Return all that is left, but not without end: a file may have none."""
    data = bytearray()
    while len(data) < MAX_READ:
        try:
            chunk = read(_CHUNK)
        except (OSError, ValueError) as error:  # ValueError: it is closed
            raise _RefusedError(f"cannot be read: {reason(error)}") from error
        if not isinstance(chunk, (bytes, bytearray, memoryview)):
            kind = type(chunk).__name__
            raise _RefusedError(f"gives {kind}, not bytes: open it in binary mode ('rb')")
        if not chunk:
            return bytes(data)
        data += chunk
    raise _too_large(f"{MAX_READ:,} bytes or more")


def _prove(image: Image, formats: Collection[str] | None) -> Image:
    """The image once it is proved to be one, made into what the service takes where it is not.

    Then `Image.original` is the one given, which the plan tells about.
    """
    sends = formats is not None and set(formats) == set(API_FORMATS)
    if image.format == "svg":
        # The pixels of a mask or a markup are those of an image: another size means another place.
        if not sends:
            raise _RefusedError("is an svg: save it as png first", _allowed(formats))
        return _still(image)
    image.verify()
    sent = image
    if formats is not None and image.format not in formats:
        if not sends:  # a markup, whose transparency is its meaning
            raise _RefusedError(
                f"is a {image.format or 'image of an unknown kind'}, and {', '.join(formats)} "
                "is taken: save it in that format first",
                _allowed(formats),
            )
        sent = image.convert("png")
    elif formats is not None and image.format == "jpeg":
        sent = _first_of_several(image)
    if sent.nbytes >= MAX_BYTES:
        if formats is None:
            raise _too_large(f"{image.nbytes:,} bytes")
        sent = sent.shrink(MAX_BYTES * 4 // 5)
    return image if sent is image else evolve(sent, original=image)


def _still(svg: Image) -> Image:
    """The svg as png, as the service takes none."""
    try:
        return still_of(svg)
    except (ConfigurationError, ImageDecodeError) as error:
        raise _RefusedError(
            "is an svg, which the service does not take as input, and no png could be made of it "
            f"here ({error}); or save it as png with a drawing tool",
            API_FORMATS,
        ) from error


def _first_of_several(image: Image) -> Image:
    """A JPEG without the mark (MPF) that more images follow: phones write it, services refuse it.

    No pixel changes, and what follows the first image is not read by anybody.
    """
    for marker, start, end in jpeg_segments(image.data):
        if marker == 0xE2 and image.data[start : start + 4] == b"MPF\0":
            return Image.from_bytes(image.data[: start - 4] + image.data[end:])
    return image


def _allowed(formats: Collection[str] | None) -> object:
    return "any image Pillow reads" if formats is None else tuple(formats)


def _too_large(size: str) -> _RefusedError:
    return _RefusedError(
        f"has {size}, which is too large: save it smaller, or as a jpeg",
        f"less than {MAX_BYTES:,} bytes",
    )
