"""The pytest plugin, as a project that depends on gptimage would use it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path


TESTS = '''
import sys


def test_loaded_lightly():
    """Asking for nothing imports nothing heavy."""
    assert not {"openai", "PIL", "gptimage.sandbox"} & sys.modules.keys()


def test_client_and_sandbox(gptimage_client, gptimage_sandbox):
    result = gptimage_client.generate("A red fox", quality="low", size="1024x640")
    assert result.image.size == (1024, 640)
    assert [request.path for request in gptimage_sandbox.requests] == ["/images/generations"]


def test_plain_drawing(gptimage_client):
    """The project's configuration file asks for plain images."""
    assert len(gptimage_client.generate("A red fox", quality="low").image.data) < 20_000


def test_failures(gptimage_client, gptimage_sandbox):
    import gptimage
    import pytest

    gptimage_sandbox.fail_next("moderation")
    with pytest.raises(gptimage.ModerationError):
        gptimage_client.generate("A red fox")


def test_server(gptimage_server, gptimage_sandbox):
    from urllib.request import Request, urlopen

    request = Request(gptimage_server.base_url + "/models", headers={"Authorization": "Bearer k"})
    with urlopen(request) as response:
        assert response.status == 200
    assert len(gptimage_sandbox.requests) == 1
'''


def test_fixtures_work_in_a_project_of_their_own(tmp_path: Path) -> None:
    """Each fixture does what its name says, and loading the plugin costs nothing."""
    (tmp_path / "test_own.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\ngptimage_draw = plain\n")
    installed = entry_points(group="pytest11", name="gptimage")
    plugin = [] if installed else ["-p", "gptimage.pytest_plugin"]
    options = ["-q", "-p", "no:cacheprovider", *plugin, str(tmp_path)]
    command = [sys.executable, "-m", "pytest", *options]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stdout + run.stderr
    assert "5 passed" in run.stdout
