"""The pytest plugin, as a project that depends on gptimage would use it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

from gptimage import ImageClient
from gptimage.testing import cassette


TESTS = '''
import sys

import pytest


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
@pytest.mark.anyio
async def test_async_client(gptimage_async_client, gptimage_sandbox):
    result = await gptimage_async_client.generate("A red fox", quality="low", size="1024x640")
    assert result.image.size == (1024, 640)
    assert len(gptimage_sandbox.requests) == 1


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.gptimage_cassette("recorded", mode="strict")
def test_replayed():
    import gptimage

    with gptimage.ImageClient() as client:
        assert client.generate("A red fox", quality="low", size="1024x640").image.format == "png"


@pytest.mark.parametrize("word", ["a/b"])
@pytest.mark.gptimage_cassette
def test_recorded(word, gptimage_client):
    gptimage_client.generate(word, quality="low", size="1024x640")


def test_failures(gptimage_client, gptimage_sandbox):
    import gptimage

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
    (tmp_path / "pytest.ini").write_text("[pytest]\ngptimage_draw = plain\nstrict_markers = true\n")
    with cassette(tmp_path / "recorded"):
        ImageClient.sandbox().generate("A red fox", quality="low", size="1024x640")
    installed = entry_points(group="pytest11", name="gptimage")
    plugin = [] if installed else ["-p", "gptimage.pytest_plugin"]
    options = ["-q", "-p", "no:cacheprovider", *plugin, str(tmp_path)]
    environment = {name: os.environ[name] for name in os.environ if name != "OPENAI_API_KEY"}
    command = [sys.executable, "-m", "pytest", *options]
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert "8 passed" in run.stdout
    assert (tmp_path / "cassettes/test_own/test_recorded-a-b-").is_dir()
