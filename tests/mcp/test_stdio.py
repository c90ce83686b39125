"""Messages over standard input that are none: each is answered, and the next one is served."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from gptimage_mcp.stdio import Lines
from tests.mcp import test_command
from tests.mcp.test_command import PATIENCE, Server, serving


account = test_command.account

CALL = (
    b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"estimate_cost",'
    b'"arguments":{"tool":"generate_image","arguments":{"prompt":"%s"}}}}'
)
DEEP = b"[" * 100_000


class Sent:
    """A stream that keeps the responses sent to it."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    async def send(self, message: Any) -> None:
        """Keep it as it would be written."""
        self.messages.append(json.loads(message.message.model_dump_json(exclude_unset=True)))


def received(data: bytes) -> tuple[list[str], list[dict[str, Any]]]:
    """What is handed on of some input, and what is responded."""

    async def run() -> tuple[list[str], list[dict[str, Any]]]:
        source, sink = os.pipe()
        lines, sent = Lines(source), Sent()
        lines.sent = sent

        def write() -> None:
            with os.fdopen(sink, "wb") as file:
                file.write(data)

        writing = asyncio.ensure_future(asyncio.to_thread(write))
        handed_on = [text async for text in lines.messages()]
        await writing
        os.close(source)
        return handed_on, sent.messages

    return asyncio.run(run())


BROKEN = {
    "half an emoji": (CALL % (5, b"a fox \\ud83d"), 5, -32700, "cut in two"),
    "the other half": (CALL % (5, b"a fox \\ude00"), 5, -32700, "cut in two"),
    "half an emoji in a name": (b'{"jsonrpc":"2.0","id":5,"\\ud83d":1}', 5, -32700, "cut in two"),
    "latin-1": (CALL % (5, "Käse".encode("latin-1")), 5, -32700, "not UTF-8"),
    "a surrogate as UTF-8": (CALL % (5, b"\xed\xa0\xbd"), 5, -32700, "not UTF-8"),
    "a raw NUL": (CALL % (5, b"\x00"), 5, -32700, "not valid JSON"),
    "a raw tab": (CALL % (5, b"\t"), 5, -32700, "not valid JSON"),
    "cut off": ((CALL % (5, b"x"))[:-3], 5, -32700, "not valid JSON"),
    "a quote too many": (CALL % (5, b'x" "'), 5, -32700, "not valid JSON"),
    "single quotes": (b"{'jsonrpc':'2.0','id':5,'method':'ping'}", None, -32700, "not valid JSON"),
    "an id among the arguments": (
        b'{"params":{"arguments":{"id":9,"x":"\\ud83d"}},"jsonrpc":"2.0","id":"a-5"}',
        "a-5",
        -32700,
        "cut in two",
    ),
    "no id of its own": (b'{"params":{"id":9},"method":"ping"', None, -32700, "not valid JSON"),
    "the id last, after a quote": (b'{"x":"a" b", "id":5}', 5, -32700, "not valid JSON"),
    "half an emoji as id": (b'{"jsonrpc":"2.0","id":"\\ud83d"}', None, -32700, "cut in two"),
    "deep": (b'{"jsonrpc":"2.0","id":5,"params":' + DEEP, 5, -32700, "not valid JSON"),
    "a version of old": (b'{"jsonrpc":"1.0","id":5,"method":"ping"}', 5, -32600, "JSON-RPC 2.0"),
    "no method": (b'{"jsonrpc":"2.0","id":5}', 5, -32600, "JSON-RPC 2.0"),
    "parameters in a list": (
        b'{"jsonrpc":"2.0","id":5,"method":"ping","params":[]}',
        5,
        -32600,
        "JSON-RPC 2.0",
    ),
    "a fraction as id": (b'{"jsonrpc":"2.0","id":1.5,"method":"p"}', None, -32600, "the id"),
    "no value as id": (b'{"jsonrpc":"2.0","id":null,"method":"p"}', None, -32600, "the id"),
    "a batch": (b'[{"jsonrpc":"2.0","id":5,"method":"ping"}]', None, -32600, "batch"),
    "a number": (b"5", None, -32600, "JSON-RPC 2.0"),
    "UTF-16": ('{"id":5}'.encode("utf-16"), None, -32700, "not UTF-8"),
    "no JSON at all": (b"hello", None, -32700, "not valid JSON"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_read_is_answered(name: str) -> None:
    """The error has the id of the request, its kind, and what is wrong; the rest is handed on."""
    line, id, code, words = BROKEN[name]

    handed_on, sent = received(line + b"\n" + CALL % (6, b"a fox") + b"\n")

    assert [each.encode().strip() for each in handed_on] == [CALL % (6, b"a fox")]
    assert [(each["id"], each["error"]["code"]) for each in sent] == [(id, code)]
    assert words in sent[0]["error"]["message"]
    assert "fox" not in sent[0]["error"]["message"]


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + CALL % (6, b"a fox") + b"\n",
        CALL % (6, b"a fox") + b"\r\n\r\n \n",
        CALL % (6, b"a fox"),
    ],
    ids=["byte order mark", "Windows line ends and empty lines", "no line end"],
)
def test_harmless_differences_are_read(data: bytes) -> None:
    """A byte order mark, Windows' line ends, empty lines and a missing last one change nothing."""
    handed_on, sent = received(data)

    assert [json.loads(each) for each in handed_on] == [json.loads(CALL % (6, b"a fox"))]
    assert sent == []


@pytest.mark.parametrize("id", [b'"jsonrpc":"2.0","id":5', b'"id":5,"jsonrpc":"2.0"'])
def test_a_line_without_end_is_answered(id: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message above the limit is dropped as it comes in, and refused by its id at either end."""
    monkeypatch.setattr("gptimage_mcp.stdio.MAX_LINE", 100_000)
    text = b"x" * 250_000
    first = b'{%s,"params":{"text":"%s"}}\n' % (id, text)
    last = b'{"params":{"text":"%s"},"jsonrpc":"2.0","id":5}\n' % text

    for line in (first, last):
        handed_on, sent = received(line + CALL % (6, b"a fox"))
        assert len(handed_on) == 1
        assert [each["id"] for each in sent] == [5]
        assert "longer than" in sent[0]["error"]["message"]


def test_a_response_that_cannot_be_read_ends_what_waits_for_it() -> None:
    """It is handed on as an error, because a question of the server would wait for ever."""
    line = b'{"jsonrpc":"2.0","id":5,"result":{"content":{"text":"\\ud83d"}}}\n'

    handed_on, sent = received(line)

    assert sent == []
    (error,) = map(json.loads, handed_on)
    assert (error["id"], error["error"]["code"]) == (5, -32700)


@pytest.fixture
def server(account: dict[str, str]) -> Iterator[Server]:
    """A server in its own process, after the handshake."""
    with serving(account) as running:
        running.greet()
        yield running


def test_a_server_answers_whatever_it_is_sent(server: Server) -> None:
    """A real process answers every broken line and serves the next request."""
    stdin, stdout = server.process.stdin, server.process.stdout
    assert stdin is not None
    assert stdout is not None
    for line, id, code, _ in BROKEN.values():
        os.write(stdin.fileno(), line + b"\n")
        answer = json.loads(stdout.readline())
        assert (answer["id"], answer["error"]["code"]) == (id, code)

    assert server.ask("ping") == {}
    assert server.hang_up()[2] == 0


IMPATIENT = """\
from gptimage_mcp import __main__, stdio
stdio._LAST_WORDS = 0.1
raise SystemExit(__main__.main([]))
"""


def test_a_client_that_never_reads_is_not_waited_for(account: dict[str, str]) -> None:
    """Once it has hung up the server ends, although more is to be written than a pipe takes."""
    with serving(account, (sys.executable, "-c", IMPATIENT)) as server:
        server.greet()
        for number in range(60):  # 30 kB each
            server.send({"id": 100 + number, "method": "tools/list"})
        assert server.process.stdin is not None
        server.process.stdin.close()

        assert server.process.wait(PATIENCE) == 0
