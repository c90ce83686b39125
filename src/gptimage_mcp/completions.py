"""Completion of what people type: ids of pictures, models, template names and arguments, sizes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Final

import anyio.to_thread
from mcp_types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
)

import gptimage
from gptimage.models.sizes import PRESETS
from gptimage.store import Page
from gptimage_mcp.dynamic_server import LiveServer
from gptimage_mcp.templates import Templates


MOST: Final = 100
"""The most values the protocol allows in one answer."""

_IDS_SEARCHED: Final = 1000
_SIZES: Final = ("auto", "16:9", "9:16", "4:3", "3:4", "1:1", *PRESETS)
_FIXED: Final[Mapping[str, tuple[str, ...]]] = {
    "size": _SIZES,
    "limit": ("10", "20", "50", "100"),
    "days": ("1", "7", "30", "365"),
}
_NOTHING: Final = Completion(values=[])
_Complete = Callable[[str], Awaitable[Completion]]
_Handler = Callable[
    [PromptReference | ResourceTemplateReference, CompletionArgument, CompletionContext | None],
    Awaitable[Completion],
]


def add_completions(server: LiveServer, store: gptimage.Store, templates: Templates) -> None:
    """Complete the variables of resource addresses and the arguments of prompts."""
    register: Callable[[_Handler], _Handler] = server.completion()  # type: ignore[no-untyped-call]  # the SDK has no type for it
    register(Completions(store, templates).complete)


class Completions:
    """Values for what somebody has begun to type.

    Args:
        store: Where ids come from.
        templates: Where names and arguments of templates come from.
    """

    def __init__(self, store: gptimage.Store, templates: Templates) -> None:
        self._store = store
        self._templates = templates
        self._looked_up: Mapping[str, _Complete] = {
            "image_id": self._ids,
            "model": self._models,
            "name": self._names,
        }

    async def complete(
        self,
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        *_: CompletionContext | None,  # no value depends on another
    ) -> Completion:
        """What the protocol asks: at most `MOST` values, best first."""
        if isinstance(ref, PromptReference):
            return await self.of_prompt(ref.name, argument.name, argument.value)
        return await self.of_variable(argument.name, argument.value)

    async def of_prompt(self, name: str, argument: str, typed: str) -> Completion:
        """Values of a template's argument; none for what is not there."""
        template = (await self._templates.now()).get(name)
        known = {each.name: each for each in template.arguments} if template else {}
        if argument not in known:
            return _NOTHING
        if values := known[argument].values:
            return matching(values, typed)
        # Free text that is named like a parameter of the tools means what that parameter means.
        return await self.of_variable(argument, typed) if argument != "name" else _NOTHING

    async def of_variable(self, name: str, typed: str) -> Completion:
        """Values of what has this name in every address; none for other names."""
        if name in _FIXED:
            return matching(_FIXED[name], typed)
        complete = self._looked_up.get(name)
        return _NOTHING if complete is None else await complete(typed)

    async def _ids(self, typed: str) -> Completion:
        """Newest first: ids that begin so, or pictures with these words in prompt or tags."""
        page = await anyio.to_thread.run_sync(partial(self._page, typed.strip()))
        ids = [record.id for record in page]
        return Completion(values=ids[:MOST], has_more=len(ids) > MOST or page.next is not None)

    def _page(self, typed: str) -> Page:
        if not typed or "img_".startswith(typed):
            return self._store.history(MOST)
        if not typed.startswith("img_"):
            return self._store.search(typed[:200], MOST)
        page = self._store.history(_IDS_SEARCHED)
        return Page(tuple(each for each in page if each.id.startswith(typed)))

    async def _models(self, typed: str) -> Completion:
        return matching([spec.id for spec in gptimage.Models.load()], typed)

    async def _names(self, typed: str) -> Completion:
        return matching((await self._templates.now()).names, typed)


def matching(values: Iterable[str], typed: str) -> Completion:
    """The values that begin with what was typed, then those that hold it; case does not matter."""
    wanted = typed.strip().casefold()
    found = [value for value in values if wanted in value.casefold()]
    found.sort(key=lambda value: not value.casefold().startswith(wanted))
    return Completion(values=found[:MOST], total=len(found), has_more=len(found) > MOST)
