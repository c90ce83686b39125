"""Conversations: images made and changed turn by turn, over the Responses API."""

from __future__ import annotations

from gptimage.conversation.alt_text import AltText as AltText
from gptimage.conversation.alt_text import Purpose as Purpose
from gptimage.conversation.conversation import AsyncConversation as AsyncConversation
from gptimage.conversation.conversation import Conversation as Conversation
from gptimage.conversation.turns import Action as Action
from gptimage.conversation.turns import FailedCall as FailedCall
from gptimage.conversation.turns import Resume as Resume
from gptimage.conversation.turns import Turn as Turn
from gptimage.conversation.turns import TurnCall as TurnCall
from gptimage.conversation.turns import TurnCompleted as TurnCompleted
from gptimage.conversation.turns import TurnOptions as TurnOptions
from gptimage.models.pricing import DEFAULT_CHAT_MODEL as DEFAULT_CHAT_MODEL
