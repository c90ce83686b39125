"""Connecting to a Redis server (extra ``redis``)."""

from __future__ import annotations

from typing import Any

from gptimage._internal.keywords import text
from gptimage.errors import ConfigurationError
from gptimage.secrets import guard_logs, remember_url, scrub_error


def connect(url: str, *, timeout: float, retries: int, user: str) -> Any:
    """Make a client of a Redis server; nothing is sent yet.

    Args:
        url: Such as ``redis://localhost:6379/0``; ``rediss://`` for TLS.
        timeout: Seconds to wait for a connection, and for each response.
        retries: How often a command whose response was lost is sent again, at once.
        user: What needs it, for the message when the package is missing.

    Raises:
        ConfigurationError: The package ``redis`` is missing, or the URL is none.
    """
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise ConfigurationError(
            f"{user} needs the package redis: pip install 'gptimage[redis]'"
        ) from error
    text("url", url)
    remember_url(url)
    guard_logs()
    try:
        client: Any = Redis  # its signatures are partly open
        return client.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), retries),  # its own retries wait for seconds
        )
    except ValueError as error:
        scrub_error(error)
        raise ConfigurationError(f"not a Redis URL: {error}") from error


def address(client: Any) -> str:
    """Return where a client's server is, without a password."""
    found: dict[str, Any] = client.connection_pool.connection_kwargs
    return str(found.get("path") or f"{found.get('host')}:{found.get('port')}")
