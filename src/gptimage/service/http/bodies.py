"""Request bodies: how large, how slow, and how much memory all of them may take together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import anyio
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from gptimage.service.http.asgi import ASGIApp, JsonError, Message, Receive, Scope, Send


PAUSE: Final = 15.0
"""Seconds within which the next piece of a body must come."""

WHOLE: Final = 60.0
"""Seconds within which a whole body must come."""

TOGETHER: Final = 64 * 1024 * 1024
"""Bytes that all bodies on their way in may take."""


class BodyLimitMiddleware:
    """Reads each body before it is passed on, within limits: 413, 408, or 503 beyond them.

    Servers of ASGI have no such limits, and wait for a body as long as its sender likes.

    Args:
        app: What is behind.
        most: The largest body, in bytes.
        routes: Other limits, by method and path.
        setting: What sets ``most``, for the message.
        together: The most all bodies may take while they arrive, in bytes.
        pause: Seconds within which the next piece must come.
        whole: Seconds within which all must come.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        most: int,
        routes: Mapping[tuple[str, str], int] | None = None,
        setting: str = "max_body",
        together: int = TOGETHER,
        pause: float = PAUSE,
        whole: float = WHOLE,
    ) -> None:
        self._app = app
        self._most = most
        self._routes = routes or {}
        self._setting = setting
        self._together = together
        self._pause = pause
        self._whole = whole
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a whole body, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = self._routes.get((scope["method"], scope["path"]), self._most)
        body = bytearray()
        try:
            refused = await self._read(Headers(scope=scope), receive, body, most)
        except ClientDisconnect:
            return
        finally:
            self._held -= len(body)
        if refused is not None:
            await refused(scope, receive, send)
            return
        await self._app(scope, _replayed(bytes(body), receive), send)

    async def _read(
        self, headers: Headers, receive: Receive, body: bytearray, most: int
    ) -> JsonError | None:
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > most:
            return self._too_large(most)
        try:
            with anyio.fail_after(self._whole):
                return await self._collect(receive, body, most)
        except TimeoutError:
            return JsonError(408, "too_slow", "the request's body did not arrive in time")

    async def _collect(self, receive: Receive, body: bytearray, most: int) -> JsonError | None:
        more = True
        while more:
            with anyio.fail_after(self._pause):
                message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            piece: bytes = message.get("body", b"")
            more = bool(message.get("more_body", False))
            if len(body) + len(piece) > most:
                return self._too_large(most)
            if self._held + len(piece) > self._together:
                return JsonError(
                    503,
                    "busy",
                    "too much is being uploaded at once: try again in a moment",
                    headers={"retry-after": "5"},
                )
            self._held += len(piece)
            body += piece
        return None

    def _too_large(self, most: int) -> JsonError:
        advice = (
            ": send a smaller image"
            if most != self._most
            else f" ({self._setting}): name images by id, path or URL instead of sending them"
        )
        return JsonError(413, "too_large", f"a request's body may have {most} bytes{advice}")


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body once, then what really comes: the disconnection."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay
