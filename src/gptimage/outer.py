"""The outer model of a conversation: the one that reads the words and calls the image model.

Its tokens are text, bill apart from the picture's, and are a small part of the cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Final

from attrs import frozen

from gptimage.money import Cost


DEFAULT_OUTER: Final = "gpt-6-luna"
"""The cheapest current model that calls the image tool; argued in ``docs/conversations.md``."""

_MILLION: Final = Decimal(1_000_000)
_LONG: Final = 272_000
"""Input tokens above which the service charges the whole request more."""
_STANDARD: Final = (None, "default")
"""Processing tiers that cost the listed price."""


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


@frozen(kw_only=True)
class OuterUsage:
    """Tokens the outer model used, as the service counted them; None is not reported.

    Attributes:
        input_tokens: All tokens it read: your words, earlier turns, and pictures as it sees them.
        output_tokens: All tokens it wrote, thinking included.
        total_tokens: Both.
        cached_tokens: Part of the input that came from the service's cache.
        cache_write_tokens: Part of the input that went into it.
        reasoning_tokens: Part of the output that was thinking.
    """

    input_tokens: int
    output_tokens: int
    total_tokens: int
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


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
    rows = [row for row in OUTER_PRICES.get(model, ()) if row.start <= on]
    if usage is None or not rows or tier not in _STANDARD or usage.input_tokens > _LONG:
        return None
    price = rows[-1]
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
