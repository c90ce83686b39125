"""A client used before a fork: the child shares no connection with its parent."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import openai
import pytest

from gptimage._internal.locks import ForkSafeLock
from gptimage.errors import ConfigurationError
from gptimage.transport.blocking import BlockingTransport
from gptimage.transport.direct import HttpTransport, http_client
from gptimage.transport.http import HttpRequest
from gptimage.transport.openai_sdk import OpenAITransport


pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]

FORKING = threading.Event()
if hasattr(os, "register_at_fork"):  # runs before the library's own, which was registered earlier
    os.register_at_fork(before=FORKING.set)

REQUEST = HttpRequest(method="POST", path="/images/generations", body={"model": "m"})


class Service:
    """A server that keeps connections open, and records on which one each request came."""

    def __init__(self) -> None:
        self.ports: list[int] = []
        ports = self.ports

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                ports.append(self.client_address[1])
                self.send_response(200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"


@pytest.fixture
def service() -> Iterator[Service]:
    """The server, until the end of the test."""
    found = Service()
    found.thread.start()
    yield found
    found.server.shutdown()
    found.thread.join()
    found.server.server_close()


def in_child(work: Callable[[], object]) -> int:
    """Fork, do something in the child, and return its exit code: 0 if nothing was raised."""
    child = os.fork()
    if child == 0:
        code = 1
        signal.alarm(60)  # what waits for a lock of the parent's threads would wait forever
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_child_opens_its_own_connections(service: Service) -> None:
    """Its request comes on a new one, and closing its client leaves the parent's open."""
    transport = HttpTransport(lambda: http_client(service.url, 60, {}, is_async=False), owned=True)

    def call_and_close() -> None:
        transport.send(REQUEST)
        transport.close()

    transport.send(REQUEST)
    code = in_child(call_and_close)
    unused = in_child(transport.close)
    transport.send(REQUEST)
    transport.close()

    first, of_child, last = service.ports
    assert (code, unused) == (0, 0)
    assert first == last
    assert of_child != first


def test_a_client_of_the_caller_serves_one_process(service: Service) -> None:
    """Used before the fork it is refused in the child before anything is sent; unused it works."""

    def refused(transport: BlockingTransport) -> None:
        with pytest.raises(ConfigurationError, match=r"before this process was forked.*nothing"):
            transport.send(REQUEST)

    def sdk() -> openai.OpenAI:
        return openai.OpenAI(api_key="sk-x", base_url=service.url, max_retries=0)

    with sdk() as one, sdk() as other:
        used = OpenAITransport(lambda: one, owned=False)
        unused = OpenAITransport(lambda: other, owned=False)
        used.send(REQUEST)
        codes = [in_child(lambda: refused(used)), in_child(lambda: unused.send(REQUEST))]

    assert codes == [0, 0]
    assert len(service.ports) == 2


def test_a_fork_waits_for_a_client_that_is_being_made(service: Service) -> None:
    """Forked while a thread makes the first client, the child can make its own and send."""
    inner, making = ForkSafeLock(), threading.Event()
    FORKING.clear()

    def make() -> Any:
        if not making.is_set():
            making.set()
            assert FORKING.wait(60)
            with inner:  # making a client takes other locks, too
                pass
        return http_client(service.url, 60, {}, is_async=False)

    transport = HttpTransport(make, owned=True)
    first = Thread(target=transport.send, args=(REQUEST,))
    first.start()
    assert making.wait(60)
    code = in_child(lambda: transport.send(REQUEST))
    first.join()
    transport.close()

    assert code == 0
    assert len(service.ports) == 2
