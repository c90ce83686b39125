"""A server with a store, templates and nothing that draws: what resources and prompts need."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from mcp import Client
from mcp.server.subscriptions import InMemorySubscriptionBus
from mcp.shared.exceptions import MCPError
from mcp_types import BlobResourceContents, ErrorData, TextResourceContents

from gptimage import Cost, Generate, Image, PromptTemplates, Record, Result, Store
from gptimage_mcp.app import App, Templates
from gptimage_mcp.config.settings import Settings
from gptimage_mcp.dynamic_server import DynamicServer
from gptimage_mcp.jobs.engine import Tenant
from gptimage_mcp.prompts import Completions, Prompts
from gptimage_mcp.resources import Resources
from tests.factories import noise
from tests.mcp.harness import Connected


SEEDS = itertools.count()


class Clock:
    """A clock that goes on by a minute each time it is looked at."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC) - timedelta(days=3)

    def __call__(self) -> datetime:
        """The time."""
        self.now += timedelta(minutes=1)
        return self.now


@frozen(kw_only=True)
class ResourceFixture(Connected):
    """A server, and what stands behind it."""

    clock: Clock

    def save(self, prompt: str = "A lighthouse", format: str = "png", **options: Any) -> Record:
        """One more picture in the store; every one is another."""
        data = options.pop("data", None) or picture(format)
        result = Result(
            images=(Image.from_bytes(data),),
            request=Generate(prompt=prompt, model="gpt-image-2"),
            model="gpt-image-2",
            usage=None,
            cost=Cost(usd=Decimal("0.0131")),
            created=datetime.now(UTC),
        )
        return self.app.store.save(result, **options)[0]

    def text(self, uri: str, protocol: str = "auto") -> Any:
        """The JSON of a resource."""
        content = self.ask(lambda client: client.read_resource(uri), protocol).contents[0]
        assert isinstance(content, TextResourceContents)
        assert content.mime_type == "application/json"
        return json.loads(content.text)

    def blob(self, uri: str, protocol: str = "auto") -> BlobResourceContents:
        """The content of a resource that is no text."""
        content = self.ask(lambda client: client.read_resource(uri), protocol).contents[0]
        assert isinstance(content, BlobResourceContents)
        return content

    def refusal(
        self, question: Callable[[Client], Awaitable[object]], protocol: str = "auto"
    ) -> ErrorData:
        """The error a question is answered with."""

        async def refused(client: Client) -> ErrorData:
            with pytest.raises(MCPError) as caught:
                await question(client)
            return caught.value.error

        return self.ask(refused, protocol)


def resource_fixture(
    folder: Path,
    templates: PromptTemplates | None = None,
    store: Store | None = None,
    **settings: Any,
) -> ResourceFixture:
    """A server whose store is in this folder."""
    clock, subscriptions = Clock(), InMemorySubscriptionBus()
    app = App(
        settings=Settings(store=folder / "store", ledger=folder / "ledger", **settings),
        shared=Tenant(store=store or Store(folder / "store", fsync=False, clock=clock)),
        templates=Templates(templates or PromptTemplates.builtin(), subscriptions),
        subscriptions=subscriptions,
    )
    server = DynamicServer("shelves", subscriptions=subscriptions)
    server.resources = Resources(app)
    server.prompts = Prompts(app.templates)
    server.completions = Completions(app.store, app.templates)
    return ResourceFixture(server=server, app=app, clock=clock)


def picture(format: str = "png", size: tuple[int, int] = (16, 12)) -> bytes:
    """A small real picture."""
    if format == "svg":
        return b'<svg xmlns="http://www.w3.org/2000/svg" width="16" height="12"></svg>'
    file = io.BytesIO()
    noise(*size, "L", seed=next(SEEDS)).save(file, format)
    return file.getvalue()
