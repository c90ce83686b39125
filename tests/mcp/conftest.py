"""What tests of several files share: one browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest


if TYPE_CHECKING:
    from tests.mcp.browsers import Chromium


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """One browser for all tests of the viewer."""
    from tests.mcp.browsers import chromium_running, require_chromium

    require_chromium()
    with chromium_running() as browser:
        yield browser
