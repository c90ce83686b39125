"""The tools that draw, and cost money: generate, edit, refine, vary.

Each call becomes an order and then a job: when the client gives up or leaves, the job goes on, is
paid, and is kept.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias, get_type_hints

from attrs import frozen
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp_types import CallToolResult, InputRequiredResult

from gptimage_mcp.app import App
from gptimage_mcp.callers import caller, telling
from gptimage_mcp.content.errors import failing
from gptimage_mcp.content.results import answered
from gptimage_mcp.tools.confirm import consent
from gptimage_mcp.tools.generate import Counter
from gptimage_mcp.tools.register import PAID, offer
from gptimage_mcp.tools.submit import Desk, Order


Answer: TypeAlias = CallToolResult | InputRequiredResult

Ask: TypeAlias = Callable[..., Awaitable[Order]]
"""A method of `Counter`."""

_TITLES: Final = {
    "generate_image": "Generate pictures",
    "edit_image": "Edit pictures",
    "refine_image": "Refine a picture in words",
    "create_variations": "Create variations",
}
_FILES: Final = ("attached_image", "attached_mask")


def add_drawing(server: MCPServer[App], app: App) -> None:
    """Offer the tools that draw."""
    desk = Desk(app)
    counter, drawer = Counter(desk), Drawer(desk)
    for name, title in _TITLES.items():
        ask: Ask = getattr(counter, name)
        files = [each for each in _FILES if each in inspect.signature(ask).parameters]
        tool = _tool(drawer, ask)
        offer(server, tool, title=title, hints=PAID, structured=False, files=files)


@frozen
class Drawer:
    """Answers calls.

    Attributes:
        desk: Where orders are taken.
    """

    desk: Desk

    async def answer(self, ctx: Context[App, Any], ask: Ask, asked: dict[str, Any]) -> Answer:
        """Draw, for as long as a call may wait.

        Raises:
            ToolError: Nothing was drawn; says why, and what to do next.
        """
        app, owner = self.desk.app, caller()
        with failing():
            self.desk.check_key()  # before pictures are read for nothing
            order = await ask(**asked)
            if self.desk.running_like(order, owner) is None:
                question = await consent(ctx, order.draft)
                if question is not None:
                    return question
            job = self.desk.begin(order, owner)
        await job.wait(app.settings.wait, telling(ctx))
        return await answered(app, job)


def _tool(drawer: Drawer, ask: Ask) -> Callable[..., Awaitable[Answer]]:
    """A tool with the name, the manual and the parameters of a method of `Counter`."""

    @functools.wraps(ask)
    async def tool(ctx: Context[App, Any], **asked: Any) -> Answer:
        return await drawer.answer(ctx, ask, asked)

    hints = {"ctx": Context[App, Any], **get_type_hints(ask, include_extras=True), "return": Answer}
    context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=hints["ctx"])
    parameters = [
        each.replace(annotation=hints[each.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for each in inspect.signature(ask).parameters.values()
    ]
    tool.__annotations__ = hints
    tool.__signature__ = inspect.Signature([context, *parameters], return_annotation=Answer)  # type: ignore[attr-defined]  # what `inspect.signature` looks at first
    return tool
