"""Money: tokens used, what they cost, and what a request may cost before it is sent.

Costs come from the usage the service returns and the price row of the day. What
cannot be known is None, never a guess: an unlisted model, a missing usage, an
automatic size, an SVG author whose price no source gives.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Final

from attrs import field, frozen

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
        image_tokens: Tokens of input pictures, part of ``input_tokens``.
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
        """Tokens of two calls together; a part unknown in one is unknown in the sum."""
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
class OuterUsage:
    """Tokens a conversation's outer model used, counted apart; None is not reported.

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


@functools.total_ordering
@frozen(kw_only=True, order=False, eq=False)
class Cost:
    """What a call cost, in USD; compares with numbers, so ``cost == 0`` and ``cost < 1`` work.

    Attributes:
        usd: The amount.
        price: The price row it was computed with; None for a free cache hit.
        upper_bound: True when cached tokens, which the Images API does not report,
            may have made it cheaper.
    """

    usd: Decimal
    price: Price | None = field(default=None, repr=False)
    upper_bound: bool = True

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

    def __float__(self) -> float:
        """The amount in USD."""
        return float(self.usd)

    def __str__(self) -> str:
        """The amount as people read it, such as ``$0.0131``."""
        return format_usd(self.usd)


FREE: Final = Cost(usd=Decimal(0), upper_bound=False)
"""The cost of a cache hit."""


@frozen(kw_only=True)
class Estimate:
    """What a request may cost before it is sent; the bill comes from returned usage.

    Attributes:
        usd: The likely amount, in USD.
        input_tokens: Prompt and input pictures; prompt tokens are taken as one per 4 characters.
        output_tokens: Drawn pictures and partial images.
        price: The price row it was computed with.
        notes: What was assumed, one sentence each.
    """

    usd: Decimal
    input_tokens: int
    output_tokens: int
    price: Price = field(repr=False)
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The amount as people read it, marked as an estimate."""
        return f"about {format_usd(self.usd)}"


def cost_of(
    spec: ModelSpec | None, usage: Usage | None, on: date, *, batch: bool = False
) -> Cost | None:
    """The cost of returned usage with the price row of that day, or None when unknown."""
    price = spec.price(on, batch=batch) if spec else None
    if price is None or usage is None or usage.svg_tokens:
        return None
    text, images, written = usage.text_tokens, usage.image_tokens, usage.output_text_tokens or 0
    if text is None or images is None or not usage.output_tokens:
        return None
    if text + images != usage.input_tokens or written > usage.output_tokens:
        return None  # the parts contradict the sums, so some tokens have no known price
    # Where no price of written text is published, the picture's higher one bounds it.
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
) -> Estimate | None:
    """What a request may cost, or None when its size, quality, tokens or price are unknown.

    Args:
        spec: The model.
        prompt: The text; its tokens are approximated.
        size: The size drawn, in pixels; None for an automatic one.
        quality: The quality; None and ``auto`` cannot be estimated.
        n: How many pictures.
        partial_images: How many partial images each picture may stream.
        inputs: Pixel sizes of the input pictures; None for one that is not at hand.
        on: The day whose price row is used.
        batch: Use the Batch API's price.
    """
    text = -(-len(prompt) // 4)
    return _estimated(
        spec,
        text,
        size=size,
        quality=quality,
        n=n,
        partial_images=partial_images,
        inputs=inputs,
        on=on,
        batch=batch,
    )


def ceiling(
    spec: ModelSpec, quality: str | None, *, prompt: str, **request: object
) -> Decimal | None:
    """The most a request should cost, in USD.

    An automatic quality counts as the dearest one. A token is at least one byte of text, so the
    prompt counts with its bytes; input pictures and partial images count as in `estimate`.

    Args:
        spec: The model.
        quality: The quality; None and ``auto`` stand for any.
        prompt: The text.
        **request: The other arguments of `estimate`.
    """
    names = spec.qualities if quality in (None, "auto") else (quality,)
    text = utf8_length(prompt)
    found = [_estimated(spec, text, quality=name, **request) for name in names]  # type: ignore[arg-type]  # the keywords of estimate(), passed through
    amounts = [each.usd for each in found if each is not None]
    return max(amounts) if amounts and len(amounts) == len(found) else None


def utf8_length(text: str) -> int:
    """Bytes of a text, which are at least as many as its tokens in any tokenizer."""
    return len(text.encode("utf-8", "surrogatepass"))


def format_usd(amount: Decimal) -> str:
    """Four decimals for small amounts, two for large ones: ``$0.0131``, ``$12.50``."""
    return f"${amount:.2f}" if amount >= 10 else f"${amount:.4f}"


def _estimated(
    spec: ModelSpec,
    text: int,
    *,
    size: tuple[int, int] | None,
    quality: str | None,
    n: int = 1,
    partial_images: int = 0,
    inputs: Sequence[tuple[int, int] | None] = (),
    on: date,
    batch: bool = False,
) -> Estimate | None:
    """What a request may cost when its prompt is so many tokens."""
    price = spec.price(on, batch=batch)
    drawn = spec.output_tokens(*size, quality) if size and quality else None
    counted = [spec.input_tokens(*pixels) if pixels else None for pixels in inputs]
    seen = [tokens for tokens in counted if tokens is not None]
    if price is None or drawn is None or len(seen) != len(counted):
        return None
    output = n * (drawn + _PARTIAL_TOKENS * partial_images)
    parts = ((text, price.text_input), (sum(seen), price.image_input), (output, price.image_output))
    return Estimate(
        usd=_sum(parts),
        input_tokens=text + sum(seen),
        output_tokens=output,
        price=price,
        notes=_notes(bool(inputs), partial_images),
    )


def _notes(inputs: bool, partial_images: int) -> tuple[str, ...]:
    notes = ["prompt tokens are taken as one per 4 characters"]
    if inputs:
        notes.append("tokens of input pictures follow third-party measurements")
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
