"""The clients `install` knows: where each one's configuration is, and what an entry has there.

The formats are those of each client's documentation in November 2026; none was tried in the client
itself, which ``docs/mcp.md`` says, too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

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
    """Command with which a client starts the server.

    Attributes:
        name: What the client calls the server.
        command: The program, by its whole path.
        args: Its arguments.
        env: The settings it is started with, those the user asked for.
        key: The key itself, when it is to be written down.
        needs_key: Whether it is of any use without a key.
        seconds: How long to wait for the first start.
    """

    name: str
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
        file: Where its configuration is; None for a client that is not known by name.
        format: How its configuration is written; JSON may have comments.
        table: Under which key the servers are.
        reference: What stands for the key of the user's environment there; None if the client
            fills in nothing.
        fixed: What every entry says besides.
        name: What the entry calls the server's name, if it repeats it.
        command: What it calls the program.
        args: What it calls the arguments; None if they follow the program in one list.
        env: What it calls the settings.
        forwarded: What it calls the names of variables to hand on, if the client takes them.
        timeout: What it calls the time for the first start, and its units per second.
        inputs: What the client asks the user for, besides the entry.
        advice: What to do next, and what to know.
    """

    title: str
    file: Callable[[], Path] | None
    format: Literal["json", "toml", "yaml"] = "json"
    table: str = "mcpServers"
    reference: str | None = None
    fixed: Mapping[str, Any] = {}
    name: str | None = None
    command: str = "command"
    args: str | None = "args"
    env: str = "env"
    forwarded: str | None = None
    timeout: tuple[str, int] | None = None
    inputs: tuple[Mapping[str, Any], ...] = ()
    advice: str

    def entry(self, launch: Launch) -> dict[str, Any]:
        """Return what the configuration must say of the server."""
        entry: dict[str, Any] = {**self.fixed, **({self.name: launch.name} if self.name else {})}
        if self.args is None:
            entry[self.command] = [launch.command, *launch.args]
        else:
            entry |= {self.command: launch.command, self.args: [*launch.args]}
        if self.timeout is not None:
            name, units = self.timeout
            entry[name] = launch.seconds * units
        if self.forwarded is not None and launch.needs_key and launch.key is None:
            entry[self.forwarded] = [KEY]
        if env := self._env(launch):
            entry[self.env] = env
        return entry

    def needed_inputs(self, launch: Launch) -> list[Mapping[str, Any]]:
        """Return what the client must ask the user for."""
        return [] if launch.key is not None or not launch.needs_key else [*self.inputs]

    def _env(self, launch: Launch) -> dict[str, str]:
        env = dict(launch.env)
        if launch.key is not None:
            env[KEY] = launch.key
        elif launch.needs_key and self.reference is not None:
            env[KEY] = self.reference
        return env


def is_shared(path: Path) -> bool:
    """Return whether a file is one that a project checks in for everybody who works on it."""
    folder = path.absolute().parent
    if path.name == ".mcp.json":
        return True
    return folder.name in _PROJECT_FOLDERS and folder.parent != Path.home()


_PROJECT_FOLDERS: Final = {".vscode", ".cursor", ".gemini", ".zed", ".opencode"}


def _home(*parts: str) -> Path:
    return Path.home().joinpath(*parts)


def _roaming() -> Path:
    """Return the folder of a user's settings."""
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


def _goose() -> Path:
    """Return Goose's file: it keeps to ``~/.config`` on macOS, too."""
    if sys.platform == "win32":
        return _roaming() / "Block" / "goose" / "config" / "config.yaml"
    return _dot_config() / "goose" / "config.yaml"


def _zed() -> Path:
    if sys.platform == "win32":
        return _roaming() / "Zed" / "settings.json"
    return _dot_config() / "zed" / "settings.json"


def _opencode() -> Path:
    """Return the file with comments if there is one; opencode reads both."""
    plain = _dot_config() / "opencode" / "opencode.json"
    commented = plain.with_suffix(".jsonc")
    return commented if commented.exists() else plain


def _cline() -> Path:
    """Return the file of the editor's extension, or that of the command line if only it exists."""
    if named := os.environ.get("CLINE_MCP_SETTINGS_PATH"):
        return Path(named)
    name = "cline_mcp_settings.json"
    storage = _roaming() / "Code" / "User" / "globalStorage" / "saoudrizwan.claude-dev"
    extension, alone = storage / "settings" / name, _home(".cline", "data", "settings", name)
    return alone if alone.exists() and not extension.exists() else extension


def _dot_config() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or _home(".config"))


_NO_VARIABLES: Final = (
    "documents no way to hand a variable on: without --with-key, put api_key into the settings "
    "file that `gptimage-mcp --check` names."
)

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
        fixed={"type": "stdio"},
        advice=(
            f"Claude Code takes {KEY} from the shell it is started in. Write ~/.claude.json, which "
            "is for all your projects, while it is not running: it rewrites that file."
        ),
    ),
    "vscode": Client(
        title="VS Code",
        file=lambda: _roaming() / "Code" / "User" / "mcp.json",
        table="servers",
        reference="${input:openai-api-key}",
        fixed={"type": "stdio"},
        inputs=(_INPUT,),
        advice="VS Code asks for the key when it first starts the server, and stores it safely.",
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
        format="toml",
        table="mcp_servers",
        forwarded="env_vars",
        timeout=("startup_timeout_sec", 1),
        advice=f"The CLI, the app and the editor extension share this file; {KEY} is handed on.",
    ),
    "windsurf": Client(
        title="Windsurf",
        file=lambda: _home(".codeium", "windsurf", "mcp_config.json"),
        reference=f"${{env:{KEY}}}",
        advice=f"Windsurf takes {KEY} from the environment it is started in; then refresh it.",
    ),
    "zed": Client(
        title="Zed",
        file=_zed,
        table="context_servers",
        fixed={"source": "custom"},
        advice=f"Zed starts the server as soon as the file is saved. It {_NO_VARIABLES}",
    ),
    "cline": Client(
        title="Cline",
        file=_cline,
        advice=f"Cline starts the server as soon as the file is saved. It {_NO_VARIABLES}",
    ),
    "gemini-cli": Client(
        title="Gemini CLI",
        file=lambda: _home(".gemini", "settings.json"),
        reference=f"${KEY}",
        advice=f"Gemini CLI takes {KEY} from the shell it is started in; /mcp lists the server.",
    ),
    "lm-studio": Client(
        title="LM Studio",
        file=lambda: _home(".lmstudio", "mcp.json"),
        advice=(
            f"Program > Install > Edit mcp.json shows this file in LM Studio. It {_NO_VARIABLES}"
        ),
    ),
    "opencode": Client(
        title="opencode",
        file=_opencode,
        table="mcp",
        reference=f"{{env:{KEY}}}",
        fixed={"type": "local", "enabled": True},
        args=None,
        env="environment",
        timeout=("timeout", 1000),
        advice=f"opencode takes {KEY} from the shell it is started in; then start it again.",
    ),
    "goose": Client(
        title="Goose",
        file=_goose,
        format="yaml",
        table="extensions",
        fixed={"type": "stdio", "enabled": True, "timeout": 300},
        name="name",
        command="cmd",
        env="envs",
        forwarded="env_keys",
        advice=f"Goose takes {KEY} from its keyring or its environment; then start it again.",
    ),
    "generic": Client(
        title="Another client",
        file=None,
        advice=(
            "Most clients read servers from `mcpServers`; what yours is called, and where its file "
            f"is, its documentation says. Unless it hands {KEY} on, put api_key into the settings "
            "file that `gptimage-mcp --check` names."
        ),
    ),
}
"""By the name `install` takes."""
