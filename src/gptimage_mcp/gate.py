"""The gate in front of every route: whoever has no valid token is told so, and goes no further."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from mcp.server.auth.middleware.bearer_auth import RequireAuthMiddleware
from pydantic import AnyHttpUrl
from starlette.authentication import AuthenticationError
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gptimage_mcp.http.errors import refusal


class Gate:
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


def unjudged(_: HTTPConnection, error: AuthenticationError) -> Response:
    """The answer when nobody can tell whether a token is good; 401 would have clients log in."""
    return refusal(503, "temporarily_unavailable", str(error), headers={"retry-after": "30"})
