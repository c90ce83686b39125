"""What the tests of jobs share: every kind of job store, and a world around it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gptimage.store.local_blobs import FileBlobs
from gptimage.workers import BlobJobStore, SqliteJobStore
from gptimage.workers.job_store import JobStore
from gptimage.workers.redis_store import RedisJobStore
from tests.store.conftest import azure
from tests.workers.helpers import Clock, Service, Shared


__all__ = ["azure", "clock", "job_store", "shared", "state"]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Recovery copies and spooled replies go to a folder of the test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture(params=["sqlite", "redis", "blobs"])
def job_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStore]:
    """A job store of each kind."""
    if request.param == "redis":
        url: str = request.getfixturevalue("redis_url")
        job_store: JobStore = RedisJobStore(url, prefix=f"{request.node.name}:")
    elif request.param == "sqlite":
        job_store = SqliteJobStore(tmp_path / "jobs.sqlite")
    else:
        job_store = BlobJobStore(FileBlobs(tmp_path / "jobs"))
    yield job_store
    job_store.close()


@pytest.fixture
def clock() -> Clock:
    """The time of `shared`'s job store."""
    return Clock()


@pytest.fixture
def shared(tmp_path: Path, clock: Clock) -> Shared:
    """A world with a service that answers, a cache, a store and a job store."""
    job_store = SqliteJobStore(tmp_path / "jobs.sqlite", clock=clock)
    return Shared(service=Service(), job_store=job_store, folder=tmp_path / "pictures")
