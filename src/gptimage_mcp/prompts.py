"""Every prompt template as an MCP prompt; text only, never a paid call.

A prompt tells the assistant which tool to call with what, and nothing is drawn until it does.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import anyio.to_thread
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    Completion,
    CompletionArgument,
    CompletionContext,
    GetPromptResult,
    Prompt,
    PromptArgument,
    PromptMessage,
    PromptReference,
    ResourceTemplateReference,
    TextContent,
)

import gptimage
from gptimage.models import PRESETS
from gptimage.store import Page
from gptimage_mcp.app import Templates


if TYPE_CHECKING:
    from gptimage.templates import TemplateArgument


# Completion of what people type: ids of images, models, template names and arguments, sizes.

MOST: Final = 100
"""The most values the protocol allows in one response."""

_IDS_SEARCHED: Final = 1000
_SIZES: Final = ("auto", "16:9", "9:16", "4:3", "3:4", "1:1", *PRESETS)
_FIXED: Final[Mapping[str, tuple[str, ...]]] = {
    "size": _SIZES,
    "limit": ("10", "20", "50", "100"),
    "days": ("1", "7", "30", "365"),
}
_NOTHING: Final = Completion(values=[])
_Complete = Callable[[str], Awaitable[Completion]]


class Completions:
    """Values for text that a person has begun to type.

    Args:
        store: Where ids come from.
        templates: Where names and arguments of templates come from.
        models: The models of the service that draws; OpenAI's when left out.
    """

    def __init__(
        self, store: gptimage.Store, templates: Templates, models: gptimage.Models | None = None
    ) -> None:
        self._store = store
        self._catalogue = gptimage.Models.load() if models is None else models
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
        """Return at most `MOST` values, best first, as the protocol wants."""
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
        """Newest first: ids that begin so, or images with these words in prompt or tags."""
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
        return matching([spec.id for spec in self._catalogue], typed)

    async def _names(self, typed: str) -> Completion:
        return matching((await self._templates.now()).names, typed)


def matching(values: Iterable[str], typed: str) -> Completion:
    """The values that begin with what was typed, then those that hold it; case does not matter."""
    wanted = typed.strip().casefold()
    found = [value for value in values if wanted in value.casefold()]
    found.sort(key=lambda value: not value.casefold().startswith(wanted))
    return Completion(values=found[:MOST], total=len(found), has_more=len(found) > MOST)


_SETTINGS: Final = ("size", "quality", "background", "format")
_INTRODUCTION: Final = """\
Make this image with the generate_image tool. Call it once, with exactly these arguments; the \
prompt is word for word what the image model should read:

"""


class Prompts:
    """The prompt templates, for `DynamicServer`.

    A template folder that changes is read again with the next request; subscribers are notified.

    Args:
        templates: Where they come from.
    """

    def __init__(self, templates: Templates) -> None:
        self._templates = templates

    async def listed(self) -> Sequence[Prompt]:
        """Every template, in the order of their names."""
        return [_prompt(template) for template in (await self._templates.now()).values()]

    async def get(self, name: str, arguments: Mapping[str, str]) -> GetPromptResult:
        """Return the message for the assistant; sends nothing and costs nothing.

        Raises:
            MCPError: There is no such template, or its arguments are wrong; the message names
                each problem, and ``data`` the first argument and what it takes.
        """
        try:
            templates = await self._templates.now()
            template = templates[name if name in templates else _OLDER["names"].get(name, name)]
            prompt = template.render(_with_older(template, arguments))
        except gptimage.TemplateError as error:
            raise _refusal(error) from error
        message = PromptMessage(role="user", content=TextContent(text=_text(prompt)))
        return GetPromptResult(description=template.description, messages=[message])


_OLDER: Final = tomllib.loads(
    files("gptimage_mcp").joinpath("older_templates.toml").read_text("utf-8")
)
"""Names and arguments of an older server: what they are called here, and where they go."""


def _with_older(
    template: gptimage.PromptTemplate, arguments: Mapping[str, str]
) -> Mapping[str, str]:
    """Return the arguments, with those of an older server written into those that are there."""
    known = {argument.name for argument in template.arguments}
    merged = dict(arguments)
    for name, (place, words) in _OLDER["arguments"].get(template.name, {}).items():
        # A template of one's own with this name may have the argument, or lack the place.
        if name not in merged or name in known or place not in known:
            continue
        text = words.format(merged.pop(name))
        merged[place] = f"{merged[place]}, {text}" if merged.get(place) else text
    return merged


def _prompt(template: gptimage.PromptTemplate) -> Prompt:
    return Prompt(
        name=template.name,
        title=template.title,
        description=template.description or template.title,  # a prompt without one is not valid
        arguments=[
            PromptArgument(
                name=argument.name, description=_about(argument), required=argument.required
            )
            for argument in template.arguments
        ],
    )


def _about(argument: TemplateArgument) -> str:
    """Describe its purpose and arguments: prompt arguments have no schema that could say so."""
    parts = [argument.description or argument.name.replace("_", " ").capitalize() + "."]
    if argument.type == "boolean":
        parts.append("true or false.")
    if argument.type == "integer":
        parts.append("A whole number.")
    if argument.choices:
        parts.append(f"One of: {', '.join(argument.choices)}.")
    if argument.suggestions:
        parts.append(f"Such as: {', '.join(argument.suggestions)}.")
    if argument.max_length:
        parts.append(f"At most {argument.max_length} characters.")
    if argument.default is not None and argument.default is not False:
        parts.append(f"{argument.default} by default.")
    return " ".join(parts)


def _text(prompt: gptimage.Prompt) -> str:
    chosen = {name: getattr(prompt, name) for name in _SETTINGS}
    given: dict[str, object] = {k: v for k, v in chosen.items() if v is not None}
    arguments: dict[str, object] = {"prompt": prompt.full_text(), **given}
    introduction = _INTRODUCTION
    if prompt.images:  # drawing after images is an edit; the server must be allowed to read them
        arguments["images"] = [str(each.file) for each in prompt.images]
        introduction = introduction.replace("generate_image", "edit_image")
    return introduction + json.dumps(arguments, indent=2, ensure_ascii=False)


def _refusal(error: gptimage.TemplateError) -> MCPError:
    data = {"template": error.template, "argument": error.argument, "problems": error.problems}
    return MCPError(code=INVALID_PARAMS, message=str(error)[:2000], data=data)
