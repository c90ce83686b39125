"""The clients `install` knows: where each one's configuration is, and what an entry has there.

They are the rows of ``clients.toml``.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal

from attrs import field, frozen


KEY: Final = "OPENAI_API_KEY"

_PROJECT_FOLDERS: Final = {".vscode", ".cursor", ".gemini", ".zed", ".opencode"}


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
        files: Where its configuration may be: the first that is there counts, or else the last. A
            place that begins with an environment variable of the client is the only one while
            that is set, and none otherwise; so is one with an asterisk where that matches a
            folder. Empty for a client that is not known by name.
        windows_files: The same on Windows, where that differs.
        format: How its configuration is written; JSON may have comments.
        table: Under which key the servers are.
        reference: What stands for the key of the user's environment there; None if the client
            fills in nothing.
        fixed: What every entry says besides.
        name: What the entry calls the server's name, if it repeats it.
        command: What it calls the program.
        args: What it calls the arguments; empty if they follow the program in one list.
        env: What it calls the settings.
        forwarded: What it calls the names of variables to hand on, if the client takes them.
        timeout: What it calls the time for the first start, and its units per second.
        inputs: What the client asks the user for, besides the entry.
        advice: What to do next, and what to know.
    """

    title: str
    files: Sequence[str] = ()
    windows_files: Sequence[str] = ()
    format: Literal["json", "toml", "yaml"] = "json"
    table: str = "mcpServers"
    reference: str | None = None
    fixed: Mapping[str, Any] = {}
    name: str | None = None
    command: str = "command"
    args: str = "args"
    env: str = "env"
    forwarded: str | None = None
    timeout: Sequence[Any] | None = None
    inputs: Sequence[Mapping[str, Any]] = ()
    advice: str

    def file(self) -> Path | None:
        """Return where its configuration is, or belongs; None for a client without a name."""
        is_windows = sys.platform == "win32"
        found: list[Path] = []
        for place in (is_windows and self.windows_files) or self.files:
            paths = _paths(place)
            is_only = place[1].isupper() or "*" in place
            if paths and is_only:
                found = [*paths, paths[0]]
                break
            found += paths
        return next((path for path in found if path.exists()), found[-1] if found else None)

    def entry(self, launch: Launch) -> dict[str, Any]:
        """Return what the configuration must say of the server."""
        entry: dict[str, Any] = {**self.fixed, **({self.name: launch.name} if self.name else {})}
        if self.args:
            entry |= {self.command: launch.command, self.args: [*launch.args]}
        else:
            entry[self.command] = [launch.command, *launch.args]
        if self.timeout is not None:
            name, units = self.timeout
            entry[name] = launch.seconds * units
        if self.forwarded is not None and launch.needs_key and launch.key is None:
            entry[self.forwarded] = [KEY]
        key = launch.key or (self.reference if launch.needs_key else None)
        if env := {**launch.env, **({} if key is None else {KEY: key})}:
            entry[self.env] = env
        return entry

    def needed_inputs(self, launch: Launch) -> list[Mapping[str, Any]]:
        """Return what the client must ask the user for."""
        return [] if launch.key is not None or not launch.needs_key else [*self.inputs]


def is_shared(path: Path) -> bool:
    """Return whether a file is one that a project checks in for everybody who works on it."""
    folder = path.absolute().parent
    if path.name == ".mcp.json":
        return True
    return folder.name in _PROJECT_FOLDERS and folder.parent != Path.home()


def _paths(place: str) -> list[Path]:
    """Return the paths a place in the table stands for; none while its variable is not set."""
    found = re.fullmatch(r"\{(\w+)\}/?(.*)", place)
    root = found and _root(found[1])
    if found is None or root is None:
        return []
    before, star, after = found[2].partition("*")
    if not star:
        return [Path(root, found[2])]
    folder = Path(root, before)
    rest = after.lstrip("/")
    return [each / rest for each in sorted(folder.parent.glob(f"{folder.name}*"))]


def _root(name: str) -> Path | str | None:
    """Return the folder of this name; None for a variable that is not set."""
    home = Path.home()
    config = os.environ.get("XDG_CONFIG_HOME") or home / ".config"
    settings = {
        "win32": os.environ.get("APPDATA") or home / "AppData" / "Roaming",
        "darwin": home / "Library" / "Application Support",
    }.get(sys.platform, config)
    local = os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local"
    usual = {"home": home, "config": config, "settings": settings, "local": local}
    return usual.get(name) or os.environ.get(name)


def _read() -> dict[str, Client]:
    rows = tomllib.loads(files("gptimage_mcp.install").joinpath("clients.toml").read_text("utf-8"))
    return {name: Client(**row) for name, row in rows.items()}


CLIENTS: Final[Mapping[str, Client]] = _read()
"""By the name `install` takes."""
