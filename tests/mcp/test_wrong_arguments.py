"""Wrong arguments of tools: an error of the tool that names the argument, never a fault of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from tests.mcp.harness import server_fixture, text


WRONG: tuple[Any, ...] = (
    1e300,
    -1,
    [None],
    [[]],
    {"a": 1},
    "fox \ud83d",
    "\0",
    "x" * 50_000,
    "img_x",
)
REQUIRED = {"prompt": "A fox", "id": "img_x", "image": "img_x", "images": ["img_x"]}


@pytest.mark.slow
def test_no_argument_of_a_tool_is_a_fault_of_the_server(tmp_path: Path) -> None:
    """Every argument of every tool takes nonsense with a result or an error that names it."""
    house = server_fixture(tmp_path, tools=("full",))

    async def story(client: Client) -> list[object]:
        odd: list[object] = []
        for tool in (await client.list_tools()).tools:
            schema = tool.input_schema
            names: list[str] = list(schema["properties"])
            given = {name: REQUIRED[name] for name in names if name in REQUIRED}
            # The fields of that object are named in its description alone, which is shorter.
            described = schema["properties"].get("advanced", {}).get("description", "")
            advanced = [each for each in described.partition(": ")[2].split(", ") if each]
            calls = [(name, {name: value}) for name in names for value in WRONG]
            calls += [(name, {"advanced": {name: value}}) for name in advanced for value in WRONG]
            for name, wrong in calls:
                result = await client.call_tool(tool.name, {**given, **wrong})
                words = text(result)
                named = any(each in words for each in (name, *given, "has no argument"))
                if result.is_error and ("Next: " not in words or not named):
                    odd.append((tool.name, name, str(wrong)[:60], words[:200]))
        return odd

    assert house.ask(story) == []


@pytest.mark.parametrize("name", ["mask", "markup"])
def test_an_unknown_image_is_named_by_its_argument(tmp_path: Path, name: str) -> None:
    """Of several images that a call names, the error tells which one does not exist."""
    house = server_fixture(tmp_path)
    house.put("a.png")
    more: dict[str, Any] = (
        {"mask": "img_x"} if name == "mask" else {"advanced": {"markup": "img_x"}}
    )

    result = house.call("edit_image", prompt="A fox", images=["a.png"], **more)

    assert (result.is_error, f"{name}: 'img_x' is no image of a store" in text(result)) == (
        True,
        True,
    )
    assert house.sandbox.requests == []


@pytest.mark.parametrize(
    ("tool", "wrong", "named"),
    [
        ("generate_image", {"n": True}, "n"),
        ("generate_image", {"advanced": {"partial_images": True}}, "advanced.partial_images"),
        ("edit_image", {"images": ["a.png"], "mask_box": [True, 0, 8, 8]}, "mask_box"),
        ("list_images", {"limit": True}, "limit"),
    ],
)
def test_true_is_no_number(tmp_path: Path, tool: str, wrong: dict[str, Any], named: str) -> None:
    """A flag where a number belongs is refused by name, although Python takes true for 1."""
    house = server_fixture(tmp_path)
    house.put("a.png")
    prompt = {} if tool == "list_images" else {"prompt": "A fox"}

    result = house.call(tool, **prompt, **wrong)

    assert (result.is_error, named in text(result), "true or false" in text(result)) == (
        True,
        True,
        True,
    )
    assert house.sandbox.requests == []
