"""A run killed with -9 goes on: nothing is paid twice, and only what was asked is in doubt."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gptimage.sandbox import Sandbox, SandboxServer
from gptimage.transport.http import HttpRequest
from tests.processes import start_python


RUN = """
import asyncio, json, sys
from gptimage import AsyncImageClient, ImageClient, Limits
from gptimage.store import Store

kind, url, limit, requests = sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
settings = dict(
    api_key="sk-test", base_url=url, store=Store("images"), limits=Limits(images_per_minute=limit)
)
how = dict(concurrency=12, checkpoint="run.jsonl")

def tell(item):
    error = type(item.error).__name__ if item.error else None
    print(json.dumps([item.index, error, item.resumed]), flush=True)

def threads():
    with ImageClient(**settings) as client:
        for item in client.generate_many(requests, **how):
            tell(item)

async def tasks():
    async with AsyncImageClient(**settings) as client:
        async for item in client.generate_many(requests, **how):
            tell(item)

threads() if kind == "sync" else asyncio.run(tasks())
"""

SILENT = {0, 1, 2, 3, 5}
REQUESTS: list[dict[str, Any]] = [
    {"prompt": f"Fox {index}", "size": "1024x640", "quality": "low"} for index in range(12)
]
"""A limit lets eight of them through; the service is silent about some."""


class Moody(Sandbox):
    """A sandbox that says nothing about some requests until it is in a better mood."""

    def __init__(self) -> None:
        super().__init__()
        self.speaks = threading.Event()

    def handle(self, request: HttpRequest) -> Any:
        """The answer, in time."""
        found = super().handle(request)
        if number(request) in SILENT:
            self.speaks.wait()
        return found


def number(request: HttpRequest) -> int:
    """Which item a request is of."""
    return int(str(request.body["prompt"]).split()[1])


def last(path: Path) -> dict[int, str]:
    """What a checkpoint says of each item."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {line["index"]: line["status"] for line in lines}


def asked(sandbox: Sandbox) -> Counter[int]:
    """How often the service was asked for each item."""
    return Counter(map(number, sandbox.requests))


@contextmanager
def running(kind: str, url: str, limit: int, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A run of all requests in a process of its own."""
    command = ["-c", RUN, kind, url, f"{limit}", json.dumps(REQUESTS)]
    env = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    with start_python(command, stdout=subprocess.PIPE, text=True, cwd=folder, env=env) as process:
        yield process


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_killed_run_goes_on(kind: str, tmp_path: Path) -> None:
    """By the service's own count every item is asked once; those it was silent about are parked."""
    sandbox = Moody()
    with SandboxServer(sandbox=sandbox) as server:
        with running(kind, server.base_url, 8, tmp_path) as process:
            assert process.stdout is not None
            while len(sandbox.requests) < 8:
                time.sleep(0.01)
            first = set(asked(sandbox))
            finished = {json.loads(process.stdout.readline())[0] for _ in first - SILENT}
            process.kill()
        sandbox.speaks.set()
        left = last(tmp_path / "run.jsonl")
        with running(kind, server.base_url, 1000, tmp_path) as again:
            found = [json.loads(line) for line in again.communicate()[0].splitlines()]

    assert (process.returncode, again.returncode) == (-signal.SIGKILL, 0)
    assert (len(first), finished) == (8, first - SILENT)
    assert left == dict.fromkeys(finished, "done") | dict.fromkeys(first & SILENT, "begun")
    unknown = "OutcomeUnknownError"
    assert {index for index, error, resumed in found if error == unknown and resumed} == (
        first & SILENT
    )
    assert {index for index, error, resumed in found if not error and resumed} == finished
    assert asked(sandbox) == dict.fromkeys(range(12), 1)
