"""The services that draw images: what each is called, and where its dialect is.

A provider's module is imported when it is first used.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from gptimage._internal.text import closest
from gptimage.errors import ConfigurationError
from gptimage.providers.base import Exchange as Exchange
from gptimage.providers.base import Provider as Provider


if TYPE_CHECKING:
    from gptimage.providers.azure_api import azure as azure
    from gptimage.providers.compatible_api import compatible as compatible


_MODULES: Final[Mapping[str, str]] = {
    "openai": "openai.provider",
    "azure": "azure_api",
    "gemini": "gemini",
    "openrouter": "compatible_api",
    "together": "compatible_api",
    "xai": "compatible_api",
    "localai": "compatible_api",
    "vllm": "compatible_api",
    "sdcpp": "compatible_api",
    "litellm": "compatible_api",
    "generic": "compatible_api",
}
"""The module of each provider; its function ``provider(name)`` makes the value."""

_HOSTS: Final[Mapping[str, str]] = {".azure.com": "azure"}
"""How the hosts of a provider end whose dialect holds whoever made the connection."""

DEFAULT: Final = "openai"


def names() -> tuple[str, ...]:
    """Return the names of the providers this library knows."""
    return tuple(_MODULES)


def provider(name: str) -> Provider:
    """Return a provider by its name, with no key and no address but its own.

    Raises:
        ConfigurationError: There is none of that name.
    """
    found: Provider = _module(name).provider(name)
    return found


def from_environment(name: str) -> Provider:
    """Return a provider by its name, with what the environment says of its dialect.

    Raises:
        ConfigurationError: There is none of that name, or a variable cannot be used.
    """
    module = _module(name)
    found: Provider = getattr(module, "from_environment", module.provider)(name)
    return found


def _module(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        near = closest(name, _MODULES)
        meant = f", did you mean {near!r}?" if near else ":"
        raise ConfigurationError(
            f"there is no provider {name!r}{meant} There are {', '.join(_MODULES)}; any other "
            "server is a Provider(...) of your own"
        )
    return importlib.import_module(f"gptimage.providers.{module}")


def provider_at(url: str) -> Provider:
    """Return the provider whose rules hold at an address; OpenAI's where nothing else is known."""
    host = urlsplit(url).hostname or ""
    return provider(next((n for end, n in _HOSTS.items() if host.endswith(end)), DEFAULT))


def split_model(model: str, own: Provider, others: Mapping[str, Provider]) -> tuple[str, str]:
    """Return the name of the provider that a model's name begins with, and the rest.

    A name that begins with no provider belongs to the client's own.

    Args:
        model: What a call names, such as ``azure/gpt-image-2``.
        own: The client's provider.
        others: Providers of the user's own, by name.
    """
    first, slash, rest = model.partition("/") if isinstance(model, str) else ("", "", "")  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
    if not slash or not rest:
        return own.name, model
    known = first == own.name or first in others or (not own.slashes and first in _MODULES)
    return (first, rest) if known else (own.name, model)


def named_by(model: str) -> str:
    """Return the provider that a model's full name begins with; OpenAI where it begins with none.

    Args:
        model: As a result names it, such as ``azure/gpt-image-2``.
    """
    first, slash, _ = model.partition("/")
    return first if slash and first in _MODULES else DEFAULT


if not TYPE_CHECKING:  # a checker would take any misspelt name for one this function knows

    def __getattr__(name: str) -> object:
        """Import what makes a provider when it is first used."""
        if name in ("azure", "compatible"):
            return getattr(importlib.import_module(f"gptimage.providers.{name}_api"), name)
        raise AttributeError(f"module 'gptimage.providers' has no attribute {name!r}")
