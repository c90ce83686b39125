"""Events as signed messages to an address of yours: without prompts, keys or images.

They are signed as the Standard Webhooks specification says (https://www.standardwebhooks.com), for
which many languages have a library; ``openai.OpenAI().webhooks`` reads them, too.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import logging
import os
import secrets
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final, Self

from gptimage.errors import ConfigurationError, FetchError
from gptimage.image.download import Fetch
from gptimage.observers.events import Event
from gptimage.observers.logging import fields_of
from gptimage.secrets import remember, remember_url


PAUSES: Final = (1.0, 5.0, 25.0)
"""Seconds before a message is sent again; the receiver knows it by its ``webhook-id``."""

MOST_WAITING: Final = 1000
"""Messages that wait while the receiver is slow; later ones are dropped."""

_SHORTEST_SECRET: Final = 24
"""Bytes; the specification's minimum."""

_PREFIX: Final = "whsec_"
_TIMEOUT: Final = 10.0


class WebhookObserver:
    """Posts events as JSON to a URL, one after the other, from a thread of its own.

    A message is ``{"type": "gptimage.finished", "timestamp": ..., "data": {...}}`` with the fields
    of the event, signed with HMAC-SHA256. Anything but a 2xx is sent again after 1, 5 and 25
    seconds, with the same ``webhook-id``; then it is given up, and logged. Close it to send what
    waits; a program that ends sends it, too.

    Args:
        url: Where to: an ``https`` address of the public internet; redirects are not followed.
        secret: The shared secret: ``whsec_`` and base64, or a text; 24 bytes or more.
        events: Names of the events that are sent.
        fetch: Which addresses may be reached, and for how long: ``Fetch(allow_private=True)`` also
            allows ``http`` and your own network.

    Raises:
        ConfigurationError: The URL or the secret cannot be used.
    """

    def __init__(
        self,
        url: str,
        secret: str,
        *,
        events: Iterable[str] = ("finished", "failed", "saved"),
        fetch: Fetch | None = None,
    ) -> None:
        self._fetch = fetch or Fetch(timeout=_TIMEOUT, total_timeout=_TIMEOUT)
        if not url.lower().startswith("https://" if not self._fetch.allow_private else "http"):
            raise ConfigurationError("a webhook needs an https address: events name what is paid")
        self._url = url
        self._key = _key(secret)
        # Services such as Slack have their secret in the address.
        remember(secret)
        remember_url(url)
        self._events = frozenset(events)
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._waiting = 0
        # By process: a forked child has no thread of its parent's.
        self._threads: dict[int, ThreadPoolExecutor] = {}

    def __repr__(self) -> str:
        """Return the events; the address may be a secret."""
        return f"WebhookObserver(events={sorted(self._events)})"

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def notify(self, event: Event) -> None:
        """Queue an event.

        Raises:
            RuntimeError: 1,000 messages wait already, and this one is dropped.
        """
        if event.name not in self._events:
            return
        body = {"type": f"gptimage.{event.name}", "timestamp": event.at.isoformat()}
        message = json.dumps({**body, "data": fields_of(event)}).encode()
        # Calls of several threads come here while the sender counts down.
        with self._lock:
            if self._waiting >= MOST_WAITING:
                raise RuntimeError(
                    f"{MOST_WAITING:,} messages wait for the webhook: one is dropped"
                )
            self._waiting += 1
            thread = self._threads.get(os.getpid())
            if thread is None:
                thread = ThreadPoolExecutor(1, thread_name_prefix="gptimage-webhook")
                self._threads = {os.getpid(): thread}
        thread.submit(self._send, message)

    def close(self) -> None:
        """Send what waits, each message once more at most, and stop."""
        self._closing.set()
        if (thread := self._threads.get(os.getpid())) is not None:
            thread.shutdown()

    def _send(self, message: bytes) -> None:
        id = f"msg_{secrets.token_hex(16)}"
        problem: str | None = None
        try:
            for pause in (*PAUSES, None):
                problem = self._try(id, message)
                if problem is None:
                    return
                # Repeating is safe: a receiver drops the id it has seen. A program that ends does
                # not wait for a receiver that is away.
                over = self._closing.is_set() or not threading.main_thread().is_alive()
                if pause is None or over or self._closing.wait(pause):
                    break
            logging.getLogger("gptimage").warning(
                "the webhook did not take the message %s, which is given up: %s", id, problem
            )
        finally:
            with self._lock:
                self._waiting -= 1

    def _try(self, id: str, message: bytes) -> str | None:
        """Send a message once; None when it was taken, or else what happened."""
        try:
            status = self._fetch.post(self._url, message, _signed(id, message, self._key))
        except FetchError as error:
            return str(error)
        return None if 200 <= status < 300 else f"HTTP {status}"


def _signed(id: str, message: bytes, key: bytes) -> dict[str, str]:
    """Return the headers of a message: its id, the time in seconds, and its signature."""
    moment = str(int(datetime.now(UTC).timestamp()))
    content = b".".join((id.encode(), moment.encode(), message))
    signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return {
        "content-type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": moment,
        "webhook-signature": f"v1,{signature}",
    }


def _key(secret: str) -> bytes:
    try:
        encoded = secret.startswith(_PREFIX)
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True) if encoded else b""
    except binascii.Error as error:
        raise ConfigurationError(f"after {_PREFIX} a webhook's secret is base64") from error
    key = key or secret.encode()
    if len(key) < _SHORTEST_SECRET:
        raise ConfigurationError(
            f"a webhook's secret has {_SHORTEST_SECRET} bytes or more; make one with "
            "secrets.token_urlsafe(32)"
        )
    return key
