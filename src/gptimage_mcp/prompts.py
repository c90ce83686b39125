"""Every prompt template as an MCP prompt; text only, never a paid call.

A prompt tells the assistant which tool to call with what, and nothing is drawn until it does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    GetPromptResult,
    Prompt,
    PromptArgument,
    PromptMessage,
    TextContent,
)

import gptimage
from gptimage_mcp.app import App
from gptimage_mcp.completions import add_completions
from gptimage_mcp.dynamic_server import LiveServer
from gptimage_mcp.templates import Templates


if TYPE_CHECKING:
    from gptimage.templates import TemplateArgument

_SETTINGS: Final = ("size", "quality", "background", "format")
_INTRODUCTION: Final = """\
Make this picture with the generate_image tool. Call it once, with exactly these arguments; the \
prompt is word for word what the image model should read:

"""


def add_prompts(server: LiveServer, app: App) -> None:
    """Offer every prompt template of `app`, and completion of its arguments.

    A template folder that changes is read again when somebody asks, and subscribers are told.
    """
    server.prompts = Prompts(app.templates)
    add_completions(server, app.store, app.templates)


class Prompts:
    """The prompt templates, for `LiveServer`.

    Args:
        templates: Where they come from.
    """

    def __init__(self, templates: Templates) -> None:
        self._templates = templates

    async def listed(self) -> Sequence[Prompt]:
        """Every template, in the order of their names."""
        return [_prompt(template) for template in (await self._templates.now()).values()]

    async def get(self, name: str, arguments: Mapping[str, str]) -> GetPromptResult:
        """What to tell the assistant; sends nothing and costs nothing.

        Raises:
            MCPError: There is no such template, or its arguments are wrong; the message names
                each problem, and ``data`` the first argument and what it takes.
        """
        try:
            template = (await self._templates.now())[name]
            prompt = template.render(arguments)
        except gptimage.TemplateError as error:
            raise _refusal(error) from error
        message = PromptMessage(role="user", content=TextContent(text=_text(prompt)))
        return GetPromptResult(description=template.description, messages=[message])


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
    """What it is for and what it takes: prompt arguments have no schema that could say so."""
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
    arguments = {"prompt": prompt.text, **{k: v for k, v in chosen.items() if v is not None}}
    return _INTRODUCTION + json.dumps(arguments, indent=2, ensure_ascii=False)


def _refusal(error: gptimage.TemplateError) -> MCPError:
    data = {"template": error.template, "argument": error.argument, "problems": error.problems}
    return MCPError(code=INVALID_PARAMS, message=str(error)[:2000], data=data)
