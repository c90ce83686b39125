"""The MCP inspector's command line, strict, in both protocols."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


STDIO = (sys.executable, "-m", "gptimage_mcp")
DRAW = ("--method", "tools/call", "--tool-name", "generate_image", "--tool-args-json")


class Inspector:
    """Asks a server, in one protocol, one way."""

    def __init__(self, command: list[str], where: list[str], environment: dict[str, str]) -> None:
        self._command, self._where, self._environment = command, where, environment

    def ask(self, *question: str) -> subprocess.CompletedProcess[str]:
        """Ask once."""
        return subprocess.run(
            # It gives up after 15 s, which a busy machine may need to start a server.
            [
                *self._command,
                *self._where,
                *question,
                *("--connect-timeout", "100000"),
                "--format",
                "json",
            ],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture(params=["modern-stdio", "legacy-stdio", "modern-http", "legacy-http"])
def inspector(
    request: pytest.FixtureRequest,
    node: str,
    modules: Path,
    server: str,
    environment: dict[str, str],
) -> Inspector:
    """The inspector, pointed at the server."""
    protocol, way = str(request.param).split("-")
    program = modules / "@modelcontextprotocol/inspector"
    name = json.loads((program / "package.json").read_text())["bin"]["mcp-inspector"]
    command = [node, str(program / name), "--cli", "-q", "--protocol-era", protocol]
    # The inspector hands a server of its own none of its environment.
    told = [word for name, value in environment.items() for word in ("-e", f"{name}={value}")]
    where = [*told, *STDIO] if way == "stdio" else [server, "--transport", "http"]
    return Inspector(command, where, environment)


def test_the_tools_are_portable(inspector: Inspector) -> None:
    """Every schema passes the inspector's strict check."""
    done = inspector.ask("--method", "tools/list", "--strict")

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_picture_is_drawn(inspector: Inspector) -> None:
    """A call gives a summary and a preview."""
    done = inspector.ask(*DRAW, json.dumps({"prompt": "A red fox", "size": "1024x1024"}))

    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)["result"]["content"]
    assert [block["type"] for block in content] == ["text", "image"]


def test_a_refusal_is_an_error(inspector: Inspector) -> None:
    """A wrong parameter is an error of the tool, with the next step."""
    done = inspector.ask(*DRAW, json.dumps({"prompt": "A fox", "n": 99}))

    assert done.returncode == 5, done.stderr


def test_the_viewer_is_found(inspector: Inspector) -> None:
    """The tool says which MCP App shows its images."""
    done = inspector.ask(*DRAW, json.dumps({"prompt": "A red fox"}), "--app-info")

    assert done.returncode == 0, done.stdout + done.stderr
