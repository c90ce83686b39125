"""One call that needs one extra, where that extra alone is installed: `python extras.py s3`.

Run by `nox -s extras`, in an environment for each, without pytest and whatever comes with it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gptimage import ImageClient


FOX: dict[str, Any] = {"prompt": "A fox", "size": "1024x1024", "quality": "low"}


def celery() -> None:
    """A task for images belongs to an app."""
    import celery as library

    from gptimage.workers.celery import configure, image_task

    app = library.Celery("smoke", broker="memory://")
    configure(app)
    with tempfile.TemporaryDirectory() as folder:
        from gptimage.workers import SqliteJobStore

        job_store = SqliteJobStore(Path(folder, "jobs.sqlite"))
        assert image_task(app, client=ImageClient.sandbox, job_store=lambda: job_store).name


def celery_and_redis() -> None:
    """The broker most people use is understood."""
    import celery as library

    from gptimage.workers.celery import configure
    from gptimage.workers.redis_store import RedisJobStore

    app = library.Celery("smoke", broker="redis://127.0.0.1:9")
    configure(app)
    assert "redis" in app.connection_for_write().transport.driver_type
    RedisJobStore("redis://127.0.0.1:9")


def checks() -> None:
    """The words of an image are read, without a network: the models are in the package."""
    from gptimage.checks import Words

    with ImageClient.sandbox() as client:
        found = client.until(
            'A sign that reads "OPEN"', checks=[Words("open")], most=1, size="1024x1024"
        )
    assert found.passed, found.best.checks


def cli() -> None:
    """The command shows that it waits."""
    from rich.console import Console

    from gptimage.cli.main import main
    from gptimage.observers.progress import ProgressObserver

    with ImageClient.sandbox(observers=[ProgressObserver(console=Console(stderr=True))]) as client:
        client.generate(**FOX)
    with tempfile.TemporaryDirectory() as folder:
        assert main(["generate", "A fox", "--sandbox", "-o", folder]) == 0


def limits() -> None:
    """Processes of one machine share a limit."""
    from gptimage.limits import Limits

    with tempfile.TemporaryDirectory() as folder:
        shared = Limits(images_per_minute=50, shared=str(Path(folder, "limits.sqlite")))
        with ImageClient.sandbox(limits=shared) as client:
            client.generate(**FOX)


def mcp() -> None:
    """The server can be built, and all its modules are there."""
    import pkgutil
    from importlib import import_module

    import gptimage_mcp

    for found in pkgutil.walk_packages(gptimage_mcp.__path__, "gptimage_mcp."):
        if found.name not in {"gptimage_mcp.__main__", "gptimage_mcp.metrics"}:  # needs prometheus
            import_module(found.name)


def otel() -> None:
    """A call becomes a span."""
    from gptimage.observers.opentelemetry import OpenTelemetryObserver

    with ImageClient.sandbox(observers=[OpenTelemetryObserver()]) as client:
        client.generate(**FOX)


def prometheus() -> None:
    """A call is counted."""
    from prometheus_client import CollectorRegistry, generate_latest

    from gptimage.observers.prometheus import PrometheusObserver

    registry = CollectorRegistry()
    with ImageClient.sandbox(observers=[PrometheusObserver(registry)]) as client:
        client.generate(**FOX)
    assert b"gptimage" in generate_latest(registry)


def redis() -> None:
    """A Redis that does not answer is said by the cache, not by an import."""
    from gptimage import CacheError
    from gptimage.cache.redis import RedisCache

    try:
        RedisCache("redis://127.0.0.1:9").stats()
    except CacheError as error:
        assert "127.0.0.1:9" in str(error)  # noqa: PT017  # pytest is not installed here
    else:
        raise AssertionError("nobody listens on this port")


def s3() -> None:
    """A store in a bucket saves and finds an image."""
    from obstore.store import MemoryStore

    from gptimage.store import Store
    from gptimage.store.object_blobs import ObjectBlobs

    with tempfile.TemporaryDirectory() as folder:
        blobs = ObjectBlobs(MemoryStore(), name="memory")
        with Store(blobs, index=Path(folder, "index.sqlite")) as store:
            with ImageClient.sandbox(store=store) as client:
                client.generate(**FOX)
            assert store.stats().images == 1


def studio() -> None:
    """The page and its requests are there, and open to nobody without its address."""
    from starlette.testclient import TestClient

    from gptimage.studio import AddressToken, StudioOptions, create_app, open_studio

    with tempfile.TemporaryDirectory() as folder:
        studio = open_studio(StudioOptions(store=str(Path(folder, "store")), sandbox=True))
        client = TestClient(create_app(studio, AddressToken(), cookie="c"), "http://127.0.0.1")
        assert client.get("/api/status").status_code == 401
        studio.close()


def svg() -> None:
    """Go on from an svg without the service's memory: a png of it is drawn here."""
    from gptimage import ImageClient

    with ImageClient.sandbox() as client:
        talk = client.conversation(image_model="gpt-image-2.6-flare", stateless=True)
        talk.send("A red fox", format="svg", size="1024x1024")
        assert talk.send("At night", size="1024x1024", quality="low").image.format == "png"


def c2pa() -> None:
    """An image without a manifest is not said to be signed, and the reader is there."""
    import c2pa as reader  # pyright: ignore[reportMissingTypeStubs]  # has none

    from gptimage import ImageClient

    with ImageClient.sandbox() as client:
        found = client.generate(**FOX).image.provenance
    assert not found.signed
    assert "image/png" in reader.Reader.get_supported_mime_types()


SMOKE: dict[str, Callable[[], None]] = {
    "c2pa": c2pa,
    "celery": celery,
    "celery,redis": celery_and_redis,
    "checks": checks,
    "cli": cli,
    "limits": limits,
    "mcp": mcp,
    "otel": otel,
    "prometheus": prometheus,
    "redis": redis,
    "s3": s3,
    "studio": studio,
    "svg": svg,
}

if __name__ == "__main__":
    SMOKE[sys.argv[1]]()
