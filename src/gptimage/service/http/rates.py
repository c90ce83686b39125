"""Limits on requests of each client: a bucket of tokens for each, and a bound on the buckets."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Final

from gptimage.service.callers import current_caller
from gptimage.service.http.asgi import ASGIApp, JsonError, Receive, Scope, Send


UNCOUNTED: Final = "gptimage.uncounted"
"""The key of a request's scope that says it counts for no rate."""

_MOST: Final = 10_000


class TokenBuckets:
    """Token buckets by name: each holds a minute's worth, and fills evenly.

    The one not used for longest is forgotten when there are too many; after a minute it would
    be full again anyway.

    Args:
        per_minute: How many a client may take in a minute, and at once after a rest.
        most: How many buckets there may be.
        clock: Tells seconds.
    """

    def __init__(
        self,
        per_minute: int,
        *,
        most: int = _MOST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._size = float(per_minute)
        self._most = most
        self._clock = clock
        self._held: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of buckets."""
        return len(self._held)

    def take(self, name: str) -> float | None:
        """Take one token; None when there was one, else seconds until there is."""
        now = self._clock()
        level, then = self._held.pop(name, (self._size, now))
        level = min(self._size, level + (now - then) * self._size / 60)
        wait = None if level >= 1 else (1 - level) * 60 / self._size
        self._held[name] = (level if wait else level - 1, now)
        if len(self._held) > self._most:
            self._held.popitem(last=False)
        return wait


class RateLimitMiddleware:
    """Response 429 to a client that sends too many requests.

    A client is its caller, or else its address. Failed attempts to prove who one is therefore
    count for the address. Behind a proxy that is not trusted all addresses are the proxy's.

    Args:
        app: What is behind.
        buckets: How fast.
        free: Paths that do not count.
        setting: What sets the rate, for the message.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        buckets: TokenBuckets,
        free: Collection[str] = (),
        setting: str = "calls_per_minute",
    ) -> None:
        self._app = app
        self._buckets = buckets
        self._free = frozenset(free)
        self._setting = setting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is not too much."""
        app: ASGIApp = self._app
        counts = scope["type"] == "http" and not scope.get(UNCOUNTED)
        if counts and scope["path"] not in self._free:
            wait = self._buckets.take(client_of(scope))
            if wait is not None:
                seconds = str(math.ceil(wait))
                app = JsonError(
                    429,
                    "rate_limited",
                    f"too many requests: try again in {seconds} s ({self._setting})",
                    headers={"retry-after": seconds},
                )
        await app(scope, receive, send)


def client_of(scope: Scope) -> str:
    """Return the caller, or the address (of IPv6 the network, which is one client's)."""
    if (caller := current_caller()) is not None:
        return caller
    host = str((scope.get("client") or ("unknown",))[0])
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
