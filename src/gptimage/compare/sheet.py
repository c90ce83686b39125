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
:root{color-scheme:light dark;--paper:light-dark(#f7f5f1,#141312);--card:light-dark(#fff,#1d1c1a);
--ink:light-dark(#1d1b18,#f1eee8);--soft:light-dark(#5f5a52,#aaa499);--line:light-dark(#e0dbd2,#34312d);
--accent:light-dark(#b8400e,#ff9a5c);--bad:light-dark(#ae1f2b,#ff9a94);--good:light-dark(#1f6b3a,#84d29b)}
*{box-sizing:border-box}
html{scroll-padding-top:9rem}
body{font:16px/1.45 system-ui,sans-serif;max-width:100rem;margin:0 auto;padding:0 var(--side) 4rem;
background:var(--paper);color:var(--ink);overflow-wrap:anywhere;--side:clamp(1rem,3vw,2.5rem)}
h1{font-size:1.9rem;line-height:1.2;margin:2rem 0 .5rem}
p{margin:0 0 .5rem;max-width:75ch}
.bar{position:sticky;top:0;z-index:1;display:flex;flex-wrap:wrap;gap:.5rem .75rem;
align-items:center;background:var(--paper);border-bottom:1px solid var(--line);
padding:.75rem var(--side);margin:0 calc(-1*var(--side)) 1.5rem}
button{font:inherit;min-height:2.75rem;padding:0 1rem;border:1px solid var(--soft);
border-radius:.6rem;background:var(--card);color:var(--ink);cursor:pointer}
button[aria-pressed=true]{border-color:var(--accent);color:var(--accent)}
#status{color:var(--soft);font-variant-numeric:tabular-nums}
fieldset{border:0;margin:0 0 3rem;padding:0;min-width:0}
legend{font-size:1.2rem;font-weight:600;padding:0;margin-bottom:.25rem}
.soft{color:var(--soft);font-size:.85rem;font-weight:400}
.cells{display:grid;grid-template-columns:repeat(auto-fill,minmax(clamp(9rem,22vw,18rem),1fr));gap:1rem;margin-top:1rem}
.cell{background:var(--card);border-radius:.75rem;overflow:hidden;box-shadow:0 0 0 1px var(--line)}
.cell:has(:checked){box-shadow:0 0 0 3px var(--accent)}
.cell:has(:focus-visible){outline:3px solid var(--ink);outline-offset:4px}
img{width:100%;height:auto;display:block;
background:repeating-conic-gradient(#ddd 0 25%,#fff 0 50%) 0/16px 16px}
label{cursor:pointer;display:block}
.name{display:flex;gap:.6rem;align-items:center;min-height:2.75rem;
padding:.25rem 1rem;font-weight:600}
.none{display:inline-flex;margin-top:.5rem;padding:.25rem 0;font-weight:400}
input{accent-color:var(--accent);width:1.15rem;height:1.15rem;margin:0;flex:none;outline:0}
.none input:focus-visible{outline:3px solid var(--ink);outline-offset:2px}
.facts{display:none;font-size:.9rem}
.open .facts{display:block}
.cell .facts{padding:0 1rem .5rem}
.failed{color:var(--bad)}
.passed{color:var(--good)}
.wide{overflow-x:auto;margin-bottom:2rem}
table{border-collapse:collapse}
td,th{border-bottom:1px solid var(--line);padding:.4rem 1.25rem .4rem 0;text-align:left;
white-space:nowrap;font-variant-numeric:tabular-nums}
th{color:var(--soft);font-weight:600}
@media(forced-colors:active){.cell:has(:checked){outline:3px solid Highlight}}
"""

_SCRIPT: Final = """
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const show = document.getElementById("show");
show.addEventListener("click", () => {
  const open = document.body.classList.toggle("open");
  show.setAttribute("aria-pressed", String(open));
});
const status = document.getElementById("status");
const winner = (number) => {
  const chosen = document.querySelector(`input[name="p${number}"]:checked`);
  return chosen && chosen.value !== "" ? Number(chosen.value) : null;
};
const count = () => {
  const done = document.querySelectorAll("input:checked").length;
  status.textContent = `${done} of ${data.prompts.length} prompts decided`;
};
document.addEventListener("change", count);
count();
document.getElementById("export").addEventListener("click", () => {
  const votes = data.prompts.map((prompt, number) => ({...prompt, winner: winner(number)}));
  const file = {format: data.format, title: data.title, voted: new Date().toISOString(), votes};
  const link = document.createElement("a");
  const kind = {type: "application/json"};
  link.href = URL.createObjectURL(new Blob([JSON.stringify(file, null, 1)], kind));
  link.download = "votes.json";
  link.click();
  URL.revokeObjectURL(link.href);
  const won = votes.filter((vote) => vote.winner !== null).length;
  status.textContent = `votes.json has winners of ${won} of ${votes.length} prompts`;
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
<p>Choose the best image of each prompt, then export the votes. Models, costs and checks are hidden
until you ask for them, and the order is another one for each prompt.</p>
<div class="bar"><button id="export" type="button">Export votes</button>
<button id="show" type="button" aria-pressed="false">Show models</button>
<span id="status" role="status"></span></div>
<div class="facts wide" tabindex="0" role="region" aria-label="Models">{_summary(cells)}</div>
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
