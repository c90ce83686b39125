"""Fixtures for code that uses gptimage: a sandbox, its clients, its server, and cassettes.

Installed with gptimage; nothing is imported before a test uses a fixture or the marker.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest


if TYPE_CHECKING:
    from gptimage.async_client import AsyncImageClient
    from gptimage.client import ImageClient
    from gptimage.sandbox import Sandbox, SandboxServer


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting ``gptimage_draw`` of pytest's own configuration file."""
    words = "scene, or plain: what gptimage_sandbox draws (plain takes a tenth of the time)"
    parser.addini("gptimage_draw", words, default="scene")


@pytest.fixture
def gptimage_sandbox(pytestconfig: pytest.Config) -> Sandbox:
    """Return a fresh sandbox: `fail_next`, `latency`, and `requests`, the calls it has seen."""
    from gptimage.sandbox import Sandbox

    return Sandbox(draw=pytestconfig.getini("gptimage_draw"))


@pytest.fixture
def gptimage_client(gptimage_sandbox: Sandbox) -> Iterator[ImageClient]:
    """Yield an `ImageClient` whose service is `gptimage_sandbox`."""
    from gptimage.client import ImageClient

    with ImageClient.sandbox(sandbox=gptimage_sandbox) as client:
        yield client


@pytest.fixture
def gptimage_async_client(gptimage_sandbox: Sandbox) -> Iterator[AsyncImageClient]:
    """An `AsyncImageClient` whose service is `gptimage_sandbox`, under any async test runner."""
    import asyncio

    from gptimage.async_client import AsyncImageClient

    client = AsyncImageClient.sandbox(sandbox=gptimage_sandbox)
    yield client
    asyncio.run(client.aclose())  # a client of the sandbox belongs to no event loop


@pytest.fixture
def gptimage_server(gptimage_sandbox: Sandbox) -> Iterator[SandboxServer]:
    """`gptimage_sandbox` over HTTP; its ``base_url`` suits any OpenAI client."""
    from gptimage.sandbox import SandboxServer

    with SandboxServer(sandbox=gptimage_sandbox) as server:
        yield server


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers",
        "gptimage_cassette(path, mode=None, whole=False): replay the test's requests from a "
        "folder, or record them there; see gptimage.testing.cassette. Without a path it is "
        "cassettes/<file>/<test> beside the file.",
    )


@pytest.fixture(autouse=True)
def _gptimage_cassette(request: pytest.FixtureRequest) -> Generator[None]:  # pyright: ignore[reportUnusedFunction]  # pytest calls it
    """Begin the cassette of the test's marker before its other fixtures make clients."""
    node: pytest.Item = request.node
    marker = node.get_closest_marker("gptimage_cassette")
    if marker is None:
        yield
        return
    from gptimage.testing import cassette

    own = request.path.parent / "cassettes" / request.path.stem / re.sub(r"[^\w-]+", "-", node.name)
    path, *rest = marker.args or (own,)
    if rest:
        raise TypeError("gptimage_cassette takes one path; mode= and whole= are keywords")
    with cassette(request.config.rootpath / path, **marker.kwargs):
        yield
