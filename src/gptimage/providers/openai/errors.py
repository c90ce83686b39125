"""Turns an error body, OpenAI's or anybody's, into the fitting exception with advice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from attrs import frozen

from gptimage._internal.json import MAX_LABEL, array, prose, table
from gptimage._internal.text import shorten
from gptimage.errors import (
    ApiError,
    AuthenticationError,
    BadRequestError,
    ModerationError,
    NotFoundError,
    OrganizationNotVerifiedError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    truncated_repr,
)
from gptimage.providers.openai.advice import OPENAI, Service, advice_for
from gptimage.transport.billing import is_no_credit, text_of
from gptimage.transport.http import HttpReply


if TYPE_CHECKING:
    from gptimage.types.result import PartialImage


_MODERATION: Final = {
    "moderation_blocked",
    "content_policy_violation",
    "image_content_policy_violation",  # of a response as a whole
    "contentFilter",
    "content_filter",
}
NO_IMAGE: Final = "no_image"
"""The code of a reply in words alone, which its provider may bill."""
_USER_TYPES: Final = {"image_generation_user_error", "invalid_request_error"}
_SERVER_TYPES: Final = {"image_generation_server_error", "server_error"}
_MODERATED: Final = re.compile(
    r"safety system|content[ _]?policy[ _]?violation|content management policy"
    r"|ResponsibleAIPolicyViolation|safety_violations=|moderation_blocked"
    r"|(?:blocked|flagged|rejected|refused) by (?:our |the )?(?:content|moderation|safety)",
    re.IGNORECASE,
)
"""How a refusal of the safety system reads where a gateway has lost its code."""

_KEY: Final = re.compile(
    r"\b(?:(?:sk|sess|pk|rk|xai|gsk)-[\w-]{8,}|AIza[\w-]{20,}|Bearer\s+[\w.~+/=-]{8,})"
)
_NO_MODEL: Final = re.compile(r"\bmodel\b.{0,200}(does not exist|has been deprecated)", re.DOTALL)
_MARKUP: Final = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_LONGEST: Final = 600
_READ: Final = 20_000
"""Characters of a message that are looked at; the patterns would take long on megabytes."""

_BY_STATUS: Final[Mapping[int, type[ApiError]]] = {
    401: AuthenticationError,
    402: QuotaExceededError,
    403: PermissionDeniedError,
    404: NotFoundError,
    429: RateLimitError,
}


@frozen(kw_only=True)
class _Details:
    message: str
    code: str | None = None
    type: str | None = None
    param: str | None = None
    body: object = None


def error_from_reply(
    reply: HttpReply, retry_after: float | None = None, *, service: Service = OPENAI
) -> ApiError:
    """Return the exception for a reply whose status is an error.

    Args:
        reply: The reply.
        retry_after: Seconds the service asks to wait, or None.
        service: Whose it is, for the advice.
    """
    return _build(
        _details(_json(reply.body)),
        status=reply.status,
        request_id=reply.request_id,
        retry_after=retry_after,
        text=text_of(reply),
        service=service,
    )


def message_of(reply: HttpReply) -> str:
    """Return what an error reply says, in one short line without markup and keys."""
    return _clean(_details(_json(reply.body)).message)


def is_bare(reply: HttpReply) -> bool:
    """Whether an error has no error object: a page, plain text or nothing, as gateways send."""
    return not isinstance(_details(_json(reply.body)).body, dict)


def error_from_event(
    value: object, *, request_id: str | None, partials: Iterable[PartialImage]
) -> ApiError:
    """Return the exception for an error that arrived inside a stream or a 200 reply."""
    return _build(_details(value), status=200, request_id=request_id, partials=partials)


def has_error(value: object) -> bool:
    """Return whether a JSON value is an error rather than an answer."""
    error = table(value)
    return bool(error.get("error")) or error.get("type") == "error"


def _build(
    details: _Details,
    *,
    status: int,
    request_id: str | None,
    retry_after: float | None = None,
    partials: Iterable[PartialImage] = (),
    text: str = "",
    service: Service = OPENAI,
) -> ApiError:
    kind = _kind(details, status)
    message = _clean(details.message) or f"HTTP {status} without a message"
    evidence = f"{details.code} {details.type} {details.message[:_READ]} {text}"
    advice = advice_for(kind, status, evidence, retry_after, service)
    return kind(
        _sentence(message, advice, request_id),
        status=status,
        code=details.code,
        type=details.type,
        param=details.param,
        request_id=request_id,
        retry_after=retry_after,
        body=details.body,
        partials=partials,
    )


def _kind(details: _Details, status: int) -> type[ApiError]:
    """Choose the error class: by the code where there is one, then the text, then the status."""
    message = details.message[:_READ]
    if details.code in _MODERATION:
        return ModerationError
    if details.code == NO_IMAGE:  # the message has the words of a model, whatever they are
        return ServerError
    if is_no_credit(" ".join(filter(None, (details.code, details.type, message)))):
        return QuotaExceededError
    if "organization must be verified" in message.lower():
        return OrganizationNotVerifiedError
    if details.code == "rate_limit_exceeded":
        return RateLimitError
    if details.type in _SERVER_TYPES:
        return ServerError
    # A 403 that speaks of policies is a blocked account, and no prompt will help.
    if status not in (401, 403, 429) and _MODERATED.search(f"{message} {_inner_code(details)}"):
        return ModerationError
    if details.code == "model_not_found" or _NO_MODEL.search(message):
        return NotFoundError
    if status < 400 and details.type in _USER_TYPES:
        return BadRequestError
    return _kind_by_status(status)


def _inner_code(details: _Details) -> str:
    """Azure's second code, which names the policy."""
    body = table(details.body)
    return str(table(body.get("innererror") or body.get("inner_error")).get("code") or "")


def _kind_by_status(status: int) -> type[ApiError]:
    if status >= 500:
        return ServerError
    return _BY_STATUS.get(status, BadRequestError if status >= 400 else ApiError)


def _sentence(message: str, advice: str | None, request_id: str | None) -> str:
    tail = f" [request {request_id}]" if request_id else ""
    return f"{message} ({advice}){tail}" if advice else f"{message}{tail}"


def _details(value: object) -> _Details:
    """Return the parts of OpenAI's error object, or the nearest thing other servers send."""
    value = next(iter(array(value)), value)
    if not isinstance(value, dict):
        return _Details(message=value if isinstance(value, str) else "", body=value)
    whole = table(cast("object", value))
    error = whole.get("error", whole)
    if isinstance(error, dict):
        return _from_object(table(cast("object", error)))
    named: dict[str, Any] = {
        key: whole[key] for key in ("message", "code", "type", "param") if key in whole
    }
    message = ": ".join(_message_text(part) for part in (error, named.get("message")) if part)
    return _from_object({**named, "message": message})


def _from_object(error: dict[str, Any]) -> _Details:
    message: object = error.get("message") or error.get("detail") or error.get("title")
    if not message and not error.keys() & {"message", "code", "type"}:
        message = error
    return _Details(
        message=_message_text(message) if message else "",
        code=_text(error.get("code")),
        type=_text(error.get("type")),
        param=_text(error.get("param")),
        body=dict(error),
    )


def _json(body: bytes | bytearray) -> object:
    """Return the body as JSON, or as text when it is not."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return bytes(body[:_READ]).decode("utf-8", "replace")


def _message_text(message: object) -> str:
    """Return text as it is, anything else as JSON."""
    try:
        return message if isinstance(message, str) else json.dumps(message)
    except (ValueError, RecursionError):
        return truncated_repr(message, _LONGEST)


def _text(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    return (
        (prose(value) or "")[:MAX_LABEL]
        if isinstance(value, str)
        else truncated_repr(value, MAX_LABEL)
    )


def _clean(message: str) -> str:
    """Return one short line without HTML and without anything that looks like a key."""
    text = " ".join(_KEY.sub("…", _MARKUP.sub(" ", prose(message[:_READ]) or "")).split())
    return shorten(text, _LONGEST)
