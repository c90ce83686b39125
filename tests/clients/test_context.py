"""What the server costs a model's context, counted in tokens of o200k_base."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

import gptimage
from gptimage_mcp import Settings, build_server


HERE = Path(__file__).parent
PROMPT = (
    "A watercolour of a red fox in a snowy birch forest at dawn, soft light, wide angle, muted "
    "colours, with the words 'Winter tales' in hand-drawn serif"
)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What clients hand to a model."""
    folder = tmp_path_factory.mktemp("context")
    store = gptimage.Store(folder / "store", fsync=False)
    with gptimage.ImageClient.sandbox(store=store) as client:
        first = client.generate(PROMPT, size="1024x1024", quality="low")
    for number in range(19):
        store.save(first.with_warnings(str(number)), tags=["winter"])
    settings = Settings(store=folder / "store", ledger=folder / "spend.sqlite", sandbox=True)

    async def ask() -> dict[str, str]:
        async with Client(build_server(settings), mode="legacy") as client:
            tools = [
                tool.model_dump(by_alias=True, exclude_none=True, mode="json")
                for tool in (await client.list_tools()).tools
            ]
            listed = await client.call_tool("list_images", {"limit": 20})
        seen = ("name", "description", "inputSchema")
        visible = [{name: tool[name] for name in seen} for tool in tools]
        return {
            "visible": compact(visible),
            "whole": compact(tools),
            "listed": str(listed.content[0].text),  # type: ignore[union-attr]  # it is text
        }

    return asyncio.run(ask())


def compact(document: Any) -> str:
    """JSON without spaces, as it travels."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize(
    ("what", "most"), [("visible", 2_900), ("whole", 5_500), ("listed", 1_500)]
)
def test_the_context_stays_small(
    node: str, modules: Path, texts: dict[str, str], tmp_path: Path, what: str, most: int
) -> None:
    """The tools as a model sees them, the whole list, and twenty images, in tokens."""
    shutil.copy(HERE / "tokens.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(modules)
    (tmp_path / "texts.json").write_text(json.dumps([texts[what]]), encoding="utf-8")
    done = subprocess.run(
        [node, str(tmp_path / "tokens.mjs"), str(tmp_path / "texts.json")],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    (count,) = json.loads(done.stdout)
    assert count <= most
    assert len(json.loads(texts["listed"])["records"]) == 20
