"""What the page asks to draw, as a job; only images of the store and uploads can be named."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from attrs import frozen

from gptimage.errors import InvalidRequestError
from gptimage.store.names import is_id
from gptimage.studio.gallery import find_upload
from gptimage.types.request import Prompt
from gptimage.workers import Job


if TYPE_CHECKING:
    from gptimage.studio.context import Studio


@frozen(kw_only=True)
class JobRequest:
    """A job, and what is not part of its request.

    Attributes:
        job: The job, with the paths of uploads.
        previews: How many partial images are shown.
    """

    job: Job
    previews: int

    @property
    def prompt(self) -> Prompt:
        """The prompt, with the name of its template."""
        return Prompt(self.job.request["prompt"], template=self.job.request.get("template"))

    @property
    def images(self) -> list[str] | None:
        """The images to start from, or None."""
        found: list[str] | None = self.job.request.get("images")
        return found

    def options(self) -> dict[str, Any]:
        """Return the other arguments of the call."""
        without = ("prompt", "template", "images", "tags")
        found = {name: each for name, each in self.job.request.items() if name not in without}
        return {**found, **({"partial_images": self.previews} if self.previews else {})}


def read_job(studio: Studio, body: Mapping[str, Any], *, id: str | None = None) -> JobRequest:
    """Read a job; the page leaves out what is empty, so an empty value is a mistake.

    Args:
        studio: The studio.
        body: What the page sent.
        id: The id of a request that has none, since it is only estimated or one of a batch.

    Raises:
        InvalidRequestError: It is none; ``.field`` says what is wrong.
    """
    asked = {**({} if id is None else {"id": id}), **body}
    if empty := next((name for name, value in asked.items() if value is None), None):
        raise InvalidRequestError(f"{empty} is null: leave it out", field=empty, value=None)
    previews = asked.pop("partial_images", 0)
    if not isinstance(previews, int) or isinstance(previews, bool) or not 0 <= previews <= 3:
        raise InvalidRequestError("partial_images: 0 to 3", field="partial_images", value=previews)
    if "images" in asked:
        # A job also takes one image without a list, which must not pass unseen.
        given: Any = asked["images"]
        several = cast("list[object]", given if isinstance(given, list) else [given])
        asked["images"] = [_source(studio, each) for each in several]
    for name in ("mask", "markup"):
        if name in asked:
            asked[name] = _source(studio, asked[name])
    job = Job.from_dict(asked, paths=True)
    count: Any = job.request.get("n", 1)
    if isinstance(count, int) and count > studio.max_images:
        raise InvalidRequestError(
            f"one call draws at most {studio.max_images} images here, not {count}",
            field="n",
            value=count,
            allowed=f"1 to {studio.max_images}",
        )
    return JobRequest(job=job, previews=previews)


def _source(studio: Studio, source: object) -> str:
    """Return an image of the store by its id, or an upload by its path.

    The page's word is not trusted with a path or a URL: it could name any file of this machine.
    """
    if isinstance(source, str) and is_id(source):
        return source
    if isinstance(source, str) and source.startswith("upload:"):
        path = find_upload(studio.uploads, source)
        os.utime(path)  # it is used again, see `open_studio`: as long as its job can be looked for
        return str(path)
    raise InvalidRequestError(
        f"{source!r:.60} is neither an image of the store (img_...) nor an upload",
        field="images",
        value=source,
    )
