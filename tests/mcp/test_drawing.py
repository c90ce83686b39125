"""The tools that draw: what they answer, what they refuse, and what they say about the server."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

import gptimage
from gptimage_mcp.config.settings import Settings
from gptimage_mcp.server import build_server
from tests.mcp.harness import PROTOCOLS, picture, result_json, server_fixture, text


CHEAP = {"size": "1024x1024", "quality": "low"}
WISHES: dict[str, dict[str, Any]] = {
    "generate_image": {"prompt": "A fox", **CHEAP},
    "edit_image": {"prompt": "A hat", "images": ["fox.png"], **CHEAP},
    "create_variations": {"image": "fox.png", **CHEAP},
    "refine_image": {"prompt": "A hat", "image": "fox.png", **CHEAP},
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("tool", WISHES)
def test_a_picture_is_answered_with_text_preview_and_link(
    tmp_path: Path, protocol: str, tool: str
) -> None:
    """Short JSON, something to look at, the way to the file; never structured content."""
    where = server_fixture(tmp_path)
    where.put("fox.png")
    answer = where.call(tool, protocol, **WISHES[tool])

    assert [block.type for block in answer.content] == ["text", "image"]
    assert answer.structured_content is None
    facts = result_json(answer)
    record = where.store.get(facts["images"][0]["id"])
    assert facts["images"][0]["path"] == str(record.path)
    assert facts["handle"] in record.tags
    assert "sandbox" in facts
    assert "sandbox" in record.tags


def test_variations_are_edits_and_say_so(tmp_path: Path) -> None:
    """The endpoint of that name is retired: the answer tells what was done instead."""
    where = server_fixture(tmp_path)
    where.put("fox.png")
    answer = result_json(where.call("create_variations", image="fox.png", n=3, **CHEAP))

    assert len(answer["images"]) == 3
    assert "retired" in answer["warnings"][0]
    assert where.sandbox.requests[0].path == "/images/edits"


def test_more_pictures_than_allowed_are_refused(tmp_path: Path) -> None:
    """The limit of the server is named with the variable that sets it."""
    where = server_fixture(tmp_path, max_images=2)
    where.put("fox.png")
    turn = {**WISHES["refine_image"], "max_images": 3}

    for tool, wish in (("generate_image", {"prompt": "A fox", "n": 3}), ("refine_image", turn)):
        answer = where.call(tool, **wish)
        assert answer.is_error
        assert "GPTIMAGE_MAX_IMAGES" in text(answer)
    assert where.sandbox.requests == []
    assert not where.call("generate_image", prompt="A fox", n=2, **CHEAP).is_error


@pytest.mark.parametrize("tool", ["edit_image", "refine_image", "create_variations"])
def test_every_tool_that_changes_an_image_takes_the_same(tmp_path: Path, tool: str) -> None:
    """A stored svg, of which a png is sent, and the size of the image."""
    where = server_fixture(tmp_path)
    where.put("fox.png", picture(640, 384, form="png"))
    given = {"model": "gpt-image-2.6-flare", "format": "svg", "prompt": "A fox", **CHEAP}
    svg = result_json(where.call("generate_image", **given))["images"][0]["id"]
    facts = [
        result_json(where.call(tool, prompt="A hat", quality="low", size="same", **wish))
        for name in (svg, "fox.png")
        for wish in ({"images": [name]} if tool == "edit_image" else {"image": name},)
    ]

    assert [each["images"][0]["format"] for each in facts] == ["png", "png"]
    assert [each["images"][0]["width"] for each in facts] == [1024, 640]
    assert any("it was sent as png" in each for each in facts[0]["warnings"])


@pytest.mark.parametrize("restarted", [False, True])
def test_all_images_of_a_call_with_checks_are_named(tmp_path: Path, restarted: bool) -> None:
    """The best is shown and what the handle stands for; the others, paid as well, are named."""
    where = server_fixture(tmp_path)
    wish = {"prompt": "A fox", "n": 2, "advanced": {"until": ["pixels=9x9"]}, **CHEAP}
    drawn = where.call("generate_image", **wish)
    facts = result_json(drawn)
    if restarted:
        where = server_fixture(tmp_path)
        drawn = where.call("view_image", id=facts["handle"])
        facts = result_json(drawn)
    edited = where.call("edit_image", prompt="A hat", images=[facts["handle"]], **CHEAP)

    assert [block.type for block in drawn.content] == ["text", "image"]
    (best,) = facts["images"]
    records = where.store.history(tag=facts["handle"]).records
    assert len(facts["others"]) == 5
    assert {best["id"], *facts["others"]} == {record.id for record in records}
    assert "chosen" in where.store.get(best["id"]).tags
    assert Decimal(facts["cost_usd"]) == sum(each.cost_share.usd for each in records)
    assert not edited.is_error, text(edited)


@pytest.mark.parametrize(
    ("most", "n", "problem"),
    [
        (2, 1, "until: it draws up to 3 times, 3 images in all"),
        (5, 2, "until: it draws up to 3 times, 6 images in all"),
        (2, 3, "n: this server draws at most 2 images per call"),
    ],
)
def test_more_attempts_than_allowed_are_refused(
    tmp_path: Path, most: int, n: int, problem: str
) -> None:
    """The parameter that has to change is named: n alone only where it is too many by itself."""
    where = server_fixture(tmp_path, max_images=most)
    answer = where.call(
        "generate_image", prompt="A fox", n=n, advanced={"until": ["pixels=9x9"]}, **CHEAP
    )

    assert answer.is_error
    assert problem in text(answer)
    assert "GPTIMAGE_MAX_IMAGES" in text(answer)
    assert f"Change the parameter {problem.partition(':')[0]} " in text(answer)
    assert where.sandbox.requests == []


def test_checks_that_no_image_could_pass_are_refused(tmp_path: Path) -> None:
    """Before the person is asked to pay, and before anything is sent."""
    where = server_fixture(tmp_path)
    wishes: list[dict[str, Any]] = [
        {"model": "gpt-image-2.6-flare", "format": "svg", "advanced": {"until": ["palette=red"]}},
        {"advanced": {"until": ["drift"]}},
    ]
    for wish in wishes:
        arguments = {"prompt": "A fox", **wish}
        for answer in (
            where.call("generate_image", **arguments),
            where.call("estimate_cost", arguments=arguments),
        ):
            assert answer.is_error
            assert "Change the parameter until" in text(answer)
    assert where.sandbox.requests == []


def test_a_call_beyond_the_budget_is_not_sent(tmp_path: Path) -> None:
    """The budget of the client holds for tools; the refusal says what would be cheaper."""
    budget = gptimage.Budget({"call": Decimal("0.01")})
    where = server_fixture(tmp_path, budget=budget)
    answer = where.call("generate_image", prompt="A fox", size="1024x1024", quality="high")

    assert answer.is_error
    assert "BudgetExceededError" in text(answer)
    assert where.sandbox.requests == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("tool", WISHES)
def test_without_a_key_the_server_starts_and_says_what_to_do(
    tmp_path: Path, protocol: str, tool: str
) -> None:
    """Tools that draw name the variable; tools that cost nothing work."""
    settings = Settings(store=tmp_path / "store", ledger=tmp_path / "spend.sqlite")
    server = build_server(settings)

    async def question(client: Client) -> tuple[Any, Any]:
        return (
            await client.call_tool(tool, WISHES[tool]),
            await client.call_tool("list_images", {}),
        )

    async def connected() -> tuple[Any, Any]:
        async with Client(server, mode=protocol) as client:
            return await question(client)

    refused, listed = asyncio.run(connected())

    assert refused.is_error
    assert "OPENAI_API_KEY" in text(refused)
    assert "GPTIMAGE_SANDBOX" in text(refused)
    assert not listed.is_error
    assert "NO API KEY" in (server.instructions or "")


def test_a_client_without_a_store_is_refused(tmp_path: Path) -> None:
    """Pictures that are not kept could not be found again."""
    settings = Settings(store=tmp_path / "store", ledger=tmp_path / "spend.sqlite")

    with pytest.raises(gptimage.ConfigurationError, match="store"):
        build_server(settings, client=gptimage.AsyncImageClient.sandbox())


def test_instructions_are_those_of_this_server(tmp_path: Path) -> None:
    """What a model is told comes from the settings that hold."""
    told = server_fixture(
        tmp_path,
        max_images=3,
        max_per_call=Decimal("0.50"),
        max_per_day=Decimal(5),
        confirm_above=Decimal("0.25"),
        wait=20.0,
        fetch_urls=False,
    ).server.instructions

    assert told
    for words in (
        "SANDBOX",
        "at most 3 images",
        "$0.50 per call",
        "$5 per day",
        "more than $0.25",
        "longer than 20 s",
        "not by URL",
        str(tmp_path / "in"),
        str(tmp_path / "out"),
        str(tmp_path / "store"),
    ):
        assert words in told
    plain = server_fixture(tmp_path, sandbox=False, output_folders=()).server.instructions or ""
    assert "SANDBOX" not in plain
    assert "save_to" not in plain
    assert "also by https URL" in plain


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, False),
        ({"max_per_call": Decimal("0.50")}, True),
        ({"max_per_day": Decimal(5)}, True),
        ({"max_per_day": Decimal(5), "unknown_cost": Decimal(1)}, True),
    ],
)
def test_a_limit_says_what_has_to_be_named(
    settings: dict[str, Decimal], expected: bool, tmp_path: Path
) -> None:
    """A model reads before its first call that size and quality are needed, not after a refusal."""
    here = server_fixture(tmp_path, **settings)
    tools = here.ask(lambda client: client.list_tools()).tools

    told = [each.name for each in tools if "Name size and quality" in (each.description or "")]

    assert ("Name size and quality" in (here.server.instructions or "")) is expected
    drawing = ["generate_image", "edit_image", "refine_image", "create_variations"]
    assert sorted(told) == (sorted(drawing) if expected else [])


def test_the_sandbox_keeps_an_account_of_its_own(tmp_path: Path) -> None:
    """Play money does not use up the budget of the day for real pictures."""
    settings = Settings(
        store=tmp_path / "store",
        ledger=tmp_path / "spend.sqlite",
        sandbox=True,
        max_per_day=Decimal(1),
    )
    server = build_server(settings)

    async def connected() -> Any:
        async with Client(server) as client:
            return await client.call_tool("generate_image", WISHES["generate_image"])

    assert not asyncio.run(connected()).is_error
    assert gptimage.Ledger(tmp_path / "sandbox-spend.sqlite").spent() > 0
    assert gptimage.Ledger(tmp_path / "spend.sqlite").spent() == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arguments_that_do_not_fit_are_told_without_their_values(
    tmp_path: Path, protocol: str
) -> None:
    """A wrong choice is told with what would be right; what was sent is not repeated."""
    where = server_fixture(tmp_path)
    answer = where.call("generate_image", protocol, prompt="A fox", quality="sk-secret-value", n=0)

    assert answer.is_error
    assert "quality" in text(answer)
    assert "'low'" in text(answer)
    assert "sk-secret" not in text(answer)
    assert "pydantic" not in text(answer)


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize(
    ("failure", "words"),
    [
        ("moderation", "safety system"),
        ("quota", "credit"),
        ("rate_limit", "Wait"),
    ],
)
def test_what_the_service_refuses_is_told_with_the_next_step(
    tmp_path: Path, failure: Any, words: str
) -> None:
    """Every error of the library reaches the model with what to do, and the key never does."""
    where = server_fixture(tmp_path)
    where.sandbox.fail_next(failure, times=10, retry_after=0.0)
    answer = where.call("generate_image", **WISHES["generate_image"])

    assert answer.is_error
    assert words in text(answer)


def test_saved_pictures_are_news(tmp_path: Path) -> None:
    """Clients that listen hear that there are new pictures, when there are."""
    where = server_fixture(tmp_path)
    received: list[str] = []
    where.app.subscriptions.subscribe(lambda event: received.append(type(event).__name__))

    result_json(where.call("generate_image", **WISHES["generate_image"]))

    assert "ResourcesListChanged" in received


def test_a_prompt_may_be_any_text(tmp_path: Path) -> None:
    """A prompt that looks like JSON, or holds anything else, arrives as it was written."""
    where = server_fixture(tmp_path)
    for prompt in ('{"a": 1}', "[1, 2]", "null", "true", "42", "“Füchse” 🦊\nzwei", "../x"):
        result_json(where.call("generate_image", prompt=prompt, **CHEAP))
        assert where.sandbox.requests[-1].body["prompt"] == prompt


def test_results_stay_small(tmp_path: Path) -> None:
    """Ten large pictures are one answer that every client can take."""
    where = server_fixture(tmp_path)
    answer = where.call("generate_image", prompt="A fox", n=10, size="2048x2048", quality="low")

    assert len(result_json(answer)["images"]) == 10
    assert len(answer.model_dump_json(by_alias=True)) < 900_000


def test_a_picture_s_json_is_json(tmp_path: Path) -> None:
    """The text of an answer can be read by a program, whatever the pictures are called."""
    where = server_fixture(tmp_path)
    where.put("fox.png", picture())
    answer = where.call("edit_image", **{**WISHES["edit_image"], "tags": ['"quoted"', "zoo"]})

    assert json.loads(text(answer))["status"] == "done"


def test_the_cache_gives_a_picture_the_tags_and_no_handles(tmp_path: Path) -> None:
    """A picture drawn once and asked for often has the tags of all, and one handle: its own."""
    where = server_fixture(tmp_path)
    answers = [
        result_json(where.call("generate_image", prompt="A fox", tags=[word], **CHEAP))
        for word in ("hero", "blog")
    ]
    record = where.store.get(answers[0]["images"][0]["id"])

    assert len(where.sandbox.requests) == 1
    assert answers[1]["cached"]
    assert set(record.tags) == {"hero", "blog", "sandbox", answers[0]["handle"]}


@pytest.mark.parametrize(("max_px", "blocks"), [(0, ["text"]), (64, ["text", "image"])])
def test_the_preview_of_one_call(tmp_path: Path, max_px: int, blocks: list[str]) -> None:
    """A call that draws says how large its previews are, or that it wants none."""
    answer = server_fixture(tmp_path).call(
        "generate_image", prompt="A fox", advanced={"max_px": max_px}
    )

    assert [block.type for block in answer.content] == blocks
