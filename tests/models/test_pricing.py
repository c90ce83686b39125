"""Money: published tokens exactly, costs from usage, and None for what nobody knows."""

from __future__ import annotations

import math
import pickle
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from gptimage import Cost, Models, Usage
from gptimage.models.pricing import FREE, Estimate, cost_of, estimate, format_usd, max_cost
from tests.factories import TODAY


MODELS = Models.load()

# OpenAI's own calculator, as the facts list it: low, 2.5 medium, 2.5 high, xhigh, 2.5 max.
CALCULATOR = {
    (1024, 1024): (196, 439, 1756, 3122, 7024),
    (1536, 1024): (158, 343, 1372, 2459, 5488),
    (1024, 1536): (158, 343, 1372, 2459, 5488),
    (2048, 2048): (397, 892, 3568, 6343, 14272),
    (2560, 1440): (205, 478, 1843, 3276, 7370),
    (3840, 2160): (371, 865, 3336, 5930, 13342),
}
# The guide's table for 1.5 and mini: low, medium, high.
GUIDE = {
    (1024, 1024): (272, 1056, 4160),
    (1024, 1536): (408, 1584, 6240),
    (1536, 1024): (400, 1568, 6208),
}
QUALITIES = ("low", "medium", "high", "xhigh", "max")


@pytest.mark.parametrize("name", ["gpt-image-2.5-flare", "gpt-image-2.5-sunburst-2026-09-08"])
@pytest.mark.parametrize("size", CALCULATOR, ids=str)
def test_tokens_of_2_5(name: str, size: tuple[int, int]) -> None:
    """The calculator's table is reproduced to the token."""
    found = tuple(MODELS[name].output_tokens(*size, quality) for quality in QUALITIES)

    assert CALCULATOR[size] == found


@pytest.mark.parametrize("name", ["gpt-image-2", "gpt-image-2-2026-04-21"])
@pytest.mark.parametrize("size", CALCULATOR, ids=str)
def test_tokens_of_2(name: str, size: tuple[int, int]) -> None:
    """The same words cost more on gpt-image-2: its medium is 2.5's high, its high 2.5's max."""
    low, _, high, _, most = CALCULATOR[size]
    found = tuple(MODELS[name].output_tokens(*size, quality) for quality in QUALITIES)

    assert (low, high, most, None, None) == found


@pytest.mark.parametrize("name", ["gpt-image-1.5", "gpt-image-1-mini"])
@pytest.mark.parametrize("size", GUIDE, ids=str)
def test_tokens_of_fixed_sizes(name: str, size: tuple[int, int]) -> None:
    """The guide's table is reproduced to the token."""
    found = tuple(MODELS[name].output_tokens(*size, quality) for quality in QUALITIES[:3])

    assert GUIDE[size] == found


@pytest.mark.parametrize("name", ["gpt-image-2.6-flare", "chatgpt-image-latest", "dall-e-3"])
def test_unpublished_tokens_are_unknown(name: str) -> None:
    """Where no source has a formula there is no figure."""
    assert MODELS[name].output_tokens(1024, 1024, "low") is None
    assert MODELS[name].input_tokens(1024, 1024) is None


@pytest.mark.parametrize(
    ("size", "tokens"),
    [
        ((1024, 1024), 1024),
        ((1536, 1024), 1536),
        ((1024, 1536), 1536),
        ((341, 512), 704),
        ((1179, 2556), 1482),
    ],
    ids=str,
)
def test_tokens_of_input_pictures(size: tuple[int, int], tokens: int) -> None:
    """Five measured images, five exact."""
    assert tokens == MODELS["gpt-image-2"].input_tokens(*size)


@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_input_tokens_stay_in_the_budget(width: int, height: int) -> None:
    """No input image counts for less than one patch or more than 1536."""
    tokens = MODELS["gpt-image-2"].input_tokens(width, height)

    assert tokens is not None
    assert 1 <= tokens <= 1536


@given(st.integers(40, 240), st.integers(40, 240), st.sampled_from(QUALITIES))
def test_more_quality_costs_more(across: int, down: int, quality: str) -> None:
    """Tokens grow with the quality at every size."""
    spec = MODELS["gpt-image-2.5-flare"]
    tokens = [spec.output_tokens(across * 16, down * 16, each) or 0 for each in QUALITIES]

    assert sorted(tokens) == tokens
    assert tokens[QUALITIES.index(quality)] > 0


# Costs of returned usage.


def used(**changes: Any) -> Usage:
    """Usage of a small image, with changes."""
    usage = Usage(
        input_tokens=1034, output_tokens=196, total_tokens=1230, text_tokens=10, image_tokens=1024
    )
    return evolve(usage, **changes)


@pytest.mark.parametrize(
    ("name", "usd"),
    [
        ("gpt-image-2.5-flare", "0.014122"),  # (10*5 + 1024*8 + 196*30) / 1e6
        ("gpt-image-2.6-flare", "0.014122"),
        ("gpt-image-2", "0.014122"),
        ("gpt-image-1.5", "0.014514"),  # image output at 32
        ("chatgpt-image-latest", "0.014514"),
        ("gpt-image-1-mini", "0.004148"),  # 2, 2.5 and 8
    ],
)
def test_cost_of_usage(name: str, usd: str) -> None:
    """Each part is multiplied with its own price."""
    cost = cost_of(MODELS[name], used(), TODAY)

    assert cost is not None
    assert Decimal(usd) == cost.usd
    assert cost.is_upper_bound
    assert MODELS[name].price(TODAY) == cost.price


def test_written_text_has_its_own_price() -> None:
    """Of 196 tokens that came out 96 were text, at 10 instead of 32 dollars a million."""
    cost = cost_of(MODELS["gpt-image-1.5"], used(output_text_tokens=96), TODAY)

    assert cost is not None
    assert Decimal("0.012402") == cost.usd


def test_written_text_without_a_price_counts_as_picture() -> None:
    """The cost stays an upper bound where no price of text is published."""
    spec = MODELS["gpt-image-2.5-flare"]

    assert cost_of(spec, used(), TODAY) == cost_of(spec, used(output_text_tokens=96), TODAY)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        used(total_tokens=0, input_tokens=0, output_tokens=0, text_tokens=0, image_tokens=0),
        used(output_tokens=0),
        used(text_tokens=None),
        used(image_tokens=None),
        used(svg_tokens=500),
        used(text_tokens=9),
        used(image_tokens=2000),
        used(output_text_tokens=197),
    ],
    ids=[
        "no usage",
        "all zero",
        "a picture for nothing",
        "no text tokens",
        "no image tokens",
        "an svg author without a price",
        "parts below the sum",
        "parts above the sum",
        "more text than output",
    ],
)
def test_what_cannot_be_known_is_none(usage: Usage | None) -> None:
    """Missing, zero or contradicting usage has no cost, rather than a wrong one."""
    assert cost_of(MODELS["gpt-image-2.5-flare"], usage, TODAY) is None


def test_unknown_models_and_days_have_no_cost() -> None:
    """Neither a model nobody lists nor a day before its first price row has one."""
    assert cost_of(None, used(), TODAY) is None
    assert cost_of(MODELS["gpt-image-2"], used(), date(2020, 1, 1)) is None
    assert cost_of(MODELS["dall-e-3"], used(), TODAY) is None


@given(*[st.integers(0, 10**9)] * 3)
def test_costs_are_exact(text: int, images: int, output: int) -> None:
    """Decimal arithmetic: no cent appears or vanishes, however large the bill."""
    usage = used(
        input_tokens=text + images, output_tokens=output, text_tokens=text, image_tokens=images
    )
    cost = cost_of(MODELS["gpt-image-2"], usage, TODAY)

    assert (output == 0) == (cost is None)
    assert cost is None or cost.usd * 1_000_000 == 5 * text + 8 * images + 30 * output


def test_costs_compare_with_numbers() -> None:
    """A cost is compared and sorted like the amount it is."""
    small, large = Cost(usd=Decimal("0.01")), Cost(usd=Decimal(2))

    assert small < large
    assert small < 1 <= large
    assert small == 0.01
    assert small == Decimal("0.01")
    assert Cost(usd=Decimal("0.010"), is_upper_bound=False) == small
    assert hash(Cost(usd=Decimal("0.010"))) == hash(small)
    assert FREE == 0
    assert small != "0.01"
    assert float(large) == 2.0
    assert pickle.loads(pickle.dumps(small)) == small


@pytest.mark.parametrize(
    ("amount", "text"),
    [("0", "$0.0000"), ("0.0131", "$0.0131"), ("9.99999", "$10.0000"), ("12.5", "$12.50")],
)
def test_amounts_are_read_by_people(amount: str, text: str) -> None:
    """Four decimals below ten dollars, two above."""
    assert text == format_usd(Decimal(amount)) == str(Cost(usd=Decimal(amount)))


def test_usage_adds_up() -> None:
    """The sum of two calls; what one does not report is not reported in the sum."""
    total = used(output_text_tokens=1) + used()

    assert (
        Usage(
            input_tokens=2068,
            output_tokens=392,
            total_tokens=2460,
            text_tokens=20,
            image_tokens=2048,
        )
        == total
    )


# Estimates.


def estimated(model: str = "gpt-image-2.5-flare", **request: object) -> Estimate | None:
    """The estimate of a low 1024x1024 image, with changes."""
    asked = {"prompt": "A fox", "size": (1024, 1024), "quality": "low", "on": TODAY}
    return estimate(MODELS[model], **(asked | request))  # type: ignore[arg-type]  # keywords of the test


def test_estimate() -> None:
    """Five letters count as two tokens, the image as the calculator says."""
    found = estimated()

    assert found is not None
    assert (found.input_tokens, found.output_tokens) == (2, 196)
    assert Decimal("0.00589") == found.usd  # (2*5 + 196*30) / 1e6
    assert str(found) == "about $0.0059"
    assert any("4 characters" in note for note in found.notes)


@pytest.mark.parametrize(
    ("changes", "tokens"),
    [
        ({"n": 3}, (2, 588)),
        ({"partial_images": 3}, (2, 496)),
        ({"n": 2, "partial_images": 1}, (2, 592)),
        ({"inputs": [(1024, 1024), (1024, 1536)]}, (2562, 196)),
        ({"prompt": "x" * 32_000}, (8000, 196)),
        ({"quality": "max"}, (2, 7024)),
        ({"size": (3840, 2160)}, (2, 371)),
    ],
    ids=str,
)
def test_everything_asked_for_is_counted(changes: dict[str, Any], tokens: tuple[int, int]) -> None:
    """Copies, previews, inputs, prompt, quality and size all count."""
    found = estimated(**changes)

    assert found is not None
    assert tokens == (found.input_tokens, found.output_tokens)
    assert Decimal(5 * tokens[0] + 30 * tokens[1]) <= found.usd * 1_000_000


def test_batches_are_estimated_at_half_price() -> None:
    """The Batch API has price rows of its own."""
    full, half = estimated(), estimated(batch=True)

    assert full is not None
    assert half is not None
    assert full.usd == half.usd * 2


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ("gpt-image-2.5-flare", {"size": None}),
        ("gpt-image-2.5-flare", {"quality": None}),
        ("gpt-image-2.5-flare", {"quality": "auto"}),
        ("gpt-image-2.5-flare", {"inputs": [None]}),
        ("gpt-image-2.5-flare", {"on": date(2026, 1, 1)}),
        ("gpt-image-2", {"quality": "xhigh"}),
        ("gpt-image-1.5", {"inputs": [(1024, 1024)]}),
        ("gpt-image-1.5", {"size": (1000, 1000)}),
        ("gpt-image-2.6-flare", {}),
        ("chatgpt-image-latest", {"batch": True}),
    ],
    ids=str,
)
def test_what_cannot_be_estimated_is_none(model: str, changes: dict[str, object]) -> None:
    """An automatic size or quality, an unseen input or an unpublished figure."""
    assert estimated(model, **changes) is None


def highest(
    model: str = "gpt-image-2.5-flare", quality: str | None = None, **request: object
) -> Decimal | None:
    """The maximum of a 1024x1024 image, with changes."""
    asked: dict[str, object] = {"prompt": "A fox", "size": (1024, 1024), "on": TODAY}
    return max_cost(MODELS[model], quality, **(asked | request))


def test_the_max_cost_of_an_automatic_quality_is_the_dearest() -> None:
    """Left to the service, the best quality may be chosen."""
    dearest = estimated(quality="max")

    assert dearest is not None
    assert dearest.usd < highest(quality="max") == highest() == highest(quality="auto")
    assert (highest(quality="low") or 0) < dearest.usd


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [("A fox", 5), ("", 0), ("狐", 3), ("🦊🦊", 8), ("\ud83e", 3)],
)
def test_the_max_cost_counts_bytes(prompt: str, tokens: int) -> None:
    """No tokenizer makes more tokens than a text has bytes."""
    found, empty = highest(prompt=prompt, quality="low"), highest(prompt="", quality="low")

    assert found is not None
    assert empty is not None
    assert (found - empty) * 1_000_000 == 5 * tokens


def test_the_max_cost_is_none_when_unknown() -> None:
    """Part of a maximum would be no maximum."""
    assert highest("gpt-image-2.6-flare") is None
    assert highest("gpt-image-2.6-flare", size=None) is None


@pytest.mark.parametrize("name", ["gpt-image-2.5-flare", "gpt-image-2", "gpt-image-1.5"])
def test_a_size_left_to_the_service_is_the_dearest(name: str) -> None:
    """No size the model draws costs more than what is counted when none is named."""
    rule = MODELS[name].sizes
    edges = range(720, 3841, 240)
    grid = [(w, h) for w in edges for h in edges if rule.problem(w, h) is None]
    sizes = rule.values or (*grid, (2880, 2880))

    assert highest(name, size=None) == max(highest(name, size=size) or 0 for size in sizes)


def test_a_max_cost_leaves_no_quality_out() -> None:
    """A quality without a figure could be the dearest."""
    spec = evolve(MODELS["gpt-image-2"], output_base={"low": 16})
    asked: dict[str, Any] = {"prompt": "A fox", "size": (1024, 1024), "on": TODAY}

    assert max_cost(spec, None, **asked) is None
    assert max_cost(spec, "low", **asked) == highest("gpt-image-2", "low")


@given(
    st.text(max_size=200),
    st.integers(1, 10),
    st.integers(0, 3),
    st.lists(st.tuples(st.integers(1, 4000), st.integers(1, 4000)), max_size=4),
)
def test_estimates_are_positive_and_never_above_the_max_cost(
    prompt: str, n: int, partial_images: int, inputs: list[tuple[int, int]]
) -> None:
    """Whatever is asked for, the estimate is a positive amount the maximum holds."""
    request: dict[str, Any] = {
        "prompt": prompt,
        "n": n,
        "partial_images": partial_images,
        "inputs": inputs,
    }
    found, most = estimated(**request), highest(**request)

    assert found is not None
    assert most is not None
    assert 0 < found.usd < most
    assert math.isfinite(float(most))
