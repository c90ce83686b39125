"""A server with only the tools that look and tell, and the `App` behind it."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from mcp.server import MCPServer
from mcp_types import CallToolResult, ImageContent, ResourceLink

import gptimage
from gptimage.sandbox import Sandbox
from gptimage_mcp.app import App, create_app
from gptimage_mcp.config.settings import Settings
from gptimage_mcp.dynamic_server import DynamicServer
from gptimage_mcp.tools.admin import add_admin_tools
from gptimage_mcp.tools.browse import add_browse_tools
from tests.factories import noise
from tests.mcp.harness import Connected
from tests.mcp.harness import text as text_of


SEEDS = itertools.count()


@frozen(kw_only=True)
class BrowseFixture(Connected):
    """A server, and what stands behind it."""

    sandbox: Sandbox

    def told(self, tool: str, protocol: str = "auto", /, **arguments: Any) -> Any:
        """The structured answer of a tool, which is also its text."""
        result = self.call(tool, protocol, **arguments)
        assert not result.is_error, text_of(result)
        assert json.loads(text_of(result)) == result.structured_content
        return result.structured_content

    def refused(self, tool: str, protocol: str = "auto", /, **arguments: Any) -> str:
        """What the assistant is told when a tool fails."""
        result = self.call(tool, protocol, **arguments)
        assert result.is_error, text_of(result)
        assert result.structured_content is None
        return text_of(result)

    def save(self, *data: bytes, **options: Any) -> tuple[gptimage.Record, ...]:
        """Pictures in the store, as one call would have left them."""
        result = drawing(*data, **options.pop("about", {}))
        return self.app.store.save(result, **options)


def browse_fixture(folder: Path, *, key: bool = True, **settings: Any) -> BrowseFixture:
    """A server whose files are in this folder.

    Args:
        folder: Where all its files are.
        key: Whether it can draw, by the sandbox.
        **settings: Settings besides the folders.
    """
    told = Settings(
        **{"store": folder / "store", "ledger": folder / "ledger.sqlite", "wait": 0.2, **settings}
    )
    sandbox = Sandbox()
    client = gptimage.AsyncImageClient.sandbox(
        sandbox,
        store=gptimage.Store(told.store, fsync=False),
        cache=gptimage.Cache.memory(),
        ledger=gptimage.Ledger(told.ledger),
    )
    app = create_app(told, client)
    app = app if key else evolve(app, shared=evolve(app.shared, client=None))

    @asynccontextmanager
    async def lifespan(_: MCPServer[App]) -> AsyncGenerator[App]:
        async with app.jobs:
            yield app

    server = DynamicServer(
        "room", subscriptions=app.subscriptions, lifespan=lifespan, log_level="ERROR"
    )
    add_browse_tools(server, app)
    add_admin_tools(server, app)
    return BrowseFixture(server=server, app=app, sandbox=sandbox)


def drawing(*data: bytes, prompt: str = "A lighthouse", **fields: Any) -> gptimage.Result:
    """A result with these pictures, as a call would have brought it."""
    result = gptimage.Result(
        images=tuple(map(gptimage.Image.from_bytes, data or (picture(),))),
        request=gptimage.Generate(prompt=prompt, model="gpt-image-2.5-flare"),
        model="gpt-image-2.5-flare",
        usage=gptimage.Usage(input_tokens=5, output_tokens=196, total_tokens=201),
        cost=gptimage.Cost(usd=Decimal("0.0131")),
        created=datetime(2026, 11, 20, 12, tzinfo=UTC),
    )
    return evolve(result, **fields)


def picture(size: tuple[int, int] = (64, 48), format: str = "png", mode: str = "RGB") -> bytes:
    """The bytes of a picture that cannot be compressed; every one is another."""
    if format == "svg":
        return b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="48"></svg>'
    file = io.BytesIO()
    noise(*size, mode, seed=next(SEEDS)).save(file, format, compress_level=0)
    return file.getvalue()


def result_json(result: CallToolResult) -> Any:
    """The JSON at the head of a result that shows pictures."""
    assert not result.is_error, text_of(result)
    assert result.structured_content is None
    return json.loads(text_of(result))


def shown(result: CallToolResult) -> list[gptimage.Image]:
    """The previews."""
    import base64

    blocks = [block for block in result.content if isinstance(block, ImageContent)]
    images = [gptimage.Image.from_bytes(base64.b64decode(block.data)) for block in blocks]
    assert [block.mime_type for block in blocks] == [image.mime_type for image in images]
    return images


def links(result: CallToolResult) -> list[ResourceLink]:
    """The links."""
    return [block for block in result.content if isinstance(block, ResourceLink)]


def length(result: CallToolResult) -> int:
    """Bytes of a result as it goes over the wire."""
    return len(result.model_dump_json(by_alias=True, exclude_none=True).encode())
