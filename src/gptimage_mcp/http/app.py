"""Streamable HTTP: the protocol, our own routes, and the middleware in front of both.

A request meets, in this order: the prefix of a proxy, the allowlists of hosts and origins, CORS,
authentication, the rate limit, the check for a token or a link, the limits on sessions and bodies,
and the route. All protocol versions share one path; with ``stateless`` the older ones keep no
session either, so any replica can answer.

The old HTTP+SSE transport is left out: the protocol deprecated it in 2025, and every client that
speaks it also speaks Streamable HTTP or stdio.

Responses of the older versions are server-sent events, of which the SDK's own Python client
reads 1 MiB and no more. A whole original may be larger: it is to be had under ``/images/{id}``.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, cast

import uvicorn
from mcp.server import MCPServer
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from starlette.applications import Starlette
from starlette.datastructures import State
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from gptimage.service.http import (
    Allowlist,
    BodyLimitMiddleware,
    ForwardedMiddleware,
    HostOriginMiddleware,
    RateLimitMiddleware,
    TokenBuckets,
)
from gptimage_mcp.app import App
from gptimage_mcp.auth import Auth
from gptimage_mcp.config.settings import Settings
from gptimage_mcp.http.links import signer
from gptimage_mcp.http.middleware import (
    AuthMiddleware,
    CallerMiddleware,
    auth_unavailable,
    check_exposure,
    sdk_security,
)
from gptimage_mcp.http.routes import HEALTH, IMAGES, OPEN, ROUTES, STUDIO
from gptimage_mcp.http.sessions import IDLE, IN_ALL, SessionLimitMiddleware


# HTTP/1.1 connections with deadlines, for uvicorn.
#
# uvicorn (0.54) waits without end for the first request of a connection, and for a reader that
# stopped reading; each holds a connection, a file and a buffer. Here a request's head must come
# within `HEAD` seconds, and a reader must take what is buffered for it (at most 64 KiB and one
# piece) within `STALL` seconds, or the connection is cut. The work of an image goes on.

HEAD: Final = 20.0
"""Seconds for the head of a request."""

STALL: Final = 30.0
"""Seconds for a reader to take what is buffered."""


class Connection(H11Protocol):
    """One connection of a client."""

    head: float = HEAD
    stall: float = STALL

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._asking = _Deadline(self.loop, self.head, self._cut)
        self._reading = _Deadline(self.loop, self.stall, self._cut)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._asking.start()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._asking.stop()
        self._reading.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; what is no whole head yet does not put off the deadline."""
        super().data_received(data)
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        if cycle is None or cycle.response_complete:
            self._asking.start()
        else:
            self._asking.stop()

    def pause_writing(self) -> None:
        """The reader is behind: give it a while."""
        super().pause_writing()
        self._reading.start()

    def resume_writing(self) -> None:
        """The reader caught up."""
        self._reading.stop()
        super().resume_writing()

    def _cut(self) -> None:
        """End it at once; closing would wait for a reader who does not read."""
        self.transport.abort()


class _Deadline:
    """Calls once when too much time passes between `start` and `stop`; starting twice is once."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, missed: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._missed = missed
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._missed)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


_logger: Final = logging.getLogger(__name__)

_CONNECTIONS: Final = 400
"""Connections at a time, so that with a file for each a process stays below 1,024 handles."""

_GOODBYE: Final = 10
"""Seconds that open responses have to end at shutdown; running jobs then have theirs."""

_REQUEST_HEADERS: Final = (
    "Authorization",
    "Last-Event-ID",
    "Mcp-Method",
    "Mcp-Name",
    "Mcp-Protocol-Version",
    "Mcp-Session-Id",
    "Range",
    "If-None-Match",
    "If-Range",
)
"""Headers that web pages may send."""

_RESPONSE_HEADERS: Final = (
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Mcp-Protocol-Version",
    "Mcp-Session-Id",
    "Retry-After",
    "WWW-Authenticate",
)
"""Headers that web pages may read."""


def build_app(server: MCPServer[App], settings: Settings) -> Starlette:
    """The ASGI application of a server that `build_server` made of the same settings.

    Run it with one worker: sessions, running jobs and rate limits are in its memory.

    Raises:
        ConfigurationError: It would listen beyond this machine unprotected; names the variables.
    """
    check_exposure(settings)
    auth = Auth.of(settings)
    allowlist = Allowlist.of(
        settings.allowed_hosts, settings.allowed_origins, public_url=settings.public_url
    )
    app = server.streamable_http_app(
        streamable_http_path=settings.path,
        stateless_http=settings.stateless,
        max_request_body_size=settings.max_body,
        max_sessions=IN_ALL,
        session_idle_timeout=IDLE,
        # Without it the SDK stops checking as soon as the host is no loopback name.
        transport_security=sdk_security(allowlist),
        host=settings.host,
    )
    app.router.redirect_slashes = False  # a redirect would name the host behind a proxy
    metadata = _metadata(auth)
    app.routes.extend(metadata)
    for each in reversed(
        _middleware(settings, auth, allowlist, [route.path for route in metadata], app.state)
    ):
        app.add_middleware(each.cls, *each.args, **each.kwargs)
    return app


def serve(settings: Settings) -> None:
    """Build the server, answer over HTTP until interrupted, then let running jobs end.

    Raises:
        ConfigurationError: It would listen beyond this machine unprotected; names the variables.
        OSError: The port is taken, or the address is not this machine's.
    """
    from gptimage_mcp.server import build_server

    app = build_app(build_server(settings), settings)
    sockets = listen(settings.host, settings.port)
    for each in sockets:
        host, port = each.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        _logger.info("listening on http://%s:%s%s", shown, port, settings.path)
    with suppress(KeyboardInterrupt):
        uvicorn.Server(configuration(app, settings)).run(sockets)


def configuration(app: Starlette, settings: Settings) -> uvicorn.Config:
    """Return the configuration of uvicorn: bounds everywhere, nothing on standard output.

    uvicorn would believe ``X-Forwarded-*`` of whoever is on this machine; see
    `ForwardedMiddleware` for whom we believe.
    """
    return uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level=settings.log_level.lower(),
        access_log=settings.log_level in {"DEBUG", "INFO"},
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        backlog=128,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=_GOODBYE,
    )


def listen(host: str, port: int) -> list[socket.socket]:
    """Listen on every address a host stands for; a port of 0 takes a free one.

    uvicorn would end the process itself when a port is taken.

    Raises:
        OSError: The port is taken, or the address is not this machine's.
    """
    found = socket.getaddrinfo(
        host.strip("[]") or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            sockets.append(_bound(family, address))
        except OSError as error:
            absent = error
            if error.errno not in _ABSENT:
                break
    if absent is None or (sockets and absent.errno in _ABSENT):
        return sockets
    for each in sockets:
        each.close()
    message = f"cannot listen on {host}, port {port}: {absent.strerror}"
    raise OSError(absent.errno, message) from absent


_ABSENT: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""A machine without IPv6 still knows ``localhost`` by an address of it."""


def _bound(family: int, address: Any) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would share the port with whoever has it
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen()  # a client that reads that we listen must not be refused
    except OSError:
        made.close()
        raise
    return made


def _metadata(auth: Auth | None) -> list[Route]:
    """Return the route where clients read who issues tokens for this server (RFC 9728)."""
    if auth is None or auth.issuer is None:
        return []
    return create_protected_resource_routes(
        resource_url=auth.resource_url,
        authorization_servers=[auth.issuer_url],
        scopes_supported=list(auth.scopes) or None,
        resource_name="gptimage",
    )


def _middleware(
    settings: Settings, auth: Auth | None, allowlist: Allowlist, open: list[str], state: State
) -> list[Middleware]:
    """Everything in front of the routes, outermost first."""
    buckets = TokenBuckets(settings.calls_per_minute)
    return [
        Middleware(
            ForwardedMiddleware,
            endpoint=settings.path,
            routes=ROUTES,
            public_url=settings.public_url,
            proxies=settings.trusted_proxies,
        ),
        Middleware(HostOriginMiddleware, allowlist=allowlist),
        Middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=("GET", "HEAD", "POST", "DELETE"),
            allow_headers=_REQUEST_HEADERS,
            expose_headers=_RESPONSE_HEADERS,
            allow_private_network=True,  # whoever is listed may call from the internet, too
        ),
        *_signing_in(settings, auth, state),
        *(_authentication(auth) if auth else ()),
        Middleware(
            RateLimitMiddleware,
            buckets=buckets,
            free=[HEALTH],
            setting="GPTIMAGE_CALLS_PER_MINUTE",
        ),
        *(_auth_middleware(settings, auth, [*OPEN, *open]) if auth else ()),
        *([] if settings.stateless else [_sessions(settings)]),
        Middleware(
            BodyLimitMiddleware,
            most=settings.max_body,
            routes={
                ("POST", IMAGES): settings.max_upload,
                ("POST", f"{STUDIO}/api/uploads"): settings.max_upload,
            },
            setting="GPTIMAGE_MAX_BODY",
        ),
    ]


def _signing_in(settings: Settings, auth: Auth | None, state: State) -> list[Middleware]:
    """Return what lets browsers sign in to the studio; its route finds it in the state."""
    if not settings.studio:
        return []
    from gptimage_mcp.studio import SignInMiddleware, SignIns

    signins = None if auth is None else SignIns(auth, cookie=f"gptimage_studio_{settings.port}")
    state.signins = signins
    return [Middleware(SignInMiddleware, signins=signins)]


def _sessions(settings: Settings) -> Middleware:
    return Middleware(
        SessionLimitMiddleware, path=settings.path, per_caller=settings.sessions_per_caller
    )


def _authentication(auth: Auth) -> list[Middleware]:
    """Find out who calls, and let everything behind know; the audience is always compared."""
    backend = BearerAuthBackend(auth.verifier, resource_server_url=auth.resource_url)
    return [
        Middleware(AuthenticationMiddleware, backend=backend, on_error=auth_unavailable),
        Middleware(AuthContextMiddleware),
        Middleware(CallerMiddleware),
    ]


def _auth_middleware(settings: Settings, auth: Auth, open: list[str]) -> list[Middleware]:
    metadata = build_resource_metadata_url(auth.resource_url) if auth.issuer else None
    return [
        Middleware(
            AuthMiddleware,
            scopes=auth.scopes,
            metadata=metadata,
            open=open,
            links=signer(settings),
        )
    ]
