"""Redirects of a paid request: prompt and images go only where the user said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gptimage
from gptimage.transport.http import HttpReply
from gptimage.transport.redirects import advice
from tests.client.harness import Harness
from tests.client.test_wire import JSON, Service, whole


PLAIN: dict[str, Any] = {"size": "1024x1024", "quality": "low"}


def redirect(status: int, location: str) -> bytes:
    """A redirect as it is sent."""
    fields = f"location: {location}\r\ncontent-length: 0\r\nconnection: close"
    return f"HTTP/1.1 {status} X\r\n{fields}\r\n\r\n".encode()


@pytest.fixture
def service() -> Iterator[Service]:
    """The service the user named."""
    found = Service()
    yield found
    found.close()


@pytest.fixture
def other() -> Iterator[Service]:
    """Another one, which must never see anything."""
    found = Service()
    yield found
    found.close()


def client_of(harness: Harness, service: Service, **settings: Any) -> Any:
    """A client of that service."""
    return harness.client(api_key="sk-test-12345678", base_url=service.url, **settings)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_another_host_gets_nothing(
    harness: Harness, service: Service, other: Service, status: int, tmp_path: Path
) -> None:
    """Neither prompt nor key nor a GET goes to an address that only a reply names."""
    ledger = gptimage.Ledger(tmp_path / "ledger.sqlite")
    service.responses = [redirect(status, f"{other.url}/images/generations")]
    client = client_of(harness, service, ledger=ledger)
    with pytest.raises(gptimage.GptImageError, match="not followed") as caught:
        client.generate("A fox", **PLAIN)
    client.close()

    assert (len(service.requests), len(other.requests)) == (1, 0)
    assert f"base_url (or OPENAI_BASE_URL) to {other.url}" in str(caught.value)
    outcome = "not_billed" if status in (301, 308) else "unknown"
    assert [row.billing for row in ledger.rows()] == [outcome]


@pytest.mark.parametrize("status", [301, 302])
def test_a_redirect_that_turns_post_into_get_is_named(
    harness: Harness, service: Service, status: int
) -> None:
    """Following it would ask for a page instead of an image."""
    service.responses = [redirect(status, f"{service.url}/images/generations/")]
    client = client_of(harness, service)
    with pytest.raises(gptimage.GptImageError, match="turns POST into GET"):
        client.generate("A fox", **PLAIN)
    client.close()

    assert len(service.requests) == 1


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("operation", ["generate", "edit", "stream"])
def test_the_same_server_may_ask_for_it_again(
    harness: Harness, service: Service, status: int, operation: str
) -> None:
    """Whoever answers 307 or 308 wants the same request at another of its own addresses."""
    image = service_picture()
    service.responses = [redirect(status, "/v2/images"), whole(bytes(JSON))]
    client = client_of(harness, service)
    if operation == "edit":
        client.edit("At night", image, **PLAIN)
    elif operation == "stream":
        list(client.stream("A fox", **PLAIN))
    else:
        client.generate("A fox", **PLAIN)
    client.close()
    first, second = service.requests

    assert second.startswith(b"POST /v2/images ")
    assert b"sk-test-12345678" in second
    assert len(second.partition(b"\r\n\r\n")[2]) >= len(first.partition(b"\r\n\r\n")[2]) > 0


def service_picture() -> bytes:
    """An input image."""
    from tests.client.harness import picture

    return picture(64, 64)


def test_a_result_elsewhere_is_fetched(harness: Harness, service: Service) -> None:
    """303 says that the work is done; reading its result costs nothing."""
    service.responses = [redirect(303, "/v1/results/17"), whole(bytes(JSON))]
    client = client_of(harness, service)
    assert len(client.generate("A fox", **PLAIN).images) == 1
    client.close()

    assert service.requests[1].startswith(b"GET /v1/results/17 ")


def test_a_result_that_is_not_there_was_paid(
    harness: Harness, service: Service, tmp_path: Path
) -> None:
    """A 404 for the result is no refusal of the work."""
    ledger = gptimage.Ledger(tmp_path / "ledger.sqlite")
    service.responses = [redirect(303, "/v1/results/17"), b"HTTP/1.1 404 X\r\n\r\n"]
    client = client_of(harness, service, ledger=ledger)
    with pytest.raises(gptimage.OutcomeUnknownError, match="did the work"):
        client.generate("A fox", **PLAIN)
    client.close()

    assert [row.billing for row in ledger.rows()] == ["unknown"]


def test_a_circle_ends(harness: Harness, service: Service) -> None:
    """A service that sends around in a circle is left after three redirects."""
    service.responses = [redirect(307, "/v1/images/generations") for _ in range(9)]
    client = client_of(harness, service)
    with pytest.raises(gptimage.OutcomeUnknownError, match="not followed"):
        client.generate("A fox", **PLAIN)
    client.close()

    assert len(service.requests) == 4


@pytest.mark.parametrize("location", ["http://[broken", "http://a:99999999/", "//", "", "mailto:x"])
def test_an_address_that_is_none(location: str) -> None:
    """Whatever a reply names, there is a sentence."""
    reply = HttpReply(status=307, headers={"location": location})

    assert "redirect" in advice(reply, "/images/generations")


def test_secrets_of_an_address_are_not_repeated() -> None:
    """A location may hold a password or a signature."""
    reply = HttpReply(status=302, headers={"location": "https://u:secret@a.invalid/x?sig=secret"})

    assert "secret" not in advice(reply, "/images/generations")
