"""Confirmation by the person before a call above a limit, where the client can ask them."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Any, Final, TypeAlias

from mcp.server.elicitation import AcceptedElicitation, render_elicitation_schema
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult
from mcp_types.version import is_version_at_least
from pydantic import BaseModel, Field, ValidationError

from gptimage_mcp.app import App
from gptimage_mcp.jobs.job import Job
from gptimage_mcp.tools.requests import ImageRequest, RequestGroup


_KEY: Final = "consent"
_ROUNDS_SINCE: Final = "2026-07-28"
"""From this version on a question is the result of a call, and the call is made again."""

_SHOWN: Final = 200


class Confirmation(BaseModel):
    """The form shown to the person."""

    draw: bool = Field(default=True, title="Draw and pay", description="Untick to draw nothing")


Confirmable: TypeAlias = ImageRequest | RequestGroup
"""A request to confirm, or several at once."""


async def confirm(
    app: App, ctx: Context[App, Any], request: Confirmable, earlier: Job | None = None
) -> InputRequiredResult | None:
    """Ask the person, if that is needed and possible.

    Args:
        app: The server.
        ctx: The request.
        request: What is to be drawn.
        earlier: The same call, if one was made that may have been paid: then the person is asked
            whatever it costs.

    Returns:
        None when it may be drawn; otherwise the question, as the answer to this call.

    Raises:
        ToolError: The person declined.
        InvalidRequestError: It breaks a documented rule.
    """
    limit = app.settings.confirm_above
    if (limit is None and earlier is None) or app.client is None or not _can_ask(ctx):
        return None
    max_cost = await request.max_cost(app.client)
    most = app.settings.unknown_cost if max_cost is None else max_cost
    if earlier is None and limit is not None and most is not None and most <= limit:
        return None
    question = _again(earlier) + _question(request, max_cost)
    version = ctx.protocol_version
    if version is not None and is_version_at_least(version, _ROUNDS_SINCE):
        return _confirm_by_rounds(ctx, question, request)
    response = await ctx.elicit(question, Confirmation)
    if not (isinstance(response, AcceptedElicitation) and response.data.draw):
        raise _declined(max_cost)
    return None


def _can_ask(ctx: Context[App, Any]) -> bool:
    """Return whether the client can show a form to its person during a call."""
    capabilities = ctx.client_capabilities
    able = capabilities.elicitation if capabilities else None
    if able is None or (able.form is None and able.url is not None):
        return False
    version = ctx.protocol_version
    by_rounds = version is not None and is_version_at_least(version, _ROUNDS_SINCE)
    return by_rounds or ctx.session.can_send_request


def _confirm_by_rounds(
    ctx: Context[App, Any], question: str, request: Confirmable
) -> InputRequiredResult | None:
    """Return None if this very question was confirmed in the round before, else the question."""
    state = hashlib.sha256(f"{question}\0{request.digest}".encode()).hexdigest()
    response = (ctx.input_responses or {}).get(_KEY)
    if response is None or ctx.request_state != state:
        schema = render_elicitation_schema(Confirmation)
        form = ElicitRequestFormParams(message=question, requested_schema=schema)
        return InputRequiredResult(
            input_requests={_KEY: ElicitRequest(params=form)}, request_state=state
        )
    if not (
        isinstance(response, ElicitResult) and response.action == "accept" and _agrees(response)
    ):
        raise _declined(None)
    return None


def _agrees(response: ElicitResult) -> bool:
    try:
        return Confirmation.model_validate(response.content or {}).draw
    except ValidationError:
        return False


def _question(request: Confirmable, max_cost: Decimal | None) -> str:
    """Return the same text for the same request: a client that works by rounds shows it again."""
    images = "1 image" if request.count == 1 else f"{request.count} images"
    cost = "an amount that cannot be foreseen" if max_cost is None else f"up to {_usd(max_cost)}"
    chat = ", and a little more for the chat model" if request.operation == "refine" else ""
    words = " ".join(request.prompt.split())
    about = f"\n\n{words[:_SHOWN]}{'…' if len(words) > _SHOWN else ''}" if words else ""
    return f"Draw {images} ({request.operation})? It may cost {cost}{chat}.{about}"


def _again(earlier: Job | None) -> str:
    if earlier is None:
        return ""
    cost = "" if earlier.most is None else f", up to {_usd(earlier.most)}"
    return (
        f"The same request was made at {earlier.started:%Y-%m-%d %H:%M} UTC and may have been "
        f"billed{cost}; no image of it came. Pay once more? "
    )


def _usd(amount: Decimal) -> str:
    return f"${amount:.4f}" if amount < 10 else f"${amount:.2f}"


def _declined(max_cost: Decimal | None) -> ToolError:
    cost = "" if max_cost is None else f" It may have cost up to {_usd(max_cost)}."
    return ToolError(
        f"Declined: the person did not agree to this call.{cost} Nothing was sent and nothing was "
        "billed. Next: ask the person what to change; fewer images, a lower quality or a smaller "
        "size cost less, and estimate_cost compares them."
    )
