"""`manage_conversations`: list the conversations of refine_image, show one, or end one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final, Literal

from anyio.to_thread import run_sync
from attrs import frozen
from mcp_types import CallToolResult
from pydantic import Field

import gptimage
from gptimage_mcp.app import App
from gptimage_mcp.content.errors import tool_errors
from gptimage_mcp.content.results import structured
from gptimage_mcp.content.sanitize import redact
from gptimage_mcp.dynamic_server import DynamicServer
from gptimage_mcp.resources import images_changed
from gptimage_mcp.tools import schemas
from gptimage_mcp.tools.inputs import stored_id
from gptimage_mcp.tools.parameters import Nothing
from gptimage_mcp.tools.register import NO_FLAG, REPEATABLE, optional, register_tool


ENDED: Final = "conversation-ended"
"""The tag of images whose conversation is not gone on with; `untag` takes it back."""

_PAGE: Final = 100
_PAGES: Final = 10
"""How far back conversations are looked for, in pages of the history."""

_LONGEST: Final = 300

Action = Annotated[
    Literal["list", "show", "forget"],
    Field(description="list, show (one, turn by turn) or forget (one)"),
]
Id = Annotated[str | Nothing, optional("Any image of the conversation, for show and forget")]
Limit = Annotated[int, Field(description="20 by default", ge=1, le=100), NO_FLAG]


def add_conversation_tools(server: DynamicServer, app: App) -> None:
    """Register the tool, where the settings ask for it."""
    tool = ConversationTools(app).manage_conversations
    register_tool(server, tool, title="Manage conversations", hints=REPEATABLE, structured=True)


@frozen
class ConversationTools:
    """The conversations in the store.

    Attributes:
        app: The server.
    """

    app: App

    async def manage_conversations(
        self, action: Action, id: Id = None, limit: Limit = 20
    ) -> Annotated[CallToolResult, schemas.Conversations]:
        """List, show or forget the conversations refine_image goes on with. Free.

        After forget, refine_image begins anew from an image; the images themselves stay.
        """
        with tool_errors():
            if action == "list":
                if id is not None:
                    raise gptimage.InvalidRequestError(
                        "id belongs to action=show or forget", field="id", value=id
                    )
                found = await run_sync(self._conversations, limit)
                return _answer(conversations=found, next="show tells the turns of one.")
            if id is None or (image := stored_id(id.strip())) is None:
                raise gptimage.InvalidRequestError(
                    f"id: {action} takes an image of the conversation",
                    field="id",
                    value=id,
                    allowed="an id of list_images (img_...)",
                )
            records = await run_sync(self._of, image)
            if action == "show":
                turns = _turns(records)
                return _answer(turns=turns, next="refine_image with the last image goes on.")
            ids = [record.id for record in records]
            await run_sync(lambda: [self.app.store.tag(each, ENDED) for each in ids])
            await images_changed(self.app.subscriptions, *ids)
            return _answer(
                forgotten=ids,
                next="The images stay. The service may keep its copy of the turns for 30 days.",
            )

    def _conversations(self, limit: int) -> list[dict[str, Any]]:
        """Return the newest conversations, the last used first."""
        records = [each for each in self._recent() if _turn_id(each) and ENDED not in each.tags]
        known = {record.id: record for record in records}
        grouped: dict[str, list[gptimage.Record]] = {}
        for record in records:  # newest first, so that the first of a group is its newest
            first = record
            while first.parent in known:
                first = known[first.parent]
            # Several images of one first turn share its response.
            grouped.setdefault(_turn_id(first) or first.id, []).append(record)
        return [_conversation(each) for each in [*grouped.values()][:limit]]

    def _recent(self) -> Iterable[gptimage.Record]:
        cursor: str | None = None
        for _ in range(_PAGES):
            page = self.app.store.history(_PAGE, cursor=cursor)
            yield from page
            if (cursor := page.next) is None:
                return

    def _of(self, image: str) -> list[gptimage.Record]:
        """Return the images of a conversation, oldest first.

        Raises:
            InvalidRequestError: The image is of no conversation.
            ImageNotFoundError: There is no such image.
        """
        record, lineage = self.app.store.get(image), self.app.store.lineage(image)
        family = [*lineage.ancestors, record, *lineage.descendants]
        records = [each for each in family if _turn_id(each)]
        if not records:
            raise gptimage.InvalidRequestError(
                f"id: {image} is of no conversation: refine_image has not drawn it",
                field="id",
                value=image,
                allowed="an image that refine_image drew",
            )
        return sorted(records, key=lambda each: (each.created, each.index))


def _turn_id(record: gptimage.Record) -> str | None:
    """Return what the images of one turn share; a service without memory gives it no id."""
    return record.response_id or (record.id if record.message else None)


def _turns(records: Sequence[gptimage.Record]) -> list[dict[str, Any]]:
    """Return the turns; images of one response are one turn."""
    turns: dict[str, list[gptimage.Record]] = {}
    for record in records:
        turns.setdefault(str(_turn_id(record)), []).append(record)
    return [
        {
            "response_id": response_id,
            "prompt": redact(images[0].prompt, _LONGEST),
            "images": [each.id for each in images],
            "parent": images[0].parent,
            "created": images[0].created.isoformat(),
        }
        for response_id, images in turns.items()
    ]


def _conversation(records: Sequence[gptimage.Record]) -> dict[str, Any]:
    newest, oldest = records[0], records[-1]
    return {
        "id": newest.id,
        "turns": len({_turn_id(record) for record in records}),
        "prompt": redact(newest.prompt, _LONGEST),
        "started": oldest.created.isoformat(),
        "updated": newest.created.isoformat(),
    }


def _answer(*, next: str, **found: Sequence[object]) -> CallToolResult:
    return structured(
        {**dict.fromkeys(schemas.Conversations.__annotations__, ()), **found, "next": next}
    )
