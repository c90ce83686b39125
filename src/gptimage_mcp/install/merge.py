"""Put one server into a client's configuration without losing anything that is there.

What cannot be merged for certain (a key that is there twice, a table written another way) is
refused and left as it is. Before a file is replaced, it is copied beside itself.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from attrs import field, frozen

import gptimage
from gptimage_mcp.content.records import utc_now
from gptimage_mcp.install import jsonc


_OURS: Final = ("type", "source", "command", "args")
"""What an entry that is already there gets anew; the rest of it stays."""


@frozen(kw_only=True)
class ServerEntry:
    """One server, as it shall be in a configuration.

    Attributes:
        table: Under which key the servers are.
        name: The server's name.
        entry: Its entry.
        env: What the entry calls its variables.
        overrides: Variables whose new value counts, whatever the old entry says.
        inputs: What the client asks the user for, by id, besides.
    """

    table: str
    name: str
    entry: Mapping[str, Any] = field(repr=False)
    env: str = "env"
    overrides: frozenset[str] = frozenset()
    inputs: Sequence[Mapping[str, Any]] = ()

    def merged(self, old: object) -> dict[str, Any]:
        """The entry, with everything an older one says besides."""
        if not isinstance(old, dict):
            return dict(self.entry)
        entry = cast("dict[str, Any]", old)
        both = {**self.entry, **entry}
        both |= {key: self.entry[key] for key in _OURS if key in self.entry}
        new, known = self.entry.get(self.env, {}), _table({**entry}, self.env, {})
        if new or known:
            overridden = {key: new[key] for key in self.overrides & new.keys()}
            both[self.env] = {**new, **known, **overridden}
        return both


def merge_json(text: str, added: ServerEntry) -> str:
    """Return a JSON configuration with the server in it; every other byte stays as it is.

    Raises:
        ConfigurationError: It is no JSON, with comments or without.
    """
    text = text if text.strip() else "{}\n"
    document: Any = jsonc.parse(text).value
    if not isinstance(document, dict):
        raise gptimage.ConfigurationError("it is no JSON object")
    wanted = cast("dict[str, Any]", document)
    servers = _table(wanted, added.table, {})
    servers[added.name] = added.merged(servers.get(added.name))
    for each in added.inputs:
        known: list[Any] = _table(wanted, "inputs", [])
        if each["id"] not in map(_id, known):
            known.append(dict(each))
    return jsonc.rewrite(text, wanted)


def merge_toml(text: str, added: ServerEntry) -> str:
    """A TOML configuration with the server in it; every other line stays as it is.

    Raises:
        ConfigurationError: It is no TOML, or has the table in a form that is not understood.
    """
    before = _toml(text)
    old: dict[str, Any] = _table(before, added.table, {})
    wanted = added.merged(old.get(added.name))
    rest, comments = _without(text, added)
    head = f"[{added.table}.{added.name}]"
    block = [head, *comments, *(f"{key} = {_literal(wanted[key])}" for key in wanted)]
    after = "".join([rest, "\n" if rest.strip() else "", "\n".join(block), "\n"])
    expected = {**before, added.table: {**old, added.name: wanted}}
    if wanted == old.get(added.name):
        return text
    if _toml(after) != expected:
        raise gptimage.ConfigurationError(
            f"it has {added.table}.{added.name} in a form that is not understood here"
        )
    return after


def read(path: Path) -> bytes | None:
    """Return the content of a file; None when there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def replace(path: Path, before: bytes | None, after: bytes, *, private: bool) -> Path | None:
    """Write a file in one step, and keep what it was beside it.

    Args:
        path: The file; where it is a link, what it points to is replaced.
        before: What it held when the new content was made; None when there was none.
        after: What it shall hold.
        private: Whether nobody else may read it.

    Returns:
        The copy of what it was, or None when it was not there.

    Raises:
        ConfigurationError: Somebody changed it meanwhile.
        OSError: It cannot be written; it is as it was.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = 0o600 if private else 0o644 if before is None else path.stat().st_mode & 0o777
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        _write(fresh, after, mode)
        if read(path) != before:
            raise gptimage.ConfigurationError(f"{path} was changed meanwhile; run this again")
        backup = None if before is None else _keep(path, before)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    return backup


def _keep(path: Path, content: bytes) -> Path:
    stamp = utc_now().strftime("%Y%m%dT%H%M%S%f")
    copy = path.with_name(f"{path.name}.before-gptimage-{stamp}")
    _write(copy, content, path.stat().st_mode & 0o777)
    return copy


def _write(path: Path, content: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        path.chmod(mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _table(document: dict[str, Any], key: str, empty: Any) -> Any:
    found = document.setdefault(key, empty)
    if type(found) is not type(empty):
        raise gptimage.ConfigurationError(f"its {key!r} is not what this client documents")
    return found


def _id(value: object) -> object:
    return cast("dict[str, Any]", value).get("id") if isinstance(value, dict) else None


def _toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise gptimage.ConfigurationError(f"it is no TOML that can be added to ({error})") from None


def _without(text: str, added: ServerEntry) -> tuple[str, list[str]]:
    """The text without the server's tables, and the comments that were in them."""
    own = re.compile(rf"\s*\[\s*{added.table}\s*\.\s*(['\"]?){added.name}\1\s*(\..*)?\]\s*(#.*)?")
    rest: list[str] = []
    comments: list[str] = []
    inside = False
    for line in text.splitlines(keepends=True):
        if re.fullmatch(r"\s*\[.*\]\s*(#.*)?", line.rstrip("\r\n")):
            inside = own.fullmatch(line.rstrip("\r\n")) is not None
        if not inside:
            rest.append(line)
        elif line.strip().startswith("#"):
            comments.append(line.strip())
    merged = "".join(rest)
    return merged + ("" if not merged or merged.endswith("\n") else "\n"), comments


def _literal(value: Any) -> str:
    """A value in TOML."""
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value).items()
        return f"{{ {', '.join(f'{json.dumps(key)} = {_literal(each)}' for key, each in pairs)} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, cast('list[object]', value)))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
