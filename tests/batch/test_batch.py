"""Batches from submission to results, against the sandbox's Batch API."""

from __future__ import annotations

import json
import warnings
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gptimage import (
    ConfigurationError,
    Image,
    ImageClient,
    InvalidRequestError,
    OutcomeUnknownError,
)
from gptimage.batch import Batch, BatchWarning
from gptimage.budget.budget import Budget
from gptimage.budget.ledger import Ledger
from gptimage.cache import Cache
from gptimage.errors import ApiError, BudgetExceededError, ModerationError, NotFoundError
from gptimage.sandbox import Sandbox
from gptimage.store import Store
from gptimage.transport.http import HttpReply, HttpRequest
from tests.batch.helpers import CHEAP, Clock, Damaging, Losing, Meddling, Recorder, fox, line, made


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between looks for a lost batch take no time."""
    monkeypatch.setattr("gptimage.batch.submit._SEARCH_DELAYS", (0.0, 0.0))


@pytest.fixture
def sandbox() -> Sandbox:
    """The service."""
    return Sandbox()


def test_round_trip_into_the_store(sandbox: Sandbox, tmp_path: Path) -> None:
    """Every request comes back with its index, is saved with its tags, and costs half."""
    store = Store(tmp_path / "store")
    asked = [fox(0), {**fox(1), "size": "1200x630", "tags": ["og"]}]
    batch = Batch.submit(line(sandbox, store=store), asked, state=tmp_path / "batch.json")

    status = batch.wait(poll=0)
    items = {item.index: item for item in batch.results()}

    assert (status.ended, status.total, status.completed, status.failed) == (True, 2, 2, 0)
    assert status.parts[0].error_file_id is None  # the service says "", which is no id
    assert {0, 1} == items.keys()
    first, second = items[0].result, items[1].result
    assert first is not None
    assert second is not None
    assert second.image.size == (1200, 630)
    assert tuple(second.stored[0].tags) == ("og",)
    assert first.usage is not None
    assert first.cost is not None
    assert first.cost.price is not None
    assert first.cost.price.batch
    assert Decimal(str(first.usage.output_tokens * 15)) / 1_000_000 <= first.cost.usd


def test_estimate_is_half(sandbox: Sandbox) -> None:
    """The estimate of a batch uses the price rows of batches."""
    client = line(sandbox)
    single = client.saver.core.plan_generate("Fox 0", CHEAP).estimate
    batch = Batch.submit(client, [fox(0)])

    assert single is not None
    assert batch.estimate == single.usd / 2


def test_edits_are_uploaded_once_and_named(sandbox: Sandbox) -> None:
    """The images of edits are uploaded for vision, equal ones once, and come back edited."""
    data = Image.from_bytes(_png())
    asked = [{"prompt": f"Edit {n}", "images": [data], "mask": data, **CHEAP} for n in range(2)]
    batch = Batch.submit(line(sandbox), asked)
    batch.wait(poll=0)

    uploads = [r for r in sandbox.requests if r.path == "/files" and r.method == "POST"]
    purposes = [r.body["purpose"] for r in uploads]
    body = json.loads(uploads[-1].files[0].data.splitlines()[0])["body"]
    assert [p for p in purposes if p != "vision"] == ["batch"]
    assert len(purposes) <= 3
    assert {"file_id"} == set(body["images"][0]) == set(body["mask"])
    assert [item.error for item in batch.results()] == [None, None]


def test_edits_with_moderation_are_uploaded_too(sandbox: Sandbox) -> None:
    """An edit that goes as JSON otherwise names uploaded files in a batch."""
    asked = [{"prompt": "Edit", "images": [Image.from_bytes(_png())], "moderation": "low", **CHEAP}]
    batch = Batch.submit(line(sandbox), asked)
    batch.wait(poll=0)

    (item,) = batch.results()

    assert item.error is None
    assert item.result
    assert item.result.request.moderation == "low"


def test_models_endpoints_and_limits_split(sandbox: Sandbox) -> None:
    """A batch holds one endpoint, one model, and no more lines and bytes than allowed."""
    asked = [fox(n) for n in range(5)]
    asked += [{**fox(9), "model": "gpt-image-2"}]
    batch = Batch.submit(line(sandbox), asked, max_lines=2)
    batch.wait(poll=0)

    assert 4 == len(batch.ids) == len(set(batch.ids))
    assert list(range(6)) == sorted(item.index or 0 for item in batch.results())

    small = Batch.submit(line(Sandbox()), asked[:5], max_bytes=300)

    assert 3 <= len(small.ids) <= 5


def test_one_failure_does_not_lose_the_others(sandbox: Sandbox) -> None:
    """A refused request is an error item; the rest has images."""
    asked = [fox(0), {**fox(1), "prompt": "[sandbox:moderation] Fox"}, fox(2)]
    batch = Batch.submit(line(sandbox), asked)
    batch.wait(poll=0)

    items = {item.index: item for item in batch.results()}

    assert isinstance(items[1].error, ModerationError), items[1]
    assert items[0].result
    assert items[2].result


def test_expired_and_cancelled_batches_give_what_they_have(sandbox: Sandbox) -> None:
    """What was drawn is handed over, and everything else says why it was not."""
    sandbox.batches.lines_per_look = 1
    for end, code in (("expire", "batch_expired"), ("cancel", "batch_cancelled")):
        batch = Batch.submit(line(sandbox), [fox(n) for n in range(3)])
        while batch.status().completed < 1:
            pass
        sandbox.batches.expire() if end == "expire" else batch.cancel()
        batch.wait(poll=0)

        items = list(batch.results())

        assert len(items) == 3
        errors = [item.error for item in items if item.error]
        assert 1 <= len(errors) < 3
        assert {code} == {e.code for e in errors if isinstance(e, ApiError)}


def test_results_before_the_end_are_refused(sandbox: Sandbox) -> None:
    """Results of a batch that has not ended are an error, not an empty list."""
    batch = Batch.submit(line(sandbox), [fox(0)])

    with pytest.raises(InvalidRequestError, match="wait"):
        list(batch.results())


def test_results_twice_save_once(sandbox: Sandbox, tmp_path: Path) -> None:
    """Reading the results again finds the images in the store."""
    store = Store(tmp_path / "store")
    batch = Batch.submit(line(sandbox, store=store), [fox(0)])
    batch.wait(poll=0)

    one, two = (next(iter(batch.results())).result for _ in range(2))

    assert one
    assert two
    assert one.stored[0].id == two.stored[0].id


def test_equal_pictures_of_two_requests_are_two(sandbox: Sandbox, tmp_path: Path) -> None:
    """Requests that happen to get the same bytes each have a record, however often it is read."""
    store = Store(tmp_path / "store")
    asked = [{**fox(0), "tags": ["one"]}, {**fox(0), "tags": ["two"]}]
    batch = Batch.submit(line(sandbox, store=store), asked)
    batch.wait(poll=0)

    first, again = (
        {item.index: item.result.stored[0] for item in batch.results() if item.result}
        for _ in range(2)
    )

    assert first[0].sha256 == first[1].sha256
    assert [tuple(first[n].tags) for n in (0, 1)] == [("one",), ("two",)]
    assert {n: record.id for n, record in again.items()} == {n: r.id for n, r in first.items()}


def test_results_that_are_gone_are_said_so(sandbox: Sandbox) -> None:
    """Files the service has thrown away are no puzzle: the error says how long it keeps them."""

    def gone(request: HttpRequest) -> HttpReply | None:
        return HttpReply(status=404) if request.path.endswith("/content") else None

    batch = Batch.submit(line(sandbox, transport=Meddling(sandbox, gone)), [fox(0)])
    batch.wait(poll=0)

    with pytest.raises(NotFoundError, match="30 days"):
        list(batch.results())


@pytest.mark.parametrize(
    ("requests", "match"),
    [
        ("A fox", "not one"),
        ({"prompt": "A fox"}, "not one"),
        ([], "at least one"),
        ([fox(0), {**fox(1), "tags": [""]}], "request 1: .*tag"),
        ([{**fox(0), "partial_images": 1}], "request 0"),
    ],
    ids=["a prompt", "a dict", "nothing", "a tag", "streaming"],
)
def test_wrong_requests_are_refused_before_anything_is_sent(
    sandbox: Sandbox, requests: Any, match: str
) -> None:
    """What would fail later, or be charged for and be lost, is refused now."""
    with pytest.raises(InvalidRequestError, match=match):
        Batch.submit(line(sandbox), requests)

    assert sandbox.requests == []


def test_same_state_never_submits_twice(sandbox: Sandbox, tmp_path: Path) -> None:
    """Running the same script again goes on with its batch; other requests are refused."""
    file = tmp_path / "batch.json"
    first = Batch.submit(line(sandbox), [fox(0)], state=file)
    again = Batch.submit(line(sandbox), [fox(0)], state=file)

    assert first.ids == again.ids == Batch.open(line(sandbox), file).ids
    assert len(made(sandbox)) == 1
    with pytest.raises(ConfigurationError, match="other requests"):
        Batch.submit(line(sandbox), [fox(1)], state=file)
    with pytest.raises(ConfigurationError, match="other requests"):
        Batch.submit(line(sandbox), [{**fox(0), "tags": ["new"]}], state=file)
    with pytest.raises(ConfigurationError, match="other metadata"):
        Batch.submit(line(sandbox), [fox(0)], state=file, metadata={"for": "me"})


def test_lost_answer_is_looked_up(sandbox: Sandbox, tmp_path: Path) -> None:
    """A batch whose answer was lost is found among the service's batches."""
    way = Losing(sandbox, path="/batches")
    batch = Batch.submit(line(sandbox, transport=way), [fox(0)], state=tmp_path / "b.json")
    batch.wait(poll=0)

    assert len(made(sandbox)) == 1
    assert [item.error for item in batch.results()] == [None]


def test_undecided_batch_is_sent_again_only_when_surely_not_accepted(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """Not listed right away is undecided; not listed ten minutes later was never accepted."""
    file, clock = tmp_path / "b.json", Clock()
    way = Losing(sandbox, path="/batches", served=False)
    client = line(sandbox, transport=way, clock=clock)

    with pytest.raises(OutcomeUnknownError):
        Batch.submit(client, [fox(0)], state=file)
    with pytest.raises(OutcomeUnknownError):
        Batch.open(client, file).status()
    assert len(made(sandbox)) == 0
    clock.now += timedelta(minutes=11)
    Batch.open(client, file).wait(poll=0)

    assert len(made(sandbox)) == 1


def test_by_id_alone(sandbox: Sandbox) -> None:
    """A batch of which nothing is known here is read from its own input file."""
    batch_id = Batch.submit(line(sandbox), [fox(0), fox(1)]).ids[0]
    other = Batch.open(line(sandbox), batch_id)
    other.wait(poll=0)

    prompts = {item.result.request.prompt for item in other.results() if item.result}

    assert {"Fox 0", "Fox 1"} == prompts


def test_refused_file_is_an_error_of_each_request(sandbox: Sandbox) -> None:
    """When the service refuses the file, every item says why."""
    batch = Batch.submit(line(sandbox, transport=Damaging(sandbox)), [fox(0)])
    batch.wait(poll=0)

    (item,) = batch.results()

    assert "line 1" in str(item.error)


def test_no_error_of_a_result_has_its_prompt(sandbox: Sandbox) -> None:
    """What the service says of a request is shown without the prompt that it quotes."""
    prompt = "A poster of a launch that nobody knows of yet"

    def refuse(request: HttpRequest) -> HttpReply | None:
        if not request.path.endswith("/content"):
            return None
        error = {"message": f"Your prompt '{prompt}' was refused", "code": "moderation_blocked"}
        output = {"response": {"status_code": 400, "body": {"error": error}}, "custom_id": "0"}
        return HttpReply(status=200, body=json.dumps(output).encode())

    recorder = Recorder()
    client = line(sandbox, transport=Meddling(sandbox, refuse), observers=[recorder])
    batch = Batch.submit(client, [{"prompt": prompt, **CHEAP}])
    batch.wait(poll=0)
    (item,) = batch.results()

    assert isinstance(item.error, ModerationError)
    assert "Your prompt '<prompt>' was refused" in str(item.error)
    assert prompt not in f"{item.error.body} {recorder.events}"


def test_budget_and_ledger(sandbox: Sandbox, tmp_path: Path) -> None:
    """The maximum is reserved before anything is submitted, and the cost settles it."""
    ledger = Ledger(tmp_path / "spend.sqlite")
    client = line(sandbox, budget=Budget(Decimal("0.01"), per="total", ledger=ledger))
    batch = Batch.submit(client, [fox(0)], state=tmp_path / "a.json")
    batch.wait(poll=0)
    cost = sum(item.result.cost.usd for item in batch.results() if item.result and item.result.cost)
    total = ledger.summary("operation").total

    assert (1, 1, cost) == (total.calls, total.images, total.cost)
    with pytest.raises(BudgetExceededError):
        Batch.submit(client, [fox(n) for n in range(9)], state=tmp_path / "b.json")
    assert len(made(sandbox)) == 1


def test_responses_go_into_the_cache() -> None:
    """What a batch drew is not paid for once more by an ordinary call."""
    with ImageClient.sandbox(cache=Cache.memory()) as client:
        batch = client.submit_batch([fox(0)])
        batch.wait(poll=0)
        (item,) = batch.results()
        again = client.generate(**fox(0))

    assert item.result is not None
    assert (again.cached, again.image.sha256) == (True, item.result.image.sha256)


def _png() -> bytes:
    import io

    from PIL import Image as PilImage

    file = io.BytesIO()
    image = PilImage.new("RGBA", (1024, 1024), "teal")
    image.paste((0, 0, 0, 0), (8, 8, 512, 512))
    image.save(file, "png")
    return file.getvalue()


def test_a_model_without_batches_is_told_before_and_fails_after(tmp_path: Path) -> None:
    """The warning comes before anything is uploaded; the sandbox fails it as the service does."""
    sandbox = Sandbox()
    told: list[int] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda *_, **__: told.append(len(sandbox.requests))
        asked = {**fox(0), "model": "gpt-image-2.6-flare"}
        batch = Batch.submit(line(sandbox), [asked], state=tmp_path / "b.json")
    status = batch.wait(poll=0)

    assert told == [0]
    assert status.state == "failed"


def test_the_warning_of_a_model_without_batches_names_one_with_them(tmp_path: Path) -> None:
    """Whoever reads it knows what to ask for instead."""
    sentence = (
        "gpt-image-2.6-flare has no batches as far as is known, so this one will fail; "
        "gpt-image-2.5-flare has them"
    )
    asked = [{**fox(number), "model": "gpt-image-2.6-flare"} for number in range(2)]
    with pytest.warns(BatchWarning) as caught:
        Batch.submit(line(Sandbox()), asked, state=tmp_path / "b.json")

    assert [str(each.message) for each in caught] == [sentence]
