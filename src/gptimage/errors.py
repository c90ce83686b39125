"""Every error gptimage raises, and what each one means for your money.

GptImageError
├── ConfigurationError          nothing was sent: a key, a setting or an extra is missing
├── InvalidRequestError         nothing was sent: .field .value .allowed            (ValueError)
│   └── ModelRetiredError       nothing was sent: .shutdown_date .replacements
├── ImageDecodeError            bytes that are no image we can read               (ValueError)
├── FetchError                  a URL could not be downloaded safely: .url
├── TemplateError               a prompt template or its arguments are wrong        (ValueError)
├── BudgetExceededError         nothing was sent: the budget would be crossed
├── TransportError              the service was not reached; nothing was billed (ConnectionError)
├── OutcomeUnknownError         sent, but no usable response: it may have been billed
│   └── MalformedReplyError     an answer came that holds no readable image: .reply
├── ApiError                    the service refused: .status .code .param .request_id
│   ├── BadRequestError         400 and other 4xx
│   │   └── ModerationError     the safety system refused: .stage .categories
│   ├── AuthenticationError     401: the key is wrong
│   ├── PermissionDeniedError   403: the key may not do this
│   │   └── OrganizationNotVerifiedError
│   ├── NotFoundError           404: no such model, deployment or address
│   ├── QuotaExceededError      out of credit, or a billing limit
│   ├── RateLimitError          429: too fast: .retry_after
│   └── ServerError             5xx: the service failed
├── CacheError                  the cache failed; a call goes on without it and only warns
└── StoreError                  the image is paid and safe in .result, but not on disk
    └── ImageNotFoundError      no such id in the store                             (KeyError)

Data is in attributes; the message is one line. Every error can be pickled and crosses processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, cast

from gptimage.secrets import scrub, scrub_value


if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date
    from decimal import Decimal
    from pathlib import Path


class PaidImage(Protocol):
    """An image as an error carries it: a `gptimage.Image`."""

    @property
    def data(self) -> bytes:
        """The file, byte for byte."""
        ...

    @property
    def format(self) -> str:
        """``png``, ``jpeg``, ``webp``, ``gif`` or ``svg``."""
        ...

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = True) -> Path:
        """Write the file, and return where it is."""
        ...


class PaidResult(Protocol):
    """A result as an error carries it: a `gptimage.Result`, or a `gptimage.Turn`."""

    @property
    def images(self) -> Sequence[PaidImage]:
        """Every image, in the order of the response."""
        ...

    @property
    def image(self) -> PaidImage:
        """The first image."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """Notes on the call, a sentence each."""
        ...

    @property
    def request_id(self) -> str | None:
        """The service's id of the call."""
        ...


class Preview(Protocol):
    """A partial image as an error carries it: a `gptimage.PartialImage`."""

    @property
    def image(self) -> PaidImage:
        """The image, none of the final ones."""
        ...

    @property
    def index(self) -> int:
        """0 for the first preview."""
        ...


# The categories a safety system names, from wherever a service or a gateway puts them.


def filtered_categories(body: object) -> tuple[str, ...]:
    """Read the categories Azure's content filter blocked from an error body.

    They are in ``innererror.content_filter_result``; gateways put that some levels deeper.
    """
    return tuple(sorted(_filtered(body, 6)))


def _filtered(value: object, depth: int) -> set[str]:
    if not isinstance(value, dict) or not depth:
        return set()
    found: set[str] = set()
    for name, part in cast("dict[object, object]", value).items():
        if name in ("content_filter_result", "content_filter_results") and isinstance(part, dict):
            for category, verdict in cast("dict[object, object]", part).items():
                if isinstance(verdict, dict) and _is_blocked(cast("dict[str, object]", verdict)):
                    found.add(str(category))
        else:
            found |= _filtered(part, depth - 1)
    return found


def _is_blocked(verdict: dict[str, object]) -> bool:
    """Return whether a category was the reason; ``detected`` is what its yes-or-no filters say."""
    return verdict.get("filtered") is True or (
        "filtered" not in verdict and verdict.get("detected") is True
    )


def named_categories(message: str) -> tuple[str, ...]:
    """Read the categories from a message such as ``safety_violations=[sexual, violence]``."""
    _, found, rest = message.partition("safety_violations=[")
    names = rest.partition("]")[0].split(",") if found else []
    return tuple(name.strip(" '\"") for name in names if name.strip(" '\""))


# What a caller passed, cut short and made plain, so that errors stay readable and picklable.

_READ: Final = 4096
"""Characters looked at for secrets before a text is cut: half a secret no longer looks like one."""

_KEPT: Final = 200
"""Characters of a value that an error keeps."""


def truncated_repr(value: object, limit: int = 80) -> str:
    """Return the repr of whatever a caller passed, cut short, for a message; it never fails."""
    if isinstance(value, (bytes, bytearray)):
        return f"<{len(value)} bytes>"
    try:
        text = scrub(repr(value[:_READ] if isinstance(value, str) else value))
    except Exception:  # noqa: BLE001  # endless integers, circles, objects with a broken repr
        return f"<{type(value).__name__}>"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def picklable_value(value: object) -> object:
    """Plain values and cut text are kept; anything else becomes text, so that it can be pickled."""
    if isinstance(value, str):
        text = scrub(value[:_READ])
        return text if len(text) <= _KEPT else text[: _KEPT - 1] + "…"
    if isinstance(value, (tuple, list)):
        several = cast("list[object]", value)
        return several if all(map(_is_picklable, several)) else truncated_repr(several, _KEPT)
    return value if _is_picklable(value) else truncated_repr(value, _KEPT)


def _is_picklable(value: object) -> bool:
    """Safe to keep, to pickle and to print; Python refuses to print endless integers."""
    if isinstance(value, int):
        return value.bit_length() <= 64
    return value is None or isinstance(value, (str, float))


class GptImageError(Exception):
    """The root of every error this library raises on purpose; its message shows no secret."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(scrub(arg) if isinstance(arg, str) else arg for arg in args))

    def __reduce__(self) -> tuple[object, ...]:
        """Keep keyword-only attributes when pickled."""
        return (_rebuild, (type(self), self.args, dict(self.__dict__)))


def _rebuild(
    kind: type[GptImageError], args: tuple[object, ...], state: dict[str, object]
) -> GptImageError:
    error = kind.__new__(kind, *args)
    # TransportError is an OSError, which takes its message only in __init__, not called here.
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigurationError(GptImageError):
    """A key, a setting or an optional package is missing; nothing was sent."""


class InvalidRequestError(GptImageError, ValueError):
    """The request breaks a documented rule and was not sent.

    Attributes:
        field: The parameter at fault, as the library names it.
        value: What was given; shortened when long, as text when it is no plain value.
        allowed: What would be accepted, as text or as a tuple of values.
    """

    def __init__(
        self, message: str, *, field: str, value: object = None, allowed: object = None
    ) -> None:
        super().__init__(message)
        self.field = field
        self.value: object = picklable_value(value)
        self.allowed = allowed


class ModelRetiredError(InvalidRequestError):
    """The model has been shut down; no request was sent.

    Attributes:
        shutdown_date: The day it was shut down.
        replacements: Models to use instead, best first.
    """

    def __init__(
        self, message: str, *, model: str, shutdown_date: date, replacements: Iterable[str]
    ) -> None:
        self.shutdown_date = shutdown_date
        self.replacements: tuple[str, ...] = tuple(replacements)
        super().__init__(message, field="model", value=model, allowed=self.replacements)


class ImageDecodeError(GptImageError, ValueError):
    """The bytes are not an image, are cut short, or would unpack to something absurd."""


class FetchError(GptImageError):
    """A URL was refused by the address guard, or its download failed.

    Attributes:
        url: The address, without user name, password or query.
    """

    def __init__(self, message: str, *, url: str) -> None:
        super().__init__(message)
        self.url: str = scrub(url)


class TemplateError(GptImageError, ValueError):
    """A prompt template, or an argument given to it, is wrong.

    Attributes:
        template: The template's name, or None when the file could not be read so far.
        argument: The argument at fault, or None.
        file: The file it came from, or None for values built in code.
        allowed: What would be accepted, as text or as a tuple of values.
        problems: Every problem found, one line each (loading a folder reports all at once).
    """

    def __init__(
        self,
        message: str,
        *,
        template: str | None = None,
        argument: str | None = None,
        file: str | None = None,
        allowed: object = None,
        problems: Iterable[str] = (),
    ) -> None:
        super().__init__(message)
        self.template = template
        self.argument = argument
        self.file = file
        self.allowed = allowed
        self.problems: tuple[str, ...] = tuple(problems) or (message,)


class BudgetExceededError(GptImageError):
    """The next request could cross the budget and was not sent.

    Attributes:
        estimate: What the request may cost, in USD; None when it cannot be known.
        limit: The budget, in USD.
        spent: What is already spent or reserved, in USD.
    """

    def __init__(
        self, message: str, *, estimate: Decimal | None, limit: Decimal, spent: Decimal
    ) -> None:
        super().__init__(message)
        self.estimate = estimate
        self.limit = limit
        self.spent = spent


class TransportError(GptImageError, ConnectionError):
    """The service was never reached, so nothing can have been billed.

    A connection that breaks after the request was sent is an `OutcomeUnknownError`.

    Attributes:
        retryable: Whether trying again may help; a wrong address stays wrong.
    """

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


class OutcomeUnknownError(GptImageError):
    """The request was sent and no usable response came back: it may have been billed.

    It is not sent again unless `Retry.unknown` says so, because that could pay twice.

    Attributes:
        possible_cost: The most it should have cost, in USD; None when that cannot be known.
        partials: Images a stream delivered before it broke; none of them is the final one.
        request_id: The service's id of the request, when one arrived.
    """

    def __init__(
        self,
        message: str,
        *,
        possible_cost: Decimal | None = None,
        partials: Iterable[Preview] = (),
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.possible_cost = possible_cost
        self.partials: tuple[Preview, ...] = tuple(partials)
        self.request_id = request_id


class MalformedReplyError(OutcomeUnknownError):
    """A response arrived that holds no readable image: HTML, no data, broken base64.

    Attributes:
        reply: The body as it arrived, so that whatever is in it is not lost.
        status: The HTTP status code.
        text: What the model wrote instead of drawing; empty when it wrote nothing.
        saved_to: The file in which the reply waits for `Store.recover`; None where there is none.
    """

    def __init__(
        self,
        message: str,
        *,
        reply: bytes = b"",
        status: int = 200,
        possible_cost: Decimal | None = None,
        partials: Iterable[Preview] = (),
        request_id: str | None = None,
        text: str = "",
    ) -> None:
        super().__init__(
            message, possible_cost=possible_cost, partials=partials, request_id=request_id
        )
        self.reply = reply
        self.status = status
        self.text = text
        self.saved_to: str | None = None


class ApiError(GptImageError):
    """The service answered with an error.

    Attributes:
        status: The HTTP status code; 200 for an error inside a stream.
        code: The service's machine-readable code, such as ``moderation_blocked``.
        type: The service's error type, such as ``invalid_request_error``.
        param: The parameter the service names, if any.
        request_id: The service's id of the request: quote it to support.
        retry_after: Seconds the service asks to wait, if it says.
        body: The error object as the service sent it.
        partials: Images a stream delivered before the error; none of them is final.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None = None,
        type: str | None = None,
        param: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        body: object = None,
        partials: Iterable[Preview] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code: str | None = scrub_value(code)
        self.type: str | None = scrub_value(type)
        self.param: str | None = scrub_value(param)
        self.request_id = request_id
        self.retry_after = retry_after
        self.body: object = scrub_value(body)
        self.partials: tuple[Preview, ...] = tuple(partials)


class BadRequestError(ApiError):
    """The service found the request wrong (400, or another 4xx)."""


class ModerationError(BadRequestError):
    """The safety system refused the prompt, an input image or the result."""

    @property
    def stage(self) -> str | None:
        """The stage of the refusal: ``input``, ``output`` or ``unknown``."""
        stage = self._details().get("moderation_stage")
        return stage if isinstance(stage, str) else None

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories the service names, such as ``sexual``, or Azure filtered."""
        found = self._details().get("categories")
        named = map(str, cast("list[object]", found)) if isinstance(found, list) else ()
        return tuple(named) or filtered_categories(self.body) or named_categories(str(self))

    def _details(self) -> Mapping[str, object]:
        body: object = self.body
        if not isinstance(body, dict):
            return {}
        details = cast("dict[str, object]", body).get("moderation_details")
        return cast("dict[str, object]", details) if isinstance(details, dict) else {}


class AuthenticationError(ApiError):
    """The service refused the key: wrong, revoked or of another project (401)."""


class PermissionDeniedError(ApiError):
    """The key may not do this (403)."""


class OrganizationNotVerifiedError(PermissionDeniedError):
    """The model needs a verified organisation."""


class NotFoundError(ApiError):
    """No such model, deployment or address (404)."""


class QuotaExceededError(ApiError):
    """No credit left, or a billing limit is reached; waiting does not help."""


class RateLimitError(ApiError):
    """Too many requests, images or tokens per minute (429)."""


class ServerError(ApiError):
    """The service failed (5xx)."""


class CacheError(GptImageError):
    """The cache failed: a full disk, a dead Redis, a locked index.

    A call goes on without it and says so in ``result.warnings``; asking a cache directly raises.
    """


class StoreError(GptImageError):
    """The store could not save, read or change an image.

    Images that could not be saved are paid for and safe in memory.

    Attributes:
        result: The result with its images, when one was at hand.
        recovery_copies: Paths of recovery copies written elsewhere.
    """

    def __init__(
        self, message: str, *, result: PaidResult | None = None, recovery_copies: Iterable[str] = ()
    ) -> None:
        super().__init__(message)
        self.result: PaidResult | None = result
        self.recovery_copies: tuple[str, ...] = tuple(recovery_copies)


class ImageNotFoundError(StoreError, KeyError):
    """The store holds no image with this id."""

    def __str__(self) -> str:
        """Show the sentence, not KeyError's quoted repr of it."""
        return str(self.args[0])


def error_to_dict(error: BaseException) -> dict[str, object]:
    """Return an error as JSON values, with what the call may have cost where that is known.

    The fields are ``type``, ``message``, ``request_id`` (the service's id of the call, or None)
    and, for a call that may have been billed, ``possible_cost_usd`` as text.
    """
    possible = getattr(error, "possible_cost", None)
    return {
        "type": type(error).__name__,
        "message": str(error),
        "request_id": getattr(error, "request_id", None),
        **({} if possible is None else {"possible_cost_usd": f"{possible:f}"}),
    }
