"""The door over HTTP: keep-alive, chunks, large and hostile bodies, streams, many at once."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gptimage.sandbox import Sandbox, SandboxServer, serve
from gptimage.sandbox.service import SandboxReply
from gptimage.transport.http import ServerEvent
from tests.ports import hold_port
from tests.sandbox.pictures import MODEL, SMALL, TODAY, part, photo


KEY = {"authorization": "Bearer sk-anything"}
JSON = {**KEY, "content-type": "application/json"}
QUICK = {"model": MODEL, "prompt": "A red fox", "size": SMALL, "quality": "low"}
GENERATE = "/v1/images/generations"


@pytest.fixture
def connection(server: SandboxServer) -> Iterator[http.client.HTTPConnection]:
    """One connection, used for as long as the server keeps it."""
    made = http.client.HTTPConnection(address(server)[0], address(server)[1], timeout=60)
    yield made
    made.close()


def address(server: SandboxServer) -> tuple[str, int]:
    """Host and port."""
    host, port = server.base_url.removeprefix("http://").removesuffix("/v1").split(":")
    return host, int(port)


def ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
    **options: Any,
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Status, headers and body of one call."""
    connection.request(method, path, body, JSON if headers is None else headers, **options)
    response = connection.getresponse()
    return response.status, response.headers, response.read()


def raw(server: SandboxServer, data: bytes, *, end: bool = True) -> bytes:
    """Everything the server says to these bytes."""
    with socket.create_connection(address(server), timeout=60) as sock:
        sock.sendall(data)
        if end:
            sock.shutdown(socket.SHUT_WR)
        said = b""
        while piece := sock.recv(65536):
            said += piece
        return said


def test_a_connection_is_kept(server: SandboxServer, connection: Any) -> None:
    """Several calls, good and bad, go over one connection."""
    ask(connection, "GET", "/v1/models")
    sock = connection.sock
    statuses = [
        ask(connection, "POST", GENERATE, json.dumps(body))[0] for body in (QUICK, {}, QUICK)
    ]

    assert statuses == [200, 400, 200]
    assert connection.sock is sock


def test_paths_work_with_and_without_version(server: SandboxServer, connection: Any) -> None:
    """A base URL with or without ``/v1`` reaches the same service."""
    assert ask(connection, "GET", "/models")[2] == ask(connection, "GET", "/v1/models?x=1")[2]


@pytest.mark.parametrize(
    ("given", "code"),
    [({}, None), ({"authorization": "Basic eA=="}, None), ({"authorization": "Bearer "}, None),
     ({"authorization": "Bearer sk-invalid"}, "invalid_api_key")],
)  # fmt: skip
def test_keys_are_asked_for(
    server: SandboxServer, connection: Any, given: dict[str, str], code: str | None
) -> None:
    """Any key will do, none will not, and one is known to be wrong."""
    status, headers, body = ask(connection, "GET", "/v1/models", headers=given)

    assert (status, json.loads(body)["error"]["code"]) == (401, code)
    assert headers["x-request-id"].startswith("req_")


def test_keys_are_not_remembered(server: SandboxServer, connection: Any, sandbox: Sandbox) -> None:
    """The log holds the call, not the key."""
    ask(connection, "GET", "/v1/models")

    assert "sk-anything" not in repr(sandbox.requests) + str(sandbox.requests[0].headers)


@pytest.mark.parametrize("body", [b"{", b"[]", b"nope", b"\xff", b'{"n": NaN}', b"[" * 100_000])
def test_bodies_that_are_no_json_object_are_refused(
    server: SandboxServer, connection: Any, body: bytes
) -> None:
    """The service's own hint comes back, and the connection lives."""
    status, _, answer = ask(connection, "POST", GENERATE, body)

    assert status == 400
    assert json.loads(answer)["error"]["message"].startswith("We could not parse the JSON body")
    assert ask(connection, "GET", "/v1/models")[0] == 200


def test_chunked_bodies_are_read(server: SandboxServer, connection: Any) -> None:
    """A client that does not know the length beforehand is understood."""
    pieces = [json.dumps(QUICK).encode()[i : i + 7] for i in range(0, 200, 7)]
    status, _, _ = ask(connection, "POST", GENERATE, iter(pieces), encode_chunked=True)

    assert status == 200
    assert ask(connection, "GET", "/v1/models")[0] == 200


def test_a_client_may_ask_before_it_sends(server: SandboxServer) -> None:
    """``Expect: 100-continue`` is answered before the body comes."""
    body = json.dumps({**QUICK, "n": 0}).encode()
    head = (
        f"POST {GENERATE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\nConnection: close\r\n"
        f"Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(address(server), timeout=60) as sock:
        sock.sendall(head.encode())
        assert sock.recv(100).startswith(b"HTTP/1.1 100 ")
        sock.sendall(body)
        assert sock.recv(100).startswith(b"HTTP/1.1 400 ")


def test_head_and_wrong_methods_are_sane(server: SandboxServer, connection: Any) -> None:
    """HEAD has the headers of GET and no body; other methods learn what is allowed."""
    status, headers, body = ask(connection, "HEAD", "/v1/models")
    put = ask(connection, "PUT", GENERATE)

    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 100
    assert (put[0], put[1]["allow"]) == (405, "POST")


def test_a_web_page_may_ask(server: SandboxServer, connection: Any) -> None:
    """A preflight needs no key and allows the headers it names; replies allow any origin."""
    wanted = {
        "Access-Control-Request-Headers": "authorization,x-stainless-os",
        "Origin": "http://x",
    }
    connection.request("OPTIONS", GENERATE, headers=wanted)
    reply = connection.getresponse()
    reply.read()
    connection.close()
    _, headers, _ = ask(connection, "GET", "/v1/models")
    _, own, _ = ask(connection, "GET", "/__sandbox/requests")

    assert reply.status == 200
    assert reply.headers["access-control-allow-headers"] == "authorization,x-stainless-os"
    assert "POST" in reply.headers["access-control-allow-methods"]
    assert headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-origin" not in own


ALIVE = b"GET /v1/models HTTP/1.0\r\nAuthorization: Bearer k\r\n\r\n"
HOSTILE = [
    b"\r\n\r\n",
    b"nonsense\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\n" + b"x: y\r\n" * 200 + b"\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    b"POST /v1/files HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/files HTTP/1.1\r\nContent-Length: 9999999999999999999\r\n\r\n",
    b"POST /v1/files HTTP/1.1\r\nContent-Length: 2000000000\r\n\r\n",
    b"POST /v1/files HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc",
    b"POST /v1/files HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\nx",
    b"POST /v1/files HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\nx",
    b"POST /v1/files HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    b"POST /v1/files HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcdefgh\r\n",
    b"POST /v1/files HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
    b"POST /v1/files HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTrailer: x\r\n\r\n",
    b"DELETE /v1/models/x HTTP/1.1\r\nAuthorization: Bearer k\r\n\r\n",
]


@pytest.mark.parametrize("data", HOSTILE)
def test_hostile_bytes_end_quietly(
    server: SandboxServer, data: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    """The server answers with an error or hangs up; it prints nothing and lives on."""
    said = raw(server, data)

    assert said == b"" or b" 4" in said[:16] or b" 5" in said[:16] or b"Error code" in said
    assert b" 500 " not in said[:16]
    assert (
        raw(server, b"GET /v1/models HTTP/1.0\r\nAuthorization: Bearer k\r\n\r\n")[9:12] == b"200"
    )
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module")
def lasting() -> Iterator[SandboxServer]:
    """One server for many examples."""
    with SandboxServer(sandbox=Sandbox(today=lambda: TODAY)) as server:
        yield server


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(
        [GENERATE, "/v1/images/edits", "/v1/files", "/v1/content_provenance_checks"]
    ),
    kind=st.sampled_from(
        ["application/json", "multipart/form-data; boundary=b", "multipart/form-data", "text/plain"]
    ),
    body=st.binary(max_size=300) | st.binary(max_size=200).map(lambda b: b"--b\r\n" + b),
)
def test_garbage_bodies_never_break_the_server(
    lasting: SandboxServer, path: str, kind: str, body: bytes
) -> None:
    """Any bytes under any content type are refused with OpenAI's error body."""
    connection = http.client.HTTPConnection(*address(lasting), timeout=60)
    status, _, answer = ask(connection, "POST", path, body, {**KEY, "content-type": kind})
    connection.close()

    assert 400 <= status < 500
    assert json.loads(answer)["error"]["message"]


def sse(answer: bytes) -> list[str]:
    """Names of the events of a stream."""
    return [block.split(b"\n")[0].decode() for block in answer.split(b"\n\n") if block]


def test_streams_are_sent_event_by_event(server: SandboxServer, connection: Any) -> None:
    """Chunked for HTTP/1.1, with the connection kept afterwards."""
    body = json.dumps({**QUICK, "stream": True, "partial_images": 2})
    status, headers, answer = ask(connection, "POST", GENERATE, body)

    assert (status, headers["transfer-encoding"]) == (200, "chunked")
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    partial = "event: image_generation.partial_image"
    assert sse(answer) == [partial, partial, "event: image_generation.completed"]
    assert ask(connection, "GET", "/v1/models")[0] == 200


class Paused(Sandbox):
    """A sandbox that draws nothing after the first event until the test says so."""

    def __init__(self) -> None:
        super().__init__(today=lambda: TODAY)
        self.go = threading.Event()

    def handle(self, request: Any) -> SandboxReply:
        """The reply, with a pause in it."""
        reply = super().handle(request)
        assert reply.events is not None
        return evolve(reply, events=self._events(reply.events))

    def _events(self, events: Iterator[ServerEvent]) -> Iterator[ServerEvent]:
        yield next(events)
        assert self.go.wait(60)
        yield from events


def test_events_arrive_when_they_are_drawn() -> None:
    """The first image is there before the next one is drawn."""
    sandbox = Paused()
    with SandboxServer(sandbox=sandbox) as server:
        connection = http.client.HTTPConnection(*address(server), timeout=60)
        body = json.dumps({**QUICK, "stream": True, "partial_images": 2})
        connection.request("POST", GENERATE, body, JSON)
        response = connection.getresponse()
        first = response.readline()
        sandbox.go.set()
        rest = response.read()
        connection.close()

    assert first == b"event: image_generation.partial_image\n"
    assert sse(first + rest)[-1] == "event: image_generation.completed"


def test_old_clients_get_streams_too(server: SandboxServer) -> None:
    """HTTP/1.0 knows no chunks: the stream ends with the connection."""
    body = json.dumps({**QUICK, "stream": True}).encode()
    head = f"POST {GENERATE} HTTP/1.0\r\nAuthorization: Bearer k\r\nContent-Length: {len(body)}\r\n"
    said = raw(server, head.encode() + b"\r\n" + body, end=False)
    headers, _, events = said.partition(b"\r\n\r\n")

    assert b"chunked" not in headers
    assert sse(events) == ["event: image_generation.completed"]


@pytest.mark.parametrize("stream", [True, False])
def test_cut_answers_end_early(server: SandboxServer, connection: Any, stream: bool) -> None:
    """The client sees a body that stops before its end."""
    server.sandbox.fail_next("cut")
    body = json.dumps({**QUICK, "stream": stream, **({"partial_images": 1} if stream else {})})

    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(connection, "POST", GENERATE, body)
    assert len(caught.value.partial) > 1000


def test_timeouts_never_answer(server: SandboxServer) -> None:
    """The connection stays open and silent until the client has had enough."""
    server.sandbox.fail_next("timeout")
    connection = http.client.HTTPConnection(*address(server), timeout=0.3)

    with pytest.raises(TimeoutError):
        ask(connection, "POST", GENERATE, json.dumps(QUICK))
    connection.close()


def test_any_language_can_ask_for_failures(server: SandboxServer, connection: Any) -> None:
    """A header is all it takes."""
    headers = {**JSON, "x-sandbox-fail": "quota"}
    status, _, body = ask(connection, "POST", GENERATE, json.dumps(QUICK), headers)

    assert (status, json.loads(body)["error"]["code"]) == (429, "insufficient_quota")


def form(*files: Any, **fields: str) -> tuple[bytes, dict[str, str]]:
    """A multipart body and its headers."""
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode()
        for name, text in fields.items()
    ]
    for file in files:
        head = (
            f'--b\r\nContent-Disposition: form-data; name="{file.name}"; filename="x"\r\n'
            f"Content-Type: {file.content_type}\r\n\r\n"
        )
        parts += [head.encode(), file.data, b"\r\n"]
    body = b"".join([*parts, b"--b--\r\n"])
    return body, {**KEY, "content-type": "multipart/form-data; boundary=b"}


def test_sixty_megabytes_are_received_whole(server: SandboxServer, connection: Any) -> None:
    """A large upload arrives to the last byte."""
    data = bytes(range(256)) * 240_000
    body, headers = form(part("file", data), purpose="vision")
    status, _, answer = ask(connection, "POST", "/v1/files", body, headers)

    assert (status, json.loads(answer)["bytes"]) == (200, len(data))
    assert server.sandbox.requests[0].files[0].data == data


def test_large_chunked_uploads_are_received_whole(server: SandboxServer, connection: Any) -> None:
    """In many chunks as well."""
    data = bytes(range(256)) * 40_000
    body, headers = form(part("file", data), purpose="vision")
    pieces = (body[i : i + 65_536] for i in range(0, len(body), 65_536))
    status, _, answer = ask(
        connection, "POST", "/v1/files", pieces, headers, encode_chunked=True
    )  # fmt: skip

    assert (status, json.loads(answer)["bytes"]) == (200, len(data))


def test_forms_without_files_are_forms(server: SandboxServer, connection: Any) -> None:
    """An edit without its image is told so in the words for forms."""
    body, headers = form(model=MODEL, prompt="x")
    status, _, answer = ask(connection, "POST", "/v1/images/edits", body, headers)

    assert (status, json.loads(answer)["error"]["param"]) == (400, "image")


def test_thirty_two_calls_at_once(server: SandboxServer) -> None:
    """Each gets its own image."""

    def one(number: int) -> bytes:
        connection = http.client.HTTPConnection(*address(server), timeout=120)
        body = json.dumps({**QUICK, "prompt": f"A fox {number % 4}"})
        status, _, answer = ask(connection, "POST", GENERATE, body)
        connection.close()
        assert status == 200
        return json.loads(answer)["data"][0]["b64_json"]

    with ThreadPoolExecutor(32) as pool:
        pictures = list(pool.map(one, range(32)))

    assert len(set(pictures)) == 4
    assert pictures[:4] * 8 == pictures


def test_clients_that_leave_are_not_mourned(
    server: SandboxServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """A client that goes away in the middle leaves no traceback and no stuck server."""
    body = json.dumps({**QUICK, "stream": True, "partial_images": 3}).encode()
    head = f"POST {GENERATE} HTTP/1.1\r\nAuthorization: Bearer k\r\nContent-Length: {len(body)}\r\n"
    for cut in (20, len(head) + 10, len(head) + 2 + len(body)):
        with socket.create_connection(address(server), timeout=60) as sock:
            sock.sendall((head.encode() + b"\r\n" + body)[:cut])
    said = raw(server, ALIVE)

    assert said[9:12] == b"200"
    assert capfd.readouterr().err == ""


def test_a_server_frees_its_port() -> None:
    """The port can be listened on again as soon as the server is closed."""
    port = hold_port()
    with SandboxServer(port=port) as first:
        host, port = address(first)
    with SandboxServer(host=host, port=port) as second:
        assert address(second) == (host, port)
    second.close()


def test_serve_tells_its_address_and_runs_until_interrupted() -> None:
    """`serve` announces the base URL, answers there, and ends on an interrupt."""
    seen: list[str] = []

    def ready(base_url: str) -> None:
        seen.append(base_url)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        serve(port=0, on_ready=ready)
    assert seen[0].startswith("http://127.0.0.1:")


def test_ports_in_use_are_an_error(server: SandboxServer) -> None:
    """Nobody listens twice on one port."""
    with pytest.raises(OSError, match="use"):
        serve(port=address(server)[1])


def test_edits_over_http_draw_on_the_picture(server: SandboxServer, connection: Any) -> None:
    """The bytes of a form reach the painter."""
    fields = {"model": MODEL, "prompt": "Make it night", "size": SMALL, "quality": "low"}
    body, headers = form(part("image[]", photo()), part("image[]", photo()), **fields)
    status, _, answer = ask(connection, "POST", "/v1/images/edits", body, headers)
    used = json.loads(answer)["usage"]["input_tokens_details"]

    assert (status, used["image_tokens"]) == (200, 2 * 32 * 24)
