"""The sheet of a comparison: one HTML file with everything in it, in which people vote blindly.

It works from a file and under a strict policy: no other file is loaded, and only the style and the
script below run, by their digests. Every text of a prompt, a model or a check is escaped.
"""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Sequence
from typing import Final

from pybase64 import b64encode_as_string

from gptimage.compare.matrix import Cell
from gptimage.image.image import Image
from gptimage.image.previews import previews


FORMAT: Final = 1
"""The version of the file of votes."""

_EDGE: Final = 640
"""Longest edge in pixels of the images in the sheet."""

_BYTES: Final = 24_000_000
"""Bytes of all of them together: a page that browsers still open at once."""

_STYLE: Final = """
body{font:16px/1.4 system-ui,sans-serif;margin:1.5rem;background:#fff;color:#1a1a1a}
fieldset{border:1px solid #767676;border-radius:.5rem;margin:0 0 1.5rem;padding:1rem}
legend{font-weight:600;padding:0 .5rem}
.cells{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:1rem}
img{max-width:100%;height:auto;display:block;background-size:16px 16px;
background-image:repeating-conic-gradient(#ddd 0 25%,#fff 0 50%)}
.facts{display:none;font-size:.9rem}
.open .facts{display:block}
.failed{color:#a00000}
.bar{position:sticky;top:0;background:inherit;padding:.5rem 0;z-index:1}
button{font:inherit;padding:.4rem .8rem;margin-right:.5rem}
table{border-collapse:collapse;margin-bottom:1.5rem}
td,th{border:1px solid #767676;padding:.3rem .6rem;text-align:left}
@media (prefers-color-scheme:dark){body{background:#161616;color:#eee}.failed{color:#ff9a9a}}
"""

_SCRIPT: Final = """
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const show = document.getElementById("show");
show.addEventListener("click", () => {
  const open = document.body.classList.toggle("open");
  show.setAttribute("aria-pressed", String(open));
});
document.getElementById("export").addEventListener("click", () => {
  const votes = data.prompts.map((prompt, number) => {
    const chosen = document.querySelector(`input[name="p${number}"]:checked`);
    return {...prompt, winner: chosen ? Number(chosen.value) : null};
  });
  const file = {format: data.format, title: data.title, voted: new Date().toISOString(), votes};
  const link = document.createElement("a");
  const kind = {type: "application/json"};
  link.href = URL.createObjectURL(new Blob([JSON.stringify(file, null, 1)], kind));
  link.download = "votes.json";
  link.click();
  URL.revokeObjectURL(link.href);
  const count = votes.filter((vote) => vote.winner !== null).length;
  const words = `${count} of ${votes.length} votes are in votes.json`;
  document.getElementById("status").textContent = words;
});
"""


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
    title = html.escape(title)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width">
<title>{title}</title><style>{_STYLE}</style></head><body>
<h1>{title}</h1>
<p>Choose the best image of each prompt. Which model made it is shown when you ask for it.</p>
<div class="bar"><button id="export" type="button">Export votes</button>
<button id="show" type="button" aria-pressed="false">Show models, costs and checks</button>
<span id="status" role="status"></span></div>
<div class="facts">{_summary(cells)}</div>
{"".join(parts)}
<script id="data" type="application/json">{text}</script>
<script>{_SCRIPT}</script></body></html>
"""


def _group(number: int, cells: list[Cell], small: list[Image | None]) -> str:
    case = cells[0].case
    boxes = "".join(
        _cell(number, place, cell, preview)
        for place, (cell, preview) in enumerate(zip(cells, small, strict=True))
    )
    words = html.escape(case.words)
    return (
        f"<fieldset><legend>{html.escape(case.title)} ({html.escape(case.revision)})</legend>"
        f'<p>{words}</p><div class="cells">{boxes}</div></fieldset>\n'
    )


def _cell(number: int, place: int, cell: Cell, preview: Image | None) -> str:
    letter = f"Image {place + 1}"
    if cell.result is None:
        why = "it was not drawn" if cell.error is None else str(cell.error)
        image = f"<p>{letter}: no image</p>"
        facts = f'<p class="failed">{html.escape(why)}</p>'
    else:
        shown = (
            f'<img src="{preview.data_url}" width="{preview.width}" height="{preview.height}" '
            f'alt="{letter}">'
            if preview
            else "<p>This image has no preview.</p>"
        )
        image = (
            f'<label>{shown}<input type="radio" name="p{number}" value="{place}"> {letter}</label>'
        )
        facts = "".join(
            f'<p class="{"passed" if each.passed else "failed"}">{html.escape(each.name)}: '
            f"{html.escape(each.reason)}</p>"
            for each in cell.checks
        )
    cost = "cost unknown" if cell.usd is None else f"${cell.usd:.4f}"
    took = "" if cell.seconds is None else f", {cell.seconds:.1f} s"
    cached = ", from the cache" if cell.result and cell.result.cached else ""
    line = f"<p>{html.escape(str(cell.setting))}: {cost}{took}{cached}</p>"
    return f'<div>{image}<div class="facts">{line}{facts}</div></div>'


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
