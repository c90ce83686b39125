"""Real Celery workers, killed with -9 at every turn: each job is paid for once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gptimage.cli.main import main
from gptimage.sandbox import SandboxServer
from gptimage.workers import Job, JobResult
from gptimage.workers.redis_store import RedisJobStore


celery = pytest.importorskip("celery")
redis_client = pytest.importorskip("redis")

FOLDER = Path(__file__).parent
FOREVER = "[sandbox:timeout]"
"""In a prompt: the request arrives and is never answered."""


class Fleet:
    """A broker, a service that counts, and workers that can be killed."""

    def __init__(self, redis: str, folder: Path, server: SandboxServer) -> None:
        self.server, self.folder, self.redis = server, folder, redis
        self.job_store = RedisJobStore(redis)
        self.app: Any = celery.Celery("fleet", broker=redis)
        self.results: Any = redis_client.Redis.from_url(redis)
        self.workers: list[subprocess.Popen[bytes]] = []
        self.environment = {
            **os.environ,
            "FLEET_REDIS": redis,
            "FLEET_FOLDER": str(folder),
            "OPENAI_API_KEY": "sk-fleet",
            "OPENAI_BASE_URL": server.base_url,
            "PYTHONPATH": os.pathsep.join([str(FOLDER), os.environ.get("PYTHONPATH", "")]),
        }

    def worker(self, pool: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a worker, in a process group of its own."""
        # The shell ends the group when its standard input closes: also when pytest is killed.
        command = ["sh", "-c", 'exec 3<&0; (read -r _ <&3; kill -9 0) & "$@"', "sh"]
        command += [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "processes",
            "worker",
            "-P",
            pool,
            "-c",
            "3",
        ]
        command += ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "ERROR"]
        with (self.folder / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env={**self.environment, **environment},
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.workers.append(process)
        return process

    def send(self, id: str, prompt: str = "", task: str = "") -> None:
        """Put a job into the queue, as a task of the same id if no other is named."""
        job = Job.of(id, f"{id} {prompt}".strip(), size="1024x1024", quality="low")
        self.app.send_task("gptimage.image", [job.to_dict()], task_id=task or id)

    def result(self, task: str) -> JobResult:
        """What came of a task, as Celery stored it; read without Celery's own listening."""
        self.until(lambda: self.stored(task).get("status") not in {None, "RETRY"})
        return JobResult.from_dict(self.stored(task)["result"])

    def stored(self, task: str) -> dict[str, Any]:
        """What Celery stored about a task."""
        found: dict[str, Any] = json.loads(self.results.get(f"celery-task-meta-{task}") or "{}")
        return found

    def asked(self) -> Counter[str]:
        """How often the service was asked, by the first word of the prompt: the job's id."""
        prompts = [str(request.body["prompt"]) for request in self.server.sandbox.requests]
        return Counter(prompt.split()[0] for prompt in prompts)

    def owner(self, id: str) -> int:
        """The process that has a job."""
        entry = self.job_store.read(id)
        assert entry is not None
        return int(entry.owner.split(":")[1])

    def until(self, condition: Callable[[], object]) -> None:
        """Wait, for as long as the workers live that nobody killed."""
        while not condition():
            assert self.workers[-1].poll() is None, self.log()
            time.sleep(0.02)

    def log(self) -> str:
        """What the workers said."""
        return (self.folder / "worker.log").read_text()

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        """Kill a worker with its children."""
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.communicate()

    def stop(self) -> None:
        """Kill every worker with its children."""
        for worker in self.workers:
            self.kill(worker)
        self.app.close()
        self.results.close()
        self.job_store.close()


@pytest.fixture
def fleet(own_redis: Any, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet without workers."""
    with SandboxServer() as server:
        fleet = Fleet(own_redis.url, tmp_path, server)
        yield fleet
        fleet.stop()


def test_killed_at_every_turn_each_job_is_paid_once(fleet: Fleet) -> None:
    """Worker processes die before sending, in the call, before and after saving and noting."""
    fleet.worker("prefork")
    places = ("healthy", "unsent", "cached", "saved", "noted")
    for id in places:
        fleet.send(id)
    fleet.send("lost", FOREVER)
    fleet.until(lambda: fleet.asked()["lost"])
    os.kill(fleet.owner("lost"), signal.SIGKILL)

    results = {id: fleet.result(id) for id in places}
    needs_review = fleet.result("lost")

    assert {id: result.status for id, result in results.items()} == dict.fromkeys(places, "done")
    assert needs_review.status == "needs_review", fleet.log()
    assert needs_review.possible_cost
    assert fleet.asked() == dict.fromkeys((*places, "lost"), 1)
    assert [entry.id for entry in fleet.job_store.records()] == ["lost"]
    assert sorted(path.name for path in fleet.folder.glob("died-*")) == [
        f"died-{place}" for place in sorted(places) if place != "healthy"
    ]


def test_a_machine_that_dies_hands_its_job_on(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    """Redis gives the job of a dead worker to the next, which parks it until a person decides."""
    fleet.server.sandbox.fail_next("timeout")
    first = fleet.worker("solo", FLEET_LONGEST="2")
    fleet.send("lost")
    fleet.until(lambda: fleet.asked()["lost"])
    fleet.kill(first)
    fleet.worker("solo", FLEET_LONGEST="2")
    needs_review = fleet.result("lost")
    asked = fleet.asked()

    codes = [main(["jobs", "list", "--job-store", fleet.redis])]
    listed = capsys.readouterr().out
    codes.append(main(["jobs", "retry", "lost", "--job-store", fleet.redis]))
    fleet.send("lost", task="again")
    done = fleet.result("again")

    assert (needs_review.status, needs_review.attempt, asked) == ("needs_review", 1, {"lost": 1})
    assert codes == [0, 0]
    assert "needs_review" in listed
    assert "may have been billed up to $" in listed
    assert (done.status, done.attempt, fleet.asked()) == ("done", 2, {"lost": 2})
