"""The container of the sandbox: what its file starts, asks and sends is what the command takes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.ports import hold_port


ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "packaging" / "docker"
FILE = (DOCKER / "sandbox.Dockerfile").read_text(encoding="utf-8")


def arguments(instruction: str) -> list[str]:
    """The words of an instruction in its JSON form."""
    match = re.search(rf"^{instruction}\b.*?(\[.*\])$", FILE, re.MULTILINE)
    assert match is not None
    words: list[str] = json.loads(match[1])
    return words


@pytest.fixture
def port() -> str:
    """A port nobody listens on."""
    return str(hold_port())


def test_it_serves_is_healthy_and_ends(port: str) -> None:
    """With the words of the file: the command listens, the check passes, the signal ends it."""
    program, *words = [word.replace("8080", port) for word in arguments("ENTRYPOINT")]
    assert program == "gptimage"
    ending = re.search(r"^STOPSIGNAL (\w+)$", FILE, re.MULTILINE)
    assert ending is not None
    _, flag, code = arguments("HEALTHCHECK")
    check = [sys.executable, flag, code.replace("8080", port)]
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "gptimage", *words], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        healthy = subprocess.run(check, check=False, capture_output=True).returncode
        process.send_signal(signal.Signals[ending[1]])

    assert f":{port}/v1" in first
    assert healthy == 0
    assert process.returncode in {0, 130}


def test_it_is_not_root_and_what_is_copied_is_there() -> None:
    """It runs as nobody; what is copied exists, and is not left out by the ignore file."""
    ignore = (DOCKER / "sandbox.Dockerfile.dockerignore").read_text(encoding="utf-8")
    copied = [
        word
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", FILE, re.MULTILINE)
        for word in line.split()
    ]

    assert "\nUSER 65534:65534\n" in FILE
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert [name for name in copied if f"!{name}" not in ignore.splitlines()] == []


def test_it_installs_what_the_sandbox_needs_and_no_extra() -> None:
    """The package alone draws: an extra would only make the image larger."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert " --prefix=/install .\n" in FILE
    assert any(name.startswith("pillow") for name in project["dependencies"])
