"""How the service says no: one exception per error body, worded as the service words it.

Wording and codes were taken from recorded replies where some were found, and from the
service's general pattern where none were.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final


USER_ERROR: Final = "image_generation_user_error"
INVALID: Final = "invalid_request_error"
CONTACT: Final = (
    " If you believe this is an error, contact us at help.openai.com"
    " and include the request ID {request_id}."
)


class Refusal(Exception):  # noqa: N818  # control flow inside the sandbox, never raised to a caller
    """An error reply in the making.

    Attributes:
        status: The HTTP status.
        error: The ``error`` object of the body.
        headers: Extra reply headers.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        type: str = INVALID,
        status: int = 400,
        headers: Mapping[str, str] | None = None,
        **extra: object,
    ) -> None:
        super().__init__(message)
        self.status: int = status
        self.error: dict[str, object] = {
            "message": message, "type": type, "param": param, "code": code, **extra
        }  # fmt: skip
        self.headers: dict[str, str] = dict(headers or {})

    def body(self, request_id: str) -> bytes:
        """The JSON body, with the request's id where the message speaks of it."""
        return json.dumps({"error": self.named(request_id)}, indent=2).encode()

    def named(self, request_id: str) -> dict[str, object]:
        """The error object, with the request's id where the message speaks of it."""
        message = str(self.error["message"]).replace("{request_id}", request_id)
        return {**self.error, "message": message}


def unknown(param: str) -> Refusal:
    """A parameter the endpoint does not have."""
    return Refusal(f"Unknown parameter: '{param}'.", code="unknown_parameter", param=param)


def missing(param: str) -> Refusal:
    """A parameter the endpoint cannot do without."""
    message = f"Missing required parameter: '{param}'."
    return Refusal(message, code="missing_required_parameter", param=param)


def wrong_type(param: str, expected: str, value: object) -> Refusal:
    """A value of the wrong JSON type."""
    message = f"Invalid type for '{param}': expected {expected}, but got {_kind(value)} instead."
    return Refusal(message, code="invalid_type", param=param)


def not_one_of(param: str, value: str, allowed: Sequence[str]) -> Refusal:
    """A value that is not in the list."""
    quoted = [f"'{name}'" for name in allowed]
    listed = (
        " and ".join(quoted) if len(quoted) < 3 else f"{', '.join(quoted[:-1])}, and {quoted[-1]}"
    )
    message = f"Invalid value: '{value[:100]}'. Supported values are: {listed}."
    return Refusal(message, code="invalid_value", param=param)


def out_of_range(param: str, value: int, low: int, high: int) -> Refusal:
    """An integer outside its limits."""
    if value < low:
        word, sign, limit, code = "below minimum", ">=", low, "integer_below_min_value"
    else:
        word, sign, limit, code = "above maximum", "<=", high, "integer_above_max_value"
    message = (
        f"Invalid '{param}': integer {word} value."
        f" Expected a value {sign} {limit}, but got {value} instead."
    )
    return Refusal(message, code=code, param=param)


def too_long(param: str, length: int, limit: int) -> Refusal:
    """A string longer than allowed."""
    message = (
        f"Invalid '{param}': string too long. Expected a string with maximum length {limit},"
        f" but got a string with length {length} instead."
    )
    return Refusal(message, code="string_above_max_length", param=param)


def empty(param: str) -> Refusal:
    """A string that must say something."""
    message = (
        f"Invalid '{param}': empty string. Expected a string with minimum length 1,"
        " but got an empty string instead."
    )
    return Refusal(message, code="empty_string", param=param)


def user_error(message: str, param: str | None, code: str = "invalid_value") -> Refusal:
    """What the image system itself refuses, as opposed to the request's form."""
    return Refusal(message, code=code, param=param, type=USER_ERROR)


def duplicate(param: str) -> Refusal:
    """A parameter given twice."""
    message = (
        f"Duplicate parameter: '{param}'. You provided multiple values for this parameter, whereas"
        " only one is allowed. If you are trying to provide a list of values, use the array syntax"
        f" instead e.g. '{param}[]=<value>'."
    )
    return Refusal(message, code="duplicate_parameter", param=param)


def _kind(value: object) -> str:
    """A JSON value's type, with its article."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names = {
        "int": "an integer",
        "float": "a decimal number",
        "str": "a string",
        "list": "an array",
    }
    return names.get(type(value).__name__, "an object")
