"""A set of templates behaves like a mapping, and its values can be inspected and shipped."""

from __future__ import annotations

import copy
import json
import pickle
from collections import ChainMap
from collections.abc import Mapping

import pytest

from gptimage.errors import TemplateError
from gptimage.templates import Brand, PromptTemplate, PromptTemplates, RecommendedOptions
from gptimage.types.request import Prompt


BUILTIN = PromptTemplates.builtin()


def test_mapping() -> None:
    """Names are sorted, and the usual ways to look work."""
    assert list(BUILTIN) == sorted(BUILTIN) == list(BUILTIN.names)
    assert len(BUILTIN) == 10
    assert "og_image" in BUILTIN
    assert "nothing" not in BUILTIN
    assert BUILTIN["og_image"].name == "og_image"
    assert BUILTIN.get("nothing") is None
    assert BUILTIN.get("nothing", 3) == 3
    assert BUILTIN.get("og_image", 3) is BUILTIN["og_image"]
    assert isinstance(BUILTIN, Mapping)
    assert dict(BUILTIN) == dict(BUILTIN.items())


@pytest.mark.parametrize("wrong", ["og-image", "OG_IMAGE", "og_imag"])
def test_unknown_name(wrong: str) -> None:
    """An unknown name is answered with the name that was meant and all there are."""
    with pytest.raises(TemplateError, match=r"did you mean 'og_image'\?") as caught:
        BUILTIN[wrong]

    assert caught.value.template == wrong
    assert caught.value.allowed == BUILTIN.names


def test_right_wins() -> None:
    """Of two sets joined with ``|`` the right one decides; neither changes."""
    branded = PromptTemplates([BUILTIN["og_image"]]).with_brand(Brand(name="Acme"))
    both = BUILTIN | branded

    assert both["og_image"].brand == Brand(name="Acme")
    assert (branded | BUILTIN)["og_image"].brand is None
    assert both.names == BUILTIN.names
    assert BUILTIN["og_image"].brand is None
    assert both.brand == Brand(name="Acme")


def test_only_templates_can_be_joined() -> None:
    """Joining with something else is a TypeError, as for other mappings."""
    with pytest.raises(TypeError):
        BUILTIN | {"x": 1}  # type: ignore[operator]  # what is tested


def test_builtin_never_changes() -> None:
    """There is nothing to reload in the built-in set."""
    assert not BUILTIN.changed()
    assert BUILTIN.reloaded() is BUILTIN


def test_calling_and_rendering_agree() -> None:
    """Keywords, a mapping, and the set's own ``render`` make the same prompt."""
    template = BUILTIN["og_image"]
    prompt = template(title="Launch day", include_logo=True)

    assert prompt == template.render({"title": "Launch day", "include_logo": True})
    assert prompt == BUILTIN.render("og_image", title="Launch day", include_logo="yes")
    assert str(prompt) == prompt.text
    assert (prompt.size, prompt.quality, prompt.template) == ("1200x630", "medium", "og_image")
    assert dict(prompt.arguments) == {
        "title": "Launch day",
        "background_style": "gradient",
        "text_layout": "centered",
        "include_logo": True,
    }


def test_recommended_without_complete_arguments() -> None:
    """Recommendations can be asked for before anything is rendered."""
    post = BUILTIN["social_media_post"]

    assert post.recommended_options() == RecommendedOptions(
        quality="medium", background="opaque", format="jpeg"
    )
    assert post.recommended_options(platform="TikTok").size == "1080x1920"
    assert post.recommendations["size"] == {
        "platform": {
            "instagram": "1080x1080",
            "facebook": "1200x630",
            "twitter": "1600x900",
            "linkedin": "1200x627",
            "pinterest": "1000x1500",
            "tiktok": "1080x1920",
        }
    }
    with pytest.raises(TemplateError, match="platform: 'myspace' is not allowed"):
        post.recommended_options(platform="myspace")


def test_argument_by_name() -> None:
    """One argument can be looked up, and its values offered for completion."""
    template = BUILTIN["og_image"]

    assert template.argument("text_layout").values == (
        "centered",
        "left-aligned",
        "split",
        "overlay",
    )
    assert template.argument("include_logo").values == ("true", "false")
    with pytest.raises(TemplateError, match=r"no argument 'tilte' \(did you mean 'title'\?\)"):
        template.argument("tilte")


def test_schema() -> None:
    """The schema of the arguments is JSON Schema 2020-12, as it should be."""
    schema = BUILTIN["email_header"].schema()

    assert schema == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Email header",
        "description": BUILTIN["email_header"].description,
        "type": "object",
        "properties": {
            "newsletter_type": {
                "type": "string",
                "description": "The kind of newsletter.",
                "minLength": 1,
                "maxLength": 80,
                "examples": ["business", "personal", "promotional", "educational"],
            },
            "brand_name": {
                "type": "string",
                "description": (
                    "The sender's name, drawn exactly as given; the brand's own name by default."
                ),
                "maxLength": 40,
            },
            "theme": {
                "type": "string",
                "description": "What this issue is about.",
                "maxLength": 300,
            },
            "season": {
                "type": "string",
                "description": "The time of year.",
                "enum": ["spring", "summer", "fall", "winter", "holiday"],
            },
            "layout": {
                "type": "string",
                "description": "How image, name and empty space are arranged.",
                "enum": ["banner", "logo-focused", "text-heavy"],
                "default": "banner",
            },
        },
        "required": ["newsletter_type"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize("template", BUILTIN.values(), ids=lambda each: each.name)
def test_described_in_json(template: PromptTemplate) -> None:
    """What others build on (forms, completions, MCP prompts) is plain JSON."""
    described = json.loads(json.dumps(template.describe()))

    assert described["name"] == template.name
    assert [each["name"] for each in described["arguments"]] == [
        each.name for each in template.arguments
    ]
    assert json.loads(json.dumps(template.schema()))["required"] == [
        each.name for each in template.arguments if each.required
    ]


def test_several_problems_of_a_call_at_once() -> None:
    """One error names everything wrong with a call."""
    with pytest.raises(TemplateError) as caught:
        BUILTIN["og_image"](titel="x", color_scheme="neon", include_logo="maybe")
    error = caught.value

    assert [problem.partition(":")[0].partition(" (")[0] for problem in error.problems] == [
        "there is no argument 'titel'",
        "title is required",
        "color_scheme",
        "include_logo",
    ]
    assert (error.template, error.argument) == ("og_image", "titel")
    assert "\n" not in str(error)


def test_too_long_says_how_much() -> None:
    """A title beyond its limit is refused with both numbers, without repeating it."""
    with pytest.raises(TemplateError, match="title: it has 61 characters and at most 60") as caught:
        BUILTIN["og_image"](title="x" * 61)

    assert caught.value.argument == "title"
    assert "xxx" not in str(caught.value)


def test_prompt_is_a_value() -> None:
    """A prompt can be compared, hashed, copied and pickled, and cannot be changed."""
    prompt = BUILTIN["og_image"](title="Launch day")

    assert prompt == pickle.loads(pickle.dumps(prompt))
    assert prompt == copy.deepcopy(prompt)
    assert hash(prompt) == hash(copy.copy(prompt))
    with pytest.raises(TypeError):
        prompt.arguments["title"] = "x"  # type: ignore[index]  # what is tested
    with pytest.raises(AttributeError):
        prompt.text = "x"  # type: ignore[misc]  # what is tested


def test_prompt_keeps_its_text_out_of_repr() -> None:
    """Logs that hold a repr hold no prompt."""
    prompt = Prompt("secret words", size="1:1", arguments={"title": "secret"})

    assert "secret" not in repr(prompt)
    assert "1:1" in repr(prompt)


def test_templates_can_be_pickled() -> None:
    """A set crosses a process pool whole."""
    again = pickle.loads(pickle.dumps(BUILTIN.with_brand(Brand(name="Acme"))))

    assert again.names == BUILTIN.names
    assert again.render("og_image", title="Hi") == BUILTIN.with_brand(Brand(name="Acme")).render(
        "og_image", title="Hi"
    )


def test_in_a_chain_map() -> None:
    """``in`` and ``get`` answer for names that are missing."""
    chain = ChainMap({"x": 1}, {"y": 2})

    assert chain.get("z") is None
    assert BUILTIN.get("z") is None
    assert "z" not in BUILTIN
