"""Checks as people write them in a command or a tool call: ``transparent``, ``words=OPEN``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from gptimage.checks.check import AnyCheck, Question
from gptimage.checks.pixels import Margins, Palette, Pixels, Transparent
from gptimage.checks.words import Words
from gptimage.errors import InvalidRequestError


def _share(text: str) -> float:
    number = float(text.removesuffix("%"))
    return number / 100 if text.endswith("%") else number


_NAMED: Final[dict[str, tuple[str, Callable[[str], AnyCheck]]]] = {
    "transparent": ("", lambda _: Transparent()),
    "words": ("OPEN LATE", Words),
    "palette": ("#d00000,white", lambda text: Palette([each.strip() for each in text.split(",")])),
    "margins": ("5%", lambda text: Margins(share=_share(text)) if text else Margins()),
    "pixels": ("1200x630", Pixels),
    "ask": ("Is there a fox?", Question),
}
"""Each name with an example of its value, and what makes the check."""

NAMES: Final = "transparent, words=TEXT, palette=COLOR,..., margins[=5%], pixels=SIZE, ask=QUESTION"
"""What can be written, for help texts and messages."""


def named_checks(texts: Iterable[str]) -> list[AnyCheck]:
    """Read checks; each is a name, with a value after an equals sign where it has one.

    Raises:
        InvalidRequestError: A name is not known, or its value makes no sense.
    """
    return [_named(each) for each in texts]


def _named(text: str) -> AnyCheck:
    name, _, value = text.partition("=")
    found = _NAMED.get(name.strip().lower())
    if found is None:
        raise InvalidRequestError(
            f"there is no check {name.strip()!r:.40}; there are {NAMES}",
            field="check",
            value=text,
            allowed=NAMES,
        )
    example, make = found
    value = value.strip()
    if bool(value) != bool(example) and name.strip().lower() != "margins":
        wanted = f"write it as {name}={example}" if example else "it takes no value"
        raise InvalidRequestError(
            f"the check {text!r:.80}: {wanted}", field="check", value=text, allowed=NAMES
        )
    try:
        return make(value)
    except ValueError as error:  # an InvalidRequestError is one, too
        raise InvalidRequestError(
            f"the check {text!r:.80}: {error}", field="check", value=text, allowed=NAMES
        ) from error
