"""A run that ends early loses nothing that was paid: it comes from the spool in the next one."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gptimage import InvalidRequestError, OutcomeUnknownError, Retry
from gptimage.bulk import Item, Progress, Stop, UndeliveredError
from gptimage.bulk.checkpoint import Checkpoint, CheckpointLine
from gptimage.cache import Cache
from gptimage.sandbox import Sandbox
from gptimage.store import PendingReplies, Store
from gptimage.transport.http import HttpReply, HttpRequest
from tests.bulk.conftest import Both
from tests.bulk.test_many import answer


FOXES = [f"A fox, number {number}" for number in range(12)]


class Together:
    """A service that answers the first requests only when some have arrived."""

    def __init__(self, count: int) -> None:
        self.asked: list[str] = []
        self._all = threading.Event()
        self._count = count
        self._lock = threading.Lock()

    def __call__(self, request: HttpRequest) -> HttpReply:
        """The answer."""
        with self._lock:
            self.asked.append(str(request.body["prompt"]))
            if len(self.asked) >= self._count:
                self._all.set()
        assert self._all.wait(60)
        return answer(request)


def leave(item: Item) -> None:
    """What a loop that breaks off does with its first item."""
    raise KeyError(item.index)


def waiting() -> int:
    """How many replies are in the spool."""
    return len(PendingReplies().abandoned(older_than=timedelta(0)))


@pytest.mark.parametrize("kind", ["plain", "store", "cache"])
def test_the_next_run_has_what_was_paid(both: Both, tmp_path: Path, kind: str) -> None:
    """Each request is sent once; what was answered is resumed at no cost, images and all."""
    service, path = Together(4), tmp_path / "run.jsonl"
    settings: dict[str, Any] = {"plain": {}, "cache": {"cache": Cache.memory()}}.get(kind, {})
    if kind == "store":
        settings = {"store": Store(tmp_path / "pictures")}
    client = both.client(service, **settings)
    with pytest.raises(KeyError):
        both.many(client, FOXES, checkpoint=path, concurrency=4, take=leave)
    paid = len(service.asked)
    items = both.many(client, FOXES, checkpoint=path, concurrency=4)

    resumed = [item.result for item in items if item.resumed]
    assert 4 <= paid < 12
    assert sorted(service.asked) == sorted(FOXES)
    assert sorted(item.index for item in items) == list(range(12))
    assert [result.cost == 0 and result.cached for result in resumed if result] == [True] * paid
    assert waiting() == 0


def test_what_another_model_drew_stays_its_own(both: Both, tmp_path: Path) -> None:
    """A reply of a fallback that waits in the spool is that of its model, whose price it has."""
    sandbox, path = Sandbox(), tmp_path / "run.jsonl"
    sandbox.fail_next("rate_limit")
    options: dict[str, Any] = {"size": "1024x1024", "quality": "low"}
    client = both.sandbox(sandbox, retry=Retry(attempts=1), fallbacks=["azure/gpt-image-2"])
    with pytest.raises(KeyError):
        both.many(client, FOXES[:1], checkpoint=path, take=leave, **options)
    [item] = both.many(client, FOXES[:1], checkpoint=path, **options)

    assert (item.resumed, item.error) == (True, None)
    assert item.result is not None
    assert item.result.model == "azure/gpt-image-2"


def test_without_a_checkpoint_the_spool_has_it(
    both: Both, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`recover` saves it, and a line of the log says so."""
    service = Together(4)
    with pytest.raises(KeyError):
        both.many(both.client(service), FOXES, concurrency=4, take=leave)
    with Store(tmp_path / "pictures") as store:
        report = store.recover(older_than=timedelta(0))
        known = report.known

    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert waiting() == 0
    assert len(report.saved) + known == len(service.asked) >= 4  # they are the same image
    assert "gptimage recover" in "".join(told)


def test_a_whole_run_leaves_nothing_behind(both: Both) -> None:
    """The spool is empty once every item was taken."""
    items = both.many(both.client(answer), FOXES)

    assert len(items) == 12
    assert waiting() == 0


def test_stop_yields_what_was_sent(both: Both) -> None:
    """Once it is set, nothing new leaves, and each request that left has its item."""
    service, stop = Together(3), Stop()
    in_flight: list[int] = []

    def take(item: Item) -> None:
        in_flight.append(stop.in_flight)
        stop.set()

    items = both.many(both.client(service), FOXES, concurrency=3, stop=stop, take=take)

    assert len(items) == len(service.asked) < 12
    assert in_flight[0] <= 3
    assert stop.in_flight == 0
    assert waiting() == 0


def test_stop_is_no_event(both: Both) -> None:
    """Anything else is refused before a request is read."""
    with pytest.raises(InvalidRequestError, match="stop"):
        both.client(answer).generate_many(FOXES, stop=threading.Event())


def test_a_progress_function_that_fails(both: Both) -> None:
    """The run ends, and every item that was sent comes before the error."""
    service, found = Together(3), list[Item]()

    def told(progress: Progress) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        both.many(both.client(service), FOXES, concurrency=3, progress=told, take=found.append)

    assert len(found) == len(service.asked) >= 3
    assert all(item.result for item in found)


def test_a_full_checkpoint_loses_no_image(
    both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that were sent are yielded with a warning, and the error comes at the end."""
    service, found, path = Together(4), list[Item](), tmp_path / "run.jsonl"
    write, lines = Checkpoint.write, list[int]()

    def full(self: Checkpoint, entry: CheckpointLine) -> None:
        lines.append(entry.index)
        if len(lines) > 4:
            raise OSError("no space left on device")
        write(self, entry)

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "write", full)
        with pytest.raises(OSError, match="no space"):
            both.many(
                both.client(service), FOXES, checkpoint=path, concurrency=4, take=found.append
            )
    again = both.many(both.client(service), FOXES, checkpoint=path)

    results = [item.result for item in found]
    assert len(results) == 4
    assert all(result and "checkpoint" in result.warnings[-1] for result in results)
    assert sorted(service.asked) == sorted(FOXES)
    assert sum(item.resumed for item in again) == 4


def test_no_disk_at_all(
    both: Both, state: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a loop is left and no spool takes the replies, the error has the items."""
    state.parent.parent.write_text("a file where the folder should be")
    service = Together(4)
    taken: list[int] = []

    def take(item: Item) -> None:
        taken.append(item.index)
        raise KeyError

    with pytest.raises((KeyError, UndeliveredError)) as caught:
        both.many(both.client(service), FOXES, concurrency=4, take=take)

    assert isinstance(caught.value, UndeliveredError)
    indices = [item.index for item in caught.value.items]
    assert len(indices) + len(taken) == len(service.asked)
    assert all(item.result for item in caught.value.items)
    assert caught.value.result is not None


def test_a_reply_that_is_gone(both: Both, tmp_path: Path) -> None:
    """Somebody may have emptied the spool: that it is paid is said, and it is not asked again."""
    service, path = Together(1), tmp_path / "run.jsonl"
    with pytest.raises(KeyError):
        both.many(both.client(service), FOXES[:1], checkpoint=path, take=leave)
    for left in PendingReplies().abandoned(older_than=timedelta(0)):
        left.path.unlink()
    (item,) = both.many(both.client(service), FOXES[:1], checkpoint=path)

    assert isinstance(item.error, OutcomeUnknownError)
    assert "paid" in str(item.error)
    assert len(service.asked) == 1


def test_unknown_is_not_asked_while_its_reply_waits(both: Both, tmp_path: Path) -> None:
    """`retry_unknown` asks again only for what did not arrive."""
    service, path = Together(1), tmp_path / "run.jsonl"
    with pytest.raises(KeyError):
        both.many(both.client(service), FOXES[:1], checkpoint=path, take=leave)
    (item,) = both.many(both.client(service), FOXES[:1], checkpoint=path, retry_unknown=True)

    assert item.resumed
    assert len(service.asked) == 1


def test_like_requests_get_each_their_own(both: Both, tmp_path: Path) -> None:
    """Items whose requests are the same are told apart by the names of their replies."""
    service, path = Together(3), tmp_path / "run.jsonl"
    with pytest.raises(KeyError):
        both.many(both.client(service), FOXES[:1] * 3, checkpoint=path, concurrency=3, take=leave)
    items = both.many(both.client(service), FOXES[:1] * 3, checkpoint=path)

    assert sorted((item.index, item.resumed) for item in items) == [(n, True) for n in range(3)]
    assert len(service.asked) == 3


@pytest.mark.parametrize("name", ["../../secret", "", "a" * 101, "a/b", "nothing"])
def test_a_name_that_is_none(both: Both, tmp_path: Path, name: str) -> None:
    """A checkpoint that somebody wrote by hand reads no other file."""
    path = tmp_path / "run.jsonl"
    both.many(both.client(answer), FOXES[:1], checkpoint=path)
    line = json.loads(path.read_text().splitlines()[0])
    path.write_text(json.dumps({**line, "status": "begun", "reply": name}) + "\n")
    (item,) = both.many(both.client(answer), FOXES[:1], checkpoint=path)

    assert isinstance(item.error, OutcomeUnknownError)


class Closed:
    """A limiter that lets nothing through today."""

    def __init__(self, waits: Callable[[], object]) -> None:
        self._waits = waits

    def acquire(self, n_images: int, tokens: int | None) -> float:
        del n_images, tokens
        self._waits()
        return 86_400.0

    def learn(self, reply: Any) -> None:
        pass

    def close(self) -> None:
        pass


def test_a_stop_does_not_wait_for_limits(both: Both) -> None:
    """Requests that only wait for a limit are given up at once: nothing was sent."""
    stop, service = Stop(), Together(1)

    items = both.many(both.client(service, limits=Closed(stop.set)), FOXES, stop=stop)

    assert (items, service.asked) == ([], [])


def test_a_stop_does_not_wait_for_a_retry(both: Both, tmp_path: Path) -> None:
    """A request that was refused and waits for its next try costs nothing, so it is given up."""
    stop, path = Stop(), tmp_path / "run.jsonl"

    def refuse(_: HttpRequest) -> HttpReply:
        stop.set()
        return HttpReply(status=429, headers={"retry-after": "50"}, body=b"{}")

    items = both.many(both.client(refuse), FOXES, stop=stop, checkpoint=path)

    assert items == []
    lines = [json.loads(line)["status"] for line in path.read_text().splitlines()]
    assert lines[0] == "begun"
    assert set(lines) == {"begun", "failed"}


def test_a_stop_during_a_retry_that_may_pay_twice_says_so(both: Both, tmp_path: Path) -> None:
    """An earlier try may be billed: its item says so, whatever stopped the later one."""
    stop, path = Stop(), tmp_path / "run.jsonl"

    def cut(_: HttpRequest) -> HttpReply:
        stop.set()
        raise OutcomeUnknownError("the connection broke")

    client = both.client(cut, retry=Retry(unknown=1, first_delay=50.0, max_delay=50.0))
    (item,) = both.many(client, FOXES, stop=stop, checkpoint=path, concurrency=1)

    assert isinstance(item.error, OutcomeUnknownError)
    assert json.loads(path.read_text().splitlines()[-1])["status"] == "unknown"
