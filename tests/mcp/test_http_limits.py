"""Limits that keep one client from taking all: speed, size, patience, memory."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import Response

from gptimage.service import as_caller
from gptimage.service.http import BodyLimitMiddleware, TokenBuckets, client_of
from gptimage_mcp.http.app import Connection
from tests.mcp.harness import server_fixture
from tests.mcp.http_helpers import Site, draw, serving
from tests.mcp.test_http_images import keep, large


QUIET: dict[str, Any] = {"transport": "http", "log_level": "ERROR"}


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(
    per_minute=st.integers(1, 200),
    pauses=st.lists(st.floats(0, 90, allow_nan=False), max_size=60),
)
def test_nobody_gets_more_than_the_limit(per_minute: int, pauses: list[float]) -> None:
    """However requests are spread, a client gets no more than a bucketful and what trickles in."""
    clock = Clock()
    buckets = TokenBuckets(per_minute, clock=clock)
    taken = 0
    for pause in pauses:
        clock.now += pause
        taken += buckets.take("a") is None

    assert taken <= per_minute + clock.now * per_minute / 60 + 1e-6


@given(st.integers(1, 200))
def test_waiting_as_long_as_told_is_enough(per_minute: int) -> None:
    """Whoever comes back after the time it was told is let in, and not much earlier."""
    clock = Clock()
    buckets = TokenBuckets(per_minute, clock=clock)
    while (wait := buckets.take("a")) is None:
        pass
    clock.now += wait / 2
    assert buckets.take("a") is not None
    clock.now += wait / 2 + 1e-6

    assert buckets.take("a") is None


def test_the_number_of_clients_that_are_remembered_is_bounded() -> None:
    """A million addresses take the memory of a few, and those who ask now are remembered."""
    buckets = TokenBuckets(2, most=10, clock=Clock())
    for number in range(100_000):
        buckets.take(f"address {number}")
        buckets.take("busy")

    assert len(buckets) == 10
    assert buckets.take("busy") is not None


def test_who_asked_last_is_remembered_longest() -> None:
    """When there are too many, the one that was not heard of for longest is forgotten."""
    buckets = TokenBuckets(1, most=3, clock=Clock())
    for name in ("a", "b", "c"):
        assert buckets.take(name) is None
    assert buckets.take("a") is not None
    assert buckets.take("d") is None  # b is forgotten for it

    assert [buckets.take(name) is None for name in ("a", "c", "d", "b")] == [
        False,
        False,
        False,
        True,
    ]


def scope(host: str) -> dict[str, Any]:
    """What a request says about who asks."""
    return {"type": "http", "client": (host, 1)}


def test_clients_are_told_apart_by_token_or_address() -> None:
    """A token counts wherever it comes from; of IPv6 a whole network is one client."""
    with as_caller("token-1"):
        assert client_of(scope("192.0.2.1")) == client_of(scope("192.0.2.2")) == "token-1"
    assert client_of(scope("192.0.2.1")) != client_of(scope("192.0.2.2"))
    assert client_of(scope("2001:db8::1")) == client_of(scope("2001:db8::ffff:1"))
    assert client_of(scope("2001:db8::1")) != client_of(scope("2001:db8:0:1::1"))
    assert client_of(scope("::ffff:192.0.2.1")) != client_of(scope("::ffff:192.0.2.2"))
    assert client_of({"type": "http", "client": None}) == "unknown"


class Sender:
    """A client that sends pieces of a body, and then nothing, or leaves.

    Args:
        pieces: What it sends.
        ends: Whether the last piece says that it is the last.
        endless: Whether the pieces come again and again.
        leaves: Whether it goes away in the end.
        declared: The length it declares.
    """

    def __init__(
        self,
        *pieces: bytes,
        ends: bool = True,
        endless: bool = False,
        leaves: bool = False,
        declared: bytes | None = None,
    ) -> None:
        self._pieces = itertools.cycle(pieces) if endless else iter(pieces)
        self._left = -1 if endless or not ends else len(pieces)
        self._leaves = leaves
        self.head = [] if declared is None else [(b"content-length", declared)]
        self.status = 0
        self.body = b""

    async def receive(self) -> Any:
        """The next piece."""
        await asyncio.sleep(0)
        piece = next(self._pieces, None)
        self._left -= 1
        if piece is not None:
            return {"type": "http.request", "body": piece, "more_body": self._left != 0}
        if self._leaves:
            return {"type": "http.disconnect"}
        return await asyncio.Event().wait()

    async def send(self, message: Any) -> None:
        """The answer."""
        self.status = message.get("status", self.status)
        self.body += message.get("body", b"")


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what was sent."""
    await Response((await receive())["body"])(scope, receive, send)


def guarded(*senders: Sender, **limits: Any) -> list[int]:
    """What each of several clients at once is answered."""
    guard = BodyLimitMiddleware(echo, **{"most": 1000, "pause": 60, "whole": 60, **limits})

    async def ask() -> None:
        async with asyncio.timeout(30):  # a guard that waits for ever is an error, no hanging test
            await asyncio.gather(
                *(
                    guard({"type": "http", "headers": each.head}, each.receive, each.send)
                    for each in senders
                )
            )

    asyncio.run(ask())
    return [each.status for each in senders]


def test_a_body_is_passed_on_whole() -> None:
    """What arrives in pieces is handed over as one, up to the last byte that is allowed."""
    sender = Sender(b"a" * 600, b"b" * 400)

    assert guarded(sender) == [200]
    assert sender.body == b"a" * 600 + b"b" * 400


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    """A body that stops, and one that trickles, end in 408; whoever leaves gets no answer."""
    assert guarded(Sender(b"a", ends=False), pause=0.05) == [408]
    assert guarded(Sender(b"x", endless=True), most=10**9, whole=0.05) == [408]
    assert guarded(Sender(b"a", ends=False, leaves=True)) == [0]


def test_a_length_that_is_too_much_is_not_waited_for() -> None:
    """Whoever declares too much is refused before anything of it is read."""
    assert guarded(Sender(ends=False, declared=b"1001")) == [413]
    assert guarded(Sender(b"a" * 1000, declared=b"1000")) == [200]


def test_all_bodies_together_have_a_limit() -> None:
    """When too much is on its way in, the rest is asked to come back, and later all is well."""
    guard_limits = {"most": 1000, "together": 1500}
    held = [Sender(b"a" * 500, b"b" * 400, ends=False) for _ in range(3)]

    # The one that is let in stops sending; a busy machine must have heard the others by then.
    assert sorted(guarded(*held, pause=1, **guard_limits)) == [408, 503, 503]
    assert guarded(*(Sender(b"a" * 500) for _ in range(3)), together=1500) == [200] * 3


class Hasty(Connection):
    """Connections that do not wait long."""

    head = 1.5
    stall = 0.5


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[tuple[Site, str]]:
    """A server with such connections, and the path of a picture of 12 MB."""
    home = server_fixture(tmp_path, **QUIET)
    record = keep(home.store, large())
    with serving(home.server, home.app.settings, connection=Hasty) as site:
        yield site, f"/images/{record.id}"


def until(happened: Callable[[], bool]) -> None:
    """Wait for something that is going to happen."""
    for _ in range(3000):
        if happened():
            return
        time.sleep(0.01)
    raise AssertionError("it never happened")


def test_a_request_that_does_not_come_is_not_waited_for(hasty: tuple[Site, str]) -> None:
    """Connections that say nothing, or half a head and then a byte now and then, are cut."""
    site, _ = hasty
    with site.connect() as later, site.connect() as silent, site.connect() as slow:
        later.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert later.recv(15) == b"HTTP/1.1 200 OK"
        later.sendall(b"GET /hea")
        slow.sendall(b"GET /health HT")
        ended = [each for each in (silent, slow, later) if drained(each)]
        until(lambda: not site.uvicorn.server_state.connections)

    assert len(ended) == 3


def drained(connection: socket.socket) -> bool:
    """Read until the other side ends the connection."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def test_a_reader_that_does_not_read_is_cut_off(
    hasty: tuple[Site, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers of a large picture that stop reading lose their connection, and others do not."""
    site, path = hasty
    with socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect(("127.0.0.1", site.port))
        stalled.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        until(lambda: len(site.uvicorn.server_state.connections) == 1)
        until(lambda: not site.uvicorn.server_state.connections)
        until(lambda: not site.uvicorn.server_state.tasks)

    monkeypatch.setattr(Hasty, "stall", 60)  # whoever reads may do so on a busy machine
    assert len(site.get(path).content) > 12_000_000


def test_a_long_answer_is_no_late_request(tmp_path: Path) -> None:
    """The deadline for a request's head does not end an answer that takes longer."""
    from gptimage.sandbox import Sandbox

    home = server_fixture(tmp_path, Sandbox(latency=2.0), **QUIET)
    with serving(home.server, home.app.settings, connection=Hasty) as site:
        body = b'{"prompt": "a fox"}'
        with site.connect() as plain:
            plain.sendall(b"POST /stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n")
            time.sleep(0.05)  # so that the head comes in two parts
            plain.sendall(b"Content-Type: application/json\r\nContent-Length: 19\r\n\r\n" + body)
            answer = plain.makefile("rb").read()
        with site.client() as client:
            codes = [client.get(f"/images/{draw(home.store).id}").status_code for _ in range(2)]

    assert b"event: complete" in answer
    assert codes == [200, 200]
