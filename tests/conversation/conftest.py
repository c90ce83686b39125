"""Every test of this folder that takes ``talks`` runs on both kinds of conversation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conversation.helpers import Talks


@pytest.fixture(params=["sync", "async"])
def talks(request: pytest.FixtureRequest) -> Iterator[Talks]:
    """Conversations, one kind after the other."""
    talks = Talks(request.param)
    yield talks
    talks.close()
