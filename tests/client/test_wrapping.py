"""What gateways send instead of OpenAI's answer, over a real connection and on both clients."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from attrs import define, field

import gptimage
from gptimage.transport import HttpReply
from tests.client.harness import Harness, picture


TEAL = picture()
SMALL = picture(64, 64)
KEY = "sk-" + "x" * 20
Reply = tuple[str, bytes]


def event(kind: str, data: bytes, **fields: object) -> bytes:
    """An event as it crosses the wire."""
    body = {"type": kind, "b64_json": base64.b64encode(data).decode(), **fields}
    return f"event: {kind}\ndata: {json.dumps(body)}\n\n".encode()


STREAM = event("image_generation.partial_image", SMALL, partial_image_index=0) + event(
    "image_generation.completed", TEAL
)


@define
class Gateway:
    """A server that answers with what `replies` says; keeps the paths it was asked for."""

    port: int = 0
    answer: Callable[[str], Reply] = lambda _: ("text/plain", b"")
    seen: list[str] = field(factory=list[str])

    def client(self, host: str = "127.0.0.1") -> gptimage.ImageClient:
        """A client that asks it."""
        return gptimage.ImageClient(api_key=KEY, base_url=f"http://{host}:{self.port}/v1")


def serving(gateway: Gateway, host: str = "127.0.0.1") -> ThreadingHTTPServer:
    """Start it; the caller shuts it down."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self.do_GET()

        def do_GET(self) -> None:
            gateway.seen.append(self.path)
            kind, body = gateway.answer(self.path)
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer((host, 0), Handler)
    gateway.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    return server


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A server on all addresses of this machine."""
    made = Gateway()
    server = serving(made, "0.0.0.0")  # so that 127.0.0.2 answers, too
    yield made
    server.shutdown()
    server.server_close()


def streamed(client: gptimage.ImageClient) -> list[object]:
    """The events of a streamed call."""
    with client:
        return list(client.stream("A fox", size="1024x1024", partial_images=1))


async def astreamed(port: int) -> list[object]:
    """The same on the async client."""
    client = gptimage.AsyncImageClient(api_key=KEY, base_url=f"http://127.0.0.1:{port}/v1")
    async with client:
        events = client.stream("A fox", size="1024x1024", partial_images=1)
        return [each async for each in events]


KINDS = ["application/json", "text/plain; charset=utf-8", "application/octet-stream", "TEXT/HTML"]
JSON_LINES = b"".join(line[6:] + b"\n" for line in STREAM.splitlines() if line[:6] == b"data: ")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        *((kind, STREAM) for kind in KINDS),
        ("text/plain", b": hello\r\n\r\n" + STREAM.replace(b"\n", b"\r\n")),
        ("application/x-ndjson", JSON_LINES),
        ("text/event-stream", JSON_LINES),
    ],
)
def test_streams_under_any_content_type(gateway: Gateway, kind: str, body: bytes) -> None:
    """Previews arrive as previews and the finished image as the result."""
    gateway.answer = lambda _: (kind, body)

    for events in (streamed(gateway.client()), asyncio.run(astreamed(gateway.port))):
        preview, last = events
        assert isinstance(preview, gptimage.PartialImage)
        assert isinstance(last, gptimage.Completed)
        assert last.result.image.data == TEAL


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
def test_a_whole_answer_to_a_streamed_call(gateway: Gateway, kind: str, indent: int | None) -> None:
    """A server that cannot stream sends one document, under either content type."""
    body = {"data": [{"b64_json": base64.b64encode(TEAL).decode()}]}
    gateway.answer = lambda _: (kind, json.dumps(body, indent=indent).encode())

    for events in (streamed(gateway.client()), asyncio.run(astreamed(gateway.port))):
        (last,) = events
        assert isinstance(last, gptimage.Completed)
        assert last.result.image.data == TEAL


CODED = base64.b64encode(TEAL).decode()


@pytest.mark.parametrize(
    "reply",
    [
        {"choices": [{"message": {"content": f"Done:\n\n![fox](data:image/png;base64,{CODED})"}}]},
        {"success": True, "response": json.dumps({"data": [{"b64_json": CODED}]})},
        {"data": [{"b64Json": CODED}]},
        {"data": [{"url": CODED}]},
        {"data": [{"b64_json": [CODED]}]},
        {"data": [{"b64_json": {"mime_type": "image/png", "data": CODED}}]},
        {"candidates": [{"content": {"parts": [{"inline_data": {"data": CODED}}]}}]},
        {"data": [{"b64_json": CODED.replace("+", "%2B").replace("/", "%2F") + "\0"}]},
    ],
    ids=["markdown", "text-in-json", "camel", "url", "list", "nested", "snake", "escaped"],
)
def test_an_image_in_the_words_of_a_gateway(harness: Harness, reply: dict[str, Any]) -> None:
    """A paid image is read wherever a proxy in front of another API puts it."""
    client, _ = harness.fake(HttpReply(status=200, body=json.dumps(reply).encode()))

    assert client.generate("A fox", size="1024x1024").image.data == TEAL


@pytest.mark.parametrize("field", ["content", "refusal"])
def test_what_a_chat_model_wrote_instead(harness: Harness, field: str) -> None:
    """The error has its words, as text and in its message."""
    body = {"choices": [{"message": {"content": None, field: "I cannot draw that."}}]}
    client, _ = harness.fake(HttpReply(status=200, body=json.dumps(body).encode()))

    with pytest.raises(gptimage.MalformedReplyError, match="I cannot draw that") as caught:
        client.generate("A fox", size="1024x1024")
    assert caught.value.text == "I cannot draw that."


@pytest.mark.parametrize("named", ["http://127.0.0.2:{port}/a.png", "/a.png", "files/a.png"])
def test_an_image_on_the_host_of_base_url(gateway: Gateway, named: str) -> None:
    """The very host and port asked are read, also when they are private."""
    reply = json.dumps({"data": [{"url": named.format(port=gateway.port)}]}).encode()
    gateway.answer = lambda path: (
        ("image/png", TEAL) if path.endswith(".png") else ("application/json", reply)
    )

    with gateway.client("127.0.0.2") as client:
        result = client.generate("A fox", size="1024x1024")

    assert result.image.data == TEAL


def test_localhost_by_its_number_is_the_same_host(gateway: Gateway) -> None:
    """A server that was asked by name may name itself by its address."""
    reply = json.dumps({"data": [{"url": f"http://127.0.0.1:{gateway.port}/a.png"}]}).encode()
    gateway.answer = lambda path: (
        ("image/png", TEAL) if path.endswith(".png") else ("application/json", reply)
    )

    with gateway.client("localhost") as client:
        assert client.generate("A fox", size="1024x1024").image.data == TEAL


@pytest.mark.parametrize("host", ["127.0.0.2", "127.0.0.1", "localhost", "[::1]"])
def test_no_other_private_address_is_read(gateway: Gateway, host: str) -> None:
    """Another host or port is never asked, whatever the reply names."""
    other = Gateway(answer=lambda _: ("text/plain", b"password=hunter2"))
    server = serving(other, "0.0.0.0")  # as above
    url = f"http://{host}:{other.port}/admin"
    gateway.answer = lambda _: ("application/json", json.dumps({"data": [{"url": url}]}).encode())

    try:
        with gateway.client() as client, pytest.raises(gptimage.MalformedReplyError) as caught:
            client.generate("A fox", size="1024x1024")
    finally:
        server.shutdown()
        server.server_close()

    assert other.seen == []
    assert "not the host and port of base_url" in str(caught.value)


def test_what_is_no_image_is_not_kept(gateway: Gateway) -> None:
    """A page of the service's own host is not copied into the error."""
    reply = json.dumps({"data": [{"url": f"http://127.0.0.1:{gateway.port}/admin"}]}).encode()
    gateway.answer = lambda path: (
        ("text/plain", b"password=hunter2") if "admin" in path else ("application/json", reply)
    )

    with gateway.client() as client, pytest.raises(gptimage.MalformedReplyError) as caught:
        client.generate("A fox", size="1024x1024")

    assert reply == caught.value.reply


def test_a_turn_whose_stream_nobody_asked_for(gateway: Gateway) -> None:
    """A conversation reads it as well, with the words beside the image."""
    call = {"type": "image_generation_call", "id": "ig_1", "status": "completed"}
    item = {**call, "result": base64.b64encode(TEAL).decode()}
    end = {"id": "resp_1", "status": "completed", "output": [call]}
    events = [
        {"type": "response.output_item.done", "item": item},
        {"type": "response.completed", "response": end},
    ]
    body = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in events)
    gateway.answer = lambda _: ("text/event-stream", body)

    with gateway.client() as client:
        turn = client.conversation().send("A fox", size="1024x1024")

    assert turn.image.data == TEAL
    assert turn.response_id == "resp_1"


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_whole_response_to_a_streamed_turn(
    gateway: Gateway, kind: str, indent: int | None
) -> None:
    """A server that cannot stream sends one response, under either content type."""
    item = {"type": "image_generation_call", "result": base64.b64encode(TEAL).decode()}
    body = json.dumps({"id": "resp_1", "status": "completed", "output": [item]}, indent=indent)
    gateway.answer = lambda _: (kind, body.encode())

    with gateway.client() as client:
        *_, last = client.conversation().stream("A fox", size="1024x1024")

    assert isinstance(last, gptimage.TurnCompleted)
    assert last.turn.image.data == TEAL
