"""The client's side of a batch, over a sandbox in this process or over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from attrs import evolve

from gptimage._batch_job import AsyncBatchLine, BatchLine
from gptimage._core import Core, Settings
from gptimage._http import HttpReply, HttpRequest
from gptimage._keep import Keeper
from gptimage._meter import Meter
from gptimage.errors import OutcomeUnknownError
from gptimage.sandbox import SANDBOX_URL, AsyncSandboxTransport, Sandbox, SandboxTransport
from gptimage.store import Store


NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        """The time."""
        return self.now


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
                self._sandbox_of.answer(request)
            raise OutcomeUnknownError("the answer did not arrive")
        return super().send(request)


class Damaging(SandboxTransport):
    """A transport that spoils the files of batches."""

    def send(self, request: HttpRequest) -> HttpReply:
        """Send, with other bytes in the file of a batch."""
        files = tuple(evolve(part, data=b"no json\n") for part in request.files)
        return super().send(evolve(request, files=files))


def line(
    sandbox: Sandbox,
    *,
    store: Store | None = None,
    transport: SandboxTransport | None = None,
    clock: Clock | None = None,
    **meter: Any,
) -> BatchLine:
    """A blocking client's side."""
    told = clock or Clock()
    way = transport or SandboxTransport(sandbox)
    settings: Settings = {"clock": told}
    core = Core.of(settings, base_url=SANDBOX_URL, store=store)
    return BatchLine(
        keeper=Keeper(core=core, caches=False),
        meter=Meter.of(meter, told),
        send=way.send,
        download=way.download,
    )


def async_line(sandbox: Sandbox, *, store: Store | None = None) -> AsyncBatchLine:
    """An async client's side."""
    clock, way = Clock(), AsyncSandboxTransport(sandbox)
    core = Core.of({"clock": clock}, base_url=SANDBOX_URL, store=store)
    return AsyncBatchLine(
        keeper=Keeper(core=core, caches=False),
        meter=Meter.of({}, clock),
        send=way.send,
        download=way.download,
    )


def made(sandbox: Sandbox) -> list[HttpRequest]:
    """The requests that asked for a batch."""
    return [r for r in sandbox.requests if (r.method, r.path) == ("POST", "/batches")]
