"""Prompt templates: ten that come with the library, and yours.

Rendering one makes a `Prompt` (text and recommended settings) and never sends or bills anything.
"""

from __future__ import annotations

from gptimage.templates.arguments import Brand, TemplateArgument
from gptimage.templates.collection import PromptTemplates
from gptimage.templates.template import PromptTemplate, TemplateDefaults


__all__ = ["Brand", "PromptTemplate", "PromptTemplates", "TemplateArgument", "TemplateDefaults"]
