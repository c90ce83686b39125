"""The async handle: the same as its twin, off the event loop, and never left half done."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gptimage import AsyncImageClient, ConfigurationError
from gptimage.batch import AsyncBatch, Batch
from gptimage.errors import OutcomeUnknownError, TransportError
from gptimage.sandbox import AsyncSandboxTransport, Sandbox
from gptimage.sandbox.transport import AsyncSandboxDownload
from gptimage.store import Store
from gptimage.transport.http import HttpReply, HttpRequest
from tests.batch.helpers import async_line, fox, line, made, uploaded


@pytest.fixture
def sandbox() -> Sandbox:
    """The service."""
    return Sandbox()


def test_the_twin_does_the_same(sandbox: Sandbox, tmp_path: Path) -> None:
    """Submitted, gone on with, waited for, collected, cancelled, and opened by its id."""
    store, file = Store(tmp_path / "store"), tmp_path / "b.json"

    async def go() -> None:
        client = async_line(sandbox, store=store)
        batch = await AsyncBatch.submit(client, [fox(0), fox(1)], state=file)
        again = await AsyncBatch.submit(client, [fox(0), fox(1)], state=file)
        opened = await AsyncBatch.open(client, file)
        assert (await opened.wait(poll=0)).state == "completed"
        items = [item async for item in opened.results()]
        by_id = await AsyncBatch.open(client, batch.ids[0])

        assert batch.ids == again.ids == opened.ids == by_id.ids
        assert batch.estimate == opened.estimate
        assert sorted(item.index or 0 for item in items) == [0, 1]
        assert all(item.result and item.result.stored for item in items)
        assert (await opened.cancel()).state == "completed"

    asyncio.run(go())
    assert len(made(sandbox)) == 1


def test_signatures_match() -> None:
    """Both handles have the same methods with the same arguments."""
    names = {name for name in dir(Batch) if not name.startswith("_")}

    assert names == {name for name in dir(AsyncBatch) if not name.startswith("_")}
    for name in ("status", "wait", "results", "cancel"):
        twins = [inspect.signature(getattr(cls, name)) for cls in (Batch, AsyncBatch)]
        assert twins[0].parameters.keys() == twins[1].parameters.keys(), name


class Stuck(AsyncSandboxTransport):
    """A transport that answers no upload of a batch's file."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox)
        self.reached = asyncio.Event()

    async def send(self, request: HttpRequest) -> HttpReply:
        """Send, or wait for ever."""
        if request.path == "/files":
            self.reached.set()
            await asyncio.Event().wait()
        return await super().send(request)


def test_a_cancelled_submission_lets_others_in(sandbox: Sandbox, tmp_path: Path) -> None:
    """Cancelled in the middle, the job is free at once, and its requests are not written twice."""
    file = tmp_path / "b.json"

    async def go() -> None:
        way = Stuck(sandbox)
        task = asyncio.create_task(
            AsyncBatch.submit(async_line(sandbox, way=way), [fox(0)], state=file)
        )
        await way.reached.wait()
        with pytest.raises(ConfigurationError, match="another process"):
            await AsyncBatch.submit(async_line(sandbox), [fox(0)], state=file)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        await AsyncBatch.submit(async_line(sandbox), [fox(0)], state=file)
        assert caught  # and with it, whatever the job was doing

    asyncio.run(go())
    assert len(made(sandbox)) == len(uploaded(sandbox, "batch")) == 1
    assert not list(tmp_path.glob("*.part*"))


def test_results_that_are_left_early_are_read_later(sandbox: Sandbox, tmp_path: Path) -> None:
    """Who stops after the first item gets all of them another time, and no image twice."""
    store, file = Store(tmp_path / "store"), tmp_path / "b.json"
    Batch.submit(line(sandbox), [fox(n) for n in range(3)], state=file).wait(poll=0)

    async def go() -> int:
        batch = await AsyncBatch.open(async_line(sandbox, store=store), file)
        results = batch.results()
        await anext(results)
        await results.aclose()
        return len([item async for item in batch.results()])

    assert asyncio.run(go()) == 3
    assert store.stats().images == 3


class Breaking(AsyncSandboxTransport):
    """A transport whose first downloads fail in every way there is."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox)
        self.ways = [TransportError("not reached"), HttpReply(status=503), "broken"]

    async def download(self, request: HttpRequest) -> AsyncSandboxDownload:
        """Fail, as long as there are ways to."""
        whole = await super().download(request)
        way = self.ways.pop(0) if self.ways else None
        if isinstance(way, TransportError):
            raise way
        if isinstance(way, HttpReply):
            return AsyncSandboxDownload(way)
        return _Broken(whole.reply) if way else whole


class _Broken(AsyncSandboxDownload):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        """A few bytes, and the end of the connection."""
        yield bytes(self.reply.body[:1000])
        raise OutcomeUnknownError("the connection broke")


def test_downloads_are_tried_again(sandbox: Sandbox, tmp_path: Path) -> None:
    """Results arrive after a download that was not reached, one turned away and one broken off."""
    Batch.submit(line(sandbox), [fox(0)], state=tmp_path / "b.json").wait(poll=0)
    way = Breaking(sandbox)

    async def go() -> list[Exception | None]:
        batch = await AsyncBatch.open(async_line(sandbox, way=way), tmp_path / "b.json")
        return [item.error async for item in batch.results()]

    assert asyncio.run(go()) == [None]
    assert way.ways == []


def test_a_wait_outlasts_a_bad_network(sandbox: Sandbox, tmp_path: Path) -> None:
    """The async wait goes on after looks that failed, too."""
    Batch.submit(line(sandbox), [fox(0)], state=tmp_path / "b.json")

    class Flaky(AsyncSandboxTransport):
        looks = 0

        async def send(self, request: HttpRequest) -> HttpReply:
            self.looks += 1
            if 1 < self.looks < 10:
                raise TransportError("no network")
            return await super().send(request)

    async def go() -> str:
        client = async_line(sandbox, way=Flaky(sandbox))
        batch = await AsyncBatch.open(client, tmp_path / "b.json")
        return (await batch.wait(poll=0)).state

    assert asyncio.run(go()) == "completed"


def test_the_clients_of_a_user(sandbox: Sandbox, tmp_path: Path) -> None:
    """The method of the async client splits as it is told, and goes on from its file."""

    async def go() -> tuple[int, int]:
        async with AsyncImageClient.sandbox(sandbox) as client:
            batch = await client.submit_batch(
                [fox(n) for n in range(3)], state=tmp_path / "b.json", max_lines=2
            )
            opened = await client.open_batch(tmp_path / "b.json")
            await opened.wait(poll=0)
            return len(batch.ids), len([item async for item in opened.results() if item.result])

    assert asyncio.run(go()) == (2, 3)
