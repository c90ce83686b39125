"""Many at once: nothing is lost, nothing is paid twice, and memory stays flat."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from PIL import Image as PilImage

from gptimage import (
    AsyncImageClient,
    ConfigurationError,
    FetchError,
    Generate,
    ImageClient,
    InvalidRequestError,
    MalformedReplyError,
    ModerationError,
    OutcomeUnknownError,
    Prompt,
    Retry,
)
from gptimage.bulk import Item, Progress
from gptimage.cache import MemoryCache
from gptimage.errors import BudgetExceededError, StoreError
from gptimage.limits import Limits
from gptimage.sandbox import Sandbox
from gptimage.store import Store
from gptimage.transport.http import HttpReply, HttpRequest
from tests.bulk.conftest import URL, AsyncSending, Both, Sending
from tests.bulk.helpers import Clock, Strict, refused


SMALL: dict[str, Any] = {"size": "1024x1024", "quality": "low"}


def png() -> str:
    """A small image as base64."""
    file = io.BytesIO()
    PilImage.new("RGB", (16, 16), "teal").save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


PNG = png()


def answer(request: HttpRequest) -> HttpReply:
    """A reply with one small image, whatever was asked."""
    del request
    return HttpReply(status=200, body=json.dumps({"data": [{"b64_json": PNG}]}).encode())


def requests(count: int) -> list[dict[str, Any]]:
    """Requests that are all different."""
    return [{"prompt": f"A red fox, number {index}", **SMALL} for index in range(count)]


def statuses(path: Path) -> dict[int, str]:
    """The last status of every item in a checkpoint."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {line["index"]: line["status"] for line in lines}


def test_every_request_gets_its_item(both: Both) -> None:
    """Each index comes once, with the images of its own request."""
    items = both.many(both.client(answer), requests(50), concurrency=7)

    assert sorted(item.index for item in items) == list(range(50))
    assert all(item.result and item.error is None and not item.resumed for item in items)
    prompts = {item.index: item.result.request.prompt for item in items if item.result}
    assert prompts == {index: f"A red fox, number {index}" for index in range(50)}


def test_all_ways_to_ask(both: Both) -> None:
    """A prompt, a template's prompt, arguments for a drawing or an edit, and a value all work."""
    sandbox = Sandbox()
    picture = ImageClient.sandbox().generate("A fox", size="1024x1024").image
    asked = [
        "A fox",
        Prompt("A fox", size="1536x1024"),
        {"prompt": "A fox", "n": 2, "size": (1024, 1024)},
        {"prompt": "Add a hat", "images": [picture]},
        Generate(prompt="A fox", model="gpt-image-2"),
    ]

    items = both.many(both.sandbox(sandbox), asked)

    results = {item.index: item.result for item in items}
    assert [len(results[index].images) for index in range(5)] == [1, 1, 2, 1, 1]  # type: ignore[union-attr]  # a failure shows here
    assert results[1] is not None
    assert results[1].image.size == (1536, 1024)
    paths = Counter(request.path for request in sandbox.requests)
    assert paths == {"/images/generations": 4, "/images/edits": 1}
    assert [item.request for item in sorted(items, key=lambda item: item.index)] == asked


def test_one_failure_loses_nothing(both: Both) -> None:
    """What fails, in whichever way, is an item with its error; the others are drawn."""
    asked: list[Any] = [
        "A fox",
        "A fox [sandbox:moderation]",
        {"prompt": "A fox", "colour": "red"},
        {"size": "1024x1024"},
        {"prompt": "A hat", "images": ["https://127.0.0.1/fox.png"]},
        42,
        "A fox [sandbox:cut]",
        "A hen",
    ]

    items = both.many(both.sandbox(), asked, concurrency=3)

    errors = {item.index: type(item.error) for item in items}
    nothing = type(None)
    assert errors == {
        0: nothing,
        1: ModerationError,
        2: InvalidRequestError,
        3: InvalidRequestError,
        4: FetchError,
        5: InvalidRequestError,
        6: OutcomeUnknownError,
        7: nothing,
    }
    assert [item.result is None for item in items] == [item.error is not None for item in items]


def test_items_come_as_they_finish(both: Both) -> None:
    """A slow request does not keep quick ones waiting."""
    late = threading.Event()

    def send(request: HttpRequest) -> HttpReply:
        if request.body["prompt"] == "slow":
            assert late.wait(60)
        return answer(request)

    def take(item: Item) -> None:
        if item.index == 9:
            late.set()

    items = both.many(
        both.client(send), ["slow", *(f"{index}" for index in range(9))], concurrency=2, take=take
    )

    assert items[-1].index == 0


def test_never_more_than_asked_at_once(both: Both) -> None:
    """As many calls as allowed are open, and no more."""
    opened, most, lock, full = 0, 0, threading.Lock(), threading.Event()

    def send(request: HttpRequest) -> HttpReply:
        nonlocal opened, most
        with lock:
            opened += 1
            most = max(most, opened)
            if opened == 4:
                full.set()
        assert full.wait(60)  # a busy machine may start the fourth late
        time.sleep(0.02)  # in which a fifth would come
        with lock:
            opened -= 1
        return answer(request)

    both.many(both.client(send), requests(20), concurrency=4)

    assert most == 4


def test_a_slow_reader_slows_the_asking(both: Both) -> None:
    """Requests are read only while fewer than twice the concurrency are alive."""
    read, taken, ahead = 0, 0, []

    def source() -> Iterator[str]:
        nonlocal read
        for index in range(60):
            read += 1
            yield f"A fox, number {index}"

    def take(item: Item) -> None:
        nonlocal taken
        del item
        taken += 1
        time.sleep(0.005)
        ahead.append(read - taken)

    both.many(both.client(answer), source(), concurrency=3, take=take)

    assert read == taken == 60
    assert max(ahead) <= 2 * 3


@pytest.mark.parametrize("concurrency", [0, -1])
def test_nonsense_is_refused_at_once(both: Both, concurrency: int) -> None:
    """No concurrency, or one prompt in place of many, is refused before anything is read."""
    client = both.client(answer)

    with pytest.raises(InvalidRequestError, match="concurrency"):
        client.generate_many(["A fox"], concurrency=concurrency)
    with pytest.raises(InvalidRequestError, match="not one"):
        client.generate_many("A fox")


def test_requests_that_break_off(both: Both) -> None:
    """When the requests themselves fail, those that were sent are finished first."""
    sent: list[str] = []

    def send(request: HttpRequest) -> HttpReply:
        time.sleep(0.01)
        sent.append(str(request.body["prompt"]))
        return answer(request)

    def source() -> Iterator[str]:
        yield "one"
        yield "two"
        raise RuntimeError("the database went away")

    with pytest.raises(RuntimeError, match="went away"):
        both.many(both.client(send), source(), concurrency=2)
    assert sorted(sent) in ([], ["one"], ["one", "two"], ["two"])


def test_progress_is_told(both: Both) -> None:
    """A function learns of every item, with counts and money."""
    told: list[Progress] = []
    asked = [*requests(3), "A fox [sandbox:moderation]"]

    both.many(both.sandbox(), asked, progress=told.append, concurrency=1)

    assert [each.finished for each in told] == [1, 2, 3, 4]
    assert (told[-1].done, told[-1].failed, told[-1].total) == (3, 1, 4)
    assert told[-1].spent > Decimal(0)
    assert told[-1].eta == 0
    assert told[0].eta


@pytest.mark.parametrize(
    ("per_minute", "finished", "seconds", "eta"),
    [
        (None, 5, 10.0, 190.0),  # 95 at the rate so far
        (5, 5, 10.0, 1080.0),  # 90 wait for their minute: 18 minutes
        (5, 97, 1200.0, 3 / (97 / 1200)),  # the last ones go out at once
        (1000, 5, 10.0, 190.0),
    ],
)
def test_the_time_left_respects_limits(
    per_minute: int | None, finished: int, seconds: float, eta: float
) -> None:
    """A first minute in which much goes out at once promises nothing for the rest."""
    progress = Progress(total=100, done=finished, seconds=seconds, per_minute=per_minute)

    assert progress.eta == pytest.approx(eta)


def test_progress_knows_the_limits(both: Both) -> None:
    """Those that were set, and those the service states."""
    told: list[Progress] = []

    def stating(request: HttpRequest) -> HttpReply:
        return evolve(answer(request), headers={"x-ratelimit-limit-requests": "40"})

    for send, limits in (
        (answer, None),
        (answer, Limits(images_per_minute=90)),
        (stating, Limits()),
    ):
        settings = {"limits": limits} if limits else {}
        both.many(both.client(send, **settings), requests(1), progress=told.append)

    assert [each.per_minute for each in told] == [None, 90, 40]


def test_progress_is_shown(both: Both, capsys: pytest.CaptureFixture[str]) -> None:
    """Shown progress goes to standard error and ends with the whole count."""
    both.many(both.sandbox(), requests(3), progress=True)

    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[-1].startswith("3 of 3 · ")


def test_a_second_run_does_what_is_missing(both: Both, tmp_path: Path) -> None:
    """What was done stays done, what failed is tried again, and nothing is asked twice."""
    path, seen = tmp_path / "run.jsonl", Counter[str]()
    broken = {"A red fox, number 3"}

    def send(request: HttpRequest) -> HttpReply:
        prompt = str(request.body["prompt"])
        seen[prompt] += 1
        if prompt in broken:
            return HttpReply(status=400, body=b'{"error": {"message": "no"}}')
        return answer(request)

    client = both.client(send)
    both.many(client, requests(10), checkpoint=path)
    assert statuses(path) == {index: "failed" if index == 3 else "done" for index in range(10)}
    broken.clear()
    second = both.many(client, requests(12), checkpoint=path)
    third = both.many(client, requests(12), checkpoint=path)

    assert sorted(item.index for item in second) == [3, 10, 11]
    assert third == []
    assert seen.pop("A red fox, number 3") == 2
    assert set(seen.values()) == {1}


def test_a_store_gives_earlier_results(both: Both, tmp_path: Path) -> None:
    """With a store, a second run yields what is there, without asking and without cost."""
    path = tmp_path / "run.jsonl"
    with Store(tmp_path / "store") as store:
        sandbox = Sandbox()
        client = both.sandbox(sandbox, store=store)
        first = both.many(client, requests(3), checkpoint=path)
        told: list[Progress] = []
        second = both.many(client, requests(4), checkpoint=path, progress=told.append)

        assert len(sandbox.requests) == 4
        drawn = {item.index: item.result for item in first}
        again = {item.index: item.result for item in second}
        for index in range(3):
            old, new = drawn[index], again[index]
            assert old is not None
            assert new is not None
            assert new.image.data == old.image.data
            assert new.stored == old.stored
            assert new.request == old.request
            assert (new.cached, new.cost) == (True, 0)
        assert sorted(item.index for item in second if item.resumed) == [0, 1, 2]
        assert (told[-1].resumed, told[-1].done) == (3, 1)


def test_pictures_not_taken_are_not_done(both: Both, tmp_path: Path) -> None:
    """An image in memory counts as done only once the caller has gone on from it."""
    path = tmp_path / "run.jsonl"

    def take(item: Item) -> None:
        assert item.index in statuses(path)
        assert statuses(path)[item.index] == "answered"
        if item.index == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        both.many(both.client(answer), requests(2), checkpoint=path, concurrency=1, take=take)

    assert statuses(path) == {0: "done", 1: "answered"}


def test_what_may_be_billed_is_not_repeated_silently(both: Both, tmp_path: Path) -> None:
    """Unknown outcomes are errors again in every later run, until asking again is allowed."""
    path, sandbox = tmp_path / "run.jsonl", Sandbox()
    client = both.sandbox(sandbox)
    sandbox.fail_next("cut")

    both.many(client, requests(1), checkpoint=path)
    assert statuses(path) == {0: "unknown"}
    (again,) = both.many(client, requests(1), checkpoint=path)
    assert isinstance(again.error, OutcomeUnknownError)
    assert again.error.possible_cost
    assert "retry_unknown" in str(again.error)
    assert len(sandbox.requests) == 1
    (last,) = both.many(client, requests(1), checkpoint=path, retry_unknown=True)

    assert last.result is not None
    assert len(sandbox.requests) == 2
    assert statuses(path) == {0: "done"}


@pytest.mark.parametrize("status", ["begun", "answered"])
def test_a_crash_in_flight_is_unknown(both: Both, tmp_path: Path, status: str) -> None:
    """What was being asked when a run was killed is reported, not asked again."""
    path, sandbox = tmp_path / "run.jsonl", Sandbox()
    client = both.sandbox(sandbox)
    both.many(client, requests(1), checkpoint=path)
    lines = path.read_text().splitlines(keepends=True)
    kept = next(place for place, line in enumerate(lines, 1) if f'"{status}"' in line)
    path.write_text("".join(lines[:kept]))

    (item,) = both.many(client, requests(1), checkpoint=path)

    assert isinstance(item.error, OutcomeUnknownError)
    assert item.resumed
    assert len(sandbox.requests) == 1


def test_an_earlier_failure_says_once_what_it_may_have_cost(both: Both, tmp_path: Path) -> None:
    """The message of the earlier run names the amount already."""
    path, sandbox = tmp_path / "run.jsonl", Sandbox()
    client = both.sandbox(sandbox)
    sandbox.fail_next("cut")
    both.many(client, requests(1), checkpoint=path)

    (item,) = both.many(client, requests(1), checkpoint=path)

    assert str(item.error).count("it may have been billed up to") == 1
    assert len(sandbox.requests) == 1


def test_a_reply_that_cannot_be_read_is_looked_at_again(both: Both, tmp_path: Path) -> None:
    """It stays in the spool, where a later run, perhaps of a newer version, finds it."""
    path, readable = tmp_path / "run.jsonl", PNG
    unknown = base64.b64encode(b"a format of tomorrow" * 100).decode()
    asked: list[HttpRequest] = []

    def service(request: HttpRequest) -> HttpReply:
        asked.append(request)
        return evolve(
            answer(request), body=answer(request).body.replace(readable.encode(), unknown.encode())
        )

    (first,) = both.many(both.client(service), requests(1), checkpoint=path)
    assert isinstance(first.error, MalformedReplyError)
    assert first.error.saved_to is not None
    waiting = Path(first.error.saved_to)
    waiting.write_bytes(waiting.read_bytes().replace(unknown.encode(), readable.encode()))

    (second,) = both.many(both.client(service), requests(1), checkpoint=path)

    assert second.result is not None
    assert second.result.image.format == "png"
    assert len(asked) == 1


def test_a_cache_settles_the_unknown(both: Both, tmp_path: Path) -> None:
    """When the cache knows the answer, an interrupted item is finished at no cost."""
    path, sandbox = tmp_path / "run.jsonl", Sandbox()
    client = both.sandbox(sandbox, cache=MemoryCache())
    both.many(client, requests(1), checkpoint=path)
    path.write_text(path.read_text().splitlines(keepends=True)[0])

    (item,) = both.many(client, requests(1), checkpoint=path)

    assert item.result is not None
    assert item.result.cost == 0
    assert len(sandbox.requests) == 1


def test_a_checkpoint_of_other_requests_is_refused(both: Both, tmp_path: Path) -> None:
    """A run never pays for a shifted list: it stops before it sends the request in question."""
    path, sandbox = tmp_path / "run.jsonl", Sandbox()
    client = both.sandbox(sandbox)
    both.many(client, requests(3), checkpoint=path)

    with pytest.raises(ConfigurationError, match="other requests"):
        both.many(client, requests(4)[1:], checkpoint=path, concurrency=1)

    assert len(sandbox.requests) == 3


def test_a_failed_save_is_not_done(
    both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image the store could not save is in the error, and the next run saves it at no cost."""
    path, sandbox = tmp_path / "run.jsonl", Sandbox()
    with Store(tmp_path / "store") as store:
        client = both.sandbox(sandbox, store=store)

        def fail(*_: object, **__: object) -> None:
            raise StoreError("the disk is full")

        save = store.save
        monkeypatch.setattr(store, "save", fail)
        (item,) = both.many(client, requests(1), checkpoint=path)
        assert isinstance(item.error, StoreError)
        assert item.error.result is not None
        before = statuses(path)
        monkeypatch.setattr(store, "save", save)
        (again,) = both.many(client, requests(1), checkpoint=path)

    assert before == {0: "unknown"}
    assert again.resumed
    assert again.result is not None
    assert again.result.cost == 0
    assert again.result.image.data == item.error.result.image.data
    assert statuses(path) == {0: "done"}
    assert len(sandbox.requests) == 1


def test_tags_reach_the_store(both: Both, tmp_path: Path) -> None:
    """Tags of the run and of a request are both on its images."""
    with Store(tmp_path) as store:
        client = both.sandbox(store=store)
        items = both.many(client, [{"prompt": "A fox", "tags": ["fox"]}], tags=["zoo"])

    (result,) = (item.result for item in items)
    assert result is not None
    assert result.stored[0].tags == ("fox", "zoo")


def test_closing_waits_for_what_was_sent(both: Both, tmp_path: Path) -> None:
    """Leaving the loop sends nothing new, and loses nothing that was sent."""
    path, seen, lock = tmp_path / "run.jsonl", 0, threading.Lock()

    def send(request: HttpRequest) -> HttpReply:
        nonlocal seen
        with lock:
            seen += 1
        time.sleep(0.05)
        return answer(request)

    def take(item: Item) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        both.many(both.client(send), requests(40), checkpoint=path, concurrency=4, take=take)
    begun = sum('"begun"' in line for line in path.read_text().splitlines())

    assert begun == seen <= 8
    assert set(statuses(path).values()) == {"answered"}


def test_cancelling_leaves_a_checkpoint_to_go_on_with(tmp_path: Path) -> None:
    """A cancelled task stops at once; what was in flight is unknown, the rest is done later."""
    path = tmp_path / "run.jsonl"

    class Stuck(AsyncSending):
        """Answers the first eight, and then nobody."""

        stuck = 0

        async def send(self, request: HttpRequest) -> HttpReply:
            if int(str(request.body["prompt"]).split()[-1]) >= 8:
                self.stuck += 1
                arrived.set()
                await asyncio.Event().wait()
            return answer(request)

    found: list[int] = []
    arrived = asyncio.Event()

    async def first() -> None:
        transport = Stuck(answer)
        client = AsyncImageClient(transport=transport, base_url=URL)

        async def collect() -> None:
            async for item in client.generate_many(requests(30), checkpoint=path, concurrency=3):
                found.append(item.index)
                arrived.set()

        task = asyncio.create_task(collect())
        while (len(found), transport.stuck) != (8, 3):
            await arrived.wait()
            arrived.clear()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(first())
    counted = Counter(statuses(path).values())
    both = Both("async")
    rest = both.many(both.client(answer), requests(30), checkpoint=path)

    assert sorted(found) == list(range(8))
    assert counted == {"done": 8, "begun": 3}
    unknown = [item for item in rest if item.error is not None]
    assert all(isinstance(item.error, OutcomeUnknownError) for item in unknown)
    assert len(unknown) == 3
    assert sorted([*found, *(item.index for item in rest)]) == list(range(30))


def test_requests_may_be_async() -> None:
    """The async client reads async requests, and slow ones do not hold results back."""
    order: list[object] = []

    async def collect() -> None:
        drawn = asyncio.Event()

        async def source() -> AsyncIterator[str]:
            yield "A fox"
            await drawn.wait()
            yield "A hen"

        client = AsyncImageClient(transport=AsyncSending(answer), base_url=URL)
        async for item in client.generate_many(source()):
            order.append(item.request)
            drawn.set()

    asyncio.run(asyncio.wait_for(collect(), 60))

    assert order == ["A fox", "A hen"]


def test_requests_may_depend_on_results() -> None:
    """In threads, too, a result is handed over before the request after the next is read."""
    taken: list[int] = []

    def source() -> Iterator[str]:
        for index in range(10):
            assert len(taken) >= index - 4
            yield f"A fox, number {index}"

    client = ImageClient(transport=Sending(answer), base_url=URL)
    with closing(client.generate_many(source(), concurrency=2)) as items:
        taken.extend(item.index for item in items)

    assert sorted(taken) == list(range(10))


def test_what_was_never_sent_is_tried_again(both: Both, tmp_path: Path) -> None:
    """A request the budget stopped costs nothing, and a later run asks for it."""
    path, stops = tmp_path / "run.jsonl", [True]

    def send(request: HttpRequest) -> HttpReply:
        if stops:
            stops.clear()
            raise BudgetExceededError("no", estimate=None, limit=Decimal(1), spent=Decimal(1))
        return answer(request)

    (first,) = both.many(both.client(send), requests(1), checkpoint=path)
    (second,) = both.many(both.client(send), requests(1), checkpoint=path)

    assert isinstance(first.error, BudgetExceededError)
    assert second.result is not None


def test_clients_keep_to_their_limits(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client asks its limiter before every request and tells it of every reply."""
    clock, service = Clock(), Strict(5)
    limiter = Limits(images_per_minute=5).limiter()
    monkeypatch.setattr(limiter, "clock", clock)
    slept = pass_time(monkeypatch, clock)

    def send(request: HttpRequest) -> HttpReply:
        reply = service.answer(clock.now)
        return answer(request) if reply.status == 200 else reply

    items = both.many(both.client(send, limits=limiter), requests(12), concurrency=1)

    assert all(item.result for item in items)
    assert service.refusals == 0
    assert sum(slept) == pytest.approx(2 * 61, abs=1)


def test_clients_learn_from_refusals(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client without numbers learns them from a 429, and is refused once."""
    clock, replies = Clock(), [refused(1, 12)]
    limiter = Limits().limiter()
    monkeypatch.setattr(limiter, "clock", clock)
    slept = pass_time(monkeypatch, clock)

    def send(request: HttpRequest) -> HttpReply:
        return replies.pop() if replies else answer(request)

    client = both.client(send, limits=limiter, retry=Retry())
    items = both.many(client, requests(3), concurrency=1)

    assert all(item.result for item in items)
    assert sum(slept) == pytest.approx(3 * 61, abs=2)


def pass_time(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> list[float]:
    """Let sleeping clients wake at once, in made-up time; gives what they slept."""
    slept: list[float] = []
    real, nap = asyncio.sleep, time.sleep
    strangers = set(threading.enumerate()) - {threading.current_thread()}

    def sleep(seconds: float) -> None:
        if threading.current_thread() in strangers:  # left by another test: its time is real
            nap(seconds)
        else:
            slept.append(seconds)
            clock.now += seconds

    async def asleep(seconds: float) -> None:
        if seconds:
            sleep(seconds)
        await real(0)

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(asyncio, "sleep", asleep)
    return slept


@pytest.mark.parametrize(
    "requests",
    [{"prompt": "A fox"}, "A fox", b"A hen", Prompt("A fox"), Generate(prompt="A", model="m"), 3],
)
def test_one_request_alone_is_refused(both: Both, requests: Any) -> None:
    """Its keys or letters would be sent as prompts, and paid."""
    with pytest.raises(InvalidRequestError, match="list of requests") as caught:
        both.client(answer).generate_many(requests)
    assert caught.value.field == "requests"


@pytest.mark.parametrize(
    ("name", "value"), [("progress", "yes"), ("progress", 1), ("tags", ""), ("tags", 3)]
)
def test_a_setting_of_the_wrong_kind_is_refused(
    both: Both, tmp_path: Path, name: str, value: Any
) -> None:
    """Nothing is sent for a setting that would have no effect."""
    client = both.client(answer, store=Store(tmp_path / "store"))

    with pytest.raises(InvalidRequestError) as caught:
        client.generate_many(["A fox"], **{name: value})
    assert caught.value.field == name


@pytest.mark.parametrize("tags", ["", [""], 3, {"a": 1}])
def test_tags_of_a_request_are_checked(both: Both, tmp_path: Path, tags: Any) -> None:
    """An empty tag of one request is its error, as in `generate`."""
    client = both.client(answer, store=Store(tmp_path / "store"))

    (item,) = both.many(client, [{"prompt": "A fox", "tags": tags}])

    assert isinstance(item.error, InvalidRequestError)
    assert item.error.field == "tags"


def test_options_are_those_of_all_requests(both: Both) -> None:
    """What a request says itself goes first; None says nothing."""
    sandbox = Sandbox()
    requests = [
        "A fox",
        {"prompt": "A hen", "quality": "medium"},
        {"prompt": "A cow", "quality": None},
    ]

    items = both.many(
        both.sandbox(sandbox), requests, size="1024x640", quality="low", concurrency=1
    )

    assert [item.error for item in items] == [None] * 3
    bodies = [request.body for request in sandbox.requests]
    assert [body["size"] for body in bodies] == ["1024x640"] * 3
    assert [body["quality"] for body in bodies] == ["low", "medium", "low"]


def test_options_have_an_effect_or_are_refused(both: Both) -> None:
    """An unknown one is refused at once, one for a finished request with that request."""
    with pytest.raises(ConfigurationError, match=r"did you mean concurrency="):
        both.client(answer).generate_many(["A fox"], concurency=2)

    request = Generate(prompt="A fox", model="gpt-image-2")
    (item,) = both.many(both.client(answer), [request], quality="low")
    assert isinstance(item.error, InvalidRequestError)
    assert item.error.field == "quality"
