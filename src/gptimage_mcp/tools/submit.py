"""`Desk`: takes what a call asks for and begins it; what can be asked for is in `Counter`."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Sequence
from functools import partial
from typing import Final

from attrs import frozen

import gptimage
from gptimage.service import RunnerError
from gptimage_mcp.app import App
from gptimage_mcp.config.settings import variable
from gptimage_mcp.jobs.job import EarlierUnknownError, Ended, Job, Outcome
from gptimage_mcp.jobs.work import Drawer, Order
from gptimage_mcp.tools.inputs import writable
from gptimage_mcp.tools.requests import Draft


_logger: Final = logging.getLogger(__name__)


@frozen
class Desk:
    """Takes orders.

    Attributes:
        app: The server.
    """

    app: App

    def check_key(self) -> gptimage.AsyncImageClient:
        """What draws.

        Raises:
            ConfigurationError: There is no key.
        """
        if self.app.client is None:
            raise gptimage.ConfigurationError(
                f"this server has no API key: set {variable('api_key')} where the server is "
                f"configured and restart it, or {variable('sandbox')}=true to draw offline"
            )
        return self.app.client

    async def order(
        self,
        draft: Draft,
        tags: Sequence[str],
        save_to: str | None,
        max_px: int | None = None,
    ) -> Order:
        """An order that may be taken; nothing of it is paid yet.

        Args:
            draft: What is to be drawn.
            tags: Words for the store.
            save_to: Where copies go, or None.
            max_px: Long edge of previews, or None.

        Raises:
            InvalidRequestError: It asks for too many pictures, or for a copy elsewhere.
        """
        most, count = self.app.settings.max_images, draft.count
        if count > most:
            field = "max_pictures" if draft.operation == "refine" else "n"
            raise gptimage.InvalidRequestError(
                f"{field}: this server draws at most {most} per call ({variable('max_images')})",
                field=field,
                value=count,
                allowed=f"1 to {most}",
            )
        if save_to is not None:
            writable(self.app, "save_to").target(save_to, field="save_to")
        # In a thread: it may have to hash many megabytes.
        digest = await asyncio.to_thread(lambda: draft.digest)
        words = json.dumps([digest, sorted(tags), save_to]).encode()
        alike = None if draft.refresh else hashlib.sha256(words).hexdigest()
        return Order(
            draft=draft,
            tags=tuple(tags),
            save_to=save_to,
            max_px=max_px,
            digest=digest,
            alike=alike,
        )

    async def earlier(self, order: Order, owner: str | None) -> Job | None:
        """The same, asked for before: a job to join, or one whose outcome is not known.

        A client that gave up waiting, or that was started again, asks once more.

        Raises:
            EarlierUnknownError: It may have been paid, and the order does not say ``refresh``.
        """
        if order.digest is None:
            return None
        job = await self.app.jobs.earlier(order.digest, order.alike, owner=owner)
        if job is not None and job.state == "unknown" and not order.draft.refresh:
            raise EarlierUnknownError(job)
        return job

    def begin(self, order: Order, owner: str | None) -> Job:
        """Begin to draw, or join whoever in this server draws the same just now."""
        if order.alike and (job := self.app.jobs.running_like(order.alike, owner=owner)):
            return job
        elsewhere = self.app.runner is not None
        draw = partial(self._hand_over, order, owner) if elsewhere else None
        return self.app.jobs.start(
            order.draft.operation,
            draw or partial(self._drawer.draw, order),
            owner=owner,
            digest=order.digest,
            alike=order.alike,
            elsewhere=elsewhere,
        )

    async def cancel(self, job: Job) -> None:
        """Send nothing for a job, if nothing was sent."""
        await self.app.jobs.cancel(job)
        if self.app.runner is not None:
            self.app.runner.cancel(job.handle)

    async def _hand_over(self, order: Order, owner: str | None, job: Job) -> Outcome:
        """Have the runner draw; this process draws where none can be started.

        Raises:
            RunnerLostError: The runner was killed meanwhile.
            Exception: What went wrong there.
        """
        runner = self.app.runner
        assert runner is not None  # noqa: S101  # see `begin`
        try:
            ended: Ended = await runner.run(job.handle, (order, owner), job.follow)
        except RunnerError as error:  # nothing was begun; when the client closes, it may be lost
            _logger.warning("this process draws by itself: %s", error)
            self.app.jobs.write_down(job)
            return await self._drawer.draw(order, job)
        job.copies = ended.copies
        if ended.outcome is None:
            raise ended.error or gptimage.GptImageError("it ended without a picture")
        if ended.error is not None:  # paid, and not in the store
            raise ended.error
        return ended.outcome

    @property
    def _drawer(self) -> Drawer:
        return Drawer(self.check_key(), self.app.store, self.app.settings)
