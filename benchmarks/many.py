"""Many at once: how close 64 callers come to the ideal, and how much memory 100,000 need.

As a script it plays one part: the server with latency, or a contestant whose memory is read.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from canned import SMALL_EDGE, png, reply
from measure import MODEL, Numbers, memory, report, take_turns

from gptimage import AsyncImageClient, ImageClient


CALLERS = 64
LATENCY = 2.0
"""Seconds; real calls take ten to sixty, so the overhead shows more here than in life."""


def run(*, quick: bool) -> None:
    """Print the efficiency of both clients beside the SDK's, and memory that does not grow."""
    rounds, count = (1, 128) if quick else (3, 640)
    ideal = count * LATENCY / CALLERS
    print(f"\n{count} requests, {CALLERS} at once, {LATENCY:g} s each: ideal {ideal:g} s")
    with slow_server() as url:
        ways = {"threads": in_threads, "tasks": in_tasks, "plain SDK": of_sdk}
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                found[name].append(way(url, count))
    for name, seconds in found.items():
        middle = statistics.median(seconds)
        print(f"  {name:<10}{middle:7.2f} s  {100 * ideal / middle:5.1f} % of the ideal speed")
    print("  aim: 95 %, or no less than the plain SDK on a machine that is at work")

    counts = (1_000, 5_000) if quick else (1_000, 10_000, 100_000)
    runs: dict[str, list[Numbers]] = {}
    for kind in ("threads", "tasks"):
        for many in counts:
            name = f"{many:,} requests in {kind}"
            runs[name] = take_turns(Path(__file__), [kind], 1, str(many))[kind]
    report("Largest memory", runs, "mb", unit="MB", aim="as flat as 1.00")


def in_threads(url: str, count: int) -> float:
    """Seconds for that many requests from threads."""
    with ImageClient(api_key="sk-bench", base_url=url) as client:
        return timed_sync(client, count)


def timed_sync(client: ImageClient, count: int) -> float:
    """Seconds until every item was taken, after one call that loads the SDK."""
    client.generate("A fox", model=MODEL)
    start = time.perf_counter()
    with closing(client.generate_many(prompts(count), concurrency=CALLERS)) as items:
        done = sum(item.result is not None for item in items)
    if done != count:
        raise SystemExit(f"{count - done} requests failed")
    return time.perf_counter() - start


def in_tasks(url: str, count: int) -> float:
    """Seconds for that many requests from tasks."""

    async def timed() -> float:
        async with AsyncImageClient(api_key="sk-bench", base_url=url) as client:
            return await timed_async(client, count)

    return asyncio.run(timed())


def of_sdk(url: str, count: int) -> float:
    """Seconds for that many requests from tasks of the plain SDK: what else the machine does."""
    from openai import AsyncOpenAI

    async def timed() -> float:
        places = asyncio.Semaphore(CALLERS)
        async with AsyncOpenAI(api_key="sk-bench", base_url=url) as client:

            async def draw(prompt: str) -> None:
                async with places:
                    await client.images.generate(
                        prompt=prompt, model=MODEL, size="1024x1024", quality="low"
                    )

            await draw("A fox")
            start = time.perf_counter()
            await asyncio.gather(*(draw(f"Fox {number}") for number in range(count)))
            return time.perf_counter() - start

    return asyncio.run(timed())


async def timed_async(client: AsyncImageClient, count: int) -> float:
    """Seconds until every item was taken, after one call that loads the SDK."""
    await client.generate("A fox", model=MODEL)
    start, done = time.perf_counter(), 0
    async for item in client.generate_many(prompts(count), concurrency=CALLERS):
        done += item.result is not None
    if done != count:
        raise SystemExit(f"{count - done} requests failed")
    return time.perf_counter() - start


def prompts(count: int) -> Iterator[dict[str, object]]:
    """Requests that are made as they are read."""
    for number in range(count):
        yield {"prompt": f"Fox {number}", "model": MODEL, "size": "1024x1024", "quality": "low"}


@contextmanager
def slow_server() -> Generator[str]:
    """A server process that answers every request after `LATENCY` seconds."""
    command = [sys.executable, __file__, "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = process.stdout.readline().strip() if process.stdout else ""
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()


async def serve(latency: float) -> None:
    """Answer every request with a small picture after so many seconds; print the port."""
    body = reply(png(SMALL_EDGE, noise=False), 1, SMALL_EDGE)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await headers(reader):
            await reader.readexactly(head)
            await asyncio.sleep(latency)
            writer.write(body)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def headers(reader: asyncio.StreamReader) -> int:
    """The length of the body of the next request; 0 when the connection has ended."""
    length = 0
    while (line := await reader.readline()).strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return length


def remember(kind: str, count: int) -> None:
    """Run so many requests without latency, and print the largest memory of this process."""
    command = [sys.executable, __file__, "serve", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        url = f"http://127.0.0.1:{process.stdout.readline().strip() if process.stdout else ''}/v1"
        seconds = (in_threads if kind == "threads" else in_tasks)(url, count)
        process.kill()
    print(json.dumps({"mb": memory(peak=True), "rate": count / seconds}))


def main() -> None:
    """Play the part that is named first."""
    part = sys.argv[1]
    if part == "serve":
        asyncio.run(serve(float(sys.argv[2]) if len(sys.argv) > 2 else LATENCY))
    else:
        remember(part, int(sys.argv[2]))


if __name__ == "__main__":
    main()
