"""The settings a template recommends, some of which depend on an argument."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

from gptimage.errors import InvalidRequestError
from gptimage.models.sizes import Size
from gptimage.templates.arguments import TemplateArgument, did_you_mean, show
from gptimage.templates.render import Given
from gptimage.templates.table import Table, is_table


_ALLOWED: Final[Mapping[str, tuple[str, ...]]] = {
    "quality": ("low", "medium", "high", "xhigh", "max", "auto"),
    "background": ("opaque", "transparent", "auto"),
    "format": ("png", "jpeg", "webp", "gif", "svg"),
}
SETTINGS: Final = ("size", *_ALLOWED)
"""The settings a template may recommend."""


@frozen(kw_only=True)
class Recommended:
    """Settings recommended for one set of arguments; None where there is no recommendation.

    Attributes:
        size: A size such as ``"1200x630"``.
        quality: A quality such as ``"high"``.
        background: ``"opaque"``, ``"transparent"`` or ``"auto"``.
        format: A file format such as ``"png"``.
    """

    size: str | None = None
    quality: str | None = None
    background: str | None = None
    format: str | None = None


@frozen(kw_only=True)
class Setting:
    """One recommended setting: a value, or one value per value of an argument.

    Attributes:
        value: The recommendation, or the one for values that are not listed.
        argument: The argument it depends on, or None.
        by_value: The recommendation for each of that argument's values.
    """

    value: str | None = None
    argument: str | None = None
    by_value: Mapping[str, str] = field(factory=dict[str, str], hash=False)

    def choose(self, known: Mapping[str, Given]) -> str | None:
        """The recommendation for these arguments."""
        given = known.get(self.argument) if self.argument else None
        return self.value if given is None else self.by_value.get(_key(given), self.value)

    def describe(self) -> str | dict[str, dict[str, str]]:
        """The recommendation as template files write it."""
        if self.argument is None:
            return self.value or ""
        otherwise = {} if self.value is None else {"else": self.value}
        return {self.argument: {**self.by_value, **otherwise}}


def choose(settings: Mapping[str, Setting], known: Mapping[str, Given]) -> Recommended:
    """Every setting for these arguments."""
    return Recommended(**{name: setting.choose(known) for name, setting in settings.items()})


def read_settings(
    table: Table, arguments: Mapping[str, TemplateArgument]
) -> tuple[Mapping[str, Setting], frozenset[str]]:
    """The ``[recommended]`` table, and the names of the arguments it depends on."""
    table.only(SETTINGS)
    found = {name: _read_setting(name, table, arguments) for name in SETTINGS if name in table.data}
    by = frozenset(setting.argument for setting in found.values() if setting.argument)
    return found, by


def _read_setting(name: str, table: Table, arguments: Mapping[str, TemplateArgument]) -> Setting:
    if not is_table(table.data[name]):
        value = table.text(name)
        return Setting(value=_checked(name, value, table) if value else None)
    inner = table.table(name)
    if len(inner.data) != 1:
        inner.note("must hold one table, named after the argument it depends on")
        return Setting()
    argument = next(iter(inner.data))
    values = inner.table(argument)
    spec = arguments.get(argument)
    if spec is None or not spec.values:
        values.note(
            f"there is no argument '{argument}' with choices{did_you_mean(argument, arguments)}"
        )
        return Setting()
    values.only((*spec.values, "else"))
    texts = {key: values.text(key) for key in values.data}
    checked = {key: _checked(name, text, values) for key, text in texts.items() if text}
    missing = [value for value in spec.values if value not in texts]
    if missing and "else" not in texts:
        values.note(f"says nothing for {', '.join(missing)}; add them or 'else'")
    otherwise = checked.pop("else", None)
    return Setting(value=otherwise, argument=argument, by_value=checked)


def _checked(name: str, value: str, table: Table) -> str:
    if name == "size":
        try:
            Size.parse(value)
        except InvalidRequestError as error:
            table.note(str(error))
    elif value not in _ALLOWED[name]:
        table.note(f"{name} {show(value)} is not one of {', '.join(_ALLOWED[name])}")
    return value


def _key(given: Given) -> str:
    return str(given.value).lower() if isinstance(given.value, bool) else str(given.value)
