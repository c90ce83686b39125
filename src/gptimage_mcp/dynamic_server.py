"""`DynamicServer`: an MCP server that looks resources and prompts up with each request.

The SDK's own registries hold what never changes. Images come and go, each has a type of its own,
and template folders are edited while the server runs, so these answer for themselves.
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

from mcp.server import MCPServer
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    CallToolResult,
    Completion,
    CompletionArgument,
    CompletionContext,
    GetPromptResult,
    InputRequiredResult,
    Prompt,
    PromptReference,
    Resource,
    ResourceTemplate,
    ResourceTemplateReference,
    Tool,
)
from pydantic import AnyUrl, BaseModel, ValidationError

from gptimage import GptImageError


if TYPE_CHECKING:
    from gptimage_mcp.prompts import Completions, Prompts
    from gptimage_mcp.resources import Resources


# What the SDK does to arguments in silence: it ignores unknown ones, and reads text as JSON.


class UnparsedStrings(FuncMetadata):
    """The arguments of a tool, where text that looks like JSON is still text.

    Some clients send a list as text, and the SDK reads every text as JSON unless its parameter
    takes nothing but text. One that may be left out takes None, too: the prompt ``{"a": 1}``
    would be refused, and ``null`` dropped after which the call is paid without it.
    """

    def pre_parse_json(self, data: dict[str, Any]) -> dict[str, Any]:
        """Read JSON where a list or an object is wanted, and nowhere else."""
        parsed = super().pre_parse_json(data)
        texts = _texts(self.arg_model) & data.keys()
        return {**parsed, **{name: data[name] for name in texts}}


@functools.cache
def _texts(arguments: type[BaseModel]) -> frozenset[str]:
    """Return the arguments that are text; to make a schema takes longer than most calls."""
    properties: dict[str, Any] = arguments.model_json_schema()["properties"]
    return frozenset(name for name, each in properties.items() if each.get("type") == "string")


# What a tool's schema says, and arguments made to fit it or refused by name.
#
# A schema is read by the model at every turn, so what says nothing is left out of it. Arguments a
# tool does not have are refused: the SDK would ignore them in silence.

_EMPTY: Final[tuple[object, ...]] = (None, "", [], {})


def compact_tool(tool: Tool) -> Tool:
    """The tool with schemas as short as they can be; it takes no argument it does not name."""
    schema = {**_bare(tool.input_schema), "additionalProperties": False}
    output = tool.output_schema
    return tool.model_copy(
        update={
            "input_schema": schema,
            "output_schema": None if output is None else _outline(output),
        }
    )


def without_empty(arguments: Mapping[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The arguments that say something.

    Proxies, and converters that make every parameter required, fill what a model left out with
    an empty text, list or object, or with null.
    """
    required = schema.get("required", ())
    given = {
        name: value
        for name, value in arguments.items()
        if name in required or not _says_nothing(value)
    }
    return {name: _without_empty(value) for name, value in given.items()}


def collect_advanced(
    arguments: dict[str, Any], place: str, names: Container[str]
) -> dict[str, Any]:
    """The arguments, with those that belong into an object of theirs put there.

    Models write them beside it, too; what they mean is clear.

    Args:
        arguments: What was sent.
        place: The name of the object.
        names: What belongs there.
    """
    inside = {name: value for name, value in arguments.items() if name in names}
    if not inside:
        return arguments
    outside = {name: value for name, value in arguments.items() if name not in names}
    there: object = outside.get(place) or {}
    if isinstance(there, str):  # some clients send an object as text, see `UnparsedStrings`
        with suppress(ValueError):
            there = json.loads(there)
    if not isinstance(there, dict):
        return arguments
    return {**outside, place: {**cast("dict[str, Any]", there), **inside}}


def _without_empty(value: Any) -> Any:
    """An object of parameters in the same way."""
    if not isinstance(value, dict):
        return value
    members = cast("Mapping[str, object]", value)
    return {name: _without_empty(each) for name, each in members.items() if not _says_nothing(each)}


def _says_nothing(value: object) -> bool:
    if isinstance(value, dict):
        return all(each in _EMPTY for each in cast("dict[str, object]", value).values())
    return value in _EMPTY


def _bare(schema: Any) -> Any:
    """A schema without titles and defaults, neither of which a parameter needs."""
    if isinstance(schema, list):
        return [_bare(each) for each in cast("Iterable[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    members = cast("dict[str, Any]", schema)
    return {
        name: {each: _bare(part) for each, part in value.items()}
        if name == "properties"
        else _bare(value)
        for name, value in members.items()
        if name not in ("title", "default")
    }


def _outline(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a response's first level: enough to read it by, and true of every response."""
    definitions: dict[str, Any] = schema.get("$defs", {})

    def kind(part: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in part:
            part = definitions[part["$ref"].rpartition("/")[2]]
        return {"type": part["type"]} if "type" in part else {}

    properties = {name: kind(part) for name, part in schema.get("properties", {}).items()}
    return {"type": "object", "properties": properties}


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


def _named(name: str, known: list[str]) -> str:
    from gptimage_mcp.content.sanitize import redact  # late: it is of the first call

    meant = difflib.get_close_matches(name, known, n=1)
    return redact(name, 60) + (f" (did you mean {meant[0]}?)" if meant else "")


_Handler = Callable[
    [PromptReference | ResourceTemplateReference, CompletionArgument, CompletionContext | None],
    Awaitable[Completion],
]


class DynamicServer(MCPServer[Any]):
    """An `MCPServer` that also serves `resources` and `prompts`, where they are set.

    What is wrong with a tool's arguments it says in our words: the SDK's repeat their values, and
    those a tool does not have it ignores.

    Attributes:
        resources: Answers after what was registered with the SDK.
        prompts: Answers after what was registered with the SDK.
        completions: Completes the variables of addresses and the arguments of prompts.
        enabled: The names of the tools there may be; all when empty.
        advanced: For tools with an object of rare parameters, its name and those of the parameters.
        opener: Registers everything, where that waits for the first request that needs it; else
            None.
        outline: The tools that ``tools/list`` gives until then.
    """

    enabled: frozenset[str] = frozenset()
    resources: Resources | None = None
    prompts: Prompts | None = None
    completions: Completions | None = None
    opener: Callable[[], Awaitable[None]] | None = None
    outline: Sequence[Tool] = ()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.advanced: dict[str, tuple[str, frozenset[str]]] = {}
        register: Callable[[_Handler], _Handler] = self.completion()  # type: ignore[no-untyped-call]  # the SDK has no type for it
        register(self._complete)

    async def open(self) -> None:
        """Register everything, if that waits for the first request that needs it.

        Raises:
            GptImageError: It cannot be opened; the next request tries again.
        """
        if self.opener is not None:
            await self.opener()
            self.opener = None

    async def _open(self) -> None:
        """Do so for a request that is no call of a tool.

        Raises:
            MCPError: It cannot be opened.
        """
        try:
            await self.open()
        except GptImageError as error:
            raise MCPError(code=INTERNAL_ERROR, message=str(error)) from error

    async def _complete(
        self,
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion:
        await self._open()
        if self.completions is None:
            return Completion(values=[])
        return await self.completions.complete(ref, argument, context)

    def add_tool(self, fn: Callable[..., Any], *args: Any, **options: Any) -> None:
        """Register a tool; text for it stays text."""
        super().add_tool(fn, *args, **options)
        # The SDK gives no other way to its reading of arguments.
        for tool in self._tool_manager.list_tools():
            if not isinstance(tool.fn_metadata, UnparsedStrings):
                tool.fn_metadata = UnparsedStrings.model_construct(**dict(tool.fn_metadata))

    async def serve_streams(self, received: Any, sent: Any) -> None:
        """Serve one client whose messages come and go over these streams, until one ends."""
        options = self._lowlevel_server.create_initialization_options()
        await self._lowlevel_server.run(received, sent, options)

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool; arguments that do not fit are refused in our words, without their values.

        Raises:
            ToolError: The arguments do not fit, or the tool has failed.
        """
        from gptimage_mcp.content.errors import tool_errors, validation_error  # late: heavy

        with tool_errors():
            await self.open()
        for tool in await super().list_tools():
            if tool.name == name:
                if name in self.advanced:
                    arguments = collect_advanced(arguments, *self.advanced[name])
                arguments = without_empty(arguments, tool.input_schema)
                refuse_unknown(name, arguments, tool.input_schema)
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                raise validation_error(error.__cause__) from error.__cause__
            raise

    async def list_tools(self) -> list[Tool]:
        """The tools; none takes arguments it does not name."""
        if self.opener is not None:
            return [*self.outline]
        return [compact_tool(tool) for tool in await super().list_tools()]

    async def list_resources(self) -> list[Resource]:
        """Registered resources first, then the live ones."""
        await self._open()
        registered = await super().list_resources()
        return [*registered, *(await self.resources.listed() if self.resources else ())]

    async def list_resource_templates(self) -> list[ResourceTemplate]:
        """Registered templates first, then the live ones."""
        await self._open()
        registered = await super().list_resource_templates()
        return [*registered, *(self.resources.templates if self.resources else ())]

    async def read_resource(
        self, uri: AnyUrl | str, context: Context[Any, Any] | None = None
    ) -> Iterable[ReadResourceContents] | InputRequiredResult:
        """A live resource, or else a registered one."""
        await self._open()
        found = await self.resources.read(str(uri)) if self.resources else None
        return await super().read_resource(uri, context) if found is None else [found]

    async def list_prompts(self) -> list[Prompt]:
        """Registered prompts first, then the live ones."""
        await self._open()
        registered = await super().list_prompts()
        return [*registered, *(await self.prompts.listed() if self.prompts else ())]

    async def get_prompt(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        context: Context[Any, Any] | None = None,
    ) -> GetPromptResult | InputRequiredResult:
        """A registered prompt, or else a live one."""
        await self._open()
        registered = {prompt.name for prompt in await super().list_prompts()}
        if self.prompts is None or name in registered:
            return await super().get_prompt(name, arguments, context)
        return await self.prompts.get(name, arguments or {})
