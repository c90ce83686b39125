"""Makes the connections of a client, to its own provider and to the others its calls name."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from attrs import evolve

from gptimage.engine.arguments import (
    check_sdk,
    check_settings,
    check_timeout,
    check_transport,
    wants_sandbox,
)
from gptimage.engine.config import DEFAULT_TIMEOUT, ClientSettings, Settings
from gptimage.engine.services import Services, by_name
from gptimage.errors import ConfigurationError
from gptimage.providers import DEFAULT, Provider, from_environment, provider_at
from gptimage.secrets import remember_url
from gptimage.transport.direct import AsyncHttpTransport, HttpTransport, http_client, no_auth
from gptimage.transport.environment import check_environment, split_login
from gptimage.transport.interception import active, aintercepted, intercepted
from gptimage.transport.openai_sdk import AsyncOpenAITransport, OpenAITransport
from gptimage.transport.protocols import SANDBOX_URL


if TYPE_CHECKING:
    from gptimage.sandbox import Sandbox


def connection(
    what: str,
    settings: ClientSettings,
    *,
    openai: Any,
    transport: object,
    api_key: str | None,
    base_url: str | None,
    timeout: float,
) -> Services:
    """Make the transport of a client; refuse arguments that are wrong or would be ignored.

    Args:
        what: ``ImageClient`` or ``AsyncImageClient``.
        settings: What was given under a name of its own.
        openai: A client of the SDK, or None.
        transport: What sends instead, or None.
        api_key: The key, or None for that of the environment.
        base_url: Where it sends, or None for the environment's or the provider's own.
        timeout: Seconds to wait for a response.

    Raises:
        ConfigurationError: One is, or there is no key, or the environment is wrong.
    """
    wants_async = what.startswith("Async")
    check_settings(what, settings)
    check_timeout(timeout)
    chosen = settings.get("provider")
    own = from_environment(chosen) if isinstance(chosen, str) else chosen
    make = partial(_services, settings, wants_async=wants_async, timeout=timeout)
    if wants_sandbox(api_key, base_url, openai, transport):
        own = evolve(own or from_environment(DEFAULT), base_url=SANDBOX_URL)
        return make(own, None)
    if openai is not None:
        check_sdk(openai, wants_async=wants_async)
    if transport is not None:
        check_transport(transport, wants_async=wants_async)
    refuse_ignored(
        openai,
        transport,
        api_key=api_key,
        base_url=None if openai is None else base_url,
        provider=None if openai is None else chosen,
        timeout=None if timeout == DEFAULT_TIMEOUT else timeout,
    )
    if openai is not None:
        url = str(getattr(openai, "base_url", None))
        remember_url(url)
        endpoint, _ = split_login(url)  # its client has the user and password, and sends them
        sdk = AsyncOpenAITransport if wants_async else OpenAITransport
        return make(_at(endpoint), sdk(lambda: openai, owned=False))
    named = own or from_environment(DEFAULT)
    if transport is not None:
        endpoint, _ = split_login(named.url(base_url))
        return make(_at(endpoint) if own is None else evolve(own, base_url=endpoint), transport)
    found = named.connected(base_url=base_url, api_key=api_key, needs_key=active() is None)
    opened = _open(found, timeout=timeout, wants_async=wants_async)
    endpoint, _ = split_login(str(found.base_url))
    return make(_at(endpoint) if own is None else evolve(found, base_url=endpoint), opened)


def refuse_ignored(openai: object, transport: object, **given: object) -> None:
    """Refuse settings of a connection that somebody else has made already.

    Raises:
        ConfigurationError: A setting was given that would be ignored.
    """
    way = "openai" if openai is not None else "transport" if transport is not None else None
    if openai is not None and transport is not None:
        given = {"transport": transport}
    useless = [name for name, value in given.items() if value is not None]
    if way and useless:
        raise ConfigurationError(
            f"{', '.join(useless)} would be ignored beside {way}=: leave it out"
        )


def _at(endpoint: str) -> Provider:
    """Return the provider whose rules hold at an address nobody named a provider for."""
    return evolve(provider_at(endpoint), base_url=endpoint)


def sandbox_of(settings: Settings, given: Sandbox | None) -> Sandbox:
    """Return the sandbox of a client, which speaks as the client's provider does.

    A sandbox of the user's own chooses the provider where the settings name none.

    Raises:
        ConfigurationError: The sandbox is that of another provider.
    """
    from gptimage.sandbox import Sandbox

    chosen = settings.get("provider")
    if given is None:
        return Sandbox(provider=_dialect(chosen), clock=settings.get("clock"))
    # Anything that replies may stand for a sandbox.
    speaks = getattr(getattr(given, "dialect", None), "name", DEFAULT)
    if chosen is None and speaks != DEFAULT:
        settings["provider"] = speaks
    # OpenAI's sandbox reads the paths of Azure, too; what one's own provider sends is its affair.
    served = (speaks, "azure") if speaks == DEFAULT else (speaks,)
    if _is_known(chosen) and _dialect(chosen) not in served:
        raise ConfigurationError(
            f"the sandbox is {speaks}'s, and the client's provider is {_dialect(chosen)}: "
            f"use Sandbox(provider={_dialect(chosen)!r})"
        )
    return given


def sandbox_transport(sandbox: Sandbox, *, wants_async: bool) -> Any:
    """Return what lets a sandbox reply in this process."""
    from gptimage.sandbox import AsyncSandboxTransport, SandboxTransport

    return (AsyncSandboxTransport if wants_async else SandboxTransport)(sandbox)


def _dialect(service: Provider | str | None) -> Any:
    """Return whose dialect the sandbox speaks for a provider; OpenAI's for one of one's own."""
    return _name(service) if _is_known(service) else DEFAULT


def _is_known(service: Provider | str | None) -> bool:
    """Return whether the sandbox has a dialect of this provider's name."""
    from gptimage.sandbox.dialect import PROVIDERS

    return _name(service) in PROVIDERS


def _name(service: Provider | str | None) -> str | None:
    return service.name if isinstance(service, Provider) else service


def _services(
    settings: Settings,
    own: Provider,
    transport: Any,
    *,
    wants_async: bool,
    timeout: float,
) -> Services:
    """Return the providers of a client; without a transport, the sandbox answers for them all."""
    cassette: Any = aintercepted if wants_async else intercepted

    def draw(service: Provider) -> Any:
        from gptimage.sandbox import Sandbox

        sandbox = Sandbox(provider=_dialect(service), clock=settings.get("clock"))
        return cassette(sandbox_transport(sandbox, wants_async=wants_async))

    def connect(service: Provider) -> Any:
        return cassette(_open(service, timeout=timeout, wants_async=wants_async))

    is_sandbox = own.base_url == SANDBOX_URL
    return Services(
        own=own,
        transport=draw(own) if transport is None else cassette(transport),
        given=by_name(settings.get("providers") or ()),
        open=draw if is_sandbox else connect,
        named=settings.get("provider") is not None and own.name != DEFAULT,
    )


def _open(service: Provider, *, timeout: float, wants_async: bool) -> Any:
    """Return the transport to a provider over HTTP; its client is made at the first request."""
    endpoint, login = split_login(str(service.base_url))
    check_environment(whole=False)

    def make() -> Any:
        if not service.has_key:  # a cassette knows the replies; what it does not know needs a key
            service.connected()
        check_environment()  # it may have changed, and the HTTP library reads it now
        headers = {**service.headers(), **service.key_headers(), **_login(login)}
        return http_client(endpoint, timeout, headers, is_async=wants_async)

    kind = cast("Any", AsyncHttpTransport if wants_async else HttpTransport)
    auth = no_auth if service.token is None else service.token_headers
    return kind(make, owned=True, auth=auth)


def _login(login: str | None) -> dict[str, str]:
    """Return the header of the user and password in an address, which beats the key's."""
    return {} if login is None else {"authorization": login}
