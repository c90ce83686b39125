"""Draw the jobs of a studio, in a process that finishes what was sent when the page's server ends.

`open_work` is what a `gptimage.service.Runner` makes in its process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import evolve, frozen

from gptimage.errors import ConfigurationError, GptImageError
from gptimage.models.pricing import format_usd
from gptimage.studio.batches import BatchCall, run_batch
from gptimage.studio.context import StudioOptions, job_folder, open_client
from gptimage.workers import (
    Job,
    JobResult,
    JobState,
    JobStore,
    Previews,
    SqliteJobStore,
    UnsavedImagesError,
    run_job,
)


if TYPE_CHECKING:
    from gptimage.client import ImageClient
    from gptimage.service import Tell
    from gptimage.types.result import PartialImage

T = TypeVar("T")

_AT_ONCE: Final = 4
"""Requests in flight; the service's limits per minute are kept by the client."""

_PREVIEW_PIXELS: Final = 768
_PREVIEW_BYTES: Final = 200_000


class NotSentError(GptImageError):
    """A job was cancelled before its request was sent; nothing was billed."""


@frozen(kw_only=True)
class DrawCall:
    """One job, as it is handed to the process that draws.

    Attributes:
        job: The job, as `Job.to_dict` writes it.
        previews: How many partial images are shown while it is drawn; 0 for none.
    """

    job: Mapping[str, Any]
    previews: int = 0


@frozen(kw_only=True)
class AltTextCall:
    """An image whose alt text the chat model is to write, in one paid turn.

    Attributes:
        image: Its id.
    """

    image: str


@frozen(kw_only=True)
class JobNews:
    """How far a job is.

    Attributes:
        state: ``open`` while it waits for its turn, ``claimed`` until its request is sent, then
            ``sending``: it may be billed.
        message: What happens now, one sentence.
        most: What its request may cost at most, in USD; None when that is not known.
        preview: The newest partial image, small, as a ``data:`` URL.
    """

    state: JobState = "open"
    message: str = "It waits for its turn."
    most: Decimal | None = None
    preview: str | None = None


class _Progress:
    """Tells how far a job is, and as a send hook lets its request leave until it is cancelled."""

    def __init__(self, tell: Tell) -> None:
        self.closed: str | None = None
        self._tell = tell
        self._news = JobNews()

    def say(self, **changes: Any) -> None:
        """Tell the page what is new."""
        self._news = evolve(self._news, **changes)
        self._tell(self._news)

    def before_send(self, key: str, max_cost: Decimal | None) -> None:
        """Refuse what was cancelled.

        Raises:
            NotSentError: It was.
        """
        del key
        if self.closed is not None:
            raise NotSentError(self.closed)
        cost = "its cost is not known" if max_cost is None else f"at most {format_usd(max_cost)}"
        self.say(state="sending", message=f"The service is drawing; {cost}.", most=max_cost)

    def not_billed(self) -> None:
        """Tell that the request was refused and billed nothing; it may be sent again."""
        self.say(state="claimed", message="The service refused it for now; nothing was billed.")

    def show(self, partial: PartialImage) -> None:
        """Show a partial image, small: it crosses two processes on its way to the page."""
        from gptimage.image import previews

        small = previews([partial.image], max_px=_PREVIEW_PIXELS, max_bytes=_PREVIEW_BYTES)[0]
        if small is not None:
            self.say(preview=small.data_url)


class StudioWork:
    """The jobs of one studio; see `gptimage.service.Work`.

    Args:
        client: Sends the requests and saves the images.
        job_store: Where the state of every job is.
    """

    def __init__(self, client: ImageClient, job_store: JobStore) -> None:
        self._client = client
        self._job_store = job_store
        self._running: dict[str, _Progress] = {}
        self._left = False
        self._slots = asyncio.Semaphore(_AT_ONCE)
        # Threads of its own: the page waits for none of them, wherever this runs.
        self._threads = ThreadPoolExecutor(_AT_ONCE, "studio")

    async def run(
        self, id: str, call: DrawCall | BatchCall | AltTextCall, tell: Tell
    ) -> JobResult | dict[str, Any] | None:
        """Draw a job, see to a batch, or have an alt text written.

        Returns:
            How it stands; None when it was not begun, because the studio was closed.
        """
        if isinstance(call, BatchCall):
            return await self._in_thread(run_batch, self._client, call)
        if isinstance(call, AltTextCall):
            return await self._in_thread(self._write_alt_text, call)
        progress = self._running[id] = _Progress(tell)
        try:
            async with self._slots:
                if self._left:
                    return None  # it stays open in the job store, for the next studio
                progress.say(state="claimed", message="It is being prepared.")
                return await self._in_thread(self._draw, call, progress)
        finally:
            del self._running[id]

    async def _in_thread(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    def _write_alt_text(self, call: AltTextCall) -> dict[str, Any]:
        # With the text: it is paid, whether or not the store could save it.
        return self._client.alt_text(call.image).to_dict()

    def _draw(self, call: DrawCall, progress: _Progress) -> JobResult:
        previews = Previews(call.previews, progress.show) if call.previews else None
        try:
            return run_job(
                Job.from_dict(call.job, paths=True),
                client=self._client.with_send_hook(progress),
                job_store=self._job_store,
                paths=True,
                previews=previews,
            )
        except UnsavedImagesError as error:
            return error.job  # the page is the only place left for what was paid

    def cancel(self, id: str) -> None:
        """Send nothing for a job whose request was not sent."""
        if id in self._running:
            self._running[id].closed = "it was cancelled; nothing was sent"

    def leave(self) -> None:
        """Finish what was sent, and send nothing else."""
        self._left = True
        for progress in self._running.values():
            progress.closed = "the studio was closed before it was sent; nothing was billed"

    async def aclose(self) -> None:
        """Release files, connections and threads."""
        self._threads.shutdown(wait=False)
        await asyncio.to_thread(self._client.close)
        self._job_store.close()


def open_work(setup: tuple[StudioOptions, str]) -> StudioWork:
    """Return what draws for a studio.

    Args:
        setup: The studio's options, and the path of its job store.

    Raises:
        ConfigurationError: There is no key, a setting cannot be used, or the configuration was
            changed since the studio was opened: it names another store, or switches the sandbox.
    """
    options, job_store = setup
    config = options.config()
    client = open_client(config)
    # This process reads the configuration later than the page's server, and again each time it is
    # started: what the page calls offline must not be drawn by the service, and paid.
    folder = Path(job_store).parent
    if client.store is None or job_folder(client.store, sandbox=config.sandbox) != folder:
        client.close()
        raise ConfigurationError(
            "the configuration was changed since the studio was started: it names another store, "
            "or switches the sandbox on or off; start the studio again"
        )
    return StudioWork(client, SqliteJobStore(job_store))
