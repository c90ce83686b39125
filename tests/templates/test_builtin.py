"""The ten built-in templates: what they take, what they recommend, and that they read well."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gptimage.errors import TemplateError
from gptimage.models.sizes import PRESETS, Size
from gptimage.templates import Brand, PromptTemplate, PromptTemplates, TemplateArgument


BUILTIN = PromptTemplates.builtin()
BRAND = Brand(
    name="Acme",
    palette="deep navy (#0B1F3A), coral and white",
    tone="calm, precise and a little dry",
    avoid="clip art and handshakes",
)
PLATFORMS = {
    "instagram": "instagram_post",
    "facebook": "facebook_post",
    "twitter": "x_post",
    "linkedin": "linkedin_post",
    "pinterest": "pinterest_pin",
    "tiktok": "tiktok_video",
}

each = pytest.mark.parametrize("template", BUILTIN.values(), ids=lambda each: each.name)


def settings(argument: TemplateArgument) -> list[object]:
    """Absent (if it may be), every choice and worded suggestion, and text of its own."""
    absent = [] if argument.required else [None]
    if argument.type == "boolean":
        return [True, *absent]
    own = [] if argument.choices else [f"velvet {argument.name.replace('_', ' ')}"]
    worded = [value for value in argument.values if argument.wording[value] != value]
    return [*absent, *own, *(argument.choices or worded)]


def every_way(template: PromptTemplate) -> Iterator[dict[str, object]]:
    """Every subset of the optional arguments with every value that changes the wording."""
    names = [argument.name for argument in template.arguments]
    for values in itertools.product(*map(settings, template.arguments)):
        yield dict(zip(names, values, strict=True))


RULES = {
    "two spaces": r"  ",
    "space before punctuation": r"\s[,.;:!?)]",
    "doubled punctuation": r"[,;:][,.;:!?]|\.\.|[!?]\.",
    "space at an end of a line": r"(?m)^ | $",
    "three line ends": r"\n\n\n",
    "a stray value": r"\b(?:None|True|False|null)\b",
    "a dangling word": r"\b(?:with|in|of|by|from|and|or|the|an?|is|are|about|for)[.,;:]",
    "a small letter at the start": r"(?:^|[.!?]\s+|\n\n)[a-zà-ž]",
    "no full stop at the end": r"[^.]\Z|[^.]\n\n",
    "template syntax": r"[{}\[\]]",
    "a wrong article": r"(?i)\ban? (?=an? |the )|\ba (?=[aeio]\w)|\ban (?=[b-df-gj-np-tv-z]\w)",
    "a doubled word": r"\b(\w+) \1\b",
    "no space after punctuation": r"[,;!?][A-Za-z]",
}


@functools.lru_cache(maxsize=2_000)
def broken_rules(text: str) -> frozenset[str]:
    """The rules that a part of a prompt breaks; the next prompt has most of its parts, too."""
    return frozenset(name for name, pattern in RULES.items() if re.search(pattern, text))


def faults(text: str) -> list[str]:
    """The rules of clean prose a prompt breaks; none is about more than two paragraphs."""
    paragraphs = text.split("\n\n")
    pairs = ["\n\n".join(paragraphs[at : at + 2]) for at in range(max(1, len(paragraphs) - 1))]
    broken = sorted(frozenset[str]().union(*map(broken_rules, pairs)))
    balanced = text.count('"') % 2 == 0 and text.count("(") == text.count(")")
    return broken if balanced else [*broken, "unbalanced"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("A fox  runs.", "two spaces"),
        ("A fox , red.", "space before punctuation"),
        ("A fox,.", "doubled punctuation"),
        ("Purr?.", "doubled punctuation"),
        ("A fox.\n\n\nIt runs.", "three line ends"),
        ("A None fox.", "a stray value"),
        ("A fox with.", "a dangling word"),
        ("A fox. it runs.", "a small letter at the start"),
        ("A fox", "no full stop at the end"),
        ("A {fox}.", "template syntax"),
        ("Draw a orange fox.", "a wrong article"),
        ("Draw an fox.", "a wrong article"),
        ("A fox fox.", "a doubled word"),
        ("A fox,red.", "no space after punctuation"),
        ('A "fox.', "unbalanced"),
    ],
)
def test_rules_find_faults(text: str, fault: str) -> None:
    """The rules below are not blind: each finds the fault it is named after."""
    assert fault in faults(text)


def test_there_are_ten() -> None:
    """The ten names are the documented ones."""
    assert BUILTIN.names == (
        "artistic_style",
        "blog_header",
        "creative_image",
        "email_header",
        "hero_banner",
        "infographic",
        "og_image",
        "product_photography",
        "social_media_post",
        "thumbnail",
    )


@pytest.mark.parametrize(
    ("name", "takes"),
    [
        (
            "creative_image",
            "subject* style setting mood lighting color_palette composition",
        ),
        ("product_photography", "product* background lighting angle detail_focus"),
        (
            "artistic_style",
            "subject* artist_style medium era setting atmosphere technique",
        ),
        (
            "og_image",
            """title* brand_name background_style visual_elements text_layout color_scheme
            include_logo""",
        ),
        (
            "blog_header",
            "topic* style visual_metaphor mood lighting color_palette include_text_space",
        ),
        (
            "social_media_post",
            "platform* content_type* topic brand_style visual_elements color_scheme call_to_action",
        ),
        ("hero_banner", "website_type* industry message visual_style include_cta_space"),
        ("email_header", "newsletter_type* brand_name theme season layout"),
        ("thumbnail", "content_type* topic* style emotion include_text"),
        ("infographic", "data_type* topic* visual_approach color_count layout"),
    ],
)
def test_arguments(name: str, takes: str) -> None:
    """Each takes what is documented, in that order, with a star on what is required."""
    arguments = BUILTIN[name].arguments

    assert takes.split() == [f"{each.name}{'*' if each.required else ''}" for each in arguments]


@pytest.mark.parametrize(
    ("template", "argument", "choices"),
    [
        ("og_image", "background_style", "gradient solid pattern minimal tech"),
        ("og_image", "text_layout", "centered left-aligned split overlay"),
        ("og_image", "color_scheme", "professional vibrant monochrome brand-colors"),
        ("social_media_post", "platform", "instagram facebook twitter linkedin pinterest tiktok"),
        ("hero_banner", "website_type", "business portfolio e-commerce blog saas"),
        ("email_header", "season", "spring summer fall winter holiday"),
        ("email_header", "layout", "banner logo-focused text-heavy"),
        ("infographic", "data_type", "statistics process comparison timeline"),
    ],
)
def test_choices(template: str, argument: str, choices: str) -> None:
    """The choices are the documented ones."""
    assert choices.split() == list(BUILTIN[template].argument(argument).choices)


@pytest.mark.parametrize("brand", [None, BRAND], ids=["no brand", "brand"])
@each
def test_every_way_reads_cleanly(template: PromptTemplate, brand: Brand | None) -> None:
    """Every subset of optional arguments, with every choice: clean prose, legal length and size."""
    branded = PromptTemplates([template]).with_brand(brand)[template.name] if brand else template
    broken: list[tuple[list[str], dict[str, object], str]] = []
    recommended: set[tuple[Any, str | None]] = set()
    count = 0
    for arguments in every_way(branded):
        count += 1
        prompt = branded.render(arguments)
        text = prompt.text
        recommended.add((prompt.size, prompt.quality))
        if found := faults(text):
            broken.append((found, arguments, text))
        assert 300 < len(text) < 4_000

    assert broken[:1] == []
    assert {quality for _, quality in recommended} <= {"medium", "high"}
    assert None not in {Size.parse(size).dimensions for size, _ in recommended}
    optional = [each for each in branded.arguments if not each.required]
    assert count >= 2 ** len([each for each in optional if each.default in {None, False}])


@each
def test_every_argument_matters(template: PromptTemplate) -> None:
    """Each argument changes the prompt or its settings: none is accepted and ignored."""
    plain = {each.name: template.example[each.name] for each in template.arguments if each.required}
    for argument in template.arguments:
        seen = {
            (prompt.text, prompt.size, prompt.background)
            for value in [plain.get(argument.name), *settings(argument)]
            for prompt in [template.render({**plain, argument.name: value})]
        }

        assert len(seen) >= 2, argument.name


@each
def test_brand_reaches_the_prompt(template: PromptTemplate) -> None:
    """A brand's palette, tone and things to avoid are in every template's prompt."""
    plain = {each.name: template.example[each.name] for each in template.arguments if each.required}
    text = PromptTemplates([template]).with_brand(BRAND).render(template.name, **plain).text

    assert [
        word for word in (BRAND.palette, BRAND.tone, BRAND.avoid) if str(word) not in text
    ] == []


@each
def test_example_uses_the_template(template: PromptTemplate) -> None:
    """The example renders, and shows at least three arguments."""
    assert template.render(template.example).template == template.name
    assert len(template.example) >= 3


@each
def test_described(template: PromptTemplate) -> None:
    """Title, description and every argument's description are sentences for people."""
    described = [template.description, *(argument.description for argument in template.arguments)]

    assert [text for text in described if not re.fullmatch(r"[A-Z].*\.", text)] == []
    assert template.title[0].isupper()


@pytest.mark.parametrize(("platform", "preset"), PLATFORMS.items())
def test_platform_decides_the_size(platform: str, preset: str) -> None:
    """A post has the size its network recommends."""
    prompt = BUILTIN["social_media_post"](platform=platform, content_type="tip")

    assert PRESETS[preset] == Size.parse(prompt.size or "").dimensions


@pytest.mark.parametrize(
    ("name", "size"),
    [("og_image", "1200x630"), ("blog_header", "1200x400"), ("hero_banner", "1920x1080")],
)
def test_fixed_sizes(name: str, size: str) -> None:
    """Web images recommend the pixels their place needs."""
    assert size == BUILTIN[name].recommended_options().size


def test_transparent_product() -> None:
    """A transparent background is asked for in words and as a setting, in a format that has it."""
    prompt = BUILTIN["product_photography"](product="a mug", background="transparent")

    assert (prompt.background, prompt.format) == ("transparent", "png")
    assert "fully transparent background" in prompt.text


def test_call_to_action_may_be_switched_on() -> None:
    """True draws a button with usual words, text draws that text, false draws none."""
    post = BUILTIN["social_media_post"]
    plain = {"platform": "facebook", "content_type": "announcement"}

    assert '"Learn more"' in post.render({**plain, "call_to_action": True}).text
    assert '"Learn more"' in post.render({**plain, "call_to_action": "true"}).text
    assert '"Shop now"' in post.render({**plain, "call_to_action": "Shop now"}).text
    assert "button" not in post.render({**plain, "call_to_action": False}).text


def test_a_quote_is_drawn() -> None:
    """A quote's words stand in quotation marks, those of other posts do not."""
    post = BUILTIN["social_media_post"]

    assert (
        '"Less is more"'
        in post(platform="twitter", content_type="quote", topic="Less is more").text
    )
    assert (
        '"Less is more"'
        not in post(platform="twitter", content_type="tip", topic="Less is more").text
    )


texts = st.text(st.characters(exclude_categories=("Cs", "Zl", "Zp", "Cc")), min_size=1).map(
    str.strip
)


@given(text=texts.filter(lambda text: text and not text.endswith((".", "!", "?", "…"))))
@example("{subject} [mood] {if style} {end} {{ }}")
@example('a "quoted" word')
@example("$name ${name} {{name}} {% name %} %s \\1 \\g<0>")
def test_text_comes_through_literally(text: str) -> None:
    """Text of an argument stands in the prompt as it was given and changes nothing else."""
    template = BUILTIN["creative_image"]
    expected = template(subject="SUBJECT").text.replace("SUBJECT", text)

    assert expected == template(subject=text).text


@given(text=texts.filter(lambda text: text and len(text) <= 60))
@example('Say "hello" {title}')
@example("two\nlines")
def test_quoted_text_cannot_leave_its_quotes(text: str) -> None:
    """A title stays between its two straight quotation marks, on one line."""
    expected = BUILTIN["og_image"](title="TITLE").text
    got = BUILTIN["og_image"](title=text).text
    start, end = expected.split("TITLE")

    assert got.startswith(start)
    assert got.endswith(end)
    assert '"' not in got[len(start) : len(got) - len(end)]
    assert "\n" not in got[len(start) : len(got) - len(end)]


def test_quotation_marks_become_typographic() -> None:
    """Straight double quotes in a title turn into the typographic ones they stand for."""
    assert (
        'headline "Say “hello” to 5” tubes"'
        in BUILTIN["og_image"](title='Say "hello" to 5" tubes').text
    )


@pytest.mark.parametrize("end", [".", "!", "?", "…"])
def test_one_full_stop_is_enough(end: str) -> None:
    """Text that ends a sentence itself is not followed by the template's full stop."""
    text = BUILTIN["creative_image"](subject=f"a fox{end}").text

    assert text.startswith(f"Create one finished picture of a fox{end}\n\n")


def test_prompt_too_long_names_the_argument() -> None:
    """A prompt beyond what models accept is refused, naming the longest argument."""
    long = PromptTemplates([BUILTIN["creative_image"]]).with_brand(Brand(avoid="x" * 40_000))
    with pytest.raises(TemplateError, match=r"models accept 32,000; shorten brand\.avoid"):
        long.render("creative_image", subject="a fox")
