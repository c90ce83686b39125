"""What a conversation needs of its client, and what it is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from attrs import evolve, field, frozen

from gptimage._call import Call
from gptimage.conversation.turns import Turn
from gptimage.engine.accounting import Meter
from gptimage.engine.save import Keeper, Taken
from gptimage.engine.send import AsyncSender, Sender
from gptimage.image.image import Image
from gptimage.image.mask import Mask
from gptimage.prompt import Prompt
from gptimage.types.record import Record
from gptimage.types.request import FileRef


Resume: TypeAlias = str | Turn | Record
"""Where a conversation goes on: a turn, a response's id (``resp_...``), a picture of the store or
its id (``img_...``)."""


@frozen(kw_only=True)
class Line:
    """What a `Conversation` needs of its client.

    Attributes:
        keeper: Its settings, and its store.
        sender: Sends a plan, with the client's retries and limits.
        meter: Its budget, ledger and observers.
    """

    keeper: Keeper
    sender: Sender
    meter: Meter


@frozen(kw_only=True)
class AsyncLine:
    """`Line` for an `AsyncConversation`; the keeper is used in worker threads."""

    keeper: Keeper
    sender: AsyncSender
    meter: Meter


@frozen(kw_only=True)
class Said:
    """What the caller says in one turn, its pictures read.

    Attributes:
        prompt: The words.
        images: Pictures given with them.
        mask: Where the first of them, or the last picture, may change.
        action: ``auto``, ``generate`` or ``edit``.
        options: See `TurnOptions`.
        stream: Whether the answer is streamed.
        tags: Tags for the store.
    """

    prompt: str | Prompt
    images: tuple[Image | FileRef, ...] = ()
    mask: Mask | FileRef | None = None
    action: str = "auto"
    options: Mapping[str, Any] = field(factory=dict[str, Any])
    stream: bool = False
    tags: tuple[str, ...] = ()


@frozen(kw_only=True)
class Done:
    """A turn that was read, but is not saved yet.

    Attributes:
        turn: The turn.
        taken: Its reply, which waits in the spool until the pictures are saved.
        parent: The stored picture it goes on from, or None.
        tags: Tags for the store.
    """

    turn: Turn
    taken: Taken
    parent: str | None = None
    tags: tuple[str, ...] = ()

    def settled(self, call: Call) -> Done:
        """The same, once the meter knows what it cost, the outer model included."""
        result = call.finished(self.turn.result, extra=self.turn.outer_cost)
        return evolve(self, turn=evolve(self.turn, result=result))
