"""A hit of a 2 MB reply, in memory, on disk and in Redis, against the plain SDK's call.

``python benchmarks/bench_cache.py [--quick]``. The service is a local process that answers
at once, so the plain call shown is the cheapest there can be; a real one takes many seconds.
"""

from __future__ import annotations

import argparse
import base64
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from calls import timed
from canned import answer, png, reply
from measure import MODEL, PROMPT, Numbers, report

from gptimage.cache import Cache, CacheEntry


EDGE = 707
"""707 x 707 pixels of 3 bytes, stored uncompressed: a reply of 2 MB."""

KEY = "g1:" + "0" * 64

Call = Callable[[], bytes]


def run(*, quick: bool) -> None:
    """Print the time of a call, each way taking turns in blocks in one process."""
    rounds, block = (2, 5) if quick else (15, 20)
    with ExitStack() as stack:
        url = stack.enter_context(serving())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        caches: dict[str, Cache] = {
            "memory": Cache.memory(),
            "disk": Cache.disk(folder / "cache"),
            "memory, then disk": Cache.tiered(Cache.memory(), Cache.disk(folder / "tiers")),
        }
        if shutil.which("redis-server"):
            from gptimage.cache.redis import RedisCache

            caches["Redis on this machine"] = RedisCache(stack.enter_context(redis(folder)))
        else:
            print("redis-server is not installed: Redis is left out")
        ways = {"plain SDK recipe, asked again": plain(url)}
        ways |= {f"hit: {name}": ours(url, cache) for name, cache in caches.items()}
        show("A call for a 2 MB reply, to picture bytes", take_turns(ways, rounds, block))
        bare = {"plain SDK recipe, asked again": ways["plain SDK recipe, asked again"]}
        bare |= {f"get: {name}": getting(cache) for name, cache in caches.items()}
        show("Only the cache's own part of it: get", take_turns(bare, rounds, block))


def show(title: str, runs: dict[str, list[Numbers]]) -> None:
    """Print a table."""
    report(title, runs, "us", unit="us", aim="hits well under 1.00")


def take_turns(ways: dict[str, Call], rounds: int, block: int) -> dict[str, list[Numbers]]:
    """Microseconds of each way's blocks, after one block each to warm up."""
    for call in ways.values():
        timed(call, block)
    runs: dict[str, list[Numbers]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in ways if number % 2 == 0 else reversed(ways):
            runs[name].append({"us": timed(ways[name], block)})
    return runs


def plain(url: str) -> Call:
    """The recipe of the SDK's documentation."""
    from openai import OpenAI

    client = OpenAI(api_key="sk-bench", base_url=f"{url}/mid/v1")

    def call() -> bytes:
        found = client.images.generate(model=MODEL, prompt=PROMPT)
        return base64.b64decode((found.data or [])[0].b64_json or "")

    return call


def ours(url: str, cache: Cache) -> Call:
    """A client whose second and every later call is a hit."""
    from gptimage import ImageClient

    client = ImageClient(api_key="sk-bench", base_url=f"{url}/mid/v1", cache=cache)
    client.generate(PROMPT, model=MODEL)

    def call() -> bytes:
        result = client.generate(PROMPT, model=MODEL)
        if not result.cached or any("went on without" in text for text in result.warnings):
            raise SystemExit(f"that was no hit: {result.warnings}")
        return result.image.data

    return call


def getting(cache: Cache) -> Call:
    """Reading the reply and proving it, without parsing it."""
    cache.put(KEY, CacheEntry(body=bytes(2_000_000)))

    def call() -> bytes:
        entry = cache.get(KEY)
        return bytes(entry.body) if entry else b""  # no copy: it is bytes already

    return call


@contextmanager
def serving() -> Generator[str]:
    """Run the service in its own process; gives its address."""
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = process.stdout.readline().strip() if process.stdout else ""
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def serve() -> None:
    """Answer every request with the same 2 MB, until killed."""
    replies = {b"mid": reply(png(EDGE, noise=True), 1, EDGE)}
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            connection, _ = server.accept()
            threading.Thread(target=answer, args=(connection, replies), daemon=True).start()


@contextmanager
def redis(folder: Path) -> Generator[str]:
    """A Redis of our own on a free port; gives its URL."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    command += ["--appendonly", "no", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            for _ in range(500):
                with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.02)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds: shows that it runs")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve()
    else:
        run(quick=args.quick)


if __name__ == "__main__":
    main()
