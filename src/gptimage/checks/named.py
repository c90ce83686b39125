"""Checks as people write them in a command or a tool call: ``transparent``, ``words=OPEN``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from gptimage.checks.check import AnyCheck, Question
from gptimage.checks.pixels import Drift, Margins, Palette, Pixels, Transparent, Unlike
from gptimage.checks.words import Words
from gptimage.errors import InvalidRequestError
from gptimage.image.image import Image


def _share(text: str) -> float:
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        raise ValueError("write a share such as 5% or 0.05") from None
    return number / 100 if text.endswith("%") else number


_NAMED: Final[dict[str, tuple[str, Callable[[str], AnyCheck]]]] = {
    "transparent": ("", lambda _: Transparent()),
    "words": ("OPEN LATE", Words),
    "palette": ("#d00000,white", lambda text: Palette([each.strip() for each in text.split(",")])),
    "margins": ("5%", lambda text: Margins(share=_share(text)) if text else Margins()),
    "drift": ("1%", lambda text: Drift(most=_share(text)) if text else Drift()),
    "pixels": ("1200x630", Pixels),
    "unlike": ("other.png", lambda path: Unlike(Image.from_path(path))),
    "ask": ("Is there a fox?", Question),
}
"""Each name with an example of its value, and what makes the check."""

_OPTIONAL: Final = ("margins", "drift")
"""Those whose value may be left out."""

NAMES: Final = (
    "transparent, words=TEXT, palette=COLORS, margins[=5%], drift[=1%], pixels=SIZE, ask=QUESTION"
)
"""What can be written, for help texts and messages."""

NAMES_WITH_FILES: Final = f"{NAMES}, unlike=FILE"
"""What can be written where the files of this machine may be read."""


def named_checks(texts: Iterable[str], *, files: bool = False) -> list[AnyCheck]:
    """Read checks; each is a name, with a value after an equals sign where it has one.

    Args:
        texts: The checks.
        files: Whether ``unlike=FILE`` may read a file.

    Raises:
        InvalidRequestError: A name is not known, or its value makes no sense.
        OSError: A file cannot be read.
    """
    return [_named(each, files=files) for each in texts]


def _named(text: str, *, files: bool) -> AnyCheck:
    name, _, value = text.partition("=")
    found = _NAMED.get(name.strip().lower())
    allowed = NAMES_WITH_FILES if files else NAMES
    if found is None or (name.strip().lower() == "unlike" and not files):
        raise InvalidRequestError(
            f"there is no check {name.strip()!r:.40}; there are {allowed}",
            field="check",
            value=text,
            allowed=allowed,
        )
    example, make = found
    value = value.strip()
    if bool(value) != bool(example) and name.strip().lower() not in _OPTIONAL:
        wanted = f"write it as {name}={example}" if example else "it takes no value"
        raise InvalidRequestError(
            f"the check {text!r:.80}: {wanted}", field="check", value=text, allowed=allowed
        )
    try:
        return make(value)
    except ValueError as error:  # an InvalidRequestError is one, too
        raise InvalidRequestError(
            f"the check {text!r:.80}: {error}", field="check", value=text, allowed=allowed
        ) from error
