"""What users of the four older servers are used to: sizes, addresses, arguments, inputs, tools."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import TextResourceContents

import gptimage
from gptimage import Size
from gptimage_mcp.config.older_servers import replacements
from tests.mcp.harness import PROTOCOLS, ServerFixture, picture, result_json, server_fixture, text
from tests.mcp.http_helpers import serving
from tests.mcp.store_helpers import resource_fixture


CHEAP = {"size": "1024x1024", "quality": "low"}


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("square", (1024, 1024)),
        ("landscape", (1536, 1024)),
        ("portrait", (1024, 1536)),
        ("square_2k", (2048, 2048)),
        ("landscape_2k", (2048, 1152)),
        ("portrait_2k", (1152, 2048)),
    ],
)
def test_named_sizes_are_theirs(name: str, pixels: tuple[int, int]) -> None:
    """The aspect ratios of @napolab/gpt-image-mcp give the pixels they gave there."""
    assert Size.parse(name).dimensions == pixels


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("lines", [False, True])
def test_base64_needs_no_data_url(tmp_path: Path, form: str, lines: bool) -> None:
    """An image is recognised by its bytes, in one line or in many."""
    here = server_fixture(tmp_path)
    data = picture(form=form)
    written = base64.encodebytes(data).decode() if lines else base64.b64encode(data).decode()

    result_json(here.call("edit_image", prompt="Blue", images=[written], **CHEAP))

    (part,) = [each for each in here.sandbox.requests[-1].files if each.name.startswith("image")]
    assert part.data == data


def test_base64_of_something_else_is_refused(tmp_path: Path) -> None:
    """What only begins like an image never reaches the service."""
    here = server_fixture(tmp_path)
    written = base64.b64encode(picture()[:80]).decode()

    result = here.call("edit_image", prompt="Blue", images=[written], **CHEAP)

    assert result.is_error
    assert "images[0]" in text(result)
    assert here.sandbox.requests == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_addresses_of_their_resources_are_known(tmp_path: Path, protocol: str) -> None:
    """``image-history://recent/{limit}/{days}`` and ``models://list`` answer."""
    here = resource_fixture(tmp_path)
    for _ in range(3):
        here.save()

    usual = here.text("image-history://recent?limit=2&days=7", protocol)
    assert here.text("image-history://recent/2/7", protocol) == usual
    assert len(here.text("image-history://recent/2", protocol)["records"]) == 2
    models = here.text("models://list", protocol)["models"]
    assert here.text(f"model-info://{models[0]['id']}", protocol) == models[0]


@pytest.mark.parametrize(
    "uri",
    ["image-history://recent/two", "image-history://recent/2/7/9", "models://all"],
)
def test_addresses_nobody_had_are_refused(tmp_path: Path, uri: str) -> None:
    """What makes no sense is refused as before."""
    here = resource_fixture(tmp_path)

    here.refusal(lambda client: client.read_resource(uri))


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        (
            "hero_banner",
            {
                "website_type": "saas",
                "main_theme": "calm days",
                "hero_elements": "a sailing boat",
                "atmosphere": "misty",
            },
            ["calm days, shown with a sailing boat", "a misty atmosphere"],
        ),
        (
            "email_header",
            {
                "newsletter_type": "educational",
                "main_topic": "sowing tomatoes",
                "visual_style": "woodcut",
                "header_elements": "seed trays",
            },
            ["sowing tomatoes", "shown with seed trays", "in a woodcut style"],
        ),
        (
            "infographic",
            {"data_type": "process", "topic": "Tea", "chart_types": "flow charts"},
            ["with flow charts"],
        ),
        (
            "thumbnail",
            {"content_type": "tutorial", "topic": "Tea", "focal_element": "a cup"},
            ["with a cup as the focal point"],
        ),
        (
            "social_media",
            {"platform": "Instagram", "content_type": "promotional", "layout": "a grid"},
            ["arranged as a grid"],
        ),
    ],
)
def test_prompts_take_their_arguments(
    tmp_path: Path, name: str, arguments: dict[str, str], expected: list[str]
) -> None:
    """Arguments of lansespirit/image-gen-mcp that our templates have not reach the prompt."""
    here = resource_fixture(tmp_path)

    result = here.ask(lambda client: client.get_prompt(name, arguments))

    written: Any = result.messages[0].content
    assert [each for each in expected if each not in written.text] == []


def test_arguments_nobody_had_are_refused(tmp_path: Path) -> None:
    """An argument neither side knows is refused by name."""
    here = resource_fixture(tmp_path)

    error = here.refusal(
        lambda client: client.get_prompt("hero_banner", {"website_type": "saas", "mood": "calm"})
    )

    assert "mood" in error.message


# ------------------------------------------------------------------ tools


def test_their_tools_are_there_if_asked_for(tmp_path: Path) -> None:
    """Few need them and every model would read them: `full` has them, the usual set has not."""
    usual = server_fixture(tmp_path)
    full = server_fixture(tmp_path, share=usual, tools=("full",))

    def names(here: ServerFixture) -> set[str]:
        return {tool.name for tool in here.ask(lambda client: client.list_tools()).tools}

    assert names(full) - names(usual) == {
        "edit_each_image",
        "inspect_image",
        "manage_conversations",
        "set_alt_text",
    }


def test_each_image_is_edited_on_its_own(tmp_path: Path) -> None:
    """Several images become as many calls, with what became of each in their order."""
    here = server_fixture(tmp_path, tools=("full",))
    paths = [str(here.put(f"{color}.png", color=color)) for color in ("red", "teal", "navy")]

    found = result_json(here.call("edit_each_image", prompt="Snow", images=paths, **CHEAP))

    assert [each["source"] for each in found["results"]] == paths
    assert [each["status"] for each in found["results"]] == ["done"] * 3
    assert len(here.sandbox.requests) == 3
    images = [here.store.get(each["images"][0]) for each in found["results"]]
    sources = [gptimage.Image.open(path).sha256 for path in paths]
    assert [record.sources for record in images] == [(each,) for each in sources]


def test_one_bad_image_stops_all_before_any_is_paid(tmp_path: Path) -> None:
    """A name that leads nowhere is told with its place, and nothing is sent."""
    here = server_fixture(tmp_path, tools=("full",))
    good = str(here.put("good.png"))

    result = here.call("edit_each_image", prompt="Snow", images=[good, f"{good}.png"], **CHEAP)

    assert "images[1]" in text(result)
    assert here.sandbox.requests == []


def test_one_refusal_of_the_service_leaves_the_others(tmp_path: Path) -> None:
    """What the service refuses is told beside what it drew."""
    here = server_fixture(tmp_path, tools=("full",))
    paths = [str(here.put(f"{color}.png", color=color)) for color in ("red", "teal")]
    here.sandbox.fail_next("moderation")

    found = result_json(here.call("edit_each_image", prompt="Snow", images=paths, **CHEAP))

    assert sorted(each["status"] for each in found["results"]) == ["done", "failed"]
    (failed,) = [each for each in found["results"] if each["status"] == "failed"]
    assert "ModerationError" in failed["error"]


def test_the_limit_of_images_holds_for_them_together(tmp_path: Path) -> None:
    """As many images as one call may draw."""
    here = server_fixture(tmp_path, tools=("full",), max_images=1)
    paths = [str(here.put(f"{color}.png", color=color)) for color in ("red", "teal")]

    result = here.call("edit_each_image", prompt="Snow", images=paths, **CHEAP)

    assert "at most 1" in text(result)
    assert here.sandbox.requests == []


def test_conversations_are_listed_shown_and_forgotten(tmp_path: Path) -> None:
    """After forget the image begins a new conversation, and is still there."""
    here = server_fixture(tmp_path, tools=("full",))

    def manage(action: str, **arguments: Any) -> Any:
        return result_json(here.call("manage_conversations", action=action, **arguments))

    first = result_json(here.call("generate_image", prompt="A fox", **CHEAP))["images"][0]["id"]
    assert manage("list")["conversations"] == []
    last = first
    for words in ("warmer", "now at night"):
        turn = result_json(here.call("refine_image", prompt=words, image=last, **CHEAP))
        last = turn["images"][0]["id"]

    (found,) = manage("list")["conversations"]
    assert (found["id"], found["turns"]) == (last, 2)
    turns = manage("show", id=last)["turns"]
    assert [turn["images"][-1] for turn in turns][-1] == last
    assert turns[0]["parent"] == first
    assert last in manage("forget", id=last)["forgotten"]
    assert manage("list")["conversations"] == []
    result_json(here.call("refine_image", prompt="in snow", image=last, **CHEAP))
    assert "previous_response_id" not in here.sandbox.requests[-1].body
    assert here.store.get(last).id == last


def test_list_takes_no_image(tmp_path: Path) -> None:
    """All conversations are listed: an id that would have no effect is refused by name."""
    here = server_fixture(tmp_path, tools=("full",))

    result = here.call("manage_conversations", action="list", id="img_1")

    assert (result.is_error, "id belongs to action=show or forget" in text(result)) == (True, True)


def test_show_and_forget_need_an_image_of_a_conversation(tmp_path: Path) -> None:
    """Without one, or with another image, the refusal says what is taken."""
    here = server_fixture(tmp_path, tools=("full",))
    drawn = result_json(here.call("generate_image", prompt="A fox", **CHEAP))["images"][0]["id"]

    for arguments in ({}, {"id": drawn}, {"id": "resp_1"}):
        result = here.call("manage_conversations", action="forget", **arguments)
        assert result.is_error
        assert "conversation" in text(result)


# ------------------------------------------------------------------ the list of behaviours


PAGE = Path(__file__).parents[2] / "docs" / "migration" / "behaviours.md"
ROWS = re.findall(
    r"^\| (.+?) \| .+? \| `(.+?)` \| `(.+?)` \|$", PAGE.read_text("utf-8"), re.MULTILINE
)


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Return the function that makes the call of a row, on a server that has drawn already."""
    folder = tmp_path_factory.mktemp("older")
    here = server_fixture(folder, tools=("full",), transport="http", log_level="ERROR")
    first = result_json(here.call("generate_image", prompt="A lighthouse", **CHEAP))
    image = first["images"][0]["id"]
    turns = [
        result_json(here.call("refine_image", prompt="At night", image=image, **CHEAP))
        for image in (
            image,
            result_json(here.call("generate_image", prompt="A boat", **CHEAP))["images"][0]["id"],
        )
    ]
    names = {
        "image": image,
        "turn": turns[0]["images"][0]["id"],
        "other_turn": turns[1]["images"][0]["id"],
        "response": turns[0]["response_id"],
        "path": str(here.put("fox.png")),
        "mask": str(here.put("mask.png", mode="RGBA", color="#00000000")),
        "base64": base64.b64encode(picture()).decode(),
        "folder": str(folder / "out"),
    }
    with serving(here.server, here.app.settings) as site:

        def made(call: str) -> str:
            for name, value in names.items():
                call = call.replace(f"<{name}>", value)
            verb, _, rest = call.partition(" ")
            if verb == "GET":
                response = site.get(rest)
                return f"{response.status_code} {response.headers['content-type']}"
            if verb == "--check":
                return "\n".join(replacements(dict(each.split("=", 1) for each in rest.split())))
            return here.ask(partial(asked, verb=verb, rest=rest))

        yield made


async def asked(client: Client, verb: str, rest: str) -> str:
    """Return the text of a resource, a prompt or the result of a tool."""
    try:
        if verb == "read":
            (content,) = (await client.read_resource(rest)).contents
            return (
                content.text
                if isinstance(content, TextResourceContents)
                else str(content.mime_type)
            )
        if verb == "prompt":
            name, _, arguments = rest.partition(" ")
            message: Any = (await client.get_prompt(name, json.loads(arguments))).messages[0]
            return str(message.content.text)
        return text(await client.call_tool(verb, json.loads(rest or "{}")))
    except MCPError as error:
        return error.error.message


@pytest.mark.parametrize(("behaviour", "call", "expected"), ROWS)
def test_behaviours(there: Callable[[str], str], behaviour: str, call: str, expected: str) -> None:
    """What the page of behaviours says is done here is done, row by row."""
    shown = there(call)

    assert expected in shown, f"{behaviour}: {shown[:600]}"


def test_an_image_is_inspected_and_compared(tmp_path: Path) -> None:
    """A saved image is known as a model's by what is made of it; a file says what it says."""
    here = server_fixture(tmp_path, tools=("full",))
    teal, red = (str(here.put(f"{color}.png", color=color)) for color in ("teal", "red"))

    found = result_json(here.call("inspect_image", image=teal, other=red))
    alone = result_json(here.call("inspect_image", image=teal))
    assert alone["similar"] == []

    assert (found["provenance"]["ai_made"], found["image"]["format"]) == (False, "png")
    assert (found["difference"]["changed"], alone["difference"]) == (1, None)


def test_saved_images_that_look_alike_are_listed(tmp_path: Path) -> None:
    """A copy in another format is near, a saved image itself is left out, and other ones are."""
    here = server_fixture(tmp_path, tools=("full",))
    made = result_json(here.call("generate_image", prompt="A red fox", size="512x512"))
    first = made["images"][0]["id"]
    image = gptimage.Image.open(made["images"][0]["path"])
    copy = here.put("copy.jpg", image.thumbnail(200).convert("jpeg").data)

    near = result_json(here.call("inspect_image", image=str(copy), similar=5))["similar"]
    whole = result_json(here.call("inspect_image", image=first, similar=5))
    itself = whole["similar"]

    assert [each["id"] for each in near] == [first]
    assert near[0]["distance"] <= 4
    assert itself == []
    assert whole["unhashed"] == 0


def test_an_assistant_saves_the_text_of_an_image(tmp_path: Path) -> None:
    """It has looked at the image itself, so nothing is sent; get_image_info has the text."""
    here = server_fixture(tmp_path, tools=("full",))
    made = result_json(here.call("generate_image", prompt="A red fox", size="512x512"))
    id = made["images"][0]["id"]
    saved = result_json(here.call("set_alt_text", id=made["images"][0]["uri"], text="A\nfox"))
    info = result_json(here.call("get_image_info", id=id))
    wrong = text(here.call("set_alt_text", id="img_1", text="A fox"))

    assert saved == {"id": id, "alt": "A fox"}
    assert info["records"][0]["alt"] == "A fox"
    assert "img_1" in wrong
