"""A client of the Python SDK that closes 1 s after it was told a handle loses no picture."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from gptimage.sandbox import SandboxServer
from tests.mcp.closing import Unhurried, come_back, draw_and_leave, environment, text


@pytest.mark.parametrize("attempt", range(2))
def test_a_new_server_has_the_picture(tmp_path: Path, attempt: int) -> None:
    """The SDK closes its server while the service still draws; the next one shows the picture."""
    service = Unhurried()
    with SandboxServer(sandbox=service) as door:
        env = environment(tmp_path, door.base_url)
        handle = asyncio.run(draw_and_leave(env, f"Fox {attempt}"))
        seen = asyncio.run(come_back(env, handle))

    assert not seen.is_error, text(seen)
    assert json.loads(text(seen))["status"] == "done"
    assert [block.type for block in seen.content] == ["text", "image"]
    assert len(service.requests) == 1
