"""`Job`: one request with an id of yours, as plain JSON that travels through a queue."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, Literal, Self, Unpack, cast, get_args

from attrs import field, fields, frozen

from gptimage._internal.json import array, canonical, table
from gptimage._internal.text import closest
from gptimage.errors import InvalidRequestError, truncated_repr
from gptimage.models.sizes import Size
from gptimage.store.names import is_id
from gptimage.store.save import MAX_TAGS, check_tags
from gptimage.types.parameters import MAX_IMAGES
from gptimage.types.request import EditOptions, Prompt


# `JobRecord`: what a desk knows of one job, as a frozen value and as the text a desk keeps.

JobState = Literal["open", "claimed", "sending", "done", "parked", "failed", "dropped"]
"""How far a job is.

``open``: somebody decided that it may be asked again; nobody has it. ``claimed``: a worker
prepares it, or waits for its turn. ``before_send``: its request left, or was about to; it may be
billed. ``done``: its pictures are in the store. ``parked``: it may have been billed, and there
is no picture; a person decides. ``failed``: nothing was billed. ``dropped``: a person gave it up.
"""

_STATES: Final = frozenset(get_args(JobState))


@frozen(kw_only=True)
class JobAnswer:
    """The pictures of a job.

    Attributes:
        images: The ids of their records.
        cost: What they cost, in USD; None when that is not known.
        warnings: What is to be known about them, one sentence each.
    """

    images: tuple[str, ...]
    cost: Decimal | None
    warnings: tuple[str, ...] = ()


@frozen(kw_only=True)
class JobRecord:
    """What a desk knows of one job.

    Attributes:
        id: The job's id.
        request: Its request, as `Job.text` writes it.
        state: How far it is; see `JobState`.
        revision: Counts the changes, so that of two at once only one is made.
        attempt: How often somebody began with it, from 1.
        deaths: How many workers died with it before anything was sent.
        holder: The worker that has it: ``machine:process:random``; empty when nobody has.
        until: When that worker counts as dead, unless it shows a sign of life (Unix time).
        at: When the state changed (Unix time).
        key: The cache key of what left, or was about to; None when nothing did.
        possible_cost: What that may have cost at most, in USD; None when it cannot be known.
        images: Ids of its pictures in the store.
        cost: What it cost, in USD; None when that is not known.
        reason: Why it is parked or failed: the error's class and message, or a sentence.
        retryable: Whether a failed job is tried again when it is delivered again.
        warnings: What is to be known about its pictures, one sentence each.
    """

    id: str
    request: str = field(repr=False)
    state: JobState
    revision: int = 1
    attempt: int = 1
    deaths: int = 0
    holder: str = ""
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
        """Whether nothing more will happen to it, unless somebody asks for it."""
        return self.state in ("done", "failed", "dropped")

    @property
    def held(self) -> bool:
        """Whether a worker has it, dead or alive."""
        return self.state in ("claimed", "sending")

    def abandoned(self, now: float) -> bool:
        """Whether the worker that has it gave no sign of life for too long."""
        return self.held and self.until <= now

    def to_text(self) -> str:
        """The entry as a desk keeps it."""
        values = {each.name: _plain(getattr(self, each.name)) for each in fields(JobRecord)}
        return json.dumps(values, sort_keys=True)

    @classmethod
    def from_text(cls, text: str | bytes) -> Self:
        """The entry a desk kept; fields a newer version added are left out.

        Raises:
            ValueError: The text is no entry.
        """
        values = table(json.loads(text))
        try:
            return cls(**{name: read(values[name]) for name, read in _READ.items()})
        except (KeyError, TypeError, ArithmeticError) as error:
            raise ValueError(f"{type(error).__name__} in an entry: {error}") from error


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return str(value)
    return list(value) if isinstance(value, tuple) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # tuples of text


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("text expected")
    return value


def _state(value: Any) -> Any:
    if value not in _STATES:
        raise TypeError(f"unknown state {value!r:.40}")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError("a number expected")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(_text, array(value)))


def _maybe(value: Any) -> str | None:
    return None if value is None else _text(value)


def _money(value: Any) -> Decimal | None:
    return None if value is None else Decimal(_text(value))


_READ: Final[dict[str, Any]] = {
    "id": _text,
    "request": _text,
    "state": _state,
    "revision": _whole,
    "attempt": _whole,
    "deaths": _whole,
    "holder": _text,
    "until": float,
    "at": float,
    "key": _maybe,
    "possible_cost": _money,
    "images": _texts,
    "cost": _money,
    "reason": _maybe,
    "retryable": bool,
    "warnings": _texts,
}


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
    close = closest(text, _KNOWN)
    advice = _UNWANTED.get(text) or (
        f"did you mean {close}?" if close else "extra_body passes unknown fields"
    )
    allowed = tuple(each for each in _KNOWN if each not in _UNWANTED)
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


# `JobResult`: what a worker says about a job, as a frozen value and as JSON.

JobStatus = Literal["done", "parked", "failed", "busy", "dropped"]
"""How a job stands.

``done``: its pictures are in the store. ``parked``: it may have been billed, and there is no
picture; it is not asked again until a person says so. ``failed``: nothing was billed.
``busy``: a worker has it right now, or nobody can tell yet; deliver it again later.
``dropped``: a person gave it up.
"""

_STATUSES: Final = frozenset(("done", "parked", "failed", "busy", "dropped"))


@frozen(kw_only=True)
class JobResult:
    """How a job stands after it was delivered.

    Attributes:
        id: The job's id.
        status: See `JobStatus`.
        images: Ids of its pictures in the store.
        cost: What it cost, in USD; None when that is not known, or nothing came of it.
        possible_cost: What it may have cost at most although there is no picture, in USD; 0 when
            nothing was billed, None when that cannot be known.
        attempt: How often a worker began with it.
        reason: Why it is parked, failed or busy.
        retryable: Whether it is tried again when it is delivered again.
        retry_after: Seconds after which that makes sense; None when waiting alone does not help.
        warnings: What is to be known about its pictures, one sentence each.
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

    @classmethod
    def of(cls, entry: JobRecord, *, now: float, retry_after: float | None = None) -> Self:
        """What a desk knows, as seen from outside.

        Args:
            entry: The entry.
            now: The time, by the desk's clock.
            retry_after: Seconds after which to try again, where that is not just the lease's end.
        """
        busy = entry.held or entry.state == "open"
        reason = entry.reason
        if busy:
            retry_after = retry_after or max(0.0, entry.until - now) + 1.0
            reason = reason or f"{entry.holder or 'nobody'} has it"
        return cls(
            id=entry.id,
            status="busy" if busy else cast("JobStatus", entry.state),
            images=entry.images,
            cost=entry.cost,
            possible_cost=entry.possible_cost,
            attempt=entry.attempt,
            reason=reason,
            retryable=busy or (entry.state == "failed" and entry.retryable),
            retry_after=retry_after,
            warnings=entry.warnings,
        )

    def to_json(self) -> dict[str, Any]:
        """The result as JSON; amounts of money are text, which loses nothing."""
        return {
            "id": self.id,
            "status": self.status,
            "images": list(self.images),
            "cost_usd": None if self.cost is None else str(self.cost),
            "possible_cost_usd": None if self.possible_cost is None else str(self.possible_cost),
            "attempt": self.attempt,
            "reason": self.reason,
            "retryable": self.retryable,
            "retry_after": self.retry_after,
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """A result from what `to_json` gave.

        Raises:
            ValueError: It is none.
        """
        found = table(values)
        if found.get("status") not in _STATUSES or not isinstance(found.get("id"), str):
            raise ValueError("no result of a job")
        cost, possible = found.get("cost_usd"), found.get("possible_cost_usd")
        return cls(
            id=found["id"],
            status=found["status"],
            images=tuple(map(str, array(found.get("images")))),
            cost=None if cost is None else Decimal(cost),
            possible_cost=None if possible is None else Decimal(possible),
            attempt=int(found.get("attempt", 1)),
            reason=found.get("reason"),
            retryable=bool(found.get("retryable")),
            retry_after=found.get("retry_after"),
            warnings=tuple(map(str, array(found.get("warnings")))),
        )
