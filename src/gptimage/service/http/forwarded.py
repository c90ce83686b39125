"""Where clients see a server: its public address, and the prefix a trusted proxy took off."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from gptimage.service.http.asgi import ASGIApp, Receive, Scope, Send


# What ends up in an address must be a plain path: "//evil.example" would name another host.
_PREFIX: Final = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[\w.~-]+)+", re.ASCII)

_base: ContextVar[tuple[str, str]] = ContextVar("gptimage_base", default=("", ""))


def address_of(path: str, *, absolute: bool = False) -> str:
    """Return the address of a path of this server, as the sender of the current request sees it.

    Args:
        path: Such as ``/images/img_...``.
        absolute: Whether it must name the host, for readers that do not know it. Without a public
            address it is the host that the request named.
    """
    public, host = _base.get()
    return (public if "://" in public or not absolute else host + public) + path


class ForwardedMiddleware:
    """Finds out under which address a client sees the server, and takes the prefix off the path.

    A proxy may take its prefix off or leave it: both reach the same routes, and so does the
    endpoint with a slash at its end.

    ``X-Forwarded-For``, ``-Proto`` and ``-Prefix`` are read from trusted proxies only, because
    anybody can write them. Such a proxy must set or remove ``X-Forwarded-Prefix`` itself.

    Args:
        app: What is behind.
        endpoint: The path of the protocol.
        routes: What other paths begin with.
        public_url: How clients reach the server, if that is known.
        proxies: Addresses and networks of trusted proxies.

    Raises:
        ValueError: A proxy is neither an address nor a network.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        endpoint: str = "/",
        routes: Iterable[str] = (),
        public_url: str | None = None,
        proxies: Iterable[str] = (),
    ) -> None:
        self._endpoint = endpoint
        self._routes = tuple(routes)
        public = urlsplit(public_url or "")
        self._origin = f"{public.scheme}://{public.netloc}" if public_url else ""
        self._path = public.path.rstrip("/")
        self._proxies = [ipaddress.ip_network(each, strict=False) for each in proxies]
        self._app: ASGIApp = app
        if self._proxies:
            trusted = [str(each) for each in self._proxies]
            self._app = ProxyHeadersMiddleware(app, trusted)  # type: ignore[arg-type, assignment]  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]  # uvicorn types ASGI by its own dictionaries

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on the request with its path as the routes know it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        client = _plain(scope.get("client"))
        prefix = self._path
        if self._trusts(client):
            given = "".join(part.strip().rstrip("/") for part in _prefixes(headers))
            prefix = given if _PREFIX.fullmatch(given) else prefix
        path = self._route(scope["path"], prefix)
        host = f"{scope['scheme']}://{headers.get('host', '')}"
        # A task takes its variables along, so what a request starts knows its address, too.
        known = _base.set((self._origin + prefix, host))
        try:
            changed = {**scope, "client": client, "path": path, "raw_path": path.encode()}
            await self._app(changed, receive, send)
        finally:
            _base.reset(known)

    def _trusts(self, client: tuple[str, int] | None) -> bool:
        try:
            address = ipaddress.ip_address(client[0] if client else "")
        except ValueError:  # a socket file, or a test's client
            return False
        return any(address in network for network in self._proxies)

    def _route(self, path: str, prefix: str) -> str:
        if not self._is_route(path) and prefix and path.startswith(f"{prefix}/"):
            rest = path.removeprefix(prefix)
            path = rest if self._is_route(rest) else path
        return self._endpoint if self._is_endpoint(path) else path

    def _is_route(self, path: str) -> bool:
        own = any(path == route or path.startswith(f"{route}/") for route in self._routes)
        return own or self._is_endpoint(path)

    def _is_endpoint(self, path: str) -> bool:
        return path in {self._endpoint, f"{self._endpoint}/", self._endpoint.rstrip("/")}


def _prefixes(headers: Headers) -> list[str]:
    """Return each part of the prefix; every proxy on the way adds its own."""
    return ",".join(headers.getlist("x-forwarded-prefix")).split(",")


def _plain(client: tuple[str, int] | None) -> tuple[str, int] | None:
    """Return an IPv4 address as such where a dual-stack socket shows it as ``::ffff:...``."""
    try:
        address = ipaddress.ip_address(client[0] if client else "")
    except ValueError:
        return client
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (str(mapped), client[1]) if mapped and client else client
