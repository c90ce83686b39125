"""The outcome of a shared request, as text for the waiters in other processes; never pickle.

An outcome is read back from places others can write to, so it is treated as hostile: anything odd
reads as "unknown", and only this library's own errors are ever built.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, Literal, cast

from attrs import frozen

from gptimage import errors
from gptimage.errors import (
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    GptImageError,
    InvalidRequestError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitError,
    TransportError,
)


COMPLETED: Final = "completed"
"""The outcome of a request whose reply is in the cache."""

_MAX_TEXT: Final = 32_768

_OWN_ERRORS = (ConfigurationError, InvalidRequestError, BudgetExceededError)
"""Nothing was sent, for a reason that may concern the leader alone."""

_NEVER_BILLED = (TransportError, RateLimitError, AuthenticationError, PermissionDeniedError)
"""Nothing was billed, and another try may do better: a moment later, or with another key."""


@frozen
class Failure:
    """The failure of a shared request, and what it means for its waiters.

    Attributes:
        then: ``retry``: one of them sends it instead; ``retry_once``: the same, but the second
            such failure is everybody's; ``raise``: it is everybody's error, because sending it
            again could pay twice, or is bound to fail alike.
        error: The error, when it is known.
    """

    then: Literal["retry", "retry_once", "raise"]
    error: GptImageError | None = None

    def retries_left(self, left: int) -> int:
        """Return how many more failures a waiter bears.

        Args:
            left: How many it bore before this one.

        Raises:
            GptImageError: A copy of the error, when it is the waiter's as well.
        """
        if self.error is None or self.then == "retry":
            return left
        if self.then == "retry_once" and left > 0:
            return left - 1
        raise _own_copy(self.error)

    def text(self) -> str:
        """Return this failure as an outcome."""
        if self.error is None:
            return json.dumps({"then": self.then})
        kind, data = type(self.error).__name__, _packed_data(self.error)
        found = {"then": self.then, "kind": kind, "message": str(self.error)[:2_000], "data": data}
        text = json.dumps(found)
        # What makes it long is the body of the service; the message says the same.
        return (
            text if len(text) <= _MAX_TEXT else json.dumps(found | {"data": data | {"body": None}})
        )


RETRY: Final = Failure("retry")
"""The leader gave up before anything was sent, or has no reply to share."""


def failure_of(error: BaseException, *, sent: bool) -> Failure:
    """Judge what an exception of the leader means for those who waited.

    Args:
        error: What was raised.
        sent: Whether the request may have reached the service.
    """
    if isinstance(error, _OWN_ERRORS):
        return Failure("retry", error)
    if isinstance(error, _NEVER_BILLED):
        return Failure("retry_once", error)
    if isinstance(error, GptImageError):
        return Failure("raise", error)
    if not sent:
        return RETRY
    return Failure(
        "raise",
        OutcomeUnknownError(
            f"the same request, already sent by another caller, was broken off "
            f"({type(error).__name__}): it may have been billed; "
            "look at your usage page before sending it again"
        ),
    )


def failure_from(text: str) -> Failure | None:
    """Read the failure of an outcome; None when it makes no sense."""
    try:
        found: dict[str, Any] = json.loads(text)
        then = found["then"]
        if then not in {"retry", "retry_once", "raise"}:
            return None
        return Failure(then, _error(found) if "kind" in found else None)
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError):
        return None


def _own_copy(error: GptImageError) -> GptImageError:
    """Copy an error for one waiter: tracebacks and notes of several must not mix."""
    own = copy.copy(error)
    vars(own).pop("__notes__", None)
    return own


def _error(found: Mapping[str, Any]) -> GptImageError:
    kind: type[GptImageError] = getattr(errors, found["kind"])
    if not issubclass(kind, GptImageError):  # pyright: ignore[reportUnnecessaryIsInstance]  # hostile
        raise TypeError(found["kind"])
    error = kind.__new__(kind)
    error.args = (str(found["message"]),)  # OSError would ignore what is given to `__new__`
    data = {str(name): _unpacked(value) for name, value in found["data"].items()}
    vars(error).update({name: value for name, value in data.items() if not name.startswith("_")})
    return error


def _packed_data(error: GptImageError) -> dict[str, object]:
    return {name: _packed(value) for name, value in vars(error).items() if name[0] != "_"}


def _packed(value: object) -> object:
    """Put a value as JSON into a box that says its type; images and replies stay behind."""
    if isinstance(value, (tuple, list)):
        return {"tuple": [each for each in cast(Iterable[object], value) if isinstance(each, str)]}
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"bytes": ""}
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return None
    return {"plain": value}


def _unpacked(box: Any) -> object:
    match box:
        case {"tuple": [*items]}:
            return tuple(str(each) for each in items)
        case {"decimal": str(number)}:
            return Decimal(number)
        case {"bytes": str()}:
            return b""
        case {"plain": value}:
            return value
        case _:
            return None
