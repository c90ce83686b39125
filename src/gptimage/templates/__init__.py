"""Prompt templates: ten that come with the library, and yours.

Rendering one makes a `Prompt` (text and recommended settings) and never sends or bills anything.
"""

from __future__ import annotations

from gptimage.templates.arguments import Brand as Brand
from gptimage.templates.arguments import TemplateArgument as TemplateArgument
from gptimage.templates.collection import PromptTemplates as PromptTemplates
from gptimage.templates.template import PromptTemplate as PromptTemplate
from gptimage.templates.template import RecommendedOptions as RecommendedOptions
from gptimage.types.request import ReferenceImage as ReferenceImage
