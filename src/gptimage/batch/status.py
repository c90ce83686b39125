"""`Status`: how far a batch job is, over all its batches at the service."""

from __future__ import annotations

from attrs import frozen

from gptimage.providers.openai.batches import BatchPart


@frozen(kw_only=True)
class Status:
    """How far a batch job is.

    Attributes:
        parts: Its batches at the service, in order; large jobs, and those over several
            models, have several.
        total: All its requests.
    """

    parts: tuple[BatchPart, ...]
    total: int

    @property
    def completed(self) -> int:
        """Requests answered with pictures."""
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
        """One line for people."""
        done = f"{self.completed + self.failed} of {self.total} done"
        failed = f" ({self.failed} failed)" if self.failed else ""
        refused = [problem for part in self.parts for problem in part.problems[:1]]
        return f"{self.state}: {done}{failed}" + (f"; {refused[0]}" if refused else "")
