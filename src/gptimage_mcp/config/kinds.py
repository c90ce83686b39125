"""What a setting may be: how it is read from text, and which values make sense."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from decimal import Decimal, DecimalException
from pathlib import Path
from typing import Final, Protocol, cast
from urllib.parse import urlsplit

from attrs import frozen


OFF: Final = "off"
"""What is written to do without something that has a default."""

_ON: Final = frozenset({"1", "true", "yes", "on"})
_NOT_ON: Final = frozenset({"0", "false", "no", "off"})


class Unfit(ValueError):  # noqa: N818  # never leaves the settings: a SettingsError does
    """A value makes no sense; the message goes on where "its value" ended."""


class Kind(Protocol):
    """What a setting may be."""

    @property
    def secret(self) -> bool:
        """Whether its values are never shown."""
        ...

    def read(self, text: str) -> object:
        """The value some text stands for.

        Raises:
            Unfit: It stands for none.
        """
        ...

    def check(self, value: object) -> None:
        """Look at a value, however it was made.

        Raises:
            Unfit: It makes no sense.
        """
        ...


@frozen(kw_only=True)
class Number:
    """A number between two bounds.

    Attributes:
        noun: What it counts.
        make: Makes it of text.
        least: The smallest one.
        most: The largest one.
        above: Whether the smallest one itself is too small.
        example: How one may be written.
        may_be_off: Whether ``off`` may be written for 0.
        secret: Whether it is never shown.
    """

    noun: str
    make: Callable[[str], float | Decimal]
    least: int = 0
    most: float = math.inf
    above: bool = False
    example: str
    may_be_off: bool = False
    secret: bool = False

    def read(self, text: str) -> float | Decimal:
        """See `Kind`."""
        if self.may_be_off and text.lower() in _NOT_ON:
            return self.make("0")
        try:
            return self.make(text)
        except (ValueError, DecimalException):
            raise Unfit(f"is no {self.noun}; write it like {self.example}") from None

    def check(self, value: object) -> None:
        """See `Kind`."""
        wanted = (int,) if self.make is int else (int, float, Decimal)
        if isinstance(value, bool) or not isinstance(value, wanted):
            raise Unfit(f"is no {self.noun}; it is like {self.example}")
        if not self._fits(value):
            raise Unfit(f"is no {self.noun} {self._range}")

    def _fits(self, value: float | Decimal) -> bool:
        try:
            if not math.isfinite(value):
                return False
        except (OverflowError, ValueError):  # too long for a float; a signalling Decimal
            return False
        if self.may_be_off and value == 0:
            return True
        enough = value > self.least if self.above else value >= self.least
        return enough and value <= self.most

    @property
    def _range(self) -> str:
        if self.above:
            return f"above {self.least}"
        upper = "" if self.most == math.inf else f" to {self.most:g}"
        return f"from {self.least}{upper}" + (f", or {OFF}" if self.may_be_off else "")


@frozen(kw_only=True)
class Flag:
    """Yes or no."""

    secret: bool = False

    def read(self, text: str) -> bool:
        """See `Kind`."""
        if text.lower() in _ON | _NOT_ON:
            return text.lower() in _ON
        raise Unfit("is neither yes nor no; write true or false")

    def check(self, value: object) -> None:
        """See `Kind`."""
        if not isinstance(value, bool):
            raise Unfit("is neither true nor false")


@frozen
class Choice:
    """One of a few words; capitals do not matter in text."""

    words: tuple[str, ...]
    secret: bool = False

    def read(self, text: str) -> str:
        """See `Kind`."""
        return next((word for word in self.words if word.lower() == text.lower()), text)

    def check(self, value: object) -> None:
        """See `Kind`."""
        if value not in self.words:
            raise Unfit(f"is not one of {', '.join(self.words)}")


@frozen(kw_only=True)
class Text:
    """A word without spaces.

    Attributes:
        noun: What it is.
        shape: What all of it must look like.
        example: How one may be written.
        secret: Whether it is never shown.
    """

    noun: str
    shape: re.Pattern[str]
    example: str
    secret: bool = False

    def read(self, text: str) -> str:
        """See `Kind`."""
        return text

    def check(self, value: object) -> None:
        """See `Kind`."""
        if not isinstance(value, str) or not self.shape.fullmatch(value):
            raise Unfit(f"is no {self.noun}; write it like {self.example}")


@frozen(kw_only=True)
class Url:
    """An absolute URL.

    Attributes:
        schemes: What it may begin with.
        example: How one may be written.
        secret: Whether it is never shown; it may hold a password.
    """

    schemes: tuple[str, ...] = ("https", "http")
    example: str
    secret: bool = False

    def read(self, text: str) -> str:
        """See `Kind`."""
        return text

    def check(self, value: object) -> None:
        """See `Kind`."""
        if not isinstance(value, str) or not self._is_one(value):
            raise Unfit(
                f"is no URL that begins with {' or '.join(f'{each}://' for each in self.schemes)}; "
                f"write it like {self.example}"
            )

    def _is_one(self, text: str) -> bool:
        try:
            parts = urlsplit(text)
            whole = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:  # a bracket or a port that is none
            return False
        local = parts.scheme == "unix" and bool(parts.path)
        printable = text.isprintable() and " " not in text
        return parts.scheme in self.schemes and (whole or local) and printable


@frozen(kw_only=True)
class Place:
    """A file or folder, by its whole path; ``~`` is the user's home.

    Attributes:
        example: How one may be written.
        may_be_off: Whether ``off`` stands for none.
        schemes: URLs that may stand for a folder, by what they begin with; those stay text.
        secret: Whether it is never shown.
    """

    example: str
    may_be_off: bool = False
    schemes: tuple[str, ...] = ()
    secret: bool = False

    def read(self, text: str) -> Path | str | None:
        """See `Kind`."""
        if self.may_be_off and text.lower() in _NOT_ON:
            return None
        if self._is_url(text):
            return text.rstrip("/")
        if "://" in text:
            raise Unfit(f"is a URL, not a folder of this machine; write it like {self.example}")
        try:
            path = Path(text).expanduser()
        except RuntimeError:
            raise Unfit("begins with a home folder that this account does not have") from None
        if not path.is_absolute():
            raise Unfit(
                "is no whole path, and clients start servers in folders of their own; "
                f"write it like {self.example}"
            )
        return path

    def check(self, value: object) -> None:
        """See `Kind`."""
        if isinstance(value, str) and self._is_url(value):
            return
        if not isinstance(value, Path) or "\0" in str(value):
            raise Unfit("is no path")

    def _is_url(self, text: str) -> bool:
        scheme, _, place = text.partition("://")
        return scheme in self.schemes and re.fullmatch(r"[\w.-]+(/[\w./=-]*)?", place) is not None


@frozen
class Several:
    """Any number of values of one kind, in text with a separator between them.

    Attributes:
        each: The kind.
        separator: A regular expression for what stands between two.
    """

    each: Kind
    separator: str = r"[,\s]+"

    @property
    def secret(self) -> bool:
        """See `Kind`."""
        return self.each.secret

    def read(self, text: str) -> tuple[object, ...]:
        """See `Kind`."""
        return tuple(self.each.read(part) for part in re.split(self.separator, text) if part)

    def check(self, value: object) -> None:
        """See `Kind`."""
        if not isinstance(value, tuple):
            raise Unfit("is no tuple of values")
        for part in cast("tuple[object, ...]", value):
            self.each.check(part)


@frozen(kw_only=True)
class Network:
    """An address, or a network such as ``10.0.0.0/8``."""

    secret: bool = False

    def read(self, text: str) -> str:
        """See `Kind`."""
        return text

    def check(self, value: object) -> None:
        """See `Kind`."""
        try:
            ipaddress.ip_network(value if isinstance(value, str) else "", strict=False)
        except ValueError:
            raise Unfit("is no address or network; write it like 10.0.0.0/8") from None


FOLDER: Final = Place(example="~/pictures")
REDIS: Final = Url(
    schemes=("redis", "rediss", "unix"), example="redis://localhost:6379/0", secret=True
)


@frozen(kw_only=True)
class Shared:
    """Where servers share state: a folder, or a Redis."""

    secret: bool = True

    def read(self, text: str) -> Path | str:
        """See `Kind`."""
        if "://" in text:
            return text
        return cast("Path", FOLDER.read(text))

    def check(self, value: object) -> None:
        """See `Kind`."""
        if isinstance(value, str):
            REDIS.check(value)
        else:
            FOLDER.check(value)
