"""Serving one client over standard input and output, until it hangs up or a signal says to end.

The client kills this process soon after it closed; what draws is another one, which it does not.

Standard output is the protocol. Whatever else is written to it while the server is made, while
it answers or when the process ends goes to standard error.
"""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, cast

import gptimage
from gptimage_mcp.config.settings import Settings


if TYPE_CHECKING:
    from mcp_types import RequestId
    from pydantic import ValidationError

    from gptimage_mcp.dynamic_server import DynamicServer


_logger: Final = logging.getLogger(__name__)

_ALONE: Final = (
    "gptimage-mcp waits for an MCP client on standard input; Ctrl-C ends it, and "
    "`gptimage-mcp --help` says what else it can do\n"
)
_CLOSED: Final = (
    "standard input or output is closed: an MCP client starts this server and keeps both open; "
    "`gptimage-mcp --http` needs neither"
)
_SIGNALS: Final = ("SIGTERM", "SIGINT", "SIGHUP")

_LAST_WORDS: Final = 5.0
"""Seconds that a client has to read the last responses, once all work is over."""

MAX_LINE: Final = 64 * 1024 * 1024
"""Bytes of one message: four images of 10 MB as base64 fit, and memory stays bounded."""


def serve(settings: Settings) -> None:
    """Build the server and answer until standard input ends.

    Args:
        settings: See `Settings`.

    Raises:
        GptImageError: The server cannot be built of these settings, or nobody could talk to it.
    """
    if sys.stdin is None or sys.stdout is None:
        raise gptimage.ConfigurationError(_CLOSED)
    with _off_the_wire():
        from gptimage_mcp.server import late_server

        server = late_server(settings)
    gc.freeze()  # what is there now stays
    gc.enable()
    if sys.stdin.isatty():
        sys.stderr.write(_ALONE)
    try:
        asyncio.run(_serve(server))
    except* BrokenPipeError:  # what was sent is finished elsewhere all the same
        _logger.info("the client closed the connection before its response was written")
    os.dup2(2, 1)  # the client is gone: nothing printed from here on may reach it


async def _serve(server: DynamicServer) -> None:
    from mcp.server.stdio import stdio_server

    # Programs started by this one, and code that reads standard input, find it empty.
    source, nothing = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    lines = Lines(source)
    with _ended_by_signals(lines):
        # The SDK only iterates over it.
        async with stdio_server(stdin=cast("Any", lines.messages())) as (received, sent):
            lines.sent = sent
            await server.serve_streams(received, sent)
            # A write to a pipe that nobody reads waits in a thread, which nothing can cancel.
            end = threading.Timer(_LAST_WORDS, os._exit, (0,))
            end.daemon = True  # a process that ends earlier does not wait for it
            end.start()


@contextmanager
def _off_the_wire() -> Generator[None]:
    """Point standard output at standard error, until the SDK does so itself."""
    sys.stdout.flush()
    wire = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(wire, 1)
        os.close(wire)


@contextmanager
def _ended_by_signals(lines: Lines) -> Generator[None]:
    """Treat the first signal to end as the end of standard input; a second one kills."""
    if sys.platform == "win32":  # where a client ends a process without asking it
        yield
        return
    loop = asyncio.get_running_loop()
    numbers = [signal.Signals[name] for name in _SIGNALS]

    def restore() -> None:
        for number in numbers:
            loop.remove_signal_handler(number)

    def end() -> None:
        restore()
        lines.end()

    for number in numbers:
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        restore()


class Lines:
    """Messages of a file descriptor, one in each line; other lines get an error response.

    The SDK drops a line that is no message, and its client waits for its own time limit.

    Args:
        source: The descriptor, read in a thread, which no signal and no cancelling interrupts: it
            is a daemon, and nobody waits for it.
    """

    def __init__(self, source: int) -> None:
        self.sent: Any = None
        """Return the stream of responses, once the streams are open."""
        self._file = io.BufferedReader(io.FileIO(source, closefd=False), 65536)
        self._loop = asyncio.get_running_loop()
        # Of one line: a client that writes faster than it is answered waits, as with a pipe.
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._ended = asyncio.Event()

    def end(self) -> None:
        """End as if the client had hung up."""
        self._ended.set()

    async def messages(self) -> AsyncGenerator[str]:
        """The lines that hold a message."""
        threading.Thread(target=self._read, daemon=True).start()
        ended = asyncio.ensure_future(self._ended.wait())
        while True:
            following = asyncio.ensure_future(self._queue.get())
            await asyncio.wait((following, ended), return_when=asyncio.FIRST_COMPLETED)
            if ended.done() or (line := following.result()) is None:
                following.cancel()
                ended.cancel()
                return
            if (text := await self._checked(line)) is not None:
                yield text

    async def _checked(self, line: bytes) -> str | None:
        """Return the line if it holds a message; send an error if it does not."""
        from mcp.shared.message import SessionMessage
        from mcp_types import INVALID_REQUEST, PARSE_ERROR, ErrorData
        from mcp_types.jsonrpc import JSONRPCError, JSONRPCNotification, jsonrpc_message_adapter
        from pydantic import ValidationError

        # RFC 8259, 8.1: a parser may ignore a byte order mark; PowerShell writes one.
        line = line.removeprefix(b"\xef\xbb\xbf")
        if not line.strip():
            return None
        code = PARSE_ERROR
        if len(line) > MAX_LINE:
            problem = f"the message is longer than {MAX_LINE // 1024**2} MB"
        else:
            try:
                text = line.decode()
                # The SDK reads it once more: what it would drop is answered here.
                message = jsonrpc_message_adapter.validate_json(text, by_name=False)
            except UnicodeDecodeError as error:
                problem = f"the message is not UTF-8 (byte {error.start})"
            except ValidationError as error:
                code, problem = PARSE_ERROR, _syntax_problem(error) or ""
                if not problem:
                    code, problem = INVALID_REQUEST, "the message is not a JSON-RPC 2.0 request"
                    if line.lstrip().startswith(b"["):
                        problem = "the message is a batch: send each request in a line of its own"
            else:
                # The SDK takes a request whose id is null or a fraction for a notification.
                if not isinstance(message, JSONRPCNotification) or "id" not in json.loads(text):
                    return text
                code, problem = INVALID_REQUEST, "the id is neither a whole number nor text"
        id, is_response = _envelope(line)
        words = f"{problem}. Nothing was run and nothing was billed."
        refusal = JSONRPCError(jsonrpc="2.0", id=id, error=ErrorData(code=code, message=words))
        _logger.warning("a message of the client cannot be read: %s", problem)
        if is_response:  # whatever asked the client must not wait for ever
            return refusal.model_dump_json()
        await self.sent.send(SessionMessage(refusal))
        return None

    def _read(self) -> None:
        """Pass on each line, until the end; in a thread."""
        with suppress(OSError, RuntimeError):  # RuntimeError: the loop is closed, nobody reads
            while line := self._file.readline(MAX_LINE + 1):
                self._hand_on(line if len(line) <= MAX_LINE else line + self._end_of_line(line))
            self._hand_on(None)

    def _end_of_line(self, line: bytes) -> bytes:
        """Read what is left of a line that is too long, and return the last of it."""
        tail = line[-1000:]
        while not tail.endswith(b"\n") and (more := self._file.readline(65536)):
            tail = (tail + more)[-1000:]
        return tail

    def _hand_on(self, line: bytes | None) -> None:
        put = self._queue.put(line)
        try:
            future = asyncio.run_coroutine_threadsafe(put, self._loop)
        except RuntimeError:
            put.close()
            raise
        future.result()


def _syntax_problem(error: ValidationError) -> str | None:
    """Return what is wrong with the JSON, without a word of it; None if it is JSON."""
    for each in error.errors(include_input=False, include_url=False):
        if each["type"] == "json_invalid":
            problem = str(each.get("ctx", {}).get("error"))
            if "surrogate" in problem or "hex escape" in problem:
                problem += " (half of a character, such as an emoji that was cut in two)"
            return f"the message is not valid JSON: {problem}"
    return None


# Possessive, and an unfinished string is one token: a message made to be slow is read in one pass.
_TOKEN: Final = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[{}\[\]]', re.DOTALL)
_VALUE: Final = r'\s*:\s*(-?\d+(?![\d.eE])|"(?:[^"\\]|\\.)*+")'
_ID: Final = re.compile(_VALUE, re.DOTALL)
_LAST_ID: Final = re.compile(rf',\s*"id"{_VALUE}\s*\}}\s*\Z', re.DOTALL)
_KEY: Final = re.compile(r"\s*:")


def _envelope(line: bytes) -> tuple[RequestId | None, bool]:
    """Return the id of a message that cannot be read, and whether it is a response."""
    text = line.decode(errors="replace")
    try:
        found: object = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        found = _top_level_members(text)
    if not isinstance(found, dict):
        return None, False
    members = cast("dict[str, object]", found)
    id = members.get("id")
    if isinstance(id, bool) or not isinstance(id, int | str):
        return None, False
    if isinstance(id, str) and any("\ud800" <= each <= "\udfff" for each in id):
        return None, False  # it cannot be written in a response either
    return id, "method" not in members and ("result" in members or "error" in members)


def _top_level_members(text: str) -> dict[str, object]:
    """Return the names at the first level of an object that is not valid JSON, with its id.

    By depth, because an ``id`` among the arguments of a tool is not the id of the request.
    """
    depth, members = 0, dict[str, object]()
    ids: list[str] = []
    for token in _TOKEN.finditer(text):
        if token[0] in ("{", "["):
            depth += 1
        elif token[0] in ("}", "]"):
            depth -= 1
        elif depth == 1 and _KEY.match(text, token.end()):
            members[token[0].strip('"')] = None
            if token[0] == '"id"' and (value := _ID.match(text, token.end())):
                ids.append(value[1])
    # Of a message that was cut out of, the depth is not known; JavaScript's SDK writes the id last.
    if not ids and (last := _LAST_ID.search(text[-1000:])):
        ids.append(last[1])
    with suppress(ValueError):
        members["id"] = json.loads(ids[0], strict=False) if ids else None
    return members
