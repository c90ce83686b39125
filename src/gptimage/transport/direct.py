"""Sends requests over httpx2 itself, the HTTP library of the official SDK.

What goes out is what the SDK sends: the same bodies, forms, headers and time limits, which
``tests/transport/test_direct.py`` compares. Importing the SDK for that takes half a second of CPU
time and 500 modules, most of them for replies that are not read with it. A client of the SDK given
as ``openai=`` is used as it is; see ``openai_sdk.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, cast

from gptimage._internal.threads import to_thread
from gptimage._internal.version import library_version
from gptimage.transport.blocking import BlockingTransport, settled
from gptimage.transport.connection import AwaitedTransport, Exchange, content, time_limits
from gptimage.transport.http import NO_HEADERS, ExchangeError, HttpRequest
from gptimage.transport.response_stream import read_refused


if TYPE_CHECKING:
    import httpx2


_CONNECTIONS: Final = 1000
_IDLE: Final = 100
"""How many connections are open at once, and how many stay open for the next call."""


_ANYWHERE: Final = frozenset({"accept", "accept-encoding", "connection", "host", "user-agent"})
"""Headers that a redirect to another server may take along."""


def no_auth() -> Mapping[str, str]:
    """Return no headers: those of a key are the client's."""
    return NO_HEADERS


class AsyncHttpTransport(AwaitedTransport):
    """`AsyncTransport` over a client made by `http_client`.

    Args:
        make: Makes the client.
        owned: Whether `aclose` also closes it.
        auth: Returns headers that are new for each request, such as a token.
        is_async: Whether the client is an async one.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        *,
        owned: bool,
        auth: Callable[[], Mapping[str, str]] = no_auth,
        is_async: bool = True,
    ) -> None:
        super().__init__(make, owned=owned, is_async=is_async)
        self._auth = auth
        # A token may be fetched from a server, which the event loop must not wait for.
        self._in_thread = is_async and auth is not no_auth

    async def _exchange(
        self,
        client: httpx2.Client | httpx2.AsyncClient,
        request: HttpRequest,
        opened: ExitStack,
    ) -> Exchange:
        try:
            auth = await to_thread(self._auth) if self._in_thread else self._auth()
            built = _build(client, request, opened, auth)
            follows = request.method == "GET"
            response = await settled(client.send(built, stream=True, follow_redirects=follows))
            return response, None if response.is_success else await read_refused(response)
        except OSError as error:  # of a socket, a file, or TLS: httpx2 wraps most of them
            raise ExchangeError from error


class HttpTransport(BlockingTransport):
    """`Transport` over an ``httpx2.Client``; see `AsyncHttpTransport`."""

    def __init__(
        self,
        make: Callable[[], Any],
        *,
        owned: bool,
        auth: Callable[[], Mapping[str, str]] = no_auth,
    ) -> None:
        super().__init__(AsyncHttpTransport(make, owned=owned, auth=auth, is_async=False))


def http_client(
    endpoint: str, timeout: float, headers: Mapping[str, str], *, is_async: bool
) -> httpx2.Client | httpx2.AsyncClient:
    """Make a client that sends as the SDK's own would.

    Args:
        endpoint: The base URL.
        timeout: Seconds to wait for a response.
        headers: Headers of each request, the key's among them.
        is_async: Whether an async client is made.
    """
    import httpx2

    # Names in lower case, so that the user's own header replaces ours instead of joining it.
    ours = {"accept": "application/json", "user-agent": f"gptimage/{library_version()}"}
    kind = httpx2.AsyncClient if is_async else httpx2.Client
    home = httpx2.URL(endpoint)

    def stays(url: httpx2.URL) -> bool:
        is_same = (url.host, url.port) == (home.host, home.port)
        return is_same and url.scheme in (home.scheme, "https")

    # A redirect of a download may lead to another server. The HTTP library then leaves out
    # Authorization alone, and the keys of some providers are in headers of other names.
    def leave_out(request: httpx2.Request) -> None:
        if not stays(request.url):
            for name in {*request.headers} - _ANYWHERE:
                del request.headers[name]

    async def aleave_out(request: httpx2.Request) -> None:
        leave_out(request)

    return kind(
        event_hooks={"request": [aleave_out if is_async else leave_out]},
        base_url=endpoint,
        headers={**ours, **headers},
        timeout=time_limits(timeout),
        limits=httpx2.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_IDLE),
    )


def _build(
    client: httpx2.Client | httpx2.AsyncClient,
    request: HttpRequest,
    opened: ExitStack,
    auth: Mapping[str, str],
) -> httpx2.Request:
    parts: dict[str, Any] = {"headers": {**request.headers, **auth}}
    if request.timeout is not None:
        parts["timeout"] = time_limits(request.timeout)
    if request.files:
        parts["files"] = [
            (part.name, (part.filename, content(part, opened), part.content_type))
            for part in request.files
        ]
        parts["data"] = _form(request.body)
    elif request.method != "GET":
        parts["headers"].setdefault("content-type", "application/json")
        parts["content"] = _json(request.body)
    return client.build_request(request.method, request.path, **parts)


def _json(body: Mapping[str, object]) -> bytes:
    text = json.dumps(dict(body), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode()


def _form(body: Mapping[str, object]) -> dict[str, str | list[str]]:
    """Return the fields of a form; values of one name stay together, as in ``tags[]``."""
    fields: dict[str, list[str]] = {}
    for name, value in _fields(body, ""):
        fields.setdefault(name, []).append(value)
    return {name: found[0] if len(found) == 1 else found for name, found in fields.items()}


def _fields(value: object, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in cast("Mapping[str, object]", value).items():
            yield from _fields(inner, f"{name}[{key}]" if name else key)
    elif isinstance(value, (list, tuple)):
        for inner in cast("list[object]", value):
            yield from _fields(inner, f"{name}[]")
    elif isinstance(value, bool):
        yield name, "true" if value else "false"
    elif value is not None:
        yield name, str(value)
