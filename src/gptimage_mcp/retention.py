"""Deleting images older than ``GPTIMAGE_RETENTION`` while the server runs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Final

import gptimage
from gptimage.store import Retention


_logger: Final = logging.getLogger(__name__)

_HOUR: Final = 3_600.0
_DAY: Final = 24 * _HOUR


class Pruning:
    """Prunes a store at the start and once a day; pinned images stay, and so do the inputs of any.

    Args:
        store: The store.
        age: The age from which an image is deleted; None deletes nothing.
    """

    def __init__(self, store: gptimage.Store, age: timedelta | None) -> None:
        self._store = store
        self._retention = None if age is None else Retention(max_age=age)
        self._last: float | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Prune for as long as this is entered; entered twice, it still prunes once a day."""
        task = asyncio.ensure_future(self._run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def prune_if_due(self) -> None:
        """Prune, unless that was done within the last day."""
        now = time.monotonic()
        if self._retention is None or (self._last is not None and now - self._last < _DAY):
            return
        self._last = now
        try:
            report = await asyncio.to_thread(self._store.prune, self._retention)
        except gptimage.StoreError as error:  # images that stay too long are no reason to stop
            _logger.warning("old images could not be deleted: %s", error)
        else:
            _logger.info("%d old images were deleted, %d left", len(report.removed), report.kept)

    async def _run(self) -> None:
        while self._retention is not None:
            await self.prune_if_due()
            await asyncio.sleep(_HOUR)
