"""Writes the table in ``docs/parameters.md`` from the library's table of parameters.

``python docs/generate_parameters.py`` rewrites the page, ``--check`` only says whether it is old.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gptimage.types.parameters import PARAMETERS, Parameter


PAGE: Final = Path(__file__).with_name("parameters.md")
BEGIN: Final = "<!-- The table is written by docs/generate_parameters.py; do not edit. -->\n"
END: Final = "<!-- End of the table. -->\n"
VALUES: Final = {
    "text": "text",
    "whole": "number",
    "json": "a dict of JSON values",
    "size": "text or two numbers",
    "image": "an image",
    "images": "1 to 16 images",
}


def main(arguments: list[str]) -> int:
    """Rewrite the page, or check it; the exit code is 1 when a checked page is old."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    fresh = "".join([before, BEGIN, "\n", "\n".join(rows()), "\n\n", END, after])
    if "--check" in arguments:
        return int(text != fresh)
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


def rows() -> Iterator[str]:
    """The lines of the table."""
    yield "| parameter | values | only for | on the wire | what it does |\n|---|---|---|---|---|"
    for row in PARAMETERS.values():
        wire = f"`{row.wire}`" if row.wire else "as it is"
        yield f"| `{row.name}` | {values(row)} | {belongs(row)} | {wire} | {row.help}. |"


def values(row: Parameter) -> str:
    """What may be given."""
    if row.choices:
        return ", ".join(f"`{each}`" for each in row.choices)
    return row.allowed or VALUES[row.kind]


def belongs(row: Parameter) -> str:
    """What it belongs to, where that is not everything."""
    return ", ".join([*row.formats, *(row.operations if len(row.operations) == 1 else ())])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
