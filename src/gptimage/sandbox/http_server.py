"""The sandbox's door over HTTP, for any OpenAI client in any language."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self, cast

from attrs import evolve

from gptimage._internal.keywords import one_of, refused, strict_class, text, whole
from gptimage.sandbox import replies, wire
from gptimage.sandbox.failures import Cut, ErrorReply, refusal
from gptimage.sandbox.service import CONTROL, VARIATIONS, Sandbox, SandboxReply
from gptimage.sandbox.wire import MULTIPART, BadBodyError, read_body
from gptimage.transport.http import HttpReply, HttpRequest


_logger: Final = logging.getLogger(__name__)
_LAST_PORT: Final = 65_535
_IDLE_SECONDS: Final = 120.0


@strict_class
class SandboxServer:
    """A sandbox listening on a port, from `__enter__` to `__exit__`.

    Args:
        host: The address to listen on.
        port: The port; 0 takes a free one.
        sandbox: The sandbox that replies; a new one when left out.

    Attributes:
        sandbox: The sandbox that replies.
    """

    def __init__(
        self, *, host: str = "127.0.0.1", port: int = 0, sandbox: Sandbox | None = None
    ) -> None:
        text("host", host)
        whole("port", port, 0)
        if port > _LAST_PORT:
            raise refused("port", port, f"at most {_LAST_PORT}, or 0 for a free one")
        if sandbox is not None:
            one_of("sandbox", sandbox, Sandbox, "a Sandbox")
        self.sandbox: Sandbox = Sandbox() if sandbox is None else sandbox
        self._listener = _Listener((host, port), self.sandbox)
        self.sandbox.address = self.azure_endpoint
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """The address a client of the sandbox's provider takes as its base URL."""
        return f"{self.azure_endpoint}{self.sandbox.dialect.prefix}"

    @property
    def azure_endpoint(self) -> str:
        """The address a client of Azure takes as its endpoint; any model is a deployment."""
        host, port = self._listener.server_address[:2]
        name = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"http://{name}:{port}"

    def __enter__(self) -> Self:
        """Start to serve, in a thread of its own."""
        listen = self._listener.serve_forever
        self._thread = threading.Thread(
            target=listen, args=(0.02,), name="gptimage-sandbox", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and free the port."""
        if self._thread is not None:
            self._listener.shutdown()
            self._thread.join()
            self._thread = None
        self.close()

    def run(self) -> None:
        """Serve in this thread until interrupted; then `close` is still to be called."""
        self._listener.serve_forever(0.2)

    def close(self) -> None:
        """Free the port; harmless when done twice."""
        self._listener.stop()


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    sandbox: Sandbox | None = None,
    on_ready: Callable[[str], object] | None = None,
) -> None:
    """Serve a sandbox until interrupted (Ctrl-C raises KeyboardInterrupt).

    Args:
        host: The address to listen on.
        port: The port; 0 takes a free one.
        sandbox: The sandbox that replies; a new one when left out.
        on_ready: Called with the base URL once the port is open.

    Raises:
        OSError: The port is taken, or the address is not this machine's.
    """
    server = SandboxServer(host=host, port=port, sandbox=sandbox)
    try:
        if on_ready:
            on_ready(server.base_url)
        server.run()
    finally:
        server.close()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], sandbox: Sandbox) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)
        self.sandbox = sandbox
        self.stopping = threading.Event()
        self._connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, so that `stop` can end it."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection and close it."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def stop(self) -> None:
        """Free the port and end every connection that is still open."""
        self.stopping.set()
        self.server_close()
        for connection in tuple(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  # the base class's signature
        """Log a fault of the sandbox itself; nothing is printed."""
        _logger.error("the sandbox failed on %s", client_address, exc_info=sys.exception())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "gptimage-sandbox"
    sys_version = ""
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True

    @property
    def _listener(self) -> _Listener:
        return cast("_Listener", self.server)

    def handle(self) -> None:
        """Requests of one connection, until either side ends it."""
        try:
            super().handle()
        except (ConnectionError, TimeoutError) as error:  # the client has closed the connection
            _logger.debug("connection ended: %r", error)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are in `Sandbox.requests`; the terminal stays quiet."""
        _logger.debug(format, *args)

    def _serve(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        if self.command == "OPTIONS":
            self._preflight(headers)
            return
        try:
            body = read_body(self.rfile, headers)
        except BadBodyError as error:
            self.close_connection = True
            self._whole(self._refused(ErrorReply(str(error), status=error.status)))
            return
        try:
            request = self._request(headers, body)
        except ErrorReply as refusal:
            self._whole(self._refused(refusal))
            return
        self._send(self._reply(request))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _serve  # noqa: N815

    def _preflight(self, headers: dict[str, str]) -> None:
        """Let a web page of any origin send any request: a preflight carries no key."""
        self.close_connection = True  # a body, which none has, would not be read
        allowed = {
            "access-control-allow-methods": "GET, POST, DELETE, OPTIONS",
            "access-control-allow-headers": headers.get("access-control-request-headers", "*"),
            "access-control-max-age": "86400",
            "content-length": "0",
        }
        self._head(HttpReply(status=200), allowed)

    def _request(self, headers: dict[str, str], body: bytearray) -> HttpRequest:
        """Return the request as a value, with its key checked and left behind."""
        dialect = self._listener.sandbox.dialect
        path = self.path.partition("?")[0]
        gone = not dialect.images_only and dialect.route(path)[0] == VARIATIONS
        if not path.startswith(CONTROL) and not gone:
            dialect.check_key(headers, self.path)
        headers_kept = {
            name: headers[name]
            for name in headers
            if name in _HEADERS or (name.startswith("x-") and "key" not in name)
        }
        method = "GET" if self.command == "HEAD" else self.command
        request = HttpRequest(method=method, path=_without_key(self.path), headers=headers_kept)
        if gone:  # neither its key nor its body is looked at
            return request
        kind = headers.get("content-type", "")
        if kind.lower().startswith(MULTIPART):
            try:
                fields, files = wire.split(body, kind)
            except ValueError as error:
                raise ErrorReply(f"Could not parse multipart form: {error}") from error
            return evolve(request, body=fields, files=tuple(files))
        return evolve(request, body=_parsed(body))

    def _reply(self, request: HttpRequest) -> SandboxReply:
        try:
            return self._listener.sandbox.handle(request)
        except Exception:
            _logger.exception("the sandbox failed on %s %s", request.method, request.path)
            fault = ErrorReply(
                "The sandbox itself failed; see its log.", type="server_error", status=500
            )
            return SandboxReply(reply=self._refused(fault))

    def _refused(self, refusal: ErrorReply) -> HttpReply:
        """Return the reply to a request that never reached the sandbox."""
        request_id = f"req_{uuid.uuid4().hex}"
        reply = self._listener.sandbox.dialect.refuse(refusal, request_id)
        return evolve(reply, headers={"x-request-id": request_id, **reply.headers})

    def _send(self, found: SandboxReply) -> None:
        if found.ends == "never":
            self._hold()
        elif found.events is not None:
            self._events(found)
        else:
            time.sleep(found.pause)
            self._whole(found.reply, cut=found.ends == "cut")

    def _hold(self) -> None:
        """Say nothing until the other side gives up or the server stops."""
        self.close_connection = True
        self.connection.settimeout(0.1)
        while not self._listener.stopping.is_set():
            try:
                if not self.connection.recv(1, socket.MSG_PEEK):
                    return
            except TimeoutError:
                continue
            self._listener.stopping.wait(0.1)  # more is being sent, by a client that does not wait

    def _whole(self, reply: HttpReply, *, cut: bool = False) -> None:
        self._head(reply, {"content-length": str(len(reply.body))})
        if self.command != "HEAD":
            self.wfile.write(memoryview(reply.body)[: len(reply.body) // 2] if cut else reply.body)
        self.close_connection = self.close_connection or cut

    def _events(self, found: SandboxReply) -> None:
        """Each event is sent as one chunk, as soon as it is there."""
        chunked = self.request_version != "HTTP/1.0"
        self.close_connection = self.close_connection or not chunked
        coding = {"transfer-encoding": "chunked"} if chunked else {}
        self._head(found.reply, {**coding, "cache-control": "no-cache"})
        try:
            for piece in self._pieces(found):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        except Cut:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n" if chunked else b"")

    def _pieces(self, found: SandboxReply) -> Iterator[bytes]:
        for event in found.events or ():
            time.sleep(found.pause)
            yield replies.encoded(event)

    def _head(self, reply: HttpReply, more: dict[str, str]) -> None:
        self.send_response(reply.status)
        if not self.path.startswith(CONTROL):  # what was requested is nothing for web pages
            more = {**_CORS, **more}
        for name, value in {**reply.headers, **more}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("connection", "close")
        self.end_headers()


_CORS: Final = {
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "X-Request-ID, Retry-After, X-RateLimit-Limit-Requests",
}
_HEADERS: Final = frozenset({"content-type", "openai-beta", "openai-organization", "user-agent"})


def _without_key(path: str) -> str:
    """Return the path without a key in its query, which some clients send there."""
    return re.sub(r"([?&])key=[^&]*&?", r"\1", path).rstrip("?&")


def _parsed(body: bytearray) -> dict[str, object]:
    if not body.strip():
        return {}
    try:
        value = json.loads(body, parse_constant=_no_such_number)
    except (ValueError, RecursionError) as error:
        raise refusal("no_json") from error
    if not isinstance(value, dict):
        raise refusal("no_json")
    return cast("dict[str, object]", value)


def _no_such_number(name: str) -> object:
    raise ValueError(f"{name} is no JSON number")
