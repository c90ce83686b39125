"""When a call goes to another model: only after a failure that cannot have been billed."""

from __future__ import annotations

from typing import Final

from gptimage.errors import (
    ApiError,
    ModelRetiredError,
    ModerationError,
    NotFoundError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    TransportError,
)
from gptimage.transport.billing import may_be_billed


_PASSING: Final = (NotFoundError, QuotaExceededError, RateLimitError, ServerError)
"""Answers about the service or the account; those about the request or the key stay errors."""


def can_fall_back(error: Exception, *, moderated: bool) -> bool:
    """Return whether another model may be asked after this failure.

    An unknown outcome never qualifies: what was sent may be drawn and billed.

    Args:
        error: How the call ended.
        moderated: Whether a refusal of the prompt or an input image counts, too. One of what was
            drawn never does: it may be billed.
    """
    if isinstance(error, (TransportError, ModelRetiredError)):
        return True
    if not isinstance(error, ApiError) or may_be_billed(error):
        return False
    if isinstance(error, ModerationError):
        return moderated and error.stage == "input"
    return isinstance(error, _PASSING)


def reason(model: str, error: Exception) -> str:
    """Return the warning of a result that another model made."""
    return f"{model} did not draw it, and nothing was billed there ({error}): this model did"
