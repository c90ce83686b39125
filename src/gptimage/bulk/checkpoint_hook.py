"""`CheckpointHook`: one request of a run of many, from before it is sent to its delivery."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING

from attrs import define, field

from gptimage.bulk.items import PlannedItem
from gptimage.engine.plan import Plan
from gptimage.errors import ConfigurationError
from gptimage.transport.billing import Billing


if TYPE_CHECKING:
    from gptimage.bulk.run_state import RunState
    from gptimage.store.recovery import SpooledReply


def new_name() -> str:
    """Return a name for a reply that is still to come; the store is not imported before."""
    from gptimage.store import recovery

    return recovery.new_name()


class RunStoppedError(ConfigurationError):
    """The run ended before this request was sent."""


@define(eq=False)
class CheckpointHook:
    """The send hook of an item's request, and the storage of its reply until it is delivered.

    Attributes:
        state: The run.
        planned: The request.
        reply: The name of its reply in the spool.
        billing: What is known about its money.
        failure: Why that it is sent could not be written to the checkpoint, which ends the run.
        entry: Where the reply is in the spool, once it is here.
        body: The reply itself, where the spool could not save it.
        usd: What it cost in USD, as text, or None.
    """

    state: RunState
    planned: PlannedItem
    reply: str = field(factory=new_name)
    billing: Billing = Billing.NOT_SENT
    failure: OSError | None = None
    entry: SpooledReply | None = None
    body: bytes | None = field(default=None, repr=False)
    usd: str | None = None

    def before_send(self, key: str, max_cost: Decimal | None) -> None:
        """See `SendHook.before_send`."""
        del key, max_cost
        self.check_running()
        try:
            self.state.mark_sent(self)
        except OSError as error:
            # Sent without its line, a kill would have the next run send and pay it again.
            self.failure = error
            raise
        self.billing = Billing.SENT
        self.state.stop.add(self)

    def check_running(self) -> None:
        """Refuse to go on once the run was stopped.

        Raises:
            RunStoppedError: It was.
        """
        if self.state.stopping:
            raise RunStoppedError("the run was stopped before this request was sent")

    def not_billed(self) -> None:
        """See `SendHook.not_billed`; if it cannot be written, the item counts as unknown."""
        self.billing = Billing.NOT_BILLED
        self.state.stop.discard(self)
        with suppress(OSError):
            self.state.not_billed(self.planned)

    def keep(self, plan: Plan, body: bytes) -> SpooledReply:
        """Save the reply: from here on, neither a kill nor a loop that is left loses it."""
        from gptimage.store.recovery import PendingReplies, note_of

        note = note_of(plan.request, plan.service)
        self.entry = PendingReplies().put(plan.key, body, note, name=self.reply)
        self.body = body if self.entry.path is None else None
        return self.entry

    def is_saved(self) -> bool:
        """Tell whether the reply is on a disk; one that could not be written is tried once more."""
        if self.body is not None:
            self.keep(self.planned.plan, self.body)
        return self.entry is not None and self.entry.path is not None
