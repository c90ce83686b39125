"""The images of an edit: which are taken, from a form and from JSON, and which are refused."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from PIL import Image as pil

from gptimage.sandbox import Sandbox
from gptimage.transport.http import FilePart, HttpRequest
from tests.sandbox.pictures import edit, encoded, error, json_edit, markup, mask, part, photo


USER = "image_generation_user_error"
OCTETS = "application/octet-stream"
NAMED = "Supported file formats are 'image/jpeg', 'image/png', and 'image/webp'."
FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}


def data_url(data: bytes, kind: str = "image/png") -> str:
    """The bytes as a data URL."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def mpo() -> bytes:
    """A phone's image with a second frame, which looks like a JPEG from outside."""
    out = io.BytesIO()
    frame = pil.new("RGB", (32, 32), (200, 40, 40))
    frame.save(out, "MPO", save_all=True, append_images=[frame.copy()])
    return out.getvalue()


def turned() -> bytes:
    """A JPEG of 64x48 that its camera says is 48x64."""
    exif = pil.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    pil.open(io.BytesIO(photo())).save(out, "JPEG", exif=exif)
    return out.getvalue()


def opaque() -> bytes:
    """A mask without an alpha channel."""
    return photo(mode="RGB")


Form = tuple[FilePart, ...]
IMAGE = part("image", photo())
REFUSED: list[tuple[Form, Mapping[str, Any], str | None, str, str]] = [
    ((part("mask", mask()),), {}, "image", "missing_required_parameter", "Missing required"),
    ((part("image", photo(), OCTETS),), {}, "image", "unsupported_file_mimetype",
     f"Invalid file 'image': unsupported mimetype ('{OCTETS}'). {NAMED}"),
    ((part("image[]", photo()), part("image[]", photo(), "image/gif")), {}, "image[1]",
     "unsupported_file_mimetype", "Invalid file 'image[1]': unsupported mimetype ('image/gif')."),
    ((part("image", photo(), "image/jpeg"),), {}, "image", "invalid_image_file",
     "Invalid image file or mode for image 1, please check your image file."),
    ((part("image", b""),), {}, "image", "invalid_image_file", "Invalid image file or mode"),
    ((part("image", photo()[:-40]),), {}, "image", "invalid_image_file", "Invalid image file"),
    ((part("image", mpo(), "image/jpeg"),), {}, "image", "invalid_image_file", "Invalid image"),
    ((part("image[]", photo()), part("image[]", b"GIF89a")), {}, "image", "invalid_image_file",
     "Invalid image file or mode for image 2, please check your image file."),
    ((IMAGE, IMAGE), {}, "image", "duplicate_parameter", "Duplicate parameter: 'image'."),
    ((IMAGE, part("mask", mask()), part("mask", mask())), {}, "mask", "duplicate_parameter",
     "Duplicate parameter: 'mask'."),
    ((IMAGE, part("images", photo())), {}, "images", "unknown_parameter", "Unknown parameter"),
    ((IMAGE, part("style_image", photo())), {}, "style_image", "unknown_parameter", "Unknown"),
    (tuple(part("image[]", photo()) for _ in range(17)), {}, "image", "array_above_max_length",
     "Invalid 'image': array too long."),
    ((IMAGE, part("mask", mask(), OCTETS)), {}, "mask", "unsupported_file_mimetype",
     "Invalid file 'mask': unsupported mimetype"),
    ((IMAGE, part("mask", photo(kind="JPEG"))), {}, "mask", "invalid_mask_image_format",
     "Invalid mask image format - mask image must be a valid PNG file"),
    ((IMAGE, part("mask", opaque())), {}, "mask", "invalid_mask_image_format",
     "Invalid mask image format - mask image missing alpha channel"),
    ((IMAGE, part("mask", mask(48, 64))), {}, "mask", "invalid_mask_image_format",
     "Invalid mask image format - mask size does not match image size"),
    ((part("image", turned(), "image/jpeg"), part("mask", mask(64, 48))), {}, "mask",
     "invalid_mask_image_format", "Invalid mask image format - mask size does not match"),
    ((IMAGE, part("mask", mask() + bytes(4_000_000))), {}, "mask", "file_too_large",
     "Invalid file 'mask'"),
    ((IMAGE, part("mask", mask()), part("markup", markup())), {}, "markup", "invalid_value",
     "'markup' cannot be combined with 'mask'."),
    ((IMAGE, part("markup", markup(48, 64))), {}, "markup", "invalid_markup_image_format",
     "Invalid markup image format - markup size does not match image size"),
    ((IMAGE, part("markup", encoded(pil.new("RGBA", (64, 48), "red")))), {}, "markup",
     "invalid_markup_image_format", "Invalid markup image format - markup must contain"),
    ((IMAGE, part("markup", markup())), {"model": "gpt-image-2"}, "markup", "invalid_value",
     "The model 'gpt-image-2' does not support 'markup'."),
    ((IMAGE,), {"input_fidelity": "high"}, "input_fidelity", "invalid_input_fidelity_model",
     "The model 'gpt-image-2.5-flare' does not support the 'input_fidelity' parameter."),
    ((IMAGE,), {"model": "gpt-image-1-mini", "input_fidelity": "high"}, "input_fidelity",
     "invalid_value", "The model 'gpt-image-1-mini' does not support input fidelity 'high'"),
    ((IMAGE,), {"model": "chatgpt-image-latest", "input_fidelity": "low"}, "input_fidelity",
     "invalid_input_fidelity_model", "The model 'chatgpt-image-latest' does not support"),
    ((IMAGE,), {"moderation": "off"}, "moderation", "invalid_value", "Invalid value: 'off'"),
    ((IMAGE,), {"n": "three"}, "n", "invalid_type", "Invalid type for 'n'"),
    ((IMAGE,), {"n": "3.0"}, "n", "invalid_type", "Invalid type for 'n'"),
    ((IMAGE,), {"stream": "yes"}, "stream", "invalid_type", "Invalid type for 'stream'"),
    ((IMAGE,), {"prompt": ["a", "b"]}, "prompt", "duplicate_parameter", "Duplicate parameter"),
    ((IMAGE,), {"svg": {"model": "a"}}, "svg", "invalid_value", "'svg' is only supported"),
    ((IMAGE,), {"svg[colour]": "a"}, "svg", "invalid_value", "'svg' is only supported"),
    ((IMAGE, part("mask", mask())), {"model": "gpt-image-2.6-flare", "output_format": "gif"},
     "mask", "invalid_value", "'mask' is not supported for GIF output format"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "given", "param", "code", "message"), REFUSED)
def test_forms_with_bad_pictures_are_refused(
    sandbox: Sandbox, files: Form, given: Mapping[str, Any], param: str, code: str, message: str
) -> None:
    """Each is a 400 that names the file or the field."""
    reply = sandbox.send(edit(*files, **given))
    found = error(reply)

    assert (400, param, code) == (reply.status, found["param"], found["code"])
    assert found["message"].startswith(message)


def test_unreadable_pictures_name_the_request(sandbox: Sandbox) -> None:
    """The message tells which request id to quote, as the service's does."""
    reply = sandbox.send(edit(part("image", b"?")))

    assert error(reply)["message"].endswith(f"include the request ID {reply.request_id}.")


def test_pictures_of_fifty_megabytes_are_too_large(sandbox: Sandbox) -> None:
    """An input has to be smaller than 50 MB."""
    found = error(sandbox.send(edit(part("image", photo() + bytes(50_000_000)))))

    assert (found["param"], found["code"]) == ("image", "file_too_large")


@pytest.mark.parametrize("mime", FORMATS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_documented_formats_are_taken(sandbox: Sandbox, mime: str, mode: str) -> None:
    """PNG, JPEG and WebP go in, in colour and in grey."""
    file = part("image", photo(kind=FORMATS[mime], mode=mode), mime)
    reply = sandbox.send(edit(file, size="1024x640", quality="low"))

    assert reply.status == 200


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA"])
def test_masks_of_any_png_kind_are_taken(sandbox: Sandbox, mode: str) -> None:
    """What counts is that the PNG is see-through somewhere, not how it says so."""
    image = pil.open(io.BytesIO(mask()))
    out = io.BytesIO()
    if mode == "P":
        pil.new("P", image.size).save(out, "PNG", transparency=0)
    else:
        image.convert("LA").convert(mode if mode != "PA" else "LA").save(out, "PNG")
    files = (IMAGE, part("mask", out.getvalue()))
    reply = sandbox.send(edit(*files, size="1024x640", quality="low"))

    assert reply.status == 200


def test_sixteen_pictures_are_taken(sandbox: Sandbox) -> None:
    """The most inputs one edit may have."""
    files = [part("image[]", photo()) for _ in range(16)]
    reply = sandbox.send(edit(*files, size="1024x640", quality="low"))
    used = json.loads(reply.body)["usage"]["input_tokens_details"]["image_tokens"]

    assert (reply.status, used) == (200, 16 * 32 * 24)


def upload(sandbox: Sandbox, data: bytes, **fields: str) -> Any:
    """The file object of an uploaded image."""
    body = {"purpose": "vision", **fields}
    request = HttpRequest(method="POST", path="/files", body=body, files=(part("file", data),))
    return json.loads(sandbox.send(request).body)


Reference = Callable[[Sandbox], Mapping[str, Any]]
URL = {"image_url": data_url(photo())}
BAD_JSON: list[tuple[Mapping[str, Any], str, str, str]] = [
    ({}, "images", "missing_required_parameter", "Missing required parameter: 'images'."),
    ({"images": URL}, "images", "invalid_type", "Invalid type for 'images': expected an array"),
    ({"images": []}, "images", "empty_array", "Invalid 'images': empty array."),
    ({"images": [URL] * 17}, "images", "array_above_max_length", "Invalid 'images': array too"),
    ({"images": ["file-1"]}, "images[0]", "invalid_type", "Invalid type for 'images[0]'"),
    ({"images": [{}]}, "images[0]", "invalid_value", "Invalid 'images[0]': provide exactly one"),
    ({"images": [{**URL, "file_id": "file-1"}]}, "images[0]", "invalid_value", "Invalid 'images"),
    ({"images": [{**URL, "detail": "high"}]}, "images[0].detail", "unknown_parameter", "Unknown"),
    ({"images": [{"image_url": 5}]}, "images[0].image_url", "invalid_type", "Invalid type"),
    ({"images": [{"image_url": "data:image/png;base64,a?"}]}, "images[0].image_url",
     "invalid_base64", "Invalid base64 image_url."),
    ({"images": [{"image_url": "a" * 20_971_521}]}, "images[0].image_url",
     "string_above_max_length", "Invalid 'images[0].image_url': string too long."),
    ({"images": [{"image_url": "https://example.com/a.png"}]}, "images[0].image_url",
     "invalid_image_url", "Error while downloading https://example.com/a.png."),
    ({"images": [{"image_url": "ftp://example.com/a.png"}]}, "images[0].image_url",
     "invalid_image_url", "Invalid 'images[0].image_url'"),
    ({"images": [{"image_url": data_url(photo(), "image/bmp")}]}, "images[0]",
     "unsupported_file_mimetype", "Invalid file 'images[0]': unsupported mimetype"),
    ({"images": [{"image_url": data_url(b"no")}]}, "images[0]", "invalid_image_file", "Invalid"),
    ({"images": [URL], "mask": {"image_url": data_url(opaque())}}, "mask",
     "invalid_mask_image_format", "Invalid mask image format - mask image missing alpha"),
    ({"images": [URL], "image": "x"}, "image", "unknown_parameter", "Unknown parameter: 'image'."),
]  # fmt: skip


@pytest.mark.parametrize(("given", "param", "code", "message"), BAD_JSON)
def test_json_with_bad_pictures_is_refused(
    sandbox: Sandbox, given: Mapping[str, Any], param: str, code: str, message: str
) -> None:
    """Each is a 400 that names the path of what is wrong."""
    reply = sandbox.send(json_edit(**given))
    found = error(reply)

    assert (400, param, code) == (reply.status, found["param"], found["code"])
    assert found["message"].startswith(message)


def test_json_edits_take_data_urls_files_and_moderation(sandbox: Sandbox) -> None:
    """Images by data URL and by file id, a mask, and `moderation`."""
    file_id = upload(sandbox, photo(kind="WEBP"))["id"]
    request = json_edit(
        images=[{"image_url": data_url(photo(kind="JPEG"), "image/jpeg")}, {"file_id": file_id}],
        mask={"image_url": data_url(mask())},
        moderation="low",
        size="1024x640",
        quality="low",
    )
    reply = sandbox.send(request)

    assert reply.status == 200
    assert json.loads(reply.body)["usage"]["input_tokens_details"]["image_tokens"] == 2 * 32 * 24


def test_unknown_files_are_refused(sandbox: Sandbox) -> None:
    """A file id nobody uploaded does not exist."""
    reply = sandbox.send(json_edit(images=[{"file_id": "file-nope"}]))

    assert (reply.status, error(reply)["message"]) == (404, "No such File object: file-nope")


def test_oriented_pictures_are_measured_upright(sandbox: Sandbox) -> None:
    """A mask fits the image as its camera meant it to be seen."""
    files = (part("image", turned(), "image/jpeg"), part("mask", mask(48, 64)))
    reply = sandbox.send(edit(*files, quality="low"))

    assert (reply.status, json.loads(reply.body)["size"]) == (200, "1024x1536")
