"""Conversations: pictures made and changed turn by turn, over the Responses API."""

from __future__ import annotations

from gptimage.conversation.conversation import AsyncConversation, Conversation
from gptimage.conversation.outer import DEFAULT_OUTER
from gptimage.conversation.said import Resume
from gptimage.conversation.turns import Action, FailedCall, Turn, TurnCompleted, TurnOptions


__all__ = [
    "DEFAULT_OUTER",
    "Action",
    "AsyncConversation",
    "Conversation",
    "FailedCall",
    "Resume",
    "Turn",
    "TurnCompleted",
    "TurnOptions",
]
