"""``GET /health``: whether this server can do its work; it asks nobody who charges for it.

Everybody may ask, so the reasons name no path, key or picture, and an answer is kept for
`KEPT` seconds: asking often is cheap.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from typing import Final

import anyio
from anyio.to_thread import run_sync
from attrs import frozen
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

import gptimage
from gptimage_mcp.app import App


KEPT: Final = 2.0
_PATIENCE: Final = 5.0
_ROOM: Final = 100 * 1024 * 1024
"""Bytes a disk must have free: a few pictures of the largest size."""


@frozen
class Health:
    """How the server is.

    Attributes:
        reasons: Why it cannot do its work, one sentence each; empty when it can.
        warnings: What should be known although it can.
    """

    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class HealthRoute:
    """Answers 200 when pictures can be drawn and saved, else 503 with the reasons."""

    def __init__(self, app: App, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._clock = clock
        self._lock = anyio.Lock()
        self._threads = anyio.CapacityLimiter(2)  # a disk that hangs must not take them all
        self._known: tuple[float, Health] | None = None

    async def answer(self, _: Request) -> Response:
        """The answer."""
        async with self._lock:
            if self._known is None or self._clock() - self._known[0] > KEPT:
                health = await self._look()
                self._known = (self._clock(), health)
            health = self._known[1]
        body = {
            "status": "unavailable" if health.reasons else "ok",
            "reasons": health.reasons,
            "warnings": health.warnings,
        }
        return JSONResponse(body, 503 if health.reasons else 200, {"cache-control": "no-store"})

    async def _look(self) -> Health:
        try:
            with anyio.fail_after(_PATIENCE):
                return await run_sync(
                    look, self._app, abandon_on_cancel=True, limiter=self._threads
                )
        except TimeoutError:
            return Health((f"the store did not answer within {_PATIENCE:.0f} s",))


def look(app: App) -> Health:
    """Look at everything a picture needs."""
    reasons: list[str] = []
    if app.client is None:
        reasons.append(
            "there is no key: set OPENAI_API_KEY, or GPTIMAGE_SANDBOX=true to draw offline"
        )
    return Health((*reasons, *of_store(app.store)), tuple(_cache(app)))


def of_store(store: gptimage.Store) -> list[str]:
    """Why pictures cannot be saved, one sentence each."""
    try:
        store.history(1)
    except gptimage.StoreError:
        return ["the store cannot be read"]
    folder = store.folder
    if folder is None:
        return []
    if not os.access(folder, os.W_OK | os.X_OK):
        return ["the store cannot be written"]
    full = shutil.disk_usage(folder).free < _ROOM
    return ["the disk of the store is full"] if full else []


def _cache(app: App) -> list[str]:
    try:
        if app.cache is not None:
            app.cache.stats()
    except gptimage.CacheError:
        return ["the cache does not answer: pictures are drawn, and paid for, without it"]
    return []
