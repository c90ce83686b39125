"""Sends requests over httpx2 itself, the HTTP library of the official SDK.

What goes out is what the SDK sends: the same bodies, forms, headers and time limits, which
``tests/transport/test_direct.py`` compares. Importing the SDK for that takes half a second of CPU
time and 500 modules, most of them for replies that are not read with it. A client of the SDK given
as ``openai=`` is used as it is; see ``openai_sdk.py``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, cast

from gptimage._internal.version import library_version
from gptimage.transport.connection import (
    AwaitedTransport,
    BlockingTransport,
    Exchange,
    content,
    time_limits,
)
from gptimage.transport.content_coding import apieces, pieces
from gptimage.transport.headers import custom_headers
from gptimage.transport.http import ExchangeError, HttpRequest
from gptimage.transport.response_stream import reply_of


if TYPE_CHECKING:
    import httpx2


_CONNECTIONS: Final = 1000
_IDLE: Final = 100
"""How many connections are open at once, and how many stay open for the next call."""


class HttpTransport(BlockingTransport):
    """`Transport` over an ``httpx2.Client`` made by `http_client`."""

    def _exchange(self, client: httpx2.Client, request: HttpRequest, opened: ExitStack) -> Exchange:
        try:
            built = _build(client, request, opened)
            response = client.send(built, stream=True, follow_redirects=request.method == "GET")
            if response.is_success:
                return response, None
            try:
                return response, reply_of(response, b"".join(pieces(response)))
            finally:
                response.close()
        except OSError as error:  # of a socket, a file, or TLS: httpx2 wraps most of them
            raise ExchangeError from error


class AsyncHttpTransport(AwaitedTransport):
    """`AsyncTransport` over an ``httpx2.AsyncClient`` made by `http_client`."""

    async def _exchange(
        self, client: httpx2.AsyncClient, request: HttpRequest, opened: ExitStack
    ) -> Exchange:
        try:
            built = _build(client, request, opened)
            response = await client.send(
                built, stream=True, follow_redirects=request.method == "GET"
            )
            if response.is_success:
                return response, None
            try:
                return response, reply_of(
                    response, b"".join([piece async for piece in apieces(response)])
                )
            finally:
                await response.aclose()
        except OSError as error:  # of a socket, a file, or TLS: httpx2 wraps most of them
            raise ExchangeError from error

    async def _close_client(self, client: httpx2.AsyncClient) -> None:
        await client.aclose()


def http_client(
    key: str, endpoint: str, timeout: float, login: str | None, *, is_async: bool
) -> httpx2.Client | httpx2.AsyncClient:
    """Make a client that sends with this key, as the SDK's own would.

    Args:
        key: The API key.
        endpoint: The base URL.
        timeout: Seconds to wait for a response.
        login: User and password of the address, as a header sends them instead of the key.
        is_async: Whether an async client is made.
    """
    import httpx2

    # Names in lower case, so that the user's own header replaces ours instead of joining it.
    headers = {
        "accept": "application/json",
        "user-agent": f"gptimage/{library_version()}",
        "openai-organization": os.environ.get("OPENAI_ORG_ID"),
        "openai-project": os.environ.get("OPENAI_PROJECT_ID"),
        **custom_headers(),
        # The key comes last: an address of the user's own that asks for a password gets that.
        "authorization": login or f"Bearer {key}",
    }
    kind = httpx2.AsyncClient if is_async else httpx2.Client
    return kind(
        base_url=endpoint,
        headers={name: value for name, value in headers.items() if value is not None},
        timeout=time_limits(timeout),
        limits=httpx2.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_IDLE),
    )


def _build(
    client: httpx2.Client | httpx2.AsyncClient, request: HttpRequest, opened: ExitStack
) -> httpx2.Request:
    parts: dict[str, Any] = {"headers": dict(request.headers)}
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
