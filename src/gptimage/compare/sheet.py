"""The sheet of a comparison: one HTML file with everything in it, in which people vote blindly.

It works from a file and under a strict policy: no other file is loaded, and only the style and the
script beside this module run, by their digests. Every text of a prompt, a model or a check is
escaped.
"""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Sequence
from string import Template
from typing import Final

from pybase64 import b64encode_as_string

from gptimage._internal.data import data_text
from gptimage.compare.matrix import Cell
from gptimage.image.image import Image
from gptimage.image.previews import previews


FORMAT: Final = 1
"""The version of the file of votes."""

_EDGE: Final = 640
"""Longest edge in pixels of the images in the sheet."""

_BYTES: Final = 24_000_000
"""Bytes of all of them together: a page that browsers still open at once."""

_PAGE: Final = Template(data_text(__name__, "sheet.html"))
_STYLE: Final = data_text(__name__, "sheet.css")
_SCRIPT: Final = data_text(__name__, "sheet.js")


def sheet(title: str, cells: Sequence[Cell]) -> str:
    """Return the page.

    Args:
        title: What it is called.
        cells: The images, prompt by prompt.
    """
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.case.title, cell.case.revision), []).append(cell)
    shuffled = [sorted(group, key=_blind) for group in groups.values()]
    drawn = [cell for group in shuffled for cell in group]
    shown = previews((_first(each) for each in drawn), max_px=_EDGE, max_bytes=_BYTES)
    small = dict(zip(map(id, drawn), shown, strict=True))
    parts = [
        _group(number, group, [small[id(each)] for each in group])
        for number, group in enumerate(shuffled)
    ]
    data = {
        "format": FORMAT,
        "title": title,
        "prompts": [
            {
                "prompt": group[0].case.title,
                "version": group[0].case.revision,
                "candidates": [_candidate(each) for each in group],
            }
            for group in shuffled
        ],
    }
    # Text in a script ends at "</script": no "<" of a prompt may stand in it.
    text = json.dumps(data).replace("<", "\\u003c")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(_STYLE)}'; "
        f"script-src '{_digest(_SCRIPT)}'; base-uri 'none'; form-action 'none'"
    )
    return _PAGE.substitute(
        policy=policy,
        title=html.escape(title),
        style=_STYLE,
        script=_SCRIPT,
        summary=_summary(cells),
        prompts="".join(parts),
        data=text,
    )


def _group(number: int, cells: list[Cell], small: list[Image | None]) -> str:
    case = cells[0].case
    boxes = "".join(
        _cell(number, place, cell, preview)
        for place, (cell, preview) in enumerate(zip(cells, small, strict=True))
    )
    words = html.escape(case.words)
    return (
        f'<fieldset><legend>{html.escape(case.title)} <span class="soft">version '
        f"{html.escape(case.revision)}</span></legend>"
        f'<p>{words}</p><div class="cells">{boxes}</div><label class="name none">'
        f'<input type="radio" name="p{number}" value=""> None of them</label></fieldset>\n'
    )


def _cell(number: int, place: int, cell: Cell, preview: Image | None) -> str:
    letter = f"Image {place + 1}"
    if cell.result is None:
        why = "it was not drawn" if cell.error is None else str(cell.error)
        image = f'<p class="name">{letter}: no image</p>'
        facts = f'<p class="failed">{html.escape(why)}</p>'
    else:
        shown = (
            f'<img src="{preview.data_url}" width="{preview.width}" height="{preview.height}" '
            f'alt="">'
            if preview
            else '<p class="name">This image has no preview.</p>'
        )
        image = (
            f'<label>{shown}<span class="name"><input type="radio" name="p{number}" '
            f'value="{place}"> {letter}</span></label>'
        )
        facts = "".join(
            f'<p class="{"passed" if each.passed else "failed"}">{"✓" if each.passed else "✗"} '
            f"{html.escape(each.name)}: {html.escape(each.reason)}</p>"
            for each in cell.checks
        )
    cost = "cost unknown" if cell.usd is None else f"${cell.usd:.4f}"
    took = "" if cell.seconds is None else f", {cell.seconds:.1f} s"
    cached = ", from the cache" if cell.result and cell.result.cached else ""
    line = f"<p>{html.escape(str(cell.setting))}: {cost}{took}{cached}</p>"
    return f'<div class="cell">{image}<div class="facts">{line}{facts}</div></div>'


def _summary(all_cells: Sequence[Cell]) -> str:
    """Return a table with one row for each model and quality."""
    rows: list[str] = []
    for setting in dict.fromkeys(each.setting for each in all_cells):
        cells = [each for each in all_cells if each.setting == setting]
        drawn = [each for each in cells if each.result is not None]
        costs = [each.usd for each in drawn]
        total = "unknown" if None in costs else f"${sum(filter(None, costs)):.4f}"
        times = [each.seconds for each in drawn if each.seconds is not None]
        mean = f"{sum(times) / len(times):.1f} s" if times else "-"
        checks = [found.passed for each in drawn for found in each.checks]
        passed = f"{sum(checks)} of {len(checks)}" if checks else "-"
        values = (str(setting), f"{len(drawn)} of {len(cells)}", total, mean, passed)
        rows.append("".join(f"<td>{html.escape(each)}</td>" for each in values))
    head = "".join(
        f'<th scope="col">{each}</th>'
        for each in ("model", "images", "cost", "mean time", "checks passed")
    )
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _candidate(cell: Cell) -> dict[str, object]:
    return {
        "model": cell.setting.model,
        "quality": cell.setting.quality,
        "id": cell.id,
        "cost_usd": None if cell.usd is None else str(cell.usd),
    }


def _first(cell: Cell) -> Image | None:
    return None if cell.result is None else cell.result.image


def _blind(cell: Cell) -> str:
    """Return what decides the order: the same each time, and no model first in all prompts."""
    key = (cell.case.title, cell.case.revision, str(cell.setting))
    return hashlib.sha256(repr(key).encode()).hexdigest()


def _digest(text: str) -> str:
    return f"sha256-{b64encode_as_string(hashlib.sha256(text.encode()).digest())}"
