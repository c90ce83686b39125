"""Images of a brand: a template or a call that names them is an edit with them, in order."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gptimage import Image, ImageClient, InvalidRequestError, TemplateError
from gptimage.cli.main import main
from gptimage.sandbox import Sandbox
from gptimage.templates import Brand, PromptTemplates, ReferenceImage
from gptimage.workers import Job
from tests.factories import picture


LOW: dict[str, Any] = {"size": "1024x1024", "quality": "low"}
BRAND = """
name = "Acme"
[images.logo]
file = "logo.png"
about = "Our logo; keep its shape and its colours."
[images.product]
file = "things/product.png"
about = "Our product, seen from the front."
"""
POSTER = """
template = "A poster for {title}."
images = ["product", "logo"]
[arguments.title]
required = true
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of one template, its brand and the brand's images."""
    place = tmp_path / "templates"
    (place / "things").mkdir(parents=True)
    (place / "logo.png").write_bytes(picture(64, 64, color="red"))
    (place / "things" / "product.png").write_bytes(picture(64, 64, color="blue"))
    (place / "brand.toml").write_text(BRAND, encoding="utf-8")
    (place / "poster.toml").write_text(POSTER, encoding="utf-8")
    return place


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(draw="plain")


@pytest.fixture
def client(sandbox: Sandbox, folder: Path) -> Iterator[ImageClient]:
    templates = PromptTemplates.load(folder)
    with ImageClient.sandbox(sandbox, templates=templates, cache=folder / "cache") as client:
        yield client


def sent(sandbox: Sandbox) -> list[bytes]:
    """The images of the last request, in order."""
    return [part.data for part in sandbox.requests[-1].files]


TOLD = """A poster for Launch.

Reference images, to be used as each of them says:
Image 1 (product): Our product, seen from the front.
Image 2 (logo): Our logo; keep its shape and its colours."""


def test_a_template_with_images_is_an_edit(client: ImageClient, sandbox: Sandbox) -> None:
    """Their files go in the order the template names them, with their sentences in the prompt."""
    result = client.generate(client.render("poster", title="Launch"), **LOW)

    assert sandbox.requests[-1].path == "/images/edits"
    assert sandbox.requests[-1].body["prompt"] == TOLD
    assert sent(sandbox) == [picture(64, 64, color="blue"), picture(64, 64, color="red")]
    assert (result.request.operation, result.request.template) == ("edit", "poster")


def test_images_of_the_call_come_first(client: ImageClient, sandbox: Sandbox) -> None:
    """A mask belongs to the first of them; the sentences count on."""
    own = picture(64, 64, color="green")

    client.edit(client.render("poster", title="Launch"), [own], **LOW)

    assert "Image 2 (product)" in str(sandbox.requests[-1].body["prompt"])
    assert sent(sandbox)[0] == own
    assert len(sent(sandbox)) == 3


def test_a_call_names_images_of_the_brand(folder: Path, sandbox: Sandbox) -> None:
    """Without a template, the brand makes the prompt."""
    brand = PromptTemplates.load(folder).brand
    assert brand is not None

    with ImageClient.sandbox(sandbox) as client:
        client.generate(brand.prompt("A mug", "logo"), **LOW)

    assert sent(sandbox) == [picture(64, 64, color="red")]


def test_an_image_that_changed_is_drawn_anew(
    client: ImageClient, sandbox: Sandbox, folder: Path
) -> None:
    """The cache key has the digest of each file."""
    prompt = client.render("poster", title="Launch")
    first, second = (client.generate(prompt, **LOW) for _ in range(2))
    (folder / "logo.png").write_bytes(picture(64, 64, color="green"))
    third = client.generate(prompt, **LOW)

    assert [each.cached for each in (first, second, third)] == [False, True, False]


def test_the_cost_of_the_images_is_said_before(client: ImageClient, sandbox: Sandbox) -> None:
    """The estimate counts what is read of them; nothing is sent for it."""
    prompt = client.render("poster", title="Launch")

    found, plain = client.estimate(prompt, **LOW), client.estimate(prompt.text, **LOW)

    assert found is not None
    assert plain is not None
    assert found.input_tokens > plain.input_tokens
    assert found.usd > plain.usd
    assert sandbox.requests == []


def test_more_than_sixteen_are_refused(client: ImageClient, sandbox: Sandbox) -> None:
    """Before anything is sent, with both numbers."""
    prompt = client.render("poster", title="Launch")

    with pytest.raises(InvalidRequestError, match=r"2 reference images .* 15 of the call are 17"):
        client.edit(prompt, [picture(64, 64)] * 15, **LOW)
    assert sandbox.requests == []


def test_a_conversation_and_many_send_them_too(client: ImageClient, sandbox: Sandbox) -> None:
    """Wherever a prompt goes, its images go with it."""
    prompt = client.render("poster", title="Launch")

    (item,) = client.generate_many([prompt], **LOW)
    assert item.result is not None
    assert len(sent(sandbox)) == 2
    client.conversation().send(prompt, **LOW)
    (message,) = sandbox.requests[-1].body["input"]  # type: ignore[misc]  # the body is JSON
    kinds = [part["type"] for part in message["content"]]
    assert kinds == ["input_text", "input_image", "input_image"]
    assert message["content"][0]["text"] == TOLD


def test_what_cannot_send_them_says_so(client: ImageClient) -> None:
    """A job of a worker elsewhere has no such files."""
    with pytest.raises(InvalidRequestError, match="reference images"):
        Job.of("launch", client.render("poster", title="Launch"))


def test_a_file_that_went_away_is_named(client: ImageClient, folder: Path) -> None:
    """It may be removed after the templates were loaded."""
    prompt = client.render("poster", title="Launch")
    (folder / "logo.png").unlink()

    with pytest.raises(InvalidRequestError, match=r"images\.logo"):
        client.generate(prompt, **LOW)


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ("../secret.png", "lies outside"),
        ("/etc/hostname", "lies outside"),
        ("link.png", "lies outside"),
        ("none.png", "is not there"),
        ("things", "is not there"),
        ("a\\u0000.png", "is no name of a file"),
        ("x" * 5000, "is no name of a file"),
    ],
)
def test_only_files_of_the_folder_are_read(folder: Path, file: str, problem: str) -> None:
    """A folder of templates may be somebody else's: nothing beside it is uploaded for it."""
    (folder.parent / "secret.png").write_bytes(picture(64, 64))
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    text = f'[images.logo]\nfile = "{file}"\nabout = "A logo."\n'
    (folder / "brand.toml").write_text(text, encoding="utf-8")
    (folder / "poster.toml").unlink()

    with pytest.raises(TemplateError, match=problem):
        PromptTemplates.load(folder)


@pytest.mark.parametrize(
    ("brand", "template", "problem"),
    [
        ("", 'images = ["logo"]', "there is no image 'logo'; brand.toml has none"),
        (BRAND, 'images = ["logi"]', r"did you mean 'logo'"),
        (BRAND, 'images = "logo"', "a list of names"),
        (BRAND, 'images = ["logo", "logo"]', "named twice"),
        ("[images.logo]\nfile = 'logo.png'", "", "needs file"),
        ("[images.Logo]\nfile = 'logo.png'\nabout = 'A logo.'", "", "cannot be a name"),
        ("[images.logo]\nfile = 'logo.png'\nabout = 'x'\nsize = 3", "", "unknown key 'size'"),
    ],
)
def test_what_is_wrong_is_found_when_it_is_loaded(
    folder: Path, brand: str, template: str, problem: str
) -> None:
    """With every other problem of the folder."""
    (folder / "brand.toml").write_text(brand, encoding="utf-8")
    text = f'{template}\ntemplate = "A poster."'
    (folder / "poster.toml").write_text(text, encoding="utf-8")

    with pytest.raises(TemplateError, match=problem):
        PromptTemplates.load(folder)


def test_another_brand_must_have_the_images(folder: Path) -> None:
    """What a template needs is not dropped in silence."""
    templates = PromptTemplates.load(folder).with_brand(Brand(name="Other"))

    with pytest.raises(TemplateError, match="there is no image 'product'"):
        templates.render("poster", title="Launch")


def test_a_prompt_with_images_is_pickled_whole(folder: Path) -> None:
    """As other prompts are."""
    prompt = PromptTemplates.load(folder).render("poster", title="Launch")

    assert pickle.loads(pickle.dumps(prompt)) == prompt
    assert all(isinstance(each, ReferenceImage) for each in prompt.images)


def test_the_command_line_names_them(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--brand-image`` for a prompt; a template brings its own, and shows them."""
    output = tmp_path / "mug.png"
    words = ["generate", "A mug", "--templates", str(folder), "--brand-image", "logo", "--sandbox"]
    off = ["--store", "off", "--ledger", "off"]

    assert main([*words, *off, "--quality", "low", "--size", "1024x1024", "-o", str(output)]) == 0
    assert Image.from_path(output).size == (1024, 1024)
    assert main(["generate", "A mug", "--brand-image", "logo", "--sandbox", *off]) == 2
    assert "needs a brand.toml" in capsys.readouterr().err
    capsys.readouterr()
    assert main(["templates", "render", "poster", "title=Launch", "--folder", str(folder)]) == 0
    assert "logo.png (logo: Our logo" in capsys.readouterr().out
