"""`Job`: one request with an id of yours, as plain JSON that travels through a queue."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Literal, Self, Unpack, cast

from attrs import field, frozen

from gptimage._internal.converter import from_json, to_json
from gptimage._internal.json import array, canonical, table
from gptimage._internal.keywords import flag, plain_int
from gptimage._internal.text import closest
from gptimage.errors import InvalidRequestError, truncated_repr
from gptimage.models.sizes import Size
from gptimage.store.names import is_id
from gptimage.store.save import MAX_TAGS, check_tags
from gptimage.types.parameters import MAX_IMAGES
from gptimage.types.request import EditOptions, Prompt


JobState = Literal["open", "claimed", "sending", "done", "needs_review", "failed", "discarded"]
"""How far a job is.

``open``: it may be sent, and no worker has it. ``claimed``: a worker prepares it, or waits for a
rate limit. ``sending``: its request was sent, or was about to be; it may be billed. ``done``: its
images are in the store. ``needs_review``: it may have been billed, and there is no image; a
person decides. ``failed``: nothing was billed. ``discarded``: a person gave it up.
"""

JobStatus = Literal["done", "needs_review", "failed", "busy", "discarded"]
"""How a job stands after a delivery.

``done``: its images are in the store. ``needs_review``: it may have been billed, and there is no
image; it is not sent again until a person says so. ``failed``: nothing was billed. ``busy``: a
worker has it right now, or the cache or the store cannot be read; deliver it again later.
``discarded``: a person gave it up.
"""

# The words of 0.1.0, which stay in job stores and in results: workers of both versions may share
# a job store while they are updated one by one, and a reworded state would look damaged.
_KEYS: Final = {"owner": "holder", "crash_count": "deaths"}
_STATES: Final = {"needs_review": "parked", "discarded": "dropped"}
_RESULT_KEYS: Final = {"cost": "cost_usd", "possible_cost": "possible_cost_usd"}


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in values.items()}


def _inverse(names: Mapping[str, str]) -> dict[str, str]:
    return {old: new for new, old in names.items()}


@frozen(kw_only=True)
class JobOutput:
    """The images of a job.

    Attributes:
        images: The ids of their records.
        cost: What they cost, in USD; None when that is not known.
        warnings: What the caller should know about them, one sentence each.
    """

    images: tuple[str, ...]
    cost: Decimal | None
    warnings: tuple[str, ...] = ()


@frozen(kw_only=True)
class JobRecord:
    """The state of one job in a job store.

    Attributes:
        id: The job's id.
        request: Its request, as `Job.text` writes it.
        state: How far it is; see `JobState`.
        revision: Counts the changes, so that of two at once only one is made.
        attempt: How often a worker began with it, from 1.
        crash_count: How many workers died with it before anything was sent.
        owner: The worker that has it: ``machine:process:random``; empty when none has.
        until: When that worker counts as dead, unless it sends a heartbeat (Unix time).
        at: When the state changed (Unix time).
        key: The cache key of the request that was sent, or was about to be; None when none was.
        possible_cost: What that may have cost at most, in USD; None when it cannot be known.
        images: Ids of its images in the store.
        cost: What it cost, in USD; None when that is not known.
        reason: Why it needs review or failed: the error's class and message, or a sentence.
        retryable: Whether a failed job is tried again when it is delivered again.
        warnings: What the caller should know about its images, one sentence each.
    """

    id: str
    request: str = field(repr=False)
    state: JobState
    revision: int = 1
    attempt: int = 1
    crash_count: int = 0
    owner: str = ""
    until: float = 0.0
    at: float
    key: str | None = None
    possible_cost: Decimal | None = Decimal(0)
    images: tuple[str, ...] = ()
    cost: Decimal | None = None
    reason: str | None = field(default=None, repr=False)
    retryable: bool = False
    warnings: tuple[str, ...] = field(default=(), repr=False)

    @property
    def settled(self) -> bool:
        """Whether nothing more happens to it unless a person retries it."""
        return self.state in ("done", "failed", "discarded")

    @property
    def owned(self) -> bool:
        """Whether a worker owns it, running or not."""
        return self.state in ("claimed", "sending")

    def abandoned(self, now: float) -> bool:
        """Return whether the lease of the worker that has it is over."""
        return self.owned and self.until <= now

    def to_text(self) -> str:
        """Return the record as a job store keeps it."""
        values = _renamed(to_json(self), _KEYS)
        values["state"] = _STATES.get(self.state, self.state)
        return json.dumps(values, sort_keys=True)

    @classmethod
    def from_text(cls, text: str | bytes) -> Self:
        """Return the record in a job store; fields of newer versions are left out.

        Raises:
            ValueError: The text is no record; the message names each field that is wrong.
        """
        values = _renamed(table(json.loads(text)), _inverse(_KEYS))
        state = values.get("state")
        return from_json(values | {"state": _inverse(_STATES).get(str(state), state)}, cls)


@frozen(kw_only=True)
class JobResult:
    """The state of a job after it was delivered.

    Attributes:
        id: The job's id.
        status: See `JobStatus`.
        images: Ids of its images in the store.
        cost: What it cost, in USD; None when that is not known, or nothing came of it.
        possible_cost: What it may have cost at most although there is no image, in USD; 0 when
            nothing was billed, None when that cannot be known.
        attempt: How often a worker began with it.
        reason: Why it needs review, failed or is busy.
        retryable: Whether it is tried again when it is delivered again.
        retry_after: Seconds after which that makes sense; None when waiting alone does not help.
        warnings: What the caller should know about its images, one sentence each.
        unsaved: ``data:`` URLs of images that are paid and that no disk of the worker could save;
            a queue's task has no other way to hand them over.
    """

    id: str
    status: JobStatus
    images: tuple[str, ...] = ()
    cost: Decimal | None = None
    possible_cost: Decimal | None = Decimal(0)
    attempt: int = 1
    reason: str | None = field(default=None, repr=False)
    retryable: bool = False
    retry_after: float | None = None
    warnings: tuple[str, ...] = ()
    unsaved: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, record: JobRecord, *, now: float, retry_after: float | None = None) -> Self:
        """Return the result that stands for a record.

        Args:
            record: The record.
            now: The time, by the job store's clock.
            retry_after: Seconds after which to try again, where that is not just the lease's end.
        """
        busy = record.owned or record.state == "open"
        reason = record.reason
        if busy:
            retry_after = retry_after or max(0.0, record.until - now) + 1.0
            reason = reason or f"{record.owner or 'nobody'} has it"
        return cls(
            id=record.id,
            status="busy" if busy else cast("JobStatus", record.state),
            images=record.images,
            cost=record.cost,
            possible_cost=record.possible_cost,
            attempt=record.attempt,
            reason=reason,
            retryable=busy or (record.state == "failed" and record.retryable),
            retry_after=retry_after,
            warnings=record.warnings,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON; amounts of money are text, which loses nothing."""
        return _renamed(to_json(self), _RESULT_KEYS)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the result that `to_dict` gave.

        Raises:
            ValueError: It is none; the message names each field that is wrong.
        """
        found = _renamed(table(values), _inverse(_RESULT_KEYS))
        status = found.get("status")
        try:
            return from_json(found | {"status": _inverse(_STATES).get(str(status), status)}, cls)
        except ValueError as error:
            raise ValueError(f"this is no result of a job: {error}") from None


_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,79}", re.ASCII)
_REMOTE: Final = re.compile(r"https?://.|data:.|file-[A-Za-z0-9_-]{8,200}$", re.IGNORECASE)
_SOURCES: Final = (
    "the id of an image in the store (img_...), an http(s) or data: URL, or the id of an "
    "uploaded file (file-...)"
)
_SOURCE_FIELDS: Final = ("images", "mask", "markup")
_NUMBERS: Final = ("n", "compression", "frame_count", "frame_duration_ms")
_OBJECTS: Final = ("svg", "extra_body")
_REFUSED: Final[Mapping[str, str]] = {
    "partial_images": "nothing shows the previews of a job",
    "stream": "nothing shows the previews of a job",
    "refresh": "a job uses the cache; give the worker a client without one",
}
_KNOWN: Final = ("prompt", "images", "tags", "template", *EditOptions.__annotations__)


def _checked_id(id: object) -> str:
    if isinstance(id, str) and _ID.fullmatch(id):
        return id
    raise _refuse("id", id, "1 to 80 letters, digits and . _ : @ - such as order-17")


def _checked_request(request: object) -> Mapping[str, Any]:
    """Check every value's kind; return the request without None and empty lists."""
    given = {name: value for name, value in table(request).items() if value is not None}
    for name in given:
        if name not in _KNOWN or name in _REFUSED:
            raise _unknown(name)
    prompt = given.pop("prompt", None)
    if not isinstance(prompt, str) or not prompt.strip():
        raise _refuse("prompt", prompt, "what the image is to show")
    checked = {name: _checked_value(name, value) for name, value in given.items()}
    empty: tuple[object, ...] = ([], {})
    found = {"prompt": prompt} | {k: each for k, each in checked.items() if each not in empty}
    stray = [name for name in ("mask", "markup", "input_fidelity", "outside") if name in found]
    if stray and "images" not in found:
        raise _refuse(stray[0], found[stray[0]], "a job with images to change")
    return found


@frozen
class Job:
    """One request that a worker somewhere is to send, once.

    Its id names it for good. Delivered twice it is one job, and the same id with another
    request is refused. The images get it as a tag, too: ``job:order-17``.

    Attributes:
        id: Yours: 1 to 80 letters, digits and ``. _ : @ -``, such as ``order-17``.
        request: The arguments of `ImageClient.generate` by name, as JSON; with ``images`` those
            of `ImageClient.edit`. ``tags`` are for the store, and so is ``template``, the name
            of the template the prompt was rendered from.

    Raises:
        InvalidRequestError: A name is unknown, a value of the wrong kind; ``.field`` says which.
    """

    id: str = field(converter=_checked_id)
    request: Mapping[str, Any] = field(converter=_checked_request, repr=False, hash=False)

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
        """Make a job from the arguments of a call.

        Args:
            id: See `Job`.
            prompt: What to generate, or a rendered template.
            images: Images to start from, which makes it an edit: ids of the store, URLs, data
                URLs, or ids of uploaded files.
            tags: Tags for the store.
            paths: Also accept paths of files; the worker must allow them, too.
            **options: See `EditOptions`; mask and markup are named as in ``images``.

        Raises:
            InvalidRequestError: Something is missing, unknown, or no JSON; ``.field`` says which.
            ConfigurationError: ``paths`` is neither True nor False.
        """
        flag("paths", paths)
        given = {name: value for name, value in options.items() if value is not None}
        request: dict[str, Any] = {**_template_defaults(prompt), **given}
        job = cls(id, {**request, "prompt": str(prompt), "images": images, "tags": tags})
        return job if paths else job.without_paths()

    @classmethod
    def from_dict(cls, spec: Mapping[str, Any], *, paths: bool = False) -> Self:
        """Make a job from the JSON of a queue.

        Args:
            spec: An object such as ``{"id": "order-17", "prompt": "A red fox", "n": 2}``.
            paths: Also accept paths of files.

        Raises:
            InvalidRequestError: It is none; ``.field`` says what is wrong.
            ConfigurationError: ``paths`` is neither True nor False.
        """
        flag("paths", paths)
        values = dict(table(spec))
        job = cls(values.pop("id", None), values)
        return job if paths else job.without_paths()

    def to_dict(self) -> dict[str, Any]:
        """Return the job for a queue; `from_dict` reads it."""
        return {"id": self.id, **self.request}

    def without_paths(self) -> Self:
        """Return the job itself, if any machine can read all its images.

        Raises:
            InvalidRequestError: One may be the path of a file.
        """
        for name in _SOURCE_FIELDS:
            several = array(self.request.get(name)) or [self.request.get(name)]
            for number, source in enumerate(several):
                if isinstance(source, str) and not (_REMOTE.match(source) or is_id(source)):
                    where = f"{name}[{number}]" if name == "images" else name
                    raise _refuse(where, source, f"{_SOURCES}; paths=True also accepts paths")
        return self

    @property
    def tag(self) -> str:
        """The tag every image of this job has in the store."""
        return f"job:{self.id}"

    @property
    def text(self) -> str:
        """The request as JSON: the same text is the same request."""
        return json.dumps(self.request, sort_keys=True)


def _template_defaults(prompt: str | Prompt) -> dict[str, Any]:
    """Return the parameters a template recommends, and its name."""
    if not isinstance(prompt, Prompt):
        return {}
    if prompt.images:  # files of this machine, which a worker may not have
        raise _refuse("prompt", prompt.text, "a prompt without reference images; pass images=")
    names = ("size", "quality", "background", "format", "template")
    return {name: value for name in names if (value := getattr(prompt, name)) is not None}


def _checked_value(name: str, value: Any) -> object:
    """Return a value as plain JSON.

    Raises:
        InvalidRequestError: It is of another kind than this parameter.
    """
    if name == "images":
        return _checked_images(value)
    if name == "tags":
        return _checked_tags(value)
    if name == "size" and isinstance(value, (tuple, list, Size)):
        return str(Size.parse(cast("Sequence[int] | Size", value)))
    if name in _OBJECTS:
        return _checked_object(name, value)
    if name in _NUMBERS:
        if type(number := plain_int(value)) is int:
            return number
        raise _refuse(name, value, "a whole number")
    if isinstance(value, str) and value.strip():
        return value
    raise _refuse(name, value, _SOURCES if name in _SOURCE_FIELDS else "text")


def _checked_images(value: Any) -> list[str]:
    several = [value] if isinstance(value, str) else value
    if not isinstance(several, Iterable) or isinstance(several, (bytes, Mapping)):
        raise _refuse("images", value, f"a list of images, each {_SOURCES}")
    found = list(cast("Iterable[object]", several))
    for number, source in enumerate(found):
        if not isinstance(source, str) or not source.strip():
            raise _refuse(f"images[{number}]", source, _SOURCES)
    if not 1 <= len(found) <= MAX_IMAGES:
        raise _refuse("images", len(found), f"1 to {MAX_IMAGES} images")
    return cast("list[str]", found)


def _checked_tags(value: Any) -> list[str]:
    if not isinstance(value, (str, list, tuple, set, frozenset)):
        raise _refuse("tags", value, "a list of texts")
    found = check_tags(cast("Iterable[str]", value))
    if len(found) >= MAX_TAGS:  # one is the job's own
        raise _refuse("tags", len(found), f"up to {MAX_TAGS - 1} tags beside the job's own")
    return list(found)


def _checked_object(name: str, value: Any) -> dict[str, Any]:
    try:
        found = json.loads(canonical(value))
    except (TypeError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _refuse(name, value, "a JSON object")
    return cast("dict[str, Any]", found)


def _unknown(name: object) -> InvalidRequestError:
    text = str(name)
    close = closest(text, _KNOWN)
    advice = _REFUSED.get(text) or (
        f"did you mean {close}?" if close else "extra_body passes unknown fields"
    )
    allowed = tuple(each for each in _KNOWN if each not in _REFUSED)
    return InvalidRequestError(
        f"{truncated_repr(name)} is no parameter of a job: {advice}", field=text, allowed=allowed
    )


def _refuse(field: str, value: object, allowed: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{field}: {truncated_repr(value)} cannot be used in a job: write {allowed}",
        field=field,
        value=value,
        allowed=allowed,
    )
