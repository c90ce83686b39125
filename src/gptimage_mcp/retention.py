"""Deleting images older than ``GPTIMAGE_RETENTION`` while the server runs."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Final

import gptimage
from gptimage.store import Retention


_logger: Final = logging.getLogger(__name__)

_HOUR: Final = 3_600.0
_DAY: Final = 24 * _HOUR


class Pruning:
    """Prunes at the start and once a day; pinned images stay, and so do the inputs of any.

    Args:
        stores: Returns every store there is.
        age: The age from which an image is deleted; None deletes nothing.
    """

    def __init__(
        self, stores: Callable[[], Sequence[gptimage.Store]], age: timedelta | None
    ) -> None:
        self._stores = stores
        self._retention = None if age is None else Retention(max_age=age)
        self._last: float | None = None
        self._lock = threading.Lock()

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
        """Prune, unless that was done within the last day.

        A client that leaves at once cancels this; a thread ends what it began.
        """
        if self._retention is not None:
            await asyncio.to_thread(self._prune_if_due, self._retention)

    def _prune_if_due(self, retention: Retention) -> None:
        with self._lock:  # two clients that come at once prune once
            now = time.monotonic()
            if self._last is not None and now - self._last < _DAY:
                return
            self._last = now
        for store in self._stores():
            try:
                report = store.prune(retention)
            except gptimage.StoreError as error:  # images that stay too long are no reason to stop
                _logger.warning("old images could not be deleted: %s", error)
            else:
                removed = len(report.removed)
                _logger.info("%d old images were deleted, %d left", removed, report.kept)

    async def _run(self) -> None:
        while self._retention is not None:
            await self.prune_if_due()
            await asyncio.sleep(_HOUR)
