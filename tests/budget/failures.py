"""Ways in which a service fails after, or before, it did the work, played on a real socket.

It needs nothing of gptimage, so that other people's clients can be measured by the same list.
"""

from __future__ import annotations

import json
import socket
import socketserver
import struct
import threading
from typing import Final, Literal

from attrs import frozen


PAID: Final = ("/images/generations", "/images/edits", "/responses", "/batches")
"""What is billed; a look at batches and an upload are not."""

Outcome = Literal["not_billed", "unknown"]


@frozen
class Failure:
    """One failure.

    Attributes:
        name: What happens.
        answer: The bytes of the answer; empty when there is none.
        billing: What a ledger may say: ``unknown`` when the work may have been done.
        posts: How many requests may be sent with four tries allowed.
        ending: How the connection ends: ``close``, ``reset`` or ``hang`` (no answer at all).
    """

    name: str
    answer: bytes
    billing: Outcome
    posts: int = 1
    ending: Literal["close", "reset", "hang"] = "close"


def response(status: int, body: object = b"", **headers: str) -> bytes:
    """An HTTP response."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "text/html" if isinstance(body, bytes) else "application/json"
    named = {"content-type": kind, "content-length": str(len(raw)), "connection": "close"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in named.items())]
    return "\r\n".join([*lines, "", ""]).encode() + raw


def error(message: str, **fields: object) -> dict[str, object]:
    """An error object as OpenAI sends it."""
    return {"error": {"message": message, "type": None, "param": None, "code": None, **fields}}


HTML: Final = b"<html><body>Bad gateway</body></html>"
CUT: Final = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{"da'

FAILURES: Final = (
    Failure("connection reset after the request", b"", "unknown", ending="reset"),
    Failure("no response in time", b"", "unknown", ending="hang"),
    Failure("response cut short", CUT, "unknown"),
    Failure("moderation", response(400, error("no", code="moderation_blocked")), "not_billed"),
    Failure("wrong key", response(401, error("no", code="invalid_api_key")), "not_billed"),
    Failure(
        "408 of LiteLLM",
        response(408, error("litellm.Timeout: APITimeoutError", code="408")),
        "unknown",
    ),
    Failure(
        "429 too fast",
        response(429, error("slow", code="rate_limit_exceeded"), retry_after_ms="1"),
        "not_billed",
        posts=4,
    ),
    Failure(
        "429 no credit, through LiteLLM",
        response(429, error("You exceeded your current quota, please check", code="429")),
        "not_billed",
    ),
    Failure("499 of nginx", response(499, HTML), "unknown"),
    Failure(
        "500 in the middle of the work",
        response(
            500,
            error(
                "Image generation failed",
                type="image_generation_server_error",
                code="image_generation_failed",
            ),
        ),
        "unknown",
    ),
    Failure("502 of a gateway", response(502, HTML, retry_after_ms="1"), "unknown"),
    Failure("503 without a word", response(503, retry_after_ms="1"), "unknown"),
    Failure(
        "503 overloaded, in the service's own words",
        response(
            503,
            error("The server is currently overloaded with other requests", type="server_error"),
            retry_after_ms="1",
        ),
        "not_billed",
        posts=4,
    ),
    Failure("504 of a gateway", response(504, HTML), "unknown"),
    Failure("521 of Cloudflare", response(521, HTML), "unknown"),
    Failure(
        "303 to an address that cannot be reached",
        response(303, location="http://127.0.0.1:9/result"),
        "unknown",
    ),
    Failure(
        "307 to another host",
        response(307, location="http://127.0.0.1:9/v1/images"),
        "unknown",
    ),
    Failure("301 to https", response(301, location="https://127.0.0.1:9/v1"), "not_billed"),
    Failure("200 with a web page", response(200, HTML), "unknown"),
    Failure("200 with nothing in it", response(200, {"data": None}), "unknown"),
)


class FailingService:
    """A server that fails in one way, and counts what it would have billed.

    Args:
        failure: What it does with each paid request.
    """

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        self.posts: list[str] = []
        self.released = threading.Event()
        service = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                service.serve(self.request)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def serve(self, connection: socket.socket) -> None:
        """Answer one request."""
        method, path = _read(connection)
        if method != "POST" or not path.endswith(PAID):
            value: dict[str, object] = {"object": "list", "data": [], "has_more": False}
            value["id"] = "file-1"
            connection.sendall(response(200, value))
            return
        self.posts.append(path)
        connection.sendall(self.failure.answer)
        if self.failure.ending == "hang":
            self.released.wait(60)
        if self.failure.ending == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

    def close(self) -> None:
        """End it."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


def _read(connection: socket.socket) -> tuple[str, str]:
    """Read a request whole; its method and path."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536) or b"\r\n\r\n"
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
    while len(body) < int(fields.get(b"content-length", b"0")):
        body += connection.recv(65536)
    if fields.get(b"transfer-encoding", b"").strip() == b"chunked":
        while not body.endswith(b"0\r\n\r\n"):
            body += connection.recv(65536)
    method, path, *_ = head.decode("latin-1").split(" ")
    return method, path.partition("?")[0]
