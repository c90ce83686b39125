"""Clients of the TypeScript SDK that close 1 s after they were told a handle lose no image."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.mcp.closing import COMMAND, Unhurried, come_back, environment, text

from gptimage.sandbox import SandboxServer


@pytest.mark.parametrize("major", ["1", "2"])
def test_a_new_server_has_the_picture(node: str, modules: Path, tmp_path: Path, major: str) -> None:
    """Both major versions kill their server while the service draws; the next one has it."""
    shutil.copy(Path(__file__).with_name("close.mjs"), tmp_path)
    (tmp_path / "node_modules").symlink_to(modules)
    service = Unhurried()
    with SandboxServer(sandbox=service) as door:
        env = environment(tmp_path, door.base_url)
        done = subprocess.run(
            [node, str(tmp_path / "close.mjs"), major, *COMMAND],
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        seen = asyncio.run(come_back(env, json.loads(done.stdout)["handle"]))

    assert not seen.is_error, text(seen)
    assert json.loads(text(seen))["status"] == "done"
    assert len(service.requests) == 1
