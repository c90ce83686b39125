"""Shared limits: processes and machines count together, and do without when they must."""

from __future__ import annotations

import logging
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gptimage import ConfigurationError
from gptimage.limits import Limits, WindowLimiter
from gptimage.limits.headers import Kind
from gptimage.limits.window import SPAN
from tests.processes import start_python


pytest.importorskip("pyrate_limiter")
pytest.importorskip("filelock")

from gptimage.limits.shared import SharedWindows  # needs the packages above
from tests.bulk.helpers import Clock


NEEDS: dict[Kind, int] = {"images": 1, "requests": 1, "tokens": 0}

WORKER = """
import sys
from gptimage.limits import Limits, shared
shared._TIMEOUT_SECONDS = 60  # the machine may be busy: a Redis that is late is not a dead one
limiter = Limits(images_per_minute=20, requests_per_minute=1000, shared=sys.argv[1]).limiter()
print("ready", flush=True)
sys.stdin.readline()
granted = sum(limiter.acquire(1, None) == 0 for _ in range(30))
limiter.close()
print(granted)
"""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis may take a minute: limits let everything through when it is too late."""
    monkeypatch.setattr("gptimage.limits.shared._TIMEOUT_SECONDS", 60)


@pytest.fixture(params=["file", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where limits are shared: a file, then a Redis."""
    if request.param == "redis":
        url: str = request.getfixturevalue("own_redis").url
        return url
    return str(tmp_path / "limits.sqlite")


def test_processes_count_together(place: str) -> None:
    """Four processes that ask at once get exactly what the limit allows, together."""
    command = ["-W", "error", "-c", WORKER, place]
    pipe = subprocess.PIPE
    workers = [
        start_python(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(4)
    ]
    for worker in workers:
        assert worker.stdout
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin
        worker.stdin.write("go\n")
        worker.stdin.flush()
    output = [worker.communicate() for worker in workers]

    # Limits whose place failed let everything through, and log it.
    assert [errors for _, errors in output] == [""] * 4
    assert sum(int(granted) for granted, _ in output) == 20


def test_each_service_is_counted_apart(place: str) -> None:
    """What was sent to one leaves the room of another as it was, also for other processes."""
    limiters = [Limits(images_per_minute=2, shared=place).limiter() for _ in range(2)]
    waits: list[list[bool]] = []
    for limiter in limiters:
        assert isinstance(limiter, WindowLimiter)
        of = [limiter.of(name) for name in ("openai", "gemini", "my.lab")]
        waits.append([each.acquire(2, None) > 0 for each in of[:2]])
        limiter.close()

    assert waits == [[False, False], [True, True]]


def test_the_wait_is_named(place: str) -> None:
    """Who comes too early is told when the next turn is free, and gets it then."""
    clock = Clock()
    shared = SharedWindows(place, "a", {"images": 3}, clock=clock)

    granted = [shared.take(NEEDS) for _ in range(3)]
    wait = shared.take(NEEDS)
    clock.now += wait
    after = shared.take(NEEDS)
    shared.close()

    assert granted == [0, 0, 0]
    assert wait == pytest.approx(SPAN, abs=0.01)
    assert after == 0


def test_what_one_limit_grants_is_kept_for_the_other(place: str) -> None:
    """Waiting for tokens does not use up images, however often one asks."""
    clock = Clock()
    shared = SharedWindows(place, "a", {"images": 3, "tokens": 100_000}, clock=clock)

    first = shared.take({"images": 1, "requests": 1, "tokens": 90_000})
    waits = [shared.take({"images": 1, "requests": 1, "tokens": 90_000}) for _ in range(5)]
    small = [shared.take({"images": 1, "requests": 1, "tokens": 1_000}) for _ in range(2)]
    shared.close()

    assert first == 0
    assert all(wait > 0 for wait in waits)
    assert small == [0, 0]


def test_accounts_do_not_disturb_each_other(place: str) -> None:
    """Limits under another name count for themselves."""
    one = SharedWindows(place, "one", {"images": 1})
    two = SharedWindows(place, "two", {"images": 1})

    granted = [shared.take(NEEDS) == 0 for shared in (one, one, two)]
    one.close()
    two.close()

    assert granted == [True, False, True]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_opens_the_place_anew(place: str) -> None:
    """It counts together with its parent, whose connection it neither uses nor closes."""
    shared = SharedWindows(place, "a", {"images": 3})
    connections = [id(each.bucket) for each in shared._limits.values()]
    granted = [shared.take(NEEDS) == 0 for _ in range(2)]
    child = os.fork()
    if child == 0:
        here = [shared.take(NEEDS) == 0 for _ in range(2)]
        anew = connections != [id(each.bucket) for each in shared._limits.values()]
        shared.close()
        os._exit(0 if (here, anew) == ([True, False], True) else 1)
    _, status = os.waitpid(child, 0)
    granted.append(shared.take(NEEDS) == 0)
    shared.close()

    assert (status, granted) == (0, [True, True, False])


def test_a_dead_redis_stops_nobody(own_redis: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Without its Redis a process counts for itself, says so, and comes back to it later."""
    clock = Clock()
    shared = SharedWindows(own_redis.url, "a", {"images": 2}, clock=clock)
    own_redis.stop()

    with caplog.at_level(logging.WARNING, "gptimage.limits"):
        alone = [shared.take(NEEDS) for _ in range(5)]
    own_redis.start()
    clock.now += 10
    together = [shared.take(NEEDS) for _ in range(3)]
    shared.close()

    assert alone == [0] * 5
    assert len(caplog.records) == 1
    assert together[:2] == [0, 0]
    assert together[2] > 0


def test_a_place_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    """A folder, a server that is not there, and an odd name are said at once."""
    for where, name in [
        (tmp_path, "a"),
        ("redis://127.0.0.1:1/0", "a"),
        (tmp_path / "limits.sqlite", "'; DROP TABLE"),
    ]:
        with pytest.raises(ConfigurationError):
            Limits(images_per_minute=5, shared=where, name=name).limiter()
