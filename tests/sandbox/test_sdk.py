"""OpenAI's own client, pointed at the sandbox, does not notice."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest

from gptimage.image.image import Image
from gptimage.sandbox import Sandbox, SandboxServer
from tests.sandbox.pictures import MODEL, SMALL, mask, photo


QUICK: dict[str, Any] = {"model": MODEL, "prompt": "A red fox", "size": SMALL, "quality": "low"}


@pytest.fixture
def client(server: SandboxServer) -> Iterator[openai.OpenAI]:
    """The official client, with nothing but its address changed."""
    with openai.OpenAI(base_url=server.base_url, api_key="sk-test", max_retries=0) as client:
        yield client


def drawn(b64_json: str | None) -> Image:
    """The image of a reply."""
    assert b64_json is not None
    image = Image.from_bytes(base64.b64decode(b64_json))
    image.verify()
    return image


def file(name: str = "photo.png", data: bytes | None = None) -> io.BytesIO:
    """An open file, whose name is all the client has to guess its type from."""
    opened = io.BytesIO(data or photo())
    opened.name = name
    return opened


def test_generate(client: openai.OpenAI) -> None:
    """Several images, with their usage."""
    reply = client.images.generate(n=2, output_format="webp", **QUICK)

    assert [drawn(one.b64_json).format for one in reply.data or []] == ["webp", "webp"]
    assert (reply.size, reply.quality, reply.background) == (SMALL, "low", "opaque")
    assert reply.usage is not None
    assert reply.usage.total_tokens == reply.usage.input_tokens + reply.usage.output_tokens


def test_edit_one_picture(client: openai.OpenAI) -> None:
    """A single file goes as `image`."""
    reply = client.images.edit(image=file(), **QUICK)

    assert drawn((reply.data or [])[0].b64_json).size == (1024, 640)


def test_edit_several_with_a_mask(client: openai.OpenAI, sandbox: Sandbox) -> None:
    """A list goes as `image[]`, nested fields and numbers as text."""
    images = [file(), file("b.jpg", photo(kind="JPEG")), file("c.webp", photo(kind="WEBP"))]
    reply = client.images.edit(image=images, mask=file("m.png", mask()), n=2, **QUICK)
    (seen,) = sandbox.requests

    assert len(reply.data or []) == 2
    assert [part.name for part in seen.files] == ["image[]", "image[]", "image[]", "mask"]
    assert [part.content_type for part in seen.files] == [
        "image/png", "image/jpeg", "image/webp", "image/png",
    ]  # fmt: skip


def test_json_edit_through_the_low_level_client(client: openai.OpenAI) -> None:
    """The form of an edit the SDK has no method for."""
    made = client.files.create(file=file(), purpose="vision")
    body = {**QUICK, "images": [{"file_id": made.id}], "moderation": "low"}
    reply = client.post("/images/edits", cast_to=openai.types.ImagesResponse, body=body)

    assert drawn((reply.data or [])[0].b64_json).size == (1024, 640)
    assert client.files.retrieve(made.id).filename == "photo.png"


def test_stream_generate(client: openai.OpenAI) -> None:
    """Typed partial and completed events."""
    events = list(client.images.generate(stream=True, partial_images=2, **QUICK))

    assert [event.type for event in events] == [
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    assert {drawn(event.b64_json).size for event in events} == {(1024, 640)}


def test_stream_edit(client: openai.OpenAI) -> None:
    """The same for edits, with the usage at the end."""
    events = list(client.images.edit(image=file(), stream=True, partial_images=1, **QUICK))

    assert [event.type for event in events] == ["image_edit.partial_image", "image_edit.completed"]
    assert events[-1].type == "image_edit.completed"
    assert events[-1].usage.input_tokens_details.image_tokens == 32 * 24


def test_raw_responses(client: openai.OpenAI) -> None:
    """Headers, request id and the unread body."""
    raw = client.images.with_raw_response.generate(**QUICK)
    assert raw.request_id is not None
    assert raw.request_id.startswith("req_")
    assert raw.headers["x-ratelimit-limit-input-images"] == "250"
    assert raw.parse().size == SMALL

    with client.images.with_streaming_response.generate(**QUICK) as response:
        assert response.status_code == 200
        assert b'"b64_json"' in b"".join(response.iter_bytes())


def test_models(client: openai.OpenAI) -> None:
    """List and retrieve, with the date they shut down."""
    ids = [model.id for model in client.models.list()]

    assert MODEL in ids
    assert "dall-e-3" not in ids
    assert client.models.retrieve("gpt-image-1-mini").shutdown_date == "2026-12-01"


def test_provenance(client: openai.OpenAI) -> None:
    """A sandbox image does not pretend to be from a model."""
    reply = client.images.generate(**QUICK)
    data = drawn((reply.data or [])[0].b64_json).data
    check = client.content_provenance_checks.create(file=("fox.png", data))

    assert [(one.type, one.outcome) for one in check.results] == [
        ("c2pa", "not_detected"), ("synthid", "not_detected"),
    ]  # fmt: skip


ERRORS: list[tuple[str, type[openai.APIStatusError], str | None]] = [
    ("moderation", openai.BadRequestError, "moderation_blocked"),
    ("billing", openai.BadRequestError, "billing_hard_limit_reached"),
    ("unauthorized", openai.AuthenticationError, "invalid_api_key"),
    ("unverified", openai.PermissionDeniedError, None),
    ("quota", openai.RateLimitError, "insufficient_quota"),
    ("rate_limit", openai.RateLimitError, "rate_limit_exceeded"),
    ("server", openai.InternalServerError, "image_generation_failed"),
    ("overloaded", openai.InternalServerError, None),
    ("unavailable", openai.InternalServerError, None),
]


@pytest.mark.parametrize(("scenario", "kind", "code"), ERRORS)
def test_failures_become_the_clients_own_errors(
    client: openai.OpenAI,
    sandbox: Sandbox,
    scenario: Any,
    kind: type[openai.APIStatusError],
    code: str | None,
) -> None:
    """Each scenario raises the class, the code and the request id a program would handle."""
    sandbox.fail_next(scenario)

    with pytest.raises(kind) as caught:
        client.images.generate(**QUICK)
    assert caught.value.code == code
    assert caught.value.request_id is not None


def test_moderation_details_are_in_the_body(client: openai.OpenAI, sandbox: Sandbox) -> None:
    """`error.body` is the inner object, details included."""
    sandbox.fail_next("moderation")

    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(**QUICK)
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["moderation_details"]["moderation_stage"] == "input"


def test_wrong_keys_and_unknown_models(server: SandboxServer, client: openai.OpenAI) -> None:
    """Authentication and 404s are the client's own errors, too."""
    wrong = openai.OpenAI(base_url=server.base_url, api_key="sk-invalid", max_retries=0)
    with wrong, pytest.raises(openai.AuthenticationError, match="Incorrect API key provided"):
        wrong.models.list()
    with pytest.raises(openai.NotFoundError, match="dall-e-2"):
        client.models.retrieve("dall-e-2")
    with pytest.raises(openai.BadRequestError, match="does not exist"):
        client.images.generate(model="dall-e-3", prompt="x")


def test_errors_inside_a_stream(client: openai.OpenAI, sandbox: Sandbox) -> None:
    """The partial arrives; then the client raises what the error event says."""
    sandbox.fail_next("stream_error")
    seen = []

    with pytest.raises(openai.APIError, match="Image generation failed") as caught:
        seen.extend(
            event.type for event in client.images.generate(stream=True, partial_images=2, **QUICK)
        )
    assert caught.value.code == "image_generation_failed"


def test_connections_that_break(client: openai.OpenAI, sandbox: Sandbox) -> None:
    """Half an answer is a connection error, as on a bad line."""
    sandbox.fail_next("cut", times=2)

    with pytest.raises((openai.APIConnectionError, httpx2.RemoteProtocolError)):
        client.images.generate(**QUICK)
    with pytest.raises((openai.APIConnectionError, httpx2.RemoteProtocolError)):
        list(client.images.generate(stream=True, partial_images=1, **QUICK))


def test_answers_that_never_come(server: SandboxServer) -> None:
    """The client's own time-out is what ends the wait."""
    server.sandbox.fail_next("timeout")
    impatient = openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0, timeout=0.4)

    with impatient, pytest.raises(openai.APITimeoutError):
        impatient.images.generate(**QUICK)


def test_the_clients_retries_are_seen(server: SandboxServer) -> None:
    """With its retries on, a rate limit is waited for and tried again."""
    server.sandbox.fail_next("rate_limit", times=2, retry_after=0.01)
    with openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=2) as patient:
        patient.images.generate(**QUICK)

    assert len(server.sandbox.requests) == 3


def test_asynchronous_client(server: SandboxServer) -> None:
    """Everything again, awaited and at the same time."""

    async def everything() -> tuple[Any, ...]:
        async with openai.AsyncOpenAI(
            base_url=server.base_url, api_key="k", max_retries=0
        ) as client:

            async def streamed() -> list[str]:
                stream = await client.images.generate(stream=True, partial_images=1, **QUICK)
                return [event.type async for event in stream]

            async def edited() -> list[str]:
                stream = await client.images.edit(image=file(), stream=True, **QUICK)
                return [event.type async for event in stream]

            raw = client.images.with_raw_response.generate(**QUICK)
            several = client.images.edit(image=[file(), file()], mask=file(data=mask()), **QUICK)
            return await asyncio.gather(
                client.images.generate(**QUICK), streamed(), edited(), raw, several,
                client.models.retrieve(MODEL),
            )  # fmt: skip

    made, streamed, edited, raw, several, model = asyncio.run(everything())

    assert drawn(made.data[0].b64_json).size == (1024, 640)
    assert streamed == ["image_generation.partial_image", "image_generation.completed"]
    assert edited == ["image_edit.completed"]
    assert raw.parse().size == SMALL
    assert drawn(several.data[0].b64_json).format == "png"
    assert model.id == MODEL
