"""A real server over HTTP on this machine, and the ways tests talk to it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from attrs import evolve, frozen

import gptimage
from gptimage_mcp.config.settings import Settings
from gptimage_mcp.dynamic_server import DynamicServer
from gptimage_mcp.http.app import Connection, build_app, configuration, listen
from tests.ports import hold_port


TOKEN = "a-token-nobody-would-guess"
OTHER = "another-token-nobody-guesses"
JSON = {"content-type": "application/json"}


@frozen(kw_only=True)
class Site:
    """A server that listens.

    Attributes:
        port: Where.
        uvicorn: What runs it.
    """

    port: int
    uvicorn: uvicorn.Server

    @property
    def url(self) -> str:
        """Where its routes are."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, token: str | None = None, **options: Any) -> httpx2.Client:
        """An HTTP client for it, with a token."""
        headers = {} if token is None else bearer(token)
        return httpx2.Client(base_url=self.url, headers=headers, timeout=60, **options)

    def get(self, path: str, token: str | None = None, **headers: str) -> httpx2.Response:
        """Ask once; underscores in names of headers stand for hyphens."""
        with self.client(token) as client:
            return client.get(path, headers=dashed(headers))

    def post(
        self, path: str, body: object, token: str | None = None, **headers: str
    ) -> httpx2.Response:
        """Send JSON once."""
        with self.client(token) as client:
            return client.post(path, json=body, headers=dashed(headers))

    def connect(self) -> socket.socket:
        """A plain connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)


@contextmanager
def serving(
    server: DynamicServer,
    settings: Settings,
    *,
    connection: type[Connection] = Connection,
    address: str = "127.0.0.1",
) -> Iterator[Site]:
    """Serve as `gptimage_mcp.http.app.serve` does, on a free port, in a thread.

    Args:
        server: The server.
        settings: What it was told.
        connection: How connections behave.
        address: Where to listen.
    """
    (listener,) = listen(address, 0)
    port = listener.getsockname()[1]
    config = configuration(build_app(server, evolve(settings, port=port)), settings)
    config.http = connection
    site = Site(port=port, uvicorn=uvicorn.Server(config))
    thread = threading.Thread(target=site.uvicorn.run, args=([listener],))
    thread.start()
    try:
        while not site.uvicorn.started and thread.is_alive():
            time.sleep(0.01)
        yield site
    finally:
        site.uvicorn.should_exit = True
        thread.join()


def bearer(token: str) -> dict[str, str]:
    """The header that shows a token."""
    return {"authorization": f"Bearer {token}"}


def dashed(headers: dict[str, str]) -> dict[str, str]:
    """Names of headers as HTTP writes them."""
    return {name.replace("_", "-"): value for name, value in headers.items()}


def events(text: str) -> list[tuple[str, Any]]:
    """The events of a stream, without comments."""
    found: list[tuple[str, Any]] = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def draw(store: gptimage.Store, prompt: str = "a fox", **options: Any) -> gptimage.Record:
    """A picture in the store."""
    with gptimage.ImageClient.sandbox(store=store) as client:
        return client.generate(prompt, **{"size": "1024x1024", **options}).stored[0]


def run_command(folder: Path, **environment: str) -> tuple[subprocess.Popen[bytes], str]:
    """``gptimage-mcp --http`` as a process of its own, and where it will listen."""
    port = hold_port()
    told = {
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "GPTIMAGE_SANDBOX": "true",
        "GPTIMAGE_STORE": str(folder / "store"),
        "GPTIMAGE_LEDGER": str(folder / "ledger.sqlite"),
        "GPTIMAGE_CACHE": "off",
        "GPTIMAGE_PORT": str(port),
        **environment,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "gptimage_mcp", "--http"],
        env=told,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    return process, f"http://127.0.0.1:{port}"


def wait_for(client: httpx2.Client, process: subprocess.Popen[bytes]) -> None:
    """Until the server answers, or has ended."""
    while process.poll() is None:
        try:
            client.get("/health")
        except httpx2.TransportError:
            continue
        return
    raise AssertionError(process.communicate()[1].decode())
