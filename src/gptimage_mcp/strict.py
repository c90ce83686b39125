"""What the SDK does to arguments in silence: it ignores unknown ones, and reads text as JSON."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata
from mcp_types import Tool

from gptimage_mcp.content.sanitize import told


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
