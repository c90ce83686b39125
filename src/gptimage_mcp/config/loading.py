"""Settings from the environment and one TOML file; whatever is wrong with them is told at once.

A variable beats the file. ``GPTIMAGE_CONFIG`` names the file; else it is ``gptimage/mcp.toml``
in the folder the system has for configuration, if there is one.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
import tempfile
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

from attrs import field, frozen

from gptimage_mcp.config.kinds import OFF, Flag, Kind, Number, Place, Several, Unfit
from gptimage_mcp.config.settings import KINDS, Settings, SettingsError, shown, variable


CONFIG: Final = "GPTIMAGE_CONFIG"
"""The variable that names the file."""

DEFAULT: Final = "default"
"""Where a setting comes from that nobody made."""

_UNSET: Final = re.compile(r"\$\{user_config\.[^}]*\}")
"""What a bundle's host hands over for a field its user left empty."""

_UNEXPANDED: Final = re.compile(r"\$\{[^}]*\}|%[^%]+%")
_LIST: Final = "`gptimage-mcp --check` lists all there are, once this one is gone"
_PLACE: Final = Place(example="~/gptimage-mcp.toml")


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
    problems = [*_unknown_variables()]
    file, keys = _keys(problems)
    values: dict[str, Any] = {}
    origins = dict.fromkeys(KINDS, DEFAULT)
    wrong: list[str] = []
    for name, kind in KINDS.items():
        text = options.get(name) or _text(name)
        if name in options:
            origin = f"--{options[name] if name == 'transport' else name}"
        else:
            origin = variable(name) if text else str(file)
        try:
            if text:
                values[name], origins[name] = _read(kind, text), origin
            elif name in keys and file is not None:
                values[name], origins[name] = _of_toml(kind, keys[name], file.parent), origin
        except Unfit as reason:
            wrong.append(name)
            source = origin if text else f"{name} in {file} ({variable(name)})"
            problems.append(f"{source}: {shown(name, text or keys[name])} {reason}")
    problems += _fill(values, wrong)
    if values.get("transport", "stdio") != "http":
        idle = [f"--{name}" for name in ("host", "port") if name in options]
        problems += [f"{option}: has no effect without --http" for option in idle]
    # For a place that cannot be read: the other mistakes are still to be found.
    free = Path(tempfile.gettempdir())
    anywhere: dict[str, Any] = {"store": free, "ledger": free / "ledger.sqlite"}
    settings = None
    try:
        settings = Settings(**{**anywhere, **values})
    except SettingsError as error:
        # What does not hold together because one of the two cannot be read is not at fault.
        variables = [*map(variable, wrong)]
        problems += [each for each in error.problems if not any(it in each for it in variables)]
    if settings is not None and not problems:
        return LoadedSettings(settings=settings, origins=origins, file=file)
    # Nothing starts. What else would stop it is said now, not at the next try.
    named = [name for name in ("store", "ledger", "templates") if origins[name] != DEFAULT]
    places = {**anywhere, **{name: values[name] for name in named}}
    raise SettingsError([*problems, *check_required_paths(Settings(**places))])


def default_file() -> Path | None:
    """Where the TOML file is when nobody says otherwise; None without a home folder."""
    try:
        if sys.platform == "win32":
            folder = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
        elif sys.platform == "darwin":
            folder = Path.home() / "Library" / "Application Support"
        else:
            folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    except RuntimeError:
        return None
    return folder / "gptimage" / "mcp.toml"


def _text(name: str) -> str:
    """What a variable says; nothing when it is empty or stands for an empty field."""
    text = os.environ.get(variable(name), "").strip()
    return "" if _UNSET.fullmatch(text) else text


def _read(kind: Kind, text: str) -> object:
    if _UNEXPANDED.fullmatch(text):
        raise Unfit(
            f"is a variable nobody filled in: it is not set where the client runs, or the "
            f"client fills in none; it was {text}"
        )
    value = kind.read(text)
    if value is not None:
        kind.check(value)
    return value


def _of_toml(kind: Kind, value: object, folder: Path) -> object:
    """A value of the file; a path may be given from where the file is."""
    if isinstance(kind, Several) and isinstance(value, list):
        return tuple(_of_toml(kind.each, each, folder) for each in cast("list[object]", value))
    if isinstance(kind, Place):
        if value is False and kind.may_be_off:
            return None
        if isinstance(value, str) and "://" not in value and not value.startswith("~"):
            value = value if value == OFF else str(folder.absolute() / value)
    if isinstance(value, str) and not isinstance(kind, Flag | Several):
        return _read(kind, value)
    if isinstance(kind, Number) and type(value) in (int, float):
        return _read(kind, str(value))
    if isinstance(kind, Several):
        raise Unfit('is no list; write it like ["one", "two"]')
    kind.check(value)
    return value


def _keys(problems: list[str]) -> tuple[Path | None, dict[str, Any]]:
    """The file, and what it says under names that are known."""
    found = _file(problems)
    if found is None:
        return None, {}
    try:
        keys = tomllib.loads(found.read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        problems.append(f"{CONFIG}: {found} cannot be read: {why}")
        return None, {}
    known = {each: each for each in KINDS}
    strange = [name for name in keys if name not in known]
    problems += [f"{found}: {name!r} is no setting{_meant(name, known)}" for name in strange]
    return found, keys


def _file(problems: list[str]) -> Path | None:
    """The file that was named, or the usual one if it is there."""
    if not (text := os.environ.get(CONFIG, "").strip()) or _UNSET.fullmatch(text):
        usual = default_file()
        return usual if usual and os.path.lexists(usual) else None
    try:
        return cast("Path", _read(_PLACE, text))
    except Unfit as reason:
        problems.append(f"{CONFIG}: {text!r} {reason}")
        return None


_LIBRARY: Final = {"max_decoded_mb": "GPTIMAGE_MAX_DECODED_MB"}


def _unknown_variables() -> Iterator[str]:
    """Variables that look like settings and are none: one of them may be a limit, misspelt."""
    # The last one is the library's own.
    known = {"config": CONFIG, **{name: variable(name) for name in KINDS}, **_LIBRARY}
    for name in sorted(os.environ):
        if name.startswith("GPTIMAGE_") and name not in known.values():
            yield f"{name}: there is no such setting{_meant(name, known)}"


def _meant(name: str, known: Mapping[str, str]) -> str:
    bare = name.lower().removeprefix("gptimage_").removeprefix("openai_")
    close = difflib.get_close_matches(bare, known, n=1, cutoff=0.7)
    return f"; did you mean {known[close[0]]}?" if close else f"; {_LIST}"


def _fill(values: dict[str, Any], wrong: Collection[str]) -> Iterator[str]:
    """Put in the usual places of what was not named, or cannot be read."""
    if values.get("redis_url") is not None:
        if values.get("cache") is not None:
            yield f"{variable('cache')}: has no effect beside {variable('redis_url')}; keep one"
        values.setdefault("cache", None)
    for name, what, xdg, place in _PLACES:
        if name in values:
            continue
        if not _has_home() and not os.environ.get(xdg):
            if name in wrong:
                continue
            yield (
                f"{variable(name)}: this account has no home folder, and so no usual place for "
                f"{what}; name one by its whole path"
            )
        else:
            values[name] = place()


def _has_home() -> bool:
    try:
        Path.home()
    except RuntimeError:
        return False
    return True


def _pictures() -> Path:
    from gptimage.store import default_folder

    return default_folder()


def _replies() -> Path:
    from gptimage.cache import Cache

    return Cache.disk().path


def _ledger() -> Path:
    from gptimage.store import state_folder

    return state_folder() / "ledger.sqlite"


_PLACES: Final[tuple[tuple[str, str, str, Callable[[], Path]], ...]] = (
    ("store", "pictures", "XDG_PICTURES_DIR", _pictures),
    ("cache", f"the cache (or write {OFF})", "XDG_CACHE_HOME", _replies),
    ("ledger", "the ledger", "XDG_STATE_HOME", _ledger),
)
"""What has a usual place: the setting, its content, the variable that moves it, and the place."""


# Whether the folders and files the settings name can be used; asked before anything is paid.


def check_required_paths(settings: Settings) -> Iterator[str]:
    """What the server cannot do without and cannot have, a line each with its variable."""
    if isinstance(settings.store, Path) and (why := _unwritable(settings.store)):
        yield (
            f"{variable('store')}: pictures cannot be saved in {settings.store}: {why}; "
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
    """What the server goes on without, a line each with its variable."""
    if settings.cache is not None and (why := _unwritable(settings.cache)):
        yield (
            f"{variable('cache')}: answers cannot be kept in {settings.cache}: {why}; "
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


def _unwritable(folder: Path) -> str | None:
    """Why nothing can be written to a folder, or None; it is made as it would be later."""
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
