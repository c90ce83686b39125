"""What the tests of jobs share: every kind of desk, and a world around it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gptimage.workers import SqliteJobStore
from gptimage.workers.job_store import JobStore
from gptimage.workers.redis_store import RedisJobStore
from tests.workers.helpers import Clock, Service, Shared


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Recovery copies and spooled replies go to a folder of the test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture(params=["sqlite", "redis"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStore]:
    """A desk of each kind."""
    if request.param == "redis":
        url: str = request.getfixturevalue("redis_url")
        desk: JobStore = RedisJobStore(url, prefix=f"{request.node.name}:")
    else:
        desk = SqliteJobStore(tmp_path / "desk.sqlite")
    yield desk
    desk.close()


@pytest.fixture
def clock() -> Clock:
    """The time of `shared`'s desk."""
    return Clock()


@pytest.fixture
def shared(tmp_path: Path, clock: Clock) -> Shared:
    """A world with a service that answers, a cache, a store and a desk."""
    desk = SqliteJobStore(tmp_path / "desk.sqlite", clock=clock)
    return Shared(service=Service(), desk=desk, folder=tmp_path / "pictures")
