"""How many sessions of the older protocol versions each caller may have open."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from math import ceil
from typing import Final

from attrs import define
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gptimage.service.http import JsonError, client_of


IN_ALL: Final = 1_000
"""Sessions of all callers together; each is a few tasks."""

IDLE: Final = 1_800.0
"""Seconds after which the SDK ends a session that no request uses."""

REPLACEABLE: Final = 60.0
"""Seconds after which a caller's unused session makes room for a new one of theirs."""

_ID: Final = "mcp-session-id"


@define(eq=False)
class _Session:
    caller: str
    used: float
    requests: int = 0


class SessionLimitMiddleware:
    """Refuses a session beyond a caller's share: 429, or 503 when all are in use; both say when.

    Many clients never end their sessions, so a session of the same caller that was not used for
    a minute makes room for the new one. Its client gets 404 and starts another, as the protocol
    says (2025-11-25, Session Management).

    Args:
        app: What is behind.
        path: The path of the protocol.
        per_caller: Sessions each caller may have.
        in_all: Sessions of all callers together.
        clock: Tells seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        path: str,
        per_caller: int,
        in_all: int = IN_ALL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._path = path
        self._per_caller = per_caller
        self._in_all = in_all
        self._clock = clock
        self._sessions: dict[str, _Session] = {}
        self._opening: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request of a session, or one that may open a session."""
        if scope["type"] != "http" or scope["path"] != self._path:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if (id := headers.get(_ID)) is not None:
            await self._use(id, scope, receive, send)
            return
        version = headers.get("mcp-protocol-version")
        newer = version is not None and version not in HANDSHAKE_PROTOCOL_VERSIONS
        if newer or scope["method"] != "POST":
            await self._app(scope, receive, send)
        else:
            await self._open(scope, receive, send)

    async def _use(self, id: str, scope: Scope, receive: Receive, send: Send) -> None:
        session = self._sessions.get(id)
        if session is None or session.caller != client_of(scope):  # which the SDK refuses
            await self._app(scope, receive, send)
            return
        statuses: list[int] = []

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            await send(message)

        session.requests += 1
        try:
            await self._app(scope, receive, watch)
        finally:
            session.requests -= 1
            session.used = self._clock()
        ended = scope["method"] == "DELETE" and statuses != [] and statuses[0] < 400
        if ended or 404 in statuses:
            self._sessions.pop(id, None)

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = client_of(scope)
        refused = await self._make_room(caller, scope)
        if refused is not None:
            await refused(scope, receive, send)
            return

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                id = Headers(raw=message["headers"]).get(_ID)
                if id is not None and message["status"] < 400:
                    self._opening[caller] -= 1  # from here on it counts as a session
                    self._sessions[id] = opened[0] = _Session(caller, self._clock())
            await send(message)

        # Until it is known whether a session was opened, the request counts as one: otherwise
        # any number could be opened at the same moment.
        opened: list[_Session | None] = [None]
        self._opening[caller] += 1
        try:
            await self._app(scope, receive, watch)
        finally:
            if opened[0] is None:
                self._opening[caller] -= 1
            if not self._opening[caller]:
                del self._opening[caller]

    async def _make_room(self, caller: str, scope: Scope) -> JsonError | None:
        """End an unused session of the caller, if that is needed."""
        now = self._clock()
        # The SDK has ended these by itself.
        gone = [id for id, each in self._sessions.items() if now - self._last(each, now) >= IDLE]
        for id in gone:
            del self._sessions[id]
        own = {id: each for id, each in self._sessions.items() if each.caller == caller}
        crowded = len(own) + self._opening[caller] >= self._per_caller
        full = len(self._sessions) + self._opening.total() >= self._in_all
        if not (crowded or full):
            return None
        oldest = min(own, key=lambda id: self._last(own[id], now), default=None)
        unused = 0.0 if oldest is None else now - self._last(own[oldest], now)
        if oldest is not None and unused >= REPLACEABLE:
            await self._end(oldest, scope)
            return None
        seconds = str(max(1, ceil(REPLACEABLE - unused)))
        return JsonError(
            429 if crowded else 503,
            "too_many_sessions",
            f"{f'you have {len(own)}' if crowded else 'all'} sessions in use "
            "(GPTIMAGE_SESSIONS_PER_CALLER): end one with DELETE and its Mcp-Session-Id, or try "
            f"again in {seconds} s",
            headers={"retry-after": seconds},
        )

    def _last(self, session: _Session, now: float) -> float:
        return now if session.requests else session.used

    async def _end(self, id: str, scope: Scope) -> None:
        """End a session as its client would: with DELETE, in the name of the same caller."""
        del self._sessions[id]
        headers = [pair for pair in scope["headers"] if pair[0] == b"host"]
        delete = {**scope, "method": "DELETE", "headers": [*headers, (_ID.encode(), id.encode())]}

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(_: Message) -> None:
            """Drop the response: the caller sent another request."""

        await self._app(delete, receive, send)
