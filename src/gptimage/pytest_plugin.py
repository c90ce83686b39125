"""Fixtures for testing code that uses gptimage: a sandbox, a client in it, a server before it.

Installed with gptimage; nothing is imported before a test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest


if TYPE_CHECKING:
    from gptimage.client import ImageClient
    from gptimage.sandbox import Sandbox, SandboxServer


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting ``gptimage_draw`` of pytest's own configuration file."""
    words = "scene, or plain: what gptimage_sandbox draws (plain takes a tenth of the time)"
    parser.addini("gptimage_draw", words, default="scene")


@pytest.fixture
def gptimage_sandbox(pytestconfig: pytest.Config) -> Sandbox:
    """A fresh sandbox: `fail_next`, `latency`, and `requests`, the calls it has seen."""
    from gptimage.sandbox import Sandbox

    return Sandbox(draw=pytestconfig.getini("gptimage_draw"))


@pytest.fixture
def gptimage_client(gptimage_sandbox: Sandbox) -> Iterator[ImageClient]:
    """An `ImageClient` whose service is `gptimage_sandbox`."""
    from gptimage.client import ImageClient

    with ImageClient.sandbox(sandbox=gptimage_sandbox) as client:
        yield client


@pytest.fixture
def gptimage_server(gptimage_sandbox: Sandbox) -> Iterator[SandboxServer]:
    """`gptimage_sandbox` over HTTP; its ``base_url`` suits any OpenAI client."""
    from gptimage.sandbox import SandboxServer

    with SandboxServer(sandbox=gptimage_sandbox) as server:
        yield server
