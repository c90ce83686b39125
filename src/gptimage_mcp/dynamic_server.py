"""`LiveServer`: an MCP server that looks resources and prompts up each time they are asked for.

The SDK's own registries hold what never changes. Pictures come and go, each has a type of its own,
and template folders are edited while the server runs, so these answer for themselves.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from mcp.server import MCPServer
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata
from mcp_types import (
    CallToolResult,
    GetPromptResult,
    InputRequiredResult,
    Prompt,
    Resource,
    ResourceTemplate,
    Tool,
)
from pydantic import AnyUrl, ValidationError

from gptimage_mcp.app import App
from gptimage_mcp.content.errors import misfit
from gptimage_mcp.content.sanitize import told


# What the SDK does to arguments in silence: it ignores unknown ones, and reads text as JSON.


class TextStaysText(FuncMetadata):
    """The arguments of a tool, where text that looks like JSON is still text.

    Some clients send a list as text, and the SDK reads every text as JSON unless its parameter
    takes nothing but text. One that may be left out takes None, too: the prompt ``{"a": 1}``
    would be refused, and ``null`` dropped after which the call is paid without it.
    """

    def pre_parse_json(self, data: dict[str, Any]) -> dict[str, Any]:
        """Read JSON where a list or an object is wanted, and nowhere else."""
        parsed = super().pre_parse_json(data)
        properties = self.arg_model.model_json_schema()["properties"]
        texts = [name for name in data if properties.get(name, {}).get("type") == "string"]
        return {**parsed, **{name: data[name] for name in texts}}


def closed(tool: Tool) -> Tool:
    """The tool with a schema that says so."""
    schema = {**tool.input_schema, "additionalProperties": False}
    return tool.model_copy(update={"input_schema": schema})


def refuse_unknown(tool: str, arguments: Iterable[str], schema: dict[str, Any]) -> None:
    """See that a tool has all these arguments.

    Args:
        tool: Its name.
        arguments: The names that were sent.
        schema: The schema of its arguments.

    Raises:
        ToolError: It has not; names those it does not have, and the ones they may mean.
    """
    known = list(schema.get("properties", {}))
    unknown = [name for name in arguments if name not in known]
    if unknown:
        named = ", ".join(_named(name, known) for name in unknown[:6])
        raise ToolError(
            f"InvalidArguments: {tool} has no argument {named}\n"
            f"Next: Nothing was sent and nothing was billed. It takes {', '.join(known) or 'none'}."
        )


def given(arguments: Mapping[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The arguments without optional ones that are null or empty text.

    Proxies and models that fill in every field of a schema mean by these that nothing was given.
    """
    required = schema.get("required", ())
    return {
        name: value
        for name, value in arguments.items()
        if name in required or (value is not None and value != "")
    }


def _named(name: str, known: list[str]) -> str:
    meant = difflib.get_close_matches(name, known, n=1)
    return told(name, 60) + (f" (did you mean {meant[0]}?)" if meant else "")


class LiveResources(Protocol):
    """Resources that are looked up when they are asked for."""

    @property
    def templates(self) -> Sequence[ResourceTemplate]:
        """The shapes their addresses have."""
        ...

    async def listed(self) -> Sequence[Resource]:
        """Those worth showing to somebody who chooses."""
        ...

    async def read(self, uri: str) -> ReadResourceContents | None:
        """The content, or None when the address belongs to somebody else."""
        ...


class LivePrompts(Protocol):
    """Prompts that are looked up when they are asked for."""

    async def listed(self) -> Sequence[Prompt]:
        """All of them."""
        ...

    async def get(self, name: str, arguments: Mapping[str, str]) -> GetPromptResult:
        """The rendered prompt.

        Raises:
            MCPError: There is none of this name, or the arguments are wrong.
        """
        ...


class LiveServer(MCPServer[App]):
    """An `MCPServer` that also asks `resources` and `prompts`, where they are set.

    What is wrong with a tool's arguments it says in our words: the SDK's repeat their values, and
    those a tool does not have it ignores.

    Attributes:
        resources: Answers after what was registered with the SDK.
        prompts: Answers after what was registered with the SDK.
    """

    resources: LiveResources | None = None
    prompts: LivePrompts | None = None

    def add_tool(self, fn: Callable[..., Any], *args: Any, **options: Any) -> None:
        """Register a tool; text for it stays text."""
        super().add_tool(fn, *args, **options)
        # The SDK gives no other way to its reading of arguments.
        for tool in self._tool_manager.list_tools():
            if not isinstance(tool.fn_metadata, TextStaysText):
                tool.fn_metadata = TextStaysText.model_construct(**dict(tool.fn_metadata))

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[App, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool; arguments that do not fit are told in our words, without their values.

        Raises:
            ToolError: The arguments do not fit, or the tool has failed.
        """
        for tool in await super().list_tools():
            if tool.name == name:
                refuse_unknown(name, arguments, tool.input_schema)
                arguments = given(arguments, tool.input_schema)
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                raise misfit(error.__cause__) from error.__cause__
            raise

    async def list_tools(self) -> list[Tool]:
        """The tools; none takes arguments it does not name."""
        return [closed(tool) for tool in await super().list_tools()]

    async def list_resources(self) -> list[Resource]:
        """Registered resources first, then the live ones."""
        registered = await super().list_resources()
        return [*registered, *(await self.resources.listed() if self.resources else ())]

    async def list_resource_templates(self) -> list[ResourceTemplate]:
        """Registered templates first, then the live ones."""
        registered = await super().list_resource_templates()
        return [*registered, *(self.resources.templates if self.resources else ())]

    async def read_resource(
        self, uri: AnyUrl | str, context: Context[App, Any] | None = None
    ) -> Iterable[ReadResourceContents] | InputRequiredResult:
        """A live resource, or else a registered one."""
        found = await self.resources.read(str(uri)) if self.resources else None
        return await super().read_resource(uri, context) if found is None else [found]

    async def list_prompts(self) -> list[Prompt]:
        """Registered prompts first, then the live ones."""
        registered = await super().list_prompts()
        return [*registered, *(await self.prompts.listed() if self.prompts else ())]

    async def get_prompt(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        context: Context[App, Any] | None = None,
    ) -> GetPromptResult | InputRequiredResult:
        """A registered prompt, or else a live one."""
        registered = {prompt.name for prompt in await super().list_prompts()}
        if self.prompts is None or name in registered:
            return await super().get_prompt(name, arguments, context)
        return await self.prompts.get(name, arguments or {})
