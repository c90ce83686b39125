"""Strict validation of replies with the models of OpenAI's own SDK."""

from __future__ import annotations

import functools
import json
from typing import Any

from openai import BaseModel
from openai.types import (
    Batch,
    ContentProvenanceCheck,
    FileDeleted,
    FileObject,
    ImageEditCompletedEvent,
    ImageEditPartialImageEvent,
    ImageGenCompletedEvent,
    ImageGenPartialImageEvent,
    ImagesResponse,
    Model,
    Upload,
)
from openai.types.conversations import (
    Conversation,
    ConversationDeletedResource,
    ConversationItem,
    ConversationItemList,
)
from openai.types.responses import (
    InputTokenCountResponse,
    Response,
    ResponseItemList,
    ResponseStreamEvent,
)
from openai.types.uploads import UploadPart
from pydantic import TypeAdapter


UNDOCUMENTED = {
    "frequency_penalty", "presence_penalty", "store", "obfuscation", "n", "error",
    "first_id", "last_id",
}  # fmt: skip
"""Fields the service was recorded to send, or that only another model of the SDK has."""
EVENTS = {
    "image_generation.partial_image": ImageGenPartialImageEvent,
    "image_generation.completed": ImageGenCompletedEvent,
    "image_edit.partial_image": ImageEditPartialImageEvent,
    "image_edit.completed": ImageEditCompletedEvent,
}
MODELS: dict[str, Any] = {
    "batch": Batch,
    "content_provenance_check": ContentProvenanceCheck,
    "conversation": Conversation,
    "conversation.deleted": ConversationDeletedResource,
    "conversation_item": ConversationItem,
    "conversation_items": ConversationItemList,
    "file": FileObject,
    "file_deleted": FileDeleted,
    "images": ImagesResponse,
    "input_items": ResponseItemList,
    "input_tokens": InputTokenCountResponse,
    "model": Model,
    "response": Response,
    "upload": Upload,
    "upload.part": UploadPart,
}


def strict(kind: str, data: bytes | bytearray) -> Any:
    """Read a reply strictly: every required field, each of its exact type, and no unknown one."""
    return _checked(MODELS[kind], data)


def strict_event(data: bytes | bytearray) -> Any:
    """Read an event strictly."""
    kind = json.loads(data)["type"]
    if kind.startswith("image_"):
        return _checked(EVENTS[kind], data)
    found = _checked(ResponseStreamEvent, data)
    assert found.type == kind, f"{kind} fits no event of the SDK but {found.type}"
    return found


@functools.cache
def _adapter(model: Any) -> TypeAdapter[Any]:
    """Return what reads a model; made once, for the fifty events of a stream take 100 ms."""
    return TypeAdapter(model)


def _checked(model: Any, data: bytes | bytearray) -> Any:
    found = _adapter(model).validate_json(bytes(data), strict=True)
    unknown = sorted(_extra(found) - UNDOCUMENTED)
    assert unknown == [], f"no field of the SDK: {unknown}"
    return found


def _extra(value: object) -> set[str]:
    if isinstance(value, BaseModel):
        nested = set().union(*(_extra(each) for each in value.__dict__.values()))
        return nested | set(value.model_extra or {})
    if isinstance(value, dict):
        return set().union(*map(_extra, value.values()))
    if isinstance(value, list):
        return set().union(*map(_extra, value))
    return set()
