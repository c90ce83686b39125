"""Which hosts and web pages are answered, and when listening at all would be careless.

A page that is open in somebody's browser can send requests to this machine. It cannot hide its
``Origin``, and when its name was made to point here (DNS rebinding) it cannot hide the ``Host``
it asked for. Both are checked in front of every route, whatever address is listened on: the
SDK checks its own path only, and nothing at all once ``host`` is not a loopback name.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterable
from typing import Final, Self
from urllib.parse import urlsplit

from attrs import frozen
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import gptimage
from gptimage_mcp.config.settings import Settings
from gptimage_mcp.http.errors import refusal


_logger: Final = logging.getLogger(__name__)
_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
_SAFE: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)


@frozen
class Allowlist:
    """The hosts and origins that are answered, in lower case.

    Attributes:
        hosts: Names as in a ``Host`` header; one without a port stands for every port.
        origins: Web pages besides those of the hosts themselves, such as ``https://example.com``.
    """

    hosts: frozenset[str]
    origins: frozenset[str]

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The loopback names, the public URL, and what the settings add."""
        public = urlsplit(settings.public_url or "").netloc.rpartition("@")[2]
        hosts = [*_LOOPBACK, *settings.allowed_hosts, *([public] if public else [])]
        return cls(
            frozenset(map(_name, hosts)),
            frozenset(origin.lower().rstrip("/") for origin in settings.allowed_origins),
        )

    def has_host(self, host: str) -> bool:
        """Whether requests for this ``Host`` are answered."""
        host = host.lower()
        return host in self.hosts or _without_port(host) in self.hosts

    def has_origin(self, origin: str, host: str) -> bool:
        """Whether a page of this origin may ask a host: its own, or one that is listed."""
        origin = origin.lower()
        scheme, mark, place = origin.partition("://")
        own = bool(mark) and scheme in {"http", "https"} and place == host.lower()
        return own or origin in self.origins

    def for_sdk(self) -> TransportSecuritySettings:
        """The same for the SDK, which checks its own path once more."""
        hosts = sorted({*self.hosts, *(f"{host}:*" for host in self.hosts)})
        own = (f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts)
        return TransportSecuritySettings(
            enable_dns_rebinding_protection=True,
            allowed_hosts=hosts,
            allowed_origins=[*sorted(self.origins), *own],
        )


class HostGuard:
    """Answers 421 to a foreign ``Host`` and 403 to a foreign ``Origin``.

    Every answer also tells browsers to take it for nothing but what it says it is, and to keep
    it from pages that are not allowed to read it.
    """

    def __init__(self, app: ASGIApp, *, allowlist: Allowlist) -> None:
        self._app = app
        self._allowlist = allowlist

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may be answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *_SAFE]}
            await send(message)

        app = self._refused(Headers(scope=scope)) or self._app
        await app(scope, receive, safely)

    def _refused(self, headers: Headers) -> ASGIApp | None:
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self._allowlist.has_host(hosts[0]):
            _logger.warning("a request for host %.200r was refused", hosts)
            return refusal(
                421, "host_not_allowed", "GPTIMAGE_ALLOWED_HOSTS does not have this host"
            )
        if any(not self._allowlist.has_origin(origin, hosts[0]) for origin in origins):
            _logger.warning("a request of origin %.200r was refused", origins)
            return refusal(
                403, "origin_not_allowed", "this web page is not in GPTIMAGE_ALLOWED_ORIGINS"
            )
        return None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address; a name other than localhost may be any."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_exposure(settings: Settings) -> None:
    """Refuse to listen beyond this machine without authentication and an allowlist of hosts.

    Raises:
        ConfigurationError: Names every variable that is missing.
    """
    _check_entries(
        "GPTIMAGE_ALLOWED_HOSTS", [host.removesuffix(":*") for host in settings.allowed_hosts]
    )
    _check_entries("GPTIMAGE_ALLOWED_ORIGINS", settings.allowed_origins)
    if is_loopback(settings.host):
        return
    missing: list[str] = []
    if not settings.tokens and settings.auth_issuer is None:
        missing.append("GPTIMAGE_TOKENS (or GPTIMAGE_AUTH_ISSUER), so that not everybody may call")
    if not settings.allowed_hosts and settings.public_url is None:
        missing.append("GPTIMAGE_ALLOWED_HOSTS (or GPTIMAGE_PUBLIC_URL), the names it is called by")
    if missing:
        raise gptimage.ConfigurationError(
            f"GPTIMAGE_HOST={settings.host} can be reached from other machines. Set "
            f"{'; and '.join(missing)}; or listen on 127.0.0.1"
        )


def _check_entries(variable: str, entries: Iterable[str]) -> None:
    if any("*" in entry for entry in entries):
        raise gptimage.ConfigurationError(f"{variable} takes names, not patterns: list every one")


def _name(host: str) -> str:
    """A host as a ``Host`` header has it."""
    name = host.lower().removesuffix(":*")
    return f"[{name}]" if name.count(":") > 1 and not name.startswith("[") else name


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
