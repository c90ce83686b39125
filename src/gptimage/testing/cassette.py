"""Cassettes: a run recorded once, at the service or in the sandbox, and replayed for ever.

A cassette is a folder with one JSON file for each request, named by the cache's own key. It takes
part where transports send, so both clients, conversations, runs of many and every program built on
them are recorded and replayed alike.
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import json
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast, get_args

from attrs import evolve
from pybase64 import b64encode

from gptimage._internal import atomic
from gptimage._internal.keywords import flag, strict_class
from gptimage._internal.keywords import path as check_path
from gptimage.engine.plan import cache_key
from gptimage.errors import ConfigurationError
from gptimage.sandbox.wire import as_sent
from gptimage.testing import sanitize
from gptimage.transport.base64_body import reassemble
from gptimage.transport.http import HttpReply, HttpRequest, ServerEvent
from gptimage.transport.interception import intercepting
from gptimage.transport.protocols import AsyncEventStream


Mode: TypeAlias = Literal["once", "strict", "add", "rewrite"]
"""What happens to a request that is not in the cassette.

``once``: an empty cassette records, any other one is ``strict``. ``strict``: nothing is sent, and
`UnrecordedRequestError` says how the request differs from the nearest one. ``add``: it is sent and
recorded. ``rewrite``: everything is sent and recorded anew.
"""
MODE_VARIABLE: Final = "GPTIMAGE_CASSETTE"
"""The environment variable that sets the mode where no ``mode=`` does."""

_VERSION: Final = 1
_TRIED_AGAIN: Final = frozenset((408, 429, 460, 499, 500, 502, 503, 504, 524))
_BATCHES: Final = ("/batches", "/files")


class UnrecordedRequestError(ConfigurationError):
    """A strict cassette does not know a request; nothing was sent and nothing was billed."""


@contextmanager
def cassette(
    path: str | os.PathLike[str], *, mode: Mode | None = None, whole: bool = False
) -> Generator[Cassette]:
    """Replay the requests of every client in this process from a folder, or record them there.

    No key is needed for what is recorded. Files hold no key, no header, and no account id.

    Args:
        path: The folder; it is made when something is recorded.
        mode: What happens to a request that is not recorded; the environment variable
            ``GPTIMAGE_CASSETTE`` when left out, else ``once``. See `Mode`.
        whole: Store the images as they arrived. Otherwise a mosaic of the same format and size
            stands for each: a few kB instead of megabytes.

    Raises:
        ConfigurationError: An argument is wrong, or a file of the folder is damaged.
        UnrecordedRequestError: Inside the block: a strict cassette does not know a request.
    """
    found = Cassette(path, mode=mode, whole=whole)
    with intercepting(found):
        yield found


@strict_class
class Cassette:
    """The recordings of one folder. Thread-safe.

    Args:
        path: The folder.
        mode: What happens to a request that is not recorded.
        whole: Store the images as they arrived.

    Attributes:
        path: The folder.
        mode: What happens to a request that is not recorded; never ``once``.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, mode: Mode | None = None, whole: bool = False
    ) -> None:
        check_path("path", path)
        flag("whole", whole)
        chosen = os.environ.get(MODE_VARIABLE) or "once" if mode is None else mode
        if chosen not in get_args(Mode):
            name = MODE_VARIABLE if mode is None else "mode"
            allowed = ", ".join(get_args(Mode))
            raise ConfigurationError(f"{name}={chosen!r}: it must be one of {allowed}")
        self.path: Path = Path(path)
        self._whole = whole
        self._lock = threading.Lock()
        self._small: dict[str, bytes] = {}
        self._played: dict[str, int] = {}
        self._written: set[str] = set()
        self._entries = {} if chosen == "rewrite" else _load(self.path)
        if chosen == "once":
            chosen = "strict" if self._entries else "add"
        self.mode: Literal["strict", "add", "rewrite"] = cast("Any", chosen)

    async def send(
        self, request: HttpRequest, send: Callable[[HttpRequest], Awaitable[HttpReply]]
    ) -> HttpReply:
        """Reply with the recording, or send and record the reply."""
        key = self._identify(request)
        found = self._next(request, key)
        if found is not None:
            return _reply(found)
        reply = await send(request)
        self.record(request, reply, key=key)
        return reply

    async def stream(
        self, request: HttpRequest, stream: Callable[[HttpRequest], Awaitable[AsyncEventStream]]
    ) -> AsyncEventStream:
        """Reply with the events of the recording, or send and record them."""
        key = self._identify(request)
        found = self._next(request, key)
        if found is not None:
            return _Replay(found)
        return _Recording(self, request, key, await stream(request))

    def record(
        self,
        request: HttpRequest,
        reply: HttpReply,
        events: list[ServerEvent] | None = None,
        *,
        key: str | None = None,
    ) -> None:
        """Record a reply, after the earlier ones to the same request.

        Args:
            request: The request.
            reply: The whole reply, or the head of a stream.
            events: The events of a stream; None for a plain reply.
            key: The key, if it is known already.
        """
        name = self._identify(request) if key is None else key
        recorded: dict[str, Any] = {"status": reply.status, "content_type": reply.content_type}
        if events is None:
            data = reassemble(reply.body, reply.images, request.image_key)
            recorded["body"] = sanitize.body(data, self._kept)
        else:
            recorded["events"] = [
                {"name": each.name, "data": sanitize.body(bytes(each.data), self._kept)}
                for each in events
            ]
        with self._lock:
            # A reply recorded again in this run follows the earlier ones. One that was only tried
            # again gives way: a replay would wait for nothing.
            known = self._entries.get(name) if name in self._written else None
            replies: list[dict[str, Any]] = list(known["replies"]) if known else []
            if replies and replies[-1]["status"] in _TRIED_AGAIN:
                replies.pop()
            replies.append(recorded)
            entry: dict[str, Any] = {
                "version": _VERSION,
                "key": name,
                "request": _shown(request),
                "replies": replies,
            }
            self._entries[name] = entry
            self._written.add(name)
            self._played[name] = len(replies)
            _write(self.path / _file_name(name), entry)

    def _identify(self, request: HttpRequest) -> str:
        """Return the key of a request.

        It is the cache's, without the address: a run of the sandbox replays at the service.
        Where an image of an earlier reply is sent back, its mosaic counts, which is what a replay
        sends; the delivery counts, too.
        """
        if request.path.startswith(_BATCHES) and request.method == "POST":
            raise ConfigurationError(
                "a cassette records no batches and no uploads, whose names are new each time: "
                "test them in the sandbox; nothing was sent"
            )
        sent = as_sent(request)
        files = tuple(evolve(part, data=self._replaced(part.data)) for part in sent.files)
        wire = evolve(
            sent, body=cast("dict[str, object]", self._small_body(sent.body)), files=files
        )
        key = cache_key(wire, "")
        partials = sent.body.get("partial_images")
        if str(sent.body.get("stream")).lower() == "true":
            key = f"{key}-stream-{partials or 0}"
        return f"{request.method.lower()}-{key.removeprefix('g1:')}"

    def _small_body(self, value: object) -> object:
        if isinstance(value, str):
            return self._small_text(value) if self._small else value
        if isinstance(value, Mapping):
            table = cast("Mapping[str, object]", value)
            return {name: self._small_body(each) for name, each in table.items()}
        if isinstance(value, list):
            return [self._small_body(each) for each in cast("list[object]", value)]
        return value

    def _small_text(self, value: str) -> str:
        head, comma, data = value.rpartition("base64,")
        with self._lock:
            small = self._small.get(hashlib.sha256(data.encode()).hexdigest())
        return value if small is None else f"{head}{comma}{b64encode(small).decode('ascii')}"

    def _replaced(self, data: bytes) -> bytes:
        with self._lock:
            return self._small.get(hashlib.sha256(data).hexdigest(), data)

    def _kept(self, data: bytes) -> bytes:
        """Return what is stored of an image, and remember what stands for it in later requests."""
        if self._whole:
            return data
        small = sanitize.shrunk(data)
        encoded = base64.b64encode(data)
        with self._lock:
            self._small[hashlib.sha256(data).hexdigest()] = small
            self._small[hashlib.sha256(encoded).hexdigest()] = small
        return small

    def _next(self, request: HttpRequest, key: str) -> dict[str, Any] | None:
        """Return the next recorded reply; the last one is given again and again."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and key not in self._written:
                place = self._played.get(key, 0)
                self._played[key] = place + 1
                replies: list[dict[str, Any]] = entry["replies"]
                return replies[min(place, len(replies) - 1)]
            if self.mode != "strict":
                return None
            raise UnrecordedRequestError(self._difference(request))

    def _difference(self, request: HttpRequest) -> str:
        what = f"{request.method} {request.path}"
        head = (
            f"{self.path} has no recording of this {what}: nothing was sent. Record it with "
            f'mode="add" (or {MODE_VARIABLE}=add), or all anew with mode="rewrite".'
        )
        mine = _lines(_shown(request))
        others = {name: _lines(entry["request"]) for name, entry in self._entries.items()}
        if not others:
            return f"{head} The folder has no recordings."
        nearest = max(
            others,
            key=lambda name: difflib.SequenceMatcher(None, others[name], mine).ratio(),
        )
        changes = difflib.unified_diff(
            others[nearest], mine, _file_name(nearest), "this request", lineterm="", n=1
        )
        return "\n".join([f"{head} The nearest one:", *changes])


def _reply(recorded: Mapping[str, Any]) -> HttpReply:
    """Return a recorded reply; its only headers are the type and what lets a retry go at once."""
    headers = {"content-type": recorded["content_type"]} if recorded["content_type"] else {}
    if recorded["status"] in _TRIED_AGAIN:
        headers["retry-after-ms"] = "1"
    value = recorded.get("body", "")
    data = value if isinstance(value, str) else json.dumps(value)
    return HttpReply(status=recorded["status"], headers=headers, body=data.encode())


class _Replay:
    """`AsyncEventStream` of a recording."""

    def __init__(self, recorded: Mapping[str, Any]) -> None:
        self._events: list[Mapping[str, Any]] = recorded.get("events", [])
        self.reply: HttpReply = _reply(recorded)

    async def __aiter__(self) -> AsyncIterator[ServerEvent]:
        for each in self._events:
            data = each["data"] if isinstance(each["data"], str) else json.dumps(each["data"])
            yield ServerEvent(name=each["name"], data=data.encode())

    async def aclose(self) -> None:
        """Nothing to release."""


class _Recording:
    """`AsyncEventStream` that is recorded once it was read whole: half of one would replay so."""

    def __init__(
        self, cassette: Cassette, request: HttpRequest, key: str, stream: AsyncEventStream
    ) -> None:
        self._stream = stream
        self._record = partial(cassette.record, request, stream.reply, key=key)
        self.reply: HttpReply = stream.reply
        if stream.reply.body:
            cassette.record(request, stream.reply, key=key)

    async def __aiter__(self) -> AsyncIterator[ServerEvent]:
        events: list[ServerEvent] = []
        async for each in self._stream:
            events.append(each)
            yield each
        if events:
            self._record(events=events)

    async def aclose(self) -> None:
        await self._stream.aclose()


def _shown(request: HttpRequest) -> dict[str, object]:
    """Return a request as the file shows it; only the key decides what it matches."""
    shown: dict[str, object] = {
        "method": request.method,
        "path": sanitize.text(request.path),
        "body": sanitize.request_json(dict(request.body)),
    }
    if request.files:
        shown["files"] = [
            {
                "name": part.name,
                "content_type": part.content_type,
                "data": sanitize.described(part.read()),
            }
            for part in request.files
        ]
    return shown


def _lines(shown: object) -> list[str]:
    return json.dumps(shown, indent=1, sort_keys=True, ensure_ascii=False).splitlines()


def _file_name(name: str) -> str:
    return f"{name}.json"


def _load(folder: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            if entry["version"] != _VERSION or not entry["replies"]:
                raise ValueError("not of this version")
            found[str(entry["key"])] = entry
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise ConfigurationError(
                f"{path} is no recording that can be read ({error}): remove it and record again"
            ) from error
    return found


def _write(path: Path, entry: Mapping[str, object]) -> None:
    """Write a file whole or not at all: the recording may have been paid for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(entry, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    atomic.replace(path, text.encode(), mode=atomic.PUBLIC, fsync=False)
