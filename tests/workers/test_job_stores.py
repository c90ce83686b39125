"""Every kind of job store keeps the same contract: nothing is overwritten, nothing is forgotten."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from gptimage import ConfigurationError, ImageClient, InvalidRequestError
from gptimage.store import Store
from gptimage.store.blobs import BlobInfo
from gptimage.store.local_blobs import FileBlobs
from gptimage.store.object_blobs import ObjectBlobs
from gptimage.workers import (
    BlobJobStore,
    Job,
    JobResult,
    JobStoreError,
    SqliteJobStore,
    discard,
    retry,
    run_job,
)
from gptimage.workers.job import JobOutput, JobRecord
from gptimage.workers.job_store import JobStore, change
from gptimage.workers.redis_store import RedisJobStore
from tests.processes import start_python
from tests.store.azurite import Azurite
from tests.workers.helpers import Clock


WORKER = """
import os, sys
from attrs import evolve
from gptimage.store.local_blobs import FileBlobs
from gptimage.workers import BlobJobStore, SqliteJobStore
from gptimage.workers.job_store import change
from gptimage.workers.redis_store import RedisJobStore

kind, place, prefix, count = sys.argv[1:]
if kind == "sqlite":
    job_store = SqliteJobStore(place)
elif kind == "blobs":
    job_store = BlobJobStore(FileBlobs(place))
else:
    job_store = RedisJobStore(place, prefix=prefix)
for number in range(int(count)):
    me = f"{os.getpid()}:{number}"
    change(job_store, "a", lambda entry: evolve(entry, attempt=entry.attempt + 1, owner=me))
"""


def entry(id: str = "a", **values: Any) -> JobRecord:
    """An entry; a claimed one when nothing else is said."""
    request = Job(id, {"prompt": "A red fox"}).text
    return JobRecord(**{"id": id, "request": request, "state": "claimed", "at": 1.0, **values})


def test_what_is_written_is_read(job_store: JobStore) -> None:
    """An entry comes back as it was, also one nobody can print; before, there is nothing."""
    reason = "odd: \ud800 é ☃"
    full = entry(owner="m:1:x", until=2.5, key="g1:k", possible_cost=None, reason=reason)

    before = job_store.read("a")
    written = job_store.compare_and_swap(None, full)

    assert (before, written) == (None, True)
    assert job_store.read("a") == full


def test_only_what_was_read_is_replaced(job_store: JobStore) -> None:
    """Whoever read an older entry does not overwrite a newer one."""
    first = entry()
    second = evolve(first, revision=2, state="sending")
    job_store.compare_and_swap(None, first)

    taken = [
        job_store.compare_and_swap(None, entry(owner="other")),
        job_store.compare_and_swap(first, second),
    ]
    late = job_store.compare_and_swap(first, evolve(first, revision=2, state="failed"))

    assert (taken, late) == ([False, True], False)
    assert job_store.read("a") == second


def test_writing_the_same_twice_succeeds(job_store: JobStore) -> None:
    """Somebody whose answer was lost asks again, and has written it."""
    first = entry()
    second = evolve(first, revision=2)

    assert job_store.compare_and_swap(None, first)
    assert job_store.compare_and_swap(None, first)
    assert job_store.compare_and_swap(first, second)
    assert job_store.compare_and_swap(first, second)


def test_unsettled_jobs_come_first(job_store: JobStore) -> None:
    """What needs somebody is listed, oldest first; what is settled only when asked for."""
    for number, state in enumerate(
        ("done", "needs_review", "failed", "claimed", "discarded", "open")
    ):
        job_store.compare_and_swap(
            None, entry(f"job-{number}", state=state, at=job_store.now() - number)
        )

    assert [each.id for each in job_store.records()] == ["job-5", "job-3", "job-1"]
    everything = [each.id for each in job_store.records(settled=True)]
    assert everything == ["job-5", "job-3", "job-1", "job-4", "job-2", "job-0"]


def test_a_settled_job_may_become_unsettled(job_store: JobStore) -> None:
    """A failed job that is claimed again is listed again."""
    failed = entry(state="failed")
    job_store.compare_and_swap(None, failed)
    job_store.compare_and_swap(failed, evolve(failed, revision=2, state="claimed"))

    assert [each.state for each in job_store.records()] == ["claimed"]


def test_one_of_many_threads_wins(job_store: JobStore) -> None:
    """Threads that all want a new job at once: one of them gets it."""
    start = threading.Barrier(8)

    def want(number: int) -> bool:
        start.wait()
        return job_store.compare_and_swap(None, entry(owner=str(number)))

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(want, range(8))) == [False] * 7 + [True]


def test_no_change_of_a_process_is_lost(
    job_store: JobStore, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Four processes change one entry fifty times each, and every change counts."""
    job_store.compare_and_swap(None, entry())
    if isinstance(job_store, SqliteJobStore):
        place = ["sqlite", str(tmp_path / "jobs.sqlite"), ""]
    elif isinstance(job_store, BlobJobStore):
        place = ["blobs", str(tmp_path / "jobs"), ""]
    else:
        place = ["redis", request.getfixturevalue("redis_url"), f"{request.node.name}:"]
    workers = [start_python(["-W", "error", "-c", WORKER, *place, "50"]) for _ in range(4)]

    assert [worker.wait() for worker in workers] == [0] * 4
    found = job_store.read("a")
    assert found is not None
    assert (found.attempt, found.revision) == (201, 201)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_uses_the_job_store(job_store: JobStore) -> None:
    """A job store made before a fork works after it, in both processes."""
    job_store.compare_and_swap(None, entry())
    child = os.fork()
    if child == 0:
        found = change(job_store, "a", lambda entry: entry and evolve(entry, reason="child"))
        os._exit(0 if found else 1)
    status = os.waitpid(child, 0)[1]

    found = change(job_store, "a", lambda entry: entry and evolve(entry, owner="parent"))
    assert status == 0
    assert found is not None
    assert (found.reason, found.owner) == ("child", "parent")


def test_its_clock_tells_unix_time(job_store: JobStore) -> None:
    """The time is in seconds since 1970 and goes on; a server's need not be this machine's."""
    first, second = job_store.now(), job_store.now()

    assert datetime(2026, 1, 1, tzinfo=UTC).timestamp() < first <= second
    assert second < datetime(2100, 1, 1, tzinfo=UTC).timestamp()


def test_a_person_reopens_and_drops(job_store: JobStore) -> None:
    """A job that needs review is opened or given up; a job that is done, or nobody's, is not."""
    job_store.compare_and_swap(None, entry("needs_review", state="needs_review", reason="timeout"))
    job_store.compare_and_swap(None, entry("gone", state="sending", until=job_store.now() - 1))
    job_store.compare_and_swap(
        None, entry("alive", state="sending", until=job_store.now() + 60, owner="m:1:x")
    )
    job_store.compare_and_swap(None, entry("done", state="done", images=("img_1",)))

    assert retry(job_store, "needs_review").state == "open"
    assert discard(job_store, "gone").state == "discarded"
    for id, why in [("alive", "m:1:x"), ("done", "img_1"), ("nobody", "no such job")]:
        for decide in (retry, discard):
            with pytest.raises(InvalidRequestError, match=why):
                decide(job_store, id)


def test_a_file_is_its_owners(tmp_path: Path) -> None:
    """Prompts are in it, so nobody else may read the file."""
    job_store = SqliteJobStore(tmp_path / "deep" / "jobs.sqlite")
    job_store.compare_and_swap(None, entry())

    assert stat.S_IMODE(job_store.path.stat().st_mode) == 0o600


def test_a_foreign_file_is_left_alone(tmp_path: Path) -> None:
    """What is no job store, or a newer one, is refused and stays as it is."""
    text = tmp_path / "notes.txt"
    text.write_text("this is no database, and it has more than one line\n" * 50)
    other = tmp_path / "other.sqlite"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE mine (id)")
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    before = [path.read_bytes() for path in (text, other)]

    for path in (text, other, tmp_path):
        with pytest.raises(JobStoreError, match=path.name):
            SqliteJobStore(path).read("a")
    assert [path.read_bytes() for path in (text, other)] == before


class NoBucket(FileBlobs):
    """A bucket that is not there: whatever is done with it, something is not found."""

    def create(self, key: str, data: bytes, *, fsync_dir: bool = True) -> str:
        """Not found."""
        raise FileNotFoundError(f"{key}: NoSuchBucket {len(data)} {fsync_dir}")

    def list(self, prefix: str, *, after: str = "") -> Iterator[BlobInfo]:
        """Not found."""
        raise FileNotFoundError(f"NoSuchBucket {prefix}{after}")


def test_a_bucket_that_is_missing_is_said(tmp_path: Path) -> None:
    """As an error of the job store, which workers wait for and deliver again."""
    job_store = BlobJobStore(NoBucket(tmp_path))

    with pytest.raises(JobStoreError, match="NoSuchBucket"):
        job_store.compare_and_swap(None, entry())
    with pytest.raises(JobStoreError, match="NoSuchBucket"):
        list(job_store.records())


def test_a_damaged_entry_is_said(tmp_path: Path) -> None:
    """An entry that makes no sense is an error, never a job to be begun anew."""
    job_store = SqliteJobStore(tmp_path / "jobs.sqlite")
    job_store.compare_and_swap(None, entry())
    connection = sqlite3.connect(job_store.path)
    connection.execute("UPDATE jobs SET entry = '{\"id\": 1}'")
    connection.commit()
    connection.close()

    with pytest.raises(JobStoreError, match="damaged"):
        job_store.read("a")


def test_settled_jobs_are_forgotten_in_time(tmp_path: Path) -> None:
    """After ``keep`` a file forgets what is settled, and nothing else."""
    clock = Clock()
    job_store = SqliteJobStore(tmp_path / "jobs.sqlite", keep=timedelta(days=1), clock=clock)
    for state in ("done", "needs_review"):
        job_store.compare_and_swap(None, entry(state, state=state, at=clock.now))
    clock.pass_(86_401)
    job_store.compare_and_swap(None, entry("new"))

    assert (job_store.read("done"), job_store.read("needs_review") is not None) == (None, True)


def test_redis_forgets_in_time(redis_url: str, request: pytest.FixtureRequest) -> None:
    """Redis gets a time to live for what is settled, and takes it back when it is claimed."""
    import redis

    job_store = RedisJobStore(redis_url, prefix=f"{request.node.name}:", keep=timedelta(days=1))
    server: Any = redis.Redis
    key = f"{request.node.name}:job:a"
    with server.from_url(redis_url) as client:
        job_store.compare_and_swap(None, entry())
        lives = [client.ttl(key)]
        for revision, state in ((2, "failed"), (3, "claimed")):
            job_store.compare_and_swap(
                evolve(entry(), revision=revision - 1), entry(revision=revision, state=state)
            )
            lives.append(client.ttl(key))
    job_store.close()

    assert (lives[0], lives[2]) == (-1, -1)
    assert 86_000 < lives[1] <= 86_400


@pytest.mark.parametrize("call", [JobStore.now, lambda job_store: job_store.read("a")])
def test_a_dead_redis_is_said(own_redis: Any, call: Callable[[JobStore], object]) -> None:
    """A server that does not answer is a JobStoreError, and is used again when it is back."""
    job_store = RedisJobStore(own_redis.url, timeout=timedelta(seconds=1))
    own_redis.stop()

    with pytest.raises(JobStoreError, match=str(own_redis.port)):
        job_store.now()
    own_redis.start()
    assert call(job_store) is None or job_store.now() > 0
    job_store.close()


def test_a_forgetful_redis_is_refused(own_redis: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A server that evicts keys is refused; one that forgets in a restart is warned about."""
    import redis

    server: Any = redis.Redis
    job_store = RedisJobStore(own_redis.url)
    with server.from_url(own_redis.url) as client:
        client.config_set("maxmemory", "100mb")
        client.config_set("maxmemory-policy", "volatile-lru")
        with pytest.raises(ConfigurationError, match="volatile-lru"):
            job_store.read("a")
        client.config_set("maxmemory-policy", "noeviction")
        with caplog.at_level(logging.WARNING, "gptimage.workers"):
            found = [job_store.read("a"), job_store.read("a")]
    job_store.close()

    assert found == [None, None]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_url_that_is_none_is_refused() -> None:
    """A wrong URL is said when the job store is made."""
    with pytest.raises(ConfigurationError, match="not a Redis URL"):
        RedisJobStore("http://localhost")


def test_an_entry_knows_what_it_is() -> None:
    """Text that is no entry is refused; an answer is a plain value."""
    for text in ("", "[]", "{}", entry().to_text().replace("claimed", "elsewhere")):
        with pytest.raises(ValueError, match=r"."):
            JobRecord.from_text(text)
    assert JobRecord.from_text(entry().to_text().replace("{", '{"newer": 1, ', 1)) == entry()
    assert JobOutput(images=("img_1",), cost=None).warnings == ()


def test_jobs_and_images_in_a_container_of_azure(azure: Azurite) -> None:
    """Delivered three times, to workers that share nothing else, a job is paid for once."""
    job = Job.of("order-17", "A red fox", size="64x64", quality="low")
    azure.create_container("work")
    results: list[JobResult] = []

    for _ in range(3):
        images, jobs = (
            ObjectBlobs.from_url(f"az://work/{each}", **azure.settings)
            for each in ("images", "jobs")
        )
        with ImageClient.sandbox(store=Store(images)) as client:
            results.append(run_job(job, client=client, job_store=BlobJobStore(jobs)))
            assert client.store is not None
            assert client.store.stats().images == 1

    assert [each.status for each in results] == ["done"] * 3
    assert {each.images for each in results} == {results[0].images}
