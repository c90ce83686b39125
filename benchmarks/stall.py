"""Sixteen big replies at once: how long the event loop stands still, and how long it takes.

On a busy machine the loop also waits for a processor. So the CPU time between two ticks is printed
too: what the program itself does in one go.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from canned import serving
from measure import MODEL, PROMPT, memory, report, take_turns


CALLS = 16
PICTURES = 4
TICK = 0.001
"""Seconds between two ticks of the watching task."""

IDLE = "an idle loop: this machine's noise"

Call = Callable[[int], Awaitable[None]]


def run(*, quick: bool) -> None:
    """Print the longest stall of the event loop for each way."""
    contestants = ["plain SDK recipe", "plain SDK, decode in threads", "gptimage", IDLE]
    calls, pictures = (4, 1) if quick else (CALLS, PICTURES)
    with serving(pictures) as url:
        runs = take_turns(
            Path(__file__), contestants, 1 if quick else 5, url, str(calls), str(pictures)
        )
    what = f"{calls} replies at once, each with {pictures} x 12 MB"
    report(f"{what}: longest stall", runs, "stall", unit="ms", aim="gptimage: under 10 ms")
    report(f"{what}: longest turn, CPU", runs, "turn", unit="ms", aim="gptimage: under 10 ms")
    del runs[IDLE]
    report(f"{what}: wall time", runs, "ms", unit="ms", aim="no slower")
    report(f"{what}: peak memory", runs, "mb", unit="MB", aim="no more")


def plain(url: str, folder: Path, pictures: int, *, threads: bool) -> Call:
    """The recipe of the SDK's documentation, or the same with the decoding in threads."""
    import base64

    from openai import AsyncOpenAI

    client = AsyncOpenAI(api_key="sk-bench", base_url=f"{url}/big/v1")

    def write(path: Path, text: str) -> None:
        path.write_bytes(base64.b64decode(text))

    async def call(number: int) -> None:
        answer = await client.images.generate(model=MODEL, prompt=PROMPT, n=pictures)
        for index, item in enumerate(answer.data or ()):
            path, text = folder / f"{number}-{index}.png", item.b64_json or ""
            if threads:
                await asyncio.to_thread(write, path, text)
            else:
                write(path, text)

    return call


def ours(url: str, folder: Path, pictures: int) -> Call:
    """The same with gptimage."""
    from gptimage import AsyncImageClient

    client = AsyncImageClient(api_key="sk-bench", base_url=f"{url}/big/v1")

    async def call(number: int) -> None:
        result = await client.generate(PROMPT, model=MODEL, n=pictures)
        for index, image in enumerate(result.images):
            await asyncio.to_thread(image.save, folder / f"{number}-{index}.png")

    return call


def idle() -> Call:
    """No calls at all, for a while: stalls the system makes, not the program."""

    async def call(number: int) -> None:
        del number
        await asyncio.sleep(2)

    return call


async def watched(call: Call, calls: int) -> dict[str, float]:
    """Milliseconds of the longest stall, of CPU time in one turn of the loop, and of everything."""
    longest = turn = 0.0

    async def tick() -> None:
        nonlocal longest, turn
        last, used = time.perf_counter(), time.thread_time()
        while True:
            await asyncio.sleep(TICK)
            now, busy = time.perf_counter(), time.thread_time()
            longest, turn = max(longest, now - last - TICK), max(turn, busy - used)
            last, used = now, busy

    await call(-1)  # imports, connection pool and threads are not what is measured
    ticking = asyncio.create_task(tick())
    start = time.perf_counter()
    await asyncio.gather(*(call(number) for number in range(calls)))
    seconds = time.perf_counter() - start
    ticking.cancel()
    return {"stall": longest * 1000, "turn": turn * 1000, "ms": seconds * 1000}


def child(name: str, url: str, calls: str, pictures: str) -> None:
    """Run one way once."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if name == IDLE:
            call = idle()
        elif name == "gptimage":
            call = ours(url, folder, int(pictures))
        else:
            call = plain(url, folder, int(pictures), threads="threads" in name)
        found = asyncio.run(watched(call, int(calls)))
        written = len(list(folder.glob("*.png")))
    if written != (int(calls) + 1) * int(pictures) and name != IDLE:
        raise SystemExit(f"{name} wrote {written} pictures")
    print(json.dumps({**found, "mb": memory(peak=True)}))


if __name__ == "__main__":
    child(*sys.argv[1:])
