"""The text of the ten built-in templates, as 0.1.0 rendered it: the cache's keys depend on it."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from gptimage.templates import Brand, PromptTemplate, PromptTemplates


BUILTIN = PromptTemplates.builtin()
BRAND = Brand(
    name="Acme",
    palette="deep navy (#0B1F3A), coral and white",
    tone="calm, precise and a little dry",
    avoid="clip art and handshakes",
)
EXAMPLES = Path(__file__).with_name("examples.txt")

DIGESTS = {
    "artistic_style": "116b99127237801824516edaef6c55d913b1f0f370a287cffbae7125cdd275fc",
    "blog_header": "eef3e5bfff24b8cbec375e59e4fea9e5097fd5d180feaca11d9d7ab799a33923",
    "creative_image": "7d2f4f46e69e6a79c711811cf26f4308fa72a3c9533d969668636712def2efa7",
    "email_header": "f3a32e609fbb38e841a47ee409210f3f6fdc71fc1307e689f5de1bbaf16b19c1",
    "hero_banner": "be38a70d825c413b6335cfb3501919ab047876fabf5c12866b67861306c893dc",
    "infographic": "a980ee597c1528d7b4aa326051074f5272e758a56dc98dd420021b08da6bb77b",
    "og_image": "9d0f57bc7fabdddcf8752722961d1fab6736829f7ae07f521ff5e1554e774bed",
    "product_photography": "cc4d57a84b91c9c77be6c266185bcb0818497513422a2a9aa7fe33b69eedef41",
    "social_media_post": "3b2820560dd178a2a4b3155ad3c0a9db82a9068a270a8426c9a1414dbbe2c33c",
    "thumbnail": "1f525ecb80bbcc4b6189b52b314a87f5295e32e5eb9d7a0e77e5aa11193f9a1c",
}
"""SHA-256 of every text a template can make of its choices and suggestions, by template."""

each = pytest.mark.parametrize("template", BUILTIN.values(), ids=lambda each: each.name)


def combinations(template: PromptTemplate) -> Iterator[dict[str, object]]:
    """Up to 1,500 ways: every argument absent (if it may be) or with each value that changes the text."""
    values: list[list[object]] = []
    for argument in template.arguments:
        worded = [value for value in argument.values if argument.wording.get(value) != value]
        own: list[object] = ["An “idea” of 8 foxes."] if argument.type == "string" else []
        found = [*own, *(argument.choices or worded or argument.values[:1])]
        values.append(found if argument.required else [None, *found])
    everything = list(itertools.product(*values))
    for chosen in everything[:: 1 + len(everything) // 1500]:
        yield dict(zip((each.name for each in template.arguments), chosen, strict=True))


@each
def test_texts_are_those_of_0_1_0(template: PromptTemplate) -> None:
    """No change of the template language changes a single prompt."""
    digest = hashlib.sha256()
    for arguments in combinations(template):
        digest.update(template.render(arguments).text.encode())

    assert digest.hexdigest() == DIGESTS[template.name]


def test_examples_read_as_in_0_1_0() -> None:
    """The examples, plain and in a brand, for a person to read."""
    branded = BUILTIN.with_brand(BRAND)
    texts = [
        f"== {name}{suffix}\n{templates[name].render(templates[name].example).text}\n"
        for name in BUILTIN
        for suffix, templates in (("", BUILTIN), (", branded", branded))
    ]

    assert "\n".join(texts) == EXAMPLES.read_text(encoding="utf-8")
