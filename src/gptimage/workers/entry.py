"""`Entry`: what a desk knows of one job, as a frozen value and as the text a desk keeps."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final, Literal, Self, get_args

from attrs import field, fields, frozen

from gptimage._internal.json import array, table


State = Literal["open", "claimed", "sending", "done", "parked", "failed", "dropped"]
"""How far a job is.

``open``: somebody decided that it may be asked again; nobody has it. ``claimed``: a worker
prepares it, or waits for its turn. ``sending``: its request left, or was about to; it may be
billed. ``done``: its pictures are in the store. ``parked``: it may have been billed, and there
is no picture; a person decides. ``failed``: nothing was billed. ``dropped``: a person gave it up.
"""

_STATES: Final = frozenset(get_args(State))


@frozen(kw_only=True)
class Answer:
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
class Entry:
    """What a desk knows of one job.

    Attributes:
        id: The job's id.
        request: Its request, as `Job.text` writes it.
        state: How far it is; see `State`.
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
    state: State
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
        values = {each.name: _plain(getattr(self, each.name)) for each in fields(Entry)}
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
