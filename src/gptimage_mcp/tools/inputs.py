"""The images a tool call names: ids, handles, allowed paths, URLs and uploaded files.

Each is read here once, and proved to be a whole image by the library before anything is sent.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from attrs import frozen
from pydantic import BaseModel, ConfigDict, Field

import gptimage
from gptimage.config import variable
from gptimage.image.allowed_folders import Folders
from gptimage_mcp.auth import current_user
from gptimage_mcp.jobs.journal import is_handle
from gptimage_mcp.jobs.uploads import Uploads, is_upload
from gptimage_mcp.tools.requests import InputImage


if TYPE_CHECKING:
    from gptimage_mcp.app import App


LARGEST_DATA: Final = 1_000_000
"""Characters of a ``data:`` URL; whatever is larger has a better way in."""

_IMAGE_URI: Final = "generated-images://"
_FILE_ID: Final = re.compile(r"file-[A-Za-z0-9_-]{8,200}", re.ASCII)
_ID: Final = re.compile(r"img_\w+", re.ASCII)
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]+):", re.IGNORECASE | re.ASCII)
_BASE64: Final = re.compile(
    r"(?:iVBORw0KGgo|/9j/|UklGR|R0lGOD)[A-Za-z0-9+/\s]{60,}+={0,2}\s*", re.ASCII
)
"""What a png, jpeg, webp or gif begins with in base64; no path is that long without a dot."""

_KINDS: Final = (
    "an id (img_...), a handle (job_...), a path in an allowed folder, an https URL, a small data: "
    "URL or its base64 alone, or the id of an uploaded file (file-...)"
)


class Upload(BaseModel):
    """A file attached in the client, as clients that know ``openai/fileParams`` pass it."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="ignore")

    download_url: str = Field(description="Where the file can be downloaded, https")
    file_id: str = Field(description="The client's id of the file")
    mime_type: str | None = Field(default=None, description="What the client takes it for")
    file_name: str | None = Field(default=None, description="What the person calls it")


@frozen
class Sources:
    """Reads what a call names.

    Attributes:
        app: The server.
    """

    app: App

    async def image(self, named: str | Upload, *, field: str) -> InputImage:
        """One image, wherever it is.

        Args:
            named: How the call names it.
            field: The parameter, for errors.

        Raises:
            GptImageError: There is no such image, or it may not be read.
        """
        if isinstance(named, Upload):
            return await self._download(named.download_url, field)
        text = await self.settled(named, field=field)
        if isinstance(text, gptimage.Image):
            return text
        if not text:
            raise _refused(field, "it is empty")
        if (id := stored_id(text)) is not None:
            try:
                return await asyncio.to_thread(self.app.store.open, id)
            except gptimage.ImageNotFoundError as error:
                raise gptimage.ImageNotFoundError(f"{field}: {error}") from error
        if is_upload(text):
            return await self._uploaded(text, field)
        if _FILE_ID.fullmatch(text):
            return gptimage.FileRef(text)
        if _BASE64.fullmatch(text):
            text = f"data:image/png;base64,{''.join(text.split())}"  # the bytes tell their type
        scheme = _SCHEME.match(text)
        return await self._by_scheme(scheme[1].lower() if scheme else "", text, field)

    async def images(self, named: Sequence[str | Upload], *, field: str) -> list[InputImage]:
        """Several, in their order; errors name the one at fault, as in ``images[2]``."""
        return [
            await self.image(each, field=f"{field}[{index}]") for index, each in enumerate(named)
        ]

    async def settled(self, named: str, *, field: str) -> str | gptimage.Image:
        """Replace a call's handle by the id of its image, or by an image that is not saved."""
        text = named.strip()
        return await self._of_job(text, field) if is_handle(text) else text

    async def _by_scheme(self, scheme: str, text: str, field: str) -> InputImage:
        if scheme in ("http", "https"):
            return await self._download(text, field)
        if scheme == "data":
            if len(text) > LARGEST_DATA:
                raise _refused(field, f"the data: URL has more than {LARGEST_DATA:,} characters")
            return await asyncio.to_thread(_decoded, text, field)
        if scheme == "file":
            text = url2pathname(urlsplit(text).path)
        elif "://" in text:
            raise _refused(field, f"{scheme}: addresses are not read; name {_KINDS}")
        return await asyncio.to_thread(self._from_path, text, field)

    def _from_path(self, path: str, field: str) -> gptimage.Image:
        data = readable(self.app).read(path, field=field)
        return _proved(data, field, f"{Path(path).name!r:.80}")

    async def _uploaded(self, id: str, field: str) -> gptimage.Image:
        try:
            found = await asyncio.to_thread(Uploads(self.app.state).open, id, current_user())
        except OSError as error:
            raise _refused(field, f"{id} cannot be read now: try again") from error
        if found is None:
            raise _refused(field, f"there is no upload {id}, or it is not yours")
        return found

    async def _download(self, url: str, field: str) -> gptimage.Image:
        if not self.app.settings.fetch_urls:
            raise _refused(field, f"URLs are not read here ({variable('fetch_urls')} is off)")
        if not url.lower().startswith("https://"):
            raise _refused(field, "only https URLs are read")
        data = await asyncio.to_thread(self.app.fetch, url)
        return _proved(data, field, "what the URL leads to")

    async def _of_job(self, handle: str, field: str) -> str | gptimage.Image:
        """The image a call has drawn; itself, where the store could not save it."""
        job = await self.app.jobs.get(handle, owner=current_user())
        if job is None:
            raise _refused(field, f"no call has the handle {handle}")
        if job.state == "running":
            raise _refused(field, f"{handle} is still being drawn: view_image waits for it")
        ids = [record.id for record in job.shown]
        if len(ids) == 1:
            return ids[0]
        if ids:
            raise _refused(field, f"{handle} has {len(ids)} images; name one: {', '.join(ids)}")
        unsaved = job.outcome.images if job.outcome is not None else ()
        if len(unsaved) == 1:
            return unsaved[0]
        if unsaved:
            raise _refused(field, f"{handle} has {len(unsaved)} images, and none is in the store")
        raise _refused(field, f"{handle} left no image")


def stored_id(named: str) -> str | None:
    """The id of a stored image this stands for, itself or by its address; None for the rest."""
    id = named.removeprefix(_IMAGE_URI)
    return id if _ID.fullmatch(id) else None


def readable(app: App) -> Folders:
    """Return the folders images may be read from: the input folders, and the store's own."""
    store = app.store.folder
    return Folders(*app.settings.input_folders, *([store] if store else ()))


def writable(app: App, field: str) -> Folders:
    """Return the folder copies may be written to.

    Raises:
        InvalidRequestError: Nowhere.
    """
    folders = app.settings.output_folders
    if not folders:
        raise _refused(
            field,
            f"no folder for copies is allowed ({variable('output_folders')} is not set); every "
            "image is in the store anyway, and results name its path",
        )
    return Folders(*folders)


def _decoded(url: str, field: str) -> gptimage.Image:
    try:
        return gptimage.Image.open(url)
    except gptimage.ImageDecodeError as error:
        raise _refused(field, f"the data: URL is no image: {error}") from error


def _proved(data: bytes, field: str, name: str) -> gptimage.Image:
    """An image, as far as its head says; the library decodes all of it before it is sent."""
    try:
        return gptimage.Image.from_bytes(data)
    except gptimage.ImageDecodeError as error:
        raise _refused(field, f"{name} is no image: {error}") from error


def _refused(field: str, problem: str) -> gptimage.InvalidRequestError:
    return gptimage.InvalidRequestError(f"{field}: {problem}", field=field, allowed=_KINDS)
