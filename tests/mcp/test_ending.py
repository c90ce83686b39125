"""A real server process over stdio: it ends only after what is paid was drawn and saved."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

import gptimage
from gptimage.sandbox import SandboxServer
from gptimage_mcp.jobs.journal import Journal
from tests.mcp.harness import JOBS, Slow


Process = subprocess.Popen[str]


@pytest.fixture
def service() -> Iterator[Slow]:
    """The service, over HTTP."""
    slow = Slow()
    yield slow
    slow.go.set()


@contextmanager
def server(folder: Path, service: Slow) -> Iterator[Process]:
    """A server that was asked for a picture, and whose request has arrived."""
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OPENAI_API_KEY": "sk-of-nobody",
        "GPTIMAGE_STORE": str(folder / "store"),
        "GPTIMAGE_LEDGER": str(folder / "spend.sqlite"),
        "GPTIMAGE_CACHE": str(folder / "cache"),
        "XDG_STATE_HOME": str(folder / "state"),
    }
    with SandboxServer(sandbox=service) as door:
        env["OPENAI_BASE_URL"] = door.base_url
        with subprocess.Popen(
            [sys.executable, "-m", "gptimage_mcp"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
        ) as process:
            try:
                ask(process)
                assert service.here.wait(120)
                yield process
            finally:
                process.kill()


def ask(process: Process) -> None:
    """Shake hands, and ask for a picture."""
    assert process.stdin
    client = {"name": "test", "version": "1"}
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
    send(process.stdin, {"id": 1, "method": "initialize", "params": hello})
    send(process.stdin, {"method": "notifications/initialized"})
    wish = {"prompt": "A fox", "size": "1024x1024", "quality": "low"}
    call = {"name": "generate_image", "arguments": wish, "_meta": {"progressToken": "p"}}
    send(process.stdin, {"id": 2, "method": "tools/call", "params": call})


def send(file: IO[str], message: dict[str, Any]) -> None:
    """One message."""
    file.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    file.flush()


def hang_up(process: Process) -> None:
    """What a client does that goes away."""
    assert process.stdin
    process.stdin.close()


def terminate(process: Process) -> None:
    """What a machine does that is shut down."""
    process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("leave", [hang_up, terminate])
def test_a_server_ends_after_its_paid_work(
    tmp_path: Path, service: Slow, leave: Callable[[Process], None]
) -> None:
    """The client hangs up or the machine shuts down in the middle of a call: nothing is lost."""
    with server(tmp_path, service) as process:
        leave(process)
        service.go.set()
        assert process.wait(120) == 0
        assert process.stdout
        lines = process.stdout.read().splitlines()

    records = gptimage.Store(tmp_path / "store").history().records
    assert [record.prompt for record in records] == ["A fox"]
    handle = next(tag for tag in records[0].tags if tag.startswith("job_"))
    entry = Journal(tmp_path / JOBS).find(handle)
    assert entry
    assert (entry.state, entry.images) == ("done", (records[0].id,))
    assert [each for each in lines if json.loads(each)["jsonrpc"] != "2.0"] == []
