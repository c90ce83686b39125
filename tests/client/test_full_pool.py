"""The async client needs no thread of asyncio's own pool, which a program may have filled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import gptimage
from gptimage.budget.ledger import Ledger
from gptimage.cache import Cache
from gptimage.limits import Limits
from gptimage.sandbox import Sandbox
from gptimage.store import Store
from tests.client.harness import picture


LOW: dict[str, Any] = {"quality": "low", "size": "1024x640"}
PICTURE = picture(64, 64)


class Full(ThreadPoolExecutor):
    """A pool in which there is no room."""

    def submit(self, *_: Any, **__: Any) -> Any:
        """Nothing would ever come of it."""
        raise AssertionError("this waits for a thread of asyncio's own pool")


async def generate(client: gptimage.AsyncImageClient) -> None:
    await client.generate("A fox", **LOW)
    await client.generate("A fox", **LOW)  # from the cache


async def edit(client: gptimage.AsyncImageClient) -> None:
    await client.edit("A fox", PICTURE, **LOW)
    await client.variations(PICTURE, **LOW)
    await client.estimate("A fox", PICTURE, **LOW)


async def run(client: gptimage.AsyncImageClient) -> None:
    result = await client.edit("A fox", PICTURE, **LOW)
    await client.run(result.request, refresh=True)


async def stream(client: gptimage.AsyncImageClient) -> None:
    for _ in range(2):
        async for _event in client.stream("A fox", partial_images=2, **LOW):
            pass


async def many(client: gptimage.AsyncImageClient) -> None:
    requests = [{"prompt": "A fox", **LOW}, {"prompt": "A hen", "images": PICTURE, **LOW}]
    async for item in client.generate_many(requests, checkpoint="run.jsonl"):
        assert item.result


async def talk(client: gptimage.AsyncImageClient) -> None:
    chat = client.conversation()
    await chat.send("A fox", [PICTURE], **LOW)
    async for _event in chat.stream("Add snow", partial_images=1, **LOW):
        pass


@pytest.mark.parametrize("job", [generate, edit, run, stream, many, talk])
def test_no_job_needs_it(
    job: Callable[[gptimage.AsyncImageClient], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With store, cache, ledger and limits, everything is done in threads of the library's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(Full())
        async with gptimage.AsyncImageClient.sandbox(
            store=Store("pictures"),
            cache=Cache.disk("cache"),
            ledger=Ledger("spend.sqlite"),
            limits=Limits(images_per_minute=1000),
        ) as client:
            await job(client)

    asyncio.run(main())

    assert list(Ledger(tmp_path / "spend.sqlite").rows())


def test_threads_that_wait_for_a_task_let_it_finish() -> None:
    """Clients that fill the pool and wait for a task's request do not keep it from its end."""
    box, cache = Sandbox(latency=0.05), Cache.memory()
    waiting = gptimage.ImageClient.sandbox(box, cache=cache)

    async def main() -> list[gptimage.Result]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
        client = gptimage.AsyncImageClient.sandbox(box, cache=cache)
        leader = asyncio.ensure_future(client.generate("A fox", **LOW))
        while not box.requests:  # noqa: ASYNC110  # nothing tells when it was sent
            await asyncio.sleep(0)
        joined = (asyncio.to_thread(waiting.generate, "A fox", **LOW) for _ in range(4))
        return await asyncio.wait_for(asyncio.gather(leader, *joined), 60)

    found = asyncio.run(main())

    assert [result.cached for result in found] == [False, True, True, True, True]
    assert len(box.requests) == 1
