"""The client's side of a batch, over a sandbox in this process, and ways to disturb it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeAlias

from attrs import evolve

from gptimage import Retry
from gptimage.batch import AsyncBatchParts, BatchParts
from gptimage.engine.accounting import CallAccounting
from gptimage.engine.config import ClientConfig, Settings
from gptimage.engine.save import ResultSaver
from gptimage.engine.services import Services
from gptimage.errors import OutcomeUnknownError
from gptimage.observers.events import Event
from gptimage.providers import provider
from gptimage.sandbox import SANDBOX_URL, AsyncSandboxTransport, Sandbox, SandboxTransport
from gptimage.sandbox.transport import SandboxDownload
from gptimage.store import Store
from gptimage.transport.http import HttpReply, HttpRequest


NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
AT_ONCE = Retry(first_delay=0.0)
"""As patient as ever, without the waiting."""

CHEAP: dict[str, Any] = {"size": "1024x640", "quality": "low"}
"""The smallest images there are: drawing them is what takes time in these tests."""


def fox(number: int) -> dict[str, Any]:
    """A request."""
    return {"prompt": f"Fox {number}", **CHEAP}


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        """The time."""
        return self.now


class Recorder:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        """Remember an event."""
        self.events.append(event)

    @property
    def names(self) -> list[str]:
        """What happened, in order."""
        return [event.name for event in self.events]


class Losing(SandboxTransport):
    """A transport that loses the answers to some requests after, or before, they were served."""

    def __init__(self, sandbox: Sandbox, *, path: str = "", served: bool = True) -> None:
        super().__init__(sandbox)
        self._sandbox_of, self._path, self._served = sandbox, path, served
        self.left = 1 if path else 0

    def send(self, request: HttpRequest) -> HttpReply:
        """Send, and lose the answer if it is one of those."""
        lost = self.left > 0 and request.method == "POST" and request.path == self._path
        if lost:
            self.left -= 1
            if self._served:
                self._sandbox_of.send(request)
            raise OutcomeUnknownError("the answer did not arrive")
        return super().send(request)


class Damaging(SandboxTransport):
    """A transport that spoils the files of batches."""

    def send(self, request: HttpRequest) -> HttpReply:
        """Send, with other bytes in the file of a batch."""
        files = tuple(evolve(part, data=b"{}\n", path=None) for part in request.files)
        return super().send(evolve(request, files=files))


Meddler: TypeAlias = Callable[[HttpRequest], HttpReply | BaseException | None]
"""The answer to give instead of the service's, or what to raise; None lets a request through."""


class Meddling(SandboxTransport):
    """A transport somebody else answers for, now and then."""

    def __init__(self, sandbox: Sandbox, meddler: Meddler) -> None:
        super().__init__(sandbox)
        self._meddler = meddler

    def send(self, request: HttpRequest) -> HttpReply:
        """Send, unless somebody else answers."""
        return self._given(request) or super().send(request)

    def download(self, request: HttpRequest) -> SandboxDownload:
        """Send, unless somebody else answers."""
        given = self._given(request)
        return SandboxDownload(given) if given else super().download(request)

    def _given(self, request: HttpRequest) -> HttpReply | None:
        found = self._meddler(request)
        if isinstance(found, BaseException):
            raise found
        return found


class BreakingOff(SandboxTransport):
    """A transport whose downloads end after so many pieces, each time a few later."""

    def __init__(self, sandbox: Sandbox, *pieces: int) -> None:
        super().__init__(sandbox)
        self._pieces = list(pieces)

    def download(self, request: HttpRequest) -> SandboxDownload:
        """The head of the answer, and of its body as much as arrives."""
        whole = super().download(request)
        return _Broken(whole.reply, self._pieces.pop(0)) if self._pieces else whole


class _Broken(SandboxDownload):
    def __init__(self, reply: HttpReply, pieces: int) -> None:
        super().__init__(reply)
        self._left = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in super().__iter__():
            if not self._left:
                raise OutcomeUnknownError("the connection broke")
            self._left -= 1
            yield piece


def line(
    sandbox: Sandbox,
    *,
    store: Store | None = None,
    transport: SandboxTransport | None = None,
    clock: Clock | None = None,
    retry: Retry = AT_ONCE,
    **accounting: Any,
) -> BatchParts:
    """A blocking client's side."""
    told = clock or Clock()
    way = transport or SandboxTransport(sandbox)
    settings: Settings = {"clock": told, "retry": retry}
    core = ClientConfig.from_settings(settings, services=sandboxed(way), store=store)
    return BatchParts(
        saver=ResultSaver(core=core, cache=None),
        accounting=CallAccounting.of(accounting, told),
        send=way.send,
        download=way.download,
    )


def sandboxed(way: object) -> Services:
    """The one provider of a client of the sandbox."""
    own = evolve(provider("openai"), base_url=SANDBOX_URL)
    return Services(own=own, transport=way, given={}, open=lambda _: way)


def async_line(
    sandbox: Sandbox, *, store: Store | None = None, way: AsyncSandboxTransport | None = None
) -> AsyncBatchParts:
    """An async client's side."""
    clock, way = Clock(), way or AsyncSandboxTransport(sandbox)
    core = ClientConfig.from_settings(
        {"clock": clock, "retry": AT_ONCE}, services=sandboxed(way), store=store
    )
    return AsyncBatchParts(
        saver=ResultSaver(core=core, cache=None),
        accounting=CallAccounting.of({}, clock),
        send=way.send,
        download=way.download,
    )


def made(sandbox: Sandbox) -> list[HttpRequest]:
    """The requests that asked for a batch."""
    return [r for r in sandbox.requests if (r.method, r.path) == ("POST", "/batches")]


def uploaded(sandbox: Sandbox, purpose: str) -> list[HttpRequest]:
    """The requests that uploaded a file."""
    return [
        request
        for request in sandbox.requests
        if (request.method, request.path) == ("POST", "/files")
        if request.body["purpose"] == purpose
    ]
