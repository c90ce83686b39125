"""``gptimage-mcp install CLIENT``: the client's configuration, printed, or written into its file.

The key is not written down without --with-key: each entry says where to take it from.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import evolve

import gptimage
from gptimage_mcp.install.clients import CLIENTS, KEY, Client, Launch, is_shared


if TYPE_CHECKING:
    from gptimage_mcp.install.merge import ServerEntry


OK: Final = 0
REFUSED: Final = 2

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}", re.ASCII)
_SECONDS: Final = 60
_UVX_SECONDS: Final = 120
"""How long a client should wait for the first start; that of uvx downloads everything."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # pyright: ignore[reportPrivateUsage]  # argparse has no public name for it
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "install",
        help="print or write the configuration of a client",
        description="Print the configuration of a client, or write it into the client's file.",
    )
    parser.add_argument("client", choices=CLIENTS, metavar="CLIENT", help=", ".join(CLIENTS))
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--print", action="store_true", help="only print it (the default)")
    how.add_argument(
        "--write", action="store_true", help="put it into the file; what the file was is kept"
    )
    parser.add_argument("--file", type=Path, metavar="FILE", help="another file, as of a project")
    parser.add_argument(
        "--team",
        action="store_true",
        help="for a file that others use, too: a command that runs on every machine, and no key "
        "(taken for granted for .mcp.json, .vscode/mcp.json and their like)",
    )
    parser.add_argument("--name", default="gptimage", help="the server's name there")
    parser.add_argument(
        "--uvx", action="store_true", help="start it with uvx, not with this Python"
    )
    parser.add_argument(
        "--sandbox", action="store_true", help="draw offline: no key, no network, no cost"
    )
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another setting, as GPTIMAGE_MAX_PER_DAY=5",
    )
    parser.add_argument(
        "--with-key", action="store_true", help=f"write the value of {KEY} into the file, too"
    )


def run(args: argparse.Namespace) -> int:
    """Print or write the configuration; the exit code is 2 when nothing was done."""
    client = CLIENTS[args.client]
    try:
        path = args.file or client.file()
        addition = _addition(
            client, args, is_team=args.team or (path is not None and is_shared(path))
        )
        if path is None and args.write:
            raise gptimage.ConfigurationError("generic has no file of its own: name one by --file")
        if path is None or not args.write:
            return _print(client, addition, path)
        return _write(client, addition, path, private=args.with_key)
    except (gptimage.ConfigurationError, OSError, RuntimeError) as error:
        print(f"gptimage-mcp: nothing was written: {error}", file=sys.stderr)
        return REFUSED


def _addition(client: Client, args: argparse.Namespace, *, is_team: bool) -> ServerEntry:
    from gptimage_mcp.install.merge import ServerEntry

    if not _NAME.fullmatch(args.name):
        raise gptimage.ConfigurationError(
            f"--name {args.name!r}: clients want a letter, then letters, digits, - and _"
        )
    launch = _launch(args, is_team=is_team)
    overrides = {*launch.env, *([KEY] if launch.key is not None else [])}
    return ServerEntry(
        table=client.table,
        name=args.name,
        entry=client.entry(launch),
        overrides=frozenset(overrides),
        env=client.env,
        inputs=client.needed_inputs(launch),
    )


def _launch(args: argparse.Namespace, *, is_team: bool) -> Launch:
    env = dict(map(_setting, args.env))
    if is_team and args.with_key:
        raise gptimage.ConfigurationError(
            "--with-key: others use this file, too, and a key of yours does not belong into it"
        )
    if args.sandbox:
        env["GPTIMAGE_SANDBOX"] = "true"
    uvx = args.uvx or is_team or _is_passing()
    found = None if is_team else shutil.which("uvx")  # a path of this machine helps nobody else
    return Launch(
        name=args.name,
        command=(found or "uvx") if uvx else sys.executable,
        args=("--from", "gptimage[mcp]", "gptimage-mcp") if uvx else ("-m", "gptimage_mcp"),
        env=env,
        key=_key(args) if args.with_key else None,
        needs_key=not args.sandbox,
        seconds=_UVX_SECONDS if uvx else _SECONDS,
    )


def _is_passing() -> bool:
    """Return whether uvx made this Python for this run and may throw it away."""
    return any(
        re.fullmatch(r"(archive|environments)-v\d+", each) for each in Path(sys.prefix).parts
    )


def _key(args: argparse.Namespace) -> str:
    if not args.write:
        raise gptimage.ConfigurationError("--with-key goes with --write: a key is not for a screen")
    if key := os.environ.get(KEY, "").strip():
        return key
    raise gptimage.ConfigurationError(f"--with-key: {KEY} is not set here")


def _setting(text: str) -> tuple[str, str]:
    """A setting of the command line, which must be one that exists and makes sense."""
    from gptimage.config import BadValueError, variable
    from gptimage_mcp.config.settings import ROWS

    name, equals, value = text.partition("=")
    rows = {variable(each): row for each, row in ROWS.items()}
    if name == KEY:
        raise gptimage.ConfigurationError(
            f"--env {KEY}: a command line is no place for a key; set it in the environment, "
            "and add --with-key if it shall be written down"
        )
    if not equals or (name not in rows and name != "GPTIMAGE_CONFIG"):
        raise gptimage.ConfigurationError(f"--env {name}: there is no such setting")
    try:
        if name in rows:
            row = rows[name]
            for part in re.split(row.separator, value) if row.separator else [value]:
                row.read(part)
    except BadValueError as reason:
        raise gptimage.ConfigurationError(f"--env {name}: its value {reason}") from None
    return name, value


def _merged(client: Client, text: str, addition: ServerEntry) -> str:
    from gptimage_mcp.install.merge import merge_json, merge_toml
    from gptimage_mcp.install.yaml_text import merge_yaml

    merge = {"json": merge_json, "toml": merge_toml, "yaml": merge_yaml}[client.format]
    return merge(text, addition)


def _without_key(addition: ServerEntry) -> ServerEntry:
    env = addition.entry.get(addition.env, {})
    if KEY not in addition.overrides:
        return addition
    return evolve(addition, entry={**addition.entry, addition.env: {**env, KEY: "your key"}})


def _print(client: Client, addition: ServerEntry, path: Path | None) -> int:
    print(_merged(client, "", addition), end="")
    place = "the file of your client" if path is None else f"{path}; --write puts it there"
    print(f"\nThis goes into {place}.\n{client.advice}", file=sys.stderr)
    return OK


def _write(client: Client, addition: ServerEntry, path: Path, *, private: bool) -> int:
    from gptimage_mcp.install.merge import read, replace

    before = read(path)
    try:
        text = (before or b"").decode("utf-8-sig").replace("\r\n", "\n")
        merged = _merged(client, text, addition)
        after = _encoded(merged, before or b"")
    except (gptimage.ConfigurationError, UnicodeError) as error:
        print(_merged(client, "", _without_key(addition)), end="")
        raise gptimage.ConfigurationError(
            f"{path}: {error}. Put what is printed above there by hand"
        ) from None
    if before is not None and merged == text:
        print(f"{path} says so already", file=sys.stderr)
        return OK
    backup = replace(path, before, after, private=private)
    print(f"wrote {path}" + (f"; what it was is in {backup}" if backup else ""), file=sys.stderr)
    print(client.advice, file=sys.stderr)
    return OK


def _encoded(text: str, before: bytes) -> bytes:
    """The text with the line ends and the mark at its beginning that the file had."""
    mark = b"\xef\xbb\xbf" if before.startswith(b"\xef\xbb\xbf") else b""
    return mark + (text.replace("\n", "\r\n") if b"\r\n" in before else text).encode()
