"""A sandbox whose day never changes, and the same one over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gptimage.sandbox import Sandbox, SandboxServer
from tests.sandbox.pictures import TODAY


@pytest.fixture(autouse=True)
def plain_images() -> None:
    """Draw scenes, as users get them: how they look is what these tests are about."""


@pytest.fixture
def sandbox() -> Sandbox:
    """A fresh sandbox, on 20 November 2026."""
    return Sandbox(today=lambda: TODAY)


@pytest.fixture
def server(sandbox: Sandbox) -> Iterator[SandboxServer]:
    """The fixture ``sandbox`` over HTTP."""
    with SandboxServer(sandbox=sandbox) as server:
        yield server
