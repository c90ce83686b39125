"""Failures on request: how each scenario replies, word for word as the service was recorded.

A scenario is scheduled with `Sandbox.fail_next`, happens at a rate with ``Sandbox(failures=...)``,
or is requested with the header ``x-sandbox-fail`` or a marker such as ``[sandbox:moderation]`` in
the prompt; the last two work over HTTP and in process, from every language.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from random import Random
from typing import Any, Final, Literal, get_args

from attrs import frozen

from gptimage._internal.data import data_text
from gptimage.errors import InvalidRequestError
from gptimage.transport.http import HttpReply


# How the service says no: one exception per error body, in the words of ``refusals.toml``.

USER_ERROR: Final = "image_generation_user_error"
INVALID: Final = "invalid_request_error"
CONTACT: Final = (
    " If you believe this is an error, contact us at help.openai.com"
    " and include the request ID {request_id}."
)


class ErrorReply(Exception):  # noqa: N818  # control flow inside the sandbox, never raised to a caller
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
        """Return the JSON body, with the request's id where the message speaks of it."""
        return json.dumps({"error": self.named(request_id)}, indent=2).encode()

    def named(self, request_id: str) -> dict[str, object]:
        """Return the error object, with the request's id where the message speaks of it."""
        message = str(self.error["message"]).replace("{request_id}", request_id)
        return {**self.error, "message": message}


@cache
def _recorded() -> Mapping[str, Mapping[str, Any]]:
    text = data_text(__name__, "refusals.toml")
    return tomllib.loads(text)


def refusal(name: str, /, param: str | None = None, **words: object) -> ErrorReply:
    """Refuse in the words of ``refusals.toml``.

    Args:
        name: Which of them.
        param: The parameter it is about.
        **words: What stands in place of the names in braces.
    """
    row = dict(_recorded()[name])
    given = {"param": param, "request_id": "{request_id}", **words}
    return ErrorReply(row.pop("message").format_map(given), param=param, **row)


def unknown(param: str) -> ErrorReply:
    """Refuse a parameter the endpoint does not have."""
    return refusal("unknown", param)


def missing(param: str) -> ErrorReply:
    """Refuse a request without a parameter the endpoint needs."""
    return refusal("missing", param)


def wrong_type(param: str, expected: str, value: object) -> ErrorReply:
    """Refuse a value of the wrong JSON type."""
    return refusal("wrong_type", param, expected=expected, kind=_kind(value))


def not_one_of(param: str, value: str, allowed: Sequence[str]) -> ErrorReply:
    """Refuse a value that is not in the list."""
    two = len(allowed) < 3
    listed = " and ".join(f"'{name}'" for name in allowed) if two else quoted_list(allowed)
    return refusal("not_one_of", param, value=value[:100], listed=listed)


def quoted_list(names: Sequence[str]) -> str:
    """Return names in quotation marks: ``'a', 'b', and 'c'``."""
    *first, last = [f"'{name}'" for name in names]
    return f"{', '.join(first)}, and {last}" if first else last


def out_of_range(param: str, value: float, low: float, high: float) -> ErrorReply:
    """Return a number outside its limits."""
    kind = "integer" if isinstance(value, int) else "decimal"
    if value < low:
        word, sign, limit, code = "below minimum", ">=", low, f"{kind}_below_min_value"
    else:
        word, sign, limit, code = "above maximum", "<=", high, f"{kind}_above_max_value"
    message = (
        f"Invalid '{param}': {kind} {word} value."
        f" Expected a value {sign} {limit}, but got {value} instead."
    )
    return ErrorReply(message, code=code, param=param)


def empty(param: str) -> ErrorReply:
    """Refuse an empty string."""
    return refusal("empty", param)


def user_error(message: str, param: str | None, code: str = "invalid_value") -> ErrorReply:
    """Return what the image system itself refuses, as opposed to the request's form."""
    return ErrorReply(message, code=code, param=param, type=USER_ERROR)


def duplicate(param: str) -> ErrorReply:
    """Refuse a parameter given twice."""
    return refusal("duplicate", param)


def _kind(value: object) -> str:
    """Return a JSON value's type, with its article."""
    return "null" if value is None else _KINDS.get(type(value), "an object")


_KINDS: Final[Mapping[type, str]] = {
    bool: "a boolean", int: "an integer", float: "a decimal number", str: "a string",
    list: "an array",
}  # fmt: skip

Scenario = Literal[
    "moderation",
    "moderation_output",
    "quota",
    "rate_limit",
    "billing",
    "unverified",
    "unauthorized",
    "server",
    "overloaded",
    "unavailable",
    "stream_error",
    "timeout",
    "cut",
    "html",
    "empty",
]
"""The failures the sandbox can play.

``moderation``: the prompt is refused. ``moderation_output``: the result is, in a stream after
the first partial image. ``quota``, ``billing``: no credit, a spending cap. ``rate_limit``: too
many images per minute. ``unverified``: the organisation must be verified. ``unauthorized``: the
key is wrong. ``server``: 500. ``overloaded``: 503, the service took nothing on.
``unavailable``: 503 without a body, as a gateway replies. ``stream_error``: generation
fails, in a stream after the first partial image. ``timeout``: the request arrives and is never
answered. ``cut``: the connection breaks half-way through the reply, in a stream after the first
partial image. ``html``: a web page with status 200. ``empty``: 200, with ``data`` null.
"""
SCENARIOS: Final[tuple[str, ...]] = get_args(Scenario)
_MARKER: Final = re.compile(r"\[sandbox:([\w-]{1,40})\]")
_HTML: Final = (
    b"<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body>Sign in</body></html>\n"
)


@frozen(kw_only=True)
class Fault:
    """One failure to come.

    Attributes:
        scenario: Its name, or ``reply`` when the reply is given.
        reply: The reply to give, when it was given.
        retry_after: Seconds a rate-limited caller has to wait.
    """

    scenario: str
    reply: HttpReply | None = None
    retry_after: float = 1.0


def planned(failure: str | HttpReply, retry_after: float) -> Fault:
    """Return the fault for a scenario or a reply.

    Raises:
        InvalidRequestError: There is no such scenario.
    """
    if isinstance(failure, HttpReply):
        return Fault(scenario="reply", reply=failure)
    if failure not in SCENARIOS:
        raise InvalidRequestError(
            f"the sandbox has no failure {failure!r}; it has: {', '.join(SCENARIOS)}",
            field="failure",
            value=failure,
            allowed=SCENARIOS,
        )
    return Fault(scenario=failure, retry_after=retry_after)


class FailureRates:
    """The probability of each scenario, from one reproducible source of chance.

    Args:
        rates: A share of the requests, from 0 to 1, for each scenario.
        seed: Makes the same requests fail each time; None does not.

    Raises:
        InvalidRequestError: A scenario is unknown, or a rate is no share.
    """

    def __init__(self, rates: Mapping[str, float], seed: int | None = None) -> None:
        for scenario, rate in rates.items():
            planned(scenario, 1.0)
            if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate <= 1:  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
                raise InvalidRequestError(
                    f"failures[{scenario!r}] must be a share from 0 to 1, such as 0.02",
                    field="failures",
                    value=rate,
                )
        if sum(rates.values()) > 1:
            raise InvalidRequestError(
                "failures= sums to more than 1: at most every request can fail",
                field="failures",
                value=dict(rates),
            )
        self._rates = dict(rates)
        self._random = Random(seed)  # no secret depends on it

    def __bool__(self) -> bool:
        """Return whether anything can fail."""
        return any(self._rates.values())

    def next(self) -> Fault | None:
        """Decide about one request. Not thread-safe: the caller holds its lock."""
        return self.pick(self._rates)

    def pick(self, rates: Mapping[str, float]) -> Fault | None:
        """Decide about one request by other rates, from the same source of chance."""
        drawn = self._random.random()
        for scenario, rate in rates.items():
            if drawn < rate:
                return Fault(scenario=scenario)
            drawn -= rate
        return None


def read_rates(text: str) -> dict[str, float]:
    """Read rates such as ``cut=0.02,server=0.1``.

    Raises:
        InvalidRequestError: It is not of that form, a scenario is unknown, or a rate is no share.
    """
    rates: dict[str, float] = {}
    for part in text.split(","):
        name, _, rate = part.partition("=")
        try:
            rates[name.strip()] = float(rate)
        except ValueError:
            raise InvalidRequestError(
                f"write rates of failures as cut=0.02,server=0.1, not {text[:80]!r}",
                field="failures",
                value=text,
            ) from None
    FailureRates(rates)
    return rates


def requested(header: str | None, prompt: object) -> Fault | dict[str, float] | None:
    """Return the failure a header or a marker in the prompt requests, or the header's rates.

    Raises:
        ErrorReply: There is no such scenario.
    """
    if not header:
        return marked(prompt)
    try:
        return read_rates(header) if "=" in header else planned(header, 1.0)
    except InvalidRequestError as error:
        raise ErrorReply(f"{error}.", code="invalid_value", param="x-sandbox-fail") from error


def marked(prompt: object) -> Fault | None:
    """Return the failure a marker in the prompt requests.

    Raises:
        ErrorReply: There is no such scenario.
    """
    marker = _MARKER.search(prompt) if isinstance(prompt, str) else None
    try:
        return planned(marker[1], 1.0) if marker else None
    except InvalidRequestError as error:
        raise ErrorReply(f"{error}.", code="invalid_value", param="prompt") from error


def at_once(fault: Fault, body: Mapping[str, object], usual: str) -> HttpReply | None:
    """Return the reply of a fault that strikes before anything is drawn; None for others.

    Args:
        fault: The failure.
        body: The request's, which names the model.
        usual: The model of a request that names none.

    Raises:
        ErrorReply: The service's reply is an error with a message.
    """
    model = body.get("model")
    name = model if isinstance(model, str) else usual
    match fault.scenario:
        case "reply":
            return fault.reply
        case "html":
            headers = {"content-type": "text/html; charset=utf-8"}
            return HttpReply(status=200, headers=headers, body=_HTML)
        case "unavailable":
            return HttpReply(status=503, headers={"content-type": "text/plain"})
        case "rate_limit":
            raise _rate_limit(name, fault.retry_after)
        case "moderation":
            raise moderation("input")
        case "unverified" | "quota" | "billing" | "server" | "overloaded" | "unauthorized":
            raise refusal(fault.scenario, model=name)
        case _:
            return None


def moderation(stage: str) -> ErrorReply:
    """Refuse by the safety system: the prompt (``input``) or the result (``output``)."""
    found = refusal("moderation")
    found.error["moderation_details"] = {"moderation_stage": stage, "categories": ["sexual"]}
    return found


def _rate_limit(model: str, wait: float) -> ErrorReply:
    shown = f"{wait:g}s" if wait >= 1 else f"{math.ceil(wait * 1000)}ms"
    found = refusal("rate_limit", model=model, wait=shown)
    found.headers = {
        "retry-after": f"{math.ceil(wait)}",
        "retry-after-ms": f"{math.ceil(wait * 1000)}",
        "x-ratelimit-limit-input-images": "5",
        "x-ratelimit-remaining-input-images": "0",
        "x-ratelimit-reset-input-images": shown,
    }
    return found


# OpenAI's image service, offline: a request in, a reply out, no key, no network, no cost.


class Cut(Exception):  # noqa: N818  # how an event iterator says: break the connection here
    """The connection is to break at this point."""
