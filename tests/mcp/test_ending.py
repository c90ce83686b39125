"""A real server process over stdio: whatever its client does to it, what was sent is finished."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

import gptimage
from gptimage.sandbox import SandboxServer
from gptimage_mcp.jobs.journal import Entry, Journal
from tests.mcp.harness import JOBS, Slow, result_json, server_fixture
from tests.processes import start_python


Process = subprocess.Popen[str]
CHEAP = {"size": "1024x1024", "quality": "low"}


@pytest.fixture
def service() -> Iterator[Slow]:
    """The service, over HTTP."""
    slow = Slow()
    yield slow
    slow.go.set()


@contextmanager
def server(folder: Path, service: Slow, **settings: str) -> Generator[Process]:
    """A server process in a group of its own, after the handshake."""
    env = {
        **os.environ,
        "OPENAI_API_KEY": "sk-of-nobody",
        "GPTIMAGE_STORE": str(folder / "store"),
        "GPTIMAGE_LEDGER": str(folder / "spend.sqlite"),
        "GPTIMAGE_CACHE": "off",
        "XDG_STATE_HOME": str(folder / "state"),
    }
    with SandboxServer(sandbox=service) as door:
        env |= {"OPENAI_BASE_URL": door.base_url, **settings}
        with start_python(
            ["-m", "gptimage_mcp"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
            start_new_session=True,
        ) as process:
            try:
                shake_hands(process)
                yield process
                service.go.set()  # while the service can still be reached
                while is_drawing(folder):
                    time.sleep(0.05)
            finally:
                process.kill()
                service.go.set()


def shake_hands(process: Process) -> None:
    """Begin."""
    client = {"name": "test", "version": "1"}
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
    ask(process, "initialize", hello, id=1)
    ask(process, "notifications/initialized")


def draw(process: Process, prompt: str, id: int) -> None:
    """Ask for a picture."""
    call = {"name": "generate_image", "arguments": {"prompt": prompt, **CHEAP}}
    ask(process, "tools/call", call, id=id)


def ask(process: Process, method: str, params: Any = None, **id: int) -> None:
    """One message."""
    assert process.stdin
    send(process.stdin, {**id, "method": method, "params": params or {}})


def send(file: IO[str], message: dict[str, Any]) -> None:
    """One message."""
    file.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    file.flush()


def entries(folder: Path) -> list[Entry]:
    """What is written down."""
    journal = Journal(folder / JOBS)
    found = [journal.find(each.stem) for each in (folder / JOBS).glob("job_*.json")]
    return [each for each in found if each is not None]


def is_drawing(folder: Path) -> bool:
    """Whether a process that lives has work."""
    journal = Journal(folder / JOBS)
    return any(each.state == "running" and journal.is_alive(each) for each in entries(folder))


def wait_for_entries(folder: Path, count: int) -> None:
    """Until so many calls were handed over."""
    while len(entries(folder)) < count:
        time.sleep(0.05)


def runners(folder: Path) -> list[Path]:
    """The locks of the processes that draw."""
    return [*(folder / JOBS).glob("server_*.lock")]


def hang_up(process: Process) -> None:
    """What a client does that goes away."""
    assert process.stdin
    process.stdin.close()


def terminate(process: Process) -> None:
    """What a machine does that is shut down."""
    process.send_signal(signal.SIGTERM)


def kill_the_group(process: Process) -> None:
    """What the SDK does with a server that does not end, and all it has started."""
    os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("leave", [hang_up, terminate, kill_the_group])
def test_what_was_sent_is_finished(
    tmp_path: Path, service: Slow, leave: Callable[[Process], None]
) -> None:
    """The server ends at once and is not waited for; the picture is saved, and nothing lingers."""
    with server(tmp_path, service) as process:
        draw(process, "A fox", 2)
        assert service.here.wait(120)
        leave(process)
        process.wait(120)  # although nothing was drawn yet
        assert not service.go.is_set()
        assert process.stdout
        lines = process.stdout.read().splitlines()

    (entry,) = entries(tmp_path)
    records = gptimage.Store(tmp_path / "store").history().records
    assert [record.prompt for record in records] == ["A fox"]
    assert (entry.state, entry.images) == ("done", (records[0].id,))
    assert [each for each in lines if json.loads(each)["jsonrpc"] != "2.0"] == []
    later = server_fixture(tmp_path).call("view_image", id=entry.handle)
    assert [each["id"] for each in result_json(later)["images"]] == [records[0].id]
    while runners(tmp_path):  # it lets go of its lock as the last thing it does
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_server_started_meanwhile_joins_what_is_drawn(tmp_path: Path, service: Slow) -> None:
    """It pays for nothing that the killed server sent, and draws what is new itself."""
    with SandboxServer(sandbox=service) as door:
        place = {"OPENAI_BASE_URL": door.base_url}
        with server(tmp_path, service, **place) as first:
            draw(first, "A fox", 2)
            assert service.here.wait(120)
            kill_the_group(first)
            with server(tmp_path, service, **place) as second:
                assert second.stdout
                second.stdout.readline()
                draw(second, "A fox", 2)
                draw(second, "A cat", 3)
                wait_for_entries(tmp_path, 2)
                service.go.set()
                answers = [json.loads(second.stdout.readline()) for _ in range(2)]
                hang_up(second)

    told = {each["id"]: json.loads(each["result"]["content"][0]["text"]) for each in answers}
    fox, cat = sorted(entries(tmp_path), key=lambda each: each.started)
    assert (told[2]["handle"], told[3]["handle"]) == (fox.handle, cat.handle)
    assert (fox.state, cat.state, len(service.requests)) == ("done", "done", 2)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_what_was_not_sent_is_listed_and_never_sent(tmp_path: Path, service: Slow) -> None:
    """A call that waits for its turn when the client leaves costs nothing, and is told of."""
    with server(tmp_path, service, GPTIMAGE_IMAGES_PER_MINUTE="1") as process:
        draw(process, "A fox", 2)
        assert service.here.wait(120)
        draw(process, "A cat", 3)
        wait_for_entries(tmp_path, 2)
        kill_the_group(process)

    status = server_fixture(tmp_path).call("get_server_status").structured_content
    assert status
    fox, cat = sorted(entries(tmp_path), key=lambda each: each.started)
    assert [fox.state, cat.state, cat.sent, cat.stopped] == ["done", "failed", False, True]
    assert [(each["handle"], each["state"]) for each in status["undecided"]] == [
        (cat.handle, "not_sent")
    ]
    assert len(service.requests) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_call_that_waits_can_be_cancelled(tmp_path: Path, service: Slow) -> None:
    """It is never sent and costs nothing; what was sent is finished, and that is said."""
    with server(tmp_path, service, GPTIMAGE_IMAGES_PER_MINUTE="1") as process:
        assert process.stdout
        process.stdout.readline()
        draw(process, "A fox", 2)
        assert service.here.wait(120)
        draw(process, "A cat", 3)
        wait_for_entries(tmp_path, 2)
        fox, cat = sorted(entries(tmp_path), key=lambda each: each.started)
        answers: dict[int, Any] = {}
        for number, each in ((4, cat), (5, fox)):
            call = {"name": "cancel_call", "arguments": {"id": each.handle}}
            ask(process, "tools/call", call, id=number)
            while not {3, number} <= answers.keys():  # call 3 ends with its cancellation
                answer = json.loads(process.stdout.readline())
                answers[answer["id"]] = answer["result"]
        hang_up(process)

    told = [answers[number]["structuredContent"] for number in (4, 5)]
    assert [(each["sent"], each["status"]) for each in told] == [
        (False, "failed"),
        (True, "running"),
    ]
    assert "it was cancelled before the request was sent" in answers[3]["content"][0]["text"]
    assert len(service.requests) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_runner_that_is_killed_is_owned_up_to(tmp_path: Path, service: Slow) -> None:
    """Its server says that the call may be billed, and draws the next one with another."""
    with server(tmp_path, service) as process:
        assert process.stdout
        process.stdout.readline()
        draw(process, "A fox", 2)
        assert service.here.wait(120)
        (lock,) = runners(tmp_path)
        os.kill(int(lock.name.split("_")[1]), signal.SIGKILL)
        answer = json.loads(process.stdout.readline())
        service.go.set()
        draw(process, "A cat", 3)
        again = json.loads(process.stdout.readline())
        hang_up(process)

    assert answer["result"]["isError"]
    assert "may have been billed" in answer["result"]["content"][0]["text"]
    assert json.loads(again["result"]["content"][0]["text"])["status"] == "done"
