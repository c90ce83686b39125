"""Reads the user's file, the project's file, the environment and flags into one `Config`.

A flag beats the environment, which beats the project's file, which beats the user's file.
A project may come from anybody: see `_project_values` for what its file may not say.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, cast

from attrs import field, frozen

from gptimage._internal.keywords import flag
from gptimage._internal.text import closest, reason
from gptimage.config.settings import (
    LIMITS,
    OFF,
    ON,
    OTHER_VARIABLES,
    SERVER_SETTINGS,
    SETTINGS,
    BadValueError,
    Setting,
    Value,
    limits_of,
    usual_place,
    variable,
)
from gptimage.errors import ConfigurationError
from gptimage.secrets import display_url


PROJECT_FILES: Final = ("gptimage.toml", "pyproject.toml")
DEFAULT: Final = "default"
OPENAI: Final = "openai"

_CONFIG: Final = "GPTIMAGE_CONFIG"
_LARGEST: Final = 1 << 20

_UNSET: Final = re.compile(r"\$\{user_config\.[^}]*\}")
"""What a bundle's host hands over for a field its user left empty."""

_UNEXPANDED: Final = re.compile(r"\$\{[^}]*\}|%[^%]+%")


@frozen(kw_only=True)
class Config:
    """The settings that apply, and where each one comes from.

    Attributes:
        values: The settings that were made; budgets are in `limits`.
        origins: For each of them a flag, a variable or a file.
        limits: The most that may be spent per period in USD, and where each limit comes from.
        file: The user's file that was read, or None.
        project: The project's file that was read, or None.
        notes: What a project's file says and does not get, one sentence each.
    """

    values: Mapping[str, Value] = field(repr=False)
    origins: Mapping[str, str] = field(repr=False)
    limits: Mapping[str, tuple[Decimal, str]] = field(factory=dict[str, tuple[Decimal, str]])
    file: Path | None = None
    project: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def sandbox(self) -> bool:
        """Whether to draw offline."""
        return self.values.get("sandbox") is True

    @property
    def provider(self) -> str | None:
        """The service that draws, where it is not OpenAI."""
        found = self.text("provider")
        return None if found == OPENAI else found

    @property
    def lacks_key(self) -> bool:
        """Whether OpenAI would draw and there is no key; others read variables of their own."""
        return self.provider is None and not self.sandbox and self.text("api_key") is None

    def origin(self, name: str) -> str:
        """Return where a setting comes from; ``default`` when nobody made it."""
        return self.origins.get(name, DEFAULT)

    def text(self, name: str) -> str | None:
        """Return a setting that is text, or None."""
        value = self.values.get(name)
        return None if value is None else str(value)

    def place(self, name: str) -> str | None:
        """The path of ``store``, ``cache`` or ``ledger``; None for a cache's usual place, and off.

        Calls of the sandbox cost nothing: unless a flag names it, their ledger is another file.
        """
        found = self.text(name) or usual_place(name)
        if found in {OFF, ON} and (found == OFF or name == "cache"):
            return None
        path = usual_place(name) if found == ON else found
        if name == "ledger" and self.sandbox and not self.origin(name).startswith("--"):
            return str(Path(path).with_name(f"sandbox-{Path(path).name}"))
        return path

    def is_off(self, name: str) -> bool:
        """Return whether there is to be no ``store``, ``cache`` or ``ledger``."""
        return (self.text(name) or usual_place(name)) == OFF

    def rows(self) -> Iterator[tuple[str, object, str]]:
        """Name, value and origin of every setting, fit to be shown."""
        for name in SETTINGS:
            if name == "budget":
                shown = ", ".join(f"{usd}/{per}" for per, (usd, _) in self.limits.items())
                origins = dict.fromkeys(origin for _, origin in self.limits.values())
                yield name, shown or None, ", ".join(origins) or DEFAULT
            elif name not in LIMITS:
                yield name, self._shown(name), self.origin(name)

    def _shown(self, name: str) -> object:
        value = self.values.get(name)
        if SETTINGS[name].secret:
            return None if value is None else "(set)"
        if name == "base_url" and isinstance(value, str):
            return display_url(value)
        if name in {"store", "ledger"}:
            return self.place(name) or OFF
        if name == "cache":
            return value or OFF
        if name == "sandbox":
            return self.sandbox
        if isinstance(value, tuple):
            return ", ".join(value)
        return str(value) if isinstance(value, Decimal | timedelta) else value


def load(
    flags: Mapping[str, str | bool | None] | None = None,
    *,
    file: str | os.PathLike[str] | None = None,
    project: bool = True,
) -> Config:
    """Read every source.

    Args:
        flags: What options of a command say, by setting; None where one was not given.
        file: The user's file; ``GPTIMAGE_CONFIG`` or `user_file` when left out.
        project: Whether to look for a project's file, from the working folder up.

    Raises:
        ConfigurationError: Something cannot be used; every variable, key and flag at fault is
            named, and nothing was sent.
    """
    flag("project", project)
    problems: list[str] = []
    path = named_file(file)
    layers = [Layer(problems) for _ in range(4)]
    users, projects, variables, options = layers
    if path is not None:
        users.read_file(path, parse_file(path, problems))
    found = _project_file() if project else None
    if found is not None:
        projects.read_project(*found)
    variables.read_environment()
    options.read_flags(flags or {})
    values: dict[str, Value] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        values |= layer.values
        origins |= layer.origins
    limits, notes = _limits(users, variables, options, projects=projects)
    if values.get("unknown_cost") is not None and not limits:
        problems.append(f"{origins['unknown_cost']}: unknown_cost has no effect without a budget")
    if values.get("redis_url") is not None and values.get("cache", OFF) != OFF:
        problems.append(f"{origins['cache']}: a cache has no effect beside redis_url; keep one")
    if values.get("cache", OFF) == OFF and "redis_url" not in values:
        problems += [
            f"{origins[name]}: {name} has no effect without a cache"
            for name in ("cache_ttl", "cache_size")
            if name in values
        ]
    if problems:
        raise ConfigurationError("; ".join(problems))
    own_credentials(layers, values, origins)
    return Config(
        values={name: value for name, value in values.items() if name not in LIMITS},
        origins=origins,
        limits=limits,
        file=path,
        project=None if found is None else found[0],
        notes=tuple(notes),
    )


def own_credentials(
    layers: Sequence[Layer], values: dict[str, Value], origins: dict[str, str]
) -> None:
    """Leave the key and the address of the provider alone: those of another must not go there.

    ``OPENAI_API_KEY`` is OpenAI's. What stands in a file is for the provider that it names.

    Args:
        layers: The sources, of which the last one counts.
        values: The settings, which are changed.
        origins: Where each setting comes from, which is changed, too.
    """
    chosen = values.get("provider", OPENAI)
    for name in ("api_key", "base_url"):
        values.pop(name, None)
        origins.pop(name, None)
        for layer in layers:
            if name not in layer.values:
                continue
            is_openais = layer.origins[name].startswith("OPENAI_")
            if chosen == (OPENAI if is_openais else layer.values.get("provider", OPENAI)):
                values[name], origins[name] = layer.values[name], layer.origins[name]


def user_file() -> Path | None:
    """Return the file of settings of this user; None for an account without a home folder."""
    try:
        if sys.platform == "win32":
            folder = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
        elif sys.platform == "darwin":
            folder = Path.home() / "Library" / "Application Support"
        else:
            folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    except RuntimeError:
        return None
    return folder / "gptimage" / "config.toml"


class Layer:
    """The settings of one source, read with every problem noted.

    Args:
        problems: Receives one sentence per problem.
        settings: The settings that are read.
        others: Names of settings that another program reads, and checks.
    """

    def __init__(
        self,
        problems: list[str],
        settings: Mapping[str, Setting] = SETTINGS,
        others: Collection[str] = SERVER_SETTINGS,
    ) -> None:
        self.values: dict[str, Value] = {}
        self.origins: dict[str, str] = {}
        self.refused: set[str] = set()
        """The settings whose value makes no sense."""
        self._problems = problems
        self._settings = settings
        self._others = others

    def read_environment(self) -> None:
        """Read the variables; one that looks like a setting and is none may be a limit."""
        known = {variable(name) for name in (*self._settings, *self._others)} | OTHER_VARIABLES
        for name in sorted(os.environ):
            if name.startswith("GPTIMAGE_") and name not in known and os.environ[name]:
                self._problems.append(f"{name}: there is no such setting{_meant(name, known)}")
        for name in self._settings:
            if text := variable_text(variable(name)):
                if _UNEXPANDED.fullmatch(text):
                    self.refused.add(name)
                    self._problems.append(
                        f"{variable(name)}: is a variable nobody filled in: it is not set where "
                        f"the client runs, or the client fills in none; it was {text}"
                    )
                elif name != "api_key":
                    self._read(name, text, variable(name))
        self._read_key()

    def _read_key(self) -> None:
        from gptimage.transport.environment import check_key, environment_key

        try:
            named, key = environment_key()
            if key and key.strip() and not _UNSET.fullmatch(key) and "api_key" not in self.refused:
                self.values["api_key"], self.origins["api_key"] = check_key(named, key), named
        except ConfigurationError as error:
            self.refused.add("api_key")
            self._problems.append(str(error))

    def read_flags(self, flags: Mapping[str, str | bool | None]) -> None:
        """Read what options of a command say."""
        for name, value in flags.items():
            if value is not None and value is not False:
                text = "true" if value is True else value
                self._read(name, text, f"--{name.replace('_', '-')}")

    def read_file(self, path: Path, keys: Mapping[str, object]) -> None:
        """Read the user's file."""
        for name, value in keys.items():
            if name in self._others:
                continue
            if name not in self._settings:
                meant = _meant(name, {*self._settings, *self._others})
                self._problems.append(f"{path}: there is no setting {name!r}{meant}")
            elif (text := _text(self._settings[name], value)) is None:
                self.refused.add(name)
                self._problems.append(f"{path}: {name} has a value of the wrong type")
            else:
                self._read(name, text, str(path), folder=path.parent)

    def read_project(self, path: Path, keys: Mapping[str, object]) -> None:
        """Read a project's file, which may come from anybody."""
        # A repository that was cloned must not be able to send the key elsewhere, to make a
        # call paid for nothing (a short timeout), to hide what was spent, or to write outside.
        allowed = [name for name, setting in SETTINGS.items() if setting.in_project]
        self.read_file(path, {name: value for name, value in keys.items() if name in allowed})
        for name in keys:
            if name not in allowed:
                self._problems.append(
                    f"{path}: a project may not set {name!r}: put it in your own file "
                    f"({user_file()}); a project may set {', '.join(allowed)}"
                )
        root = path.parent.resolve()
        for name, value in list(self.values.items()):
            place = SETTINGS[name].is_path and value not in {ON, OFF}
            if place and not Path(str(value)).resolve().is_relative_to(root):
                self._problems.append(f"{path}: {name} must be a folder inside the project")
            if place and "://" in str(value):
                self._problems.append(f"{path}: {name} may not be an address in a project's file")
        if self.values.get("sandbox") is False:  # it would have what was to be free paid for
            self._problems.append(f"{path}: a project may turn the sandbox on, not off")

    def _read(
        self, name: str, text: str | list[str], origin: str, folder: Path | None = None
    ) -> None:
        setting = self._settings[name]
        parts = [text] if isinstance(text, str) else text
        if setting.separator and isinstance(text, str):
            parts = [part for part in re.split(setting.separator, text) if part]
        try:
            values = [setting.read(part) for part in parts]
        except BadValueError as error:
            self.refused.add(name)
            shown = "the value" if setting.secret else f"{text!r:.80}"
            where = origin if origin in {variable(name), f"--{name}"} else f"{origin}: {name}"
            self._problems.append(f"{where}: {shown} {error}")
            return
        if setting.is_path:
            values = [self._path(str(value), folder) for value in values]
        value = cast("tuple[str, ...]", tuple(values)) if setting.separator else values[0]
        self.values[name], self.origins[name] = value, origin

    def _path(self, value: str, folder: Path | None) -> str:
        if value in {ON, OFF} or "://" in value:
            return value
        try:
            path = Path(value).expanduser()
        except RuntimeError:
            self._problems.append(f"{value}: this account has no home folder")
            return value
        return str(path if folder is None else folder.absolute() / path)


def _limits(*layers: Layer, projects: Layer) -> tuple[dict[str, tuple[Decimal, str]], list[str]]:
    """The limit per period: the user's latest, lowered by the project's; and what is not used."""
    found: dict[str, tuple[Decimal, str]] = {}
    notes: list[str] = []
    for layer in (*layers, projects):
        origin = next((layer.origins[name] for name in LIMITS if name in layer.origins), "")
        try:
            limits = limits_of(layer.values)
        except BadValueError as error:
            raise ConfigurationError(f"{origin}: budget {error}") from None
        for period, usd in limits.items():
            if layer is projects and period in found and found[period][0] <= usd:
                notes.append(
                    f"{origin}: {usd}/{period} is not used, because a project may only lower a "
                    f"budget, and yours is {found[period][0]}/{period} ({found[period][1]})"
                )
            else:
                found[period] = (usd, origin)
    return found, notes


def variable_text(name: str) -> str:
    """Return what a variable says; nothing when it is empty or stands for an empty field."""
    text = os.environ.get(name, "").strip()
    return "" if _UNSET.fullmatch(text) else text


def named_file(file: str | os.PathLike[str] | None = None) -> Path | None:
    """Return the user's file: the one that is named, or the usual one if it is there.

    Args:
        file: The file; ``GPTIMAGE_CONFIG`` or `user_file` when left out.

    Raises:
        ConfigurationError: The file that is named is not there.
    """
    named = variable_text(_CONFIG) if file is None else os.fspath(file)
    if not named:
        usual = user_file()
        return usual if usual is not None and usual.is_file() else None
    try:
        path = Path(named).expanduser()
    except RuntimeError:
        path = Path(named)
    if not path.is_file():
        where = _CONFIG if file is None else "file"
        raise ConfigurationError(f"{where}: there is no file {path}; nothing was sent")
    return path


def _project_file() -> tuple[Path, Mapping[str, object]] | None:
    """Return the nearest project's file from the working folder up, and its settings."""
    try:
        folder = Path.cwd()
    except OSError:  # it was removed
        return None
    problems: list[str] = []
    for each in (folder, *folder.parents):
        for name in PROJECT_FILES:
            path = each / name
            if not path.is_file():
                continue
            keys = parse_file(path, problems, in_tool=name == "pyproject.toml")
            if problems and name == PROJECT_FILES[0]:
                raise ConfigurationError(problems[0])
            if keys or name == PROJECT_FILES[0]:
                return path, keys
        if (each / ".git").exists():
            return None
    return None


def parse_file(path: Path, problems: list[str], *, in_tool: bool = False) -> Mapping[str, object]:
    """Return the keys of a TOML file.

    Args:
        path: The file.
        problems: Receives a sentence if it cannot be read.
        in_tool: Whether only those of ``[tool.gptimage]`` count.
    """
    import tomllib  # late: most machines have no such file

    try:
        with path.open("rb") as file:
            keys: Any = tomllib.loads(file.read(_LARGEST).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"{path} cannot be read: {reason(error)}")
        return {}
    found = keys.get("tool", {}).get("gptimage", {}) if in_tool else keys
    return cast("Mapping[str, object]", found) if isinstance(found, dict) else {}


def _text(setting: Setting, value: object) -> str | list[str] | None:
    """Return a TOML value as a variable would hold it; None when it has the wrong type."""
    if setting.separator:
        parts = cast("list[object]", value) if isinstance(value, list) else [None]
        return [each for each in parts if isinstance(each, str)] if _are_texts(parts) else None
    if isinstance(value, bool):
        return str(value).lower() if setting.kind in {"flag", "place"} else None
    if isinstance(value, int | float):
        return str(value) if setting.kind == "number" else None
    return value.strip() if isinstance(value, str) and value.strip() else None


def _are_texts(parts: Iterable[object]) -> bool:
    return all(isinstance(each, str) for each in parts)


def _meant(name: str, known: Iterable[str]) -> str:
    shown = {_bare(each): each for each in known}
    close = closest(_bare(name), shown, cutoff=0.7)
    if close:
        return f"; did you mean {shown[close]}?"
    return "; `gptimage config` and `gptimage-mcp --check` list all"


def _bare(name: str) -> str:
    return name.lower().removeprefix("gptimage_").removeprefix("openai_")
