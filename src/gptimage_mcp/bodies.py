"""Request bodies: how large, how slow, and how much memory all of them may take together.

The SDK has a size limit for its own path (413); it has none for other routes, and waits for
a body as long as its sender likes.
"""

from __future__ import annotations

from typing import Final

import anyio
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gptimage_mcp.http.errors import refusal


PAUSE: Final = 15.0
"""Seconds within which the next piece of a body must come."""

WHOLE: Final = 60.0
"""Seconds within which a whole body must come."""

TOGETHER: Final = 64 * 1024 * 1024
"""Bytes that all bodies on their way in may take."""


class BodyGuard:
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
            return refusal(408, "too_slow", "the request's body did not arrive in time")

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
                return refusal(
                    503,
                    "busy",
                    "too much is being uploaded at once: try again in a moment",
                    headers={"retry-after": "5"},
                )
            self._held += len(piece)
            body += piece
        return None

    def _too_large(self) -> Response:
        return refusal(
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
