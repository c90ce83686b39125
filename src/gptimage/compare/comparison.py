"""The outcome of a comparison: a cell for each prompt and setting."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from gptimage._internal import atomic
from gptimage.bulk import Item
from gptimage.checks import AnyCheck
from gptimage.checks.attempts import check_image, usable_checks
from gptimage.compare.matrix import Case, Cell, Matrix
from gptimage.conversation.turns import ClientParts
from gptimage.errors import ApiError, ConfigurationError, GptImageError, OutcomeUnknownError
from gptimage.models.pricing import Cost
from gptimage.observers.events import Event, Finished
from gptimage.transport.billing import may_be_billed
from gptimage.types.request import Prompt
from gptimage.types.result import Result


@define
class Stopwatch:
    """An observer that notes how long each call took, in seconds by the service's request id."""

    seconds: dict[str, float] = field(factory=dict[str, float])

    def notify(self, event: Event) -> None:
        """Note the end of a call."""
        if isinstance(event, Finished) and event.request_id is not None:
            self.seconds[event.request_id] = event.seconds


@frozen(kw_only=True)
class Comparison:
    """Every prompt with every model and quality, drawn once.

    Attributes:
        title: What it is called.
        cells: The images, prompt by prompt.
    """

    title: str
    cells: tuple[Cell, ...]

    @cached_property
    def html(self) -> str:
        """The sheet: one HTML page that needs nothing else, with all images, to vote in."""
        from gptimage.compare.sheet import sheet

        return sheet(self.title, self.cells)

    @property
    def paid(self) -> Decimal | None:
        """What was paid for it now with all questions, in USD; None when some is not known."""
        # Images that could not be saved are in the error, and paid.
        results = [each.result or getattr(each.error, "result", None) for each in self.cells]
        costs: list[Cost | None] = [each.cost for each in results if each is not None]
        # Questions are not in the cache: they are asked anew about an image that is.
        costs += [check.cost for each in self.cells for check in each.checks]
        known = [each.usd for each in costs if each is not None]
        if any(_is_doubtful(each.error) for each in self.cells):
            return None  # it may have been billed
        return sum(known, Decimal(0)) if len(known) == len(costs) else None

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the sheet to a file, which is replaced, and return its path.

        Raises:
            OSError: It cannot be written; the images are in the cache and the store.
        """
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        # Half an emoji in a title is no reason to lose the sheet: it is paid by now.
        atomic.replace(file, self.html.encode(errors="replace"), mode=atomic.PUBLIC)
        return file

    def to_dict(self) -> dict[str, object]:
        """Return everything known as JSON values, without the images."""
        return {
            "title": self.title,
            "cells": [each.to_dict() for each in self.cells],
            "paid_usd": None if self.paid is None else str(self.paid),
        }


def _is_doubtful(error: Exception | None) -> bool:
    return isinstance(error, (OutcomeUnknownError, ApiError)) and may_be_billed(error)


def matrix_of(
    client: ClientParts,
    prompts: Iterable[str | Prompt | Case],
    models: Sequence[str],
    qualities: Sequence[str],
    checks: Sequence[AnyCheck],
    options: Mapping[str, Any],
) -> Matrix:
    """Return what is to be drawn, once client and lists are proved to be usable.

    Raises:
        ConfigurationError: The client has no cache.
        InvalidRequestError: The lists are no matrix, or a check cannot be run.
    """
    if client.saver.cache is None:
        raise ConfigurationError(
            "compare() needs a cache, so that no image is paid for twice when it is made once "
            'more: give the client one, such as ImageClient(cache="cache"); nothing was sent'
        )
    matrix = Matrix.of(prompts, models, qualities, checks, options)
    for every, request in matrix.checked_requests():
        usable_checks(client, every, request)
    return matrix


async def finished(
    client: ClientParts,
    matrix: Matrix,
    items: Mapping[int, Item],
    title: str,
    seconds: Mapping[str, float],
) -> Comparison:
    """Check every image, and put all together."""
    settings = matrix.settings
    cells: list[Cell] = []
    for index in range(len(matrix.cases) * len(settings)):
        case, setting = matrix.cases[index // len(settings)], settings[index % len(settings)]
        item = items.get(index)
        result = None if item is None else item.result
        if result is None:
            error = None if item is None else item.error
            cells.append(Cell(case=case, setting=setting, error=error))
            continue
        checks = await check_image(client, result.image, (*matrix.checks, *case.checks))
        usd = await client.sender.runtime.work(partial(_drawn_for, client, result))
        took = None if result.cached else seconds.get(result.request_id or "")
        cells.append(
            Cell(case=case, setting=setting, result=result, usd=usd, seconds=took, checks=checks)
        )
    return Comparison(title=title, cells=tuple(cells))


def _drawn_for(client: ClientParts, result: Result) -> Decimal | None:
    """Return what an image cost when it was drawn: one from the cache costs nothing now."""
    cache = client.saver.cache
    if not result.cached or cache is None:
        return None if result.cost is None else result.cost.usd
    try:
        entry = cache.get(client.saver.core.plan(result.request).key)
    except GptImageError:  # a cache that fails now has given the image all the same
        return None
    return None if entry is None else entry.usd
