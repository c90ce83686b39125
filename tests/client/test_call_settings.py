"""What is said with a call about the call itself: time, headers; and what a result says of it."""

from __future__ import annotations

from typing import Any

import httpx2
import openai
import pytest

import gptimage
import gptimage.sandbox
from gptimage import ConfigurationError, InvalidRequestError, Retry
from gptimage.transport.http import ServerEvent
from tests.client.harness import Harness, answer, event, failure, picture


OK = answer(picture())
STREAM: list[ServerEvent | Exception] = [event("image_generation.completed", picture())]
CALLS: list[tuple[str, tuple[Any, ...]]] = [
    ("generate", ("A fox",)),
    ("edit", ("Night", picture())),
    ("variations", (picture(),)),
]


@pytest.mark.parametrize(("method", "arguments"), CALLS)
def test_time_and_headers_reach_the_transport(
    harness: Harness, method: str, arguments: tuple[Any, ...]
) -> None:
    """Each call can wait another time and bring headers, under lower-case names."""
    client, fake = harness.fake(OK)
    getattr(client, method)(*arguments, timeout=5, extra_headers={"X-Team": "art"})
    getattr(client, method)(*arguments)

    assert [(each.timeout, dict(each.headers)) for each in fake.requests] == [
        (5, {"x-team": "art"}),
        (None, {}),
    ]


def test_streams_and_values_take_them_too(harness: Harness) -> None:
    """`stream` and `run` are calls like the others."""
    client, fake = harness.fake(STREAM, OK)
    *_, end = client.stream("A fox", timeout=7, extra_headers={"a": "1"})
    client.run(end.result.request, timeout=8)

    assert [(r.timeout, dict(r.headers)) for r in fake.requests] == [(7, {"a": "1"}), (8, {})]


def test_options_of_a_client_hold_for_all_its_calls(harness: Harness) -> None:
    """`with_options` changes a copy; a call's own words win over it."""
    client, fake = harness.fake(OK)
    other = harness.other(
        client, model="gpt-image-2.6-flare", timeout=9, extra_headers={"Team": "art", "b": "2"}
    )
    other.generate("A fox")
    other.generate("A fox", timeout=1, extra_headers={"team": "law"})
    client.generate("A fox")
    seen = [(r.body["model"], r.timeout, dict(r.headers)) for r in fake.requests]

    assert seen == [
        ("gpt-image-2.6-flare", 9, {"team": "art", "b": "2"}),
        ("gpt-image-2.6-flare", 1, {"team": "law", "b": "2"}),
        (client.models().default, None, {}),
    ]


@pytest.mark.usefixtures("quick_retries")
def test_options_of_a_client_may_end_its_retries(harness: Harness) -> None:
    """``retry=0`` is for the copy alone."""
    client, fake = harness.fake(failure(429), failure(429), OK)
    with pytest.raises(gptimage.RateLimitError):
        harness.other(client, retry=0).generate("A fox")
    client.generate("A fox")

    assert len(fake.requests) == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", 0),
        ("timeout", "soon"),
        ("timeout", float("nan")),
        ("timeout", True),
        ("extra_headers", "a: b"),
        ("extra_headers", {"a b": "1"}),
        ("extra_headers", {1: "1"}),
        ("extra_headers", {"a": "1\r\nb: 2"}),
        ("extra_headers", {"a": 1}),
        ("extra_headers", {"a": " 1"}),
        ("extra_headers", {"Authorization": "Bearer sk-other"}),
        ("extra_headers", {"Content-Length": "3"}),
        ("refresh", "yes"),
    ],
)
def test_nonsense_is_refused_by_name(harness: Harness, name: str, value: Any) -> None:
    """Nothing is sent with a header or a time that makes no sense, and no value is shown."""
    client, fake = harness.fake(OK)
    with pytest.raises(InvalidRequestError, match=name) as caught:
        client.generate("A fox", **{name: value})
    if name != "refresh":
        with pytest.raises(ConfigurationError, match=name):
            client.with_options(**{name: value})

    assert (caught.value.field, fake.requests) == (name, [])
    assert "sk-other" not in str(caught.value)


def test_a_retry_of_another_kind_is_refused(harness: Harness) -> None:
    """Only a `Retry` or 0 is clear."""
    client, _ = harness.fake(OK)
    with pytest.raises(ConfigurationError, match="retry=3"):
        client.with_options(retry=3)
    client.with_options(retry=Retry(attempts=2))


def test_headers_do_not_change_the_cache_key(harness: Harness, tmp_path: Any) -> None:
    """The same image is paid for once, however its request travels."""
    client, fake = harness.fake(OK, cache=tmp_path)
    client.generate("A fox", extra_headers={"x-trace": "1"})

    assert client.generate("A fox", timeout=3).cached
    assert len(fake.requests) == 1


def test_a_result_has_the_headers_of_its_response(harness: Harness) -> None:
    """Whoever files a complaint needs more than the request's id; cookies are nobody's business."""
    reply = answer(picture())
    headers = {**reply.headers, "x-ratelimit-remaining": "4", "set-cookie": "secret"}
    client, _ = harness.fake(type(reply)(status=200, headers=headers, body=reply.body))
    result = client.generate("A fox")

    assert {**reply.headers, "x-ratelimit-remaining": "4"} == result.headers
    assert (result.request_id, "secret" in repr(result)) == ("req_1", False)


def test_effective_is_what_it_came_to(harness: Harness) -> None:
    """Measured where it can be, reported where the service says, else as asked."""
    reply = answer(picture(1024, 1024, "jpeg"), quality="medium")
    client, _ = harness.fake(reply)
    result = client.generate("A fox", quality="auto", format="png", background="opaque")

    assert dict(result.effective) == {
        "model": client.models().default,
        "n": 1,
        "size": "1024x1024",
        "format": "jpeg",
        "quality": "medium",
        "background": "opaque",
    }
    assert client.generate("A fox", quality="auto").effective["background"] is None
    assert dict(result.requested) == {
        "model": client.models().default,
        "n": 1,
        "size": None,
        "format": "png",
        "quality": "auto",
        "background": "opaque",
    }
    assert result.to_dict()["requested"] == dict(result.requested)


def test_an_edit_can_have_the_size_of_its_first_image(harness: Harness) -> None:
    """``same`` means the pixels of the first image, exactly."""
    client, fake = harness.fake(answer(picture(1024, 640)))
    result = client.edit("Night", [picture(800, 500), picture(64, 64)], size="same")

    assert (800, 500) == result.image.size == result.request.size.dimensions
    assert fake.requests[0].body["size"] != "same"


@pytest.mark.parametrize(
    ("method", "arguments"), [("generate", ("A fox",)), ("edit", ("Night", "file-abc12345"))]
)
def test_same_needs_an_image_that_is_known(
    harness: Harness, method: str, arguments: tuple[Any, ...]
) -> None:
    """A new image has no other to be like, and the pixels of an uploaded one are not known."""
    client, fake = harness.fake(OK)
    with pytest.raises(InvalidRequestError, match="first image") as caught:
        getattr(client, method)(*arguments, size="same")

    assert (caught.value.field, fake.requests) == ("size", [])


def test_the_sandbox_waits_as_long_as_it_is_told(harness: Harness) -> None:
    """A call that is given up on may have been billed, offline too."""
    client = harness.sandbox(gptimage.sandbox.Sandbox(latency=0.2), retry=0)
    with pytest.raises(gptimage.OutcomeUnknownError, match="timed out"):
        client.generate("A fox", size="1024x1024", quality="low", timeout=0.01)
    with pytest.raises(gptimage.OutcomeUnknownError, match="timed out"):
        list(client.stream("A fox", quality="low", partial_images=1, timeout=0.01))

    assert client.generate("A fox", size="1024x1024", quality="low", timeout=9).images


@pytest.mark.parametrize("wait", [3.0, 40.0])
def test_a_call_s_time_and_headers_reach_the_network(wait: float) -> None:
    """The official client sends with the time and the headers of this call."""
    seen: list[tuple[object, str]] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        seen.append((request.extensions["timeout"]["read"], request.headers["x-team"]))
        return httpx2.Response(200, content=bytes(OK.body))

    with httpx2.Client(transport=httpx2.MockTransport(respond)) as http:
        sdk = openai.OpenAI(api_key="sk-test", base_url="https://s.invalid/v1", http_client=http)
        client = gptimage.ImageClient(openai=sdk)
        client.generate("A fox", timeout=wait, extra_headers={"x-team": "art"})

    assert [(wait, "art")] == seen
