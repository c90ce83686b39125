"""Images from OpenAI's image models: typed, honest about money, never lost.

Start with `ImageClient`, or with `ImageClient.sandbox()` when there is no key at hand.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:  # what checkers see; `_MODULES` says the same to Python, and a test compares them
    from gptimage.async_client import AsyncImageClient as AsyncImageClient
    from gptimage.budget.budget import Budget as Budget
    from gptimage.budget.ledger import Ledger as Ledger
    from gptimage.cache import Cache as Cache
    from gptimage.cache.base import CacheStats as CacheStats
    from gptimage.client import ImageClient as ImageClient
    from gptimage.conversation import Turn as Turn
    from gptimage.conversation import TurnCompleted as TurnCompleted
    from gptimage.engine.config import Settings as Settings
    from gptimage.errors import ApiError as ApiError
    from gptimage.errors import AuthenticationError as AuthenticationError
    from gptimage.errors import BadRequestError as BadRequestError
    from gptimage.errors import BudgetExceededError as BudgetExceededError
    from gptimage.errors import CacheError as CacheError
    from gptimage.errors import ConfigurationError as ConfigurationError
    from gptimage.errors import FetchError as FetchError
    from gptimage.errors import GptImageError as GptImageError
    from gptimage.errors import ImageDecodeError as ImageDecodeError
    from gptimage.errors import ImageNotFoundError as ImageNotFoundError
    from gptimage.errors import InvalidRequestError as InvalidRequestError
    from gptimage.errors import MalformedReplyError as MalformedReplyError
    from gptimage.errors import ModelRetiredError as ModelRetiredError
    from gptimage.errors import ModerationError as ModerationError
    from gptimage.errors import NotFoundError as NotFoundError
    from gptimage.errors import OrganizationNotVerifiedError as OrganizationNotVerifiedError
    from gptimage.errors import OutcomeUnknownError as OutcomeUnknownError
    from gptimage.errors import PermissionDeniedError as PermissionDeniedError
    from gptimage.errors import QuotaExceededError as QuotaExceededError
    from gptimage.errors import RateLimitError as RateLimitError
    from gptimage.errors import ServerError as ServerError
    from gptimage.errors import StoreError as StoreError
    from gptimage.errors import TemplateError as TemplateError
    from gptimage.errors import TransportError as TransportError
    from gptimage.image.contact_sheet import contact_sheet as contact_sheet
    from gptimage.image.download import Fetch as Fetch
    from gptimage.image.image import Image as Image
    from gptimage.image.mask import Mask as Mask
    from gptimage.limits import Limits as Limits
    from gptimage.models.catalog import Models as Models
    from gptimage.models.catalog import ModelSpec as ModelSpec
    from gptimage.models.catalog import Price as Price
    from gptimage.models.pricing import Cost as Cost
    from gptimage.models.pricing import Estimate as Estimate
    from gptimage.models.pricing import Usage as Usage
    from gptimage.models.sizes import Size as Size
    from gptimage.store import Retention as Retention
    from gptimage.store import Store as Store
    from gptimage.templates import PromptTemplate as PromptTemplate
    from gptimage.templates import PromptTemplates as PromptTemplates
    from gptimage.transport.retry import Retry as Retry
    from gptimage.types.record import Record as Record
    from gptimage.types.request import Edit as Edit
    from gptimage.types.request import EditOptions as EditOptions
    from gptimage.types.request import FileRef as FileRef
    from gptimage.types.request import Generate as Generate
    from gptimage.types.request import Options as Options
    from gptimage.types.request import Prompt as Prompt
    from gptimage.types.result import Completed as Completed
    from gptimage.types.result import PartialImage as PartialImage
    from gptimage.types.result import Result as Result

__version__: str

_MODULES: Final = {
    "async_client": "AsyncImageClient",
    "budget.budget": "Budget",
    "budget.ledger": "Ledger",
    "cache": "Cache",
    "cache.base": "CacheStats",
    "client": "ImageClient",
    "conversation": "Turn TurnCompleted",
    "engine.config": "Settings",
    "errors": (
        "ApiError AuthenticationError BadRequestError BudgetExceededError CacheError "
        "ConfigurationError FetchError GptImageError ImageDecodeError ImageNotFoundError "
        "InvalidRequestError MalformedReplyError ModelRetiredError ModerationError "
        "NotFoundError OrganizationNotVerifiedError OutcomeUnknownError PermissionDeniedError "
        "QuotaExceededError RateLimitError ServerError StoreError TemplateError "
        "TransportError"
    ),
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
"""Where each public name lives: its module is imported when the name is first used."""

if not TYPE_CHECKING:  # a checker would take any misspelt name for one this function knows
    __all__ = [*sorted(" ".join(_MODULES.values()).split())]  # noqa: PLE0604  # they are strings

    def __getattr__(name: str) -> object:
        """Import the module of a name, or read the version from the package's metadata."""
        if name == "__version__":
            from importlib.metadata import version

            found = globals()[name] = version("gptimage")  # reading it takes a millisecond
            return found
        if name == "testing":
            return importlib.import_module("gptimage.testing")
        module = next((module for module, names in _MODULES.items() if name in names.split()), None)
        if module is None:
            raise AttributeError(f"module 'gptimage' has no attribute {name!r}")
        found = globals()[name] = getattr(importlib.import_module(f"gptimage.{module}"), name)
        return found

    def __dir__() -> list[str]:
        """Return the public names, imported yet or not; what this file imports is none."""
        return sorted(
            {*globals(), *__all__} - {"Final", "TYPE_CHECKING", "annotations", "importlib"}
        )
