"""The webhook observer: signed, sent again when it was not taken, and only where it may go."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openai
import pytest
from attrs import define, field

from gptimage import ConfigurationError, Fetch, ImageClient
from gptimage.observers import webhook
from gptimage.observers.webhook import WebhookObserver
from tests.observers.factories import EVENTS


SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYq="
LOCAL = Fetch(allow_private=True)


@define(eq=False)
class Receiver:
    """A receiver of webhooks.

    Attributes:
        statuses: What it answers next; then 204.
        messages: The headers and the body of each request.
        hold: Requests wait for it.
    """

    url: str = ""
    statuses: list[int] = field(factory=list[int])
    messages: list[tuple[dict[str, str], bytes]] = field(factory=list[tuple[dict[str, str], bytes]])
    hold: threading.Event = field(factory=threading.Event)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver on this machine."""
    found = Receiver()
    found.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.hold.wait()
            found.messages.append(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(found.statuses.pop(0) if found.statuses else 204)
            self.send_header("location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield found
        server.shutdown()


def test_messages_are_signed(receiver: Receiver) -> None:
    """What others verify webhooks with finds them right, and there is no prompt in them."""
    with WebhookObserver(receiver.url, SECRET, fetch=LOCAL) as observer:
        client = ImageClient.sandbox(observers=[observer])
        client.generate("A secret fox", size="1024x1024", quality="low")

    (headers, body), *others = receiver.messages
    assert others == []
    openai.OpenAI(api_key="sk-any").webhooks.verify_signature(body, headers, secret=SECRET)
    message = json.loads(body)
    assert message["type"] == "gptimage.finished"
    assert message["data"]["cost"] == "0.005895"
    assert b"fox" not in body


def test_events_are_chosen(receiver: Receiver) -> None:
    """Only the events that were named are sent, in their order."""
    with WebhookObserver(receiver.url, SECRET, fetch=LOCAL, events=["sent", "failed"]) as observer:
        for event in EVENTS:
            observer.notify(event)

    types = [json.loads(body)["type"] for _, body in receiver.messages]
    assert types == ["gptimage.sent", "gptimage.failed"]


def test_a_message_is_sent_again(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the same id, until the receiver takes it; a redirect is not followed."""
    monkeypatch.setattr(webhook, "PAUSES", (0.0, 0.0, 0.0))
    receiver.statuses = [500, 302]
    done = threading.Event()
    observer = WebhookObserver(receiver.url, SECRET, fetch=LOCAL, events=["saved"])
    monkeypatch.setattr(observer, "_try", signalling(observer, done))
    observer.notify(next(event for event in EVENTS if event.name == "saved"))
    done.wait()
    observer.close()

    ids = [headers["webhook-id"] for headers, _ in receiver.messages]
    assert len(ids) == 3
    assert len(set(ids)) == 1


def signalling(observer: WebhookObserver, done: threading.Event) -> Any:
    """The observer's own way to send, which also says when a message was taken."""
    send = observer._try

    def wrapped(id: str, message: bytes) -> str | None:
        if (problem := send(id, message)) is None:
            done.set()
        return problem

    return wrapped


def test_a_message_is_given_up(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    """A receiver that takes nothing is logged, and closing does not wait for it."""
    receiver.statuses = [500] * 9
    with (
        caplog.at_level(logging.WARNING, "gptimage"),
        WebhookObserver(receiver.url, SECRET, fetch=LOCAL) as observer,
    ):
        observer.notify(EVENTS[-1])

    assert "given up: HTTP 500" in caplog.text
    assert receiver.url not in caplog.text


def test_what_waits_is_given_up_with_the_first_that_is_refused(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Closing tries a receiver that is away once, not once for each message."""
    monkeypatch.setattr(webhook, "PAUSES", ())
    receiver.hold.clear()
    receiver.statuses = [204, 500]
    observer = WebhookObserver(receiver.url, SECRET, fetch=LOCAL)
    for _ in range(4):
        observer.notify(EVENTS[-1])
    observer._closing.set()  # while the first one is on its way
    receiver.hold.set()
    with caplog.at_level(logging.WARNING, "gptimage"):
        observer.close()

    assert len(receiver.messages) == 2
    assert "2 more messages of the webhook are given up" in caplog.text


def test_a_program_ends_without_its_receiver() -> None:
    """Python does not wait for the pauses of a message whose receiver is away."""
    code = (
        "from gptimage import Fetch\n"
        "from gptimage.observers import webhook\n"
        "from tests.observers.factories import EVENTS\n"
        "webhook.PAUSES = (3600.0,)\n"
        "local = Fetch(allow_private=True)\n"
        f"made = webhook.WebhookObserver('http://127.0.0.1:9', {SECRET!r}, fetch=local)\n"
        "made.notify(EVENTS[-1])\n"
    )
    root = Path(__file__).parents[2]  # where `tests` can be imported from
    ended = subprocess.run([sys.executable, "-c", code], check=False, cwd=root)

    assert ended.returncode == 0


@pytest.mark.parametrize("events", ["finished", ["finnished"]])
def test_an_event_that_does_not_exist_is_refused(events: str | list[str]) -> None:
    """A misspelt name would send nothing, without a word."""
    with pytest.raises(ConfigurationError, match="partial_arrived"):
        WebhookObserver("https://hook.example", SECRET, events=events)


def test_a_slow_receiver_costs_no_memory(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages beyond the limit are dropped with an error, which the client logs once."""
    monkeypatch.setattr(webhook, "MOST_WAITING", 2)
    receiver.hold.clear()
    with WebhookObserver(receiver.url, SECRET, fetch=LOCAL) as observer:
        observer.notify(EVENTS[-1])
        observer.notify(EVENTS[-1])
        with pytest.raises(RuntimeError, match="dropped"):
            observer.notify(EVENTS[-1])
        receiver.hold.set()

    assert len(receiver.messages) == 2


def test_private_addresses_are_not_reached(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """A name that leads into one's own network gets no message."""

    def resolver(host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        return [(0, 0, 0, "", ("127.0.0.1", port))]

    where = receiver.url.replace("http://127.0.0.1", "https://hook.example")
    with (
        caplog.at_level(logging.WARNING, "gptimage"),
        WebhookObserver(where, SECRET, fetch=Fetch(resolver=resolver)) as observer,
    ):
        observer.notify(EVENTS[-1])

    assert receiver.messages == []
    assert "is not on the public internet" in caplog.text


@pytest.mark.parametrize(
    ("url", "secret", "says"),
    [
        ("http://hook.example", SECRET, "https"),
        ("https://hook.example", "short", "24 bytes"),
        ("https://hook.example", "whsec_!", "base64"),
    ],
)
def test_what_is_not_safe_is_refused(url: str, secret: str, says: str) -> None:
    """Plain http, a short secret, and one that is no base64."""
    with pytest.raises(ConfigurationError, match=says):
        WebhookObserver(url, secret)


def test_neither_address_nor_secret_is_shown() -> None:
    """An address may be a secret itself."""
    observer = WebhookObserver("https://hook.example/T0/B0/key", SECRET)

    assert repr(observer) == "WebhookObserver(events=['failed', 'finished', 'saved'])"
