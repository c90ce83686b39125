"""What tests of several files share: one browser, and tools that are described once."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from mcp.server.mcpserver.tools.base import Tool


if TYPE_CHECKING:
    from tests.mcp.browsers import Chromium


@pytest.fixture(autouse=True, scope="session")
def schemas_made_once() -> Iterator[None]:
    """Describe each tool once: the SDK takes 50 ms for the tools of one server, and tests make 900.

    What the SDK reads of a function is its signature; a tool with another one is described anew.
    """
    made: dict[str, tuple[Tool, str]] = {}  # with its parameters as JSON
    long: dict[int, tuple[object, str]] = {}  # by id; 2 ms are what the types of one take as text
    real = Tool.from_function

    def shown(fn: Callable[..., Any]) -> str:
        signature = getattr(fn, "__signature__", None)
        if signature is None:
            return str(inspect.signature(fn))
        if id(signature) not in long:
            long[id(signature)] = signature, str(signature)
        return long[id(signature)][1]

    def from_function(fn: Callable[..., Any], *arguments: Any, **options: Any) -> Tool:
        key = repr((fn.__module__, fn.__qualname__, shown(fn), arguments, options))
        if key not in made:
            tool = real(fn, *arguments, **options)
            made[key] = tool, json.dumps(tool.parameters)
        tool, parameters = made[key]
        return tool.model_copy(update={"fn": fn, "parameters": json.loads(parameters)})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tool, "from_function", from_function)
        yield


@pytest.fixture(autouse=True, scope="session")
def servers(servers_end_at_once: None) -> None:
    """End servers of this folder's tests at once."""


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """One browser for all tests of the viewer."""
    from tests.mcp.browsers import chromium_running, require_chromium

    require_chromium()
    with chromium_running() as browser:
        yield browser
