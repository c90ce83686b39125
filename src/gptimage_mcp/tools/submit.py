"""`Desk`: takes what a call asks for and begins it; what can be asked for is in `Counter`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from attrs import evolve, frozen

import gptimage
from gptimage_mcp.app import App
from gptimage_mcp.config.settings import variable
from gptimage_mcp.jobs.jobs import Job, Outcome
from gptimage_mcp.tools.inputs import writable
from gptimage_mcp.tools.requests import Draft


@frozen(kw_only=True)
class Order:
    """What is to be drawn, and what is to be done with it.

    Attributes:
        draft: What is to be drawn.
        tags: Words for the store.
        save_to: Where copies go, or None.
        alike: Equal for orders that ask for the same; None for one that wants an answer of its
            own.
    """

    draft: Draft
    tags: tuple[str, ...] = ()
    save_to: str | None = None
    alike: str | None = None


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

    async def order(self, draft: Draft, tags: Sequence[str], save_to: str | None) -> Order:
        """An order that may be taken; nothing of it is paid yet.

        Args:
            draft: What is to be drawn.
            tags: Words for the store.
            save_to: Where copies go, or None.

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
        same = await asyncio.to_thread(lambda: draft.alike)
        alike = None if same is None else f"{same} {sorted(tags)} {save_to}"
        return Order(draft=draft, tags=tuple(tags), save_to=save_to, alike=alike)

    def running_like(self, order: Order, owner: str | None) -> Job | None:
        """A job that draws the same just now: a client that gave up waiting asks once more."""
        if order.alike is None:
            return None
        return self.app.jobs.running_like(order.alike, owner=owner)

    def begin(self, order: Order, owner: str | None) -> Job:
        """Begin to draw, or join whoever draws the same just now."""
        return self.running_like(order, owner) or self.app.jobs.start(
            order.draft.operation, partial(self._draw, order), owner=owner, alike=order.alike
        )

    async def _draw(self, order: Order, job: Job) -> Outcome:
        own = (job.handle, *(("sandbox",) if self.app.settings.sandbox else ()))
        try:
            outcome = await order.draft.draw(
                self.check_key().with_send_hook(job), job, tags=(*order.tags, *own)
            )
        except gptimage.StoreError as error:
            if error.result is not None:  # a copy may be all that is left of it
                error.result = await asyncio.to_thread(self._copied, order, job, error.result)
            raise
        return await asyncio.to_thread(self._finished, order, job, outcome)

    def _finished(self, order: Order, job: Job, outcome: Outcome) -> Outcome:
        if isinstance(outcome, gptimage.Result):
            return self._copied(order, job, self._handed_back(job, outcome))
        return evolve(outcome, result=self._copied(order, job, outcome.result))

    def _copied(self, order: Order, job: Job, result: gptimage.Result) -> gptimage.Result:
        """The same, with its copies written; a copy that fails is a warning: the rest is paid."""
        if order.save_to is None:
            return result
        copies: list[Path] = []
        try:
            folders = writable(self.app, "save_to")
            copies.extend(
                folders.save(image, order.save_to, field="save_to") for image in result.images
            )
        except (gptimage.GptImageError, OSError) as error:
            result = result.warn(f"a copy could not be written: {error}")
        job.copies = tuple(copies)
        return result

    def _handed_back(self, job: Job, result: gptimage.Result) -> gptimage.Result:
        """The same; a picture from the cache does not collect the handles of all who asked."""
        if not result.cached:
            return result
        try:
            kept = [self.app.store.untag(each.id, job.handle) for each in result.stored]
        except gptimage.StoreError:  # one tag too many harms nobody
            return result
        return evolve(result, stored=tuple(kept))
