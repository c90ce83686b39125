"""``docs/templates.md`` tells what is true of the templates as they are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from gptimage.templates import PromptTemplates


DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "templates.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The page's code blocks in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_reference_is_fresh() -> None:
    """The reference half is what the generator writes today."""
    script = DOCS / "generate_templates.py"
    done = subprocess.run([sys.executable, str(script), "--check"], check=False)

    assert done.returncode == 0, "run docs/generate_templates.py"


def test_toml_example_loads(tmp_path: Path) -> None:
    """The template the page shows is one that works."""
    (example,) = blocks("toml")
    (tmp_path / "card.toml").write_text(example, encoding="utf-8")
    card = PromptTemplates.load(tmp_path)["card"]

    assert card.render(card.example).text == (
        'A finished launch card. The words "It is here" stand centred in heavy sans-serif '
        "letters, above a photorealistic picture of a folding bicycle. "
        "Leave out any other lettering."
    )
    assert card(headline="Hi", shape="square", framed=True).size == "1080x1080"


def test_json_example_loads(tmp_path: Path) -> None:
    """So does the JSON one, with its style as a sentence."""
    (example,) = blocks("json")
    (tmp_path / "any.json").write_text(example, encoding="utf-8")
    prompt = PromptTemplates.load(tmp_path).render("postcard", place="Porto")

    assert prompt.text == ("A vintage postcard of Porto.\n\nThe overall style is screen print.")
    assert (prompt.size, prompt.quality) == ("1536x1024", "high")
