"""Both major versions of the TypeScript SDK, over stdio and over HTTP."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


HERE = Path(__file__).parent
STDIO = ("stdio", sys.executable, "-m", "gptimage_mcp")
CLIENTS = (("sdk1.mjs",), ("sdk2.mjs", "auto"), ("sdk2.mjs", "legacy"))


@pytest.fixture(scope="session")
def scripts(modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts beside the packages they import."""
    folder = tmp_path_factory.mktemp("scripts")
    for script in HERE.glob("*.mjs"):
        shutil.copy(script, folder)
    (folder / "node_modules").symlink_to(modules)
    return folder


@pytest.mark.parametrize("way", ["stdio", "http"])
@pytest.mark.parametrize("client", CLIENTS, ids="-".join)
def test_a_host_at_work(
    node: str,
    scripts: Path,
    server: str,
    environment: dict[str, str],
    client: tuple[str, ...],
    way: str,
) -> None:
    """A host draws, sees the preview, reads the original, and loses nothing when it gives up."""
    script, *mode = client
    where = STDIO if way == "stdio" else ("http", server)
    done = subprocess.run(
        [node, str(scripts / script), *mode, *where],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)

    assert report["tools"][0] == "generate_image"
    assert report["kinds"] == ["text", "image"]
    assert not report["structured"]
    assert report["told"]["status"] == "done"
    assert report["preview"] > 1_000
    assert (report["original"], report["originalType"]) == (
        report["told"]["images"][0]["bytes"],
        "image/png",
    )
    assert report["seen"][:2] == ["text", "image"]
    assert report["told"]["images"][0]["id"] in {each["id"] for each in report["listed"]["records"]}
    assert report["refused"]
    assert report["progress"] == sorted(report["progress"])
    assert report["givenUp"]["code"] in {-32001, "REQUEST_TIMEOUT"}
    assert report["givenUp"]["kept"]
