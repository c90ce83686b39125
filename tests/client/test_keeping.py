"""Clients with a store and a cache: saved, paid once, and never lost on the way."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

import gptimage
from gptimage.cache import Cache
from gptimage.errors import CacheError
from gptimage.store import Store
from gptimage.transport.http import HttpReply
from tests.cache.single_flight_helpers import until_waiting, wait_until, waiting
from tests.client.harness import (
    USAGE,
    AsyncFakeTransport,
    FakeTransport,
    Harness,
    answer,
    event,
    failure,
    picture,
)


BYTES = picture()
OTHER = picture(color="navy")
OK = answer(BYTES)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Recovery copies and spooled replies go to a folder of the test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store in a folder of the test."""
    with Store(tmp_path / "pictures") as store:
        yield store


def spooled(state: Path) -> list[Path]:
    """Replies that wait for recovery."""
    return list(state.rglob("*.reply"))


def test_pictures_are_saved_untouched(harness: Harness, store: Store, state: Path) -> None:
    """The bytes of the service are on disk, the record says what was asked, the spool is empty."""
    client, _ = harness.fake(answer(BYTES, OTHER), store=store)
    result = client.generate("A fox", n=2, tags=["hero"])
    assert [record.path.read_bytes() for record in result.stored] == [BYTES, OTHER]
    assert [record.tags for record in result.stored] == [("hero",)] * 2
    assert store.get(result.stored[1].id).request["prompt"] == "A fox"
    assert spooled(state) == []


def test_the_same_request_is_paid_once(harness: Harness, store: Store) -> None:
    """The second answer comes from the cache: cost 0, no request, the same record."""
    client, service = harness.fake(OK, store=store, cache=Cache.memory())
    first = client.generate("A fox")
    second = client.generate("A fox")
    assert (first.cached, second.cached) == (False, True)
    assert second.cost == 0
    assert second.image.data == BYTES
    assert second.stored == first.stored
    assert len(service.requests) == 1


def test_refresh_asks_again_and_replaces(harness: Harness) -> None:
    """A refreshed answer is the one the next call gets."""
    client, service = harness.fake(OK, answer(OTHER), cache=Cache.memory())
    client.generate("A fox")
    fresh = client.generate("A fox", refresh=True)
    again = client.generate("A fox")
    assert (fresh.cached, again.cached) == (False, True)
    assert fresh.image.data == again.image.data == OTHER
    assert len(service.requests) == 2


def test_another_parameter_is_another_request(harness: Harness) -> None:
    """Nothing is answered with an image made for other settings."""
    client, service = harness.fake(OK, cache=Cache.memory())
    client.generate("A fox")
    client.generate("A fox", quality="low")
    client.generate("A fox", n=2)
    assert len(service.requests) == 3


def test_an_answer_that_is_not_whole_is_not_cached(harness: Harness) -> None:
    """Two of three images are worth having, and worth asking again for."""
    client, service = harness.fake(answer(BYTES, BYTES), cache=Cache.memory())
    client.generate("A fox", n=3)
    assert not client.generate("A fox", n=3).cached
    assert len(service.requests) == 2


def test_a_stream_that_is_not_whole_is_not_cached(harness: Harness) -> None:
    """It ended with one image of two: who asks again wants both."""
    client, service = harness.fake(
        [event("image_generation.completed", BYTES)], cache=Cache.memory()
    )
    first, second = (list(client.stream("A fox", n=2))[-1].result for _ in range(2))

    assert (len(first.images), first.cached, second.cached) == (1, False, False)
    assert len(service.requests) == 2


def test_cached_pictures_get_the_tags(harness: Harness, store: Store) -> None:
    """Tags of a call that is answered from the cache are not dropped: its image gets them."""
    client, service = harness.fake(OK, store=store, cache=Cache.memory())
    first = client.generate("A fox", tags=["hero"])
    again = client.generate("A fox", tags=["blog"])

    assert len(service.requests) == 1
    assert again.stored[0].id == first.stored[0].id
    assert store.get(first.stored[0].id).tags == again.stored[0].tags == ("blog", "hero")


@pytest.mark.parametrize("left", [None, b"\x89PNG cut"])
def test_a_cached_image_whose_file_is_damaged_is_saved_again(
    harness: Harness, store: Store, left: bytes | None
) -> None:
    """Where its file is gone or cut short, no call says that it is there."""
    client, service = harness.fake(OK, store=store, cache=Cache.memory())
    path = client.generate("A fox").stored[0].path
    path.unlink()
    if left is not None:
        path.write_bytes(left)
    again = client.generate("A fox")

    assert (again.cached, len(service.requests)) == (True, 1)
    assert again.stored[0].path.read_bytes() == BYTES


def test_tags_that_do_not_fit_are_told(harness: Harness, store: Store) -> None:
    """A stored image that takes no more tags is a warning, and still the answer."""
    client, _ = harness.fake(OK, store=store, cache=Cache.memory())
    client.generate("A fox", tags=[f"tag {number}" for number in range(64)])
    again = client.generate("A fox", tags=["one more"])

    assert again.cached
    assert len(again.stored[0].tags) == 64
    assert "did not get the tags" in again.warnings[-1]


def test_streams_and_calls_share_the_cache(harness: Harness, store: Store, state: Path) -> None:
    """An image that was streamed is known to a plain call, and the other way round."""
    events = [event("image_generation.completed", BYTES)]
    client, service = harness.fake(events, OK, store=store, cache=Cache.memory())
    (last,) = client.stream("A fox")
    assert last.result.stored[0].path.read_bytes() == BYTES
    assert client.generate("A fox").cached
    (again,) = client.stream("A fox", partial_images=2)
    assert again.result.cached
    assert len(service.requests) == 1
    assert spooled(state) == []


def failing(error: type[Exception]) -> type[Cache]:
    """A class of caches whose every method fails with this error."""

    def method(name: str) -> Any:
        def fail(self: Cache, *_: object, **__: object) -> None:
            raise error(f"{name} failed")

        return fail

    names = (
        "get",
        "put",
        "delete",
        "stats",
        "clear",
        "record_use",
        "lease",
        "lease_outcome",
        "close",
    )
    return type("FailingCache", (Cache,), {name: method(name) for name in names})


BrokenCache = failing(CacheError)


def test_a_broken_cache_costs_a_warning(harness: Harness) -> None:
    """The call goes on, and the result says why it was not cached."""
    client, _ = harness.fake(OK, cache=BrokenCache())
    result = client.generate("A fox")
    assert result.image.data == BYTES
    assert any("put failed" in sentence for sentence in result.warnings)


def test_streams_are_not_shared_in_flight(harness: Harness) -> None:
    """One that begins while its like is under way is a call of its own, with its own previews."""
    events = [
        event("image_generation.partial_image", BYTES, partial_image_index=0),
        event("image_generation.completed", BYTES),
    ]
    client, service = harness.fake(events, cache=Cache.memory())
    first, second = (client.stream("A fox", partial_images=1) for _ in range(2))
    begun = [next(first), next(second)]
    ended = [*first, *second]

    assert [type(each) for each in begun] == [gptimage.PartialImage] * 2
    assert [each.result.cached for each in ended] == [False, False]
    assert len(service.requests) == 2


def test_a_broken_cache_does_not_break_a_stream(harness: Harness) -> None:
    """Neither looking nor keeping may cost the image."""
    client, _ = harness.fake([event("image_generation.completed", BYTES)], cache=BrokenCache())
    (last,) = client.stream("A fox")
    assert last.image.data == BYTES
    assert any("put failed" in sentence for sentence in last.result.warnings)


@pytest.mark.parametrize("stream", [False, True])
def test_a_failed_save_carries_the_result(
    harness: Harness, store: Store, state: Path, stream: bool
) -> None:
    """Whatever the disk does, the caller holds the image, and a recovery copy is named."""
    events = [event("image_generation.completed", BYTES)]
    client, _ = harness.fake(events if stream else OK, store=store)
    assert store.folder is not None
    (store.folder / "images").parent.joinpath("images").touch()  # a file where a folder must go
    with pytest.raises(gptimage.StoreError) as caught:
        list(client.stream("A fox")) if stream else client.generate("A fox")
    assert caught.value.result is not None
    assert caught.value.result.image.data == BYTES
    copies = [Path(path).read_bytes() for path in caught.value.recovery_copies]
    assert BYTES in copies


@pytest.mark.parametrize("tags", [[""], ["x" * 1000], ["\n"]])
def test_bad_tags_are_refused_before_anything_is_sent(
    harness: Harness, store: Store, tags: list[str]
) -> None:
    """A typing slip in a tag must not cost an image."""
    client, service = harness.fake(OK, store=store)
    with pytest.raises(gptimage.InvalidRequestError):
        client.generate("A fox", tags=tags)
    assert service.requests == []


def test_tags_without_a_store_are_refused(harness: Harness) -> None:
    """An option that could not do anything is not accepted in silence."""
    client, service = harness.fake(OK)
    with pytest.raises(gptimage.InvalidRequestError, match="store"):
        client.generate("A fox", tags=["hero"])
    assert service.requests == []


def test_an_edit_can_be_run_again_from_the_store(harness: Harness, store: Store) -> None:
    """Input image and mask are kept, so the same request is on the wire again."""
    client, service = harness.fake(OK, store=store)
    mask = gptimage.Mask.from_box((0, 0, 16, 16))
    result = client.edit("Night", images=picture(64, 64), mask=mask, quality="low")
    store.repeat(result.stored[0].id, client)
    assert service.requests[0] == service.requests[1]


def test_threads_asking_the_same_share_one_call() -> None:
    """Ten threads, one request, ten answers."""
    release = threading.Event()

    class Slow(FakeTransport):
        def send(self, request: Any) -> HttpReply:
            release.wait(60)
            return super().send(request)

    service = Slow([OK])
    client = gptimage.ImageClient(transport=service, cache=Cache.memory())
    results: list[gptimage.Result] = []
    threads = [
        threading.Thread(target=lambda: results.append(client.generate("A fox"))) for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    release.set()
    for thread in threads:
        thread.join()
    assert len(service.requests) == 1
    assert sorted(result.cached for result in results) == [False] + [True] * 9


def test_tasks_asking_the_same_share_one_call() -> None:
    """A hundred tasks, one request; also when the first to ask is cancelled."""
    service, go = FakeTransport([OK]), asyncio.Event()

    class SlowAsync(AsyncFakeTransport):
        async def send(self, request: Any) -> HttpReply:
            self.inner.requests.append(request)
            await go.wait()
            return OK

    async def run() -> list[gptimage.Result]:
        transport = SlowAsync(service)
        async with gptimage.AsyncImageClient(transport=transport, cache=Cache.memory()) as client:
            tasks = [asyncio.create_task(client.generate("A fox")) for _ in range(100)]
            await until_waiting(99)
            tasks[0].cancel()
            go.set()
            return await asyncio.gather(*tasks[1:])

    results = asyncio.run(run())
    assert [result.image.data for result in results] == [BYTES] * 99
    assert len(service.requests) == 1


def test_a_failure_of_the_leader_is_not_paid_for_again() -> None:
    """Those who waited get the error of the one who asked."""
    release = threading.Event()

    class Slow(FakeTransport):
        def send(self, request: Any) -> HttpReply:
            release.wait(60)
            return super().send(request)

    service = Slow([gptimage.OutcomeUnknownError("lost"), OK])
    client = gptimage.ImageClient(transport=service, cache=Cache.memory())
    failures: list[type[BaseException]] = []

    def ask() -> None:
        try:
            client.generate("A fox")
        except gptimage.GptImageError as error:
            failures.append(type(error))

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    wait_until(lambda: waiting() == 4)  # a late one would ask for itself
    release.set()
    for thread in threads:
        thread.join()
    assert failures == [gptimage.OutcomeUnknownError] * 5
    assert len(service.requests) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork to be killed in the middle")
def test_a_process_killed_before_saving_leaves_its_reply(tmp_path: Path, state: Path) -> None:
    """`kill -9` between the reply and the save: a recovery brings the image home."""
    import signal
    import subprocess
    import sys

    code = f"""
import os, signal, sys
from gptimage import ImageClient
from gptimage.store import Store
store = Store({str(tmp_path / "pictures")!r})
store.save = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
ImageClient.sandbox(store=store).generate("A fox", quality="low")
"""
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(spooled(state)) == 1
    with Store(tmp_path / "pictures") as store:
        report = store.recover()
        assert [record.request["prompt"] for record in report.saved] == ["A fox"]
        assert [record.request["prompt"] for record in store.history()] == ["A fox"]
    assert spooled(state) == []


def test_an_error_of_the_service_leaves_nothing_behind(
    harness: Harness, store: Store, state: Path
) -> None:
    """A refusal is not spooled, stored or cached."""
    client, service = harness.fake(failure(400), OK, store=store, cache=Cache.memory())
    with pytest.raises(gptimage.BadRequestError):
        client.generate("A fox")
    assert spooled(state) == []
    assert not client.generate("A fox").cached
    assert len(service.requests) == 2


@pytest.mark.parametrize("by_record", [False, True])
def test_an_edit_can_start_from_a_picture_of_the_store(
    harness: Harness, store: Store, by_record: bool
) -> None:
    """Its id or its record stands for it, and the new image points to its source."""
    client, service = harness.fake(OK, answer(OTHER), store=store)
    first = client.generate("A fox").stored[0]
    source = first if by_record else first.id
    second = client.edit("Night", images=[source]).stored[0]
    assert service.requests[1].files[0].data == BYTES
    assert second.sources == (first.sha256,)


def test_an_id_of_another_store_is_not_found(harness: Harness, store: Store) -> None:
    """An image that is not there is an error before anything is sent."""
    client, service = harness.fake(OK, store=store)
    with pytest.raises(gptimage.ImageNotFoundError):
        client.edit("Night", images="img_20261120T114205123456_" + "0" * 32)
    assert service.requests == []


StrangeCache = failing(RuntimeError)
"""A cache of somebody's own, which fails with errors of its own."""


@pytest.mark.parametrize("stream", [False, True])
def test_a_strange_cache_costs_no_picture(harness: Harness, stream: bool) -> None:
    """Whatever a cache raises, before or after the answer, the image is returned."""
    events = [event("image_generation.completed", BYTES)]
    client, _ = harness.fake(events if stream else OK, cache=StrangeCache())
    result = list(client.stream("A fox"))[-1].result if stream else client.generate("A fox")
    assert result.image.data == BYTES
    assert any("RuntimeError" in sentence for sentence in result.warnings)


@pytest.mark.parametrize("stream", [False, True])
def test_a_strange_store_costs_no_picture(
    harness: Harness, store: Store, state: Path, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """Whatever a store raises, the error carries the result, and the reply waits for recovery."""

    def fail(*_: object, **__: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(store, "save", fail)
    events = [event("image_generation.completed", BYTES)]
    client, _ = harness.fake(events if stream else OK, store=store)
    with pytest.raises(gptimage.StoreError, match="no room") as caught:
        list(client.stream("A fox")) if stream else client.generate("A fox")
    assert caught.value.result is not None
    assert caught.value.result.image.data == BYTES
    assert len(spooled(state)) == 1


def test_a_failed_save_leaves_the_reply_for_a_recovery_without_doubles(
    harness: Harness, store: Store, state: Path
) -> None:
    """The recovery copy and the spooled reply are the same image: it comes home once."""
    client, _ = harness.fake(OK, store=store)
    assert store.folder is not None
    (store.folder / "images").touch()
    with pytest.raises(gptimage.StoreError):
        client.generate("A fox")
    assert len(spooled(state)) == 1
    (store.folder / "images").unlink()
    store.recover(older_than=timedelta(0))
    assert [store.open(record.id).data for record in store.history()] == [BYTES]
    assert spooled(state) == []


UNKNOWN_FORMAT = b"\0\0\0 ftypnewf" + bytes(range(256)) * 8


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(answer(UNKNOWN_FORMAT), id="a format this version cannot read"),
        pytest.param(evolve(OK, body=OK.body[:-200]), id="cut short"),
        pytest.param(
            evolve(OK, headers={"content-encoding": "br"}, body=b"\x8b" + bytes(range(256)) * 8),
            id="packed",
        ),
        pytest.param(
            [event("image_generation.completed", UNKNOWN_FORMAT, usage=USAGE)], id="in a stream"
        ),
    ],
)
def test_a_paid_reply_that_cannot_be_read_waits_on_the_disk(
    harness: Harness, store: Store, state: Path, reply: Any
) -> None:
    """Most callers only print an error; the error names the file, and recovery looks at it."""
    client, _ = harness.fake(reply, store=store)
    previews = {"partial_images": 1} if isinstance(reply, list) else {}
    call = client.stream if previews else client.generate
    with pytest.raises(gptimage.MalformedReplyError) as caught:
        list(call("A fox", **previews))
    [waiting_file] = spooled(state)
    assert caught.value.saved_to == str(waiting_file)
    assert str(waiting_file) in str(caught.value)
    assert waiting_file.read_bytes().endswith(caught.value.reply)
    assert [path for path, _ in store.recover().failed] == [str(waiting_file)]


@pytest.mark.parametrize("body", [b"", b'{"data": []}', b"<!doctype html>" + b" " * 5000])
def test_a_reply_without_an_image_leaves_nothing_on_the_disk(
    harness: Harness, store: Store, state: Path, body: bytes
) -> None:
    """A web page or an empty answer is no image of anybody's."""
    client, _ = harness.fake(evolve(OK, body=body), store=store)
    with pytest.raises(gptimage.MalformedReplyError) as caught:
        client.generate("A fox")
    assert (caught.value.saved_to, spooled(state)) == (None, [])
