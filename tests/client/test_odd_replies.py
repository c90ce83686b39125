"""Every field of a reply is untrusted: what cannot be true is set aside, and the image stays."""

from __future__ import annotations

import base64
import json
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

import gptimage
from gptimage.budget.ledger import Ledger
from gptimage.cache import MemoryCache
from gptimage.errors import MalformedReplyError
from gptimage.store import Store
from gptimage.transport.http import HttpReply
from tests.client.harness import (
    TODAY,
    USAGE,
    FakeTransport,
    Harness,
    answer,
    event,
    failure,
    picture,
)


BYTES = picture(64, 64)
ODD: list[Any] = [
    10**20,
    -1,
    1.5,
    True,
    "12",
    "\0\ud800",
    [],
    {"a": [1]},
    float("nan"),
    float("inf"),
    "x" * 300_000,
]
NAMED = ["2**66", "-1", "1.5", "true", "text", "no UTF-8", "[]", "{}", "NaN", "Infinity", "long"]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Recovery copies and spooled replies go to a folder of the test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def response(call: dict[str, Any], **more: Any) -> HttpReply:
    """A reply of the Responses API with one image call."""
    drawn = {
        "id": "ig_1",
        "type": "image_generation_call",
        "status": "completed",
        "result": base64.b64encode(BYTES).decode(),
        **call,
    }
    body = {"id": "resp_1", "status": "completed", "output": [drawn], **more}
    return HttpReply(status=200, body=json.dumps(body).encode())


def fields(odd: Any) -> dict[str, Any]:
    """Every field of a reply of the Images API, with the same odd value."""
    counts = dict.fromkeys(("input_tokens", "output_tokens", "total_tokens"), odd)
    details = dict.fromkeys(("text_tokens", "image_tokens"), odd)
    return {
        "created": odd,
        "usage": {**counts, "input_tokens_details": details, "output_tokens_details": details},
        "svg_usage": {"total_tokens": odd},
        **dict.fromkeys(("size", "quality", "background", "output_format", "id"), odd),
    }


@pytest.mark.parametrize("odd", ODD, ids=NAMED)
def test_an_odd_field_costs_no_picture(tmp_path: Path, harness: Harness, odd: Any) -> None:
    """With a ledger and a store, where every field is written down."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    with Store(tmp_path / "pictures") as store:
        client, _ = harness.fake(answer(BYTES, **fields(odd)), store=store, ledger=ledger)
        result = client.generate("A fox", size="1024x640", quality="low")
        (record,) = store.history()

        assert store.open(record.id).original is None
        assert record.created_at_service.year in {1970, 2026}
    assert result.stored == (record,)
    assert result.usage is None
    assert (result.cost, result.created.tzinfo) == (None, UTC)
    assert any("no call can use" in note for note in result.warnings)
    assert len(json.dumps([*result.warnings, dict(result.reported_by_service)]).encode()) < 10_000
    (row,) = ledger.rows()
    assert (row.billing, row.cost, row.usage) == ("billed", None, None)


@pytest.mark.parametrize("status", [201, 203, 206])
def test_another_success_is_cached_and_saved(tmp_path: Path, harness: Harness, status: int) -> None:
    """Servers say 201 for what they created: it is paid like any other, and never twice."""
    with Store(tmp_path / "pictures") as store:
        client, service = harness.fake(
            evolve(answer(BYTES), status=status), store=store, cache=MemoryCache()
        )
        first, again = (client.generate("A fox", size="1024x640") for _ in range(2))
        assert first.stored == tuple(store.history())

    assert (len(service.requests), first.cached, again.cached) == (1, False, True)
    assert first.image.data == again.image.data


@pytest.mark.parametrize("status", [201, 500])
def test_the_reply_of_another_success_is_kept_when_a_call_breaks_off(
    state: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """As that of a 200; an error holds nothing."""

    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("gptimage.engine.config.parse_response", interrupted)
    client = gptimage.ImageClient(
        transport=FakeTransport([evolve(answer(BYTES), status=status)]), retry=0
    )
    with pytest.raises(KeyboardInterrupt):
        client.generate("A fox", size="1024x640")

    assert len([*state.rglob("*.reply")]) == (status == 201)


@pytest.mark.parametrize("odd", ODD, ids=NAMED)
def test_an_odd_event_costs_no_picture(tmp_path: Path, harness: Harness, odd: Any) -> None:
    """The same fields in the events of a stream, and the numbers of its previews."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    told = {**fields(odd), "created_at": odd}
    events: list[Any] = [
        event("image_generation.partial_image", BYTES, partial_image_index=odd),
        event("image_generation.completed", BYTES, **told),
    ]
    with Store(tmp_path / "pictures") as store:
        client, _ = harness.fake(events, store=store, ledger=ledger)
        *partials, done = client.stream("A fox", size="1024x640", quality="low", partial_images=1)

        assert [(each.image.data, each.index) for each in partials] == [(BYTES, 0)]
        assert (done.result.image.original or done.result.image).data == BYTES
        assert done.result.stored == tuple(store.history())
    assert any("no call can use" in note for note in done.result.warnings)


@pytest.mark.parametrize("odd", ODD, ids=NAMED)
def test_an_odd_response_costs_no_picture(tmp_path: Path, odd: Any) -> None:
    """A turn of a conversation, with ids, revised prompt and the chat model's numbers."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    counts = fields(odd)["usage"]
    call = ("id", "revised_prompt", "size", "quality", "background", "svg_usage")
    reply = response(
        dict.fromkeys(call, odd),
        id=odd,
        created_at=odd,
        status=odd,
        service_tier=odd,
        usage=counts,
        tool_usage={"image_gen": counts},
        incomplete_details={"reason": odd},
    )
    with Store(tmp_path / "pictures") as store:
        client = gptimage.ImageClient(
            transport=FakeTransport([reply]),
            clock=lambda: TODAY,
            store=store,
            ledger=ledger,
        )
        turn = client.conversation().send("A fox", size="1024x640", quality="low")
        (record,) = store.history()

    assert (turn.result.image.original or turn.result.image).data == BYTES
    assert (turn.chat_usage, turn.result.usage) == (None, None)
    assert len(turn.response_id or "") <= 200
    assert (record.response_id or "").isprintable()
    assert any("of the chat model" in note for note in turn.result.warnings)


def test_a_revised_prompt_of_megabytes_is_cut() -> None:
    """50 MB of text beside an image are neither kept nor a reason to drop it."""
    transport = FakeTransport([response({"revised_prompt": "fox " * 12_000_000})])
    client = gptimage.ImageClient(transport=transport, clock=lambda: TODAY)
    turn = client.conversation().send("A fox", size="1024x640", quality="low")

    assert len(turn.revised_prompts[0] or "") == 1_000_000
    assert any("was cut" in note for note in turn.result.warnings)


def test_a_number_of_thousands_of_digits(harness: Harness) -> None:
    """Python refuses to read it as a number; the rest of the reply is read all the same."""
    reply = answer(BYTES)
    body = bytes(reply.body).replace(b'"total_tokens": 206', b'"total_tokens": ' + b"9" * 5000)
    client, _ = harness.fake(evolve(reply, body=body))
    result = client.generate("A fox", size="1024x640", quality="low")

    assert result.usage is not None
    assert result.usage.total_tokens == 206
    assert len([note for note in result.warnings if "total_tokens" in note]) == 1


def test_a_field_given_twice_counts_once(harness: Harness) -> None:
    """JSON leaves it open which one counts: the last one does, and it is checked as any."""
    reply = answer(BYTES)
    body = b'{"usage": {"input_tokens": 1e999},' + bytes(reply.body)[1:]
    client, _ = harness.fake(evolve(reply, body=body))

    assert client.generate("A fox", size="1024x640", quality="low").usage.total_tokens == 206


def test_an_id_that_is_none(tmp_path: Path, harness: Harness) -> None:
    """A header of megabytes or control characters is no id of a request."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    reply = answer(BYTES)
    client, _ = harness.fake(
        evolve(reply, headers={**reply.headers, "x-request-id": "a\x00" + "b" * 10**6}),
        ledger=ledger,
    )

    assert client.generate("A fox", size="1024x640", quality="low").request_id is None
    assert [row.request_id for row in ledger.rows()] == [None]


def test_whatever_the_reading_raises_carries_the_reply(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A surprise nobody thought of is an error that still holds what was paid for."""

    def surprised(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a surprise")

    monkeypatch.setattr("gptimage.engine.config.parse_response", surprised)
    reply = answer(BYTES)
    client, _ = harness.fake(reply)
    with pytest.raises(MalformedReplyError, match="a surprise") as caught:
        client.generate("A fox", size="1024x640", quality="low")

    assert json.loads(caught.value.reply)["usage"] == USAGE


def test_a_ledger_that_raises_anything_costs_no_picture(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Accounting comes after the image: whatever it raises is a warning."""
    ledger = Ledger(tmp_path / "ledger.sqlite")

    def broken(*_: object) -> None:
        raise OverflowError("too large")

    monkeypatch.setattr(ledger, "end", broken)
    client, _ = harness.fake(answer(BYTES), ledger=ledger)
    result = client.generate("A fox", size="1024x640", quality="low")

    assert any("too large; the call went on" in note for note in result.warnings)


def test_a_misspelt_model_is_told_the_right_one(harness: Harness) -> None:
    """The service's 404 says only that there is no such model; the catalogue knows one alike."""
    client, _ = harness.fake(failure(404, message="The model does not exist"))
    with pytest.raises(gptimage.NotFoundError, match=r"did you mean model='gpt-image-2.5-flare'"):
        client.generate("A fox", model="gpt-image-2.5-flair")
    with pytest.raises(gptimage.NotFoundError) as caught:
        client.generate("A fox", model="my-own-model")

    assert "did you mean" not in str(caught.value)


def test_a_misspelt_model_is_told_the_right_one_once() -> None:
    """A 404 that names the model already brings models like it."""
    with pytest.raises(gptimage.NotFoundError) as caught:
        gptimage.ImageClient.sandbox().generate("A fox", model="gpt-image-2.5-flair")

    assert str(caught.value).count("did you mean") == 1
    assert "gpt-image-2.5-flare" in str(caught.value)
