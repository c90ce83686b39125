"""Pictures from OpenAI's image models: typed, honest about money, never lost.

Start with `ImageClient`, or with `ImageClient.sandbox()` when there is no key at hand.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from gptimage.async_client import AsyncImageClient
from gptimage.client import ImageClient
from gptimage.contact import contact_sheet
from gptimage.errors import (
    ApiError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    CacheError,
    ConfigurationError,
    FetchError,
    GptImageError,
    ImageDecodeError,
    ImageNotFoundError,
    InvalidRequestError,
    MalformedReplyError,
    ModelRetiredError,
    ModerationError,
    NotFoundError,
    OrganizationNotVerifiedError,
    OutcomeUnknownError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    StoreError,
    TemplateError,
    TransportError,
)
from gptimage.fetch import Fetch
from gptimage.image import Image
from gptimage.mask import Mask
from gptimage.models import Models, ModelSpec, Price
from gptimage.money import Cost, Estimate, Usage
from gptimage.prompt import Prompt
from gptimage.records import Record
from gptimage.requests import Edit, EditOptions, FileRef, Generate, Options
from gptimage.results import Completed, PartialImage, Result
from gptimage.retry import Retry
from gptimage.sizes import Size


if TYPE_CHECKING:
    from gptimage.budget import Budget
    from gptimage.cache import Cache
    from gptimage.cached import CacheStats
    from gptimage.ledger import Ledger
    from gptimage.limits import Limits
    from gptimage.store import Retention, Store
    from gptimage.templates import PromptTemplate, PromptTemplates
    from gptimage.turns import Turn, TurnCompleted


__version__: str

_LATE: Final = {
    "Budget": "gptimage.budget",
    "Cache": "gptimage.cache",
    "CacheStats": "gptimage.cached",
    "Ledger": "gptimage.ledger",
    "Limits": "gptimage.limits",
    "PromptTemplate": "gptimage.templates",
    "PromptTemplates": "gptimage.templates",
    "Retention": "gptimage.store",
    "Store": "gptimage.store",
    "Turn": "gptimage.turns",
    "TurnCompleted": "gptimage.turns",
}
"""Rooms most programs do not enter: each is imported when it is first named."""

if not TYPE_CHECKING:  # a checker would take any misspelt name for one this function knows

    def __getattr__(name: str) -> object:
        """Import a room, or read the version from the package metadata, when it is asked for."""
        if name in _LATE:
            return getattr(importlib.import_module(_LATE[name]), name)
        if name != "__version__":
            raise AttributeError(f"module 'gptimage' has no attribute {name!r}")
        from importlib.metadata import version

        return version("gptimage")


__all__ = [
    "ApiError",
    "AsyncImageClient",
    "AuthenticationError",
    "BadRequestError",
    "Budget",
    "BudgetExceededError",
    "Cache",
    "CacheError",
    "CacheStats",
    "Completed",
    "ConfigurationError",
    "Cost",
    "Edit",
    "EditOptions",
    "Estimate",
    "Fetch",
    "FetchError",
    "FileRef",
    "Generate",
    "GptImageError",
    "Image",
    "ImageClient",
    "ImageDecodeError",
    "ImageNotFoundError",
    "InvalidRequestError",
    "Ledger",
    "Limits",
    "MalformedReplyError",
    "Mask",
    "ModelRetiredError",
    "ModelSpec",
    "Models",
    "ModerationError",
    "NotFoundError",
    "Options",
    "OrganizationNotVerifiedError",
    "OutcomeUnknownError",
    "PartialImage",
    "PermissionDeniedError",
    "Price",
    "Prompt",
    "PromptTemplate",
    "PromptTemplates",
    "QuotaExceededError",
    "RateLimitError",
    "Record",
    "Result",
    "Retention",
    "Retry",
    "ServerError",
    "Size",
    "Store",
    "StoreError",
    "TemplateError",
    "TransportError",
    "Turn",
    "TurnCompleted",
    "Usage",
    "contact_sheet",
]
