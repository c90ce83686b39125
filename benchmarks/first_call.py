"""The first call of an async program: how long the event loop stands still for it."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from canned import serving
from measure import MODEL, PROMPT, report, take_turns


TICK = 0.001
"""Seconds between two ticks of the watching task."""

IDLE = "an idle loop: this machine's noise"


def run(*, quick: bool) -> None:
    """Print the longest gap of the event loop during the first call of a process."""
    contestants = ["plain SDK", "gptimage", IDLE]
    with serving(1) as url:
        runs = take_turns(Path(__file__), contestants, 1 if quick else 7, url)
    report("first call: longest gap", runs, "gap", unit="ms", aim="gptimage: 30 ms, less the noise")
    del runs[IDLE]
    report("first call: wall time", runs, "ms", unit="ms", aim="no slower")


async def call(name: str, url: str) -> None:
    """Make a client and draw one image with it, as a program does at its start."""
    if name == IDLE:
        await asyncio.sleep(1)
    elif name == "gptimage":
        from gptimage import AsyncImageClient

        async with AsyncImageClient(api_key="sk-bench", base_url=f"{url}/small/v1") as client:
            await client.generate(PROMPT, model=MODEL)
    else:
        from openai import AsyncOpenAI

        async with AsyncOpenAI(api_key="sk-bench", base_url=f"{url}/small/v1") as sdk:
            await sdk.images.generate(model=MODEL, prompt=PROMPT)


async def watched(name: str, url: str) -> dict[str, float]:
    """Milliseconds of the longest gap, and of the call."""
    import gptimage

    _ = gptimage.AsyncImageClient  # a program imports what it names before its loop runs
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        last = time.perf_counter()
        while True:
            await asyncio.sleep(TICK)
            now = time.perf_counter()
            longest = max(longest, now - last - TICK)
            last = now

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.05)
    start = time.perf_counter()
    await call(name, url)
    seconds = time.perf_counter() - start
    ticking.cancel()
    return {"gap": longest * 1000, "ms": seconds * 1000}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(watched(*sys.argv[1:]))))
