"""Finishes the built site: Markdown beside every page, ``llms.txt`` and ``llms-full.txt``.

``python docs/finish_site.py`` follows ``zensical build``; `nox -s site` runs both. The form of
``llms.txt`` is that of https://llmstxt.org.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple


DOCS: Final = Path(__file__).parent
CONFIG: Final = DOCS.parent / "mkdocs.yml"
SITE: Final = DOCS.parent / "build" / "site"
OPTIONAL: Final = "reference/"
"""The pages that hold names for a program to expand; a reader of Markdown may skip them."""


class Page(NamedTuple):
    """One page of the navigation.

    Attributes:
        section: The heading it is under; empty at the top.
        path: Its file, below ``docs``.
    """

    section: str
    path: str


def main() -> None:
    """Write the files, and remove the programs that the build copied along."""
    pages = list(navigation(CONFIG.read_text(encoding="utf-8")))
    for program in SITE.rglob("*.py"):
        program.unlink()
    for page in pages:
        (SITE / page.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(DOCS / page.path, SITE / page.path)
    (SITE / "llms.txt").write_text("\n".join(index(pages)) + "\n", encoding="utf-8")
    (SITE / "llms-full.txt").write_text(everything(pages), encoding="utf-8")


def navigation(config: str) -> Iterator[Page]:
    """Read the pages of the navigation, in their order."""
    section = ""
    for line in config.partition("\nnav:\n")[2].splitlines():
        if heading := re.fullmatch(r"  - ([^:]+):", line):
            section = heading[1]
        elif page := re.fullmatch(r"( +)- (?:.+: )?(\S+\.md)", line):
            yield Page("" if page[1] == "  " else section, page[2])


def index(pages: list[Page]) -> Iterator[str]:
    """The lines of ``llms.txt``: a link to the Markdown of each page, and what it is about."""
    base = setting("site_url")
    yield f"# {setting('site_name')}\n\n> {setting('site_description')}."
    by_section: dict[str, list[str]] = {}
    for section, path in pages:
        title, about = heading(path)
        name = "Optional" if path.startswith(OPTIONAL) else section or "Start"
        by_section.setdefault(name, []).append(f"- [{title}]({base}{path}): {about}")
    for name in sorted(by_section, key=lambda name: name == "Optional"):
        yield f"\n## {name}\n"
        yield from by_section[name]


def everything(pages: list[Page]) -> str:
    """Return the text of all pages that are prose, without comments."""
    texts = (text(path) for _, path in pages if not path.startswith(OPTIONAL))
    return "\n".join(texts)


def heading(path: str) -> tuple[str, str]:
    """Return the title of a page, and the first sentence of its text."""
    title, _, body = text(path).partition("\n")
    prose = re.sub(r"^```.*?^```$", "", body, flags=re.MULTILINE | re.DOTALL)
    first = next((each for each in prose.split("\n\n") if re.match(r"\s*(\w|`|\*\*)", each)), "")
    flat = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", " ".join(first.split()))
    sentence = re.sub(r"^\*\*Context\.\*\* ", "", flat)
    return title.removeprefix("# "), re.split(r"(?<=[.?]) ", sentence)[0].removesuffix(":")


def text(path: str) -> str:
    """Return the Markdown of a page without its comments."""
    return re.sub(r"<!--.*?-->\n*", "", (DOCS / path).read_text(encoding="utf-8"), flags=re.DOTALL)


def setting(name: str) -> str:
    """Return a setting of the site."""
    found = re.search(rf"^{name}: (.+)$", CONFIG.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise LookupError(f"mkdocs.yml has no {name}")
    return found[1]


if __name__ == "__main__":
    main()
