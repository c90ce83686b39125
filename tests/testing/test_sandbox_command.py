"""``gptimage sandbox`` as a tool: its flags for previews, failures and recording."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import gptimage
from gptimage.testing import cassette


LOW = {"size": "1024x640", "quality": "low"}


@contextmanager
def serving(*flags: str) -> Iterator[gptimage.ImageClient]:
    """A client of the command, which ends with the block."""
    command = [sys.executable, "-m", "gptimage", "sandbox", "--port", "0", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().split()[2]
        try:
            with gptimage.ImageClient(api_key="sk-any", base_url=base_url, retry=0) as client:
                yield client
        finally:
            process.send_signal(signal.SIGINT)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to a child")
def test_previews_and_a_recording(tmp_path: Path) -> None:
    """What is refused without ``--previews`` is drawn, and replayed from the folder."""
    clear = {"model": "gpt-image-2", "background": "transparent", **LOW}
    with serving("--previews", "--record", str(tmp_path)) as client:
        drawn = client.generate("A fox", **clear)
    with cassette(tmp_path, mode="strict"), gptimage.ImageClient(api_key="k") as client:
        replayed = client.generate("A fox", **clear)

    assert (replayed.image.size, replayed.usage) == (drawn.image.size, drawn.usage)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to a child")
def test_failures_by_rate() -> None:
    """Every request that draws fails as the flag says."""
    with (
        serving("--fail", "quota=1", "--seed", "7") as client,
        pytest.raises(gptimage.QuotaExceededError),
    ):
        client.generate("A fox", **LOW)


@pytest.mark.parametrize("rate", ["quota", "quota=2", "nothing=0.1"])
def test_wrong_rates_are_refused(rate: str) -> None:
    """Before the port is opened, with the reason."""
    command = [sys.executable, "-m", "gptimage", "sandbox", "--port", "0", "--fail", rate]
    run = subprocess.run(command, capture_output=True, text=True, check=False)

    assert run.returncode == 2
    assert "--fail" in run.stderr
