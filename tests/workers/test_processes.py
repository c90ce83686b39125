"""Real processes, killed with -9: what they leave is found, or needs review."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from gptimage import ImageClient
from gptimage.cache import Cache
from gptimage.sandbox import SandboxServer
from gptimage.store import Store
from gptimage.workers import SqliteJobStore, run_job
from tests.processes import start_python
from tests.workers.helpers import JOB


WORKER = """
import json, os, signal, sys
from datetime import timedelta
from pathlib import Path
from gptimage import ImageClient
from gptimage.cache import Cache
from gptimage.store import Store
from gptimage.workers import SqliteJobStore, run_job

class Shelf(Store):
    def save(self, *arguments, **options):
        os.kill(os.getpid(), signal.SIGKILL)

url, folder, spec = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
store, cache = Shelf(folder / "images"), Cache.disk(folder / "cache")
client = ImageClient(api_key="sk-worker", base_url=url, store=store, cache=cache)
job_store = SqliteJobStore(folder / "jobs.sqlite")
run_job(spec, client=client, job_store=job_store, lease=timedelta(seconds=1))
"""


@pytest.mark.parametrize(("deadly", "status"), [("saving", "done"), ("the call", "needs_review")])
def test_a_killed_process_is_paid_once(tmp_path: Path, deadly: str, status: str) -> None:
    """Killed before saving, its reply is in the cache; killed in the call, nobody knows."""
    with SandboxServer() as server:
        if deadly == "the call":
            server.sandbox.fail_next("timeout")
        arguments = [server.base_url, str(tmp_path), json.dumps(JOB)]
        worker = start_python(["-W", "error", "-c", WORKER, *arguments])
        if deadly == "the call":
            while not server.sandbox.requests:
                assert worker.poll() is None
                time.sleep(0.02)
            worker.kill()
        assert worker.wait() == -signal.SIGKILL

        job_store = SqliteJobStore(tmp_path / "jobs.sqlite")
        while next(job_store.records()).until > job_store.now():
            time.sleep(0.02)
        store, cache = Store(tmp_path / "pictures"), Cache.disk(tmp_path / "cache")
        url = server.base_url
        with ImageClient(api_key="sk-other", base_url=url, store=store, cache=cache) as client:
            result = run_job(JOB, client=client, job_store=job_store)
        store.close()
        cache.close()

        assert result.status == status
        assert len(server.sandbox.requests) == 1
