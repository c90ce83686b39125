"""The sandbox as other services: each one's paths, keys, closed parameters, replies, refusals."""

from __future__ import annotations

import base64
import json
from datetime import date
from typing import Any

import httpx2
import pytest

from gptimage import Image, InvalidRequestError
from gptimage.sandbox import Sandbox, SandboxServer
from gptimage.sandbox.dialect import PROVIDERS, Provider
from gptimage.transport.http import FilePart, HttpReply, HttpRequest
from tests.sandbox.pictures import TODAY, photo


FOX = "A red fox in the snow"
PHOTO = base64.b64encode(photo()).decode()
URL = f"data:image/png;base64,{PHOTO}"
DRAW: dict[Provider, tuple[str, dict[str, Any]]] = {
    "openai": (
        "/v1/images/generations",
        {"model": "gpt-image-2.5-flare", "prompt": FOX, "quality": "low"},
    ),
    "azure": (
        "/openai/v1/images/generations",
        {"model": "gpt-image-2.5-flare", "prompt": FOX, "quality": "low"},
    ),
    "gemini": (
        "/v1beta/models/gemini-3-pro-image:generateContent",
        {
            "contents": [{"role": "user", "parts": [{"text": FOX}]}],
            "generationConfig": {"imageConfig": {"aspectRatio": "16:9", "imageSize": "1K"}},
        },
    ),
    "openrouter": (
        "/api/v1/images",
        {"model": "openai/gpt-image-2.5-flare", "prompt": FOX, "quality": "low"},
    ),
    "together": (
        "/v1/images/generations",
        {
            "model": "black-forest-labs/FLUX.1-schnell",
            "prompt": FOX,
            "width": 320,
            "height": 192,
            "response_format": "base64",
        },
    ),
    "xai": (
        "/v1/images/generations",
        {
            "model": "grok-imagine-image-2.0",
            "prompt": FOX,
            "aspect_ratio": "2:1",
            "response_format": "b64_json",
        },
    ),
}
OTHERS: tuple[Provider, ...] = tuple(each for each in PROVIDERS if each != "openai")


def sandbox(provider: Provider, **settings: Any) -> Sandbox:
    """A sandbox of a provider whose day never changes."""
    return Sandbox(provider=provider, today=lambda: TODAY, draw="plain", **settings)


def post(
    service: Sandbox, path: str | None = None, /, *, prompt: str = FOX, **changes: Any
) -> HttpReply:
    """The reply to the provider's usual request, changed."""
    usual, body = DRAW[service.dialect.name]
    body = json.loads(json.dumps(body).replace(FOX, prompt))
    return service.send(HttpRequest(method="POST", path=path or usual, body={**body, **changes}))


def value(reply: HttpReply, status: int = 200) -> Any:
    """The JSON of a reply."""
    assert reply.status == status, bytes(reply.body)
    return json.loads(bytes(reply.body))


def parts(reply: HttpReply) -> Any:
    """The parts of Gemini's answer."""
    return value(reply)["candidates"][0]["content"]["parts"]


def drawn(provider: Provider, reply: HttpReply) -> Image:
    """The image of a reply."""
    if provider == "gemini":
        return Image.from_bytes(base64.b64decode(parts(reply)[-1]["inlineData"]["data"]))
    return Image.from_bytes(base64.b64decode(value(reply)["data"][0]["b64_json"]))


@pytest.mark.parametrize(
    ("provider", "size", "kind"),
    [
        ("openai", (1024, 1024), "png"),
        ("azure", (1024, 1024), "png"),
        ("gemini", (1376, 768), "jpeg"),
        ("openrouter", (1024, 1024), "png"),
        ("together", (320, 192), "jpeg"),
        ("xai", (1536, 768), "jpeg"),
    ],
)
def test_each_draws_in_its_own_way(provider: Provider, size: tuple[int, int], kind: str) -> None:
    """Its path, its parameters, and the image where its reply has it."""
    image = drawn(provider, post(sandbox(provider)))

    assert (image.size, image.format) == (size, kind)


UNKNOWN = {
    "azure": ("frames", "Unknown parameter: 'frames'."),
    "gemini": (
        "frames",
        'Invalid JSON payload received. Unknown name "frames": Cannot find field.',
    ),
    "openrouter": ("moderation", "Unknown parameter: 'moderation'."),
    "together": ("size", "Unknown parameter: 'size'."),
    "xai": ("size", "Argument not supported: size"),
}


def message(body: Any) -> str:
    """What an error says, in any of the dialects."""
    error = body["error"]
    return error if isinstance(error, str) else error["message"]


@pytest.mark.parametrize("provider", OTHERS)
def test_what_it_does_not_know_is_refused_in_its_own_words(provider: Provider) -> None:
    """The set of parameters is closed, and the body of the refusal is the provider's."""
    name, words = UNKNOWN[provider]
    found = value(post(sandbox(provider), **{name: "1024x1024"}), 400)

    assert message(found) == words


@pytest.mark.parametrize("provider", OTHERS)
def test_a_marker_in_the_prompt_plays_a_failure(provider: Provider) -> None:
    """The prompt is found wherever the provider's request has it; a 503 is worth another try."""
    found = post(sandbox(provider), prompt="A fox [sandbox:overloaded]")

    assert found.status == 503
    assert message(json.loads(bytes(found.body)))


@pytest.mark.parametrize(
    ("provider", "status", "words"),
    [
        ("azure", 400, '"code": "ResponsibleAIPolicyViolation"'),
        ("gemini", 200, '"blockReason": "PROHIBITED_CONTENT"'),
        ("openrouter", 403, '"reasons": ["sexual"]'),
        ("together", 400, '"code": "moderation_blocked"'),
        ("xai", 200, '{"data": []}'),
    ],
)
def test_moderation_is_said_as_each_says_it(provider: Provider, status: int, words: str) -> None:
    """A refusal is a status at some, and a success without an image at Google and xAI."""
    service = sandbox(provider)
    service.fail_next("moderation")

    assert words in json.dumps(value(post(service), status))


@pytest.mark.parametrize(
    ("scenario", "provider", "status"),
    [
        ("quota", "openrouter", 402),
        ("rate_limit", "openrouter", 429),
        ("server", "openrouter", 502),
        ("quota", "gemini", 429),
        ("rate_limit", "gemini", 429),
        ("server", "gemini", 500),
        ("unauthorized", "gemini", 400),
        ("unverified", "gemini", 403),
        ("rate_limit", "azure", 429),
        ("unauthorized", "azure", 401),
        ("unauthorized", "xai", 400),
        ("html", "together", 200),
        ("empty", "xai", 200),
        ("empty", "gemini", 200),
    ],
)
def test_failures_have_the_providers_status(scenario: Any, provider: Provider, status: int) -> None:
    """What happens is chosen as ever; how it is said is the provider's."""
    service = sandbox(provider)
    service.fail_next(scenario)

    assert post(service).status == status


def test_gemini_says_how_long_to_wait_or_nothing() -> None:
    """A limit per minute has a delay; an empty account has the same sentence without one."""
    service = sandbox("gemini")
    service.fail_next("rate_limit", retry_after=7)
    service.fail_next("quota")
    limit, quota = (value(post(service), 429)["error"] for _ in range(2))

    assert limit["details"][0]["retryDelay"] == "7s"
    assert "details" not in quota
    assert limit["status"] == quota["status"] == "RESOURCE_EXHAUSTED"


GEMINI = "/v1beta/models/{}:generateContent"


def turn(role: str, *parts: dict[str, Any]) -> dict[str, object]:
    """One message."""
    return {"role": role, "parts": list(parts)}


def blob(**more: object) -> dict[str, Any]:
    """A part with an image."""
    return {"inlineData": {"mimeType": "image/png", "data": PHOTO}, **more}


SAID = {"text": FOX}
MANY: list[dict[str, Any]] = [blob()] * 15


@pytest.mark.parametrize(
    ("model", "changes", "words"),
    [
        ("gemini-3-pro-image", {"generationConfig": {"candidateCount": 2}}, "Multiple candidates"),
        ("gemini-3-pro-image", {"generationConfig": {"imageConfig": {"size": "1K"}}},
         "Unknown name \"size\" at 'generation_config.image_config'"),
        ("gemini-nano-banana-2.1", {"generationConfig": {"imageConfig": {"imageSize": "512"}}},
         "image_size 512"),
        ("gemini-3-pro-image", {"generationConfig": {"imageConfig": {"aspectRatio": "8:1"}}},
         "aspect_ratio"),
        ("gemini-2.5-flash-image", {"generationConfig": {"imageConfig": {"imageSize": "1K"}}},
         "image_size 1K"),
        ("gemini-3.1-flash-lite-image",
         {"generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}}, "level LOW"),
        ("gemini-3-pro-image", {"contents": None}, "contents is not specified"),
        ("gemini-3-pro-image", {"contents": [turn("assistant", SAID)]}, "valid role"),
        ("gemini-3-pro-image", {"contents": [turn("user", blob())]}, "text parameter"),
        ("gemini-3-pro-image", {"contents": [turn("user", *MANY, SAID)]}, "at most 14"),
        ("gemini-3-pro-image",
         {"contents": [turn("user", SAID), turn("model", blob()), turn("user", SAID)]},
         "missing a thought_signature in content position 2"),
        ("gemini-3-pro-image", {"tools": [{"functionDeclarations": [{"name": "f"}]}]},
         "Function calling"),
    ],
)  # fmt: skip
def test_gemini_refuses_what_its_models_lack(
    model: str, changes: dict[str, Any], words: str
) -> None:
    """One candidate, its own ratios and tiers, its levels of thinking, signed images."""
    found = value(post(sandbox("gemini"), GEMINI.format(model), **changes), 400)

    assert words in message(found)
    assert found["error"]["status"] == "INVALID_ARGUMENT"


def test_gemini_continues_from_its_own_signed_image() -> None:
    """A second turn edits the image of the first; snake case is read like camel case."""
    service = sandbox("gemini")
    first = parts(post(service))[-1]
    talk: list[Any] = [
        turn("user", SAID),
        turn("model", first),
        turn("user", {"text": "Make it night"}),
    ]
    second = post(service, contents=talk, generation_config={"response_modalities": ["IMAGE"]})
    usage = value(second)["usageMetadata"]

    assert drawn("gemini", second).size == (1376, 768)
    assert usage["promptTokensDetails"][1] == {"modality": "IMAGE", "tokenCount": 560}
    assert usage["thoughtsTokenCount"] == 180


def test_gemini_thinks_aloud_when_asked() -> None:
    """Thoughts, one of them an image, come first, marked as such; the last part is the image."""
    service = sandbox("gemini")
    config = {"thinking_config": {"include_thoughts": True}}
    found = parts(post(service, generationConfig=config))

    assert [bool(part.get("thought")) for part in found] == [True, True, False]
    assert "thoughtSignature" in found[-1]


def test_gemini_streams_parts_and_then_the_end() -> None:
    """With ?alt=sse; the image is whole in one event, and the last one has the reason."""
    service, path = sandbox("gemini"), "/models/gemini-3-pro-image:streamGenerateContent"
    events = bytes(post(service, f"{path}?alt=sse").body).decode().split("\n\n")[:-1]
    bodies = [json.loads(each.removeprefix("data: ")) for each in events]

    assert "inlineData" in bodies[0]["candidates"][0]["content"]["parts"][0]
    assert [each["candidates"][0].get("finishReason") for each in bodies] == [None, "STOP"]
    assert post(service, path).status == 400


def test_gemini_holds_an_image_back_and_counts_the_thoughts() -> None:
    """HTTP 200 without an image, with a reason, and with tokens that are billed."""
    service = sandbox("gemini")
    service.fail_next("moderation_output")
    found = value(post(service))

    assert found["candidates"][0]["finishReason"] == "IMAGE_SAFETY"
    assert found["usageMetadata"]["thoughtsTokenCount"] == 180


DATED = "/openai/deployments/{}/images/generations?api-version={}"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (DATED.format("gpt-image-2.5-flare", "2025-04-01-preview"), 200),
        (DATED.format("gpt-image-2.5-flare", "2024-02-01"), 404),
        (DATED.format("gpt-image-2.6-flare", "2026-01-01"), 404),
        (DATED.format("gpt-image-2.5-flare", "").partition("?")[0], 404),
        ("/openai/v1/images/generations?api-version=preview", 200),
        ("/openai/v1/images/generations?api-version=2025-04-01-preview", 404),
    ],
)
def test_azure_has_deployments_and_versions(path: str, status: int) -> None:
    """A dated version goes with a deployment in the path; what Azure lacks is no deployment."""
    service = sandbox("azure")
    found = service.send(HttpRequest(method="POST", path=path, body=azure_body(path)))

    assert found.status == status


def azure_body(path: str) -> dict[str, Any]:
    """The body that goes with a path: a deployment there has no model here."""
    body = DRAW["azure"][1]
    return {k: v for k, v in body.items() if k != "model" or "deployments" not in path}


@pytest.mark.parametrize(("day", "status"), [(date(2026, 12, 15), 200), (date(2026, 12, 16), 404)])
def test_azure_retires_by_its_own_dates(day: date, status: int) -> None:
    """OpenAI stops gpt-image-1.5 on 1 December, Azure half a month later."""
    service = Sandbox(provider="azure", today=lambda: day, draw="plain")
    body = {**DRAW["azure"][1], "model": "gpt-image-1.5"}
    path = "/openai/v1/images/generations"

    assert service.send(HttpRequest(method="POST", path=path, body=body)).status == status


def test_azure_reads_edits_as_forms_alone() -> None:
    """JSON, with which OpenAI takes file ids, is refused; a form is drawn."""
    service, path = sandbox("azure"), "/openai/v1/images/edits"
    fields = DRAW["azure"][1]
    part = FilePart(name="image", filename="a.png", content_type="image/png", data=photo())
    form = HttpRequest(method="POST", path=path, body=fields, files=(part,))
    plain = HttpRequest(method="POST", path=path, body={**fields, "images": [{"image_url": URL}]})

    assert service.send(form).status == 200
    assert service.send(plain).status == 400


def test_openrouter_says_what_it_cost() -> None:
    """The reply has the cost in USD, by the catalogue's prices, and the type of each image."""
    found = value(post(sandbox("openrouter")))

    assert found["usage"]["cost"] == pytest.approx(0.00591, abs=0.0001)
    assert found["data"][0]["media_type"] == "image/png"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": "1024x1024", "aspect_ratio": "1:1"}, "contradicts"),
        ({"model": "nobody/none"}, "not a valid model ID"),
        ({"model": "google/gemini-3-pro-image"}, "Unknown parameter: 'quality'."),
        ({"model": "google/gemini-3-pro-image", "quality": None, "n": 2}, "Unknown parameter"),
        ({"input_references": [{"type": "url"}]}, "Supported values are: 'image_url'"),
    ],
)
def test_openrouter_refuses_by_model(changes: dict[str, Any], words: str) -> None:
    """What the model behind it does not take is refused, not dropped."""
    assert words in message(value(post(sandbox("openrouter"), **changes), 400))


def test_openrouter_draws_with_references_and_googles_models() -> None:
    """Input images are references; a ratio and a resolution name Google's sizes."""
    service = sandbox("openrouter")
    references = [{"type": "image_url", "image_url": {"url": URL}}]
    edited = post(service, input_references=references, size="1536x1024")
    body = {
        "model": "google/gemini-nano-banana-2.1", "prompt": FOX, "aspect_ratio": "3:2",
        "resolution": "1K", "input_references": references,
    }  # fmt: skip
    google = service.send(HttpRequest(method="POST", path="/images", body=body))

    assert drawn("openrouter", edited).size == (1536, 1024)
    assert drawn("openrouter", google).size == (1264, 848)


def test_openrouter_streams_and_ends() -> None:
    """Two partial images, the whole one with its cost, and the mark of the end."""
    found = bytes(post(sandbox("openrouter"), stream=True).body).decode().split("\n\n")[:-1]
    *events, end = (each.removeprefix("data: ") for each in found)
    bodies = [json.loads(each) for each in events]

    assert end == "[DONE]"
    assert [each["type"].rpartition(".")[2] for each in bodies] == [
        "partial_image", "partial_image", "completed"
    ]  # fmt: skip
    assert bodies[-1]["usage"]["cost"] > 0


@pytest.mark.parametrize("provider", ["together", "xai"])
def test_addresses_serve_their_images(provider: Provider) -> None:
    """Unless base64 is asked for, a reply names addresses; they answer without a key."""
    service = sandbox(provider)
    path, body = DRAW[provider]
    del (plain := dict(body))["response_format"]
    with SandboxServer(sandbox=service) as server, httpx2.Client() as client:
        root = server.azure_endpoint
        headers = {"authorization": "Bearer any"}
        reply = client.post(f"{root}{path}", json=plain, headers=headers).json()
        image = Image.from_bytes(client.get(reply["data"][0]["url"]).content)

    assert image.format == "jpeg"


@pytest.mark.parametrize("provider", ["together", "xai"])
def test_edits_there_are_json_with_addresses(provider: Provider) -> None:
    """XAI has a path for them, Together a parameter; both take data URLs."""
    service = sandbox(provider)
    changes: dict[str, Any] = {"images": [{"url": URL}]}
    changes = {"image_url": URL} if provider == "together" else changes
    path = "/images/edits" if provider == "xai" else None

    assert drawn(provider, post(service, path, **changes))
    assert service.requests[-1].body["prompt"] == FOX


def test_xai_withholds_an_image_without_a_word() -> None:
    """The slot is there, its address is empty, and nothing else says so."""
    service = sandbox("xai")
    service.fail_next("moderation_output")

    assert value(post(service))["data"] == [{"url": "", "respect_moderation": False}]


@pytest.mark.parametrize(
    ("provider", "headers", "status"),
    [
        ("gemini", {}, 403),
        ("gemini", {"x-goog-api-key": "sk-invalid"}, 400),
        ("gemini", {"authorization": "Bearer any"}, 403),
        ("gemini", {"x-goog-api-key": "any"}, 200),
        ("azure", {}, 401),
        ("azure", {"api-key": "any"}, 200),
        ("azure", {"authorization": "Bearer token"}, 200),
        ("openrouter", {}, 401),
        ("openrouter", {"authorization": "Bearer any"}, 200),
        ("together", {"api-key": "any"}, 401),
        ("xai", {"authorization": "Bearer sk-invalid"}, 400),
    ],
)
def test_keys_come_in_the_providers_header(
    provider: Provider, headers: dict[str, str], status: int
) -> None:
    """Over HTTP a key is checked where the provider looks for it, and never kept."""
    service = sandbox(provider)
    path, body = DRAW[provider]
    with SandboxServer(sandbox=service) as server, httpx2.Client() as client:
        reply = client.post(f"{server.azure_endpoint}{path}", json=body, headers=headers)

    assert reply.status_code == status
    assert all("any" not in str(each.headers) for each in service.requests)
    assert server.base_url.endswith(service.dialect.prefix)


def test_a_key_in_the_query_is_not_kept() -> None:
    """Google takes one there, too; what is remembered of the request is without it."""
    service = sandbox("gemini")
    path, body = DRAW["gemini"]
    with SandboxServer(sandbox=service) as server, httpx2.Client() as client:
        reply = client.post(f"{server.azure_endpoint}{path}?key=secret", json=body)
        listed = client.get(f"{server.azure_endpoint}/v1beta/models?key=secret").json()

    assert reply.status_code == 200
    assert "models/gemini-3-pro-image" in [each["name"] for each in listed["models"]]
    assert "secret" not in repr(service.requests)


@pytest.mark.parametrize("provider", ["gemini", "openrouter", "together", "xai"])
def test_images_alone_are_there(provider: Provider) -> None:
    """They have no Responses API, no files and no batches."""
    service = sandbox(provider)
    paths = ("/responses", "/files", "/batches", "/images/variations")

    assert {service.send(HttpRequest(method="POST", path=p)).status for p in paths} == {404}


def test_openrouter_lists_what_each_model_takes() -> None:
    """Parameters by model, as a client reads them before it sends."""
    request = HttpRequest(method="GET", path="/api/v1/images/models")
    found = {each["id"]: each for each in value(sandbox("openrouter").send(request))["data"]}

    assert "quality" in found["openai/gpt-image-2.5-flare"]["supported_parameters"]
    assert "quality" not in found["google/gemini-3-pro-image"]["supported_parameters"]


def test_an_unknown_provider_is_refused_by_name() -> None:
    """The error lists the dialects there are."""
    with pytest.raises(InvalidRequestError, match="azure, gemini, openrouter, together, xai"):
        Sandbox(provider="bedrock")  # type: ignore[arg-type]  # what a caller without types does
