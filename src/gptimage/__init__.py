"""Pictures from OpenAI's image models: typed, honest about money, never lost.

Start with `ImageClient`, or with `ImageClient.sandbox()` when there is no key at hand.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from gptimage.async_client import AsyncImageClient
    from gptimage.budget.budget import Budget
    from gptimage.budget.ledger import Ledger
    from gptimage.cache import Cache
    from gptimage.cache.base import CacheStats
    from gptimage.client import ImageClient
    from gptimage.conversation import Turn, TurnCompleted
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
    from gptimage.image.contact_sheet import contact_sheet
    from gptimage.image.download import Fetch
    from gptimage.image.image import Image
    from gptimage.image.mask import Mask
    from gptimage.limits import Limits
    from gptimage.models.catalog import Models, ModelSpec, Price
    from gptimage.models.pricing import Cost, Estimate, Usage
    from gptimage.models.sizes import Size
    from gptimage.store import Retention, Store
    from gptimage.templates import PromptTemplate, PromptTemplates
    from gptimage.transport.retry import Retry
    from gptimage.types.record import Record
    from gptimage.types.request import Edit, EditOptions, FileRef, Generate, Options, Prompt
    from gptimage.types.result import Completed, PartialImage, Result


__version__: str

_ROOMS: Final = {
    "async_client": "AsyncImageClient",
    "budget.budget": "Budget",
    "budget.ledger": "Ledger",
    "cache": "Cache",
    "cache.base": "CacheStats",
    "client": "ImageClient",
    "conversation": "Turn TurnCompleted",
    "errors": "ApiError AuthenticationError BadRequestError BudgetExceededError CacheError "
    "ConfigurationError FetchError GptImageError ImageDecodeError ImageNotFoundError "
    "InvalidRequestError MalformedReplyError ModelRetiredError ModerationError "
    "NotFoundError OrganizationNotVerifiedError OutcomeUnknownError "
    "PermissionDeniedError QuotaExceededError RateLimitError ServerError StoreError "
    "TemplateError TransportError",
    "image.contact_sheet": "contact_sheet",
    "image.download": "Fetch",
    "image.image": "Image",
    "image.mask": "Mask",
    "limits": "Limits",
    "models.catalog": "ModelSpec Models Price",
    "models.pricing": "Cost Estimate Usage",
    "models.sizes": "Size",
    "store": "Retention Store",
    "templates": "PromptTemplate PromptTemplates",
    "transport.retry": "Retry",
    "types.record": "Record",
    "types.request": "Edit EditOptions FileRef Generate Options Prompt",
    "types.result": "Completed PartialImage Result",
}
"""Where each public name lives: a room is imported when one of its names is first used."""

if not TYPE_CHECKING:  # a checker would take any misspelt name for one this function knows

    def __getattr__(name: str) -> object:
        """Import a room, or read the version from the package metadata, when it is asked for."""
        if name == "__version__":
            from importlib.metadata import version

            return version("gptimage")
        if name == "testing":
            return importlib.import_module("gptimage.testing")
        room = next((room for room, names in _ROOMS.items() if name in names.split()), None)
        if room is None:
            raise AttributeError(f"module 'gptimage' has no attribute {name!r}")
        found = globals()[name] = getattr(importlib.import_module(f"gptimage.{room}"), name)
        return found

    def __dir__() -> list[str]:
        """The public names, imported yet or not."""
        return sorted({*globals(), *__all__})


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
