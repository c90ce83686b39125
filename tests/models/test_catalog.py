"""The catalogue: its shape, its dates, and every model the installed SDK knows."""

from __future__ import annotations

import pickle
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest
from attrs import fields

from gptimage import ConfigurationError, Models, ModelSpec
from gptimage.models.catalog import Price
from tests.factories import TODAY


MODELS = Models.load()
BY_ID = [pytest.param(spec, id=spec.id) for spec in MODELS]


def sdk_models() -> list[str]:
    """Every model name the installed SDK suggests."""
    from openai.types import ImageModel

    return list(get_args(ImageModel))


@pytest.mark.parametrize("name", sdk_models())
def test_the_catalogue_knows_every_model_of_the_sdk(name: str) -> None:
    """A model the SDK names is listed here, with what it may do and until when it lives."""
    assert name in MODELS


def test_the_catalogue_reaches_another_process() -> None:
    """Whoever draws in a pool of processes hands a model's row to each."""
    assert list(MODELS) == pickle.loads(pickle.dumps(list(MODELS)))


def test_ids_are_unique_and_indexed() -> None:
    """Each entry is found under its own id."""
    ids = [spec.id for spec in MODELS]

    assert sorted(set(ids)) == sorted(ids)
    assert [MODELS[name] for name in ids] == list(MODELS)
    assert len(ids) == len(MODELS)
    assert "no-such-model" not in MODELS
    assert MODELS.get("no-such-model") is None


def test_the_default_is_alive_and_costable() -> None:
    """Who names no model gets one without a shutdown date, whose price is known."""
    spec = MODELS[MODELS.default]

    assert spec.state(TODAY) == "live"
    assert spec.price(TODAY) is not None
    assert spec.output_tokens(1024, 1024, "low") == 196


@pytest.mark.parametrize("spec", BY_ID)
def test_dates_are_in_order(spec: ModelSpec) -> None:
    """A model appears, is checked, and is shut down, in this order."""
    assert spec.checked <= MODELS.checked
    assert spec.released is None or spec.released <= spec.checked
    if spec.shutdown:
        assert (spec.released or date.min) < spec.shutdown
        assert spec.replacements


@pytest.mark.parametrize("spec", BY_ID)
def test_replacements_live_on(spec: ModelSpec) -> None:
    """Nobody is sent from one dying model to the next."""
    assert [MODELS[name].shutdown for name in spec.replacements] == [None] * len(spec.replacements)


@pytest.mark.parametrize("spec", BY_ID)
def test_a_snapshot_is_listed(spec: ModelSpec) -> None:
    """An alias and its dated model share every rule and every price."""
    if spec.snapshot is None:
        return
    own = {"id", "role", "snapshot", "source"}
    twin = MODELS[spec.snapshot]
    shared = [f.name for f in fields(ModelSpec) if f.name not in own]

    assert spec.snapshot.startswith(spec.id)
    assert [getattr(spec, name) for name in shared] == [getattr(twin, name) for name in shared]


@pytest.mark.parametrize("spec", BY_ID)
def test_prices_are_positive_dated_and_sourced(spec: ModelSpec) -> None:
    """Every figure is a positive amount with a day and a source."""
    for price in spec.prices:
        amounts = [getattr(price, name) for name in MONEY]
        assert all(amount is None or 0 < amount <= 100 for amount in amounts)
        assert price.source
        assert price.start <= price.checked <= MODELS.checked
        assert price.text_input_cached is None or price.text_input_cached < price.text_input
        assert price.image_input_cached is None or price.image_input_cached < price.image_input


@pytest.mark.parametrize("spec", BY_ID)
def test_price_rows_ascend(spec: ModelSpec) -> None:
    """Rows are appended: of each kind no two start on one day."""
    for batch in (False, True):
        starts = [price.start for price in spec.prices if price.batch is batch]
        assert sorted(set(starts)) == starts


@pytest.mark.parametrize("spec", BY_ID)
def test_a_batch_costs_half(spec: ModelSpec) -> None:
    """The Batch API's discount is half, give or take the published rounding."""
    normal, batch = spec.price(TODAY), spec.price(TODAY, batch=True)
    if normal is None or batch is None:
        return
    for name in MONEY:
        full, half = getattr(normal, name), getattr(batch, name)
        assert (full is None) == (half is None)
        assert full is None or abs(half * 2 - full) <= Decimal("0.01")


MONEY = [f.name for f in fields(Price) if f.name.endswith(("_input", "_output", "_cached"))]


@pytest.mark.parametrize("spec", BY_ID)
def test_tokens_are_known_for_listed_qualities_only(spec: ModelSpec) -> None:
    """A token table names no quality the model does not take, and leaves none out."""
    tables = [spec.output_base, *spec.output_table.values()]

    assert all(set(table) == set(spec.qualities) for table in tables if table)


def test_prices_depend_on_the_day() -> None:
    """Before its first row a model has no price."""
    spec = MODELS["gpt-image-2"]
    first = spec.prices[0].start

    assert spec.price(first - timedelta(days=1)) is None
    assert spec.prices[0] == spec.price(first)


def test_an_appended_row_takes_over_on_its_day(tmp_path: Path) -> None:
    """A new price leaves the cost of older calls as it was."""
    row = (
        '{ from = 2026-12-24, text_input = "1", image_input = "1", image_output = "1", '
        'source = "test", checked = 2026-12-24 },\n'
    )
    catalogue = _shipped_text().replace("prices = [\n", "prices = [\n    " + row)
    path = tmp_path / "models.toml"
    path.write_text(catalogue, encoding="utf-8")
    spec = Models.load(path)["gpt-image-2"]
    before, after = spec.price(date(2026, 12, 23)), spec.price(date(2026, 12, 24))

    assert before is not None
    assert after is not None
    assert (Decimal(30), Decimal(1)) == (before.image_output, after.image_output)


@pytest.mark.parametrize(
    ("name", "on", "state"),
    [
        ("gpt-image-2.5-flare", date(2030, 1, 1), "live"),
        ("gpt-image-1.5", date(2026, 11, 20), "deprecated"),
        ("gpt-image-1.5", date(2026, 11, 30), "deprecated"),
        ("gpt-image-1.5", date(2026, 12, 1), "shut_down"),
        ("gpt-image-1", date(2026, 10, 22), "deprecated"),
        ("gpt-image-1", date(2026, 10, 23), "shut_down"),
        ("dall-e-3", TODAY, "shut_down"),
    ],
)
def test_the_day_decides(name: str, on: date, state: str) -> None:
    """A model is dead from its shutdown date on."""
    assert state == MODELS[name].state(on)


def _shipped_text() -> str:
    from importlib import resources

    return resources.files("gptimage.models").joinpath("models.toml").read_text("utf-8")


def test_a_catalogue_of_ones_own(tmp_path: Path) -> None:
    """A file of the same shape replaces the shipped one."""
    path = tmp_path / "models.toml"
    path.write_text(_shipped_text().replace('id = "gpt-image-2"', 'id = "mine"'), encoding="utf-8")

    assert "mine" in Models.load(path)
    assert "gpt-image-2" not in Models.load(path)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"not toml",
        b"default = 1",
        b"\xff\xfe",
        b"family = []\nmodel = []\nsizes = []\nsources = {}",
        b"sizes = {}\nfamily = ['x']\nmodel = []\nsources = {}",
        b"sizes = {a = {values = ['big']}}\nfamily = []\nmodel = []\nsources = {}",
        b"sizes = {a = 1}\nfamily = []\nmodel = []\nsources = {}",
    ],
)
def test_a_broken_catalogue_is_refused(tmp_path: Path, text: bytes) -> None:
    """A file that is no catalogue is named in the error."""
    path = tmp_path / "mine.toml"
    path.write_bytes(text)
    with pytest.raises(ConfigurationError, match=r"mine\.toml"):
        Models.load(path)


def test_repr_says_when_it_was_checked() -> None:
    """The day matters more than anything else in it."""
    assert "checked 2026" in repr(MODELS)


def test_rules_of_azure_are_dated() -> None:
    """Azure retires models on days of its own."""
    found: dict[str, Any] = {spec.id: spec.azure_retirement for spec in MODELS}

    assert found["gpt-image-1-mini"] == date(2027, 4, 7)


def test_what_ends_in_december_is_replaced() -> None:
    """OpenAI names 2.6; the one named beside it can be costed, which 2.6 cannot."""
    ending = [spec for spec in MODELS if spec.shutdown == date(2026, 12, 1)]
    pair = ("gpt-image-2.6-sunburst", "gpt-image-2.6-flare")

    assert len(ending) == 4
    assert {spec.replacements for spec in ending} == {pair}
    for spec in ending:
        costable = MODELS[spec.costable_replacement or ""]
        assert costable.output_tokens(1024, 1024, "low") is not None
        assert {MODELS[name].output_tokens(1024, 1024, "low") for name in pair} == {None}


def test_batches_are_priced_where_they_exist() -> None:
    """A model with batches has a price row for them, and one without has none."""
    assert [
        spec.id for spec in MODELS if spec.batch == "yes" and not spec.price(LATE, batch=True)
    ] == []
    assert [spec.id for spec in MODELS if spec.batch == "no" and spec.price(LATE, batch=True)] == []
    assert {MODELS[name].batch for name in ("gpt-image-2.6-flare", "gpt-image-2.6-sunburst")} == {
        "no"
    }


LATE = date(2027, 1, 1)


def test_azure_names_what_azure_has() -> None:
    """A replacement on Azure is a model whose retirement there is known, so it is there."""
    for spec in MODELS:
        for name in spec.azure_replacements:
            assert MODELS[name].azure_retirement is not None
            assert spec.azure_retirement is not None
