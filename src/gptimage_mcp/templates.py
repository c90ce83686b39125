"""`Templates`: the prompt templates as they are now, read again when a file of them changes."""

from __future__ import annotations

import logging
from typing import Final

import anyio
import anyio.to_thread
from mcp.server.subscriptions import PromptsListChanged, ResourceUpdated, SubscriptionBus

import gptimage


_logger: Final = logging.getLogger(__name__)


class Templates:
    """Keeps a set of templates fresh; of a broken folder, the last set that could be read.

    Args:
        templates: The set to begin with.
        news: Tells subscribed clients when another set has taken its place.
    """

    def __init__(self, templates: gptimage.PromptTemplates, news: SubscriptionBus) -> None:
        self._templates = templates
        self._news = news
        self._lock = anyio.Lock()
        self.problem: str | None = None
        """What keeps the folder from being read, or None; the set before it still serves."""

    async def now(self) -> gptimage.PromptTemplates:
        """The templates as the files are at this moment."""
        async with self._lock:
            fresh = await anyio.to_thread.run_sync(self._reread)
            replaced, self._templates = fresh is not self._templates, fresh
        if replaced:
            await self._news.publish(PromptsListChanged())
            await self._news.publish(ResourceUpdated(uri="prompt-templates://list"))
        return fresh

    def _reread(self) -> gptimage.PromptTemplates:
        try:
            fresh = self._templates.reload() if self._templates.changed() else self._templates
        except gptimage.TemplateError as error:
            self._note(str(error))
            return self._templates
        self.problem = None
        return fresh

    def _note(self, problem: str) -> None:
        """Say it once, not each time somebody asks for a template."""
        if problem != self.problem:
            _logger.warning("the prompt templates cannot be read again: %s", problem)
        self.problem = problem
