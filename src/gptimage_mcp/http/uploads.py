"""``POST /images``: an image of the caller's own, to be edited by its id."""

from __future__ import annotations

from typing import Final

from anyio.to_thread import run_sync
from python_multipart.exceptions import MultipartParseError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

import gptimage
from gptimage.service.http import JsonError
from gptimage_mcp.auth import current_user
from gptimage_mcp.jobs.uploads import KEPT, Uploads


_FORM: Final = "multipart/form-data"


async def upload(request: Request, uploads: Uploads) -> Response:
    """Save the image in the body, or in the one file of a form, and tell its id."""
    data = await _file(request)
    if data is None:
        return JsonError(
            415, "no_image", "send the bytes of one image as image/..., or a form with one file"
        )
    try:
        image = await run_sync(_proved, data)
        id = await run_sync(uploads.save, image, current_user())
    except gptimage.GptImageError as error:
        return JsonError(400, "no_image", f"this is no image that can be edited: {error}")
    except OSError:
        return JsonError(
            503, "not_saved", "the upload cannot be saved: try again", headers={"retry-after": "5"}
        )
    body = {
        "id": id,
        "mime_type": image.mime_type,
        "width": image.width,
        "height": image.height,
        "bytes": image.nbytes,
        "expires_in": KEPT,
        "next": "name this id in `images` of edit_image or POST /stream",
    }
    return JSONResponse(body, 201, {"cache-control": "no-store"})


async def _file(request: Request) -> bytes | None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("image/") or kind == "application/octet-stream":
        return await request.body()
    if kind != _FORM:
        return None
    try:
        async with request.form(max_files=1, max_fields=8) as form:
            files = [each for each in form.values() if isinstance(each, UploadFile)]
            return await files[0].read() if files else None
    except (HTTPException, MultipartParseError, KeyError, ValueError):
        return None


def _proved(data: bytes) -> gptimage.Image:
    """Return the image once all of it was decoded: a head alone proves nothing.

    Raises:
        ImageDecodeError: It is no image, is damaged, or is too large to be decoded.
    """
    image = gptimage.Image.from_bytes(data)
    if image.format == "svg":
        raise gptimage.ImageDecodeError("an svg is never drawn here: save it as png first")
    image.verify()
    return image
