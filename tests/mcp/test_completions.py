"""Completions: ids, models, templates, their arguments and sizes, for whatever was typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from mcp_types import Completion, PromptReference, ResourceTemplateReference

from gptimage import Models, PromptTemplates
from gptimage_mcp.prompts import MOST
from tests.mcp.harness import PROTOCOLS
from tests.mcp.store_helpers import ResourceFixture, resource_fixture


_PICTURES = "generated-images://{image_id}"


@pytest.fixture
def here(tmp_path: Path) -> ResourceFixture:
    """An empty server with the built-in templates."""
    return resource_fixture(tmp_path)


def _address(
    here: ResourceFixture, uri: str, name: str, typed: str = "", protocol: str = "auto"
) -> Completion:
    ref, argument = ResourceTemplateReference(uri=uri), {"name": name, "value": typed}
    return here.ask(lambda client: client.complete(ref, argument), protocol).completion


def _prompt(here: ResourceFixture, template: str, name: str, typed: str = "") -> Completion:
    ref, argument = PromptReference(name=template), {"name": name, "value": typed}
    return here.ask(lambda client: client.complete(ref, argument)).completion


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("typed", ["", "i", "img", "img_", "img_2", " "])
def test_ids_are_completed_newest_first(here: ResourceFixture, typed: str, protocol: str) -> None:
    """Whoever has typed nothing, or the beginning of any id, sees the newest pictures."""
    ids = [here.save().id for _ in range(3)]

    assert _address(here, _PICTURES, "image_id", typed, protocol).values == ids[::-1]


def test_an_id_is_completed_from_its_beginning(here: ResourceFixture) -> None:
    """Only ids that begin as typed are offered."""
    first, _ = here.save().id, here.save().id

    assert _address(here, _PICTURES, "image_id", first[:30]).values == [first]


def test_words_find_the_pictures_they_describe(here: ResourceFixture) -> None:
    """Nobody remembers an id: words of the prompt, or a tag, complete to it."""
    fox = here.save("A red fox in the snow").id
    logo = here.save("A circle", tags=["logo"]).id

    assert _address(here, _PICTURES, "image_id", "red fox").values == [fox]
    assert _address(here, _PICTURES, "image_id", "logo").values == [logo]
    assert _address(here, _PICTURES, "image_id", "zebra").values == []


def test_no_answer_has_more_than_the_protocol_allows(here: ResourceFixture) -> None:
    """Of many pictures a hundred are offered, and that there are more is said."""
    for _ in range(MOST + 2):
        here.save()

    for typed in ("", "img_20", "lighthouse"):
        found = _address(here, _PICTURES, "image_id", typed)
        assert len(found.values) == MOST
        assert found.has_more is True


def test_models_are_completed(here: ResourceFixture) -> None:
    """Every model of the catalogue is offered, and fewer the more is typed."""
    every = [spec.id for spec in Models.load()]

    assert _address(here, "model-info://{model}", "model").values == every
    some = _address(here, "model-info://{model}", "model", "GPT-IMAGE-2.5").values
    assert Models.load().default in some
    assert all(each.startswith("gpt-image-2.5") for each in some)


def test_template_names_are_completed(here: ResourceFixture) -> None:
    """Names that begin as typed come before names that hold it."""
    names = _address(here, "prompt-templates://{name}", "name").values
    assert names == list(PromptTemplates.builtin().names)
    assert _address(here, "prompt-templates://{name}", "name", "i").values[0] == "infographic"


def test_parameters_of_the_history_are_completed(here: ResourceFixture) -> None:
    """Usual limits and spans are offered."""
    uri = "image-history://recent{?limit,days}"
    assert "20" in _address(here, uri, "limit", "2").values
    assert "7" in _address(here, uri, "days").values


def test_choices_and_suggestions_of_arguments_are_completed(here: ResourceFixture) -> None:
    """What a template's argument takes is offered; so are true and false."""
    assert _prompt(here, "infographic", "layout", "v").values[0] == "vertical"
    assert "friendly" in _prompt(here, "blog_header", "mood", "fri").values
    assert _prompt(here, "og_image", "include_logo").values == ["true", "false"]


def test_free_text_has_nothing_to_offer(here: ResourceFixture) -> None:
    """A title is the user's own; unknown templates and arguments have no values either."""
    assert _prompt(here, "og_image", "title", "x").values == []
    assert _prompt(here, "og_image", "nothing").values == []
    assert _prompt(here, "nothing", "title").values == []
    assert _address(here, "test://{thing}", "thing").values == []


def test_an_argument_named_like_a_parameter_means_it(tmp_path: Path) -> None:
    """In a user's template, a free ``size``, ``model`` or ``image_id`` completes as anywhere."""
    folder = tmp_path / "templates"
    folder.mkdir()
    arguments = "\n".join(f"[arguments.{each}]" for each in ("size", "model", "image_id", "name"))
    text = "Like {image_id}, {size}, {model}, {name}"
    (folder / "own.toml").write_text(f'title = "Own"\ntemplate = "[{text}]"\n{arguments}\n')
    here = resource_fixture(tmp_path, PromptTemplates.load(folder))
    record = here.save()

    assert "og_image" in _prompt(here, "own", "size", "og").values
    assert "16:9" in _prompt(here, "own", "size", "16").values
    assert Models.load().default in _prompt(here, "own", "model").values
    assert _prompt(here, "own", "image_id").values == [record.id]
    assert _prompt(here, "own", "name").values == []
