"""Sidecars: the JSON file beside every image, which is the truth the index is built from."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, TypeGuard, TypeVar, cast

import attrs
from attrs import frozen

from gptimage.errors import StoreError
from gptimage.image.image import Image
from gptimage.image.mask import Mask
from gptimage.models.pricing import Cost, Usage
from gptimage.models.sizes import Size
from gptimage.store.names import SIDECAR, id_in, input_key, is_part, stem, time_of
from gptimage.types.record import USAGE_FIELDS, Original, Record
from gptimage.types.request import Edit, FileRef, Generate


# The request, as JSON for the sidecar, and the same request rebuilt from it.
#
# Every parameter is saved; images are named by their SHA-256 and saved beside, once.

Load = Callable[[str], Image]
"""Reads an input image by the key it was saved under."""

_KEY: Final = "key"
_FILE: Final = "file_id"
_MASK: Final = "picture"
"""The key of a drawn mask; sidecars have had it since 0.1.0."""
_KINDS: Final[Mapping[str, type[Generate]]] = {"generate": Generate, "edit": Edit}


def request_to_json(request: Generate) -> dict[str, object]:
    """Every parameter that was given, as JSON; images as ``{"key": "inputs/…", "bytes": …}``."""
    given = {each.name: getattr(request, each.name) for each in attrs.fields(type(request))}
    document = {name: _plain(value) for name, value in given.items() if value is not None}
    return {"operation": request.operation, **document}


def input_images(request: Generate) -> tuple[Image, ...]:
    """Return every image a request needs to be sent again: inputs, mask and markup."""
    if not isinstance(request, Edit):
        return ()
    mask = request.mask.image if isinstance(request.mask, Mask) else request.mask
    found = (*request.images, mask, request.markup)
    return tuple(each for each in found if isinstance(each, Image))


def inputs(document: Mapping[str, object]) -> dict[str, int]:
    """Return the key and the length in bytes of every image a described request names."""
    images, mask = document.get("images"), document.get("mask")
    named: list[Any] = [*images] if isinstance(images, list) else []
    named += [document.get("markup"), mask[_MASK] if _has(mask, _MASK) else None]
    return {str(each[_KEY]): _length(each.get("bytes")) for each in named if _has(each, _KEY)}


def _length(value: object) -> int:
    """Return a byte length from an untrusted sidecar; 0 if it is not an int in [0, 2**40)."""
    return value if isinstance(value, int) and 0 <= value < 2**40 else 0


def request_from_json(document: Mapping[str, object], load: Load) -> Generate:
    """Return the request that was described.

    Raises:
        StoreError: It was written by a newer version, or is damaged.
    """
    values = dict(document)
    kind = _KINDS.get(str(values.pop("operation", None)))
    if kind is None:
        raise StoreError(
            "only the image survived a crash, not its request: it cannot be sent again"
        )
    unknown = values.keys() - {each.name for each in attrs.fields(kind)}
    if unknown:
        raise StoreError(
            f"the request has fields this version of gptimage does not know "
            f"({', '.join(sorted(unknown))}): upgrade to ask again"
        )
    try:
        request: Generate = kind(**{n: _value(n, value, load) for n, value in values.items()})
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise StoreError(f"the sidecar's request is damaged: {error}") from error
    return request


def key_of(image: Image) -> str:
    """Return where an input image is stored."""
    return input_key(image.sha256, image.extension)


def _plain(value: object) -> object:
    if isinstance(value, Size):
        return str(value)
    if isinstance(value, Image):
        return {_KEY: key_of(value), "bytes": value.nbytes}
    if isinstance(value, FileRef):
        return {_FILE: value.file_id}
    if isinstance(value, Mask):
        drawn = {_MASK: _plain(value.image)} if value.image else {}
        return {**drawn, "boxes": [list(box) for box in value.boxes]}
    if isinstance(value, tuple):
        return [_plain(each) for each in cast("tuple[object, ...]", value)]
    if isinstance(value, (str, int, float)):
        return value
    return json.loads(json.dumps(value, default=str, skipkeys=True))


def _value(name: str, value: Any, load: Load) -> Any:
    if name == "size":
        return Size.parse(value)
    if name == "images":
        return tuple(_image(each, load) for each in value)
    if name == "markup":
        return _image(value, load)
    if name == "mask" and _FILE not in value:
        return _mask(value, load)
    if name == "mask":
        return _image(value, load)
    return value


def _image(value: Mapping[str, Any], load: Load) -> Image | FileRef:
    return FileRef(value[_FILE]) if _FILE in value else load(str(value[_KEY]))


def _mask(value: Mapping[str, Any], load: Load) -> Mask:
    if _MASK in value:
        return Mask(image=load(str(value[_MASK][_KEY])))
    return Mask.from_boxes([tuple(box) for box in value["boxes"]])


def _has(value: object, name: str) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, dict) and name in value


T = TypeVar("T")

_HASH: Final = re.compile("[0-9a-f]{32}")

TOMBSTONE: Final = "deleted"
"""A sidecar with this field belongs to an image that is being removed."""


@frozen
class Sidecar:
    """A sidecar that was read.

    Attributes:
        record: The record.
        deleted: Whether its image is being removed.
    """

    record: Record
    deleted: bool = False


class UnreadableSidecarError(ValueError):
    """The file is no sidecar of this library, or a damaged one."""


def dump(record: Record, *, deleted: bool = False) -> bytes:
    """Return the bytes of a sidecar: JSON people can read, UTF-8, two spaces of indent."""
    values = record.to_sidecar()
    if deleted:
        values[TOMBSTONE] = True
    text = json.dumps(values, ensure_ascii=False, indent=2, default=str) + "\n"
    try:
        return text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which only escapes can say
        return (json.dumps(values, indent=2, default=str) + "\n").encode()


def load(data: bytes, *, key: str, folder: Path | None) -> Sidecar:
    """Read a sidecar, trusting nothing in it: the file may have been changed by anybody.

    Args:
        data: The file.
        key: Its name in the store; its images lie beside it.
        folder: The store's local folder, if it has one.

    Raises:
        UnreadableSidecarError: It is not one, or it is damaged.
    """
    try:
        parsed: object = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UnreadableSidecarError(f"no JSON: {error}") from error
    values = cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else {}
    if not isinstance(values.get("gptimage"), int):
        raise UnreadableSidecarError("JSON, but not written by gptimage")
    try:
        return Sidecar(_record(_Fields(values), key, folder), values.get(TOMBSTONE) is True)
    except (TypeError, ValueError, RecursionError) as error:
        raise UnreadableSidecarError(str(error)) from error


class _Fields:
    """The values of a JSON object by name and type; unread ones are left over."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._left = dict(values)

    def get(self, name: str, kind: type[T]) -> T:
        value = self._left.pop(name, None)
        # bool is an int to Python, but not to a reader of JSON.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise TypeError(f"{name} is {value!r:.60}, not {kind.__name__}")
        return value

    def maybe(self, name: str, kind: type[T]) -> T | None:
        if self._left.get(name) is None:
            self._left.pop(name, None)
            return None
        return self.get(name, kind)

    def texts(self, name: str) -> tuple[str, ...]:
        values: list[object] = self.get(name, list)  # pyright: ignore[reportUnknownVariableType]  # each is judged below
        return tuple(_text(name, value) for value in values)

    def table(self, name: str) -> dict[str, Any] | None:
        return self.maybe(name, dict)  # pyright: ignore[reportUnknownVariableType]  # JSON keys are text

    def made(self, name: str, make: Callable[[str], T]) -> T:
        return make(self.get(name, str))

    def rest(self) -> dict[str, object]:
        left = dict(self._left)
        left.pop("gptimage", None)
        left.pop(TOMBSTONE, None)
        return left


def _record(fields: _Fields, key: str, folder: Path | None) -> Record:
    image = _beside(key, fields.get("file", str))
    fields.maybe("created", str)  # the id says the same
    return Record(
        id=(id := _id(key, fields.get("id", str))),
        created=time_of(id),
        created_at_service=fields.made("made", _moment),
        operation=fields.get("operation", str),
        request=fields.table("request") or {},
        effective=fields.table("effective") or {},
        model=fields.get("model", str),
        usage=_usage(fields.table("usage")),
        cost=_cost(fields.maybe("cost_usd", str), fields.maybe("cost_is_upper_bound", bool)),
        key=image,
        format=fields.get("format", str),
        width=fields.maybe("width", int),
        height=fields.maybe("height", int),
        bytes=fields.get("bytes", int),
        sha256=fields.get("sha256", str),
        original=_original(key, fields.table("original")),
        sources=fields.texts("sources"),
        parent=fields.maybe("parent", str),
        response_id=fields.maybe("response_id", str),
        call_id=fields.maybe("call_id", str),
        message=fields.table("message"),
        index=fields.get("index", int),
        batch_count=max(1, fields.get("of", int)),
        tags=fields.texts("tags"),
        pinned=fields.get("pinned", bool),
        provenance=fields.get("provenance", bool),
        digital_source=fields.maybe("digital_source", str),
        perceptual_hash=_hash(fields.maybe("perceptual_hash", str)),
        alt=fields.maybe("alt", str),
        template=fields.maybe("template", str),
        version=fields.get("version", str),
        warnings=fields.texts("warnings"),
        request_id=fields.maybe("request_id", str),
        sandbox=fields.maybe("sandbox", bool) or False,
        path=folder.joinpath(*image.split("/")) if folder else None,
        extra=fields.rest(),
    )


def _hash(text: str | None) -> str | None:
    """Return a hash of 32 hex digits or none; another one is no reason to lose the image."""
    return text if text == "" or _HASH.fullmatch(text or "-") else None


def _id(key: str, id: str) -> str:
    if id_in(key) != id:
        raise ValueError(f"it says {id!r:.80}, which is not the id in its name")
    return id


def _beside(key: str, name: str) -> str:
    """The key of a file next to the sidecar; anything else is an attempt to point elsewhere."""
    base = key.removesuffix(SIDECAR)
    found = f"{key.rpartition('/')[0]}/{name}"
    if not is_part(name) or stem(found) != base or found == key:
        raise ValueError(f"file {name!r:.80} does not belong to this sidecar")
    return found


def _original(key: str, values: Mapping[str, Any] | None) -> Original | None:
    if values is None:
        return None
    fields = _Fields(values)
    return Original(
        key=_beside(key, fields.get("file", str)),
        format=fields.get("format", str),
        width=fields.maybe("width", int),
        height=fields.maybe("height", int),
        bytes=fields.get("bytes", int),
        sha256=fields.get("sha256", str),
    )


def _usage(values: Mapping[str, Any] | None) -> Usage | None:
    if values is None:
        return None
    fields = _Fields(values)
    return Usage(
        input_tokens=fields.get("input_tokens", int),
        output_tokens=fields.get("output_tokens", int),
        total_tokens=fields.get("total_tokens", int),
        **{name: fields.maybe(name, int) for name in USAGE_FIELDS[3:]},
    )


def _cost(usd: str | None, is_upper_bound: bool | None) -> Cost | None:
    if usd is None:
        return None
    try:
        amount = Decimal(usd)
    except InvalidOperation:
        raise ValueError(f"cost_usd {usd!r:.40} is no amount") from None
    if not amount.is_finite() or not 0 <= amount < 1_000_000:
        raise ValueError(f"cost_usd {usd!r:.40} is no amount a call can cost")
    return Cost(usd=amount, is_upper_bound=is_upper_bound is not False)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time {text!r:.40} has no time zone")
    return moment


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} holds {value!r:.60}, not text")
    return value
