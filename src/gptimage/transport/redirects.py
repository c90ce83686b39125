"""Redirects of a paid request: when one is followed, and what to change when it is not.

Prompt and images go to the user's address, never to one a reply names. Only the same server is
trusted with them: whoever has answered once knows what it asks for a second time.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urljoin, urlsplit, urlunsplit

from attrs import evolve

from gptimage.errors import (
    ConfigurationError,
    GptImageError,
    OutcomeUnknownError,
    TransportError,
)
from gptimage.transport.http import HttpReply, HttpRequest


MOST_HOPS: Final = 3
_SAME_REQUEST: Final = frozenset({307, 308})
_PORTS: Final = {"http": 80, "https": 443}


class Hops:
    """The way of one request from redirect to redirect.

    Args:
        request: The request as it is sent first.
    """

    def __init__(self, request: HttpRequest) -> None:
        self.request: HttpRequest = request
        self.end: HttpReply = HttpReply(status=0)
        self._left = MOST_HOPS if request.method == "POST" else 0
        self._moved = False

    def follow(self, reply: HttpReply, url: str) -> bool:
        """Return whether `request` is to be sent once more; if not, `end` is the answer.

        Args:
            reply: An answer that is none of 2xx.
            url: Where it comes from.

        Raises:
            OutcomeUnknownError: The result of work that was done could not be read.
        """
        self.end = _absolute(reply, url)
        if self._moved and self.request.method == "GET":
            # 303 means that the work is done; a later failure takes nothing of that back.
            raise OutcomeUnknownError(
                "the service did the work and named another address for the result, which "
                f"answered HTTP {reply.status}",
                request_id=reply.request_id,
            )
        step = _next_request(self.end, url) if self._left else None
        if step is None:
            return False
        self._left -= 1
        self._moved = True
        method, address = step
        self.request = evolve(self.request, method=method, path=address)
        return True

    def failed(self, error: GptImageError) -> GptImageError:
        """Return the failure of a hop: after the first one it is never that nothing was sent."""
        if self._moved and isinstance(error, (TransportError, ConfigurationError)):
            return OutcomeUnknownError(f"the service took the request and redirected it; {error}")
        return error


def _absolute(reply: HttpReply, url: str) -> HttpReply:
    """Return the reply with a whole address in ``location``."""
    location = reply.headers.get("location")
    if location is None or not 300 <= reply.status < 400:
        return reply
    try:
        whole = urljoin(url, location)
    except ValueError:  # an address that is none
        return reply
    return evolve(reply, headers={**reply.headers, "location": whole})


def _next_request(reply: HttpReply, url: str) -> tuple[str, str] | None:
    """Method and address with which a redirect is followed, or None when it is not.

    307 and 308 ask the same server for the same request again (RFC 9110, 15.4.8 and 15.4.9).
    303 says that the work is done and its answer is read elsewhere with a GET, which costs
    nothing. 301 and 302 turn a POST into a GET in most clients, so they are never followed.
    """
    location = reply.headers.get("location")
    if location is None or not _same_origin(location, url):
        return None
    if reply.status in _SAME_REQUEST:
        return "POST", location
    return ("GET", location) if reply.status == 303 else None


def advice(reply: HttpReply, path: str) -> str:
    """Return what a redirect that was not followed means, and what to change.

    Args:
        reply: The redirect, its ``location`` whole.
        path: The path of the request below the base URL.
    """
    location = reply.headers.get("location")
    if location is None:
        return f"the service answered with a redirect to nowhere (HTTP {reply.status})"
    shown = _shown(location)
    message = (
        f"the service answered with a redirect to {shown} (HTTP {reply.status}), which was not "
        "followed: prompt and images are sent only where you say"
    )
    if reply.status == 303:
        message += "; the status says that the work is done and its result is there"
    if reply.status in (301, 302):
        message += ", and such a redirect turns POST into GET"
    base = shown.removesuffix("/").removesuffix(path)
    if base != shown.removesuffix("/"):
        return f"{message}. If that is the service, set base_url (or OPENAI_BASE_URL) to {base}"
    return (
        f"{message}. Set base_url (or OPENAI_BASE_URL) to the address the service is really at: "
        "https:// instead of http://, the right host, no login page in between"
    )


def _same_origin(first: str, second: str) -> bool:
    try:
        return _origin(first) == _origin(second)
    except ValueError:
        return False


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def _shown(url: str) -> str:
    """Return an address without user name, password and query, which may hold secrets."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", ""))[:300]
    except ValueError:
        return "an address that cannot be read"
