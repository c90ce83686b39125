"""The outer model of a conversation: the one that reads the words and calls the image model.

Its tokens are text, bill apart from the picture's, and are a small part of the cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Final

from attrs import frozen

from gptimage.models.pricing import Cost, OuterUsage


DEFAULT_OUTER: Final = "gpt-6-luna"
"""The cheapest current model that calls the image tool; argued in ``docs/conversations.md``."""

_MILLION: Final = Decimal(1_000_000)
_LONG: Final = 272_000
"""Input tokens above which the service charges the whole request more."""
STANDARD: Final = (None, "default")
"""Processing tiers that cost the listed price."""

_TOOL: Final = 512
"""Tokens of the image tool's description; 255 were measured."""
_PICTURE: Final = 4_000
"""Tokens of a picture as the outer model sees it; at most 3,779 for any small model so far."""
_WRITTEN: Final = 4_096
"""Tokens a turn may write where it sets no ``max_output_tokens``; 119 and 210 were recorded."""


@frozen(kw_only=True)
class OuterPrice:
    """One dated price row of an outer model, in USD per million tokens.

    Attributes:
        start: The first day it holds.
        text_input: Tokens read.
        text_input_cached: Tokens the service had cached.
        cache_write: Tokens it put into its cache.
        text_output: Tokens written, thinking included.
        source: Where the figures come from.
        checked: The day they were compared with the source.
    """

    start: date
    text_input: Decimal
    text_input_cached: Decimal
    cache_write: Decimal
    text_output: Decimal
    source: str
    checked: date


OUTER_PRICES: Final[Mapping[str, tuple[OuterPrice, ...]]] = {
    "gpt-6-luna": (
        OuterPrice(
            start=date(2026, 9, 22),
            text_input=Decimal("0.10"),
            text_input_cached=Decimal("0.01"),
            cache_write=Decimal("0.125"),
            text_output=Decimal("0.50"),
            source=(
                "vercel.com/ai-gateway/models/gpt-6-luna, docs.venice.ai and inference.sh, which "
                "agree; OpenAI's own page was not read. Cache writes at 1.25 times the input "
                "price, as OpenAI's page of gpt-5.6-luna says"
            ),
            checked=date(2026, 11, 20),
        ),
    ),
}
"""Append-only, oldest row first. A model that is not here has no known price: its cost is None.
gpt-5.6-luna is missing on purpose, as its sources contradict each other."""


def outer_ceiling(
    model: str,
    on: date,
    *,
    text: int,
    pictures: int,
    history: int | None = 0,
    drawn: int = 1,
    written: int | None = None,
) -> Decimal | None:
    """The most the outer model should cost in one turn, or None when its price is not known.

    It reads everything before each image call and once more after the last; what it has written
    and the pictures drawn so far are then part of it. The figures are argued in
    ``docs/conversations.md``.

    Args:
        model: The outer model.
        on: The day whose price row holds.
        text: Bytes of what the turn says.
        pictures: How many pictures it shows.
        history: Tokens of the turns before; None when nobody knows, which counts as the longest
            prompt that costs the listed price.
        drawn: How many pictures the turn may draw.
        written: The most tokens it may write, where the request says so.
    """
    price = _price(model, on)
    if price is None:
        return None
    output = _WRITTEN if written is None else written
    fresh = _TOOL + text + _PICTURE * (pictures + drawn) + output
    read = _LONG if history is None else history + fresh
    if read > _LONG:
        return None
    dearest = max(price.text_input, price.cache_write)
    return ((drawn + 1) * read * dearest + output * price.text_output) / _MILLION


def outer_cost(
    model: str, usage: OuterUsage | None, on: date, *, tier: str | None = None
) -> Cost | None:
    """What the outer model cost, or None when its price that day is not known.

    Args:
        model: The outer model that was asked.
        usage: Its tokens.
        on: The day whose price row holds.
        tier: The processing tier the service says it used; only the standard one is priced.
    """
    price = _price(model, on)
    if usage is None or price is None or tier not in STANDARD or usage.input_tokens > _LONG:
        return None
    cached, written = usage.cached_tokens or 0, usage.cache_write_tokens or 0
    plain = usage.input_tokens - cached - written
    if plain < 0:
        return None  # the parts contradict the sum
    usd = (
        plain * price.text_input
        + cached * price.text_input_cached
        + written * price.cache_write
        + usage.output_tokens * price.text_output
    )
    return Cost(usd=usd / _MILLION, upper_bound=False)


def _price(model: str, on: date) -> OuterPrice | None:
    """The row that holds on a day."""
    rows = [row for row in OUTER_PRICES.get(model, ()) if row.start <= on]
    return rows[-1] if rows else None
