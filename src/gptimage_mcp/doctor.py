"""``gptimage-mcp --check``: the settings that apply, where each comes from, and what will not work.

It opens the store, the templates and the cache as the server would, and asks nobody for anything.
"""

from __future__ import annotations

import os
import platform
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, cast

import gptimage
from gptimage.config import OFF, variable
from gptimage.secrets import scrub
from gptimage_mcp.config.loading import (
    CONFIG,
    NO_OPTIONS,
    LoadedSettings,
    check_optional_paths,
    check_required_paths,
    default_file,
    load,
    of_http,
)
from gptimage_mcp.config.older_servers import replacements
from gptimage_mcp.config.settings import ROWS, Settings, SettingsError
from gptimage_mcp.content.records import utc_now


FINE: Final = 0
WILL_NOT_WORK: Final = 1
BAD_SETTINGS: Final = 2

_OF_HTTP: Final = ("tenants", "link_minutes", "trusted_proxies")
_PATIENCE: Final = 55.0
"""Seconds; many clients give a call up after 60."""


def run(options: Mapping[str, str] = NO_OPTIONS) -> int:
    """Print everything and return the exit code.

    Args:
        options: See `load`.
    """
    print(_versions())
    try:
        loaded = load(options)
    except SettingsError as error:
        _print("These settings cannot be used:", error.problems)
        _print("There are:", [CONFIG, *map(variable, ROWS)])
        return BAD_SETTINGS
    print(f"\nsettings file: {loaded.file or f'none (looked for {default_file()})'}\n")
    print("\n".join(_table(loaded)))
    problems, notes = [*_problems(loaded.settings)], [*_notes(loaded)]
    _print("Worth knowing:", notes)
    _print("This will not work:", problems)
    if not problems:
        print("\nEverything is ready.")
    return WILL_NOT_WORK if problems else FINE


def _print(title: str, lines: Iterable[str]) -> None:
    listed = [f"  {line}" for line in lines]
    if listed:
        print(f"\n{title}", *listed, sep="\n")


def _versions() -> str:
    parts = [f"{name} {_version(name)}" for name in ("gptimage", "mcp", "openai")]
    return f"{', '.join(parts)}, Python {platform.python_version()} on {platform.platform()}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "is not installed"


def _table(loaded: LoadedSettings) -> Iterator[str]:
    rows = [(variable(name), _value(loaded.settings, name), loaded.origins[name]) for name in ROWS]
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    for name, value, origin in rows:
        shown = "" if origin == name else origin
        yield f"{name:<{first}}  {value:<{min(second, 60)}}  {shown}".rstrip()


def _value(settings: Settings, name: str) -> str:
    value: object = getattr(settings, name)
    if value in (None, ()):
        return OFF if name == "cache" else "-"
    if ROWS[name].secret:
        return "set, not shown"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ", ".join(map(str, cast("tuple[object, ...]", value)))
    return scrub(str(value))


def _problems(settings: Settings) -> Iterator[str]:
    """List what the server would refuse or could not do."""
    if not settings.has_key and not settings.sandbox:
        yield (
            f"{settings.key_variable}: there is no key, so nothing can be drawn; set it, or set "
            f"{variable('sandbox')}=true to draw offline"
        )
    if note := _model(settings, "shut_down"):
        yield note
    missing = [*check_required_paths(settings)]
    yield from missing
    try:
        if not missing:
            _open(settings)
        if settings.transport == "http":
            yield from of_http(settings)
    except ModuleNotFoundError as error:
        yield f'{error.name} is missing: pip install "gptimage[mcp]"'
    except (gptimage.GptImageError, OSError) as error:
        yield from str(error).splitlines()


def _open(settings: Settings) -> None:
    """Open what the server would."""
    from gptimage_mcp.app import create_app

    app = create_app(settings)
    app.store.close()
    if settings.redis_url is not None and app.cache is not None:
        app.cache.get("g1:check")
    if isinstance(settings.shared_state, str):
        app.state.read("check")


def _notes(loaded: LoadedSettings) -> Iterator[str]:
    """List what works, but perhaps otherwise than meant."""
    settings = loaded.settings
    yield from check_optional_paths(settings)
    if settings.sandbox:
        yield "the sandbox is on: images are drawn by a program, nothing is sent or billed"
    if settings.sandbox and settings.api_key is not None:
        yield f"{variable('api_key')}: is not used while the sandbox is on"
    if settings.wait > _PATIENCE:
        yield f"{variable('wait')}: many clients give a call up after 60 seconds; 50 is safe"
    yield from _of_replicas(settings)
    if note := _model(settings, "unknown") or _model(settings, "deprecated"):
        yield note
    yield from replacements(os.environ)
    if loaded.file is not None and _tells_secrets(loaded, loaded.file):
        yield f"{loaded.file}: holds a secret, and other accounts may read it (chmod 600)"


def _of_replicas(settings: Settings) -> Iterator[str]:
    """List what does not hold over several servers, or after a restart."""
    if settings.transport != "http":
        named = [name for name in _OF_HTTP if getattr(settings, name)]
        yield from (f"{variable(name)}: has an effect over HTTP only" for name in named)
    elif not settings.shared_secret and settings.stateless:
        yield (
            f"{variable('shared_secret')}: without it a replica cannot read the answer to a "
            "question, or a link, of another one"
        )
    elif not settings.shared_secret and settings.link_minutes is not None:
        yield f"{variable('shared_secret')}: without it, links end when the server is restarted"
    if settings.stateless and settings.shared_state is None:
        yield (
            f"{variable('shared_state')}: replicas find each other's jobs only where they share "
            f"the folder of {variable('ledger')}, or this"
        )


def _model(settings: Settings, state: str) -> str | None:
    """Return a line about the model if it is in this state."""
    if settings.model is None:
        return None
    spec = settings.catalogue.get(settings.model)
    if spec is None:
        note = f"{settings.model} is not in the catalogue; it is sent as it is"
        return f"{variable('model')}: {note}" if state == "unknown" else None
    now = spec.state(utc_now().date())
    if not spec.shutdown or now == "live" or (now == "shut_down") != (state == "shut_down"):
        return None
    when = "was" if now == "shut_down" else "will be"
    instead = f"; use {spec.replacements[0]}" if spec.replacements else ""
    return f"{variable('model')}: {spec.id} {when} shut down on {spec.shutdown}{instead}"


def _tells_secrets(loaded: LoadedSettings, file: Path) -> bool:
    secret = any(ROWS[name].secret for name in ROWS if loaded.origins[name] == str(file))
    others = stat.S_IRGRP | stat.S_IROTH
    return secret and sys.platform != "win32" and bool(file.stat().st_mode & others)
