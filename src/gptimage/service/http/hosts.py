"""Hosts and web pages whose requests are served.

A page that is open in somebody's browser can send requests to this machine. It cannot hide its
``Origin``, and when its name was made to point here (DNS rebinding) it cannot hide the ``Host``
it asked for. Both are checked in front of every route, whatever address is listened on.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterable
from typing import Final, Self
from urllib.parse import urlsplit

from attrs import frozen
from starlette.datastructures import Headers

from gptimage.service.http.asgi import ASGIApp, JsonError, Message, Receive, Scope, Send


_logger: Final = logging.getLogger(__name__)
_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
_SAFE: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address; other names may be any."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@frozen
class Allowlist:
    """The hosts and origins that are served, in lower case.

    Attributes:
        hosts: Names as in a ``Host`` header; one without a port stands for every port.
        origins: Web pages besides those of the hosts themselves, such as ``https://example.com``.
    """

    hosts: frozenset[str]
    origins: frozenset[str]

    @classmethod
    def of(
        cls, hosts: Iterable[str], origins: Iterable[str] = (), *, public_url: str | None = None
    ) -> Self:
        """Make one of the loopback names, a public URL and what is named."""
        public = urlsplit(public_url or "").netloc.rpartition("@")[2]
        names = [*_LOOPBACK, *hosts, *([public] if public else [])]
        return cls(
            frozenset(map(_name, names)),
            frozenset(origin.lower().rstrip("/") for origin in origins),
        )

    def has_host(self, host: str) -> bool:
        """Return whether requests for this ``Host`` are served."""
        host = host.lower()
        return host in self.hosts or _without_port(host) in self.hosts

    def has_origin(self, origin: str, host: str) -> bool:
        """Return whether a page of this origin may ask a host: its own, or one that is listed."""
        origin = origin.lower()
        scheme, mark, place = origin.partition("://")
        own = bool(mark) and scheme in {"http", "https"} and place == host.lower()
        return own or origin in self.origins


class HostOriginMiddleware:
    """Answers 421 to a foreign ``Host`` and 403 to a foreign ``Origin``.

    Every response also tells browsers to take it for nothing but what it says it is, and, unless
    it says otherwise itself, to keep it from pages that are not allowed to read it.
    """

    def __init__(self, app: ASGIApp, *, allowlist: Allowlist) -> None:
        self._app = app
        self._allowlist = allowlist

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request that is allowed."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = [*message.get("headers", ())]
                names = {name.lower() for name, _ in given}
                added = [pair for pair in _SAFE if pair[0] not in names]
                message = {**message, "headers": [*given, *added]}
            await send(message)

        app = self._refused(Headers(scope=scope)) or self._app
        await app(scope, receive, safely)

    def _refused(self, headers: Headers) -> ASGIApp | None:
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self._allowlist.has_host(hosts[0]):
            _logger.warning("a request for host %.200r was refused", hosts)
            return JsonError(
                421, "host_not_allowed", "GPTIMAGE_ALLOWED_HOSTS does not have this host"
            )
        if any(not self._allowlist.has_origin(origin, hosts[0]) for origin in origins):
            _logger.warning("a request of origin %.200r was refused", origins)
            return JsonError(
                403, "origin_not_allowed", "this web page is not in GPTIMAGE_ALLOWED_ORIGINS"
            )
        return None


def _name(host: str) -> str:
    """Return a host as a ``Host`` header has it."""
    name = host.lower().removesuffix(":*")
    return f"[{name}]" if name.count(":") > 1 and not name.startswith("[") else name


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
