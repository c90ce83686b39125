"""Text alternatives of images: one paid turn, short, saved with the image, and empty for free."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gptimage import (
    AsyncImageClient,
    BudgetExceededError,
    ConfigurationError,
    ImageClient,
    InvalidRequestError,
    MalformedReplyError,
    OutcomeUnknownError,
    StoreError,
)
from gptimage.budget.budget import Budget
from gptimage.budget.ledger import Ledger
from gptimage.sandbox import Sandbox
from gptimage.store import Record
from tests.factories import image


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(draw="plain")


@pytest.fixture
def client(sandbox: Sandbox, tmp_path: Path) -> Iterator[ImageClient]:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    with ImageClient.sandbox(sandbox, store=tmp_path / "store", ledger=ledger) as client:
        yield client


def drawn(client: ImageClient) -> Record:
    """A small stored image."""
    return client.generate("A fox", size="256x256", quality="low").stored[0]


def words(sandbox: Sandbox) -> str:
    """What the chat model was told last."""
    (message,) = sandbox.requests[-1].body["input"]  # type: ignore[misc]  # the body is JSON
    text: str = message["content"][0]["text"]
    return text


def test_the_text_is_saved_with_the_image(client: ImageClient, sandbox: Sandbox) -> None:
    """It costs what the chat model's tokens cost, is in the sidecar, and goes onto pages."""
    record = drawn(client)
    sandbox.answer_next(' "A red fox\n sleeps in the snow." ')
    found = client.alt_text(record)
    assert client.store is not None
    assert client.ledger is not None
    saved = client.store.get(record.id)

    assert str(found) == found.text == saved.alt == "A red fox sleeps in the snow."
    assert found.record == saved
    assert found.cost is not None
    rows = {each.name: each.cost for each in client.ledger.summary(by="operation")}
    assert rows["question"] == found.cost.usd > 0
    assert found.to_dict()["cost_usd"] == str(found.cost.usd)
    assert 'alt="A red fox sleeps in the snow."' in client.store.open(record.id).for_web([9]).html


def test_what_only_decorates_is_empty_and_free(client: ImageClient, sandbox: Sandbox) -> None:
    """Nothing is sent, and the empty text is saved: another one than none."""
    record = drawn(client)
    sent = len(sandbox.requests)
    found = client.alt_text(record.id, "decorative")

    assert (found.text, found.cost, found.model) == ("", 0, None)
    assert found.record is not None
    assert (record.alt, found.record.alt, len(sandbox.requests)) == (None, "", sent)


def test_the_model_is_told_what_the_image_is_for(client: ImageClient, sandbox: Sandbox) -> None:
    """Purpose, context and language reach it; an image that is not stored is only answered."""
    found = client.alt_text(image(), "functional", context="Leads to\nthe cart", language="German")

    assert "link or a button" in words(sandbox)
    assert "in German" in words(sandbox)
    assert words(sandbox).endswith("The page: Leads to the cart")
    assert found.record is None


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("word " * 40, "word " * 24 + "word…"),
        ("x" * 300, "x" * 124 + "…"),
        ("a" * 125, "a" * 125),
        ("“Ein Fuchs.”", "Ein Fuchs."),
        ("A \x1b[2Jfox\u2028", "A [2Jfox"),
    ],
    ids=["long", "one word", "exactly", "quotes", "control characters"],
)
def test_a_long_text_is_cut_at_a_word(
    client: ImageClient, sandbox: Sandbox, written: str, text: str
) -> None:
    """At most 125 characters on one line, whatever the model wrote."""
    sandbox.answer_next(written)
    found = client.alt_text(image()).text

    assert found == text
    assert len(found) <= 125


def test_nothing_readable_is_no_empty_text(client: ImageClient, sandbox: Sandbox) -> None:
    """It would say that the image only decorates; what came is in the error."""
    record = drawn(client)
    sandbox.answer_next('"…"')
    with pytest.raises(MalformedReplyError, match="no alt text") as caught:
        client.alt_text(record)
    assert client.store is not None

    assert (caught.value.text, client.store.get(record.id).alt) == ('"…"', None)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"purpose": "pretty"}, "purpose"),
        ({"context": " "}, "context"),
        ({"context": "x" * 1001}, "context"),
        ({"language": ""}, "language"),
        ({"language": 7, "purpose": "decorative"}, "language"),
    ],
)
def test_wrong_arguments_are_named(
    client: ImageClient, sandbox: Sandbox, options: dict[str, Any], field: str
) -> None:
    """Nothing is sent."""
    with pytest.raises(InvalidRequestError) as caught:
        client.alt_text(image(), **options)

    assert (caught.value.field, sandbox.requests) == (field, [])


def test_an_id_needs_a_store(sandbox: Sandbox) -> None:
    """It is said before anything is sent."""
    with ImageClient.sandbox(sandbox) as client, pytest.raises(ConfigurationError, match="store"):
        client.alt_text("img_20260101T000000000000_" + "0" * 32)

    assert sandbox.requests == []


def test_the_budget_and_unknown_outcomes_count(sandbox: Sandbox) -> None:
    """What does not fit is not sent, and what may be billed is not sent again."""
    client = ImageClient.sandbox(sandbox, budget=Budget("0.001", per="total"))
    with client, pytest.raises(BudgetExceededError):
        client.alt_text(image())
    sandbox.fail_next("timeout")
    with ImageClient.sandbox(sandbox) as other, pytest.raises(OutcomeUnknownError):
        other.alt_text(image())

    assert len(sandbox.requests) == 1


def test_a_text_that_cannot_be_saved_is_returned(
    client: ImageClient, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was paid for; a warning says that the store does not have it."""
    record = drawn(client)

    def full(*_: object) -> Record:
        raise StoreError("the disk is full")

    monkeypatch.setattr(client.store, "set_alt", full)
    sandbox.answer_next("A fox.")
    found = client.alt_text(record)

    assert (found.text, found.record) == ("A fox.", None)
    assert found.warnings == ("the text was not saved: the disk is full",)


def test_the_async_client_writes_it_too(sandbox: Sandbox) -> None:
    """The same arguments, awaited."""

    async def write() -> str:
        async with AsyncImageClient.sandbox(sandbox) as client:
            return (await client.alt_text(image())).text

    sandbox.answer_next("A teal square.")

    assert asyncio.run(write()) == "A teal square."
