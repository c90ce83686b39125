"""The start over stdio: what is heavy waits for the first request that needs it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp_types import PromptReference

import gptimage
from gptimage_mcp import Settings, build_server
from gptimage_mcp.dynamic_server import DynamicServer
from gptimage_mcp.server import late_server


def settings_in(folder: Path, **more: Any) -> Settings:
    """Settings of a server in this folder."""
    places: dict[str, Any] = {"store": folder / "s", "ledger": folder / "l.sqlite"}
    return Settings(**{**places, **more})


VARIANTS: dict[str, dict[str, Any]] = {
    "no key": {},
    "key": {"api_key": "sk-test", "model": "gpt-image-2"},
    "limits": {"sandbox": True, "budget": {"call": Decimal("0.25")}},
    "full": {"sandbox": True, "tools": ("full",), "allow_delete": True},
    "core with limits": {"tools": ("core",), "max_per_day": Decimal(5)},
    "limits and unknown cost": {"max_per_call": Decimal(1), "unknown_cost": Decimal(1)},
    "folders": {"input_folders": (Path("/tmp"),), "fetch_urls": False},  # only named
}


async def seen(server: DynamicServer, mode: Any) -> list[str]:
    """Return what a client is told in the order of a usual start, the tools twice."""
    size = {"name": "size", "value": "1"}
    async with Client(server, mode=mode) as client:
        assert client.server_info is not None
        answers = [
            client.server_info,
            client.server_capabilities,
            await client.list_tools(),
            await client.list_resource_templates(),
            await client.list_resources(),
            await client.list_prompts(),
            await client.complete(PromptReference(name="product-photo"), size),
            await client.call_tool("list_models", {}),
            await client.list_tools(),
        ]
        told = [each.model_dump_json(by_alias=True, exclude_none=True) for each in answers]
        return [str(client.instructions), *told]


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize("named", VARIANTS)
def test_clients_see_the_same(named: str, mode: str, tmp_path: Path) -> None:
    """A server that opens late tells a client byte for byte what one tells that is open."""
    settings = settings_in(tmp_path, **VARIANTS[named])
    expected = asyncio.run(seen(build_server(settings), mode))

    server = late_server(settings)
    assert server.opener is not None
    assert expected == asyncio.run(seen(server, mode))
    assert server.opener is None


def test_a_store_behind_a_link_is_named_as_usual(tmp_path: Path) -> None:
    """The instructions name the folder itself, not the link that leads to it."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    settings = settings_in(tmp_path, store=tmp_path / "link" / "s")

    assert build_server(settings).instructions == late_server(settings).instructions


def test_the_list_of_tools_opens_nothing(tmp_path: Path) -> None:
    """To list the tools, neither they nor the store and the client are imported."""
    program = """
import asyncio, json, pathlib, sys
from gptimage_mcp.config.settings import Settings
from gptimage_mcp.server import late_server
folder = pathlib.Path(sys.argv[1])
settings = Settings(store=folder / "s", ledger=folder / "l.sqlite", api_key="sk-test")
asyncio.run(late_server(settings).list_tools())
print(json.dumps([*sys.modules]))
"""
    command = (sys.executable, "-c", program, str(tmp_path))
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    heavy = {"gptimage_mcp.app", "gptimage_mcp.tools", "gptimage.store", "gptimage.engine"}

    assert heavy.intersection(json.loads(done.stdout)) == set()
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("variable", "value"), [("SSL_CERT_FILE", "/nowhere.pem"), ("HTTPS_PROXY", "foo://host")]
)
def test_a_wrong_environment_is_told_at_the_start(
    variable: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the client would refuse when it is made is refused with the same words."""
    monkeypatch.setenv(variable, value)
    settings = settings_in(tmp_path, api_key="sk-test")
    with pytest.raises(gptimage.ConfigurationError) as usual:
        build_server(settings)

    with pytest.raises(gptimage.ConfigurationError) as late:
        late_server(settings)
    assert str(usual.value) == str(late.value)


def test_a_wrong_template_is_told_at_the_start(tmp_path: Path) -> None:
    """Where only a file says whether it can be used, it is read when the server starts."""
    (tmp_path / "broken.toml").write_text("nonsense = [")

    with pytest.raises(gptimage.TemplateError):
        late_server(settings_in(tmp_path, templates=tmp_path))


def test_what_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    """A store that cannot be made fails the request, not the server, and opens once it can be."""
    store = tmp_path / "s"
    store.write_text("a file where the folder should be")

    async def run() -> tuple[bool, bool]:
        async with Client(late_server(settings_in(tmp_path, sandbox=True))) as client:
            failed = await client.call_tool("list_images", {})
            with pytest.raises(MCPError, match="s"):
                await client.list_prompts()
            store.unlink()
            worked = await client.call_tool("list_images", {})
            return failed.is_error, worked.is_error

    assert asyncio.run(run()) == (True, False)


def test_requests_at_the_same_time_open_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first requests of a client, sent together, share one store and one client."""
    from gptimage_mcp import app

    opened: list[object] = []

    def create_app(*args: Any, before: Any = app.create_app, **options: Any) -> app.App:
        opened.append(args)
        return before(*args, **options)

    monkeypatch.setattr(app, "create_app", create_app)

    async def run() -> None:
        async with Client(late_server(settings_in(tmp_path, sandbox=True))) as client:
            calls = (client.call_tool("list_images", {}), client.list_prompts())
            await asyncio.gather(*calls, client.list_resources())

    asyncio.run(run())
    assert len(opened) == 1


def test_the_saved_tools_are_written_of_the_real_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command writes the file that is there: ``python -m gptimage_mcp.catalogue``."""
    from gptimage_mcp import catalogue

    saved = catalogue.FILE.read_bytes()
    monkeypatch.setattr(catalogue, "FILE", tmp_path / "tools.json")
    catalogue.write_tools()

    assert saved == catalogue.FILE.read_bytes()
