"""The promises of the library, with every provider that the sandbox can stand in for."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gptimage import (
    ApiError,
    AsyncImageClient,
    Budget,
    BudgetExceededError,
    Cache,
    ImageClient,
    InvalidRequestError,
    Ledger,
    MalformedReplyError,
    ModerationError,
    OutcomeUnknownError,
    Retry,
    Store,
    StoreError,
)
from gptimage.observers.events import Event
from gptimage.providers import names
from gptimage.sandbox import Sandbox
from gptimage.sandbox.dialect import PROVIDERS
from gptimage.transport.http import HttpReply


class Case(NamedTuple):
    """What is asked of one provider, and what the answer has."""

    model: str
    priced: bool = True
    options: dict[str, Any] = {}  # noqa: RUF012  # never changed


CASES = {
    "openai": Case("gpt-image-2.5-flare", options={"quality": "low"}),
    "azure": Case("gpt-image-2.5-flare", options={"quality": "low"}),
    "gemini": Case("gemini-3-pro-image"),
    "openrouter": Case("openai/gpt-image-2.5-flare", options={"quality": "low"}),
    "together": Case("black-forest-labs/FLUX.1-schnell", priced=False),
    "xai": Case("grok-imagine-image-2.0"),
}
HERE = [name for name in PROVIDERS if name in names()]
pytestmark = pytest.mark.parametrize("name", HERE)
AT_ONCE = Retry(first_delay=0.0)


def ask(client: ImageClient, name: str, prompt: str = "A fox", **more: Any) -> Any:
    """One image of this provider's model, of 640 x 384 pixels."""
    case = CASES[name]
    return client.generate(
        prompt, **{"model": case.model, "size": "640x384", **case.options, **more}
    )


def full_name(name: str) -> str:
    """What the model is called in results: OpenAI's has its own name alone."""
    return CASES[name].model if name == "openai" else f"{name}/{CASES[name].model}"


def test_an_image_is_drawn_saved_entered_and_costed(name: str, tmp_path: Path) -> None:
    """Exactly the pixels asked for, under the model's full name in result, store and ledger."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    store = Store(tmp_path / "store")
    with ImageClient.sandbox(provider=name, store=store, ledger=ledger) as client:
        result = ask(client, name)
        [call] = ledger.rows()

    assert result.image.size == (640, 384)
    assert result.model == full_name(name) == result.stored[0].model == call.model
    assert (result.cost is not None) is CASES[name].priced
    assert (result.cost.usd if result.cost else None) == call.cost
    assert store.open(result.stored[0].id).data == result.image.data


def test_a_call_can_name_it_on_any_client(name: str) -> None:
    """``model="name/model"`` reaches it from a client of OpenAI, under the same name."""
    with ImageClient.sandbox() as client:
        result = ask(client, name, model=f"{name}/{CASES[name].model}")

    assert (result.model, result.image.size) == (full_name(name), (640, 384))


def test_an_edit_sends_the_image(name: str) -> None:
    """The input image is in the request, in the provider's own form."""
    sandbox = Sandbox(provider=name)  # type: ignore[arg-type]  # one of its names
    with ImageClient.sandbox(sandbox) as client:
        first = ask(client, name)
        second = client.edit("in blue", first.image, model=CASES[name].model)

    assert len(sandbox.requests) == 2
    assert second.image.size is not None


@pytest.mark.anyio
async def test_the_async_client_does_the_same(name: str) -> None:
    """Awaited, the same image comes out."""
    case = CASES[name]
    async with AsyncImageClient.sandbox(provider=name) as client:
        result = await client.generate("A fox", model=case.model, size="640x384", **case.options)

    assert (result.model, result.image.size) == (full_name(name), (640, 384))


def test_the_same_request_is_paid_once(name: str) -> None:
    """The cache has its reply: it costs nothing, and another provider's is another one."""
    sandbox = Sandbox(provider=name)  # type: ignore[arg-type]  # one of its names
    with ImageClient.sandbox(sandbox, cache=Cache.memory()) as client:
        first, second = ask(client, name), ask(client, name)

    assert (len(sandbox.requests), second.cached, second.cost) == (1, True, Decimal(0))
    assert first.image.data == second.image.data


def test_the_same_requests_at_once_are_one(name: str) -> None:
    """Four threads that ask for the same share one paid request, and all get its image."""
    sandbox = Sandbox(provider=name)  # type: ignore[arg-type]  # one of its names
    together = threading.Barrier(4)

    def draw(_: int) -> Any:
        together.wait(60)
        return ask(client, name)

    with (
        ImageClient.sandbox(sandbox, cache=Cache.memory()) as client,
        ThreadPoolExecutor(4) as threads,
    ):
        results = list(threads.map(draw, range(4)))

    assert len(sandbox.requests) == 1
    assert len({each.image.data for each in results}) == 1
    assert sorted(each.cached for each in results) == [False, True, True, True]


def test_events_name_the_provider(name: str) -> None:
    """Logs, metrics and traces tell services apart, by name and by the model's full name."""
    seen: list[Event] = []

    class Seen:
        def notify(self, event: Event) -> None:
            seen.append(event)

    with ImageClient.sandbox(provider=name, observers=[Seen()]) as client:
        ask(client, name)

    assert {(each.provider, each.model) for each in seen} == {(name, full_name(name))}


def test_a_stream_ends_with_the_image(name: str) -> None:
    """Where there are no previews, the whole reply is the end of the stream."""
    with ImageClient.sandbox(provider=name) as client:
        last: Any = list(client.stream("A fox", model=CASES[name].model, size="640x384"))[-1]

    assert last.result.image.size == (640, 384)


def test_many_are_drawn(name: str) -> None:
    """A run of many goes there as a single call does."""
    case = CASES[name]
    requests = [{"prompt": f"{k}", "model": case.model, **case.options} for k in range(3)]
    with ImageClient.sandbox(provider=name) as client:
        items = list(client.generate_many(requests))

    assert [each.result is not None for each in items] == [True] * 3


@pytest.mark.parametrize("scenario", ["cut", "unavailable", "html"])
def test_an_unknown_outcome_is_never_sent_again(name: str, scenario: Any, tmp_path: Path) -> None:
    """It may have been billed: one request, and the ledger says that nobody knows."""
    sandbox = Sandbox(provider=name)  # type: ignore[arg-type]  # one of its names
    sandbox.fail_next(scenario)
    ledger = Ledger(tmp_path / "ledger.sqlite")
    with ImageClient.sandbox(sandbox, retry=AT_ONCE, ledger=ledger) as client:
        with pytest.raises((OutcomeUnknownError, MalformedReplyError), match="billed"):
            ask(client, name)
        [call] = ledger.rows()

    assert (len(sandbox.requests), call.outcome) == (1, "unknown")


def test_a_refusal_that_passes_is_sent_again(name: str) -> None:
    """Too many requests in a minute cost nothing: the second try draws."""
    sandbox = Sandbox(provider=name)  # type: ignore[arg-type]  # one of its names
    sandbox.fail_next("rate_limit", retry_after=0.001)
    retry = Retry(first_delay=0.0, max_delay=120)
    with ImageClient.sandbox(sandbox, retry=retry) as client:
        result = ask(client, name)

    assert (len(sandbox.requests), result.image.size) == (2, (640, 384))


@pytest.mark.parametrize("scenario", ["quota", "unauthorized"])
def test_a_refusal_that_stays_is_an_error_at_once(name: str, scenario: Any) -> None:
    """No credit and no key are errors of the service, sent once, and nothing is billed."""
    sandbox = Sandbox(provider=name)  # type: ignore[arg-type]  # one of its names
    sandbox.fail_next(scenario)
    with ImageClient.sandbox(sandbox, retry=Retry(attempts=1)) as client, pytest.raises(ApiError):
        ask(client, name)

    assert len(sandbox.requests) == 1


def test_a_moderated_prompt_draws_nothing(name: str) -> None:
    """A refusal by the safety system is never a result; it is named where the service names it."""
    sandbox = Sandbox(provider=name)  # type: ignore[arg-type]  # one of its names
    sandbox.fail_next("moderation")
    expected = MalformedReplyError if name == "xai" else ModerationError  # it says nothing at all
    with ImageClient.sandbox(sandbox) as client, pytest.raises(expected):
        ask(client, name)

    assert len(sandbox.requests) == 1


def test_a_budget_holds_before_anything_is_sent(name: str) -> None:
    """What costs too much, or cannot be known to cost less, is not sent."""
    sandbox = Sandbox(provider=name)  # type: ignore[arg-type]  # one of its names
    budget = Budget(Decimal("0.0001"), per="day")
    with (
        ImageClient.sandbox(sandbox, budget=budget) as client,
        pytest.raises(BudgetExceededError),
    ):
        ask(client, name)

    assert sandbox.requests == []


def test_what_cannot_be_translated_is_not_lost(name: str) -> None:
    """A paid reply in a form nobody knows is carried by the error, byte by byte."""
    body = json.dumps({"surprise": [{"b64_json": "AAAA"}]}).encode()
    sandbox = Sandbox(provider=name)  # type: ignore[arg-type]  # one of its names
    sandbox.fail_next(HttpReply(status=200, body=body))
    with ImageClient.sandbox(sandbox) as client, pytest.raises(MalformedReplyError) as caught:
        ask(client, name)

    assert b"surprise" in caught.value.reply


def test_recovery_gives_the_result_of_the_call(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reply whose images could not be saved: same bytes, model, format, usage, cost and label."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "state"))
    more = {"format": "png", "size": "600x400"} if name in ("gemini", "together") else {}
    store = Store(tmp_path / "store")

    def broken(*_: object, **__: object) -> None:
        raise OSError("the disk is gone")

    with ImageClient.sandbox(provider=name, store=store) as client:
        with monkeypatch.context() as patch:
            patch.setattr(Store, "save", broken)
            with pytest.raises(StoreError) as caught:
                ask(client, name, **more)
        (found,) = store.recover(older_than=timedelta(0)).saved
    result: Any = caught.value.result

    assert (found.model, found.usage, found.cost) == (result.model, result.usage, result.cost)
    assert (found.sha256, found.format) == (result.image.sha256, result.image.format)
    assert (found.sandbox, found.original is not None) == (
        True, result.image.original is not None
    )  # fmt: skip


def test_a_batch_is_refused_where_there_is_none(name: str) -> None:
    """Nothing is uploaded to a service without the Batch API."""
    sandbox = Sandbox(provider=name)  # type: ignore[arg-type]  # one of its names
    with ImageClient.sandbox(sandbox, model=CASES[name].model) as client:
        if name in ("openai", "azure"):
            assert client.submit_batch(["A fox"]) is not None
        else:
            with pytest.raises(InvalidRequestError, match=r"no Batch API.*openai, azure"):
                client.submit_batch(["A fox"])
            assert sandbox.requests == []
