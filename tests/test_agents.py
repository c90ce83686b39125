"""The tools for agents are plain functions: typed, described, and never raising what costs."""

from __future__ import annotations

import asyncio
import inspect
import json
from pathlib import Path
from typing import Any

import pytest

import gptimage
from gptimage import AsyncImageClient, Budget, ConfigurationError, Image, ImageClient, Retry
from gptimage.agents import ToolOutput, image_tools
from gptimage.image import Folders
from gptimage.sandbox import Sandbox
from gptimage.store import Store
from tests.factories import picture


SMALL = {"size": "1024x1024", "quality": "low"}
RED = "data:image/png;base64," + Image.from_bytes(picture(64, 64)).base64


@pytest.fixture
def sandbox() -> Sandbox:
    """A sandbox that draws quickly."""
    return Sandbox(draw="plain")


@pytest.fixture
def client(sandbox: Sandbox, tmp_path: Path) -> ImageClient:
    """A client with a store."""
    return ImageClient.sandbox(sandbox, store=tmp_path / "store", retry=Retry(attempts=1))


def drawn(client: ImageClient, prompt: str = "A red fox") -> gptimage.Record:
    """The record of a new image."""
    return client.generate(prompt, **SMALL).stored[0]  # type: ignore[arg-type]  # a plain dict


def test_names_are_those_of_the_server(client: ImageClient) -> None:
    """A tool has the name that the MCP server's tool for the same thing has."""
    catalogue = Path(gptimage.__file__).parents[1] / "gptimage_mcp" / "tools.json"
    found = json.loads(catalogue.read_text(encoding="utf-8"))
    listed = {each["name"] for each in (found if isinstance(found, list) else found["tools"])}

    names = [each.__name__ for each in image_tools(client)]
    assert names == ["generate_image", "edit_image", "view_image", "list_images"]
    assert set(names) <= listed


@pytest.mark.parametrize("number", range(4))
def test_schemas_can_be_made(client: ImageClient, number: int) -> None:
    """Each parameter has a type that is no text, a default or none, and a line in the docstring."""
    tool = image_tools(client)[number]
    found = inspect.signature(tool)

    assert found.return_annotation is str
    assert tool.__doc__ is not None
    for name, parameter in found.parameters.items():
        assert not isinstance(parameter.annotation, str)
        assert f"\n    {name}: " in tool.__doc__


def test_an_image_is_drawn(client: ImageClient) -> None:
    """The text names id, file and cost; the preview is small, and the result has every byte."""
    output = image_tools(client).generate_image("A red fox", "1024x1024", quality="low")

    (record,) = client.store.history() if client.store else ()
    assert str(output) == (
        f"Drew 1 image for {record.cost}.\n{record.id} (1024x1024 png, {record.path})"
    )
    assert [max(each.size or ()) for each in output.previews] == [768]
    assert output.result is not None
    assert output.result.image.sha256 == record.sha256


def test_coroutine_functions_do_the_same(sandbox: Sandbox, tmp_path: Path) -> None:
    """The tools of an async client are awaited, and what they return is made by `convert`."""

    async def run() -> tuple[bool, int, str]:
        async with AsyncImageClient.sandbox(sandbox, store=tmp_path) as client:
            tools = image_tools(client, convert=lambda output: (len(output.previews), str(output)))
            number, text = await tools.generate_image("A red fox", **SMALL)
            return inspect.iscoroutinefunction(tools.generate_image), number, text

    is_async, number, text = asyncio.run(run())
    assert (is_async, number, text[:12]) == (True, 1, "Drew 1 image")


def test_what_the_model_leaves_open_is_the_program_s(client: ImageClient, sandbox: Sandbox) -> None:
    """An option is sent where the model says auto, and the model's own words come first."""
    tools = image_tools(client, quality="low", size="1024x1024", moderation="low")
    tools.generate_image("A red fox")
    tools.generate_image("A red fox", quality="medium")

    sent = [
        {name: request.body[name] for name in ("quality", "size", "moderation")}
        for request in sandbox.requests
    ]
    assert sent == [
        {"quality": "low", "size": "1024x1024", "moderation": "low"},
        {"quality": "medium", "size": "1024x1024", "moderation": "low"},
    ]


def test_what_has_no_effect_is_refused(client: ImageClient) -> None:
    """An option that no call has, and a client that saves nothing, are refused at once."""
    with pytest.raises(ConfigurationError, match=r"qualty.*quality"):
        image_tools(client, qualty="low")  # type: ignore[call-overload]  # what is tried
    with pytest.raises(ConfigurationError, match="store"):
        image_tools(ImageClient.sandbox())


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("A hen [sandbox:cut]", "It may have been billed, up to $0."),
        ("A hen [sandbox:server]", "It may have been billed, an amount that is not known. Do NOT"),
        ("A hen [sandbox:moderation]", "Nothing was billed. Rephrase the prompt"),
        ("A hen [sandbox:rate_limit]", "Nothing was billed. Wait "),
        ("A hen [sandbox:unauthorized]", "Nothing was billed. Calling again will not help"),
        ("", "Nothing was billed. Correct the call"),
    ],
)
def test_errors_are_texts(client: ImageClient, prompt: str, says: str) -> None:
    """No error of a call reaches the framework, which might call again: the model reads it."""
    output = image_tools(client).generate_image(prompt, **SMALL)

    assert says in output
    assert isinstance(output.error, gptimage.GptImageError)
    assert output.result is None


def test_a_budget_is_for_the_person(sandbox: Sandbox, tmp_path: Path) -> None:
    """A call that the budget refuses costs nothing, and says what would fit."""
    client = ImageClient.sandbox(sandbox, store=tmp_path, budget=Budget("0.001", per="call"))
    output = image_tools(client).generate_image("A red fox", **SMALL)

    assert "Nothing was billed. Ask for a lower quality or a smaller size" in output
    assert sandbox.requests == []


def test_paid_images_that_cannot_be_saved_are_not_asked_for_again(
    client: ImageClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output carries them, and says where copies are."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    assert client.store is not None
    monkeypatch.setattr(type(client.store), "save", full)
    output = image_tools(client).generate_image("A red fox", **SMALL)

    assert "Do NOT call again: it is paid" in output
    assert output.result is not None
    assert [max(each.size or ()) for each in output.previews] == [768]


def test_unforeseen_errors_may_have_been_billed(
    client: ImageClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong while drawing, the model is not told that it may call again."""

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(client, "generate", broken)
    output = image_tools(client).generate_image("A red fox")

    assert "The tool failed (RuntimeError).\nIt may have been billed" in output
    assert "secret" not in output


@pytest.mark.parametrize("arguments", [{}, {"prompt": "A fox", "seed": 3}])
def test_wrong_arguments_send_nothing(client: ImageClient, arguments: dict[str, Any]) -> None:
    """A call that does not fit the schema is corrected by the model."""
    output = image_tools(client).generate_image(**arguments)

    assert "Nothing was billed. Correct the call." in output


def test_images_are_edited(client: ImageClient, tmp_path: Path) -> None:
    """An id, a data URL, one that is no list, and files in a folder that is allowed."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "red.png").write_bytes(picture(64, 64))
    tools = image_tools(client, folders=Folders(tmp_path / "in"), **SMALL)  # type: ignore[arg-type]  # a plain dict

    for images in ([drawn(client).id, RED], RED, ["red.png"]):
        assert "Drew 1 image" in tools.edit_image("At night", images)


@pytest.mark.parametrize(
    "images", [["/etc/hostname"], ["~/.ssh/id_rsa"], 3, [], ["img_2026"], ["http://127.0.0.1/a"]]
)
def test_no_other_file_is_read(client: ImageClient, sandbox: Sandbox, images: Any) -> None:
    """A path, an address of this machine, or no image at all: nothing is read and nothing sent."""
    output = image_tools(client).edit_image("At night", images)

    assert "Nothing was billed. Correct the call" in output
    assert sandbox.requests == []


def test_saved_images_are_found_and_shown(client: ImageClient) -> None:
    """Words find images; an id shows one with what made it."""
    fox, hare = drawn(client), drawn(client, "A hare\nat dusk")
    tools = image_tools(client)

    lines = [f"{each.id} (1024x1024 png, {each.path}): " for each in (hare, fox)]
    assert tools.list_images() == f"{lines[0]}A hare at dusk\n{lines[1]}A red fox"
    assert tools.list_images("fox") == f"{lines[1]}A red fox"
    assert tools.list_images("", 1).splitlines()[1:] == ["There are more: name more words."]
    assert tools.list_images("zebra") == "There is no such image."
    shown = tools.view_image(fox.id)
    assert shown.splitlines()[1:] == [
        f"generate by {fox.model}: A red fox",
        f"Its call cost {fox.cost}.",
    ]
    assert len(shown.previews) == 1
    assert "Nothing was billed. Correct the call" in tools.view_image("img_2026")


def test_a_store_that_cannot_be_read_costs_nothing(client: ImageClient) -> None:
    """Looking is free, also when it fails."""
    assert isinstance(client.store, Store)
    client.store.get = lambda _: 1 / 0  # type: ignore[assignment, method-assign]  # what is tried
    output = image_tools(client).view_image("img_2026")

    assert isinstance(output, ToolOutput)
    assert output == (
        "The tool failed (ZeroDivisionError).\nNothing was billed. Calling again will not help: "
        "tell the person."
    )
