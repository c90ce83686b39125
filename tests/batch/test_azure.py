"""Batches through an Azure client object: its paths, its key, and downloads over real HTTP.

What Azure itself answers to batches of images is not known; the server behind these tests is
the sandbox with Azure's addresses, key header and empty file ids.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest

from gptimage import AsyncImageClient, ImageClient, Retry
from gptimage.sandbox import Sandbox, wire
from gptimage.store import Store
from gptimage.transport.http import HttpRequest
from tests.batch.helpers import fox


VERSION = "2025-04-01-preview"


class Azure(ThreadingHTTPServer):
    """A sandbox at an Azure address; it breaks off the first downloads of results.

    Attributes:
        seen: Method, path with query, and headers of every request.
        breaks: How many downloads break off half-way.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.sandbox = Sandbox()
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.breaks = 1

    @property
    def url(self) -> str:
        """The resource's endpoint."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer it."""
        azure = cast("Azure", self.server)
        headers = {name.lower(): value for name, value in self.headers.items()}
        azure.seen.append((self.command, self.path, headers))
        body = self.rfile.read(int(headers.get("content-length", "0")))
        fields: dict[str, Any] = {}
        parts: list[Any] = []
        if headers.get("content-type", "").startswith("multipart/"):
            fields, parts = wire.split(body, headers["content-type"])
        elif body:
            fields = json.loads(body)
        path = self.path.removeprefix("/openai").replace(f"api-version={VERSION}", "")
        request = HttpRequest(
            method=self.command, path=path.rstrip("?&"), body=fields, files=tuple(parts)
        )
        reply = azure.sandbox.send(request)
        answer = bytes(reply.body).replace(b'_file_id": null', b'_file_id": ""')
        self.send_response(reply.status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        if self.path.partition("?")[0].endswith("/content") and azure.breaks:
            azure.breaks -= 1
            self.close_connection = True
            answer = answer[: len(answer) * 3 // 4]
        self.wfile.write(answer)

    do_GET = do_POST  # noqa: N815  # the base class calls it

    def log_message(self, format: str, *args: object) -> None:  # the base's name
        """Say nothing."""


@pytest.fixture
def azure() -> Iterator[Azure]:
    """The server, answering."""
    with Azure() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def check(azure: Azure) -> None:
    """Every request went where Azure expects it, with Azure's key."""
    paths = [path for _, path, _ in azure.seen]
    assert all(path.startswith("/openai/") for path in paths)
    assert all(path.endswith(f"api-version={VERSION}") for path in paths)
    assert all(headers["api-key"] == "azure-key" for _, _, headers in azure.seen)
    assert not any("authorization" in headers for _, _, headers in azure.seen)
    kinds = [(method, path.partition("?")[0].split("/")[2:]) for method, path, _ in azure.seen]
    assert kinds[:2] == [("POST", ["files"]), ("POST", ["batches"])]
    assert kinds[-1] == kinds[-2]  # the download that broke off, once more
    assert kinds[-1][1][0::2] == ["files", "content"]


def test_a_batch_over_an_azure_client(azure: Azure, tmp_path: Path) -> None:
    """Submitted, waited for and downloaded in pieces, through ``openai.AzureOpenAI``."""
    from openai import AzureOpenAI

    sdk = AzureOpenAI(azure_endpoint=azure.url, api_key="azure-key", api_version=VERSION)
    store = Store(tmp_path / "store")
    with sdk, ImageClient(openai=sdk, store=store, retry=Retry(first_delay=0.0)) as client:
        batch = client.submit_batch([fox(0), fox(1)], state=tmp_path / "b.json")
        client.open_batch(tmp_path / "b.json").wait(poll=0)
        items = {item.index: item for item in batch.results()}

    assert {index: item.error for index, item in items.items()} == {0: None, 1: None}
    assert store.stats().images == 2
    check(azure)


def test_a_batch_over_an_async_azure_client(azure: Azure, tmp_path: Path) -> None:
    """The same through ``openai.AsyncAzureOpenAI``, also by the batch's id alone."""
    from openai import AsyncAzureOpenAI

    async def go() -> list[list[str]]:
        sdk = AsyncAzureOpenAI(azure_endpoint=azure.url, api_key="azure-key", api_version=VERSION)
        async with sdk, AsyncImageClient(openai=sdk, retry=Retry(first_delay=0.0)) as client:
            batch = await client.submit_batch([fox(0), fox(1)], state=tmp_path / "b.json")
            await batch.wait(poll=0)
            first = [item.result async for item in batch.results()]
            check(azure)
            azure.breaks = 1
            other = await client.open_batch(batch.ids[0])
            second = [item.result async for item in other.results()]
        return [[each.request.prompt for each in found if each] for found in (first, second)]

    assert asyncio.run(go()) == [["Fox 0", "Fox 1"]] * 2
