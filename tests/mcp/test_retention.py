"""Old images are deleted while a server runs, where a setting says so; limits of the cache hold."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import urllib.request
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from mcp import Client

import gptimage
from gptimage_mcp.config.settings import Settings
from gptimage_mcp.jobs.engine import open_cache, open_store
from gptimage_mcp.retention import Pruning
from tests.mcp.harness import result_json, server_fixture
from tests.store.azurite import Azurite


def draw(where: Any, prompt: str) -> str:
    """The id of a new image."""
    answer = result_json(
        where.call("generate_image", prompt=prompt, size="1024x1024", quality="low")
    )
    return str(answer["images"][0]["id"])


def left(where: Any) -> set[str]:
    """The ids in the store."""
    return {record.id for record in where.store.history(100).records}


def test_old_images_go_and_pinned_ones_stay(tmp_path: Path) -> None:
    """At the start of a server what is older than the setting is deleted, pins excepted."""
    here = server_fixture(tmp_path)
    old, pinned = draw(here, "An old fox"), draw(here, "A pinned fox")
    here.store.pin(pinned)
    later = gptimage.Store(
        here.folder / "store", clock=lambda: datetime.now(UTC) + timedelta(days=31)
    )

    asyncio.run(Pruning(lambda: [later], None).prune_if_due())
    assert left(here) == {old, pinned}
    asyncio.run(Pruning(lambda: [later], timedelta(days=30)).prune_if_due())
    assert left(here) == {pinned}


def test_a_server_prunes_its_own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting reaches the store of a server that runs, once a day however many clients come."""
    here = server_fixture(tmp_path, retention=timedelta(days=30))
    pruned: list[tuple[object, object]] = []
    done = threading.Event()
    prune = gptimage.Store.prune

    def record(store: gptimage.Store, retention: Any) -> Any:
        pruned.append((store, retention.max_age))
        done.set()
        return prune(store, retention)

    async def stay(client: Client) -> None:
        """Be there until the server, which prunes beside its answers, has begun to."""
        await client.list_tools()
        assert await asyncio.to_thread(done.wait, 60)

    monkeypatch.setattr(gptimage.Store, "prune", record)
    here.ask(stay)
    here.ask(stay)

    assert pruned == [(here.store, timedelta(days=30))]


def test_what_a_leaving_client_interrupts_is_finished(tmp_path: Path) -> None:
    """A server that ends while it looks for its stores prunes them before it is gone."""
    here = server_fixture(tmp_path)
    draw(here, "An old fox")
    later = gptimage.Store(
        here.folder / "store", clock=lambda: datetime.now(UTC) + timedelta(days=31)
    )
    asked, go = threading.Event(), threading.Event()

    def stores() -> list[gptimage.Store]:
        asked.set()
        assert go.wait(60)
        return [later]

    async def leave_early() -> None:
        async with Pruning(stores, timedelta(days=30)).running():
            await asyncio.to_thread(asked.wait, 60)
        go.set()

    asyncio.run(leave_early())
    assert left(here) == set()


def test_a_store_that_cannot_be_pruned_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server goes on, and says why the images stay."""
    store = gptimage.Store(tmp_path / "store")

    def broken(*_: object, **__: object) -> None:
        raise gptimage.StoreError("the disk is gone")

    monkeypatch.setattr(store, "prune", broken)

    with caplog.at_level(logging.WARNING, "gptimage_mcp"):
        asyncio.run(Pruning(lambda: [store], timedelta(days=1)).prune_if_due())
    assert "old images could not be deleted: the disk is gone" in caplog.text


def test_limits_of_the_cache_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How long and how much is what the cache goes by."""
    settings = Settings(
        store=tmp_path / "store",
        ledger=tmp_path / "l.sqlite",
        cache=tmp_path / "cache",
        cache_ttl=timedelta(hours=1.5),
        cache_size=3_000_000,
    )

    passed: dict[str, object] = {}

    def disk(path: Path, **limits: object) -> None:
        passed.update(limits, path=path)

    monkeypatch.setattr(gptimage.Cache, "disk", disk)
    open_cache(settings)

    assert passed == {
        "path": tmp_path / "cache",
        "ttl": timedelta(hours=1.5),
        "max_bytes": 3_000_000,
    }


@contextmanager
def s3_bucket() -> Generator[dict[str, str]]:
    """A bucket of that name on this machine; yields the variables that find it."""
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    try:
        request = urllib.request.Request(f"{url}/mcp-bucket", method="PUT")
        urllib.request.urlopen(request).close()
        yield {
            "AWS_ENDPOINT": url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }
    finally:
        server.stop()


@contextmanager
def azure_container() -> Generator[dict[str, str]]:
    """A container of that name in Azurite; yields the variables that find it."""
    if (command := os.environ.get("TESTS_AZURITE")) is None:
        pytest.skip("Azurite is not installed: run `nox -s azure`")
    with TemporaryDirectory() as folder, Azurite(command, Path(folder)) as azurite:
        azurite.create_container("mcp-bucket")
        yield azurite.environment


@pytest.mark.parametrize(
    ("scheme", "service"), [("s3", s3_bucket), ("az", azure_container)], ids=["s3", "azure"]
)
def test_a_bucket_is_opened(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    service: Callable[[], AbstractContextManager[dict[str, str]]],
) -> None:
    """A store by URL keeps its images in the bucket of that name."""
    with service() as variables:
        for name, value in {**variables, "XDG_CACHE_HOME": str(tmp_path / "cache")}.items():
            monkeypatch.setenv(name, value)
        place = f"{scheme}://mcp-bucket/images"
        settings = Settings(store=place, ledger=tmp_path / "l.sqlite")
        with open_store(settings) as store, gptimage.ImageClient.sandbox(store=store) as client:
            id = client.generate("A fox", size="1024x1024", quality="low").stored[0].id
            assert (store.folder, store.location) == (None, place)
            assert store.get(id).id == id
