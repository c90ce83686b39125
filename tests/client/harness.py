"""A harness that drives both clients alike, and answers for them to read."""

from __future__ import annotations

import asyncio
import base64
import functools
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from attrs import define, field
from PIL import Image as PilImage

import gptimage
from gptimage.transport.http import HttpReply, HttpRequest, ServerEvent


TODAY = datetime(2026, 11, 20, 12, tzinfo=UTC)
Answer = HttpReply | Exception | list[ServerEvent | Exception]


@functools.cache
def picture(width: int = 1024, height: int = 1024, form: str = "png", color: str = "teal") -> bytes:
    """The bytes of a plain image."""
    file = io.BytesIO()
    PilImage.new("RGB", (width, height), color).save(file, form)
    return file.getvalue()


USAGE = {
    "input_tokens": 10,
    "output_tokens": 196,
    "total_tokens": 206,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 0},
}


def answer(*pictures: bytes, **fields: object) -> HttpReply:
    """A reply as the service sends it."""
    data = [{"b64_json": base64.b64encode(each).decode()} for each in pictures]
    body = {"created": 1_700_000_000, "data": data, "usage": USAGE, **fields}
    return HttpReply(
        status=200,
        headers={"content-type": "application/json", "x-request-id": "req_1"},
        body=json.dumps(body).encode(),
    )


def failure(status: int, headers: dict[str, str] | None = None, **error: object) -> HttpReply:
    """An error reply as the service sends it."""
    body = json.dumps({"error": {"message": "no", "type": None, "param": None, **error}})
    return HttpReply(
        status=status, headers={"retry-after": "0", **(headers or {})}, body=body.encode()
    )


def event(kind: str, data: bytes, **fields: object) -> ServerEvent:
    """An event of an image stream."""
    body = {"type": kind, "b64_json": base64.b64encode(data).decode(), **fields}
    return ServerEvent(name=kind, data=json.dumps(body).encode())


@define
class FakeTransport:
    """Plays a list of answers; keeps the requests it saw. Serves as both transports' core."""

    answers: list[Answer]
    requests: list[HttpRequest] = field(factory=list)
    closed: int = 0

    def next(self, request: HttpRequest) -> HttpReply | list[ServerEvent | Exception]:
        self.requests.append(request)
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(found, Exception):
            raise found
        return found

    def send(self, request: HttpRequest) -> HttpReply:
        found = self.next(request)
        assert isinstance(found, HttpReply)
        return found

    def stream(self, request: HttpRequest) -> FakeStream:
        return FakeStream(self, self.next(request))

    def close(self) -> None:
        self.closed += 1


@define
class FakeStream:
    transport: FakeTransport
    found: HttpReply | list[ServerEvent | Exception]

    @property
    def reply(self) -> HttpReply:
        if isinstance(self.found, HttpReply):
            return self.found
        return HttpReply(status=200, headers={"content-type": "text/event-stream"})

    def __iter__(self) -> Iterator[ServerEvent]:
        for each in [] if isinstance(self.found, HttpReply) else self.found:
            if isinstance(each, Exception):
                raise each
            yield each

    async def __aiter__(self) -> AsyncIterator[ServerEvent]:
        for each in self:
            yield each

    def close(self) -> None:
        self.transport.close()

    async def aclose(self) -> None:
        self.transport.close()


@define
class AsyncFakeTransport:
    inner: FakeTransport

    async def send(self, request: HttpRequest) -> HttpReply:
        return self.inner.send(request)

    async def stream(self, request: HttpRequest) -> FakeStream:
        return self.inner.stream(request)

    async def aclose(self) -> None:
        self.inner.close()


class Harness:
    """Builds clients of one kind and calls them as if they were synchronous."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.runner = asyncio.Runner() if kind == "async" else None

    def client(self, **settings: Any) -> Any:
        """A client of this kind."""
        kind = gptimage.ImageClient if self.runner is None else gptimage.AsyncImageClient
        return self._wrap(kind(**settings))

    def sandbox(self, *arguments: Any, **settings: Any) -> Any:
        """A sandbox client of this kind."""
        kind = gptimage.ImageClient if self.runner is None else gptimage.AsyncImageClient
        return self._wrap(kind.sandbox(*arguments, **settings))

    def fake(self, *answers: Answer, **settings: Any) -> tuple[Any, FakeTransport]:
        """A client whose service plays these answers, and that service."""
        fake = FakeTransport(list(answers))
        transport: Any = fake if self.runner is None else AsyncFakeTransport(fake)
        settings = {"clock": lambda: TODAY, **settings}
        return self.client(transport=transport, **settings), fake

    def other(self, client: Any, **options: Any) -> Any:
        """The same client with other options."""
        return self._wrap(getattr(client, "_client", client).with_options(**options))

    def call(self, method: Callable[[], Any]) -> Any:
        """Call a method that waits, or await it."""
        found = method()
        return self.runner.run(_waited(found)) if self.runner is not None else found

    def _wrap(self, client: Any) -> Any:
        return client if self.runner is None else Blocking(client, self.runner)

    def close(self) -> None:
        if self.runner is not None:
            self.runner.close()


class Blocking:
    """An async client whose methods wait for their result."""

    def __init__(self, client: Any, runner: asyncio.Runner) -> None:
        self._client, self._runner = client, runner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, "aclose" if name == "close" else name)
        return self._waiting(found) if callable(found) else found

    def __repr__(self) -> str:
        return repr(self._client)

    def _waiting(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            found = method(*arguments, **options)
            if isinstance(found, AsyncIterator):
                return self._stepping(found)
            return self._runner.run(_waited(found)) if isinstance(found, Awaitable) else found

        return call

    def _stepping(self, stream: AsyncIterator[Any]) -> Iterator[Any]:
        while (found := self._runner.run(anext(stream, self))) is not self:  # type: ignore[arg-type]  # anext() of an async generator is a coroutine
            yield found


async def _waited(found: Awaitable[Any]) -> Any:
    return await found
