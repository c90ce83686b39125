"""Text of messages: shortened, and with a suggestion for what was misspelt."""

from __future__ import annotations

from collections.abc import Iterable


def shorten(text: str, limit: int) -> str:
    """Return the text, cut to so many characters with a mark at its end."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def reason(error: BaseException) -> str:
    """Return why something failed, in the words of the system where it has some."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def closest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the known name that looks most like this one, or None when none does.

    Args:
        name: What was written, in whatever case.
        known: The names there are.
        cutoff: How alike they must be, from 0 to 1.
    """
    import difflib

    plain = {each.lower(): each for each in known}
    found = difflib.get_close_matches(name.lower(), plain, n=1, cutoff=cutoff)
    return plain[found[0]] if found else None


def one_line(text: str) -> str:
    """Return text on one line, without what cannot be printed."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
