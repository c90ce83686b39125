"""`BatchStatus`: how far a batch job is, over all its batches at the service."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final, TypeAlias

from attrs import frozen

from gptimage.errors import (
    GptImageError,
    MalformedReplyError,
    OutcomeUnknownError,
    RateLimitError,
    ServerError,
    TransportError,
)
from gptimage.providers.openai.batches import BatchPart


@frozen(kw_only=True)
class BatchStatus:
    """The state of a batch job.

    Attributes:
        parts: Its batches at the service, in order; large jobs, and those over several
            models, have several.
        total: All its requests.
    """

    parts: tuple[BatchPart, ...]
    total: int

    @property
    def completed(self) -> int:
        """Requests that got their images."""
        return sum(part.completed for part in self.parts)

    @property
    def failed(self) -> int:
        """Requests that failed so far."""
        return sum(part.failed for part in self.parts)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return all(part.ended for part in self.parts)

    @property
    def state(self) -> str:
        """The state of its batches, each one named once: ``completed``, ``failed, completed``."""
        return ", ".join(dict.fromkeys(part.status for part in self.parts))

    def __str__(self) -> str:
        """Return one line for people."""
        done = f"{self.completed + self.failed} of {self.total} done"
        failed = f" ({self.failed} failed)" if self.failed else ""
        refused = [problem for part in self.parts for problem in part.problems[:1]]
        return f"{self.state}: {done}{failed}" + (f"; {refused[0]}" if refused else "")


# Waiting for a batch: when to look again, what to show, and which failures only pass by.

StatusCallback: TypeAlias = bool | Callable[[BatchStatus], None]
"""True shows each change on standard error; a function is called with each status."""

OUTAGE: Final = 3600.0
"""Seconds without any response after which waiting ends with the error; the batch goes on."""


class StatusPoller:
    """One wait for the end of a batch.

    Args:
        watch: See `StatusCallback`.
        poll: Seconds between two looks.
        timeout: The most seconds to wait, or None.
        clock: Tells the time, in seconds from anywhere.
    """

    def __init__(
        self,
        watch: StatusCallback,
        poll: float,
        timeout: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watch = watch
        self._poll = poll
        self._clock = clock
        self._until = None if timeout is None else clock() + timeout
        self._answered: float | None = None
        self._last: BatchStatus | None = None
        self._shown = ""

    def saw(self, status: BatchStatus) -> float | None:
        """Return seconds until the next look; None when the batch has ended.

        Raises:
            TimeoutError: The time is up.
        """
        self._answered, self._last = self._clock(), status
        if callable(self._watch):
            self._watch(status)
        else:
            self._show(str(status))
        return None if status.ended else self._pause()

    def failed(self, error: GptImageError) -> float:
        """Return seconds until the next look, after one that failed.

        Raises:
            GptImageError: It is no failure that passes by, or it has lasted too long.
            TimeoutError: The time is up.
        """
        if not self._passes(error):
            raise error
        self._show(f"not reached, looking again every {self._poll:g} s: {error}")
        return self._pause()

    def _passes(self, error: GptImageError) -> bool:
        if isinstance(error, OutcomeUnknownError) and not isinstance(error, MalformedReplyError):
            return True  # whether a batch was made is known in a few minutes
        if self._answered is None or self._clock() - self._answered > OUTAGE:
            return False  # nothing ever worked, or nothing does any more
        if isinstance(error, TransportError):
            return error.retryable
        return isinstance(error, (ServerError, RateLimitError, MalformedReplyError))

    def _pause(self) -> float:
        if self._until is None:
            return self._poll
        left = self._until - self._clock()
        if left <= 0:
            state = self._last or "nothing is known of it yet"
            raise TimeoutError(f"the batch has not ended yet ({state}); it goes on at the service")
        return min(self._poll, left)

    def _show(self, text: str) -> None:
        """Show what has changed."""
        if self._watch is True and text != self._shown:
            self._shown = text
            sys.stderr.write(f"batch {text}\n")
            sys.stderr.flush()
