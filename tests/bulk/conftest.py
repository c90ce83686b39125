"""Every test of this folder that takes ``both`` runs on both clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any

import pytest

import gptimage
from gptimage.bulk import Item


URL = "https://fake.invalid/v1"


class Both:
    """Runs many requests with a client of one kind."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def sandbox(self, *arguments: Any, **settings: Any) -> Any:
        """A client of the sandbox."""
        return self._kind().sandbox(*arguments, **settings)

    def client(self, send: Callable[[Any], Any], **settings: Any) -> Any:
        """A client whose service is a function, called in a thread of its own."""
        transport = Sending(send) if self.kind == "sync" else AsyncSending(send)
        return self._kind()(transport=transport, base_url=URL, **settings)

    def many(
        self,
        client: Any,
        requests: Iterable[Any],
        *,
        take: Callable[[Item], object] | None = None,
        **options: Any,
    ) -> list[Item]:
        """All items in the order they came; ``take`` sees each as a caller's loop would."""
        found: list[Item] = []

        def note(item: Item) -> None:
            found.append(item)
            if take is not None:
                take(item)

        if self.kind == "sync":
            with closing(client.generate_many(requests, **options)) as items:
                for item in items:
                    note(item)
            return found

        async def collect() -> list[Item]:
            async with aclosing(client.generate_many(requests, **options)) as items:
                async for item in items:
                    note(item)
            return found

        return asyncio.run(collect())

    def _kind(self) -> Any:
        return gptimage.ImageClient if self.kind == "sync" else gptimage.AsyncImageClient


class Sending:
    """A transport that is a function."""

    def __init__(self, send: Callable[[Any], Any]) -> None:
        self.send = send

    def stream(self, request: Any) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        pass


class AsyncSending:
    """A transport that is a function, called in a thread."""

    def __init__(self, send: Callable[[Any], Any]) -> None:
        self._send = send

    async def send(self, request: Any) -> Any:
        return await asyncio.to_thread(self._send, request)

    async def stream(self, request: Any) -> Any:
        raise NotImplementedError

    async def aclose(self) -> None:
        pass


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replies wait in a folder of the test; it is given."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "gptimage" / "spool"


@pytest.fixture(params=["sync", "async"])
def both(request: pytest.FixtureRequest) -> Both:
    """Both clients, one after the other."""
    return Both(request.param)
