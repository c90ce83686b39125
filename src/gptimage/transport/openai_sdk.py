"""Sends requests over a client of the official openai SDK that the caller made.

Only its low-level ``post`` and ``get`` are used: it brings authentication, Azure, proxies and base
URLs. Its retries are off, because it repeats calls that may have been billed, and its
parsing is not used, because it copies every image several times.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final, Protocol, runtime_checkable
from urllib.parse import parse_qsl

from gptimage.transport.blocking import BlockingTransport, settled
from gptimage.transport.connection import AwaitedTransport, Exchange, content
from gptimage.transport.http import HttpRequest
from gptimage.transport.response_stream import reply_of


_RAW: Final = {"X-Stainless-Raw-Response": "stream"}
"""Asks the SDK for the response before its body is read; it sends the header itself, too."""


@runtime_checkable
class SDK(Protocol):
    """An ``openai.OpenAI`` or ``openai.AzureOpenAI`` client, configured as you like."""

    @property
    def base_url(self) -> object:
        """The address it sends to."""
        ...

    def close(self) -> None:
        """Release its connections."""
        ...


@runtime_checkable
class AsyncSDK(Protocol):
    """An ``openai.AsyncOpenAI`` or ``openai.AsyncAzureOpenAI`` client."""

    @property
    def base_url(self) -> object:
        """The address it sends to."""
        ...

    async def close(self) -> None:
        """Release its connections."""
        ...


class AsyncOpenAITransport(AwaitedTransport):
    """`AsyncTransport` over an ``openai.AsyncOpenAI`` client."""

    async def _exchange(self, client: Any, request: HttpRequest, opened: ExitStack) -> Exchange:
        import httpx2
        import openai

        try:
            return await settled(_call(client, request, httpx2.Response, opened)), None
        except openai.APIStatusError as error:
            return error.response, reply_of(error.response, error.response.content)


class OpenAITransport(BlockingTransport):
    """`Transport` over an ``openai.OpenAI`` client; see `AsyncOpenAITransport`."""

    def __init__(self, make: Callable[[], SDK], *, owned: bool) -> None:
        super().__init__(AsyncOpenAITransport(make, owned=owned, is_async=False))


def _call(client: Any, request: HttpRequest, cast_to: type[Any], opened: ExitStack) -> Any:
    """Return the SDK's ``post`` or ``get``; to be awaited when the client is async."""
    options: dict[str, Any] = {
        "headers": {**request.headers, **_RAW},
        "max_retries": 0,
        "security": {"bearer_auth": True},
    }
    if request.timeout is not None:
        # Seconds: a client built on the older httpx has a class of its own for more than that.
        options["timeout"] = request.timeout
    if request.method == "GET":
        path, _, query = request.path.partition("?")
        options["params"] = dict(parse_qsl(query))
        return client.get(path, cast_to=cast_to, options=options)
    # The HTTP client would follow every redirect, also to another host; see `Hops`.
    options["follow_redirects"] = False
    if request.files:
        options["headers"]["Content-Type"] = "multipart/form-data"
    files = [
        (part.name, (part.filename, content(part, opened), part.content_type))
        for part in request.files
    ]
    return client.post(
        request.path,
        cast_to=cast_to,
        body=dict(request.body),
        files=files or None,
        options=options,
    )
