"""The providers a client sends to: its own, and those that the model of a call names."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import Factory, define, evolve, field

from gptimage.errors import ConfigurationError, InvalidRequestError
from gptimage.providers import DEFAULT, Provider, from_environment, provider, split_model
from gptimage.transport.environment import split_login
from gptimage.transport.protocols import SANDBOX_URL


Opener = Callable[[Provider], Any]
"""Makes the transport to a provider that has its address and key."""


@define
class Services:
    """The providers of one client. Another one than its own is connected to when first named.

    Attributes:
        own: The client's own, with its address.
        transport: The transport to it.
        given: Providers of the user's own, by name.
        open: Makes the transport to another one.
        named: Whether its models are called ``name/model`` in results, the ledger and the store:
            it was chosen by name, and is not OpenAI.
    """

    own: Provider
    transport: Any
    given: Mapping[str, Provider]
    open: Opener
    named: bool = False
    _others: dict[str, tuple[Provider, Any]] = field(factory=dict[str, tuple[Provider, Any]])
    _lock: threading.Lock = Factory(threading.Lock)

    def resolve(self, model: str) -> tuple[Provider, str, str]:
        """Return the provider of a model, the model's name there, and its name in results.

        Raises:
            InvalidRequestError: No model was named, and the provider has no usual one.
            ConfigurationError: The provider has no key or no address here; nothing was sent.
        """
        if not model:
            raise InvalidRequestError(
                f"model: {self.own.title} has no model that everybody has: name one, as model=",
                field="model",
                value=model,
            )
        if not self._routes:
            return self.own, model, model
        name, rest = split_model(model, self.own, self.given)
        if name != self.own.name:
            return self._other(name)[0], rest, f"{name}/{rest}"
        return self.own, rest, f"{name}/{rest}" if self.named else rest

    def transport_to(self, name: str) -> Any:
        """Return the transport to a provider, by the name a request has; its own has none."""
        return self._other(name)[1] if name else self.transport

    def opened(self) -> list[Any]:
        """Return the transports to other providers that were made, which the caller closes."""
        with self._lock:
            found = [transport for _, transport in self._others.values()]
            self._others.clear()
            return found

    @property
    def _routes(self) -> bool:
        """Whether the beginning of a model's name may choose another provider.

        A server at another address may have slashes in the names of its models.
        """
        usual = (provider(DEFAULT).base_url, SANDBOX_URL)
        return self.named or (self.own.base_url or "").rstrip("/") in usual

    def _other(self, name: str) -> tuple[Provider, Any]:
        # Two threads that come at once must not make two transports, of which one stays open.
        with self._lock:
            if name not in self._others:
                found = self.given.get(name) or from_environment(name)
                if self.own.base_url == SANDBOX_URL:
                    found = evolve(found, base_url=SANDBOX_URL)
                else:
                    found = found.connected()
                opened = self.open(found)
                # The transport has the user and password of the address; no one else needs them.
                plain, _ = split_login(str(found.base_url))
                self._others[name] = (evolve(found, base_url=plain), opened)
            return self._others[name]


def by_name(providers: Iterable[Provider]) -> dict[str, Provider]:
    """Return providers of the user's own by their names.

    Raises:
        ConfigurationError: Two have the same name.
    """
    found: dict[str, Provider] = {}
    for each in providers:
        if each.name in found:
            raise ConfigurationError(f"providers= has two called {each.name!r}: keep one")
        found[each.name] = each
    return found
