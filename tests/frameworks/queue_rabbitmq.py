"""``examples/queue_worker.py`` with a real RabbitMQ: a worker is killed, its job comes back."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from celery import Celery
from harness import case, check, run

from gptimage.sandbox import SandboxServer
from gptimage.workers import Job, SqliteJobStore


EXAMPLES = Path(__file__).parents[2] / "examples"


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def rabbitmq(folder: str) -> Iterator[str]:
    """Run a RabbitMQ with files and ports of its own; its URL."""
    # Not Debian's wrapper, which changes to the user of the system's own broker.
    program = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    check(program.exists(), "RabbitMQ is missing: apt-get install rabbitmq-server")
    port, names = free_port(), free_port()
    environment = {
        **os.environ,
        "HOME": folder,
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(names),
        "RABBITMQ_NODENAME": f"test{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
        "RABBITMQ_LOG_BASE": f"{folder}/log",
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
        "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq",
    }
    with (
        Path(folder, "rabbitmq.log").open("wb") as log,
        subprocess.Popen(
            [str(program)], env=environment, stdout=log, stderr=log, start_new_session=True
        ) as process,
    ):
        try:
            yield f"amqp://guest:guest@127.0.0.1:{port}//"
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            # Erlang's name server outlives the broker; on this port it is ours alone.
            epmd = shutil.which("epmd") or "epmd"
            kill = [epmd, "-port", str(names), "-kill"]
            subprocess.run(kill, env=environment, stdout=subprocess.DEVNULL, check=False)


class Fleet:
    """A broker, a service that counts, and workers."""

    def __init__(self, folder: str, url: str, service: SandboxServer) -> None:
        self.folder, self.service = Path(folder), service
        self.app: Any = Celery("fleet", broker=url)
        self.environment = {
            **os.environ,
            "HOME": folder,
            "BROKER_URL": url,
            "OPENAI_API_KEY": "sk-any",
            "OPENAI_BASE_URL": service.base_url,
            "PYTHONPATH": str(EXAMPLES),
            "PYTHONWARNINGS": "ignore",
        }
        self.workers: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        """Start a worker."""
        command = [sys.executable, "-m", "celery", "-A", "queue_worker", "worker", "-c", "2"]
        log = (self.folder / "worker.log").open("ab")
        with log:
            worker = subprocess.Popen(
                command, env=self.environment, cwd=self.folder, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self.workers.append(worker)
        return worker

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        """Kill a worker with its children, as a machine that loses its power."""
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()

    def send(self, id: str, prompt: str) -> None:
        """Put a job into the queue."""
        job = Job.of(id, f"{id} {prompt}", size="1024x1024", quality="low")
        self.app.send_task("gptimage.image", [job.to_dict()])

    def state(self, id: str) -> str | None:
        """Return how a job stands."""
        if not (self.folder / "jobs.sqlite").exists():
            return None
        store = SqliteJobStore(self.folder / "jobs.sqlite")
        found = store.read(id)
        store.close()
        return None if found is None else str(found.state)

    def asked(self) -> Counter[str]:
        """Count the requests, by the first word of their prompts: the job's id."""
        prompts = [str(request.body["prompt"]) for request in self.service.sandbox.requests]
        return Counter(prompt.split()[0] for prompt in prompts)


@asynccontextmanager
async def fleet() -> AsyncIterator[Fleet]:
    """Yield a fleet whose broker listens."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        rabbitmq(folder) as url,
        SandboxServer() as service,
    ):
        found = Fleet(folder, url, service)
        await until(lambda: listens(found.app))
        try:
            yield found
        finally:
            for worker in found.workers:
                if worker.poll() is None:
                    found.kill(worker)
            found.app.close()


def listens(app: Any) -> bool:
    """Whether the broker takes connections."""
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=1)
    except Exception:  # noqa: BLE001  # whatever it says while it starts
        return False
    return True


async def until(condition: Callable[[], object]) -> None:
    """Wait for something; the harness ends a case that waits in vain."""
    while not condition():
        await asyncio.sleep(0.1)


@case("jobs over RabbitMQ are drawn, and one that is delivered twice is paid once")
async def _() -> None:
    async with fleet() as found:
        found.start()
        for id in ("one", "two", "one"):
            found.send(id, "A red fox")
        await until(lambda: found.state("one") == "done" and found.state("two") == "done")
        check(found.asked() == {"one": 1, "two": 1}, found.asked())


@case("a killed worker's job is delivered again at once, and not paid twice")
async def _() -> None:
    async with fleet() as found:
        worker = found.start()
        found.send("lost", "A hen [sandbox:timeout]")
        await until(lambda: found.asked()["lost"])
        found.kill(worker)
        found.start()
        # The next worker waits until the first counts as dead, thirty seconds after its last sign.
        await until(lambda: found.state("lost") == "needs_review")
        check(found.asked()["lost"] == 1, found.asked())


run("celery", "kombu", "amqp")
