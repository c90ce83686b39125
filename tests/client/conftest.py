"""Every test of this folder that takes ``harness`` runs on both clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client.harness import Harness


@pytest.fixture(params=["sync", "async"])
def harness(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """The clients, one after the other."""
    harness = Harness(request.param)
    yield harness
    harness.close()
