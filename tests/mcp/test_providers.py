"""The tools with another service: it draws, and what it cannot do is refused by name."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp_types import CallToolResult

import gptimage
from gptimage.models.pricing import DEFAULT_CHAT_MODEL
from gptimage_mcp.config.settings import Settings
from gptimage_mcp.server import build_server
from gptimage_mcp.tools.requests import GenerateRequest
from tests.mcp.harness import text


LOW = {"size": "1024x1024", "quality": "low"}


def call(
    folder: Path, name: str, tool: str, *, chat_model: str | None = None, **arguments: Any
) -> CallToolResult:
    """Call one tool of a server whose images another service's sandbox draws."""
    settings = Settings(
        store=folder / "store",
        ledger=folder / "spend.sqlite",
        sandbox=True,
        provider=name,
        chat_model=chat_model,
        tools=("full",),
    )

    async def connected() -> CallToolResult:
        async with Client(build_server(settings)) as client:
            return await client.call_tool(tool, arguments)

    return asyncio.run(connected())


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("azure", "azure/gpt-image-2.5-flare"),
        ("gemini", "gemini/gemini-nano-banana-2.1"),
        ("xai", "xai/grok-imagine-image-2.0"),
        ("openrouter", "openrouter/openai/gpt-image-2"),
        ("together", "together/black-forest-labs/FLUX.1-schnell"),
    ],
)
def test_a_server_draws_with_the_provider_of_its_settings(
    tmp_path: Path, name: str, model: str
) -> None:
    """Its usual model draws, under its full name; one that has none is told which."""
    given = {"model": model.partition("/")[2]} if model.count("/") > 1 else {}
    answer = call(tmp_path, name, "generate_image", prompt="A fox", size="640x384", **given)

    assert json.loads(text(answer))["model"] == model


def test_questions_go_to_the_chat_model_of_the_settings(tmp_path: Path) -> None:
    """Those of checks as well as the turns of conversations; the price asked about is its own."""
    answer = call(
        tmp_path,
        "openai",
        "generate_image",
        prompt="A fox",
        size="640x384",
        advanced={"until": ["ask=Is it a fox?"]},
        chat_model="gpt-5.4",
    )
    ledger = gptimage.Ledger(tmp_path / "sandbox-spend.sqlite")
    request: dict[str, Any] = {"operation": "generate", "prompt": "A fox", "options": LOW}
    request["checks"] = ("ask=Is it a fox?",)
    clients = [
        gptimage.AsyncImageClient.sandbox(chat_model=name)
        for name in (None, DEFAULT_CHAT_MODEL, "gpt-5.4")
    ]
    most = [asyncio.run(GenerateRequest(**request).max_cost(client)) for client in clients]

    assert not answer.is_error, text(answer)
    assert {row.model for row in ledger.rows() if row.operation == "question"} == {"gpt-5.4"}
    assert (most[0] == most[1], most[0] is None) == (True, False)
    assert most[2] is None  # its prices are not known


def test_an_assistant_reads_what_a_provider_cannot_do(tmp_path: Path) -> None:
    """The error names the parameter, and services that take it."""
    answer = call(tmp_path, "xai", "generate_image", prompt="A fox", background="transparent")

    assert answer.is_error
    assert "xAI takes no background" in text(answer)


def test_the_models_listed_are_those_of_the_provider(tmp_path: Path) -> None:
    """An assistant chooses among names that the service knows."""
    answer = call(tmp_path, "gemini", "list_models")
    listed = answer.structured_content or json.loads(text(answer))

    assert listed["default"] == "gemini-nano-banana-2.1"
    assert all(each["id"].startswith("gemini") for each in listed["models"])


def test_turns_go_on_in_another_server(tmp_path: Path) -> None:
    """Gemini remembers nothing: the store has what each turn sends again, and lists the turns."""
    image = json.loads(text(call(tmp_path, "gemini", "generate_image", prompt="A fox")))
    ids = [image["images"][0]["id"]]
    for prompt in ("at night", "with a moon"):
        turn = call(tmp_path, "gemini", "refine_image", prompt=prompt, image=ids[-1])
        ids.append(json.loads(text(turn))["images"][0]["id"])
    shown = call(tmp_path, "gemini", "manage_conversations", action="show", id=ids[-1])

    assert [each["prompt"] for each in json.loads(text(shown))["turns"]] == [
        "at night", "with a moon",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "first"),
    [("gemini", "gemini/gemini-nano-banana-2.1"), ("azure/gpt-image-2", "azure/gpt-image-2")],
)
def test_the_models_of_another_provider_are_named_as_calls_name_them(
    tmp_path: Path, model: str, first: str
) -> None:
    """A service's name lists its models, and a full name one of them."""
    answer = json.loads(text(call(tmp_path, "openai", "list_models", model=model)))

    assert answer["models"][0]["id"] == first
    assert len(answer["models"]) == (1 if "/" in model else len(answer["models"]))


def test_what_a_call_of_a_provider_may_cost_is_estimated(tmp_path: Path) -> None:
    """By that service's prices; its own thoughts have none, so there is no highest cost."""
    answer = call(tmp_path, "gemini", "estimate_cost", prompt="A fox", size="1024x1024")
    found = json.loads(text(answer))

    assert (found["output_tokens"], found["max_cost_usd"]) == (1120, None)
    assert found["usd"] is not None
