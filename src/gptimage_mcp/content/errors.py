"""Errors as messages for an assistant: what happened, and the next step it can take."""

from __future__ import annotations

import json
import logging
import tomllib
import traceback
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from mcp.server.mcpserver.exceptions import ToolError

import gptimage
from gptimage.wording import for_assistant
from gptimage_mcp.content.sanitize import clean_json, quote, redact
from gptimage_mcp.jobs.job import EarlierUnknownError


if TYPE_CHECKING:
    from pydantic import ValidationError

_logger: Final = logging.getLogger(__name__)

_LONGEST_QUOTE: Final = 800
"""Characters of a quotation. With advice and details a message stays below 1,900, whatever the
error holds; some clients cut long ones, and the SDK puts the tool's name before."""

_LONGEST_DETAILS: Final = 500
_SENT_NOTHING: Final = "Nothing was sent and nothing was billed."
_ARGUMENTS: Final = {"svg": "svg_model or svg_effort", "check": "until", "checks": "until"}
"""Parameters of the library that have other names here."""
_OPERATOR: Final = "Only whoever runs this server can change that: tell the person."
_PAID_MAYBE: Final = (
    "Do NOT simply call again: it may be paid already, and would be paid twice. Look at "
    "list_images whether the image is there; if it is not, ask the person before trying again."
)
_Advice = str | Callable[[Any], str]


@contextmanager
def tool_errors() -> Generator[None]:
    """Turn errors inside into messages for the assistant; unforeseen ones pass as they are.

    Raises:
        ToolError: The library or the file system has failed.
    """
    try:
        yield
    except (gptimage.GptImageError, OSError) as error:
        raise to_tool_error(error) from error


def to_tool_error(error: Exception) -> ToolError:
    """Return the message about an error for an assistant; raise it ``from`` that error.

    The text is ours but for what the error says, which is quoted: it may come from anybody.
    """
    name, message = _named(error)
    lines = [f"{name}: {quote(message, _LONGEST_QUOTE)}", f"Next: {_advice(error)}"]
    if found := _details(error):
        lines.append(f"Details: {found}")
    return ToolError("\n".join(lines))


def unknown_handle(handle: str) -> gptimage.InvalidRequestError:
    """Nobody, or not this caller, has a call of this handle."""
    return gptimage.InvalidRequestError(
        f"no call has the handle {redact(handle, 60)}: handles are kept for 30 days",
        field="id",
        value=handle,
        allowed="a handle this server gave, or an id of list_images",
    )


def validation_error(error: ValidationError) -> ToolError:
    """Return the message about arguments that do not fit the tool's schema."""
    problems = [
        f"{_place(each['loc'])}: {redact(each['msg'], 160)}"
        for each in error.errors(include_url=False, include_context=False, include_input=False)
        if each["type"] != "none_required"  # that it may be left out helps nobody
    ]
    shown = "; ".join(problems[:6]) + ("; ..." if len(problems) > 6 else "")
    return ToolError(
        f"InvalidArguments: {quote(shown, _LONGEST_QUOTE)}\n"
        f"Next: {_SENT_NOTHING} Correct these arguments and call again."
    )


def _place(location: tuple[int | str, ...]) -> str:
    """The parameter and the place in its list, without the SDK's names of types."""
    first, *others = location or ("arguments",)
    places = "".join(f"[{each}]" for each in others if isinstance(each, int))
    if first == "advanced":  # what is wrong is one of its parameters
        inner = [each for each in others if isinstance(each, str) and each.islower()]
        return f"advanced.{redact(inner[0], 80)}{places}" if inner else "advanced"
    return f"{redact(str(first), 80)}{places}"


def _named(error: Exception) -> tuple[str, str]:
    """Return the kind of error and its message; of an unforeseen one, only the kind."""
    if isinstance(error, gptimage.GptImageError):
        return type(error).__name__, for_assistant(str(error)) or "it says nothing more"
    if isinstance(error, OSError):
        reason = error.strerror or type(error).__name__
        return "FileError", f"{error.filename}: {reason}" if error.filename else reason
    # Where it happened, and not what it says: that may quote a prompt.
    where = "".join(traceback.format_tb(error.__traceback__))
    _logger.error("unforeseen, %s:\n%s", type(error).__name__, where)
    return "InternalError", f"something went wrong in the server ({type(error).__name__})"


def _advice(error: Exception) -> str:
    for kind in type(error).__mro__:
        if kind in ADVICE:
            advice = ADVICE[kind]
            return advice if isinstance(advice, str) else advice(error)
    if isinstance(error, OSError):
        return f"Name another file or folder, or leave it out. {_OPERATOR}"
    return "The server's log says more. Look at list_images before anything is asked for again."


def _details(error: Exception) -> str:
    """Return the attributes worth acting on as JSON, for programs."""
    found: dict[str, object] = {}
    for name in _DETAILS:
        value = getattr(error, name, None)
        if value not in (None, (), ""):
            found[name] = redact(str(value), 200) if not isinstance(value, (int, float)) else value
    text = json.dumps(clean_json(found), ensure_ascii=False)
    while len(text) > _LONGEST_DETAILS:
        found.popitem()
        text = json.dumps(clean_json(found), ensure_ascii=False)
    return text if found else ""


_DETAILS: Final = (
    "status",
    "code",
    "param",
    "field",
    "request_id",
    "retry_after",
    "possible_cost",
    "handle",
    "estimate",
    "limit",
    "spent",
    "stage",
    "categories",
    "url",
    "template",
    "argument",
)


def _request(error: gptimage.InvalidRequestError) -> str:
    name = _ARGUMENTS.get(error.field, redact(error.field, 60))
    return f"{_SENT_NOTHING} Change the parameter {name}{_allowed(error.allowed)} and call again."


def _retired(error: gptimage.ModelRetiredError) -> str:
    use = f"model={error.replacements[0]}" if error.replacements else "another model"
    return f"{_SENT_NOTHING} Call again with {redact(use, 100)}; list_models has all that answer."


def _template(error: gptimage.TemplateError) -> str:
    argument = f"argument {redact(error.argument, 60)}" if error.argument else "template"
    return f"{_SENT_NOTHING} Correct the {argument}{_allowed(error.allowed)} and ask again."


def _budget(error: gptimage.BudgetExceededError) -> str:
    if error.estimate is None:
        return (
            f"{_SENT_NOTHING} Name a size, a quality and a model whose price is known "
            "(list_models), so that the cost can be foreseen. Otherwise the person sets "
            "GPTIMAGE_UNKNOWN_COST."
        )
    return (
        f"{_SENT_NOTHING} Ask for less: fewer images, a lower quality or a smaller size; "
        "estimate_cost compares them and get_server_status says what is left. Only the person can "
        "raise GPTIMAGE_MAX_PER_CALL or GPTIMAGE_MAX_PER_DAY."
    )


def _transport(error: gptimage.TransportError) -> str:
    if error.retryable:
        return "The service was not reached, so nothing was billed. Call again in a minute."
    return (
        "The service was not reached, so nothing was billed, and trying again will not help: "
        f"OPENAI_BASE_URL or the network of the server is wrong. {_OPERATOR}"
    )


def _unknown(error: gptimage.OutcomeUnknownError) -> str:
    most = error.possible_cost
    cost = "how much is not known" if most is None else f"at most about ${most:.4f}"
    return f"It may have been billed, {cost}. {_PAID_MAYBE}"


def _earlier(error: EarlierUnknownError) -> str:
    most = error.possible_cost
    cost = "an amount that is not known" if most is None else f"up to about ${most:.4f}"
    return (
        f"Nothing was sent now. The earlier call may have been billed, {cost}: view_image with "
        f"id={error.handle} and list_images show whether its image came after all. If it did "
        "not, ask the person; only if they agree to pay again, call with refresh=true."
    )


def _bad(error: gptimage.BadRequestError) -> str:
    what = f"the parameter {redact(error.param, 60)}" if error.param else "what it names"
    return f"The service drew nothing. Change {what} and call again; the same call fails again."


def _moderation(error: gptimage.ModerationError) -> str:
    what = {"input": "the prompt or the input images", "output": "what is to be drawn"}
    return (
        f"The safety system refused {what.get(error.stage or '', 'the request')}. Rephrase the "
        "prompt or use other images; the same call is refused again. Do not try to get around it."
    )


def _rate(error: gptimage.RateLimitError) -> str:
    wait = "a minute" if error.retry_after is None else f"{error.retry_after:g} seconds"
    return f"Nothing was billed. Wait {wait}, then call again, with fewer images at once."


def _store(error: gptimage.StoreError) -> str:
    if error.result is None and not error.recovery_copies:
        return (
            "get_server_status says how the store is. The person looks at its folder and disk, and "
            "runs `gptimage verify`."
        )
    where = (
        f" Copies are in {redact(', '.join(error.recovery_copies), 300)}."
        if error.recovery_copies
        else ""
    )
    return f"The images are drawn and paid: do NOT ask for them again.{where} {make_room(error)}"


def make_room(error: gptimage.StoreError) -> str:
    """Return what saves images that are paid; without a copy they are in this process alone."""
    if error.recovery_copies:
        return (
            "The person sees that the store can be written to (room on its disk, permissions) and "
            "runs `gptimage recover`."
        )
    return (
        "The person sees that the store can be written to (room on its disk, permissions); then "
        "view_image with their handle saves them, as long as this server runs."
    )


def _allowed(allowed: object) -> str:
    """Return what would be accepted, where that is known, as part of a sentence."""
    if allowed is None:
        return ""
    values = list(map(str, allowed)) if isinstance(allowed, (tuple, list)) else [str(allowed)]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]  # of anything
    shown = ", ".join(values[:20]) + (", ..." if len(values) > 20 else "")
    return f" (accepted: {redact(for_assistant(shown), 300)})"


_USUAL: Final = tomllib.loads(
    files("gptimage_mcp.content").joinpath("advice.toml").read_text("utf-8")
)

ADVICE: Final[Mapping[type, _Advice]] = {
    **{
        getattr(gptimage, name): text.format(sent_nothing=_SENT_NOTHING, operator=_OPERATOR)
        for name, text in _USUAL.items()
    },
    gptimage.InvalidRequestError: _request,
    gptimage.ModelRetiredError: _retired,
    gptimage.TemplateError: _template,
    gptimage.BudgetExceededError: _budget,
    gptimage.TransportError: _transport,
    gptimage.OutcomeUnknownError: _unknown,
    EarlierUnknownError: _earlier,
    gptimage.MalformedReplyError: _unknown,
    gptimage.BadRequestError: _bad,
    gptimage.ModerationError: _moderation,
    gptimage.RateLimitError: _rate,
    gptimage.StoreError: _store,
}
"""The next step after every class of error; a test proves that none is missing."""
