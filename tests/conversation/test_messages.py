"""Conversations with Gemini, which remembers nothing: the turns before are sent again."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from gptimage import (
    Image,
    ImageClient,
    InvalidRequestError,
    Ledger,
    ModerationError,
    OutcomeUnknownError,
    Store,
)
from gptimage.conversation import Turn
from gptimage.sandbox import Sandbox
from gptimage.transport.http import HttpReply
from tests.conversation.helpers import Talks
from tests.sandbox.pictures import TODAY, photo


FLARE = "gpt-image-2.5-flare"
PHOTO = Image.from_bytes(photo())


@pytest.fixture
def sandbox() -> Sandbox:
    """The sandbox as Gemini, on a day that never changes."""
    return Sandbox(provider="gemini", today=lambda: TODAY, draw="plain")


def contents(sandbox: Sandbox) -> Any:
    """The messages of the last request."""
    return sandbox.requests[-1].body["contents"]


def kinds(message: Any) -> list[str]:
    """What the parts of a message are."""
    return [next(iter(part)) for part in message["parts"]]


def test_turns_go_on_with_signatures_as_they_came(talks: Talks, sandbox: Sandbox) -> None:
    """The untouched image goes back with its signature, once, though exact pixels were cut."""
    talk = talks.sandbox(sandbox)
    first = talk.send("A fox", size="1200x630")
    first_sent = contents(sandbox)
    second = talk.send("at night", [photo()])
    third = talk.send("with a moon")
    messages = contents(sandbox)
    back = messages[1]["parts"][0]
    original = first.image.original

    assert original is not None
    assert [each["role"] for each in messages] == ["user", "model", "user", "model", "user"]
    assert [kinds(each) for each in messages[::2]] == [["text"], ["inlineData", "text"], ["text"]]
    assert back["inlineData"] == {"mimeType": "image/jpeg", "data": original.base64}
    assert messages[3]["parts"][0]["thoughtSignature"]
    assert first_sent == messages[:1]
    assert (second.response_id, third.call_ids) == (None, (None,))


def test_one_model_reads_and_draws(talks: Talks, sandbox: Sandbox, tmp_path: Path) -> None:
    """Its whole cost is the image's, counts what was read again, and is entered as a turn."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    talk = talks.sandbox(sandbox, ledger=ledger)
    turns = [talk.send("A fox"), talk.send("at night")]
    costs = [turn.total_cost.usd for turn in turns if turn.total_cost]
    name = "gemini/gemini-nano-banana-2.1"

    assert (
        [turn.chat_model for turn in turns] == [turn.result.model for turn in turns] == [name] * 2
    )
    assert costs[1] > costs[0] > Decimal(0)
    assert [(row.model, row.operation, row.cost) for row in ledger.rows()] == [
        (name, "turn", cost) for cost in costs
    ]


def test_a_stream_shows_what_it_thinks_and_can_be_gone_on_with(
    talks: Talks, sandbox: Sandbox
) -> None:
    """The thought's image is a preview; the model's message comes back without the thought."""
    talk = talks.sandbox(sandbox)
    *previews, last = talk.stream("A fox", partial_images=1)
    talk.send("at night")

    assert sandbox.requests[0].path.endswith(":streamGenerateContent")
    assert [each.index for each in previews] == [0]
    assert isinstance(last.turn, Turn)
    assert kinds(contents(sandbox)[1]) == ["inlineData"]


@pytest.mark.parametrize("streamed", [False, True])
def test_another_process_goes_on_from_the_store(
    talks: Talks, sandbox: Sandbox, tmp_path: Path, streamed: bool
) -> None:
    """The sidecars have the signatures, so the same messages are sent as in the same process."""
    talk = talks.sandbox(sandbox, store=Store(tmp_path))
    talk.send("A fox", size="1200x630")
    turn = talk.send("at night", [photo()])
    if streamed:
        turn = talk.stream("in snow")[-1].turn
    talk.send("with a moon")
    expected = contents(sandbox)

    other = talks.sandbox(sandbox, store=Store(tmp_path), resume=turn.stored[0].id)
    other.send("with a moon")

    assert contents(sandbox) == expected
    assert len(expected) == (7 if streamed else 5)


def test_what_the_store_no_longer_has_begins_it_later(
    talks: Talks, sandbox: Sandbox, tmp_path: Path
) -> None:
    """The first image is deleted: the second turn has it as an input, and the rest is sent."""
    store = Store(tmp_path)
    talk = talks.sandbox(sandbox, store=store)
    first, second = talk.send("A fox"), talk.send("at night")
    store.delete(first.stored[0])
    talks.sandbox(sandbox, store=store, resume=second.stored[0]).send("with a moon")

    assert [kinds(each) for each in contents(sandbox)] == [
        ["inlineData", "text"], ["inlineData"], ["text"],
    ]  # fmt: skip


def test_a_message_that_is_too_long_is_not_saved(
    talks: Talks, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The warning says that another process has the image alone; this one has all."""
    monkeypatch.setattr("gptimage.conversation.session._LONGEST_MESSAGE", 20)
    store = Store(tmp_path)
    talk = talks.sandbox(sandbox, store=store)
    turn = talk.send("A fox")
    talks.sandbox(sandbox, store=store, resume=turn.stored[0]).send("at night")
    alone = len(contents(sandbox))
    talk.send("at night")

    assert "another process goes on from the image alone" in " ".join(turn.warnings)
    assert (alone, len(contents(sandbox))) == (1, 3)


def test_refused_signatures_leave_the_image_alone(talks: Talks, sandbox: Sandbox) -> None:
    """Google refuses those of another key before it draws: the image is sent, with a warning."""
    talk = talks.sandbox(sandbox)
    turn = talk.send("A fox")
    (exchange,) = turn.exchanges
    spoilt = json.loads(json.dumps(exchange.reply).replace("c2FuZGJveC", "bm90aGluZy"))
    other = talks.sandbox(sandbox, resume=evolve(turn, exchanges=(evolve(exchange, reply=spoilt),)))
    again = other.send("at night")

    assert (len(sandbox.requests), len(contents(sandbox))) == (3, 1)
    assert "Corrupted thought signature" in " ".join(again.warnings)


@pytest.mark.parametrize("stateless", [False, True])
def test_an_image_of_another_service_begins_it(
    talks: Talks, sandbox: Sandbox, stateless: bool
) -> None:
    """It has no signature, so it is an input image; so is the last one of a stateless talk."""
    with ImageClient.sandbox(Sandbox(draw="plain")) as client:
        other = client.conversation(image_model=FLARE).send("A fox", quality="low")
    talk = talks.sandbox(sandbox, resume=other, stateless=stateless)
    talk.send("at night")
    talk.send("with a moon")

    assert len(contents(sandbox)) == (1 if stateless else 3)
    assert kinds(contents(sandbox)[0]) == ["inlineData", "text"]


@pytest.mark.parametrize(
    ("how", "options", "field"),
    [
        ({"chat_model": "gpt-6-luna"}, {}, "chat_model"),
        ({}, {"action": "generate"}, "action"),
        ({}, {"max_images": 2}, "max_images"),
        ({}, {"quality": "low"}, "quality"),
        ({"resume": "resp_1"}, {}, "resume"),
    ],
)
def test_what_it_cannot_be_told_is_refused(
    talks: Talks, sandbox: Sandbox, how: dict[str, Any], options: dict[str, Any], field: str
) -> None:
    """By name, before anything is sent: there is no chat model that calls an image tool."""
    with pytest.raises(InvalidRequestError) as caught:
        talks.sandbox(sandbox, **how).send("A fox", **options)

    assert (caught.value.field, len(sandbox.requests)) == (field, 0)


@pytest.mark.parametrize(
    ("scenario", "error"),
    [
        ("moderation", ModerationError),
        ("cut", OutcomeUnknownError),
        ("timeout", OutcomeUnknownError),
    ],
)
def test_a_turn_that_failed_is_not_part_of_it(
    talks: Talks, sandbox: Sandbox, scenario: Any, error: type[Exception]
) -> None:
    """It is sent once, and the next turn goes on from the one before."""
    talk = talks.sandbox(sandbox)
    talk.send("A fox")
    sandbox.fail_next(scenario)
    with pytest.raises(error):
        talk.send("something else")
    assert len(sandbox.requests) == 2
    talk.send("at night")

    assert [each["parts"][-1].get("text") for each in contents(sandbox)[::2]] == [
        "A fox",
        "at night",
    ]


def test_a_model_that_does_not_think_has_no_signatures(talks: Talks, sandbox: Sandbox) -> None:
    """The first model goes on without them, and has no previews."""
    talk = talks.sandbox(sandbox, image_model="gemini-2.5-flash-image")
    talk.send("A fox")
    talk.send("at night")

    assert len(contents(sandbox)) == 3
    with pytest.raises(InvalidRequestError, match="does not think"):
        talk.stream("with a moon", partial_images=1)


def test_a_message_that_is_not_whole_leaves_the_image_alone(talks: Talks, sandbox: Sandbox) -> None:
    """One of its images cannot be read: the other is paid, and the next turn sends that."""
    blobs = [{"mimeType": "image/png", "data": each} for each in ("%%%", PHOTO.base64)]
    parts = [{"inlineData": blob} for blob in blobs]
    body = json.dumps({"candidates": [{"content": {"parts": parts}}]}).encode()
    sandbox.fail_next(
        HttpReply(status=200, headers={"content-type": "application/json"}, body=body)
    )
    talk = talks.sandbox(sandbox)
    turn = talk.send("A fox")
    talk.send("at night")

    assert turn.exchanges == ()
    assert "goes on from the image alone" in " ".join(turn.warnings)
    assert kinds(contents(sandbox)[0]) == ["inlineData", "text"]
