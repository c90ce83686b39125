"""Conversations: items the service stores, and puts before the input of turns that name them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from attrs import define, field
from pybase64 import b64decode

from gptimage.sandbox.failures import ErrorReply
from gptimage.sandbox.responses_input import History, Item, read_items
from gptimage.sandbox.wire import Reader, excess, page
from gptimage.transport.http import HttpRequest


_STORED: Final = 256
_STORED_BYTES: Final = 512 * 1024 * 1024
_AT_ONCE: Final = 20
"""Items that one request may add."""


@define
class _Conversation:
    about: Item
    items: list[Item] = field(factory=list[Item])


class Conversations:
    """The last 256 conversations (512 MiB of images at most). Not thread-safe: the caller locks.

    Args:
        now: Tells the time, in whole seconds since 1970.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._stored: dict[str, _Conversation] = {}

    def handle(self, request: HttpRequest, path: Sequence[str], history: History) -> Item | None:
        """Reply to a request about conversations; None for any other.

        Args:
            request: The request, as it arrived.
            path: The parts of its path.
            history: What its items may refer to.

        Raises:
            ErrorReply: A rule is broken, or there is no such conversation or item.
        """
        read = Reader(request.body, form=request.method == "GET")  # a query is text, as a form is
        match request.method, *path:
            case "POST", "conversations":
                return self._create(read, history)
            case "GET", "conversations", str(id):
                return self._find(id).about
            case "POST", "conversations", str(id):
                read.only(("metadata",))
                found = self._find(id)
                found.about["metadata"] = read.metadata()
                return found.about
            case "DELETE", "conversations", str(id):
                self._find(id)
                del self._stored[id]
                return {"id": id, "object": "conversation.deleted", "deleted": True}
            case "GET", "conversations", str(id), "items":
                read.only(("after", "include", "include[]", "limit", "order"))
                items = self._find(id).items
                order = read.choice("order", ("asc", "desc"))
                return page(read, items if order == "asc" else items[::-1], most=100)
            case "POST", "conversations", str(id), "items":
                read.only(("items",))
                added = _items(read, history)
                self.add(id, added)
                return page(Reader({}, form=False), added, most=_AT_ONCE)
            case "GET", "conversations", str(id), "items", str(item_id):
                return _item(self._find(id), item_id)
            case "DELETE", "conversations", str(id), "items", str(item_id):
                found = self._find(id)
                found.items.remove(_item(found, item_id))
                return found.about
            case _:
                return None

    def images(self, conversation_id: str) -> Mapping[str, bytes] | None:
        """Return the images of a conversation by call id, or None if it is unknown."""
        found = self._stored.get(conversation_id)
        return None if found is None else _images(found.items)

    def item(self, item_id: str) -> tuple[Item, bytes | None] | None:
        """Return an item and its image, or None if unknown."""
        stored = (item for each in self._stored.values() for item in each.items)
        item = next((item for item in stored if item["id"] == item_id), None)
        return None if item is None else (item, _images([item]).get(item_id))

    def add(self, conversation_id: str, items: Sequence[Item]) -> None:
        """Add items at the end of a conversation.

        Raises:
            ErrorReply: There is no such conversation.
        """
        self._find(conversation_id).items.extend(items)
        for oldest in excess(self._stored, _nbytes, most=_STORED, most_bytes=_STORED_BYTES):
            del self._stored[oldest]

    def _create(self, read: Reader, history: History) -> Item:
        read.only(("items", "metadata"))
        conversation_id = f"conv_{uuid.uuid4().hex}"
        about: Item = {
            "id": conversation_id,
            "object": "conversation",
            "created_at": self._now(),
            "metadata": read.metadata(),
        }
        items = _items(read, history) if read.array("items") else []
        self._stored[conversation_id] = _Conversation(about)
        self.add(conversation_id, items)
        return about

    def _find(self, conversation_id: str) -> _Conversation:
        found = self._stored.get(conversation_id)
        if found is None:
            message = f"Conversation with id '{conversation_id[:100]}' not found."
            raise ErrorReply(message, status=404)
        return found


def _nbytes(found: _Conversation) -> int:
    return sum(len(str(item.get("result", ""))) for item in found.items)


def _items(read: Reader, history: History) -> list[Item]:
    if len(read.array("items")) > _AT_ONCE:
        message = f"Invalid 'items': array too long. Expected at most {_AT_ONCE} items."
        raise ErrorReply(message, code="array_above_max_length", param="items")
    return read_items(read, "items", history)


def _item(found: _Conversation, item_id: str) -> Item:
    for item in found.items:
        if item["id"] == item_id:
            return item
    message = f"Item with id '{item_id[:100]}' not found in the conversation."
    raise ErrorReply(message, status=404)


def _images(items: Sequence[Item]) -> dict[str, bytes]:
    calls = (item for item in items if item["type"] == "image_generation_call")
    return {str(item["id"]): b64decode(str(item["result"])) for item in calls if item.get("result")}
