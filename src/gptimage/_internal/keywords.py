"""Refuses misspelt keywords and values of the wrong kind by name, before anything is done.

No falsy value becomes a default: None is "not given" where a signature says so, and an empty text
or a zero is refused.
"""

from __future__ import annotations

import functools
import operator
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, ParamSpec, SupportsIndex, TypeVar, cast, overload

from gptimage._internal.text import closest
from gptimage.errors import ConfigurationError, truncated_repr


P = ParamSpec("P")
ResultT = TypeVar("ResultT")
ClassT = TypeVar("ClassT", bound=type)

NO_HINTS: Final[Mapping[str, str]] = {}
LONGEST: Final = 1e9
"""Seconds: thirty years."""


def strict_class(made: ClassT) -> ClassT:
    """Let the constructor of a class refuse unknown keywords with a suggestion."""
    plain: Callable[..., None] = vars(made)["__init__"]
    setattr(made, "__init__", strict(made.__name__)(plain))  # noqa: B010  # typed access is refused
    return made


def strict(
    what: str, hints: Mapping[str, str] = NO_HINTS
) -> Callable[[Callable[P, ResultT]], Callable[P, ResultT]]:
    """Let a function with fixed keywords refuse unknown ones with a suggestion.

    Args:
        what: What it is called in the message.
        hints: What to do instead, for names that people know from elsewhere.
    """

    def wrap(function: Callable[P, ResultT]) -> Callable[P, ResultT]:
        code: Any = cast("Any", function).__code__
        known: tuple[str, ...] = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> ResultT:
            refuse_unknown(what, kwargs, known, hints)
            return function(*args, **kwargs)

        return checked

    return wrap


def refuse_unknown(
    what: str, given: Iterable[str], known: Iterable[str], hints: Mapping[str, str] = NO_HINTS
) -> None:
    """Refuse the first keyword that nothing would come of.

    Raises:
        ConfigurationError: There is one.
    """
    names = [name for name in known if name not in {"self", "cls"} and name[:1] != "_"]
    for name in given:
        if name not in names:
            close = closest(name, names)
            meant = f"did you mean {close}=?" if close else f"it takes {', '.join(names)}"
            raise ConfigurationError(f"{what} takes no {name[:60]}=: {hints.get(name) or meant}")


def refused(name: str, value: object, wanted: str) -> ConfigurationError:
    """Return the error for a value of the wrong kind."""
    return ConfigurationError(f"{name}={truncated_repr(value)}: it must be {wanted}")


def text(name: str, value: object) -> None:
    """Refuse what is no text, or empty."""
    if not _is_text(value):
        raise refused(name, value, "text that is not empty, or be left out")


def path(name: str, value: object) -> None:
    """Refuse what is no path, or empty, which would be the current folder."""
    given: Any = value
    if not isinstance(value, (str, os.PathLike)) or not _is_text(str(given)):
        raise refused(name, given, "a path (text that is not empty, or a pathlib.Path)")


def file_path(name: str, value: object) -> None:
    """Refuse what is no path, or the path of something that is no file."""
    path(name, value)
    found = Path(cast("str", value))
    if found.exists() and not found.is_file():
        raise refused(name, value, "the path of a file, and this is a folder, a pipe or a device")


def flag(name: str, value: object) -> None:
    """Refuse what is neither True nor False."""
    if not isinstance(value, bool):
        raise refused(name, value, "True or False")


def plain_int(value: object) -> Any:
    """Return a whole number of another library, such as NumPy's, as an int (PEP 357).

    Anything else stays as it is, and True does: what is no whole number is refused by its name.
    """
    if isinstance(value, int):
        return value
    try:
        return operator.index(cast("SupportsIndex", value))
    except TypeError:
        return value


@overload
def as_int(value: None) -> None: ...
@overload
def as_int(value: SupportsIndex) -> int: ...
def as_int(value: object) -> object:
    """Convert a field with `plain_int`; its type stays that of a number."""
    return plain_int(value)


def whole(name: str, value: object, least: int, hint: str = "") -> None:
    """Refuse what is no whole number, or too small."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise refused(name, value, f"a whole number, {least} or more{hint}")


def seconds(name: str, value: object, *, zero: bool = False) -> None:
    """Refuse what is no number of seconds."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # Beyond this, an int of hundreds of digits is no float, and no clock or socket takes it.
    fine = number and 0 <= cast("float", value) <= LONGEST and (zero or value != 0)
    if not fine:
        raise refused(name, value, f"a number of seconds, {'0 or more' if zero else 'above 0'}")


def duration(name: str, value: object, hint: str = "", *, zero: bool = False) -> None:
    """Refuse what is no length of time, or none at all."""
    none = timedelta(0)
    if not isinstance(value, timedelta) or value < none or (value == none and not zero):
        least = "a datetime.timedelta, 0 or more" if zero else "a datetime.timedelta above 0"
        raise refused(name, value, f"{least}, such as timedelta(days=30){hint}")


def function(name: str, value: object, what: str) -> None:
    """Refuse what cannot be called, or gives something to await: nobody would await it."""
    awaits = is_async(value) or is_async(getattr(value, "__call__", None))  # noqa: B004  # of an object
    if not callable(value) or isinstance(value, type) or awaits:
        raise refused(name, value, what)


def one_of(name: str, value: object, kinds: type | tuple[type, ...], wanted: str) -> None:
    """Refuse what is no instance of these classes."""
    if not isinstance(value, kinds):
        meant = f"{wanted}, not the class itself" if isinstance(value, type) else wanted
        raise refused(name, value, meant)


def clock(name: str, value: object) -> None:
    """Refuse what tells no time."""
    function(name, value, "a function that gives the time with its zone: lambda: datetime.now(UTC)")


def _is_text(value: object) -> bool:
    """Whether it is text that is not empty, has no half of an emoji and no NUL."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        return False
    # Python names files whose names are no UTF-8 with letters from U+DC80 to U+DCFF: PEP 383.
    return not any(
        "\ud800" <= each <= "\udfff" and not "\udc80" <= each <= "\udcff" for each in value
    )


def missing(value: object, methods: Iterable[str]) -> list[str]:
    """Return which of these methods an object lacks; a class has none, only its instances do."""
    if isinstance(value, type):
        return list(methods)
    return [name for name in methods if not callable(getattr(value, name, None))]


def is_async(method: object) -> bool:
    """Return whether calling this gives something to await, as far as that can be seen."""
    import inspect

    plain: Any = inspect.unwrap(method) if callable(method) else method
    return any(
        inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each)
        for each in (method, plain)
    )
