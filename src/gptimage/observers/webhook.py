"""Events as signed messages to an address of yours: without prompts, keys or images.

They are signed as the Standard Webhooks specification says (https://www.standardwebhooks.com), for
which many languages have a library; ``openai.OpenAI().webhooks`` reads them, too.
"""

from __future__ import annotations

import atexit
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
from queue import SimpleQueue
from typing import Final, Self, TypeAlias

from gptimage._internal.clock import unix_now
from gptimage._internal.keywords import refused
from gptimage._internal.locks import ForkSafeLock
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
_log: Final = logging.getLogger("gptimage")

_Messages: TypeAlias = SimpleQueue[bytes | None]
"""What waits for the thread that sends; None ends it."""


class WebhookObserver:
    """Posts events as JSON to a URL, one after the other, from a thread of its own.

    A message is ``{"type": "gptimage.finished", "timestamp": ..., "data": {...}}`` with the fields
    of the event, signed with HMAC-SHA256. Anything but a 2xx is sent again after 1, 5 and 25
    seconds, with the same ``webhook-id``; then it is given up, and logged. Close it to send what
    waits; a program that ends sends it, too. Neither waits for a receiver that is away: the first
    message that it does not take then is the last one that is tried.

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
        names = [events] if isinstance(events, str) else [*events]
        known = [each.name for each in Event.__subclasses__()]
        if isinstance(events, str) or not set(names) <= set(known):
            raise refused("events", events, f"a list of names of events: {', '.join(known)}")
        self._url = url
        self._key = _key(secret)
        # Services such as Slack have their secret in the address.
        remember(secret)
        remember_url(url)
        self._events = frozenset(names)
        self._closing = threading.Event()
        self._lock = ForkSafeLock()
        self._waiting = 0
        # By process: a forked child has no thread of its parent's.
        self._senders: dict[int, tuple[threading.Thread, _Messages]] = {}

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
            if self._closing.is_set():
                raise RuntimeError("the webhook is closed: a message is dropped")
            if os.getpid() not in self._senders:
                self._waiting = 0  # what waited before a fork is the parent's to send
                self._start()
            if self._waiting >= MOST_WAITING:
                raise RuntimeError(
                    f"{MOST_WAITING:,} messages wait for the webhook: one is dropped"
                )
            self._waiting += 1
            self._senders[os.getpid()][1].put(message)

    def close(self) -> None:
        """Send what waits, until the receiver does not take a message, and stop."""
        atexit.unregister(self.close)
        with self._lock:
            self._closing.set()
            sender = self._senders.get(os.getpid())
        if sender is not None:
            thread, messages = sender
            messages.put(None)
            thread.join()

    def _start(self) -> None:
        messages: _Messages = SimpleQueue()
        # A daemon: Python would join any other thread before it closes this, and so wait for all
        # the pauses of every message.
        thread = threading.Thread(
            target=self._run, args=(messages,), name="gptimage-webhook", daemon=True
        )
        atexit.register(self.close)
        thread.start()
        self._senders = {os.getpid(): (thread, messages)}

    def _run(self, messages: _Messages) -> None:
        while (message := messages.get()) is not None:
            taken = self._send(message)
            if not taken and self._closing.is_set():
                if self._waiting:
                    _log.warning("%d more messages of the webhook are given up", self._waiting)
                return

    def _send(self, message: bytes) -> bool:
        """Send a message until it is taken; False when it is given up."""
        id = f"msg_{secrets.token_hex(16)}"
        problem: str | None = None
        try:
            for pause in (*PAUSES, None):
                problem = self._try(id, message)
                if problem is None:
                    return True
                # Repeating is safe: a receiver drops the id it has seen.
                if pause is None or self._closing.wait(pause):
                    break
        except Exception as error:  # noqa: BLE001  # one message must not end the thread of all
            problem = type(error).__name__
        finally:
            with self._lock:
                self._waiting -= 1
        _log.warning("the webhook did not take the message %s, which is given up: %s", id, problem)
        return False

    def _try(self, id: str, message: bytes) -> str | None:
        """Send a message once; None when it was taken, or else what happened."""
        try:
            status = self._fetch.post(self._url, message, _signed(id, message, self._key))
        except FetchError as error:
            return str(error)
        return None if 200 <= status < 300 else f"HTTP {status}"


def _signed(id: str, message: bytes, key: bytes) -> dict[str, str]:
    """Return the headers of a message: its id, the time in seconds, and its signature."""
    moment = str(int(unix_now()))
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
