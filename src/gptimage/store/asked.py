"""What was asked, as JSON for the sidecar, and the same request rebuilt from it.

Every parameter is kept; pictures are named by their SHA-256 and kept beside, once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeGuard, cast

import attrs

from gptimage.errors import StoreError
from gptimage.image.image import Image
from gptimage.image.mask import Mask
from gptimage.models.sizes import Size
from gptimage.store.keys import input_key
from gptimage.types.request import Edit, FileRef, Generate


Load = Callable[[str], Image]
"""Reads an input picture by the key it was kept under."""

_KEY: Final = "key"
_FILE: Final = "file_id"
_KINDS: Final[Mapping[str, type[Generate]]] = {"generate": Generate, "edit": Edit}


def describe(request: Generate) -> dict[str, object]:
    """Every parameter that was given, as JSON; pictures as ``{"key": "inputs/…", "bytes": …}``."""
    given = {each.name: getattr(request, each.name) for each in attrs.fields(type(request))}
    asked = {name: _plain(value) for name, value in given.items() if value is not None}
    return {"operation": request.operation, **asked}


def pictures(request: Generate) -> tuple[Image, ...]:
    """Every picture a request needs to be sent again: inputs, mask and markup."""
    if not isinstance(request, Edit):
        return ()
    mask = request.mask.picture if isinstance(request.mask, Mask) else request.mask
    found = (*request.images, mask, request.markup)
    return tuple(each for each in found if isinstance(each, Image))


def inputs(asked: Mapping[str, object]) -> dict[str, int]:
    """The key and the length in bytes of every picture a described request names."""
    images, mask = asked.get("images"), asked.get("mask")
    named: list[Any] = [*images] if isinstance(images, list) else []
    named += [asked.get("markup"), mask["picture"] if _has(mask, "picture") else None]
    return {str(each[_KEY]): _length(each.get("bytes")) for each in named if _has(each, _KEY)}


def _length(value: object) -> int:
    """Nobody but us should have written a sidecar, but anybody may."""
    return value if isinstance(value, int) and 0 <= value < 2**40 else 0


def rebuild(asked: Mapping[str, object], load: Load) -> Generate:
    """The request that was described.

    Raises:
        StoreError: It was written by a newer version, or is damaged.
    """
    values = dict(asked)
    kind = _KINDS.get(str(values.pop("operation", None)))
    if kind is None:
        raise StoreError(
            "only the picture survived a crash, not what was asked: it cannot be asked again"
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
    """Where an input picture is kept."""
    return input_key(image.sha256, image.extension)


def _plain(value: object) -> object:
    if isinstance(value, Size):
        return str(value)
    if isinstance(value, Image):
        return {_KEY: key_of(value), "bytes": value.nbytes}
    if isinstance(value, FileRef):
        return {_FILE: value.file_id}
    if isinstance(value, Mask):
        drawn = {"picture": _plain(value.picture)} if value.picture else {}
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
        return tuple(_picture(each, load) for each in value)
    if name == "markup":
        return _picture(value, load)
    if name == "mask" and _FILE not in value:
        return _mask(value, load)
    if name == "mask":
        return _picture(value, load)
    return value


def _picture(value: Mapping[str, Any], load: Load) -> Image | FileRef:
    return FileRef(value[_FILE]) if _FILE in value else load(str(value[_KEY]))


def _mask(value: Mapping[str, Any], load: Load) -> Mask:
    if "picture" in value:
        return Mask(picture=load(str(value["picture"][_KEY])))
    return Mask.from_boxes([tuple(box) for box in value["boxes"]])


def _has(value: object, name: str) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, dict) and name in value
