"""Which hosts and web pages are answered, and when listening at all would be careless.

A page that is open in somebody's browser can send requests to this machine. It cannot hide its
``Origin``, and when its name was made to point here (DNS rebinding) it cannot hide the ``Host``
it asked for. Both are checked in front of every route, whatever address is listened on: the
SDK checks its own path only, and nothing at all once ``host`` is not a loopback name.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from typing import Final, Self
from urllib.parse import urlsplit

import anyio
from attrs import frozen
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, RequireAuthMiddleware
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl
from starlette.authentication import AuthenticationError
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import gptimage
from gptimage_mcp.auth import is_loopback, name_of
from gptimage_mcp.config.settings import Settings
from gptimage_mcp.http.errors import json_error


# Request bodies: how large, how slow, and how much memory all of them may take together.
#
# The SDK has a size limit for its own path (413); it has none for other routes, and waits for
# a body as long as its sender likes.

PAUSE: Final = 15.0
"""Seconds within which the next piece of a body must come."""

WHOLE: Final = 60.0
"""Seconds within which a whole body must come."""

TOGETHER: Final = 64 * 1024 * 1024
"""Bytes that all bodies on their way in may take."""


class BodyLimitMiddleware:
    """Reads each body before it is passed on, within limits: 413, 408, or 503 beyond them.

    Args:
        app: What is behind.
        most: The largest body, in bytes.
        together: The most all bodies may take while they arrive, in bytes.
        pause: Seconds within which the next piece must come.
        whole: Seconds within which all must come.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        most: int,
        together: int = TOGETHER,
        pause: float = PAUSE,
        whole: float = WHOLE,
    ) -> None:
        self._app = app
        self._most = most
        self._together = together
        self._pause = pause
        self._whole = whole
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a whole body, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = bytearray()
        try:
            refused = await self._read(Headers(scope=scope), receive, body)
        except ClientDisconnect:
            return
        finally:
            self._held -= len(body)
        if refused is not None:
            await refused(scope, receive, send)
            return
        await self._app(scope, _replayed(bytes(body), receive), send)

    async def _read(self, headers: Headers, receive: Receive, body: bytearray) -> Response | None:
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._most:
            return self._too_large()
        try:
            with anyio.fail_after(self._whole):
                return await self._collect(receive, body)
        except TimeoutError:
            return json_error(408, "too_slow", "the request's body did not arrive in time")

    async def _collect(self, receive: Receive, body: bytearray) -> Response | None:
        more = True
        while more:
            with anyio.fail_after(self._pause):
                message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            piece: bytes = message.get("body", b"")
            more = bool(message.get("more_body", False))
            if len(body) + len(piece) > self._most:
                return self._too_large()
            if self._held + len(piece) > self._together:
                return json_error(
                    503,
                    "busy",
                    "too much is being uploaded at once: try again in a moment",
                    headers={"retry-after": "5"},
                )
            self._held += len(piece)
            body += piece
        return None

    def _too_large(self) -> Response:
        return json_error(
            413,
            "too_large",
            f"a request's body may have {self._most} bytes (GPTIMAGE_MAX_BODY): name pictures by "
            "id, path or URL instead of sending them",
        )


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once, and then what really comes: the disconnection."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


# The gate in front of every route: whoever has no valid token is told so, and goes no further.


class AuthMiddleware:
    """Lets through who proved who they are: 401 without a valid token, 403 without a scope.

    Whatever path is not open needs a token, also one that no route has.

    Args:
        app: What is behind. It does not get the token, so that it can pass it to nobody.
        scopes: What a token must be good for.
        metadata: Where clients read who issues tokens (RFC 9728), or None.
        open: Paths that need no token.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        scopes: Iterable[str],
        metadata: AnyHttpUrl | None,
        open: Collection[str],
    ) -> None:
        self._app = app
        self._guarded = RequireAuthMiddleware(self._enter, list(scopes), metadata)
        self._open = frozenset(open)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may enter."""
        free = scope["type"] != "http" or scope["path"] in self._open
        await (self._app if free else self._guarded)(scope, receive, send)

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [pair for pair in scope["headers"] if pair[0] != b"authorization"]
        await self._app({**scope, "headers": headers}, receive, send)


def auth_unavailable(_: HTTPConnection, error: AuthenticationError) -> Response:
    """The answer when nobody can tell whether a token is good; 401 would have clients log in."""
    return json_error(503, "temporarily_unavailable", str(error), headers={"retry-after": "30"})


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


class HostOriginMiddleware:
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
            return json_error(
                421, "host_not_allowed", "GPTIMAGE_ALLOWED_HOSTS does not have this host"
            )
        if any(not self._allowlist.has_origin(origin, hosts[0]) for origin in origins):
            _logger.warning("a request of origin %.200r was refused", origins)
            return json_error(
                403, "origin_not_allowed", "this web page is not in GPTIMAGE_ALLOWED_ORIGINS"
            )
        return None


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


# How fast one client may ask: a bucket of tokens for each, and a bound on how many are kept.

_MOST: Final = 10_000


class TokenBuckets:
    """Token buckets by name: each holds a minute's worth, and fills evenly.

    The one not used for longest is forgotten when there are too many; after a minute it would
    be full again anyway.

    Args:
        per_minute: How many a client may take in a minute, and at once after a rest.
        most: How many buckets are kept.
        clock: Tells seconds.
    """

    def __init__(
        self,
        per_minute: int,
        *,
        most: int = _MOST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._size = float(per_minute)
        self._most = most
        self._clock = clock
        self._held: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._held)

    def take(self, name: str) -> float | None:
        """Take one token; None when there was one, else seconds until there is."""
        now = self._clock()
        level, then = self._held.pop(name, (self._size, now))
        level = min(self._size, level + (now - then) * self._size / 60)
        wait = None if level >= 1 else (1 - level) * 60 / self._size
        self._held[name] = (level if wait else level - 1, now)
        if len(self._held) > self._most:
            self._held.popitem(last=False)
        return wait


class RateLimitMiddleware:
    """Answers 429 to whoever asks too often.

    A client is whom its token stands for, or else its address. Failed attempts to prove who
    one is therefore count for the address. Behind a proxy all addresses are the proxy's:
    ``X-Forwarded-For`` is not believed, because anybody can write it.

    Args:
        app: What is behind.
        buckets: How fast.
        free: Paths that do not count.
    """

    def __init__(self, app: ASGIApp, *, buckets: TokenBuckets, free: Collection[str] = ()) -> None:
        self._app = app
        self._buckets = buckets
        self._free = frozenset(free)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is not too much."""
        app: ASGIApp = self._app
        if scope["type"] == "http" and scope["path"] not in self._free:
            wait = self._buckets.take(client_of(scope))
            if wait is not None:
                seconds = str(math.ceil(wait))
                app = json_error(
                    429,
                    "rate_limited",
                    f"too many requests: try again in {seconds} s (GPTIMAGE_CALLS_PER_MINUTE)",
                    headers={"retry-after": seconds},
                )
        await app(scope, receive, send)


def client_of(scope: Scope) -> str:
    """Who asks: whom the token stands for, or the address (of IPv6 the network, which is one's)."""
    user = scope.get("user")
    if isinstance(user, AuthenticatedUser):
        return name_of(user.access_token)
    host = str((scope.get("client") or ("unknown",))[0])
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
