"""What every test has: no key, no settings of this machine, asyncio, and patient Hypothesis."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import settings


# A shell that starts the tests in the background has them ignore Ctrl-C, which some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Machines differ in speed; a slow example is not a wrong one.
settings.register_profile("gptimage", deadline=None)
settings.register_profile("brief", deadline=None, max_examples=20)
settings.load_profile("gptimage")


@pytest.fixture
def anyio_backend() -> str:
    """Run tests marked ``anyio`` on asyncio."""
    return "asyncio"


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away keys and settings, so that no test can reach the real service with them."""
    for name in os.environ:
        if name.startswith(("OPENAI_", "AZURE_OPENAI_", "GPTIMAGE_")) and "REQUIRE" not in name:
            monkeypatch.delenv(name)
