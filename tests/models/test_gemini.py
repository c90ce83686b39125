"""Gemini's catalogue: every size has its ratio and tier, every model its prices and dates."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from attrs import evolve

from gptimage import Models, ModelSpec
from gptimage.models.pricing import Usage, cost_of, estimate, max_cost
from tests.factories import TODAY


MODELS = Models.load().for_provider("gemini")
BY_ID = [pytest.param(spec, id=spec.id) for spec in MODELS]


@pytest.mark.parametrize("spec", BY_ID)
def test_every_size_is_named_by_a_ratio_it_nearly_has(spec: ModelSpec) -> None:
    """A pair of ratio and tier stands for one size, and no ratio is more than 7 % off."""
    named = spec.sizes.named

    assert set(named) == set(spec.sizes.values)
    assert len(set(named.values())) == len(named)
    for (width, height), (ratio, _tier) in named.items():
        across, down = map(int, ratio.split(":"))
        assert abs(width * down / (height * across) - 1) < 0.07


@pytest.mark.parametrize("spec", BY_ID)
def test_every_model_is_sourced_dated_and_priced(spec: ModelSpec) -> None:
    """Each tier it draws has its tokens, and a price that was compared with its source."""
    price = spec.price(TODAY)

    assert {tier for _, tier in spec.sizes.named.values()} == set(spec.tier_tokens)
    assert price is not None
    assert price.start <= price.checked <= MODELS.checked
    assert spec.source
    assert spec.checked <= MODELS.checked


@pytest.mark.parametrize(
    ("model", "asked", "named"),
    [
        ("gemini-nano-banana-2.1", (1024, 1024), ("1:1", "1K")),
        ("gemini-nano-banana-2.1", (1200, 630), ("16:9", "1K")),
        ("gemini-nano-banana-2.1", (1536, 1024), ("3:2", "2K")),
        ("gemini-nano-banana-2.1", (2000, 500), ("4:1", "1K")),
        ("gemini-3.1-flash-image", (600, 400), ("3:2", "512")),
        ("gemini-2.5-flash-image", (1344, 768), ("16:9", "1K")),
    ],
)
def test_the_smallest_size_that_covers_is_drawn(
    model: str, asked: tuple[int, int], named: tuple[str, str]
) -> None:
    """The rule is that of the other models: never enlarged, as little cut off as can be."""
    rule = MODELS[model].sizes

    assert rule.named[rule.covering(*asked)] == named


def test_the_newest_is_live_and_its_image_costs_what_google_says() -> None:
    """1K at 1,120 tokens is $0.0336; what it thinks comes on top, so there is no max_cost."""
    spec = MODELS["gemini-nano-banana-2.1"]
    found = estimate(spec, prompt="", size=(1024, 1024), quality=None, on=TODAY)

    assert spec.state(TODAY) == "live"
    assert found is not None
    assert found.usd == Decimal("0.0336")
    assert "thinks" in " ".join(found.notes)
    assert max_cost(spec, None, prompt="", size=(1024, 1024), on=TODAY) is None


def test_thoughts_cost_what_text_costs() -> None:
    """180 tokens of thinking at the price of text, 1,120 of an image at its own."""
    spec = MODELS["gemini-3-pro-image"]
    usage = Usage(
        input_tokens=572, output_tokens=1300, total_tokens=1872, text_tokens=12, image_tokens=560,
        output_text_tokens=180,
    )  # fmt: skip
    cost = cost_of(spec, usage, TODAY)
    millionths = 572 * 2 + 1120 * 120 + 180 * 12

    assert cost is not None
    assert cost.usd == Decimal(millionths) / 1_000_000


def test_the_rule_is_told_in_words() -> None:
    """An error names ratios and tiers, not forty sizes."""
    lite = MODELS["gemini-3.1-flash-lite-image"].sizes

    assert str(evolve(lite, named={(1, 1): ("1:1", "1K")})) == "ratios 1:1, each at 1K"


def test_the_oldest_has_a_date() -> None:
    """It answers its earlier users until the day that is announced."""
    spec = MODELS["gemini-2.5-flash-image"]

    assert spec.state(date(2027, 3, 14)) == "deprecated"
    assert spec.state(date(2027, 3, 15)) == "shut_down"
