"""Access over HTTP: callers with a token, and readers with a signed link."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final
from urllib.parse import parse_qsl

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, RequireAuthMiddleware
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl
from starlette.authentication import AuthenticationError
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

import gptimage
from gptimage.service import as_caller
from gptimage.service.http import Allowlist, JsonError, LinkError, SignedLinks, is_loopback
from gptimage_mcp.auth import name_of
from gptimage_mcp.config.settings import Settings


LINKED: Final = "gptimage.linked"
"""The key of a request's scope that says it came by a signed link."""

_IMAGES: Final = "/images/"
_SIGNED: Final = b"signature="


class CallerMiddleware:
    """Names the caller of a request to everything behind; see `gptimage.service.current_caller`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on the request in the name of its token's caller."""
        user = scope.get("user")
        name = name_of(user.access_token) if isinstance(user, AuthenticatedUser) else None
        with as_caller(name):
            await self._app(scope, receive, send)


class AuthMiddleware:
    """Authentication in front of every route: 401 without a valid token, 403 without a scope.

    Whatever path is not open needs a token, also one that no route has. A signed link to an image
    is let through without one, in the name of whoever made it; 403 if it is not good any more.

    Args:
        app: What is behind. It does not get the token, so that it can pass it to nobody.
        scopes: What a token must be good for.
        metadata: Where clients read who issues tokens (RFC 9728), or None.
        open: Paths that need no token; other parts of them may.
        links: Checks signed links; None where there are none.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        scopes: Iterable[str],
        metadata: AnyHttpUrl | None,
        open: Collection[str],
        links: SignedLinks | None = None,
    ) -> None:
        self._app = app
        self._guarded = RequireAuthMiddleware(self._enter, list(scopes), metadata)
        self._open = frozenset(open)
        self._links = links

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may enter."""
        if scope["type"] != "http" or (scope["path"] in self._open and not _is_deep(scope)):
            await self._app(scope, receive, send)
        elif self._links is not None and _is_link(scope):
            await self._linked(self._links, scope, receive, send)
        else:
            await self._guarded(scope, receive, send)

    async def _linked(self, links: SignedLinks, scope: Scope, receive: Receive, send: Send) -> None:
        query = scope["query_string"].decode("latin-1")
        try:
            owner = links.verify(scope["method"], scope["path"], query)
        except LinkError as error:
            await JsonError(403, "link_refused", str(error))(scope, receive, send)
            return
        with as_caller(owner):
            await self._app({**scope, LINKED: True}, receive, send)

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [pair for pair in scope["headers"] if pair[0] != b"authorization"]
        await self._app({**scope, "headers": headers}, receive, send)


def auth_unavailable(_: HTTPConnection, error: AuthenticationError) -> Response:
    """Refuse a request whose token cannot be checked now; 401 would have clients log in."""
    return JsonError(503, "temporarily_unavailable", str(error), headers={"retry-after": "30"})


def sdk_security(allowlist: Allowlist) -> TransportSecuritySettings:
    """Return the same hosts and origins for the SDK, which checks its own path once more."""
    hosts = sorted({*allowlist.hosts, *(f"{host}:*" for host in allowlist.hosts)})
    own = (f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts)
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=hosts,
        allowed_origins=[*sorted(allowlist.origins), *own],
    )


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


def _is_link(scope: Scope) -> bool:
    """Return whether a request came by a signed link, and without a good token."""
    by_token = isinstance(scope.get("user"), AuthenticatedUser)
    return not by_token and scope["path"].startswith(_IMAGES) and _SIGNED in scope["query_string"]


def _is_deep(scope: Scope) -> bool:
    """Return whether a request to an open path needs a token all the same."""
    query = scope["query_string"].decode("latin-1")
    return "deep" in dict(parse_qsl(query, keep_blank_values=True))
