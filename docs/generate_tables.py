"""Writes the tables of `docs/models.md` and `docs/client.md` from the catalogue and the client.

``python docs/generate_tables.py`` rewrites the pages, ``--check`` only says whether one is old.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Final

import gptimage
from gptimage.models.catalog import ModelSpec, Price
from gptimage.models.pricing import format_usd
from gptimage.providers import names, provider
from gptimage.types.parameters import PARAMETERS


DOCS: Final = Path(__file__).parent
BEGIN: Final = "<!-- {}: written by docs/generate_tables.py; do not edit. -->\n"
END: Final = "<!-- End of {}. -->\n"
CATALOGUE: Final = gptimage.Models.load()
TOKENS: Final = Decimal(1_000_000)


def main(arguments: list[str]) -> int:
    """Rewrite the pages, or check them; the exit code is 1 when a checked page is old."""
    old = False
    for name, (page, table) in TABLES.items():
        path = DOCS / page
        text = path.read_text(encoding="utf-8")
        fresh = with_table(text, name, table())
        old |= text != fresh
        if "--check" not in arguments:
            path.write_text(fresh, encoding="utf-8")
    return int(old and "--check" in arguments)


def with_table(text: str, name: str, lines: Iterable[str]) -> str:
    """Return a page with one of its tables made anew."""
    before, begin, rest = text.partition(BEGIN.format(name))
    _, end, after = rest.partition(END.format(name))
    if not begin or not end:
        message = f"a mark is missing: {BEGIN.format(name)}{END.format(name)}"
        raise SystemExit(message)
    return "".join([before, begin, "\n", "\n".join(lines), "\n\n", end, after])


def models() -> Iterator[str]:
    """The lines of the table of models that can be used."""
    yield "| model | since | until | qualities | formats | transparent | Batch API |"
    yield "|---|---|---|---|---|---|---|"
    for spec in drawing():
        default = " (default)" if spec.id == CATALOGUE.default else ""
        dates = f"{spec.released or ''} | {spec.shutdown or ''}"
        formats = ", ".join([*spec.formats, *(f"{each}?" for each in spec.undocumented_formats)])
        yield (
            f"| `{spec.id}`{default} | {dates} | {', '.join(spec.qualities)} | {formats} "
            f"| {spec.transparent} | {spec.batch} |"
        )


def sizes() -> Iterator[str]:
    """The lines of the table of size rules, one for each family."""
    yield "| family | sizes |"
    yield "|---|---|"
    rules = {spec.family: spec.sizes for spec in drawing()}
    for family, rule in rules.items():
        if rule.values:
            text = ", ".join(f"{width}x{height}" for width, height in rule.values)
        else:
            text = (
                f"edges of at most {rule.max_edge:,} pixels, multiples of {rule.multiple}; "
                f"at most {rule.max_ratio}:1; {rule.min_pixels:,} to {rule.max_pixels:,} pixels"
            )
        yield f"| {family} | {text} |"


def images() -> Iterator[str]:
    """The lines of the table of what one image costs."""
    qualities = ("low", "medium", "high", "xhigh", "max")
    yield f"| model | {' | '.join(qualities)} |"
    yield f"|---|{'---:|' * len(qualities)}"
    for spec in drawing():
        cells = " | ".join(one_image(spec, quality) for quality in qualities)
        yield f"| `{spec.id}` | {cells} |"


def one_image(spec: ModelSpec, quality: str) -> str:
    """Return what a square image costs without its prompt, or why that is not known."""
    if quality not in spec.qualities:
        return ""
    tokens, price = spec.output_tokens(1024, 1024, quality), latest(spec)
    if tokens is None or price is None:
        return "unknown"
    return format_usd(tokens * price.image_output / TOKENS)


def prices() -> Iterator[str]:
    """The lines of the table of prices by million tokens."""
    columns = ("text in", "text cached", "image in", "image cached", "image out")
    yield f"| family | from | Batch API | {' | '.join(columns)} |"
    yield "|---|---|---|---:|---:|---:|---:|---:|"
    rows = {spec.family: spec.prices for spec in drawing()}
    for family, row in rows.items():
        for price in row:
            cells = " | ".join(usd(each) for each in amounts(price))
            yield f"| {family} | {price.start} | {'yes' if price.batch else 'no'} | {cells} |"


def retired() -> Iterator[str]:
    """The lines of the table of models with a date of shutdown."""
    yield "| model | shut down on | use instead |"
    yield "|---|---|---|"
    for spec in sorted(CATALOGUE, key=lambda spec: str(spec.shutdown)):
        if spec.shutdown is not None:
            instead = ", ".join(f"`{each}`" for each in spec.replacements)
            yield f"| `{spec.id}` | {spec.shutdown} | {instead} |"


def checked() -> Iterator[str]:
    """The sentence that dates the tables."""
    yield f"The catalogue was last compared with its sources on {CATALOGUE.checked}."


def settings() -> Iterator[str]:
    """The lines of the table of client settings: their types, defaults and meanings."""
    meanings = described(gptimage.ImageClient)
    yield "| setting | type | default | meaning |"
    yield "|---|---|---|---|"
    for row in inspect.signature(gptimage.ImageClient).parameters.values():
        kind = str(row.annotation).replace("|", "\\|").replace("os.PathLike", "PathLike")
        default = f"`{row.default:g}`" if isinstance(row.default, float) else ""
        meaning = re.sub(r"`+", "`", meanings[row.name]).replace("|", "\\|")
        yield f"| `{row.name}` | `{kind}` | {default} | {meaning} |"


def described(item: object) -> dict[str, str]:
    """Return what the docstring says of each argument."""
    section = re.search(r"^Args:\n((?: .*\n|\n)+)", inspect.getdoc(item) or "", re.MULTILINE)
    found = re.findall(
        r"^    (\w+): (.*(?:\n     +.*)*)", section[1] if section else "", re.MULTILINE
    )
    return {name: re.sub(r"\s+", " ", meaning) for name, meaning in found}


def drawing() -> list[ModelSpec]:
    """The models that answered on the day of the check, without the snapshots of others.

    The day of the check and not today's: a page must not be old because a day has passed.
    """
    snapshots = {spec.snapshot for spec in CATALOGUE}
    living = (spec for spec in CATALOGUE if spec.state(CATALOGUE.checked) != "shut_down")
    return [spec for spec in living if spec.id not in snapshots]


def latest(spec: ModelSpec) -> Price | None:
    """Return the newest row of ordinary prices."""
    return next((price for price in reversed(spec.prices) if not price.batch), None)


def amounts(price: Price) -> tuple[Decimal | None, ...]:
    """The columns of the table of prices."""
    return (
        price.text_input,
        price.text_input_cached,
        price.image_input,
        price.image_input_cached,
        price.image_output,
    )


def usd(amount: Decimal | None) -> str:
    """Return an amount as text; nothing where it is not published."""
    return "" if amount is None else f"${amount:f}"


def connections() -> Iterator[str]:
    """The lines of the table of addresses and keys."""
    yield "| provider | | address | key |"
    yield "|---|---|---|---|"
    for each in map(provider, names()):
        places = [*each.url_variables, *([each.base_url] if each.base_url else [])]
        key = " or ".join(f"`{name}`" for name in each.key_variables)
        optional = "" if each.needs_key else ", if it wants one"
        address = " or ".join(f"`{place}`" for place in places)
        yield f"| `{each.name}` | {each.title} | {address} | {key}{optional} |"


def providers() -> Iterator[str]:
    """The lines of the table of what each provider can do."""
    yield "| provider | parameters | edits | images a call | previews | Batch API | conversations |"
    yield "|---|---|---|---|---|---|---|"
    for each in map(provider, names()):
        taken = sorted(each.parameters - {"prompt", "model", "images", "mask", "markup"})
        missing = set(PARAMETERS) - each.parameters
        parameters = "all" if not missing else ", ".join(f"`{name}`" for name in taken)
        edits = f"{each.max_inputs} images" if "images" in each.parameters else ""
        edits += ", `mask`" if "mask" in each.parameters else ""
        has = ["yes" if it else "" for it in (each.streams, each.batches, each.has_turns)]
        yield f"| `{each.name}` | {parameters} | {edits} | {each.max_images} | {' | '.join(has)} |"


TABLES: Final[dict[str, tuple[str, Callable[[], Iterable[str]]]]] = {
    "checked": ("models.md", checked),
    "models": ("models.md", models),
    "sizes": ("models.md", sizes),
    "images": ("models.md", images),
    "prices": ("models.md", prices),
    "retired": ("models.md", retired),
    "settings": ("client.md", settings),
    "connections": ("providers.md", connections),
    "providers": ("providers.md", providers),
}
"""Each table, with its page and what writes it."""


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
