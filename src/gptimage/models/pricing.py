"""Money: tokens used, what they cost, and what a request may cost before it is sent.

Costs come from the usage the service returns and the price row of the day. What
cannot be known is None, never a guess: an unlisted model, a missing usage, an
automatic size, an SVG author whose price no source gives.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Final

from attrs import evolve, field, frozen

from gptimage.models.catalog import ModelSpec, Price


_MILLION: Final = Decimal(1_000_000)
_PARTIAL_TOKENS: Final = 100
"""Output tokens of each partial image (OpenAI's image generation guide)."""


@frozen(kw_only=True)
class Usage:
    """Tokens a call used, as the service counted them; None is not reported.

    Attributes:
        input_tokens: All tokens that went in.
        output_tokens: All tokens that came out.
        total_tokens: Both.
        text_tokens: Tokens of the prompt, part of ``input_tokens``.
        image_tokens: Tokens of input images, part of ``input_tokens``.
        output_text_tokens: Tokens of written text, part of ``output_tokens``.
        svg_tokens: Tokens the author of an SVG used, counted apart.
    """

    input_tokens: int
    output_tokens: int
    total_tokens: int
    text_tokens: int | None = None
    image_tokens: int | None = None
    output_text_tokens: int | None = None
    svg_tokens: int | None = None

    def __add__(self, other: Usage) -> Usage:
        """Return tokens of two calls together; a part unknown in one is unknown in the sum."""
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            total_tokens=self.total_tokens + other.total_tokens,
            text_tokens=_both(self.text_tokens, other.text_tokens),
            image_tokens=_both(self.image_tokens, other.image_tokens),
            output_text_tokens=_both(self.output_text_tokens, other.output_text_tokens),
            svg_tokens=_both(self.svg_tokens, other.svg_tokens),
        )


@frozen(kw_only=True)
class ChatUsage:
    """Tokens a conversation's chat model used, counted apart; None is not reported.

    Attributes:
        input_tokens: All tokens it read: your words, earlier turns, and images as it sees them.
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


@functools.total_ordering
@frozen(kw_only=True, order=False, eq=False)
class Cost:
    """The cost of a call, in USD.

    It compares with numbers (``cost < 1``), adds up (``sum(result.cost for result in results)``)
    and formats: ``f"{cost}"`` is ``$0.0131``, ``f"{cost:.2f}"`` the amount alone, ``0.01``.

    Attributes:
        usd: The amount.
        price: The price row it was computed with; None for a free cache hit, and for a sum of
            costs with different rows.
        is_upper_bound: True when cached tokens, which the Images API does not report,
            may have made it cheaper.
    """

    usd: Decimal
    price: Price | None = field(default=None, repr=False)
    is_upper_bound: bool = True

    def __eq__(self, other: object) -> bool:
        """Equal amounts are equal, whatever row they came from."""
        amount = _amount(other)
        return NotImplemented if amount is None else self.usd == amount

    def __lt__(self, other: object) -> bool:
        """Compare amounts in USD."""
        amount = _amount(other)
        return NotImplemented if amount is None else self.usd < amount

    def __hash__(self) -> int:
        """Equal costs hash alike."""
        return hash(self.usd)

    def __add__(self, other: object) -> Cost:
        """Add another cost, or an amount in USD."""
        amount = _amount(other)
        if amount is None:
            return NotImplemented
        if not isinstance(other, Cost):
            return evolve(self, usd=self.usd + amount)
        paid = [each for each in (self, other) if each.usd]
        price = paid[0].price if paid and all(e.price == paid[0].price for e in paid) else None
        bound = self.is_upper_bound or other.is_upper_bound
        return Cost(usd=self.usd + amount, price=price, is_upper_bound=bound)

    __radd__ = __add__  # sum() begins with 0

    def __format__(self, spec: str) -> str:
        """Return ``$0.0131``, or the amount alone in the format asked for, such as ``.2f``."""
        return format(self.usd, spec) if spec else str(self)

    def __float__(self) -> float:
        """Return the amount in USD."""
        return float(self.usd)

    def __str__(self) -> str:
        """Return the amount as people read it, such as ``$0.0131``."""
        return format_usd(self.usd)


FREE: Final = Cost(usd=Decimal(0), is_upper_bound=False)
"""The cost of a cache hit."""


@frozen(kw_only=True)
class Estimate:
    """The estimated cost of a request; the bill comes from returned usage.

    Attributes:
        usd: The likely amount, in USD.
        input_tokens: Prompt and input images; prompt tokens are taken as one per 4 characters.
        output_tokens: Drawn images and partial images.
        price: The price row it was computed with.
        notes: What was assumed, one sentence each.
    """

    usd: Decimal
    input_tokens: int
    output_tokens: int
    price: Price = field(repr=False)
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the amount as people read it, marked as an estimate."""
        return f"about {format_usd(self.usd)}"


def cost_of(
    spec: ModelSpec | None, usage: Usage | None, on: date, *, batch: bool = False
) -> Cost | None:
    """Return the cost of returned usage with the price row of that day, or None when unknown."""
    price = spec.price(on, batch=batch) if spec else None
    if price is None or usage is None or usage.svg_tokens:
        return None
    text, images, written = usage.text_tokens, usage.image_tokens, usage.output_text_tokens or 0
    if text is None or images is None or not usage.output_tokens:
        return None
    if text + images != usage.input_tokens or written > usage.output_tokens:
        return None  # the parts contradict the sums, so some tokens have no known price
    # Where no price of written text is published, the image's higher one bounds it.
    text_price = price.text_output if price.text_output is not None else price.image_output
    parts = (
        (text, price.text_input),
        (images, price.image_input),
        (usage.output_tokens - written, price.image_output),
        (written, text_price),
    )
    return Cost(usd=_sum(parts), price=price)


def estimate(
    spec: ModelSpec,
    *,
    prompt: str,
    size: tuple[int, int] | None,
    quality: str | None,
    n: int = 1,
    partial_images: int = 0,
    inputs: Sequence[tuple[int, int] | None] = (),
    on: date,
    batch: bool = False,
    prompt_tokens: int | None = None,
) -> Estimate | None:
    """Return what a request may cost, or None when its size, quality, tokens or price are unknown.

    Args:
        spec: The model.
        prompt: The text; its tokens are approximated.
        size: The size drawn, in pixels; None for an automatic one.
        quality: The quality; None and ``auto`` cannot be estimated.
        n: How many images.
        partial_images: How many partial images each image may stream.
        inputs: Pixel sizes of the input images; None for one that is not at hand.
        on: The day whose price row is used.
        batch: Use the Batch API's price.
        prompt_tokens: Tokens of the prompt; one per 4 characters when left out.
    """
    text = -(-len(prompt) // 4) if prompt_tokens is None else prompt_tokens
    price = spec.price(on, batch=batch)
    # A service of tiers draws its smallest usual one where no size is asked for.
    drawn = spec.output_tokens(*size, quality) if size else spec.tier_tokens.get("1K")
    counted = [spec.input_tokens(*pixels) if pixels else None for pixels in inputs]
    seen = [tokens for tokens in counted if tokens is not None]
    if price is None or drawn is None or len(seen) != len(counted):
        return None
    if spec.tier_tokens:  # what such a service shows on the way are its thoughts
        partial_images = 0
    output = n * (drawn + _PARTIAL_TOKENS * partial_images)
    parts = ((text, price.text_input), (sum(seen), price.image_input), (output, price.image_output))
    return Estimate(
        usd=_sum(parts),
        input_tokens=text + sum(seen),
        output_tokens=output,
        price=price,
        notes=_notes(spec, bool(inputs), partial_images),
    )


def max_cost(
    spec: ModelSpec,
    quality: str | None,
    *,
    prompt: str,
    size: tuple[int, int] | None,
    **request: object,
) -> Decimal | None:
    """Return the most a request should cost, in USD.

    What is left to the service counts as the dearest it may choose. A token is at least one byte
    of text, so the prompt counts with its bytes; input images and partial images count as in
    `estimate`.

    Args:
        spec: The model.
        quality: The quality; None and ``auto`` stand for any.
        prompt: The text.
        size: Pixels; None stands for any.
        **request: The other arguments of `estimate`.
    """
    if spec.tier_tokens:
        return None  # no source bounds what such a model thinks and writes beside the image
    names = spec.qualities if quality in (None, "auto") else (quality,)
    text = utf8_length(prompt)
    found = [
        estimate(spec, prompt=prompt, prompt_tokens=text, quality=name, size=pixels, **request)  # type: ignore[arg-type]  # the keywords of estimate(), passed through
        for name in names
        for pixels in ((size,) if size else spec.sizes.largest)
    ]
    amounts = [each.usd for each in found if each is not None]
    return max(amounts) if amounts and len(amounts) == len(found) else None


def utf8_length(text: str) -> int:
    """Return bytes of a text, which are at least as many as its tokens in any tokenizer."""
    return len(text.encode("utf-8", "surrogatepass"))


def format_usd(amount: Decimal) -> str:
    """Four decimals for small amounts, two for large ones: ``$0.0131``, ``$12.50``."""
    return f"${amount:.2f}" if amount >= 10 else f"${amount:.4f}"


def may_have_cost(usd: Decimal | None) -> str:
    """Say what a request that got no response may have cost, in USD; None: it is not known."""
    if usd is None:
        return "it may have been billed, how much is not known"
    return f"it may have been billed up to {format_usd(usd)}"


def _notes(spec: ModelSpec, inputs: bool, partial_images: int) -> tuple[str, ...]:
    notes = ["prompt tokens are taken as one per 4 characters"]
    if spec.tier_tokens:
        notes.append("what the model thinks and writes is billed, too, and not counted here")
    if inputs:
        notes.append("tokens of input images follow third-party measurements")
    if partial_images:
        notes.append("every partial image is counted, though the service may send fewer")
    return tuple(notes)


def _sum(parts: Sequence[tuple[int, Decimal]]) -> Decimal:
    return sum((tokens * price for tokens, price in parts), Decimal(0)) / _MILLION


def _both(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _amount(value: object) -> Decimal | None:
    if isinstance(value, Cost):
        return value.usd
    if isinstance(value, (int, Decimal)):
        return Decimal(value)
    return Decimal(str(value)) if isinstance(value, float) else None


# The chat model of a conversation: the one that reads the words and calls the image model.
#
# Its tokens are text, bill apart from the image's, and are a small part of the cost.

DEFAULT_CHAT_MODEL: Final = "gpt-6-luna"
"""The cheapest current model that calls the image tool; argued in ``docs/conversations.md``."""

_LONG: Final = 272_000
"""Input tokens above which the service charges the whole request more."""
STANDARD: Final = (None, "default")
"""Processing tiers that cost the listed price."""

_TOOL: Final = 512
"""Tokens of the image tool's description; 255 were measured."""
_IMAGE: Final = 4_000
"""Tokens of an image as the chat model sees it; at most 3,779 for any small model so far."""
_WRITTEN: Final = 4_096
"""Tokens a turn may write where it sets no ``max_output_tokens``; 119 and 210 were recorded."""


@frozen(kw_only=True)
class ChatPrice:
    """One dated price row of a chat model, in USD per million tokens.

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


CHAT_PRICES: Final[Mapping[str, tuple[ChatPrice, ...]]] = {
    "gpt-6-luna": (
        ChatPrice(
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


def chat_max_cost(
    model: str,
    on: date,
    *,
    text: int,
    images: int,
    history: int | None = 0,
    drawn: int = 1,
    written: int | None = None,
) -> Decimal | None:
    """Return the most the chat model should cost in one turn, or None when its price is not known.

    It reads everything before each image call and once more after the last; what it has written
    and the images drawn so far are then part of it. The figures are argued in
    ``docs/conversations.md``.

    Args:
        model: The chat model.
        on: The day whose price row holds.
        text: Bytes of what the turn says.
        images: How many images it shows.
        history: Tokens of the turns before; None when nobody knows, which counts as the longest
            prompt that costs the listed price.
        drawn: How many images the turn may draw.
        written: The most tokens it may write, where the request says so.
    """
    price = _price(model, on)
    if price is None:
        return None
    output = _WRITTEN if written is None else written
    fresh = _TOOL + text + _IMAGE * (images + drawn) + output
    read = _LONG if history is None else history + fresh
    if read > _LONG:
        return None
    dearest = max(price.text_input, price.cache_write)
    return ((drawn + 1) * read * dearest + output * price.text_output) / _MILLION


def chat_cost(
    model: str, usage: ChatUsage | None, on: date, *, tier: str | None = None
) -> Cost | None:
    """Return what the chat model cost, or None when its price that day is not known.

    Args:
        model: The chat model that was used.
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
    return Cost(usd=usd / _MILLION, is_upper_bound=False)


def _price(model: str, on: date) -> ChatPrice | None:
    """Return the row that holds on a day."""
    rows = [row for row in CHAT_PRICES.get(model, ()) if row.start <= on]
    return rows[-1] if rows else None
