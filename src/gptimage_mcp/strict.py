"""Arguments a tool does not have are refused by name: the SDK would ignore them in silence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import Tool

from gptimage_mcp.outside import told


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
