"""A harness that drives both kinds of conversation alike, and answers for them to read."""

from __future__ import annotations

import asyncio
import base64
import functools
import io
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import define, field
from PIL import Image as PilImage

import gptimage
from gptimage.conversation import Turn
from gptimage.sandbox import Sandbox
from gptimage.transport.http import HttpReply, HttpRequest, ServerEvent


TODAY = datetime(2026, 11, 20, 12, tzinfo=UTC)
LOW = {"quality": "low", "size": "1024x1024"}
EVENT_STREAM = {"content-type": "text/event-stream", "x-request-id": "req_1"}
Answer = HttpReply | Exception | list[ServerEvent | Exception]


@functools.cache
def picture(width: int = 1024, height: int = 1024, form: str = "png") -> bytes:
    """The bytes of a plain image."""
    file = io.BytesIO()
    PilImage.new("RGB", (width, height), "teal").save(file, form)
    return file.getvalue()


def encoded(data: bytes) -> str:
    """Bytes as they stand in JSON."""
    return base64.b64encode(data).decode()


IMAGE_USAGE = {
    "input_tokens": 1034,
    "output_tokens": 196,
    "total_tokens": 1230,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 1024},
    "output_tokens_details": {"text_tokens": 0, "image_tokens": 196},
}
CHAT_USAGE = {
    "input_tokens": 1_000,
    "input_tokens_details": {"cached_tokens": 400, "cache_write_tokens": 200},
    "output_tokens": 100,
    "output_tokens_details": {"reasoning_tokens": 60},
    "total_tokens": 1_100,
}


def call(data: bytes | None, **fields: object) -> dict[str, object]:
    """An image call as it stands in a response."""
    return {
        "id": "ig_1",
        "type": "image_generation_call",
        "status": "completed" if data else "failed",
        "result": encoded(data) if data else None,
        **fields,
    }


def words(text: str) -> dict[str, object]:
    """A message as it stands in a response."""
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"id": "msg_1", "type": "message", "role": "assistant", "content": content}


BLOCKED = {
    "code": "moderation_blocked",
    "message": "Your request was rejected by the safety system.",
    "param": None,
    "type": "image_generation_user_error",
    "moderation_details": {"moderation_stage": "output", "categories": ["violence"]},
}


def response(*output: dict[str, object], **fields: object) -> dict[str, object]:
    """A response object as the service sends it."""
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000.0,
        "status": "completed",
        "error": None,
        "output": list(output),
        "usage": CHAT_USAGE,
        "tool_usage": {"image_gen": IMAGE_USAGE, "web_search": {"num_requests": 0}},
        **fields,
    }


def reply(value: object, status: int = 200) -> HttpReply:
    """A JSON reply."""
    return HttpReply(
        status=status,
        headers={"content-type": "application/json", "x-request-id": "req_1", "retry-after": "0"},
        body=json.dumps(value).encode(),
    )


def forgotten(response_id: str = "resp_1") -> HttpReply:
    """The recorded refusal of a response that has expired."""
    error = {
        "message": f"Previous response with id '{response_id}' not found.",
        "type": "invalid_request_error",
        "param": "previous_response_id",
        "code": "previous_response_not_found",
    }
    return reply({"error": error}, 400)


def event(kind: str, **fields: object) -> ServerEvent:
    """An event of a turn's stream."""
    return ServerEvent(name=kind, data=json.dumps({"type": kind, **fields}).encode())


def partial(data: bytes, index: int = 0) -> ServerEvent:
    """A preview."""
    kind = "response.image_generation_call.partial_image"
    return event(kind, partial_image_b64=encoded(data), partial_image_index=index, item_id="ig_1")


@define
class Fake:
    """Plays a list of answers, the last one again and again, and keeps what it was asked."""

    answers: list[Answer]
    requests: list[HttpRequest] = field(factory=list)

    def _next(self, request: HttpRequest) -> Any:
        self.requests.append(request)
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(found, Exception):
            raise found
        return found

    def send(self, request: HttpRequest) -> HttpReply:
        return self._next(request)

    def stream(self, request: HttpRequest) -> FakeStream:
        return FakeStream(self._next(request))

    def close(self) -> None:
        pass


@define
class AsyncFake:
    inner: Fake

    async def send(self, request: HttpRequest) -> HttpReply:
        return self.inner.send(request)

    async def stream(self, request: HttpRequest) -> FakeStream:
        return self.inner.stream(request)

    async def aclose(self) -> None:
        pass


@define
class FakeStream:
    found: HttpReply | list[ServerEvent | Exception]

    @property
    def reply(self) -> HttpReply:
        found = self.found
        return (
            found if isinstance(found, HttpReply) else HttpReply(status=200, headers=EVENT_STREAM)
        )

    def __iter__(self) -> Iterator[ServerEvent]:
        for each in [] if isinstance(self.found, HttpReply) else self.found:
            if isinstance(each, Exception):
                raise each
            yield each

    async def __aiter__(self) -> AsyncIterator[ServerEvent]:
        for each in self:
            yield each

    def close(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


class Talk:
    """A conversation of either kind, called as if it waited."""

    def __init__(self, chat: Any, runner: asyncio.Runner | None) -> None:
        self.chat, self.runner = chat, runner

    def send(self, *arguments: Any, **options: Any) -> Turn:
        found = self.chat.send(*arguments, **options)
        return found if self.runner is None else self.runner.run(found)

    def stream(self, *arguments: Any, **options: Any) -> list[Any]:
        found = self.chat.stream(*arguments, **options)
        return list(found) if self.runner is None else self.runner.run(_all(found))

    def branch(self, turn: Turn) -> Talk:
        return Talk(self.chat.branch(turn), self.runner)


async def _all(stream: AsyncIterator[Any]) -> list[Any]:
    return [each async for each in stream]


class Talks:
    """Starts conversations of one kind."""

    def __init__(self, kind: str) -> None:
        self.runner = asyncio.Runner() if kind == "async" else None
        self._kind: Any = gptimage.AsyncImageClient if self.runner else gptimage.ImageClient

    def sandbox(self, sandbox: Sandbox, *, store: Any = None, **how: Any) -> Talk:
        """A conversation with a sandbox, on a day that never changes."""
        counted = {name: how.pop(name) for name in ("budget", "ledger") if name in how}
        seconds = itertools.count()  # a ledger tells its rows apart by their times

        def clock() -> datetime:
            return TODAY + timedelta(seconds=next(seconds))

        client = self._kind.sandbox(sandbox, store=store, clock=clock, **counted)
        return Talk(client.conversation(**how), self.runner)

    def fake(self, *answers: Answer, **how: Any) -> tuple[Talk, Fake]:
        """A conversation with a service that plays these answers, and that service."""
        fake = Fake(list(answers))
        transport: Any = AsyncFake(fake) if self.runner else fake
        settings = {name: how.pop(name) for name in ("base_url", "model", "limits") if name in how}
        client = self._kind(transport=transport, clock=lambda: TODAY, **settings)
        return Talk(client.conversation(**how), self.runner), fake

    def close(self) -> None:
        if self.runner is not None:
            self.runner.close()
