"""A process that makes calls, and finishes what was begun when its owner is gone."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from gptimage.errors import GptImageError, InvalidRequestError
from gptimage.service import Runner, RunnerError, RunnerLostError


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


def test_an_error_nobody_can_be_handed_is_told(tmp_path: Path) -> None:
    """One that cannot be pickled still says what it is."""
    with pytest.raises(GptImageError, match="OddError: odd"):
        run(tmp_path, lambda runner: runner.run("a", "odd", ignore))


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
