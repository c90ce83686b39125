"""The clients `install` knows: where each keeps its configuration, and what it must say there.

The formats were compared with each client's documentation in November 2026; what could not be
tried in the client itself is said in ``docs/mcp.md``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen


KEY: Final = "OPENAI_API_KEY"

_INPUT: Final = {
    "type": "promptString",
    "id": "openai-api-key",
    "description": "OpenAI API key",
    "password": True,
}


@frozen(kw_only=True)
class Launch:
    """How a client starts the server.

    Attributes:
        command: The program, by its whole path.
        args: Its arguments.
        env: The settings it is started with, those the user asked for.
        key: The key itself, when it is to be written down.
        needs_key: Whether it is of any use without a key.
        seconds: How long to wait for the first start.
    """

    command: str
    args: tuple[str, ...]
    env: Mapping[str, str]
    key: str | None = field(default=None, repr=False)
    needs_key: bool
    seconds: int


@frozen(kw_only=True)
class Client:
    """A program that starts MCP servers.

    Attributes:
        title: Its name for people.
        file: Where its configuration is.
        table: Under which key of it the servers are.
        reference: What stands for the key of the user's environment there; None when the
            client fills in nothing.
        typed: Whether an entry says that it is started over stdio.
        inputs: What the client asks the user for, besides the entry.
        forwards: Whether it takes the names of variables to hand on; it then writes TOML.
        advice: What to do next, and what to know.
    """

    title: str
    file: Callable[[], Path]
    table: str = "mcpServers"
    reference: str | None = None
    typed: bool = False
    inputs: tuple[Mapping[str, Any], ...] = ()
    forwards: bool = False
    advice: str

    def entry(self, launch: Launch) -> dict[str, Any]:
        """What the configuration must say of the server."""
        entry: dict[str, Any] = {"type": "stdio"} if self.typed else {}
        entry |= {"command": launch.command, "args": [*launch.args]}
        if self.forwards:
            entry |= {"startup_timeout_sec": launch.seconds}
            if launch.needs_key and launch.key is None:
                entry |= {"env_vars": [KEY]}
        if env := self._env(launch):
            entry |= {"env": env}
        return entry

    def asks(self, launch: Launch) -> list[Mapping[str, Any]]:
        """What the client must ask the user for."""
        return [] if launch.key is not None or not launch.needs_key else [*self.inputs]

    def _env(self, launch: Launch) -> dict[str, str]:
        env = dict(launch.env)
        if launch.key is not None:
            env[KEY] = launch.key
        elif launch.needs_key and self.reference is not None:
            env[KEY] = self.reference
        return env


def _home(*parts: str) -> Path:
    return Path.home().joinpath(*parts)


def _roaming() -> Path:
    """Where programs keep a user's settings."""
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or _home("AppData", "Roaming"))
    if sys.platform == "darwin":
        return _home("Library", "Application Support")
    return Path(os.environ.get("XDG_CONFIG_HOME") or _home(".config"))


def _claude_desktop() -> Path:
    """On Windows the Store's package reads a folder of its own and never the documented one."""
    usual = _roaming() / "Claude" / "claude_desktop_config.json"
    if sys.platform != "win32":
        return usual
    local = Path(os.environ.get("LOCALAPPDATA") or _home("AppData", "Local"))
    packaged = [
        folder / "LocalCache" / "Roaming" / "Claude" / usual.name
        for folder in sorted((local / "Packages").glob("Claude_*"))
    ]
    return next((each for each in packaged if each.exists()), packaged[0] if packaged else usual)


def _claude_code() -> Path:
    folder = os.environ.get("CLAUDE_CONFIG_DIR")
    return Path(folder) / ".claude.json" if folder else _home(".claude.json")


def _codex() -> Path:
    return Path(os.environ.get("CODEX_HOME") or _home(".codex")) / "config.toml"


CLIENTS: Final[Mapping[str, Client]] = {
    "claude-desktop": Client(
        title="Claude Desktop",
        file=_claude_desktop,
        advice=(
            "Quit Claude Desktop (closing the window is not enough) and start it again. It hands "
            "no variables on: without --with-key, put api_key into the settings file that "
            "`gptimage-mcp --check` names, or install the .mcpb bundle, which keeps it safe."
        ),
    ),
    "claude-code": Client(
        title="Claude Code",
        file=_claude_code,
        reference=f"${{{KEY}:-}}",
        typed=True,
        advice=(
            "For all your projects. Write it while Claude Code is not running: it rewrites this "
            f"file. It takes {KEY} from the shell it is started in."
        ),
    ),
    "vscode": Client(
        title="VS Code",
        file=lambda: _roaming() / "Code" / "User" / "mcp.json",
        table="servers",
        reference="${input:openai-api-key}",
        typed=True,
        inputs=(_INPUT,),
        advice="VS Code asks for the key when it first starts the server, and keeps it safe.",
    ),
    "cursor": Client(
        title="Cursor",
        file=lambda: _home(".cursor", "mcp.json"),
        reference=f"${{env:{KEY}}}",
        advice=f"Cursor takes {KEY} from the environment it is started in; then reload it.",
    ),
    "codex": Client(
        title="Codex",
        file=_codex,
        table="mcp_servers",
        forwards=True,
        advice=f"The CLI, the app and the editor extension share this file; {KEY} is handed on.",
    ),
}
"""By the name `install` takes."""
