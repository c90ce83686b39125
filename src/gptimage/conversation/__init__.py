"""Conversations: images made and changed turn by turn, over the Responses API."""

from __future__ import annotations

from gptimage.conversation.conversation import AsyncConversation, Conversation
from gptimage.conversation.turns import Action, FailedCall, Resume, Turn, TurnCompleted, TurnOptions
from gptimage.models.pricing import DEFAULT_CHAT_MODEL


__all__ = [
    "DEFAULT_CHAT_MODEL",
    "Action",
    "AsyncConversation",
    "Conversation",
    "FailedCall",
    "Resume",
    "Turn",
    "TurnCompleted",
    "TurnOptions",
]
