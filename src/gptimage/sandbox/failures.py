"""Failures on request: what each scenario answers, word for word as the service was recorded.

A scenario is scheduled with `Sandbox.fail_next`, with the header ``x-sandbox-fail`` or
with a marker such as ``[sandbox:moderation]`` in the prompt; the last two work through
every door and from every language.
"""

from __future__ import annotations

import math
import re
from typing import Final, Literal, get_args

from attrs import frozen

from gptimage.errors import InvalidRequestError
from gptimage.sandbox._refusal import USER_ERROR, Refusal
from gptimage.transport.http import HttpReply


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
``unavailable``: 503 without a body, as a gateway answers. ``stream_error``: generation
fails, in a stream after the first partial image. ``timeout``: the request arrives and is never
answered. ``cut``: the connection breaks half-way through the answer, in a stream after the first
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
        retry_after: Seconds a rate-limited caller is told to wait.
    """

    scenario: str
    reply: HttpReply | None = None
    retry_after: float = 1.0


def planned(failure: str | HttpReply, retry_after: float) -> Fault:
    """A fault from what the user asked for.

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


def asked_for(header: str | None, prompt: object) -> Fault | None:
    """The fault a header or a marker in the prompt asks for.

    Raises:
        Refusal: There is no such scenario.
    """
    marker = _MARKER.search(prompt) if isinstance(prompt, str) else None
    name = header or (marker[1] if marker else None)
    if name is None:
        return None
    if name not in SCENARIOS:
        message = f"The sandbox has no failure '{name[:40]}'. It has: {', '.join(SCENARIOS)}."
        raise Refusal(message, code="invalid_value", param="x-sandbox-fail" if header else "prompt")
    return Fault(scenario=name)


def at_once(fault: Fault, model: str) -> HttpReply | Refusal | None:
    """The answer of a fault that strikes before anything is drawn; None for the later ones."""
    if fault.scenario == "reply":
        return fault.reply
    if fault.scenario == "html":
        return HttpReply(
            status=200, headers={"content-type": "text/html; charset=utf-8"}, body=_HTML
        )
    if fault.scenario == "unavailable":
        return HttpReply(status=503, headers={"content-type": "text/plain"})
    if fault.scenario == "rate_limit":
        return _rate_limit(model, fault.retry_after)
    if fault.scenario == "unverified":
        return _unverified(model)
    return _FIXED.get(fault.scenario, lambda: None)()


def moderation(stage: str) -> Refusal:
    """The safety system's no, to the prompt (``input``) or to the result (``output``)."""
    return Refusal(
        "Your request was rejected by the safety system. If you believe this is an error, contact"
        " us at help.openai.com and include the request ID {request_id}."
        " safety_violations=[sexual].",
        code="moderation_blocked",
        type=USER_ERROR,
        moderation_details={"moderation_stage": stage, "categories": ["sexual"]},
    )


def failed() -> Refusal:
    """Generation failed on the service's side."""
    return Refusal(
        "Image generation failed",
        code="image_generation_failed",
        type="image_generation_server_error",
        status=500,
    )


def _rate_limit(model: str, wait: float) -> Refusal:
    shown = f"{wait:g}s" if wait >= 1 else f"{math.ceil(wait * 1000)}ms"
    return Refusal(
        f"Rate limit reached for {model} (for limit gpt-image) in organization org-sandbox on"
        f" input-images per min: Limit 5, Used 5, Requested 1. Please try again in {shown}.",
        code="rate_limit_exceeded",
        type="input-images",
        status=429,
        headers={
            "retry-after": f"{math.ceil(wait)}",
            "retry-after-ms": f"{math.ceil(wait * 1000)}",
            "x-ratelimit-limit-input-images": "5",
            "x-ratelimit-remaining-input-images": "0",
            "x-ratelimit-reset-input-images": shown,
        },
    )


def _unverified(model: str) -> Refusal:
    return Refusal(
        f"Your organization must be verified to use the model `{model}`. Please go to:"
        " https://platform.openai.com/settings/organization/general and click on Verify"
        " Organization. If you just verified, it can take up to 15 minutes for access to"
        " propagate.",
        status=403,
    )


def _quota() -> Refusal:
    return Refusal(
        "You exceeded your current quota, please check your plan and billing details. For more"
        " information on this error, read the docs:"
        " https://platform.openai.com/docs/guides/error-codes/api-errors.",
        code="insufficient_quota",
        type="insufficient_quota",
        status=429,
    )


def _billing() -> Refusal:
    return Refusal("Billing hard limit has been reached", code="billing_hard_limit_reached")


def _overloaded() -> Refusal:
    return Refusal(
        "The server is currently overloaded with other requests. Sorry about that! You can retry"
        " your request, or contact us through our help center at help.openai.com if the error"
        " persists.",
        type="server_error",
        status=503,
    )


def wrong_key(shown: str) -> Refusal:
    """The key is not one the service knows."""
    return Refusal(
        f"Incorrect API key provided: {shown}. You can find your API key at"
        " https://platform.openai.com/account/api-keys.",
        code="invalid_api_key",
        status=401,
    )


_FIXED: Final = {
    "moderation": lambda: moderation("input"),
    "quota": _quota,
    "billing": _billing,
    "server": failed,
    "overloaded": _overloaded,
    "unauthorized": lambda: wrong_key("sk-inv***lid"),
}
