"""How much memory a batch needs: N requests from a generator, and N results that are streamed.

``python benchmarks/bench_batch.py [--quick]``. The service is a process that takes any file and
answers with as many pictures of 16 KB as there were lines: 430 MB for 20,000. Pictures are looked
at and dropped, so what grows with N is the library's own bookkeeping.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from canned import png, reply
from measure import MODEL, Numbers, memory, report, take_turns

from gptimage import AsyncImageClient, ImageClient


FULL, QUICK = (1_000, 20_000), (200, 1_000)
EDGE = 72
"""72 x 72 pixels of 3 bytes, stored uncompressed: 16 KB."""


def run(*, quick: bool) -> None:
    """Print the largest memory, and the rate, of small and large batches."""
    counts = QUICK if quick else FULL
    for kind in ("waiting", "async"):
        runs: dict[str, list[Numbers]] = {}
        for count in counts:
            name = f"{count:,} requests, {kind}"
            runs[name] = take_turns(Path(__file__), [kind], 1, str(count))[kind]
        report("Largest memory, submitted", runs, "submitted", unit="MB", aim="as flat as 1.00")
        report("Largest memory, results read", runs, "read", unit="MB", aim="as flat as 1.00")
        report("Results per second", runs, "rate", unit="1/s", aim="no slower")


def requests(count: int) -> Iterator[dict[str, object]]:
    """Requests that are made as they are read."""
    for number in range(count):
        prompt = f"Fox {number} " + "in fresh snow, " * 20
        yield {"prompt": prompt, "model": MODEL, "quality": "low"}  # any size is as asked for


def waiting(url: str, folder: Path, count: int) -> Numbers:
    """Submit and read with the client that waits."""
    with ImageClient(api_key="sk-bench", base_url=url) as client:
        batch = client.submit_batch(requests(count), state=folder / "batch.json")
        submitted = memory(peak=True)
        batch.wait(poll=0)
        start = time.perf_counter()
        found = sum(item.result is not None for item in batch.results())
    return told(count, found, submitted, time.perf_counter() - start)


async def awaiting(url: str, folder: Path, count: int) -> Numbers:
    """Submit and read with the async client."""
    async with AsyncImageClient(api_key="sk-bench", base_url=url) as client:
        batch = await client.submit_batch(requests(count), state=folder / "batch.json")
        submitted = memory(peak=True)
        await batch.wait(poll=0)
        start, found = time.perf_counter(), 0
        async for item in batch.results():
            found += item.result is not None
    return told(count, found, submitted, time.perf_counter() - start)


def told(count: int, found: int, submitted: float, seconds: float) -> Numbers:
    """The figures of one run."""
    if found != count:
        raise SystemExit(f"{count - found} of {count} requests have no pictures")
    return {"submitted": submitted, "read": memory(peak=True), "rate": count / seconds}


def child(kind: str, count: int) -> None:
    """One run, in a fresh process."""
    with serving() as url, tempfile.TemporaryDirectory() as folder:
        if kind == "waiting":
            found = waiting(url, Path(folder), count)
        else:
            found = asyncio.run(awaiting(url, Path(folder), count))
    print(json.dumps(found))


@contextmanager
def serving() -> Generator[str]:
    """Run the service in its own process; gives its address."""
    command = [sys.executable, __file__, "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = process.stdout.readline().strip() if process.stdout else ""
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()


class Handler(BaseHTTPRequestHandler):
    """A Batch API that forgets what it reads, but for the number of lines."""

    protocol_version = "HTTP/1.1"
    lines = 0

    def do_POST(self) -> None:
        """A file, or a batch made of it."""
        left = int(self.headers["content-length"])
        while left and (piece := self.rfile.read(min(left, 1 << 16))):
            left -= len(piece)
            Handler.lines += piece.count(b"\n") - piece.count(b"\r")  # those of the form have both
        is_file = self.path.endswith("/files")
        self._answer({"id": "file-bench", "object": "file"} if is_file else self._batch())

    def do_GET(self) -> None:
        """The batch, or its results."""
        if self.path.endswith("/content"):
            self._results()
        else:
            self._answer(self._batch())

    def log_message(self, format: str, *args: object) -> None:  # the base's name
        """Say nothing."""

    def _batch(self) -> dict[str, object]:
        counts = {"total": self.lines, "completed": self.lines, "failed": 0}
        return {
            "id": "batch_bench",
            "status": "completed",
            "request_counts": counts,
            "input_file_id": "file-bench",
            "output_file_id": "file-results",
            "error_file_id": "",
        }

    def _answer(self, value: dict[str, object]) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _results(self) -> None:
        body = reply(png(EDGE, noise=True), 1, 1024).partition(b"\r\n\r\n")[2]
        self.send_response(200)
        self.send_header("content-type", "application/octet-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for number in range(self.lines):
            head = f'{{"id": "r{number}", "custom_id": "{number}", "response": {{"status_code": 200'
            tail = b', "body": %b}, "error": null}\n' % body
            self.wfile.write(f'{head}, "request_id": "{os.urandom(8).hex()}"'.encode() + tail)


def serve() -> None:
    """Answer until killed."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


def main() -> None:
    """Play the part that is named first, or run all of it."""
    if sys.argv[1:2] == ["serve"]:
        serve()
    elif len(sys.argv) == 3:
        child(sys.argv[1], int(sys.argv[2]))
    else:
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("--quick", action="store_true", help="few requests: shows that it runs")
        run(quick=parser.parse_args().quick)


if __name__ == "__main__":
    main()
