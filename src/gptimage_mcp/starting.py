"""What ``POST /stream`` asks for, checked and begun exactly as by the tools.

A web page cannot be asked whether it agrees to pay, as a client of the protocol can: here only
``max_per_call`` and ``max_per_day`` bound what is spent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any, Final

from pydantic import ValidationError, validate_call

import gptimage
from gptimage_mcp.app import App
from gptimage_mcp.callers import caller
from gptimage_mcp.content.errors import failure, misfit
from gptimage_mcp.job import Job
from gptimage_mcp.tools.generate import Counter
from gptimage_mcp.tools.submit import Desk, Order


_OF_EDITS: Final = frozenset({"images", "attached_image"})


class Starter:
    """Begins jobs.

    Args:
        app: The server.
    """

    def __init__(self, app: App) -> None:
        self._counter = Counter(Desk(app))

    async def begin(self, asked: Mapping[str, Any]) -> Job:
        """Begin to draw, or join whoever draws the same just now.

        Args:
            asked: The parameters of ``generate_image``; with pictures, those of ``edit_image``.

        Raises:
            ToolError: It cannot be begun; says why, and what to do next.
        """
        ask = self._edit if _OF_EDITS & asked.keys() else self._generate
        try:
            self._counter.desk.check_key()  # before pictures are read for nothing
            return self._counter.desk.begin(await ask(**asked), caller())
        except ValidationError as error:
            raise misfit(error) from error
        except gptimage.GptImageError as error:
            raise failure(error) from error

    # Made when first needed: the validators take a while to build.
    @cached_property
    def _generate(self) -> Callable[..., Awaitable[Order]]:
        return validate_call(self._counter.generate_image)

    @cached_property
    def _edit(self) -> Callable[..., Awaitable[Order]]:
        return validate_call(self._counter.edit_image)
