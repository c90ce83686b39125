"""Both clients over real sockets: what breaks on the way, and what that means for money."""

from __future__ import annotations

import base64
import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import httpx2
import openai
import pytest

import gptimage
from tests.cache.single_flight_helpers import wait_until
from tests.client.harness import Harness, answer, picture
from tests.ports import hold_port


BYTES = picture(64, 64)
JSON = answer(BYTES).body
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_9\r\n"
SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"


def whole(body: bytes, head: bytes = HEAD) -> bytes:
    """A response with its length."""
    return head + b"content-length: %d\r\n\r\n" % len(body) + body


def sse(kind: str, data: bytes, **fields: object) -> bytes:
    """One event of an image stream as it is sent."""
    value = {"type": kind, "b64_json": base64.b64encode(data).decode(), **fields}
    return f"event: {kind}\ndata: {json.dumps(value)}\n\n".encode()


class Service:
    """A server that reads each request whole and answers with the bytes it was given."""

    def __init__(self) -> None:
        self.responses: list[bytes | None] = []
        self.requests: list[bytes] = []
        service = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                service.requests.append(_read_request(self.request))
                response = service.responses.pop(0)
                if response is None:
                    service.released.wait(60)
                    return
                self.request.sendall(response)

        self.released = threading.Event()
        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        serve = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        serve.start()
        self.url: str = f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def close(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


def _read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next((int(x.split(b":")[1]) for x in lines if x.startswith(b"content-length")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


@pytest.fixture
def service() -> Iterator[Service]:
    """A service that answers what a test tells it to."""
    service = Service()
    yield service
    service.close()


Connect = Callable[..., Any]


@pytest.fixture
def connect(harness: Harness, service: Service) -> Iterator[Connect]:
    """Makes clients of the service and closes them."""
    made: list[Any] = []

    def connect(**settings: Any) -> Any:
        given = {"api_key": "sk-secret-key", "base_url": service.url, **settings}
        made.append(harness.client(**given))
        return made[-1]

    yield connect
    for client in made:
        client.close()


def test_a_request_arrives_with_the_key_and_an_answer_comes_back(
    connect: Connect, service: Service
) -> None:
    """The whole way through the official SDK, with bytes untouched."""
    service.responses = [whole(JSON)]
    result = connect().generate("A fox", n=1)
    assert result.image.data == BYTES
    assert result.request_id == "req_9"
    assert b"authorization: bearer sk-secret-key" in service.requests[0].lower()
    assert json.loads(service.requests[0].partition(b"\r\n\r\n")[2]) == {
        "model": "gpt-image-2.5-flare",
        "prompt": "A fox",
        "n": 1,
    }


def test_a_chunked_answer_is_read(connect: Connect, service: Service) -> None:
    """An answer whose length is not known beforehand."""
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(x), x) for x in (JSON[:100], JSON[100:]))
    service.responses = [HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"]
    assert connect().generate("A fox").image.data == BYTES


BROKEN = {
    "body cut": whole(JSON)[:-400],
    "body cut, no length": HEAD + b"connection: close\r\n\r\n" + JSON[:80],
    "hung up": b"",
    "no http": b"hello\r\n\r\n",
    "bad gzip": whole(b"\x1f\x8b" + JSON, HEAD + b"content-encoding: gzip\r\n"),
    "a page": whole(b"<html>log in</html>", b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_answer_is_an_unknown_outcome(
    connect: Connect, service: Service, name: str
) -> None:
    """It was sent, it may be billed: it is asked once and says what it may have cost."""
    service.responses = [BROKEN[name], whole(JSON)]
    with pytest.raises(gptimage.OutcomeUnknownError) as caught:
        connect().generate("A fox", size="1024x1024", quality="low")
    assert caught.value.possible_cost is not None
    assert len(service.requests) == 1


def test_an_answer_that_takes_too_long_is_an_unknown_outcome(
    connect: Connect, service: Service
) -> None:
    """A read timeout is never sent again."""
    service.responses = [None, whole(JSON)]
    with pytest.raises(gptimage.OutcomeUnknownError, match="ReadTimeout"):
        connect(timeout=0.2).generate("A fox")
    wait_until(lambda: bool(service.requests))  # a busy machine may read it later than that
    assert len(service.requests) == 1


def test_a_service_that_is_not_there_is_tried_again_and_costs_nothing(harness: Harness) -> None:
    """A refused connection is retried, then a TransportError: nothing was sent."""
    url = f"http://127.0.0.1:{hold_port()}/v1"
    client = harness.client(api_key="k", base_url=url, retry=gptimage.Retry(first_delay=0))
    with pytest.raises(gptimage.TransportError, match="nothing was sent"):
        client.generate("A fox")
    client.close()


@pytest.mark.parametrize(
    "url",
    ["", " ", "ftp://127.0.0.1/v1", "api.openai.com/v1", "http://", "http://h:99999/v1",
     "'http://h/v1'", "http://h/v1?key=x", "http://h/v1/images/generations", "http://h h/v1"],
)  # fmt: skip
def test_a_wrong_address_is_refused(harness: Harness, url: str) -> None:
    """What is no address of a service is refused by name before anything is sent."""
    with pytest.raises(gptimage.ConfigurationError, match="base_url"):
        harness.client(api_key="k", base_url=url)


def test_the_sdks_own_retries_are_off(connect: Connect, service: Service) -> None:
    """A 500 reaches the caller after one request."""
    head = b"HTTP/1.1 500 Oops\r\ncontent-type: application/json\r\n"
    service.responses = [whole(b'{"error":{"message":"failed"}}', head), whole(JSON)]
    with pytest.raises(gptimage.ServerError, match="failed"):
        connect().generate("A fox")
    assert len(service.requests) == 1


def test_a_stream_arrives_event_by_event(connect: Connect, service: Service) -> None:
    """Previews and the result, over a connection that ends the stream by closing."""
    service.responses = [
        SSE_HEAD
        + sse("image_generation.partial_image", BYTES, partial_image_index=0)
        + sse("image_generation.completed", BYTES)
    ]
    kinds = [type(each) for each in connect().stream("A fox", partial_images=1)]
    assert kinds == [gptimage.PartialImage, gptimage.Completed]


def test_a_stream_cut_inside_the_last_event_is_an_unknown_outcome(
    connect: Connect, service: Service
) -> None:
    """The final image did not arrive whole; the preview is in the error."""
    head = SSE_HEAD.replace(b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n")
    events = sse("image_edit.partial_image", BYTES) + sse("image_edit.completed", BYTES)[:-60]
    service.responses = [head + b"%x\r\n%b\r\n" % (len(events), events)]
    with pytest.raises(gptimage.OutcomeUnknownError) as caught:
        list(connect().stream("A fox", BYTES, partial_images=1))
    assert [each.image.data for each in caught.value.partials] == [BYTES]


def test_a_final_event_without_its_blank_line_still_counts(
    connect: Connect, service: Service
) -> None:
    """A server that hangs up right after the data has delivered a paid image."""
    service.responses = [SSE_HEAD + sse("image_generation.completed", BYTES).rstrip(b"\n")]
    (last,) = connect().stream("A fox")
    assert last.image.data == BYTES


def test_an_event_of_thirty_megabytes_arrives(connect: Connect, service: Service) -> None:
    """No limit on the size of an event stands in the way of a large image."""
    large = BYTES + bytes(30_000_000)  # what follows a PNG's end is kept, as every byte is
    service.responses = [SSE_HEAD + sse("image_generation.completed", large)]
    (last,) = connect().stream("A fox")
    assert last.image.nbytes == len(large)


def test_a_picture_named_by_address_is_downloaded_without_the_key(
    connect: Connect, service: Service
) -> None:
    """Some compatible servers answer with a URL; the key is nobody else's business."""
    url = service.url.replace("/v1", "/files/fox.png")
    png = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\n"
    service.responses = [
        whole(json.dumps({"data": [{"url": url}]}).encode()),
        whole(BYTES, png),
    ]
    assert connect().generate("A fox").image.data == BYTES
    assert b"sk-secret-key" not in service.requests[1]


def test_a_picture_that_cannot_be_downloaded_is_named_in_the_error(
    connect: Connect, service: Service
) -> None:
    """The raw reply with the address is in the error, so the image can still be had."""
    url = service.url.replace("/v1", "/gone.png")
    service.responses = [
        whole(json.dumps({"data": [{"url": url}]}).encode()),
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
    ]
    with pytest.raises(gptimage.MalformedReplyError) as caught:
        connect().generate("A fox")
    assert url.encode() in caught.value.reply


@pytest.mark.parametrize("family", [httpx2, httpx])
def test_a_callers_own_sdk_client_is_used_and_left_open(
    harness: Harness, service: Service, family: Any
) -> None:
    """Also one over the older httpx, whose error classes are other ones."""
    kind, plain = ("OpenAI", "Client") if harness.runner is None else ("AsyncOpenAI", "AsyncClient")
    http = getattr(family, plain)()
    sdk = getattr(openai, kind)(api_key="sk-mine", base_url=service.url, http_client=http)
    client = harness.client(openai=sdk)
    service.responses = [whole(JSON), whole(JSON)[:-400]]
    assert client.generate("A fox").image.data == BYTES
    with pytest.raises(gptimage.OutcomeUnknownError):
        client.generate("A fox")
    client.close()
    assert not http.is_closed
    harness.call(sdk.close)


def test_a_body_of_the_wrong_length_is_not_padded(connect: Connect, service: Service) -> None:
    """A compressed body is longer than its content-length says; it is read whole."""
    import gzip

    packed = gzip.compress(bytes(JSON))
    service.responses = [whole(packed, HEAD + b"content-encoding: gzip\r\n")]
    assert connect().generate("A fox").image.data == BYTES


def test_pictures_that_arrived_before_the_line_went_dead_are_kept(
    connect: Connect, service: Service
) -> None:
    """Of two images one arrived whole: it is returned, with a warning for the other."""
    service.responses = [whole(answer(BYTES, BYTES).body)[:-200]]
    result = connect().generate("A fox", n=2)
    assert [image.data for image in result.images] == [BYTES]
    assert any("cut short" in sentence for sentence in result.warnings)
    assert result.cost is None


@pytest.mark.parametrize(("timeout", "connecting"), [(600.0, 10.0), (30.0, 10.0), (2.0, 2.0)])
@pytest.mark.parametrize("is_async", [False, True])
def test_connecting_has_a_limit_of_its_own(
    is_async: bool, timeout: float, connecting: float
) -> None:
    """The model may take minutes to answer; a host that is up takes none to connect."""
    from gptimage.transport.direct import http_client

    endpoint = "http://127.0.0.1:9/v1"
    steps = http_client(endpoint, timeout, {}, is_async=is_async).timeout

    assert (steps.connect, steps.read, steps.write) == (connecting, timeout, timeout)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate", "SSL_CERT_FILE"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "no TLS"),
    ],
)
@pytest.mark.parametrize("deep", [False, True])
def test_what_no_waiting_mends_is_not_tried_again(said: str, words: str, deep: bool) -> None:
    """A certificate stays wrong, also where only the cause of the failure says so."""
    from gptimage.transport.response_stream import failure as failed

    error = httpx2.ConnectError("" if deep else said)
    if deep:
        error.__cause__ = OSError(said)
    found = failed(error)

    assert isinstance(found, gptimage.TransportError)
    assert (found.retryable, words in str(found)) == (False, True)


@pytest.mark.parametrize(
    ("said", "retryable"),
    [("407 Proxy Authentication Required", False), ("403 Forbidden", False), ("502 x", True)],
)
def test_a_proxy_that_refuses_is_not_asked_again(said: str, retryable: bool) -> None:
    """No tunnel was made, so nothing was sent; a password does not appear by waiting."""
    from gptimage.transport.response_stream import failure as failed

    found = failed(httpx2.ProxyError(said))

    assert isinstance(found, gptimage.TransportError)
    assert found.retryable is retryable
