"""The Celery task and its settings, without a broker: what is put back, and when."""

from __future__ import annotations

import base64
import errno
import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from gptimage import ConfigurationError, ImageClient, InvalidRequestError, Retry
from gptimage.store import Store
from gptimage.workers import JobResult, JobStoreError
from gptimage.workers.celery import PerProcess, configure, image_task
from tests.workers.helpers import JOB, URL, Process, Shared, answer, picture, refusal


class Conf(dict[str, Any]):
    """The settings of an app."""

    def __getattr__(self, name: str) -> Any:
        return self.get(name)

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


class PutBackError(Exception):
    """What Celery raises to put a task back."""

    def __init__(self, countdown: float, exc: BaseException | None = None) -> None:
        super().__init__(countdown)
        self.countdown, self.exc = countdown, exc


@define(eq=False)
class App:
    """What `gptimage.workers.celery` uses of a Celery app."""

    conf: Conf = field(factory=Conf)
    options: dict[str, Any] = field(factory=dict)

    def task(self, **options: Any) -> Callable[[Any], Any]:
        """Make a task, whose `retry` says when it comes back."""
        self.options = options
        return lambda function: lambda spec: function(self, spec)

    def retry(self, *, countdown: float, exc: BaseException | None = None) -> Exception:
        """Put the task back."""
        return PutBackError(countdown, exc)


class Down:
    """A job store that cannot be used."""

    def now(self) -> float:
        raise JobStoreError("the job store is on fire")


@pytest.fixture
def app() -> App:
    """An app."""
    return App()


def task_of(app: App, shared: Shared, **options: Any) -> Any:
    """The task of an app."""

    def client() -> ImageClient:
        store = Store(shared.folder, fsync=False)
        once = Retry(attempts=1)
        return ImageClient(transport=shared.service, base_url=URL, store=store, retry=once)

    return image_task(app, client=client, job_store=lambda: shared.job_store, **options)


def test_a_task_gives_the_result_as_json(app: App, shared: Shared) -> None:
    """What Celery stores says how the job stands."""
    first, second = (task_of(app, shared)(JOB) for _ in range(2))

    assert first == second
    assert (first["status"], first["id"], len(first["images"])) == ("done", "order-17", 1)


def test_a_task_is_acknowledged_late(app: App, shared: Shared) -> None:
    """A task whose worker dies is delivered again, and Celery never gives up on one by itself."""
    task_of(app, shared, name="draw")

    assert app.options == {
        "bind": True,
        "name": "draw",
        "serializer": "json",
        "acks_late": True,
        "reject_on_worker_lost": True,
        "max_retries": None,
    }


def test_a_busy_job_is_put_back(app: App, shared: Shared) -> None:
    """While a live worker has it, the task comes back when that one would count as dead."""
    task = task_of(app, shared)
    caught: list[PutBackError] = []

    def meanwhile() -> None:
        with pytest.raises(PutBackError) as put_back:
            task(JOB)
        caught.append(put_back.value)

    assert Process(shared, {4: meanwhile}).run() is not None
    assert caught[0].countdown == pytest.approx(31, abs=0.1)


def test_what_may_pass_is_put_back(app: App, shared: Shared) -> None:
    """A service that is busy is asked again later, but not for ever."""
    task = task_of(app, shared, attempts=3)
    shared.service.says = lambda: refusal(429)
    pauses: list[float] = []
    for _ in range(2):
        with pytest.raises(PutBackError) as caught:
            task(JOB)
        pauses.append(caught.value.countdown)

    assert task(JOB)["status"] == "failed"
    shared.service.says = answer
    assert task(JOB)["status"] == "done"
    assert pauses[0] >= 30
    assert pauses[1] >= 60


@pytest.mark.parametrize(
    ("status", "expected"), [(400, "failed"), (401, "failed"), (500, "needs_review")]
)
def test_what_will_not_pass_is_an_answer(
    app: App, shared: Shared, status: int, expected: str
) -> None:
    """Waiting does not help, so the task ends, and says why."""
    shared.service.says = lambda: refusal(status)

    result = task_of(app, shared)(JOB)

    assert result["status"] == expected
    assert result["reason"]


def test_no_pause_is_longer_than_redis_waits(app: App, shared: Shared) -> None:
    """Redis would give a task that sleeps longer than its visibility timeout to somebody else."""
    app.conf.broker_transport_options = {"visibility_timeout": 20}
    shared.service.says = lambda: refusal(429)

    with pytest.raises(PutBackError) as caught:
        task_of(app, shared)(JOB)
    assert caught.value.countdown == 10


def test_a_job_store_that_is_down_puts_the_job_back(app: App, shared: Shared) -> None:
    """Without its job store nothing is sent, and the task is not lost."""
    down: Any = Down()
    shared.job_store = down

    with pytest.raises(PutBackError) as caught:
        task_of(app, shared)(JOB)
    assert isinstance(caught.value.exc, JobStoreError)
    assert shared.service.asked == []


class FullStore(Store):
    """A store on a full disk."""

    def save(self, *_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_images_no_disk_could_save_are_in_the_result(
    app: App, shared: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry would drop the exception that has them, and they are paid."""
    (tmp_path / "full").write_text("no folder")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "full"))

    def client() -> ImageClient:
        return ImageClient(transport=shared.service, base_url=URL, store=FullStore(shared.folder))

    task: Any = image_task(app, client=client, job_store=lambda: shared.job_store)
    result = JobResult.from_dict(json.loads(json.dumps(task(JOB))))

    sent = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"
    assert (result.status, result.unsaved) == ("needs_review", (sent,))
    record = shared.job_store.read("order-17")
    assert record is not None
    assert (record.state, shared.service.billed) == ("needs_review", 1)


def test_no_job_is_an_error(app: App, shared: Shared) -> None:
    """A message that is no job fails at once, and names what is wrong."""
    with pytest.raises(InvalidRequestError, match="prompt"):
        task_of(app, shared)({"id": "order-17"})


def test_clients_are_made_in_the_worker(app: App, shared: Shared) -> None:
    """A client made before the fork is refused: it would be shared by processes."""
    client: Any = ImageClient.sandbox()

    with pytest.raises(ConfigurationError, match="client must be a function"):
        image_task(app, client=client, job_store=lambda: shared.job_store)


def test_threads_of_a_process_share_one() -> None:
    """It is made once, however many threads come first."""
    made: list[object] = []
    start = threading.Barrier(4)
    shared = PerProcess(lambda: made.append(object()) or made[-1], "client")

    def get(_: int) -> object:
        start.wait()
        return shared()

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(get, range(4)))) == len(made) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_makes_its_own() -> None:
    """What the parent made is not used by the child."""
    numbers = PerProcess(os.getpid, "client")
    mine = numbers()
    child = os.fork()
    if child == 0:
        os._exit(0 if numbers() == os.getpid() != mine else 1)

    assert os.waitpid(child, 0)[1] == 0
    assert numbers() == mine == os.getpid()


@pytest.mark.parametrize(
    ("broker", "options"),
    [
        (
            "redis://cache.example/0",
            {
                "visibility_timeout": 900.0,
                "unacked_restore_interval": 1,
                "unacked_restore_throttle": 1,
            },
        ),
        ("amqp://mq.example", {"unacked_restore_interval": 1}),
    ],
)
def test_a_broker_is_configured(app: App, broker: str, options: dict[str, Any]) -> None:
    """Redis gets its times, RabbitMQ none, and what was set before stays."""
    app.conf.update(
        broker_url=broker,
        broker_transport_options={"unacked_restore_interval": 1},
        accept_content=["json", "yaml"],
    )

    configure(app, longest=timedelta(minutes=15))

    assert app.conf == {
        "broker_url": broker,
        "broker_transport_options": options,
        "accept_content": ["json", "yaml"],
        "worker_prefetch_multiplier": 1,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "broker_connection_retry_on_startup": True,
    }


def test_celery_knows_every_setting() -> None:
    """A real app takes the settings and the task, and every name is one of Celery's own."""
    celery = pytest.importorskip("celery")
    real = celery.Celery("app", broker="redis://localhost/0")

    configure(real)
    task: Any = image_task(real, client=ImageClient.sandbox, job_store=lambda: None)  # type: ignore[arg-type, return-value]  # never called

    known = real.conf.defaults[-1]
    assert {
        "worker_prefetch_multiplier",
        "worker_cancel_long_running_tasks_on_connection_loss",
        "broker_connection_retry_on_startup",
    } <= set(known)
    assert real.conf.broker_transport_options["visibility_timeout"] == 1800
    assert (task.name, task.acks_late, task.reject_on_worker_lost) == ("gptimage.image", True, True)
    real.close()
