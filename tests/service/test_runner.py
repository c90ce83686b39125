"""A process that makes calls, and finishes what was begun when its owner is gone."""

from __future__ import annotations

import asyncio
import io
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from gptimage.errors import GptImageError, InvalidRequestError
from gptimage.service import Runner, RunnerError, RunnerLostError
from gptimage.service.host import _Out, _run


WORK = "tests.service.works:open_tasks"

_T = TypeVar("_T")


@pytest.fixture(autouse=True)
def works_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process find the work of these tests by its name, wherever pytest was started."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))


def run(
    folder: Path,
    ask: Callable[[Runner], Awaitable[_T]],
    work: str = WORK,
    *,
    idle: float | None = None,
) -> _T:
    """Ask a runner, and hang up."""

    async def asked() -> _T:
        runner = Runner(work, folder, idle=idle)
        try:
            return await ask(runner)
        finally:
            runner.close()

    return asyncio.run(asked())


def ignore(_: Any) -> None:
    """Nobody listens."""


def wait_for(path: Path) -> str:
    """What a file holds, once it is there."""
    while not path.exists() or not path.read_text():
        time.sleep(0.02)
    return path.read_text()


def test_a_call_is_made_and_told_of(tmp_path: Path) -> None:
    """What happens is events in order, and what came of it is returned."""
    events: list[int] = []

    assert run(tmp_path, lambda runner: runner.run("a", "count", events.append)) == "counted"
    assert events == [0, 1, 2]


def test_an_error_is_the_error(tmp_path: Path) -> None:
    """What went wrong there is raised here, with its attributes."""
    with pytest.raises(InvalidRequestError, match="too many") as caught:
        run(tmp_path, lambda runner: runner.run("a", "fail", ignore))

    assert (caught.value.field, caught.value.value) == ("n", 11)


@pytest.mark.parametrize(("call", "said"), [("odd", "OddError"), ("unreadable", "UnreadableError")])
def test_an_error_nobody_can_be_handed_is_told(tmp_path: Path, call: str, said: str) -> None:
    """One that cannot be pickled, or not be made again of its pickle, still says what it is."""
    with pytest.raises(GptImageError, match=f"{said}: odd"):
        run(tmp_path, lambda runner: runner.run("a", call, ignore))


def test_what_is_printed_is_no_message(tmp_path: Path) -> None:
    """A library that prints does not break the talk."""
    assert run(tmp_path, lambda runner: runner.run("a", "print", ignore)) == "printed"


def test_one_process_makes_all_calls(tmp_path: Path) -> None:
    """It is started once, and stays while there are calls."""

    async def ask(runner: Runner) -> list[int]:
        return await asyncio.gather(*(runner.run(str(n), "pid", ignore) for n in range(5)))

    assert len(set(run(tmp_path, ask))) == 1


def test_an_idle_process_ends_and_another_is_started(tmp_path: Path) -> None:
    """After a while without calls it leaves by itself; the next call does not notice."""

    async def ask(runner: Runner) -> list[int]:
        first = await runner.run("a", "pid", ignore)
        await asyncio.to_thread(wait_for, tmp_path / "closed")
        return [first, await runner.run("b", "pid", ignore)]

    first, second = run(tmp_path, ask, idle=0.05)

    assert first != second


def test_what_was_begun_goes_on_without_its_owner(tmp_path: Path) -> None:
    """The owner hangs up in the middle of a call: it is finished, and then nothing is left."""

    async def ask(runner: Runner) -> None:
        begun = asyncio.Event()
        call = asyncio.ensure_future(runner.run("a", "wait", lambda _: begun.set()))
        await begun.wait()
        call.cancel()

    run(tmp_path, ask)

    assert wait_for(tmp_path / "a") == "done"
    assert wait_for(tmp_path / "left") == "left"
    wait_for(tmp_path / "closed")


def test_a_cancel_is_handed_on(tmp_path: Path) -> None:
    """The work is told which call nobody wants any more."""

    async def ask(runner: Runner) -> Any:
        await runner.run("a", "pid", ignore)
        runner.cancel("b")
        found: Any = []
        while not found:  # it travels in a thread of its own
            found = await runner.run("c", "cancelled", ignore)
        return found

    assert run(tmp_path, ask) == ["b"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_process_that_is_killed_is_told(tmp_path: Path) -> None:
    """A call that was begun is lost, and is not made again; the next call has another process."""

    async def ask(runner: Runner) -> int:
        with pytest.raises(RunnerLostError):
            await runner.run("a", "die", ignore)
        return int(await runner.run("b", "pid", ignore))

    assert run(tmp_path, ask) > 0


def test_a_process_that_cannot_work_says_why(tmp_path: Path) -> None:
    """Nothing was begun, and the reason is the one it gave."""
    with pytest.raises(RunnerError, match=f"not in {tmp_path.name}"):
        run(tmp_path, lambda r: r.run("a", "pid", ignore), "tests.service.works:open_nothing")


def test_a_python_that_cannot_be_started_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no process can be started, nothing was begun."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))

    with pytest.raises(RunnerError, match="no process can be started"):
        run(tmp_path, lambda runner: runner.run("a", "pid", ignore))


class Held(io.RawIOBase):
    """A pipe whose reader takes nothing until it is let go."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.written = b""

    def writable(self) -> bool:
        """It is a sink."""
        return True

    def write(self, data: Any) -> int:
        """Wait for the reader, as a full pipe does."""
        assert self.open.wait(60)
        self.written += bytes(data)
        return len(data)


def test_a_call_begins_when_its_owner_can_know_it() -> None:
    """Killed before that message is out, its owner would begin and pay it once more."""
    begun: list[str] = []

    class Noted:
        """Work that says when it begins."""

        async def run(self, id: str, call: object, _: Any) -> object:
            begun.append(id)
            return call

    async def scenario() -> tuple[list[str], list[str]]:
        sink = Held()
        out = _Out(cast("Any", sink))
        call = _run(cast("Any", Noted()), "a", "x", out, set(), asyncio.Event())
        task = asyncio.create_task(call)
        for _ in range(5):
            await asyncio.sleep(0)
        before = [*begun]
        sink.open.set()
        await task
        out.end()
        return before, begun

    assert asyncio.run(scenario()) == ([], ["a"])


@pytest.mark.parametrize("gone", [True, False])
def test_a_call_of_an_owner_who_left_is_not_begun(gone: bool) -> None:
    """Whether its message could not be written, or it left just after that."""

    async def scenario() -> None:
        sink = Held()
        sink.open.set()
        if gone:
            sink.close()
        leaving = asyncio.Event()
        if not gone:
            leaving.set()
        await _run(cast("Any", None), "a", "x", _Out(cast("Any", sink)), set(), leaving)

    asyncio.run(scenario())
