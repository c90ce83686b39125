"""The network under `fetch`: dials only addresses that were checked, and hangs up at a deadline.

The name in the URL is never looked up again here, so an answer that changes between the
check and the connection (DNS rebinding) changes nothing. httpcore2's own timeouts are per
read; a server that sends one header byte a minute would keep those happy for weeks.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import httpcore2


if TYPE_CHECKING:
    import ssl


def ssl_context(url: httpcore2.URL) -> ssl.SSLContext | None:
    """Whom to trust, settled before connecting: a bad ``SSL_CERT_FILE`` later leaks a socket."""
    return httpcore2.default_ssl_context() if url.scheme == b"https" else None


class PinnedAddressBackend(httpcore2.NetworkBackend):
    """Connects to the given addresses, whatever host the request names."""

    def __init__(self, addresses: Sequence[str], deadline: float) -> None:
        self._addresses = addresses
        self._deadline = deadline
        self._backend = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - looking it up again is what must not happen
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Try each checked address in turn; the last failure is raised."""
        failure: Exception = httpcore2.ConnectError("it has no address")
        for address in self._addresses:
            left = _left(self._deadline, timeout)
            try:
                stream = self._backend.connect_tcp(
                    address, port, left, local_address, socket_options or ()
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
            else:
                return _Timed(stream, self._deadline)
        raise failure


class _Timed(httpcore2.NetworkStream):
    """A stream on which every step ends at the deadline."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._deadline, timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        left = _left(self._deadline, timeout)
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(deadline: float, timeout: float | None) -> float:
    """Return seconds the next step may take."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore2.ReadTimeout("the deadline has passed")
    return left if timeout is None else min(left, timeout)
