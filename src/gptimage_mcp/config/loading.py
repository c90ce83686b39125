"""Settings from the environment and the user's one TOML file, which the library reads, too.

Options of the command beat variables, and those the file. A file of a project is not read: clients
start servers in folders that may come from anybody.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

import gptimage
from gptimage.config import (
    OFF,
    ON,
    Layer,
    Value,
    named_file,
    own_credentials,
    parse_file,
    user_file,
    usual_cache,
    usual_place,
    variable,
)
from gptimage_mcp.config.settings import ROWS, Settings, SettingsError


CONFIG: Final = "GPTIMAGE_CONFIG"
"""The variable that names the file."""

DEFAULT: Final = "default"
"""Origin of a setting that has its default."""

NO_OPTIONS: Final[Mapping[str, str]] = {}
"""What `load` is given when the command has no options."""


@frozen(kw_only=True)
class LoadedSettings:
    """Settings, and where each one comes from.

    Attributes:
        settings: The settings.
        origins: For each setting a variable, the file, an option, or ``default``.
        file: The TOML file that was read, or None.
    """

    settings: Settings
    origins: Mapping[str, str] = field(repr=False)
    file: Path | None = None


def load(options: Mapping[str, str] = NO_OPTIONS) -> LoadedSettings:
    """Read the environment and the TOML file.

    Args:
        options: Settings by name that options of the command named, which beat both.

    Raises:
        SettingsError: Something cannot be used; names every variable, key and option at fault.
    """
    problems: list[str] = []
    users, variables, flags = (Layer(problems, ROWS, ()) for _ in range(3))
    file = _file(problems)
    if file is not None:
        users.read_file(file, parse_file(file, problems))
    variables.read_environment()
    flags.read_flags(options)
    made: dict[str, Value] = {}
    origins = dict.fromkeys(ROWS, DEFAULT)
    layers = (users, variables, flags)
    for layer in layers:
        made |= layer.values
        origins |= layer.origins
    own_credentials(layers, made, origins)
    origins = {**dict.fromkeys(ROWS, DEFAULT), **origins}
    if "transport" in options:
        origins["transport"] = f"--{options['transport']}"
    refused = users.refused | variables.refused | flags.refused
    values: dict[str, Any] = {
        name: _with_paths(name, value) for name, value in made.items() if value != ON
    }
    problems += _fill(values, refused)
    if values.get("transport", "stdio") != "http":
        idle = [f"--{name}" for name in ("host", "port") if name in options]
        problems += [f"{option}: has no effect without --http" for option in idle]
    # For a place that cannot be read: the other mistakes are still to be found.
    free = Path(tempfile.gettempdir())
    anywhere: dict[str, Any] = {"store": free, "ledger": free / "ledger.sqlite"}
    wrong, sound = {*map(variable, refused)}, values
    while True:
        settings, found = None, list[str]()
        try:
            settings = Settings(**{**anywhere, **sound})
        except SettingsError as error:
            # What does not hold together because one of the two cannot be read is not at fault.
            found = [each for each in error.problems if not any(it in each for it in wrong)]
        problems += [_with_origin(each, origins) for each in found]
        # Once more without what is at fault: the others may not hold together either.
        wrong |= {each.partition(":")[0] for each in found}
        at_fault = [name for name in sound if variable(name) in wrong]
        if not at_fault:
            break
        sound = {name: value for name, value in sound.items() if name not in at_fault}
    if settings is not None and not problems:
        return LoadedSettings(settings=settings, origins=origins, file=file)
    # Nothing starts. What else would stop it is reported now, not at the next try.
    if settings is not None and settings.transport == "http":
        problems += [each for each in of_http(settings) if not any(it in each for it in wrong)]
    named = [name for name in ("store", "ledger", "templates") if origins[name] != DEFAULT]
    places: dict[str, Any] = {**anywhere, **{name: values[name] for name in named}}
    with suppress(SettingsError):  # one of them is among the problems already
        problems += check_required_paths(Settings(**places))
    raise SettingsError(problems)


def of_http(settings: Settings) -> Iterator[str]:
    """List why these settings cannot be served over HTTP."""
    from gptimage_mcp.auth import Auth
    from gptimage_mcp.http.middleware import check_exposure

    for check in (check_exposure, Auth.of):
        try:
            check(settings)
        except gptimage.ConfigurationError as error:
            yield str(error)


def default_file() -> Path | None:
    """Return where the file is when nobody names one; None without a home folder.

    0.1.0 read ``mcp.toml`` beside it, which is still read where it is the only one.
    """
    usual = user_file()
    if usual is None or os.path.lexists(usual):
        return usual
    older = usual.with_name("mcp.toml")
    return older if os.path.lexists(older) else usual


def _with_origin(problem: str, origins: Mapping[str, str]) -> str:
    """Return the problem, naming the key of the file where the value comes from there."""
    named, _, rest = problem.partition(": ")
    for name, origin in origins.items():
        if named == variable(name) and origin not in {named, DEFAULT}:
            return f"{origin}: {rest}" if origin.startswith("--") else f"{origin}: {name}: {rest}"
    return problem


def _file(problems: list[str]) -> Path | None:
    try:
        file = named_file()
    except gptimage.ConfigurationError as error:
        problems.append(str(error).removesuffix("; nothing was sent"))
        return None
    usual = default_file()
    return usual if file is None and usual is not None and os.path.lexists(usual) else file


def _with_paths(name: str, value: Value) -> object:
    """The value a setting has in the server: its paths are no text, and off is None."""
    if not ROWS[name].is_path:
        return value
    if isinstance(value, tuple):
        return tuple(map(Path, value))
    if value == OFF and name == "cache":
        return None
    text = str(value)
    return text.rstrip("/") if "://" in text or text == OFF else Path(text)


def _fill(values: dict[str, Any], refused: set[str]) -> Iterator[str]:
    """Put in the usual places of what was not named, or cannot be read."""
    if values.get("redis_url") is not None:
        if values.get("cache") is not None:
            yield f"{variable('cache')}: has no effect beside {variable('redis_url')}; keep one"
        values.setdefault("cache", None)
    for name, what, xdg in _PLACES:
        if name in values:
            continue
        if not _has_home() and not os.environ.get(xdg):
            if name in refused:
                continue
            yield (
                f"{variable(name)}: this account has no home folder, and so no usual place for "
                f"{what}; name one by its whole path"
            )
        else:
            values[name] = Path(usual_cache() if name == "cache" else usual_place(name))


def _has_home() -> bool:
    try:
        Path.home()
    except RuntimeError:
        return False
    return True


_PLACES: Final = (
    ("store", "images", "XDG_PICTURES_DIR"),
    ("cache", f"the cache (or write {OFF})", "XDG_CACHE_HOME"),
    ("ledger", "the ledger", "XDG_STATE_HOME"),
)
"""What has a usual place: the setting, its content, and the variable that moves it."""


# Whether the folders and files the settings name can be used; asked before anything is paid.


def check_required_paths(settings: Settings) -> Iterator[str]:
    """List what the server needs and cannot have, a line each with its variable."""
    store = settings.store
    if isinstance(store, Path) and not _readable(store) and (why := _unwritable(store)):
        yield (
            f"{variable('store')}: images cannot be saved in {store}: {why}; "
            "name a folder you may write to"
        )
    if why := _unwritable(settings.ledger.parent) or _not_a_file(settings.ledger):
        yield (
            f"{variable('ledger')}: calls cannot be entered in {settings.ledger}: {why}; "
            "name a file in a folder you may write to"
        )
    if settings.templates is not None and not settings.templates.is_dir():
        yield f"{variable('templates')}: {settings.templates} is no folder"


def check_optional_paths(settings: Settings) -> Iterator[str]:
    """List what the server runs without, a line each with its variable."""
    store = settings.store
    if isinstance(store, Path) and _readable(store) and (why := _unwritable(store)):
        yield (
            f"{variable('store')}: images cannot be saved in {store}: {why}; those that are there "
            "are shown, and calls that would draw others are refused"
        )
    if settings.cache is not None and (why := _unwritable(settings.cache)):
        yield (
            f"{variable('cache')}: responses cannot be saved in {settings.cache}: {why}; "
            "the same request may be paid for twice"
        )
    state = settings.shared_state
    if isinstance(state, Path) and (why := _unwritable(state)):
        yield (
            f"{variable('shared_state')}: jobs cannot be written down in {state}: {why}; after a "
            "restart, and at other replicas, their handles are not known"
        )
    for folder in settings.input_folders:
        if not os.access(folder, os.R_OK | os.X_OK):
            yield f"{variable('input_folders')}: {folder} is not there, or may not be read"
    for folder in settings.output_folders:
        if not os.access(folder, os.W_OK | os.X_OK):
            yield f"{variable('output_folders')}: {folder} is not there, or may not be written to"


def _readable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)


def _unwritable(folder: Path) -> str | None:
    """Return why a folder cannot be written to, or None; it is made as it would be later."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:  # asking for rights beforehand says yes to root everywhere
        return f"{error.strerror} ({error.filename or folder})"


def _not_a_file(path: Path) -> str | None:
    if path.is_dir():
        return "it is a folder"
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        return "it is read-only"
    return None
