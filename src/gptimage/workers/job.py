"""`Job`: one request with an id of yours, as plain JSON that travels through a queue."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Self, Unpack, cast

from attrs import field, frozen

from gptimage._internal.json import array, canonical, table
from gptimage._shown import shown
from gptimage.errors import InvalidRequestError
from gptimage.models.sizes import Size
from gptimage.prompt import Prompt
from gptimage.store.ids import is_id
from gptimage.store.save import MAX_TAGS, check_tags
from gptimage.types.inputs import MAX_IMAGES
from gptimage.types.request import EditOptions


_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,79}", re.ASCII)
_REMOTE: Final = re.compile(r"https?://.|data:.|file-[A-Za-z0-9_-]{8,200}$", re.IGNORECASE)
_SOURCES: Final = (
    "the id of a picture in the store (img_...), an http(s) or data: URL, or the id of an "
    "uploaded file (file-...)"
)
_PICTURES: Final = ("images", "mask", "markup")
_NUMBERS: Final = ("n", "compression", "frame_count", "frame_duration_ms")
_OBJECTS: Final = ("svg", "extra_body")
_UNWANTED: Final[Mapping[str, str]] = {
    "partial_images": "nobody is there to see previews of a job",
    "stream": "nobody is there to see previews of a job",
    "refresh": "a job takes what the cache knows; give the worker a client without a cache",
}
_KNOWN: Final = ("prompt", "images", "tags", "template", *EditOptions.__annotations__)


def _checked_id(id: object) -> str:
    if isinstance(id, str) and _ID.fullmatch(id):
        return id
    raise _refuse("id", id, "1 to 80 letters, digits and . _ : @ - such as order-17")


def _checked(request: object) -> Mapping[str, Any]:
    """The request without what says nothing, once every value is of a kind that can be right."""
    asked = {name: value for name, value in table(request).items() if value is not None}
    for name in asked:
        if name not in _KNOWN or name in _UNWANTED:
            raise _unknown(name)
    prompt = asked.pop("prompt", None)
    if not isinstance(prompt, str) or not prompt.strip():
        raise _refuse("prompt", prompt, "the words to draw from")
    found: dict[str, Any] = {"prompt": prompt}
    for name, value in asked.items():
        kept = _value(name, value)
        if kept not in ([], {}):
            found[name] = kept
    stray = [name for name in ("mask", "markup", "input_fidelity") if name in found]
    if stray and "images" not in found:
        raise _refuse(stray[0], found[stray[0]], "a job with images to change")
    return found


@frozen
class Job:
    """One request that a worker somewhere is to send, once.

    Its id names it for good. Delivered twice it is one job, and the same id with another
    request is refused. The pictures get it as a tag, too: ``job:order-17``.

    Attributes:
        id: Yours: 1 to 80 letters, digits and ``. _ : @ -``, such as ``order-17``.
        request: The arguments of `ImageClient.generate` by name, as JSON; with ``images`` those
            of `ImageClient.edit`. ``tags`` are for the store, and so is ``template``, the name
            of the template the prompt was rendered from.

    Raises:
        InvalidRequestError: A name is unknown, a value of the wrong kind; ``.field`` says which.
    """

    id: str = field(converter=_checked_id)
    request: Mapping[str, Any] = field(converter=_checked, repr=False, hash=False)

    @classmethod
    def of(
        cls,
        id: str,
        prompt: str | Prompt,
        images: str | Iterable[str] | None = None,
        *,
        tags: str | Iterable[str] = (),
        paths: bool = False,
        **options: Unpack[EditOptions],
    ) -> Self:
        """A job from the arguments of a call.

        Args:
            id: See `Job`.
            prompt: What to draw, or a rendered template.
            images: Pictures to start from, which makes it an edit: ids of the store, URLs, data
                URLs, or ids of uploaded files.
            tags: Tags for the store.
            paths: Also take paths of files; the worker must be told to take them, too.
            **options: See `EditOptions`; mask and markup are named as in ``images``.

        Raises:
            InvalidRequestError: Something is missing, unknown, or no JSON; ``.field`` says which.
        """
        given = {name: value for name, value in options.items() if value is not None}
        asked: dict[str, Any] = {**_recommended(prompt), **given}
        if isinstance(asked.get("size"), (tuple, Size)):
            asked["size"] = str(Size.parse(asked["size"]))
        job = cls(id, {**asked, "prompt": str(prompt), "images": images, "tags": tags})
        return job if paths else job.without_paths()

    @classmethod
    def from_json(cls, spec: Mapping[str, Any], *, paths: bool = False) -> Self:
        """A job from what came out of a queue.

        Args:
            spec: An object such as ``{"id": "order-17", "prompt": "A red fox", "n": 2}``.
            paths: Also take paths of files.

        Raises:
            InvalidRequestError: It is none; ``.field`` says what is wrong.
        """
        values = dict(table(spec))
        job = cls(values.pop("id", None), values)
        return job if paths else job.without_paths()

    def to_json(self) -> dict[str, Any]:
        """The job for a queue; `from_json` reads it."""
        return {"id": self.id, **self.request}

    def without_paths(self) -> Self:
        """The job itself, once all its pictures are such that any machine can read them.

        Raises:
            InvalidRequestError: One may be the path of a file.
        """
        for name in _PICTURES:
            several = array(self.request.get(name)) or [self.request.get(name)]
            for number, source in enumerate(several):
                if isinstance(source, str) and not (_REMOTE.match(source) or is_id(source)):
                    place = f"{name}[{number}]" if name == "images" else name
                    raise _refuse(place, source, f"{_SOURCES}; paths=True also takes paths")
        return self

    @property
    def tag(self) -> str:
        """The tag every picture of this job has in the store."""
        return f"job:{self.id}"

    @property
    def text(self) -> str:
        """The request as JSON: the same text is the same request."""
        return json.dumps(self.request, sort_keys=True)


def _recommended(prompt: str | Prompt) -> dict[str, Any]:
    """What a template recommends, and its name."""
    if not isinstance(prompt, Prompt):
        return {}
    names = ("size", "quality", "background", "format", "template")
    return {name: value for name in names if (value := getattr(prompt, name)) is not None}


def _value(name: str, value: Any) -> object:
    """A value as plain JSON.

    Raises:
        InvalidRequestError: It is of another kind than this parameter.
    """
    if name == "images":
        return _images(value)
    if name == "tags":
        return _tags(value)
    if name in _NUMBERS:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise _refuse(name, value, "a whole number")
    if name in _OBJECTS:
        return _object(name, value)
    if isinstance(value, str) and value.strip():
        return value
    raise _refuse(name, value, _SOURCES if name in _PICTURES else "text")


def _images(value: Any) -> list[str]:
    several = [value] if isinstance(value, str) else value
    if not isinstance(several, Iterable) or isinstance(several, (bytes, Mapping)):
        raise _refuse("images", value, f"a list of pictures, each {_SOURCES}")
    found = list(cast("Iterable[object]", several))
    for number, source in enumerate(found):
        if not isinstance(source, str) or not source.strip():
            raise _refuse(f"images[{number}]", source, _SOURCES)
    if not 1 <= len(found) <= MAX_IMAGES:
        raise _refuse("images", len(found), f"1 to {MAX_IMAGES} pictures")
    return cast("list[str]", found)


def _tags(value: Any) -> list[str]:
    """The tags, with room for the job's own."""
    if not isinstance(value, (str, list, tuple, set, frozenset)):
        raise _refuse("tags", value, "a list of texts")
    found = check_tags(cast("Iterable[str]", value))
    if len(found) >= MAX_TAGS:
        raise _refuse("tags", len(found), f"up to {MAX_TAGS - 1} tags beside the job's own")
    return list(found)


def _object(name: str, value: Any) -> dict[str, Any]:
    try:
        found = json.loads(canonical(value))
    except (TypeError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _refuse(name, value, "a JSON object")
    return cast("dict[str, Any]", found)


def _unknown(name: object) -> InvalidRequestError:
    text = str(name)
    close = difflib.get_close_matches(text, _KNOWN, n=1)
    advice = _UNWANTED.get(text) or (
        f"did you mean {close[0]}?" if close else "extra_body passes unknown fields"
    )
    allowed = tuple(each for each in _KNOWN if each not in _UNWANTED)
    return InvalidRequestError(
        f"{shown(name)} is no parameter of a job: {advice}", field=text, allowed=allowed
    )


def _refuse(field: str, value: object, allowed: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{field}: {shown(value)} cannot be used in a job: write {allowed}",
        field=field,
        value=value,
        allowed=allowed,
    )
