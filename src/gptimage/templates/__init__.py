"""Prompt templates: ten that come with the library, and yours.

Rendering one makes a `Prompt` (text and recommended settings) and never sends or bills anything.
"""

from __future__ import annotations

from gptimage.templates.arguments import TemplateArgument
from gptimage.templates.brand import Brand
from gptimage.templates.collection import PromptTemplates
from gptimage.templates.recommended import Recommended
from gptimage.templates.template import PromptTemplate


__all__ = ["Brand", "PromptTemplate", "PromptTemplates", "Recommended", "TemplateArgument"]
