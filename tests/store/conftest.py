"""What the store's tests share: small real images, results made of them, and every backend."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from gptimage import Cost, Edit, Generate, Image, Mask, Result, Usage
from gptimage.store import FileBlobs, Store
from gptimage.store.blobs import Blobs
from gptimage.store.object_blobs import ObjectBlobs
from tests.store.azurite import Azurite


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 20, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        """The time."""
        return self.now

    def pass_(self, **time: float) -> None:
        """Let some time pass."""
        self.now += timedelta(**time)


class Maker:
    """Builds images, requests and results; every image is another one."""

    def __init__(self) -> None:
        self._count = 0

    def image(self, format: str = "png", original: Image | None = None) -> Image:
        """A small image no other one equals."""
        from PIL import Image as Pil

        self._count += 1
        red, green, blue = self._count % 256, self._count // 256 % 256, self._count // 65536
        file = io.BytesIO()
        Pil.new("RGB", (16, 12), (red, green, blue)).save(file, format, quality=100)
        return evolve(Image.from_bytes(file.getvalue()), original=original)

    def result(
        self,
        prompt: str = "A lighthouse at dusk",
        *images: Image,
        request: Generate | None = None,
        usd: str | None = "0.0131",
        **options: Any,
    ) -> Result:
        """A result as a client returns it."""
        asked = request or Generate(prompt=prompt, model="gpt-image-2", **options)
        return Result(
            images=images or (self.image(),),
            request=asked,
            model=asked.model,
            usage=Usage(input_tokens=10, output_tokens=200, total_tokens=210, text_tokens=10),
            cost=None if usd is None else Cost(usd=Decimal(usd)),
            warnings=("the size was rounded",),
            created=datetime(2026, 11, 20, 11, 59, tzinfo=UTC),
            request_id="req_1",
        )

    def edit(self, *sources: Image, prompt: str = "Make it night", **options: Any) -> Result:
        """The result of an edit."""
        asked = Edit(prompt=prompt, model="gpt-image-2", images=sources, **options)
        return self.result(request=asked)

    def mask(self) -> Mask:
        """A drawn mask."""
        return Mask(image=self.image())


@pytest.fixture(scope="session")
def make() -> Maker:
    """Images, requests and results."""
    return Maker()


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still until it is moved."""
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    """A store in a folder."""
    with Store(tmp_path / "pictures", clock=clock) as opened:
        yield opened


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of a local S3 server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3: str, request: pytest.FixtureRequest) -> Callable[[], Blobs]:
    """A new bucket; each call opens it anew, as another machine would."""
    import urllib.request

    name = f"b{abs(hash(request.node.nodeid)):x}"
    urllib.request.urlopen(urllib.request.Request(f"{s3}/{name}", method="PUT")).close()
    settings = {
        "endpoint": s3,
        "access_key_id": "test",
        "secret_access_key": "test",
        "region": "us-east-1",
        "client_options": {"allow_http": True},
    }
    return lambda: ObjectBlobs.from_url(f"s3://{name}/pictures", **settings)


@pytest.fixture
def memory() -> Callable[[], Blobs]:
    """An object store in memory; each call opens it anew."""
    from obstore.store import MemoryStore

    kept = MemoryStore()
    return lambda: ObjectBlobs(kept, name="memory")


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[], Blobs]:
    """A local folder; each call opens it anew."""
    return lambda: FileBlobs(tmp_path / "blobs")


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Azurite, the stand-in for Azure's storage; `nox -s azure` installs it."""
    if (command := os.environ.get("TESTS_AZURITE")) is None:
        pytest.skip("Azurite is not installed: run `nox -s azure`")
    with Azurite(command, tmp_path_factory.mktemp("azurite")) as started:
        yield started


@pytest.fixture
def container(azure: Azurite, request: pytest.FixtureRequest) -> Callable[[], Blobs]:
    """A new container of Azure; each call opens it anew, as another machine would."""
    name = f"c{abs(hash(request.node.nodeid)):x}"
    azure.create_container(name)
    return lambda: ObjectBlobs.from_url(f"az://{name}/pictures", **azure.settings)


@pytest.fixture(params=["folder", "memory", "bucket", "container"])
def opening(request: pytest.FixtureRequest) -> Callable[[], Blobs]:
    """Every kind of `Blobs`, empty; each call opens the same place anew."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def blobs(opening: Callable[[], Blobs]) -> Blobs:
    """Every kind of `Blobs`, empty."""
    return opening()
