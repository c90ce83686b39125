"""`Call`: what a client tells its meter of one call; this one only notes whether it was sent.

It never waits. A ledger is a file, though, so an async client calls `Call.reserve`,
`Call.finished`, `Call.refused` and `Call.cache_hit` in a thread when `Call.blocks` says so.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from gptimage.errors import OutcomeUnknownError, TransportError
from gptimage.models.pricing import FREE, Cost
from gptimage.transport.http import HttpReply
from gptimage.types.result import PartialImage, Result


class Call:
    """One call as the meter sees it. This one counts nothing, for a client that does not.

    Used as a context it takes note when an exception reaches the caller.
    """

    blocks: bool = False
    """Whether some methods write a file."""

    posted: bool = False
    """Whether it was sent and may be billed; False again while it waits to be sent once more."""

    def reserve(self) -> None:
        """The request is about to be sent: reserve what it may cost.

        Raises:
            BudgetExceededError: It could cross the budget; nothing may be sent.
            ConfigurationError: The ledger cannot be used; nothing may be sent.
        """

    def waiting(self, reason: str, seconds: float) -> None:
        """It is held back."""

    doubtful: int = 0
    """How many earlier tries may have been billed without an answer; see `Retry.unknown`."""

    def sent(self, attempt: int) -> None:
        """It goes out now, so from now on it may be billed."""
        del attempt
        self.posted = True

    def retried(self, delay: float, outcome: HttpReply | TransportError) -> None:
        """It was not billed, and will be sent again."""
        del delay, outcome
        self.posted = bool(self.doubtful)

    def repeated(self, delay: float, outcome: HttpReply | OutcomeUnknownError) -> None:
        """It may have been billed, and will be sent again all the same, as a call of its own.

        Raises:
            BudgetExceededError: The budget does not allow another try.
            ConfigurationError: The ledger cannot be used.
        """
        del delay, outcome
        self.doubtful += 1

    def unbilled(self) -> None:
        """The last try was not billed, though an earlier one may have been."""

    def partial(self, preview: PartialImage) -> None:
        """A preview arrived."""

    def finished(self, result: Result, *, extra: Cost | None = FREE) -> Result:
        """It was answered: settle what it cost. The result says if that failed.

        Args:
            result: The answer.
            extra: What was paid on top of it, such as a conversation's outer model; None when
                that is not known, so that what the whole call cost is not known either.
        """
        del extra
        return result.warn(*self._doubts())

    def refused(self, error: BaseException) -> None:
        """It failed: give back what was reserved, unless it may have been billed."""

    def cache_hit(self, result: Result) -> Result:
        """The answer is one that was paid for before. The result says if noting that failed."""
        return result

    def saved(self, result: Result) -> Result:
        """The result, after the store was asked to save it."""
        return result

    def _doubts(self) -> tuple[str, ...]:
        """What the caller should know of earlier tries."""
        if not self.doubtful:
            return ()
        tries = "one earlier try" if self.doubtful == 1 else f"{self.doubtful} earlier tries"
        return (f"{tries} of this call got no answer and may have been billed as well",)

    @contextmanager
    def reserved(self) -> Generator[None]:
        """Reserve before the block, and give back if it fails."""
        try:
            self.reserve()
            yield
        except BaseException as error:
            self.refused(error)
            raise

    def __enter__(self) -> Self:
        """The call itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take note of what reached the caller."""
