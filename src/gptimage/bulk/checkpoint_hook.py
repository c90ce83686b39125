"""`CheckpointHook`: one request of a run of many, from the moment it leaves until its images are taken."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING

from attrs import define, field

from gptimage.bulk.items import PlannedItem
from gptimage.engine.plan import Plan
from gptimage.errors import ConfigurationError


if TYPE_CHECKING:
    from gptimage.bulk.run_state import RunState
    from gptimage.store.recovery import SpooledReply


def new_name() -> str:
    """A name for a reply that is still to come; the store is not imported before."""
    from gptimage.store import recovery

    return recovery.new_name()


class RunStoppedError(ConfigurationError):
    """The run ended before this request left; nothing was sent."""


@define(eq=False)
class CheckpointHook:
    """The `Gate` of an item's request, and what keeps its reply until the images are taken.

    Attributes:
        book: What writes it down.
        ready: The request.
        reply: The name of its reply in the spool.
        failure: Why that it leaves could not be written down, which ends the run.
        entry: Where the reply is kept, once it is here.
        body: The reply itself, where the spool could not take it.
        usd: What it cost in USD, as text, or None.
    """

    book: RunState
    ready: PlannedItem
    reply: str = field(factory=new_name)
    failure: OSError | None = None
    entry: SpooledReply | None = None
    body: bytes | None = field(default=None, repr=False)
    usd: str | None = None

    def before_send(self, key: str, ceiling: Decimal | None) -> None:
        """See `Gate.sending`."""
        del key, ceiling
        if self.book.stopping:
            raise RunStoppedError("the run was stopped before this request was sent")
        try:
            self.book.mark_sent(self)
        except OSError as error:
            self.failure = error
            raise
        self.book.stop.add(self)

    def not_billed(self) -> None:
        """See `Gate.unsent`; if it cannot be written, the item counts as may have been billed."""
        self.book.stop.discard(self)
        with suppress(OSError):
            self.book.not_billed(self.ready)

    def keep(self, plan: Plan, body: bytes) -> SpooledReply:
        """Keep the reply: from here on, neither a kill nor a loop that breaks loses it."""
        from gptimage.store.recovery import PendingReplies, note_of

        self.entry = PendingReplies().put(plan.key, body, note_of(plan.request), name=self.reply)
        self.body = body if self.entry.path is None else None
        return self.entry

    def is_kept(self) -> bool:
        """Whether the reply is on a disk; one that could not be written is tried once more."""
        if self.body is not None:
            self.keep(self.ready.plan, self.body)
        return self.entry is not None and self.entry.path is not None
