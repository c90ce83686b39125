"""The service: what it refuses, what it counts, and that what watches it fits that."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import prometheus_client
import pytest
import yaml
from attrs import define, field

from gptimage import AsyncImageClient, Retry
from gptimage.observers import Observer, Waiting
from gptimage.observers.prometheus import PrometheusObserver
from gptimage.sandbox import Sandbox
from tests.observers.factories import EVENTS, of


FOLDER = Path(__file__).parents[2] / "examples" / "service"
TOKEN = {"authorization": "Bearer of-the-test"}
SMALL = {"size": "1024x1024", "quality": "low"}
PATIENCE = 120.0
"""Seconds after which what has not happened will not happen."""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module of the example."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import service as found  # type: ignore[import-not-found]  # in a folder of its own

    yield found
    sys.modules.pop("service")


@define(eq=False)
class Running:
    """A service of a sandbox.

    Attributes:
        service: The example's object.
        sandbox: What draws.
        jobs: What was put into the queue.
        observers: What the client was given.
    """

    service: Any = None
    sandbox: Sandbox = field(factory=lambda: Sandbox(draw="plain"))
    jobs: list[Mapping[str, Any]] = field(factory=list[Mapping[str, Any]])
    observers: list[Observer] = field(factory=list[Observer])


@pytest.fixture
def running(service: ModuleType, tmp_path: Path) -> Running:
    """A service that draws into a folder."""
    found = Running()

    def client(observers: list[Observer]) -> AsyncImageClient:
        found.observers += observers
        once, store = Retry(attempts=1), tmp_path / "images"
        return AsyncImageClient.sandbox(found.sandbox, store=store, observers=observers, retry=once)

    found.service = service.Service(
        "of-the-test",
        registry=prometheus_client.CollectorRegistry(),
        submit=found.jobs.append,
        open_client=client,
    )
    return found


@asynccontextmanager
async def browser(running: Running) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the service, which has started."""
    app = running.service.app
    async with running.service.lifespan(app):
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://service") as found:
            yield found


def asked(running: Running, work: Callable[[httpx2.AsyncClient], Awaitable[Any]]) -> Any:
    """What a caller of the service gets."""

    async def run() -> Any:
        async with browser(running) as client:
            return await work(client)

    return asyncio.run(run())


def test_an_image_is_drawn_counted_and_shown(running: Running) -> None:
    """The answer names id and cost, the metrics count it, and its bytes can be had."""

    async def work(client: httpx2.AsyncClient) -> tuple[Any, str, bytes]:
        drawn = await client.post("/images", json={"prompt": "A fox", **SMALL}, headers=TOKEN)
        image = await client.get(f"/images/{drawn.json()['ids'][0]}", headers=TOKEN)
        return drawn.json(), (await client.get("/metrics")).text, image.content

    answer, metrics, data = asked(running, work)
    model = 'model="gpt-image-2.5-flare",operation="generate"'
    assert f"gptimage_cost_usd_total{{{model}}} {float(answer['cost_usd'])}" in metrics
    assert f'gptimage_calls_total{{{model},outcome="ok"}} 1.0' in metrics
    assert data.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"prompt": "A hen [sandbox:cut]"}, 502, {"try_again": False}),
        ({"prompt": "A hen [sandbox:moderation]"}, 422, {}),
        ({"prompt": "A hen [sandbox:rate_limit]"}, 503, {}),
        ({"prompt": "A hen", "size": "a big one"}, 400, {"field": "size"}),
        ({"prompt": "A hen", "images": ["secret.png"]}, 400, {}),
        ({"prompt": "A hen", "colour": "red"}, 400, {}),
        ({}, 400, {}),
        ([], 400, {}),
    ],
)
def test_what_fails_says_whether_to_try_again(
    running: Running, body: Any, status: int, says: dict[str, Any]
) -> None:
    """Each failure has a status of its own, and a message; only one says not to try again."""
    answer = asked(running, lambda client: client.post("/images", json=body, headers=TOKEN))

    assert answer.status_code == status
    assert answer.json().items() >= says.items()
    assert ("try_again" in answer.json()) == ("try_again" in says)


@pytest.mark.parametrize("path", ["/images", "/jobs"])
def test_strangers_spend_nothing(running: Running, path: str) -> None:
    """Without the token nothing is drawn and nothing queued."""
    answer = asked(running, lambda client: client.post(path, json={"prompt": "A fox"}))

    assert answer.status_code == 401
    assert (running.jobs, running.sandbox.requests) == ([], [])


def test_jobs_are_queued(running: Running) -> None:
    """A job is checked first, and put into the queue as it is."""
    job = {"id": "order-17", "prompt": "A fox"}
    answer = asked(running, lambda client: client.post("/jobs", json=job, headers=TOKEN))
    wrong = asked(running, lambda client: client.post("/jobs", json={}, headers=TOKEN))

    assert (answer.status_code, answer.json()) == (202, {"id": "order-17"})
    assert (wrong.status_code, running.jobs) == (400, [job])


def test_health_tells_what_is_wrong(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that cannot be read is no place for an image that costs money."""
    from gptimage import StoreError
    from gptimage.store import Store

    good = asked(running, lambda client: client.get("/health"))

    def broken(_: Store) -> None:
        raise StoreError("the disk with the secret name is gone")

    monkeypatch.setattr(Store, "stats", broken)
    bad = asked(running, lambda client: client.get("/health"))

    assert (good.status_code, good.json()) == (200, {"status": "ok"})
    assert (bad.status_code, "secret" in bad.text) == (503, False)


def test_traces_have_the_call_below_the_request(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The span of the model's call is a child of the span of the request."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # The SDK sets a provider once for a process: this one is for one test.
    monkeypatch.setattr(trace, "get_tracer", lambda name, *_, **__: provider.get_tracer(name))
    asked(
        running,
        lambda client: client.post("/images", json={"prompt": "A fox", **SMALL}, headers=TOKEN),
    )

    spans = {span.name: span for span in exporter.get_finished_spans()}
    (child,) = (span for name, span in spans.items() if name != "POST /images")
    parent = spans["POST /images"]
    assert child.parent is not None
    assert parent.context is not None
    assert child.parent.span_id == parent.context.span_id


@pytest.mark.slow
def test_the_worker_does_what_was_queued(
    service: ModuleType, own_redis: Any, tmp_path: Path
) -> None:
    """A job that the service queues is drawn by the worker, whose metrics Prometheus can read."""
    from gptimage.workers.redis_store import RedisJobStore

    environment = {
        **os.environ,
        "BROKER_URL": own_redis.url,
        "GPTIMAGE_SANDBOX": "1",
        "GPTIMAGE_STORE": str(tmp_path / "images"),
        "HOME": str(tmp_path),
        "JOB_STORE_URL": own_redis.url,
        "METRICS_PORT": "0",
        "PYTHONPATH": os.pathsep.join([str(FOLDER), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-m", "celery", "-A", "worker", "worker", "--pool", "threads"]
    command += ["--without-gossip", "--without-mingle", "-l", "ERROR"]
    service.submit_to(own_redis.url)({"id": "order-17", "prompt": "A fox", **SMALL})
    jobs = RedisJobStore(own_redis.url)
    with (
        (tmp_path / "worker.log").open("wb") as log,
        subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=log) as process,
    ):
        try:
            until(lambda: (record := jobs.read("order-17")) is not None and record.settled)
            assert process.poll() is None, (tmp_path / "worker.log").read_text("utf-8")
        finally:
            process.kill()
    record = jobs.read("order-17")
    jobs.close()

    assert record is not None
    assert record.state == "done"
    assert len([*(tmp_path / "images").rglob("*.png")]) == 1


def expressions() -> dict[str, str]:
    """Each expression of the dashboard and of the alerts, by its place."""
    board = json.loads((FOLDER / "grafana.json").read_text(encoding="utf-8"))
    rules = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in board["panels"]
        for target in panel["targets"]
    }
    return found | {
        rule["alert"]: rule["expr"] for group in rules["groups"] for rule in group["rules"]
    }


def test_expressions_name_what_is_measured() -> None:
    """Dashboard and alerts use metrics and labels that the observer has, and every metric."""
    registry = prometheus_client.CollectorRegistry()
    observer = PrometheusObserver(registry)
    for event in EVENTS:
        observer.notify(event)
    samples = [each for family in registry.collect() for each in family.samples]
    labels: dict[str, set[str]] = {}
    for sample in samples:
        labels.setdefault(sample.name, set()).update(sample.labels)
    measured = {name for name in labels if not name.endswith(("_created", "_sum", "_count"))}

    used: set[str] = set()
    for expression in expressions().values():
        names = set(re.findall(r"\bgptimage_\w+", expression))
        assert names <= labels.keys()
        known = {label for name in names for label in labels[name]} | {"job"}
        inside = re.findall(r"[{,](\w+)(?:=|!)", expression)
        grouped = re.findall(r"by \((.*?)\)", expression)
        assert {*inside, *(each for group in grouped for each in group.split(", "))} <= known
        used |= names
    assert used == measured


def test_panels_do_not_overlap() -> None:
    """Every panel has a place, an id and a unit of its own."""
    board = json.loads((FOLDER / "grafana.json").read_text(encoding="utf-8"))
    cells = [
        (x, y)
        for panel in board["panels"]
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_compose_names_what_is_there() -> None:
    """Files, ports, variables and the health check of the containers are those of the programs."""
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
    scrape = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    services = compose["services"]
    dockerfile = (FOLDER / "Dockerfile").read_text(encoding="utf-8")

    assert services.keys() == {"server", "worker", "redis", "prometheus"}
    (targets,) = (each["targets"] for each in scrape["scrape_configs"][0]["static_configs"])
    assert {each.split(":")[0] for each in targets} <= services.keys()
    copied = re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE)
    root = FOLDER.parents[1]
    assert [name for line in copied for name in line.split() if not (root / name).exists()] == []
    mounted = [each.split(":")[0] for each in services["prometheus"]["volumes"]]
    assert [each for each in mounted if each[0] == "." and not (FOLDER / each).exists()] == []
    text = "\n".join((FOLDER / name).read_text("utf-8") for name in ("service.py", "worker.py"))
    for name in ("server", "worker"):
        own = {each for each in services[name]["environment"] if "GPTIMAGE" not in each}
        assert [each for each in own - {"OPENAI_API_KEY"} if each not in text] == []
        assert services[name]["read_only"] is True
    assert services["server"]["ports"] == ["127.0.0.1:8080:8080"]
    assert "noeviction" in services["redis"]["command"]


def missing(program: str) -> None:
    """Skip, or fail where everything must be tested."""
    reason = f"NOT tested, {program} is missing: apt-get install {program}"
    (pytest.fail if os.environ.get("TESTS_REQUIRE_OPERATIONS") else pytest.skip)(reason)


def checked(*command: str) -> str:
    """What a program prints that finds nothing wrong."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.slow
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify` says nothing of it, where its programs are installed."""
    if shutil.which("systemd-analyze") is None:
        missing("systemd")
    unit = (FOLDER / "gptimage-images.service").read_text(encoding="utf-8")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in set(re.findall(r"^ExecStart\w*=\S+/bin/(\S+)", unit, re.MULTILINE)):
        (programs / name).symlink_to(sys.executable)
    installed = re.search(r"^ExecStart=(\S+)/bin/", unit, re.MULTILINE)
    assert installed is not None
    file = tmp_path / "gptimage-images.service"
    file.write_text(unit.replace(installed[1], str(tmp_path)), encoding="utf-8")

    assert checked("systemd-analyze", "verify", "--recursive-errors=no", str(file)) == ""


@pytest.mark.slow
def test_the_rules_are_right() -> None:
    """`promtool` accepts the alerts, and they are raised by what they are for."""
    if shutil.which("promtool") is None:
        missing("prometheus")

    assert "SUCCESS" in checked("promtool", "check", "rules", str(FOLDER / "alerts.yml"))
    assert "SUCCESS" in checked(
        "promtool", "test", "rules", str(Path(__file__).with_name("alerts_test.yml"))
    )


@pytest.mark.slow
def test_every_expression_returns_data(running: Running, tmp_path: Path) -> None:
    """Prometheus reads the service while it draws and fails: no panel and no alert is empty."""
    if shutil.which("prometheus") is None:
        missing("prometheus")
    import uvicorn

    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        config = uvicorn.Config(running.service.app, log_level="error")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", headers=TOKEN) as client:
            until(lambda: reached(client, "/health"))
            with scraping(tmp_path, port) as prometheus:
                watch(prometheus, client, running)
        server.should_exit = True
        thread.join()


def watch(prometheus: httpx2.Client, client: httpx2.Client, running: Running) -> None:
    """Use the service until every expression has data."""
    left = {
        place: expression.replace("$__rate_interval", "1m")
        # An alert that is not raised is empty: what it compares must be there.
        for place, whole in expressions().items()
        for expression in re.split(r"\s(?:[<>]|==) ", whole)
        if not re.fullmatch(r"[\d.]+", expression)
    }
    number = 0
    end = time.monotonic() + PATIENCE
    while left:
        assert time.monotonic() < end, left
        for prompt in (f"A fox {number}", f"A hen {number} [sandbox:cut]"):
            client.post("/images", json={"prompt": prompt, **SMALL}, timeout=PATIENCE)
        number += 1
        # What this sandbox never does: a retry, and waiting for a limit.
        for observer in running.observers:
            for event in EVENTS:
                if event.name == "retried":
                    observer.notify(event)
            observer.notify(Waiting(**of("c9"), reason="images per minute", seconds=0.1))
        for place, expression in [*left.items()]:
            found = prometheus.get("/api/v1/query", params={"query": expression}).json()
            assert found["status"] == "success", (place, found)
            if found["data"]["result"]:
                del left[place]


@contextmanager
def scraping(folder: Path, port: int) -> Iterator[httpx2.Client]:
    """Run a Prometheus that reads the service every second, with the rules."""
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = dict.fromkeys(config["global"], "1s")
    config["rule_files"] = [str(FOLDER / "alerts.yml")]
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{port}"]
    file, log = folder / "prometheus.yml", folder / "prometheus.log"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    command = ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    command += ["--web.listen-address=127.0.0.1:0"]
    with log.open("wb") as output, subprocess.Popen(command, stderr=output) as process:
        try:
            pattern = r'"Listening on" address=(127\.0\.0\.1:[1-9]\d*)'
            until(lambda: re.search(pattern, log.read_text("utf-8")) is not None)
            (address,) = re.findall(pattern, log.read_text("utf-8"))
            with httpx2.Client(base_url=f"http://{address}") as client:
                until(lambda: process.poll() is None and reached(client, "/-/ready"))
                yield client
        finally:
            process.terminate()


def reached(client: httpx2.Client, path: str) -> bool:
    """Whether a server answers."""
    try:
        return client.get(path).status_code == 200
    except httpx2.TransportError:
        return False


def until(condition: Callable[[], bool]) -> None:
    """Wait for something."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
