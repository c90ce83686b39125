"""The doors inside the process: both transports, and that they see what HTTP would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from gptimage.errors import OutcomeUnknownError
from gptimage.sandbox import AsyncSandboxTransport, Sandbox, SandboxTransport
from gptimage.transport.http import HttpReply, HttpRequest, ServerEvent
from gptimage.transport.protocols import AsyncTransport, Transport
from tests.sandbox.pictures import SMALL, TODAY, edit, generate, mask, part, photo


QUICK = {"size": SMALL, "quality": "low"}
Head = tuple[HttpReply, list[ServerEvent]]


def sync_stream(sandbox: Sandbox, request: HttpRequest) -> Head:
    """Head and events over the synchronous door."""
    stream = SandboxTransport(sandbox).stream(request)
    found = list(stream)
    stream.close()
    return stream.reply, found


def async_stream(sandbox: Sandbox, request: HttpRequest) -> Head:
    """Head and events over the asynchronous door."""

    async def read() -> Head:
        transport = AsyncSandboxTransport(sandbox)
        stream = await transport.stream(request)
        found = [event async for event in stream]
        await stream.aclose()
        await transport.aclose()
        return stream.reply, found

    return asyncio.run(read())


def sync_send(sandbox: Sandbox, request: HttpRequest) -> HttpReply:
    """The reply over the synchronous door."""
    transport = SandboxTransport(sandbox)
    try:
        return transport.send(request)
    finally:
        transport.close()


def async_send(sandbox: Sandbox, request: HttpRequest) -> HttpReply:
    """The reply over the asynchronous door."""
    return asyncio.run(AsyncSandboxTransport(sandbox).send(request))


SENDS = pytest.mark.parametrize("send", [sync_send, async_send])
STREAMS = pytest.mark.parametrize("stream", [sync_stream, async_stream])


def test_doors_are_transports(sandbox: Sandbox) -> None:
    """Both follow the contracts of the ports."""
    assert isinstance(SandboxTransport(sandbox), Transport)
    assert isinstance(AsyncSandboxTransport(sandbox), AsyncTransport)


@SENDS
def test_pictures_and_refusals_are_replies(sandbox: Sandbox, send: Callable[..., Any]) -> None:
    """Every status is a reply, never an exception."""
    assert send(sandbox, generate(**QUICK)).status == 200
    assert send(sandbox, generate(n=0)).status == 400
    assert send(sandbox, HttpRequest(method="GET", path="/models")).status == 200


@STREAMS
def test_streams_have_a_head_and_events(sandbox: Sandbox, stream: Callable[..., Head]) -> None:
    """The head comes with an empty body, the images as events."""
    head, found = stream(sandbox, generate(stream=True, partial_images=1, **QUICK))

    assert (head.status, head.body, head.content_type) == (200, b"", "text/event-stream")
    assert [event.name for event in found] == [
        "image_generation.partial_image", "image_generation.completed",
    ]  # fmt: skip


@STREAMS
def test_refused_streams_are_plain_replies(sandbox: Sandbox, stream: Callable[..., Head]) -> None:
    """An error before the stream has a whole body and no events."""
    head, found = stream(sandbox, generate(stream=True, n=0))

    assert (head.status, found) == (400, [])
    assert b"integer_below_min_value" in head.body


@STREAMS
def test_cut_streams_break_after_a_partial(sandbox: Sandbox, stream: Callable[..., Head]) -> None:
    """What arrived before the cut is kept by the reader; then the outcome is unknown."""
    sandbox.fail_next("cut")

    with pytest.raises(OutcomeUnknownError, match="broke"):
        stream(sandbox, generate(stream=True, partial_images=2, **QUICK))


@SENDS
@pytest.mark.parametrize("scenario", ["timeout", "cut"])
def test_sends_that_break(sandbox: Sandbox, send: Callable[..., Any], scenario: Any) -> None:
    """No answer, or half of one: the call may have been billed."""
    sandbox.fail_next(scenario)

    with pytest.raises(OutcomeUnknownError):
        send(sandbox, generate(**QUICK))


@STREAMS
def test_streams_that_never_answer(sandbox: Sandbox, stream: Callable[..., Head]) -> None:
    """A timeout comes before the head."""
    sandbox.fail_next("timeout")

    with pytest.raises(OutcomeUnknownError, match="timed out"):
        stream(sandbox, generate(stream=True, **QUICK))


@SENDS
def test_a_stream_can_be_read_whole(sandbox: Sandbox, send: Callable[..., Any]) -> None:
    """`send` of a streaming request gives the text of the stream."""
    reply = send(sandbox, generate(stream=True, **QUICK))

    assert reply.body.startswith(b"event: image_generation.completed\ndata: {")


def test_both_doors_draw_the_same(sandbox: Sandbox) -> None:
    """Asynchronous or not, the same request gives the same events but for their time."""
    request = generate(stream=True, partial_images=1, **QUICK)
    one, other = sync_stream(sandbox, request)[1], async_stream(sandbox, request)[1]

    assert [event.data.split(b'"created_at"')[0] for event in one] == [
        event.data.split(b'"created_at"')[0] for event in other
    ]


def test_latency_does_not_block_the_event_loop() -> None:
    """While slow images are drawn, the loop goes on, and all of them are on their way."""
    sandbox = Sandbox(today=lambda: TODAY, latency=3600)

    async def many() -> bool:
        transport = AsyncSandboxTransport(sandbox)
        sends = [asyncio.create_task(transport.send(generate(**QUICK))) for _ in range(4)]
        while len(sandbox.requests) < 4:  # noqa: ASYNC110  # nothing tells when they are there
            await asyncio.sleep(0.001)
        done = any(each.done() for each in sends)
        for each in sends:
            each.cancel()
        return done

    assert asyncio.run(many()) is False


def test_values_arrive_as_they_would_over_http(server: Any, sandbox: Sandbox) -> None:
    """The same edit over both doors leaves the same request in the log."""
    import openai

    given: dict[str, Any] = {"n": 1, "size": SMALL, "quality": "low", "stream": False}
    files = (part("image", photo(), filename="a.png"), part("mask", mask(), filename="m.png"))
    sandbox.send(edit(*files, **given, user=None, svg=None))
    with openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0) as client:
        client.images.edit(
            model="gpt-image-2.5-flare",
            prompt="Make it night",
            image=("a.png", photo(), "image/png"),
            mask=("m.png", mask(), "image/png"),
            extra_body={"user": None, "svg": None},
            **given,
        )
    here, there = sandbox.requests

    assert evolve(there, headers={}) == evolve(here, headers={})
