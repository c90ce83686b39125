"""The types of ASGI, and how a request is refused: a status, a word and a sentence."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

from starlette.responses import JSONResponse


Scope: TypeAlias = MutableMapping[str, Any]
"""What is known of a connection."""

Message: TypeAlias = MutableMapping[str, Any]
"""One event between a server and an application."""

Receive: TypeAlias = Callable[[], Awaitable[Message]]
"""Wait for the next message of the client."""

Send: TypeAlias = Callable[[Message], Awaitable[None]]
"""Send a message to the client."""

ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An application, or a middleware in front of one."""


class JsonError(JSONResponse):
    """A refusal in the shape of OAuth's errors (RFC 6749, 5.2), which browsers never keep.

    Args:
        status: The HTTP status.
        error: A word for programs, such as ``rate_limited``.
        description: What happened and what to do; no secrets, no paths.
        headers: More headers, such as ``Retry-After``.
    """

    def __init__(
        self, status: int, error: str, description: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        body = {"error": error, "error_description": description}
        super().__init__(body, status, {"cache-control": "no-store", **(headers or {})})
