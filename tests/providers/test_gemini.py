"""Gemini as a provider: what is sent, what is read, what a refusal means and costs."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve
from pybase64 import b64encode

from gptimage import (
    AsyncImageClient,
    AuthenticationError,
    Completed,
    ConfigurationError,
    ImageClient,
    InvalidRequestError,
    MalformedReplyError,
    ModerationError,
    NotFoundError,
    OutcomeUnknownError,
    QuotaExceededError,
    Result,
    ServerError,
)
from gptimage.conversation import TurnCompleted
from gptimage.providers import provider
from gptimage.providers.gemini import from_event, from_wire, to_wire
from gptimage.sandbox import Sandbox, SandboxServer
from gptimage.transport.http import FilePart, HttpReply, HttpRequest, ServerEvent
from tests.conversation.helpers import Fake
from tests.sandbox.pictures import TODAY, photo


FOX = "A red fox in the snow"
PRO = "gemini-3-pro-image"


@pytest.fixture
def sandbox() -> Sandbox:
    """The sandbox as Gemini, on a day that never changes."""
    return Sandbox(provider="gemini", today=lambda: TODAY, draw="plain")


@pytest.fixture
def client(sandbox: Sandbox) -> ImageClient:
    """A client of it; the sandbox says whose."""
    return ImageClient.sandbox(sandbox, clock=lambda: datetime.combine(TODAY, time(12), UTC))


def sent(sandbox: Sandbox) -> Any:
    """The body of the last request."""
    return sandbox.requests[-1].body


def reply(**document: Any) -> HttpReply:
    """A reply of the service, its images already apart."""
    return HttpReply(status=200, body=json.dumps(document).encode(), images=(photo(),) * 3)


def candidate(*parts: Any, **more: Any) -> dict[str, Any]:
    """A reply with one candidate."""
    return {"candidates": [{"content": {"parts": list(parts)}, **more}]}


def blob(number: int, **more: Any) -> dict[str, Any]:
    """A part that holds an image by its number."""
    return {"inlineData": {"mimeType": "image/png", "data": number}, **more}


@pytest.mark.parametrize(
    ("model", "size", "config", "pixels"),
    [
        (PRO, "1024x1024", {"aspectRatio": "1:1", "imageSize": "1K"}, (1024, 1024)),
        (PRO, "og_image", {"aspectRatio": "16:9", "imageSize": "1K"}, (1200, 630)),
        (PRO, "1536x1024", {"aspectRatio": "3:2", "imageSize": "2K"}, (1536, 1024)),
        ("gemini-3.1-flash-lite-image", "1024x1024", {"aspectRatio": "1:1"}, (1024, 1024)),
        ("gemini-2.5-flash-image", "16:9", None, (1536, 864)),
        (PRO, "auto", None, (1024, 1024)),
    ],
)
def test_a_size_is_a_ratio_and_a_tier(
    sandbox: Sandbox,
    client: ImageClient,
    model: str,
    size: str,
    config: object,
    pixels: tuple[int, int],
) -> None:
    """The smallest that covers is asked for, and exactly the pixels come back; 2.5 has 1K alone."""
    if config is None and size != "auto":
        with pytest.raises(InvalidRequestError, match="each at 1K"):
            client.generate(FOX, model=model, size=size)
        return
    image = client.generate(FOX, model=model, size=size).image

    assert image.size == pixels
    assert sent(sandbox)["generationConfig"].get("imageConfig") == config
    assert sandbox.requests[-1].path == f"/models/{model}:generateContent"


def test_usage_and_cost_are_googles(client: ImageClient) -> None:
    """Thoughts are written text; the cost follows the dated prices of each kind of token."""
    result = client.generate(FOX, model=PRO, size="1024x1024")
    assert result.usage is not None
    assert result.cost is not None
    millionths = result.usage.input_tokens * 2 + 1120 * 120 + 180 * 12

    assert result.model == f"gemini/{PRO}"
    assert (result.usage.output_tokens, result.usage.output_text_tokens) == (1300, 180)
    assert result.cost.usd == Decimal(millionths) / 1_000_000


def test_input_images_come_before_the_words(sandbox: Sandbox, client: ImageClient) -> None:
    """An edit of two images is one message of three parts, in the order they were given."""
    result = client.edit("Put them together", [photo(), photo()], model=PRO)
    (message,) = sent(sandbox)["contents"]

    assert [next(iter(part)) for part in message["parts"]] == ["inlineData", "inlineData", "text"]
    assert result.usage is not None
    assert result.usage.image_tokens == 2 * 560


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2),
        ("quality", "low"),
        ("format", "gif"),
        ("background", "opaque"),
        ("moderation", "low"),
        ("complexity", "low"),
        ("safety_identifier", "u"),
        ("extra_body", {"size": "1K"}),
    ],
)
def test_what_gemini_lacks_is_refused_before_it_is_sent(
    sandbox: Sandbox, client: ImageClient, name: str, value: Any
) -> None:
    """By name, and with those that have it where there are any."""
    with pytest.raises(InvalidRequestError, match=name):
        client.generate(FOX, **{name: value})

    assert sandbox.requests == []


def test_images_that_are_too_large_together_are_not_sent() -> None:
    """The limit of 100 MB is that of a whole request with its images in base64."""
    part = FilePart(name="image[]", filename="a.png", content_type="image/png", data=bytes(30))
    usual = HttpRequest(method="POST", path="/images/edits", body={"model": PRO, "prompt": FOX})
    large = evolve(part, data=bytes(30_000_000))
    parts = to_wire(evolve(usual, files=(part, part))).body["contents"]

    assert json.dumps(parts).count("inlineData") == 2
    with pytest.raises(InvalidRequestError, match="90,000,000 bytes"):
        to_wire(evolve(usual, files=(large, large, large)))


@pytest.mark.parametrize(("name", "value"), [("mask", photo()), ("markup", photo())])
def test_masks_are_refused(sandbox: Sandbox, client: ImageClient, name: str, value: Any) -> None:
    """No model of theirs edits by a mask any more."""
    with pytest.raises(InvalidRequestError, match=name):
        client.edit(FOX, photo(), **{name: value})

    assert sandbox.requests == []


@pytest.mark.parametrize("size", ["auto", "1200x630"])
def test_the_format_is_made_here(sandbox: Sandbox, client: ImageClient, size: str) -> None:
    """Gemini chooses jpeg; a png is one, the reply's own bytes stay, and nothing more is sent."""
    result = client.generate(FOX, format="png", size=size)
    original = result.image.original
    assert original is not None

    assert (result.image.format, original.format) == ("png", "jpeg")
    assert "Gemini chose jpeg; it is converted to png here" in " ".join(result.warnings)
    assert "output_format" not in json.dumps(sent(sandbox))


def test_compression_is_done_here(client: ImageClient) -> None:
    """Fewer per cent make a smaller file, also where the format is the one that came."""
    rough = client.generate(FOX, format="jpeg", compression=10).image

    assert rough.original is not None
    assert rough.nbytes < rough.original.nbytes


def test_fields_of_its_own_are_added(sandbox: Sandbox, client: ImageClient) -> None:
    """`extra_body` adds to what is sent; it does not replace the modalities."""
    more = {"seed": 7, "thinkingConfig": {"thinkingLevel": "high"}}
    client.generate(FOX, extra_body={"generationConfig": more})
    config = sent(sandbox)["generationConfig"]

    assert config == {"responseModalities": ["TEXT", "IMAGE"], **more}


def test_batches_are_refused(client: ImageClient) -> None:
    """The error says that they are OpenAI's, and names who has them."""
    with pytest.raises(InvalidRequestError, match=r"Batch API.*openai"):
        client.submit_batch([FOX])


@pytest.mark.parametrize(
    ("scenario", "error", "stage", "sent_times"),
    [
        ("moderation", ModerationError, "input", 1),
        ("moderation_output", ModerationError, "output", 1),
        ("quota", QuotaExceededError, None, 1),
        ("billing", QuotaExceededError, None, 1),
        ("unauthorized", AuthenticationError, None, 1),
        ("server", ServerError, None, 1),
        ("empty", ServerError, None, 1),
        ("timeout", OutcomeUnknownError, None, 1),
        ("cut", OutcomeUnknownError, None, 1),
    ],
)
def test_failures_are_the_trees(
    sandbox: Sandbox, client: ImageClient, scenario: Any, error: type[Exception],
    stage: str | None, sent_times: int,
) -> None:  # fmt: skip
    """Google's words become the library's errors, and nothing is sent again that may be billed."""
    sandbox.fail_next(scenario)
    with pytest.raises(error) as caught:
        client.generate(FOX)

    assert getattr(caught.value, "stage", None) == stage
    assert len(sandbox.requests) == sent_times


@pytest.mark.parametrize("scenario", ["rate_limit", "overloaded"])
def test_what_did_nothing_is_sent_again(
    sandbox: Sandbox, client: ImageClient, scenario: Any
) -> None:
    """A limit per minute and an overloaded model are waited for."""
    sandbox.fail_next(scenario, retry_after=0.01)

    assert client.generate(FOX).image.format == "jpeg"
    assert len(sandbox.requests) == 2


def test_a_model_that_is_gone_says_what_there_is(client: ImageClient) -> None:
    """An unknown name is sent, and Google's 404 comes back as such."""
    with pytest.raises(NotFoundError, match="not found for API version"):
        client.generate(FOX, model="gemini-1-image")


def test_a_stream_shows_what_it_draws_while_thinking(sandbox: Sandbox, client: ImageClient) -> None:
    """Previews are asked for as thoughts; without any the image comes whole, and costs the same."""
    *previews, last = client.stream(FOX, partial_images=2)
    config = sent(sandbox)["generationConfig"]
    (only,) = client.stream(FOX)

    assert [type(each).__name__ for each in (*previews, last, only)] == [
        "PartialImage", "Completed", "Completed",
    ]  # fmt: skip
    assert config["thinkingConfig"] == {"includeThoughts": True}
    assert "thinkingConfig" not in sent(sandbox)["generationConfig"]
    assert isinstance(last, Completed)
    assert isinstance(only, Completed)
    assert last.result.cost == only.result.cost == client.generate(FOX).cost


def streamed(*documents: dict[str, Any]) -> tuple[list[Any], Any]:
    """The events of a stream in the form of the Images API, and the last one's JSON."""
    raw = [ServerEvent(data=json.dumps(each).encode()) for each in documents]
    found = [json.loads(from_event(each, raw[:at]).data) for at, each in enumerate(raw)]
    return found, found[-1]


def test_events_are_one_reply() -> None:
    """Parts in a row, usage of the last event; the image is there from its event on."""
    usage = {"promptTokenCount": 5, "candidatesTokenCount": 1120}
    found, last = streamed(
        candidate({"text": "I think", "thought": True}),
        candidate(blob(1, thought=True)),
        candidate(blob(2, thoughtSignature="s")),
        {**candidate({"text": "Here."}, finishReason="STOP"), "usageMetadata": usage},
    )

    assert [each.get("type") for each in found] == [
        "image_generation.text", "image_generation.partial_image", None, None,
    ]  # fmt: skip
    assert found[2]["data"] == last["data"] == [{"b64_json": 2}]
    assert (found[2]["usage"], last["usage"]["total_tokens"]) == (None, 1125)
    assert last["model_message"]["parts"] == [blob(0, thoughtSignature="s"), {"text": "Here."}]


def test_feedback_that_blocks_nothing_ends_no_stream() -> None:
    """Ratings of the prompt come with the first event; the image is yet to come."""
    rated = {"promptFeedback": {"safetyRatings": [{"category": "X", "probability": "LOW"}]}}
    (first, _), last = streamed({**candidate({"text": "Here."}), **rated}, candidate(blob(1)))

    assert first == {"type": "image_generation.text"}
    assert last["data"] == [{"b64_json": 1}]


@pytest.mark.parametrize(
    ("documents", "words"),
    [
        ([candidate({"text": "No"}, finishReason="STOP")], "(STOP): No"),
        ([candidate(finishReason="IMAGE_SAFETY")], "IMAGE_SAFETY"),
        ([{"promptFeedback": {"blockReason": "SAFETY"}}], "(SAFETY)"),
        ([candidate({"text": "x"}), {"error": {"message": "overloaded", "code": 503}}],
         "overloaded"),
    ],
)  # fmt: skip
def test_a_stream_without_an_image_ends_with_the_reason(documents: Any, words: str) -> None:
    """Refused or only written: the event that ends it is the error."""
    _, last = streamed(*documents)

    assert words in last["error"]["message"]


@pytest.mark.parametrize("turn", [True, False])
def test_an_error_after_the_image_loses_no_image(turn: bool) -> None:
    """It is paid: the error is a warning."""
    final = blob(0)
    final["inlineData"]["data"] = b64encode(photo()).decode()
    failed = {"error": {"code": 500, "message": "An internal error has occurred."}}
    events = [ServerEvent(data=json.dumps(each).encode()) for each in (candidate(final), failed)]
    client = ImageClient(provider="gemini", transport=Fake([[*events]]))
    (last,) = client.conversation().stream(FOX) if turn else client.stream(FOX)
    assert isinstance(last, (Completed, TurnCompleted))

    assert last.image.data == photo()


@pytest.mark.parametrize("image", [True, False])
def test_a_stream_that_breaks_after_its_image_has_it(image: bool) -> None:
    """One that breaks before it may have been billed, and is never sent again."""
    final = blob(0)
    final["inlineData"]["data"] = b64encode(photo()).decode()
    parts = [{"text": "I think", "thought": True}, *([final] if image else [])]
    events = [ServerEvent(data=json.dumps(candidate(each)).encode()) for each in parts]
    fake = Fake([[*events, OutcomeUnknownError("it broke")]])
    client = ImageClient(provider="gemini", transport=fake)
    if image:
        (last,) = client.stream(FOX)
        assert isinstance(last, Completed)
        assert last.result.image.data == photo()
        assert (last.result.cost, "it broke" in " ".join(last.result.warnings)) == (None, True)
    else:
        with pytest.raises(OutcomeUnknownError, match="it broke"):
            list(client.stream(FOX))

    assert len(fake.requests) == 1


def test_async_over_http_with_its_own_header(sandbox: Sandbox) -> None:
    """The key goes into Google's header, the image is split from the reply as it arrives."""

    async def draw(root: str) -> tuple[Result, Result]:
        async with AsyncImageClient(provider="gemini", api_key="k", base_url=root) as client:
            first = await client.generate(FOX, size="1024x1024")
            return first, await client.edit("At night", first.image)

    with SandboxServer(sandbox=sandbox) as server:
        first, second = asyncio.run(draw(server.azure_endpoint))

    assert (first.image.size, second.image.format) == ((1024, 1024), "jpeg")
    assert first.request_id is not None


@pytest.mark.parametrize("name", ["GEMINI_API_KEY", "GOOGLE_API_KEY"])
def test_the_environment_has_its_key_and_address(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Both of Google's variables are read; a host alone gets the version of the API."""
    monkeypatch.setenv(name, "AIza-test")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "https://google.example")
    found = provider("gemini").connected()

    assert found.key_headers() == {"x-goog-api-key": "AIza-test"}
    assert found.base_url == "https://google.example/v1beta"


@pytest.mark.parametrize("other", ["openai", "together"])
def test_the_sandbox_of_another_is_refused(other: Any) -> None:
    """A client of Gemini does not ask the sandbox of another service."""
    with pytest.raises(ConfigurationError, match="provider='gemini'"):
        ImageClient.sandbox(Sandbox(provider=other), provider="gemini")


def test_another_providers_model_has_its_own_sandbox() -> None:
    """One call of a client of OpenAI goes to Gemini, without a key."""
    with ImageClient.sandbox() as client:
        assert client.generate(FOX, model=f"gemini/{PRO}").image.format == "jpeg"


@pytest.mark.parametrize(
    ("parts", "images"),
    [
        ([blob(0)], [0]),
        ([{"text": "so", "thought": True}, blob(0, thought=True), blob(1)], [1]),
        ([{"text": "Here:"}, blob(0), {"text": "done"}], [0]),
        ([blob(0), blob(1), blob(2)], [2, 0, 1]),
    ],
)
def test_thoughts_are_skipped_and_the_last_image_is_first(
    parts: list[Any], images: list[int]
) -> None:
    """Of several images the last is the finished one; none that is paid for is dropped."""
    found = json.loads(from_wire(reply(**candidate(*parts))).body)

    assert [each["b64_json"] for each in found["data"]] == images


@pytest.mark.parametrize(
    ("document", "code", "words"),
    [
        ({"usageMetadata": {}}, "no_image", "no reason given"),
        ({"candidates": []}, "no_image", "no reason given"),
        (candidate({"text": "I cannot draw that."}, finishReason="STOP"), "no_image",
         "(STOP): I cannot draw that."),
        (candidate(finishReason="NO_IMAGE"), "no_image", "NO_IMAGE"),
        (candidate(finishReason="SOMETHING_NEW"), "no_image", "SOMETHING_NEW"),
        (candidate(finishReason="IMAGE_PROHIBITED_CONTENT"), "moderation_blocked",
         "IMAGE_PROHIBITED_CONTENT"),
        ({"promptFeedback": {"blockReason": "JAILBREAK"}}, "moderation_blocked", "(JAILBREAK)"),
        ({"promptFeedback": {"blockReason": "NEW"}}, "moderation_blocked", "new here"),
    ],
)  # fmt: skip
def test_no_image_has_a_reason(document: dict[str, Any], code: str, words: str) -> None:
    """Every level may be missing; what the model says in words is quoted."""
    error = json.loads(from_wire(reply(**document)).body)["error"]

    assert error["code"] == code
    assert words in error["message"]


@pytest.mark.parametrize("counted", [{}, {"promptTokenCount": "many"}, None])
def test_usage_that_is_missing_is_none(counted: object) -> None:
    """Nothing is made up: no usage, so no cost."""
    found = from_wire(reply(**candidate(blob(0)), usageMetadata=counted))

    assert json.loads(found.body)["usage"] is None


@pytest.mark.parametrize("form", ["snake", "array"])
def test_other_spellings_of_a_reply_are_read(form: str) -> None:
    """Gateways write names as the SDK does; a stream without events is one array."""
    part = {"inline_data": {"mime_type": "image/png", "data": 0}, "thought_signature": "s"}
    usage = {"promptTokenCount": 5, "candidatesTokenCount": 1120}
    if form == "snake":
        usage_snake = {"prompt_token_count": 5, "candidates_token_count": 1120}
        value: Any = {**candidate(part, finish_reason="STOP"), "usage_metadata": usage_snake}
    else:
        value = [candidate({"text": "So"}), {**candidate(blob(0)), "usageMetadata": usage}]
    body = json.dumps(value).encode()
    found = json.loads(from_wire(HttpReply(status=200, body=body, images=(photo(),))).body)

    assert (found["data"], found["usage"]["total_tokens"]) == ([{"b64_json": 0}], 1125)


def test_a_paid_reply_that_is_no_json_is_not_lost(sandbox: Sandbox, client: ImageClient) -> None:
    """It goes on as it came, and the error that says so carries it."""
    sandbox.fail_next(HttpReply(status=200, body=b"{broken"))
    with pytest.raises(MalformedReplyError) as caught:
        client.generate(FOX)

    assert caught.value.reply == b"{broken"
