"""Prompts: every template, its arguments, and a text that tells the assistant what to call."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from mcp.server.mcpserver.prompts import Prompt as RegisteredPrompt
from mcp.server.subscriptions import PromptsListChanged, ResourceUpdated, ServerEvent
from mcp_types import INVALID_PARAMS, TextContent

from gptimage import PromptTemplates
from tests.mcp.harness import PROTOCOLS
from tests.mcp.store_helpers import ResourceFixture, resource_fixture


_OWN = """\
title = "Menu card"
description = "A card for today's dish."
template = "A menu card for {dish}."

[arguments.dish]
required = true
max_length = 40
description = "What is served."

[recommended]
size = "1080x1350"
"""


@pytest.fixture
def here(tmp_path: Path) -> ResourceFixture:
    """A server with the built-in templates."""
    return resource_fixture(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one template of the user's own."""
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "menu.toml").write_text(_OWN)
    return folder


def _both(tmp_path: Path, folder: Path) -> ResourceFixture:
    return resource_fixture(tmp_path, PromptTemplates.builtin() | PromptTemplates.load(folder))


def _said(
    here: ResourceFixture, name: str, arguments: dict[str, str], protocol: str = "auto"
) -> str:
    result = here.ask(lambda client: client.get_prompt(name, arguments), protocol)
    (message,) = result.messages
    assert message.role == "user"
    assert isinstance(message.content, TextContent)
    return message.content.text


def _asked(text: str) -> dict[str, str]:
    """The arguments the assistant is told to give."""
    arguments: dict[str, str] = json.loads(text[text.index("{") :])
    return arguments


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_template_is_a_prompt(here: ResourceFixture, protocol: str) -> None:
    """Names, titles, descriptions and arguments are the templates' own."""
    prompts = here.ask(lambda client: client.list_prompts(), protocol).prompts

    builtin = PromptTemplates.builtin()
    assert [each.name for each in prompts] == list(builtin.names)
    for prompt, template in zip(prompts, builtin.values(), strict=True):
        assert (prompt.title, prompt.description) == (template.title, template.description)
        assert [(each.name, each.required) for each in prompt.arguments or ()] == [
            (each.name, each.required) for each in template.arguments
        ]


def test_the_description_of_an_argument_says_what_it_takes(here: ResourceFixture) -> None:
    """Choices, limits, defaults and yes-or-no are told, as prompts have no schema."""
    prompts = here.ask(lambda client: client.list_prompts()).prompts
    about = {
        (prompt.name, each.name): each.description or ""
        for prompt in prompts
        for each in prompt.arguments or ()
    }

    assert "At most" in about["og_image", "title"]
    assert "One of: vertical, horizontal" in about["infographic", "layout"]
    assert "Such as: professional, friendly" in about["blog_header", "mood"]
    assert "true or false." in about["og_image", "include_logo"]
    assert "by default." in about["infographic", "layout"]
    assert all(text.strip() for text in about.values())


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", PromptTemplates.builtin().names)
def test_a_prompt_tells_what_to_call_with_what(
    here: ResourceFixture, name: str, protocol: str
) -> None:
    """The text names the tool, the rendered prompt word for word, and the recommended settings."""
    template = PromptTemplates.builtin()[name]
    arguments = {key: str(value) for key, value in template.example.items()}

    text = _said(here, name, arguments, protocol)

    assert "generate_image" in text
    rendered = template.render(arguments)
    settings = ("size", "quality", "background", "format")
    assert _asked(text) == {
        "prompt": rendered.text,
        **{key: value for key in settings if (value := getattr(rendered, key)) is not None},
    }


def test_an_argument_left_empty_is_not_given(here: ResourceFixture) -> None:
    """Clients that send empty text for a field left blank get the same as those that do not."""
    with_blank = _said(
        here, "og_image", {"title": "Launch day", "brand_name": "", "color_scheme": " "}
    )

    assert with_blank == _said(here, "og_image", {"title": "Launch day"})


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("arguments", "argument", "problem"),
    [
        ({}, "title", "title is required"),
        ({"title": "x" * 1000}, "title", "title: it has 1000 characters"),
        ({"title": "Hi", "colour": "red"}, "colour", "there is no argument 'colour'"),
        ({"title": "Hi", "include_logo": "perhaps"}, "include_logo", "neither true nor false"),
    ],
)
def test_a_wrong_argument_is_named(
    here: ResourceFixture, arguments: dict[str, str], argument: str, problem: str, protocol: str
) -> None:
    """The error has the protocol's code for wrong parameters, the name, and what is wrong."""
    error = here.refusal(lambda client: client.get_prompt("og_image", arguments), protocol)

    assert error.code == INVALID_PARAMS
    assert problem in error.message
    assert error.data["argument"] == argument
    assert error.data["template"] == "og_image"


def test_every_problem_is_told_at_once(here: ResourceFixture) -> None:
    """Two wrong arguments are two problems of one error."""
    error = here.refusal(lambda client: client.get_prompt("og_image", {"colour": "red"}))

    assert len(error.data["problems"]) == 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_unknown_prompt_is_told_what_was_meant(here: ResourceFixture, protocol: str) -> None:
    """A name that is nearly right is answered with the right one."""
    error = here.refusal(lambda client: client.get_prompt("og-image", {"title": "Hi"}), protocol)

    assert error.code == INVALID_PARAMS
    assert "did you mean 'og_image'" in error.message


def test_prompts_registered_with_the_sdk_are_served_too(here: ResourceFixture) -> None:
    """What another part registers in the ordinary way comes first and is rendered by the SDK."""

    def greet() -> str:
        """Say hello."""
        return "Say hello."

    here.server.add_prompt(RegisteredPrompt.from_function(greet))

    assert here.ask(lambda client: client.list_prompts()).prompts[0].name == "greet"
    assert _said(here, "greet", {}) == "Say hello."


def test_templates_of_a_folder_are_prompts(tmp_path: Path, folder: Path) -> None:
    """The user's own templates stand beside those built in."""
    here = _both(tmp_path, folder)

    names = [each.name for each in here.ask(lambda client: client.list_prompts()).prompts]

    assert {"menu", "og_image"} <= set(names)
    assert _asked(_said(here, "menu", {"dish": "soup"})) == {
        "prompt": "A menu card for soup.",
        "size": "1080x1350",
    }


def test_a_changed_folder_is_read_again_and_told_once(tmp_path: Path, folder: Path) -> None:
    """A template added while the server runs is there at once, and subscribers hear of it."""
    here, events = _both(tmp_path, folder), list[ServerEvent]()
    here.app.subscriptions.subscribe(events.append)

    (folder / "poster.toml").write_text(_OWN.replace("Menu", "Poster"))
    for _ in range(2):
        names = [each.name for each in here.ask(lambda client: client.list_prompts()).prompts]
        assert "poster" in names

    assert events == [PromptsListChanged(), ResourceUpdated(uri="prompt-templates://list")]


def test_a_folder_that_breaks_keeps_serving_what_it_had(
    tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A mistake in a file is told once in the log and in the list; the last good set serves on."""
    here = _both(tmp_path, folder)
    (folder / "menu.toml").write_text("title = ")

    for _ in range(2):
        assert "soup" in _said(here, "menu", {"dish": "soup"})
    assert "menu.toml" in here.text("prompt-templates://list")["problem"]
    assert len([each for each in caplog.records if each.name == "gptimage_mcp.app"]) == 1

    (folder / "menu.toml").write_text(_OWN.replace("A menu card", "A hand-written card"))
    os.utime(folder / "menu.toml", ns=(1, 1))
    assert "hand-written" in _said(here, "menu", {"dish": "soup"})
    assert here.text("prompt-templates://list")["problem"] is None


def test_a_template_with_images_tells_to_edit_them(tmp_path: Path, folder: Path) -> None:
    """The assistant is told the files in order, and which tool takes them."""
    (folder / "logo.png").write_bytes(b"not read here")
    brand = '[images.logo]\nfile = "logo.png"\nabout = "Our logo; keep its shape."\n'
    (folder / "brand.toml").write_text(brand)
    (folder / "mug.toml").write_text('template = "A mug."\nimages = ["logo"]\n')

    words = _said(_both(tmp_path, folder), "mug", {})

    assert "edit_image tool" in words
    arguments = json.loads(words[words.index("{") :])
    assert arguments["images"] == [str((folder / "logo.png").resolve())]
    assert arguments["prompt"].endswith("Image 1 (logo): Our logo; keep its shape.")
