"""The pictures of an edit: found in the form or the JSON body, and proved to be pictures."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final, TypedDict, cast

from gptimage.image.codecs import load, open_file, orientation, without_texts
from gptimage.models.catalog import ModelSpec
from gptimage.sandbox._reader import Reader
from gptimage.sandbox._refusal import (
    CONTACT,
    Refusal,
    duplicate,
    missing,
    unknown,
    user_error,
    wrong_type,
)
from gptimage.sandbox.job import Picture
from gptimage.transport.http import FilePart, HttpRequest


_MAX_INPUTS: Final = 16
_MAX_BYTES: Final = 50_000_000
"""Below 50 MB, read strictly as decimal megabytes."""
_MAX_MASK_BYTES: Final = 4_000_000
"""Below 4 MB by the reference; a guide says 50 MB, and the smaller one is safe."""
_MAX_URL: Final = 20_971_520
_MAX_PIXELS: Final = 120_000_000
"""A guard against bombs; the service's own limit is not published."""
_TYPES: Final = ("image/jpeg", "image/png", "image/webp")
FORMATS: Final = ("PNG", "JPEG", "WEBP")
_PIL_TYPES: Final = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
_DATA_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w-]+=[^;,]*)*;base64,", re.IGNORECASE)


class Found(TypedDict):
    """The pictures of one request."""

    inputs: tuple[Picture, ...]
    mask: Picture | None
    markup: Picture | None


def collect(
    request: HttpRequest, read: Reader, spec: ModelSpec, uploads: Mapping[str, bytes]
) -> Found:
    """Find and check every picture of an edit.

    Raises:
        Refusal: One is missing, is not a picture, or does not fit the others.
    """
    parts = _from_form(request) if read.form else _from_json(read, uploads)
    inputs = tuple(_decoded(part, number + 1) for number, part in enumerate(parts["images"]))
    mask, markup = (parts[name][0] if parts[name] else None for name in ("mask", "markup"))
    if mask and markup:
        raise user_error("'markup' cannot be combined with 'mask'.", "markup")
    if markup and spec.markup == "no":
        raise user_error(f"The model '{spec.id}' does not support 'markup'.", "markup")
    return Found(
        inputs=inputs,
        mask=_mask(mask, inputs[0]) if mask else None,
        markup=_markup(markup, inputs[0]) if markup else None,
    )


def _from_form(request: HttpRequest) -> dict[str, list[FilePart]]:
    found: dict[str, list[FilePart]] = {"images": [], "mask": [], "markup": []}
    for part in request.files:
        kind = {"image": "images", "image[]": "images"}.get(part.name, part.name)
        if kind not in found or part.name == "images":
            raise unknown(part.name[:200])
        found[kind].append(part)
        if part.name != "image[]" and len(found[kind]) > 1:
            raise duplicate(part.name)
    if not found["images"]:
        raise missing("image")
    if len(found["images"]) > _MAX_INPUTS:
        raise _too_many("image", len(found["images"]))
    for number, part in enumerate(found["images"]):
        _check_file(
            part, f"image[{number}]" if part.name == "image[]" else "image", _TYPES, _MAX_BYTES
        )
    for name, limit in (("mask", _MAX_MASK_BYTES), ("markup", _MAX_BYTES)):
        for part in found[name]:
            _check_file(part, name, ("image/png",), limit)
    return found


def _check_file(part: FilePart, name: str, types: tuple[str, ...], limit: int) -> None:
    if part.content_type not in types:
        quoted = [f"'{kind}'" for kind in types]
        listed = f"{', '.join(quoted[:-1])}, and {quoted[-1]}" if len(types) > 1 else quoted[0]
        message = (
            f"Invalid file '{name}': unsupported mimetype ('{part.content_type[:100]}')."
            f" Supported file formats are {listed}."
        )
        raise Refusal(message, code="unsupported_file_mimetype", param=name)
    if len(part.data) >= limit:
        message = f"Invalid file '{name}': the file must be smaller than {limit // 1_000_000}MB."
        raise Refusal(message, code="file_too_large", param=name)


def _too_many(param: str, count: int) -> Refusal:
    message = (
        f"Invalid '{param}': array too long. Expected an array with maximum length {_MAX_INPUTS},"
        f" but got an array with length {count} instead."
    )
    return Refusal(message, code="array_above_max_length", param=param)


def _from_json(read: Reader, uploads: Mapping[str, bytes]) -> dict[str, list[FilePart]]:
    if "images" not in read.body:
        raise missing("images")
    value = read.body["images"]
    if not isinstance(value, list):
        raise wrong_type("images", "an array of objects", value)
    images = cast("list[object]", value)
    if not images:
        message = (
            "Invalid 'images': empty array. Expected an array with minimum length 1,"
            " but got an empty array instead."
        )
        raise Refusal(message, code="empty_array", param="images")
    if len(images) > _MAX_INPUTS:
        raise _too_many("images", len(images))
    found: dict[str, list[FilePart]] = {
        "images": [
            _referenced(each, f"images[{number}]", uploads, _MAX_BYTES)
            for number, each in enumerate(images)
        ]
    }
    for name, limit in (("mask", _MAX_MASK_BYTES), ("markup", _MAX_BYTES)):
        given = read.body.get(name)
        found[name] = [] if given is None else [_referenced(given, name, uploads, limit)]
    return found


def _referenced(value: object, name: str, uploads: Mapping[str, bytes], limit: int) -> FilePart:
    """The picture an object with ``image_url`` or ``file_id`` stands for."""
    if not isinstance(value, dict):
        raise wrong_type(name, "an object", value)
    read = Reader(cast("dict[str, object]", value), form=False, prefix=f"{name}.")
    read.only(("image_url", "file_id"))
    url, file_id = read.text("image_url", limit=_MAX_URL), read.text("file_id")
    if (url is None) == (file_id is None):
        message = f"Invalid '{name}': provide exactly one of 'image_url' or 'file_id'."
        raise Refusal(message, code="invalid_value", param=name)
    if file_id is not None:
        if file_id not in uploads:
            message = f"No such File object: {file_id[:100]}"
            raise Refusal(message, param=f"{name}.file_id", status=404)
        part = FilePart(name=name, filename=file_id, content_type="", data=uploads[file_id])
    else:
        part = _from_url(url or "", name)
        _check_file(part, name, _TYPES, limit)
    if len(part.data) >= limit:
        _check_file(part, name, (part.content_type,), limit)
    return part


def _from_url(url: str, name: str) -> FilePart:
    if match := _DATA_URL.match(url):
        try:
            data = base64.b64decode(url[match.end() :], validate=True)
        except (binascii.Error, ValueError) as error:
            raise Refusal(
                "Invalid base64 image_url.", code="invalid_base64", param=f"{name}.image_url"
            ) from error
        return FilePart(name=name, filename=name, content_type=match[1].lower(), data=data)
    if url.startswith(("http://", "https://")):  # the sandbox has no network: nothing is reachable
        message = f"Error while downloading {url[:200]}."
        raise Refusal(message, code="invalid_image_url", param=f"{name}.image_url")
    message = f"Invalid '{name}.image_url': expected an http(s) URL or a base64 data URL."
    raise Refusal(message, code="invalid_image_url", param=f"{name}.image_url")


def _decoded(part: FilePart, number: int) -> Picture:
    opened = _open(part.data)
    declared = part.content_type
    # A declared type that the bytes contradict is refused: nobody has seen the service do it,
    # but nobody should rely on its not doing it.
    if opened is None or (declared and _PIL_TYPES.get(opened.format) != declared):
        message = f"Invalid image file or mode for image {number}, please check your image file."
        param = "image" if part.name.startswith("image[") or part.name == "image" else part.name
        raise user_error(message + CONTACT, param, "invalid_image_file")
    width, height = _oriented(opened)
    return Picture(data=part.data, width=width, height=height)


def _open(data: bytes) -> Any:
    """The fully decoded picture, or None when the bytes are none of the accepted kinds."""
    try:
        with open_file(without_texts(data), FORMATS) as image:
            if image.width * image.height > _MAX_PIXELS or image.format not in _PIL_TYPES:
                return None
            load(image)
            return image
    except Exception:  # noqa: BLE001  # Pillow raises nearly anything on hostile bytes
        return None


def _oriented(image: Any) -> tuple[int, int]:
    turned = orientation(image) in {5, 6, 7, 8}  # on their side
    return (image.height, image.width) if turned else (image.width, image.height)


def _mask(part: FilePart, first: Picture) -> Picture:
    return _overlay(part, first, "mask", "invalid_mask_image_format")


def _markup(part: FilePart, first: Picture) -> Picture:
    picture = _overlay(part, first, "markup", "invalid_markup_image_format")
    low, _high = _open(part.data).convert("RGBA").getchannel("A").getextrema()
    if low > 0:
        raise user_error(
            "Invalid markup image format - markup must contain transparent pixels",
            "markup", "invalid_markup_image_format",
        )  # fmt: skip
    return picture


def _overlay(part: FilePart, first: Picture, name: str, code: str) -> Picture:
    """A PNG with an alpha channel, as large as the first input."""
    opened = _open(part.data)
    if opened is None or opened.format != "PNG":
        problem = f"{name} image must be a valid PNG file"
    elif not opened.has_transparency_data:
        problem = f"{name} image missing alpha channel"
    elif (opened.width, opened.height) != (first.width, first.height):
        problem = f"{name} size does not match image size"
    else:
        return Picture(data=part.data, width=opened.width, height=opened.height)
    raise user_error(f"Invalid {name} image format - {problem}", name, code)
