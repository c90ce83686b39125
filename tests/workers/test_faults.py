"""Whatever fails on a worker's disks: no paid image of a job is lost, or paid twice."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gptimage import ImageClient, Retry, StoreError
from gptimage.cache import Cache
from gptimage.store import PendingReplies, Store
from gptimage.transport.base64_body import decoded_images
from gptimage.workers import SqliteJobStore, run_job
from tests.workers.helpers import JOB, LEASE, URL, Clock, Service, picture


def on_disk(folder: Path) -> set[str]:
    """The images in the store, in the spool and among the recovery copies."""
    bodies = [left.read() for left in PendingReplies().abandoned(older_than=timedelta(0))]
    found = {hashlib.sha256(data).hexdigest() for body in bodies for data in decoded_images(body)}
    files = [*folder.rglob("*.png")]
    return found | {hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(
    ("broken", "cached"),
    [
        (("job_store", "state"), False),
        (("state", "pictures"), False),
        (("job_store", "state", "pictures"), False),
        (("job_store", "state", "pictures", "cache"), True),
    ],
    ids=["jobs-spool", "spool-store", "all", "all-and-cache"],
)
@pytest.mark.parametrize(
    ("for_good", "every"),
    [
        (True, 7),
        pytest.param(False, 1, marks=pytest.mark.slow),
        pytest.param(True, 1, marks=pytest.mark.slow),
    ],
    ids=["some", "once", "for-good"],
)
def test_no_fault_loses_a_paid_image(
    tmp_path: Path, faults: Any, broken: tuple[str, ...], cached: bool, for_good: bool, every: int
) -> None:
    """It is in the store, in the spool, among the recovery copies, or in the exception."""
    points, tried, lost, twice = 0, 0, list[int](), list[int]()
    while True:
        folder, service, clock = tmp_path / f"{points}", Service(), Clock()
        folder.mkdir()
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))

            def deliver(
                folder: Path = folder, service: Service = service, clock: Clock = clock
            ) -> None:
                with ImageClient(
                    transport=service,
                    base_url=URL,
                    store=Store(folder / "pictures"),
                    cache=Cache.disk(folder / "cache") if cached else None,
                    retry=Retry(attempts=1),
                ) as client:
                    job_store = SqliteJobStore(folder / "job_store" / "jobs.sqlite", clock=clock)
                    run_job(JOB, client=client, job_store=job_store, lease=LEASE)

            disk = faults(*(folder / name for name in broken), at=points, for_good=for_good)
            carried = False
            with pytest.MonkeyPatch.context() as inner:
                disk.install(inner)
                try:
                    deliver()
                except StoreError as error:
                    carried = error.result is not None
                except Exception:  # noqa: BLE001  # it carries no image
                    pass
            digest = hashlib.sha256(picture()).hexdigest()
            if service.billed and not carried and digest not in on_disk(folder):
                lost.append(points)
            paid = service.billed
            clock.pass_(31.0)
            with suppress(Exception):
                deliver()
            if paid and service.billed > paid:
                twice.append(points)
        if not disk.happened:
            break
        points, tried = points + every, tried + 1
        assert points < 500

    disk.report("job " + "+".join(broken), tried, lost=lost, twice=twice)
    assert (lost, twice) == ([], [])
    assert points > 3
