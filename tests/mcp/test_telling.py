"""The tools that tell: costs, models, how the server is, the cache; and `delete_image`."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from attrs import evolve
from mcp import Client
from mcp.server.subscriptions import ResourceUpdated
from mcp_types import ListToolsResult

import gptimage
from gptimage_mcp.assets import icons
from gptimage_mcp.config.settings import CORE, TOOLS
from gptimage_mcp.content.sanitize import strip_invisible
from tests.mcp.harness import PROTOCOLS, server_fixture
from tests.mcp.resource_helpers import BrowseFixture, browse_fixture, picture, text_of


KEY = "sk-proj-abcdefghijklmnop1234"


@pytest.fixture
def here(tmp_path: Path) -> BrowseFixture:
    """An empty server."""
    return browse_fixture(tmp_path)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_estimate(here: BrowseFixture, protocol: str) -> None:
    """It is the client's estimate and maximum, called an estimate, and nothing is sent."""
    told = here.told(
        "estimate_cost", protocol, prompt="A red fox", size="1024x1024", quality="low", n=2
    )

    with gptimage.ImageClient.sandbox() as client:
        estimate = client.estimate("A red fox", size="1024x1024", quality="low", n=2)
        max_cost = client.max_cost("A red fox", size="1024x1024", quality="low", n=2)
    assert estimate
    assert told["estimate"] is True
    assert Decimal(told["usd"]) == estimate.usd
    assert Decimal(told["max_cost_usd"]) == max_cost
    assert told["output_tokens"] == estimate.output_tokens
    assert told["model"] == "gpt-image-2.5-flare"
    assert here.sandbox.requests == []


@pytest.mark.parametrize("tool", ["generate_image", "edit_image", "refine_image"])
def test_an_estimate_where_every_parameter_is_required(here: BrowseFixture, tool: str) -> None:
    """Strict converters have the model fill every property of an object; empty ones say nothing."""
    (record,) = here.save(picture((1024, 1024)))
    needed: dict[str, dict[str, Any]] = {
        "generate_image": {},
        "edit_image": {"images": [record.id]},
        "refine_image": {"image": record.id},
    }
    of_tool = needed[tool]
    chosen = {"prompt": "A red fox", "size": "1024x1024", "quality": "low"}
    (tools,) = [
        each
        for each in here.ask(lambda client: client.list_tools()).tools
        if each.name == "estimate_cost"
    ]
    empty: dict[str, Any] = {"string": "", "array": [], "integer": 1}
    properties = tools.input_schema["properties"]["arguments"]["properties"]
    filled = {name: empty[each["type"]] for name, each in properties.items()}

    told = here.told("estimate_cost", tool=tool, arguments={**filled, **chosen, **of_tool})

    plain = here.told("estimate_cost", tool=tool, arguments={**chosen, **of_tool})
    assert told == plain


def test_an_estimate_leaves_out_what_a_call_leaves_out(here: BrowseFixture) -> None:
    """What says nothing is not given, also in the object of rare parameters of another object."""
    chosen = {"prompt": "A red fox", "size": "1024x1024", "quality": "low"}
    advanced = {"moderation": "", "compression": None, "partial_images": 2}

    told = here.told("estimate_cost", arguments={**chosen, "advanced": advanced})

    assert told == here.told("estimate_cost", **chosen, partial_images=2)


def test_an_estimate_that_cannot_be_made_is_null(here: BrowseFixture) -> None:
    """Nothing is guessed for an automatic quality; the most it should cost is still known."""
    told = here.told("estimate_cost", prompt="A red fox", size="1024x1024")

    assert told["usd"] is None
    assert Decimal(told["max_cost_usd"]) > 0
    assert "quality" in told["notes"][0]


def test_estimate_of_an_edit(here: BrowseFixture) -> None:
    """Input pictures count: by id, with a mask as a box."""
    (record,) = here.save(picture((1024, 1024)))
    chosen = {"prompt": "A red fox", "size": "1024x1024", "quality": "low"}

    new = here.told("estimate_cost", **chosen)
    edit = here.told("estimate_cost", images=[record.id], mask_box=[0, 0, 64, 64], **chosen)

    assert edit["input_tokens"] > new["input_tokens"]
    assert Decimal(edit["usd"]) > Decimal(new["usd"])


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"size": "17x99999"}, "size"),
        ({"model": "dall-e-3"}, "model"),
        ({"n": 11}, "n"),
        ({"n": 3}, "n"),
        ({"images": ["/etc/passwd"]}, "images"),
        ({"mask_box": [0, 0, 9, 9]}, "images"),
        ({"background": "transparent", "format": "jpeg"}, "background"),
        ({"prompt": ""}, "prompt"),
        ({"arguments": {"advanced": "compression"}}, "advanced"),
    ],
)
def test_estimate_of_what_would_be_refused(
    tmp_path: Path, arguments: dict[str, Any], field: str
) -> None:
    """What the call itself would be refused for, its estimate is refused for."""
    here = browse_fixture(tmp_path, max_images=2)

    told = here.refused("estimate_cost", **{"prompt": "A fox", **arguments})

    assert field in told
    assert "Next: " in told


def test_estimate_without_a_key(tmp_path: Path) -> None:
    """Prices are known without a key, and the server's own model is taken."""
    here = browse_fixture(tmp_path, key=False, model="gpt-image-2")

    told = here.told("estimate_cost", prompt="A fox", size="1024x1024", quality="high")

    assert told["model"] == "gpt-image-2"
    assert Decimal(told["usd"]) > 0


def test_the_sandbox_says_that_it_costs_nothing(tmp_path: Path) -> None:
    """What the service would charge is not taken for what the sandbox charges."""
    here = browse_fixture(tmp_path, sandbox=True)

    told = here.told("estimate_cost", prompt="A fox", size="1024x1024", quality="high")

    assert "sandbox costs nothing" in told["notes"][-1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_models(here: BrowseFixture, protocol: str) -> None:
    """Every model that answers, with the catalogue's figures; those shut down when asked for."""
    catalogue, today = gptimage.Models.load(), datetime.now(UTC).date()

    alive = here.told("list_models", protocol)
    every = here.told("list_models", protocol, all=True)

    assert [each["id"] for each in every["models"]] == [spec.id for spec in catalogue]
    assert {each["state"] for each in alive["models"]} <= {"live", "deprecated"}
    shut = next(each for each in every["models"] if each["state"] == "shut_down")
    assert shut["replacements"]
    assert shut["shutdown"] <= today.isoformat()
    (default,) = (each for each in alive["models"] if each["default"])
    spec = catalogue[default["id"]]
    price = spec.price(today)
    assert price
    assert (alive["default"], default["qualities"]) == (catalogue.default, list(spec.qualities))
    assert Decimal(default["price"]["image_output"]) == price.image_output


def test_one_model(tmp_path: Path) -> None:
    """One model by its name, also one that is shut down; the server's own is the default."""
    here = browse_fixture(tmp_path, model="gpt-image-2")

    (shut,) = here.told("list_models", model="dall-e-3")["models"]
    told = here.told("list_models", model="gpt-image-2")

    assert shut["state"] == "shut_down"
    assert told["default"] == "gpt-image-2"
    assert told["models"][0]["default"] is True


def test_no_such_model(here: BrowseFixture) -> None:
    """A name that is not listed is refused with those that are."""
    told = here.refused("list_models", model="gpt-image-9")

    assert "gpt-image-2.5-flare" in told


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_status_of_a_server_that_works(here: BrowseFixture, protocol: str) -> None:
    """Ready, with what it runs, keeps and may do."""
    here.save(picture(), picture())

    told = here.told("get_server_status", protocol)

    assert (told["ready"], told["problems"]) == (True, [])
    assert told["store"]["images"] == 2
    assert told["store"]["store"] == str(here.app.settings.store)
    assert told["store"]["cost_usd"] == "0.0131"
    assert told["cache"]["kind"] == "MemoryCache"
    assert told["versions"]["mcp"].startswith("2.")
    assert told["settings"]["model"] == "gpt-image-2.5-flare"
    assert told["running"] == 0


def test_status_without_a_key(tmp_path: Path) -> None:
    """It says which variable the person sets, and that nobody asks for a key in the chat."""
    here = browse_fixture(tmp_path, key=False)

    told = here.told("get_server_status")

    (problem,) = told["problems"]
    assert told["ready"] is False
    assert "OPENAI_API_KEY" in problem
    assert "GPTIMAGE_SANDBOX=true" in problem


def test_status_says_that_it_is_the_sandbox(tmp_path: Path) -> None:
    """Nobody takes test pictures for real ones."""
    told = browse_fixture(tmp_path, sandbox=True).told("get_server_status")

    assert told["sandbox"] is True
    assert "test images" in told["warnings"][0]


def test_status_never_has_a_secret(tmp_path: Path) -> None:
    """Neither the key nor bearer tokens nor the password of a Redis are in it."""
    here = browse_fixture(
        tmp_path,
        api_key=KEY,
        redis_url="redis://user:hunter2@localhost:6379/0",
        tokens=("a-long-bearer-token-of-mine",),
        transport="http",
    )

    text = text_of(here.call("get_server_status"))

    assert KEY not in text
    assert "hunter2" not in text
    assert "bearer-token" not in text


def test_status_of_what_is_spent(tmp_path: Path) -> None:
    """Today's calls, what they cost, and what the limits leave."""
    here = browse_fixture(tmp_path, max_per_day=Decimal(1), max_per_call=Decimal("0.25"))
    client = here.app.client
    assert client

    async def draw(_: Client) -> gptimage.Result:
        return await client.generate("A fox", size="1024x1024", quality="low")

    cost = here.ask(draw).cost
    assert cost

    spend = here.told("get_server_status")["spend"]

    assert (spend["calls"], spend["images"]) == (1, 1)
    assert Decimal(spend["cost_usd"]) == cost.usd
    assert Decimal(spend["left_usd"]) == 1 - cost.usd
    assert (spend["max_per_call_usd"], spend["max_per_day_usd"]) == ("0.25", "1")


def test_status_when_everything_is_broken(tmp_path: Path) -> None:
    """Each part is reported with what to do about it; nothing is an error of the tool."""
    here = browse_fixture(tmp_path, key=False)
    shutil.rmtree(here.app.settings.store)
    here.app.settings.store.write_text("no folder")
    assert here.app.ledger
    here.app.ledger.path.write_bytes(b"no database" * 1000)
    cache = gptimage.Cache.disk(tmp_path / "cache")
    app = evolve(here.app, shared=evolve(here.app.shared, cache=cache))
    (tmp_path / "cache").write_text("no folder")
    from gptimage_mcp.tools.admin import status

    told = status(app)

    assert told["ready"] is False
    assert len(told["problems"]) == 3
    assert "gptimage verify" in told["problems"][1]
    assert "GPTIMAGE_LEDGER" in told["problems"][2]
    assert told["store"]["images"] is None
    assert told["store"]["error"]
    assert told["spend"]["error"]
    assert told["cache"]["error"]
    assert "without it" in told["warnings"][0]
    assert here.told("get_server_status")["ready"] is False


def test_status_of_a_full_or_locked_store(
    here: BrowseFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that can be read but not written is a problem, too."""
    import os

    monkeypatch.setattr(os, "access", lambda *_: False)

    told = here.told("get_server_status")

    assert "cannot be written" in told["problems"][0]


def test_status_of_a_model_that_goes(tmp_path: Path) -> None:
    """A model that will be shut down is named with the day and what to take instead."""
    catalogue, today = gptimage.Models.load(), datetime.now(UTC).date()
    spec = next(spec for spec in catalogue if spec.state(today) != "live")

    told = browse_fixture(tmp_path, model=spec.id).told("get_server_status")

    assert any(str(spec.shutdown) in warning for warning in told["warnings"])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_cache_is_told_and_cleared(here: BrowseFixture, protocol: str) -> None:
    """Statistics first; clearing says how many answers are forgotten, and deletes no picture."""
    client = here.app.client
    assert client

    async def draw(_: Client) -> None:
        for _time in range(2):
            await client.generate("A fox", size="1024x1024", quality="low")

    here.ask(draw)

    before = here.told("manage_cache", protocol)
    after = here.told("manage_cache", protocol, action="clear")

    assert (before["kind"], before["cleared"]) == ("MemoryCache", None)
    assert (before["stats"]["entries"], before["stats"]["hits"]) == (1, 1)
    assert Decimal(before["stats"]["saved_usd"]) > 0
    assert (after["cleared"], after["stats"]["entries"]) == (1, 0)
    assert here.app.store.stats().images == 1


def test_only_old_answers_are_cleared(here: BrowseFixture) -> None:
    """An age spares what is younger."""
    client = here.app.client
    assert client

    async def draw(_: Client) -> None:
        await client.generate("A fox", size="1024x1024", quality="low")

    here.ask(draw)

    assert here.told("manage_cache", action="clear", older_than="1h")["cleared"] == 0


@pytest.mark.parametrize(
    "arguments",
    [{"action": "clear", "older_than": "old"}, {"older_than": "1h"}, {"action": "delete"}],
)
def test_what_the_cache_cannot_do(here: BrowseFixture, arguments: dict[str, Any]) -> None:
    """Nothing is cleared by mistake: what makes no sense is refused."""
    assert "Next: " in here.refused("manage_cache", **arguments)


def test_a_server_without_a_cache(here: BrowseFixture, tmp_path: Path) -> None:
    """There is nothing to tell and nothing to clear, and that is no error."""
    from gptimage_mcp.dynamic_server import DynamicServer
    from gptimage_mcp.tools.admin import add_admin_tools

    app = evolve(here.app, shared=evolve(here.app.shared, cache=None))
    server = DynamicServer("bare", log_level="ERROR")
    add_admin_tools(server, app)
    bare = evolve(here, server=server, app=app)

    told = bare.told("manage_cache", action="clear")

    assert told == {"kind": None, "path": None, "cleared": None, "stats": None}
    assert bare.told("get_server_status")["cache"]["kind"] is None


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_delete_a_picture(tmp_path: Path, protocol: str) -> None:
    """It is gone, and whoever listens is told."""
    here = browse_fixture(tmp_path, allow_delete=True)
    (record,) = here.save()
    received: list[object] = []
    here.app.subscriptions.subscribe(received.append)

    told = here.told("delete_image", protocol, id=f"generated-images://{record.id}")

    assert told == {"deleted": record.id}
    assert record.path
    assert not record.path.exists()
    assert ResourceUpdated(uri=f"generated-images://{record.id}") in received


def test_a_pinned_picture_is_not_deleted(tmp_path: Path) -> None:
    """What a person keeps, an assistant does not delete."""
    here = browse_fixture(tmp_path, allow_delete=True)
    (record,) = here.save()
    here.app.store.pin(record.id)

    told = here.refused("delete_image", id=record.id)

    assert "pinned" in told
    assert here.app.store.get(record.id)


@pytest.mark.parametrize("allowed", [True, False])
def test_deleting_has_to_be_allowed(tmp_path: Path, allowed: bool) -> None:
    """Without the setting there is no such tool, so nothing can talk an assistant into it."""
    here = browse_fixture(tmp_path, allow_delete=allowed)

    names = [tool.name for tool in here.ask(lambda client: client.list_tools()).tools]

    assert ("delete_image" in names) == allowed


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_the_tools_say_of_themselves(tmp_path: Path, protocol: str) -> None:
    """Titles, icons and hints are there and true; every answer has an object as its schema."""
    here = browse_fixture(tmp_path, allow_delete=True)
    tools = here.ask(lambda client: client.list_tools(), protocol).tools
    removing = {"manage_cache", "delete_image"}

    for tool in tools:
        if tool.name in ("view_image", "list_images", "get_image_info"):
            continue
        hints = tool.annotations
        assert hints
        assert hints.read_only_hint == (tool.name not in {*removing, "cancel_call"})
        assert hints.destructive_hint == (tool.name in removing)
        assert hints.idempotent_hint is True
        assert hints.title == tool.title
        assert tool.icons
        assert tool.icons[0].src.startswith("data:image/svg+xml,")
        assert tool.output_schema
        assert tool.output_schema["type"] == "object"


def test_schemas_say_nothing_twice(tmp_path: Path) -> None:
    """No title of a parameter and no default: the model reads the list at every turn."""
    tools = server_fixture(tmp_path, allow_delete=True).ask(list_tools).tools
    words = {
        word for tool in tools for each in tool.input_schema["properties"].values() for word in each
    }

    assert words & {"title", "default", "anyOf", "$ref"} == set()


def test_no_schema_has_anything_hidden(tmp_path: Path) -> None:
    """Descriptions are plain text."""
    here = browse_fixture(tmp_path, allow_delete=True)
    for tool in here.ask(lambda client: client.list_tools()).tools:
        text = tool.model_dump_json()
        assert text == strip_invisible(text, len(text))


def test_every_icon_is_a_small_svg_that_runs_nothing(tmp_path: Path) -> None:
    """Icons are small drawings, one for each tool and the server, and all different."""
    from xml.etree import ElementTree as Xml

    tools = [t.name for t in server_fixture(tmp_path, allow_delete=True).ask(list_tools).tools]
    drawn: set[str] = set()

    for name in ["server", *tools]:
        (icon,) = icons(name)
        head, _, encoded = icon.src.partition(",")
        svg = unquote(encoded)
        drawn.add(svg)
        assert head == "data:image/svg+xml"
        assert len(icon.src) < 600
        assert Xml.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
        assert not any(word in svg for word in ("script", "href", "foreignObject", " on"))

    assert len(drawn) == len(tools) + 1


async def list_tools(client: Client) -> ListToolsResult:
    """Ask for the tools."""
    return await client.list_tools()


@pytest.mark.parametrize(
    ("tools", "there"),
    [
        (("core",), set(CORE)),
        (("view_image", "generate_image"), {"view_image", "generate_image"}),
        (("core", "cancel_call"), {*CORE, "cancel_call"}),
        (("view_image",), {"view_image"}),
        (("edit_each_image",), {"edit_each_image"}),
        (("full",), set(TOOLS) - {"delete_image"}),
    ],
)
def test_the_settings_say_which_tools_there_are(
    tmp_path: Path, tools: tuple[str, ...], there: set[str]
) -> None:
    """Those that are not named are neither listed nor answered, and nothing tells of them."""
    where = server_fixture(tmp_path, tools=tools)

    listed = {tool.name for tool in where.ask(list_tools).tools}
    told = str(where.server.instructions)

    assert listed == there
    assert {each for each in TOOLS if each in told} <= there
    assert ("estimate_cost" in told) == ("estimate_cost" in there)
    assert ("get_server_status" in told) == ("get_server_status" in there)
