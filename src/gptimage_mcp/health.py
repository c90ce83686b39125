"""``GET /health``: whether this server can do its work; it sends nothing that is billed.

Everybody may ask, so the reasons name no path, key or image, and a response is kept for `KEPT`
seconds: asking often is cheap. ``?deep=1``, which needs a token once there are tokens, also asks
the service for its models, which is free, at most once in `KEPT_DEEP` seconds.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from typing import Final

import anyio
import httpx2
from anyio.to_thread import run_sync
from attrs import frozen
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

import gptimage
from gptimage_mcp.app import App
from gptimage_mcp.config.settings import Settings


KEPT: Final = 2.0
KEPT_DEEP: Final = 60.0
_PATIENCE: Final = 5.0
_LARGEST: Final = 1024 * 1024
_SERVICE: Final = "https://api.openai.com/v1"
_ROOM: Final = 100 * 1024 * 1024
"""Bytes a disk must have free: a few images of the largest size."""


@frozen
class Health:
    """State of the server.

    Attributes:
        reasons: Why it cannot do its work, one sentence each; empty when it can.
        warnings: What should be known although it can.
    """

    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class HealthRoute:
    """Endpoint with 200 when images can be drawn and saved, else 503 with the reasons."""

    def __init__(self, app: App, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._clock = clock
        self._lock = anyio.Lock()
        self._asking = anyio.Lock()
        self._threads = anyio.CapacityLimiter(2)  # a disk that hangs must not take them all
        self._known: tuple[float, Health] | None = None
        self._known_deep: tuple[float, Health] | None = None

    async def respond(self, request: Request) -> Response:
        """The response."""
        async with self._lock:
            if self._known is None or self._clock() - self._known[0] > KEPT:
                self._known = (self._clock(), await self._look())
            health = self._known[1]
        if request.query_params.get("deep") in {"1", "true"}:
            found = await self._deep()
            reasons = (*health.reasons, *found.reasons)
            health = Health(reasons, (*health.warnings, *found.warnings))
        body = {
            "status": "unavailable" if health.reasons else "ok",
            "reasons": health.reasons,
            "warnings": health.warnings,
        }
        return JSONResponse(body, 503 if health.reasons else 200, {"cache-control": "no-store"})

    async def _deep(self) -> Health:
        # Those who ask meanwhile wait for the one request, and share what it found.
        async with self._asking:
            if self._known_deep is None or self._clock() - self._known_deep[0] > KEPT_DEEP:
                self._known_deep = (self._clock(), await of_service(self._app.settings))
            return self._known_deep[1]

    async def _look(self) -> Health:
        try:
            with anyio.fail_after(_PATIENCE):
                return await run_sync(
                    look, self._app, abandon_on_cancel=True, limiter=self._threads
                )
        except TimeoutError:
            return Health((f"the store did not respond within {_PATIENCE:.0f} s",))


def look(app: App) -> Health:
    """Look at everything an image needs."""
    reasons: list[str] = []
    if app.client is None:
        reasons.append(
            f"there is no key: set {app.settings.key_variable}, or GPTIMAGE_SANDBOX=true to draw "
            "offline"
        )
    return Health((*reasons, *of_store(app.store)), tuple(_cache(app)))


async def of_service(settings: Settings) -> Health:
    """Ask the service for its models: whether it is there, takes the key, and has the model."""
    # No service, or no key, which `look` tells; others than OpenAI list their models elsewhere.
    if settings.sandbox or settings.api_key is None or settings.provider is not None:
        return Health()
    url = f"{(settings.base_url or _SERVICE).rstrip('/')}/models"
    headers = {"authorization": f"Bearer {settings.api_key}"}
    body = bytearray()
    try:
        with anyio.fail_after(_PATIENCE):
            async with (
                httpx2.AsyncClient() as client,
                client.stream("GET", url, headers=headers) as reply,
            ):
                async for piece in reply.aiter_bytes():
                    body += piece
                    if len(body) > _LARGEST:
                        return Health(("the service's list of models is too large",))
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        # TimeoutError is an OSError. The words of others may hold an address, so only the kind.
        return Health((f"the service cannot be reached ({type(error).__name__})",))
    if reply.status_code in {401, 403}:
        return Health((f"the service refuses the key (HTTP {reply.status_code})",))
    if reply.status_code != 200:
        return Health((f"the service answers HTTP {reply.status_code}",))
    return _of_models(bytes(body), settings)


def _of_models(body: bytes, settings: Settings) -> Health:
    try:
        ids = {str(each["id"]) for each in json.loads(body)["data"]}
    except (ValueError, TypeError, KeyError):
        return Health((), ("the service's list of models cannot be read",))
    model = settings.default_model
    if model in ids:
        return Health()
    return Health((), (f"the service does not list the model {model}",))


def of_store(store: gptimage.Store) -> list[str]:
    """List why images cannot be saved, one sentence each."""
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
        return ["the cache does not respond: images are drawn, and paid for, without it"]
    return []
