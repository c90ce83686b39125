"""Writes the table of settings in ``docs/mcp.md`` from the docstring of `Settings`.

``python docs/generate_settings.py`` rewrites the page, ``--check`` only says whether it is old.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import NOTHING, fields

from gptimage_mcp.config.settings import Settings, variable


PAGE: Final = Path(__file__).with_name("mcp.md")
BEGIN: Final = "<!-- The table is written by docs/generate_settings.py; do not edit. -->\n"
END: Final = "<!-- End of the table. -->\n"

PLACES: Final = {
    "store": "`gptimage` in your pictures folder",
    "cache": "your cache folder",
    "ledger": "`ledger.sqlite` in your state folder",
}
"""What the command fills in; a program that makes `Settings` names them."""


def main(arguments: list[str]) -> int:
    """Rewrite the page, or check it; the exit code is 1 when a checked page is old."""
    text = PAGE.read_text(encoding="utf-8")
    fresh = page(text)
    if "--check" in arguments:
        return int(text != fresh)
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


def page(text: str) -> str:
    """The page with its table made anew."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        message = f"{PAGE.name} has lost a mark: {BEGIN}{END}"
        raise SystemExit(message)
    return "".join([before, begin, "\n", "\n".join(_table()), "\n\n", end, after])


def meanings() -> dict[str, str]:
    """What the docstring says of every setting."""
    text = inspect.cleandoc(Settings.__doc__ or "").partition("Attributes:\n")[2]
    found = re.findall(r"^    (\w+): (.*(?:\n     +.*)*)", text, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", meaning) for name, meaning in found}


def _table() -> Iterator[str]:
    yield "| variable | default | meaning |\n|---|---|---|"
    said = meanings()
    for each in fields(Settings):
        meaning = said[each.name].replace("``", "`").replace("|", "\\|")
        yield f"| `{variable(each.name)}` | {_default(each.name, each.default)} | {meaning} |"


def _default(name: str, value: object) -> str:
    if name in PLACES:
        return PLACES[name]
    if value is NOTHING or value in (None, ()):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
