"""google-genai before the sandbox as Gemini."""

from __future__ import annotations

import os
from typing import Any

from google import genai
from google.genai import errors, types
from harness import FIRST, NEXT, case, check, png, run


URL = os.environ["GEMINI_URL"]
PRO, NEW = "gemini-3-pro-image", "gemini-nano-banana-2.1"


def client(key: str = "any") -> genai.Client:
    options = types.HttpOptions(base_url=URL.removesuffix("/v1beta"))
    return genai.Client(api_key=key, http_options=options)


def config(ratio: str = "16:9", size: str = "1K", **more: Any) -> types.GenerateContentConfig:
    image = types.ImageConfig(aspect_ratio=ratio, image_size=size)
    return types.GenerateContentConfig(
        response_modalities=["TEXT", "IMAGE"], image_config=image, **more
    )


def images(response: Any) -> list[bytes]:
    found = response.candidates[0].content.parts
    return [part.inline_data.data for part in found if part.inline_data and not part.thought]


def is_jpeg(data: bytes) -> bool:
    return data.startswith(b"\xff\xd8\xff")


@case("an image with its usage")
async def _() -> None:
    google = client()
    response = google.models.generate_content(model=NEW, contents=FIRST, config=config())
    check(is_jpeg(images(response)[0]))
    usage = response.usage_metadata
    check(usage.candidates_token_count == 1120, usage)
    check(usage.thoughts_token_count, usage)


@case("async, two input images")
async def _() -> None:
    blob = types.Part.from_bytes(data=png(), mime_type="image/png")
    google = client()
    response = await google.aio.models.generate_content(
        model=PRO, contents=[blob, blob, NEXT], config=config("1:1", "2K")
    )
    check(is_jpeg(images(response)[0]))
    check(response.usage_metadata.prompt_token_count > 1120, response.usage_metadata)


@case("a chat of two turns, with its thought signatures")
async def _() -> None:
    google = client()
    chat = google.chats.create(model=PRO, config=config())
    first, second = chat.send_message(FIRST), chat.send_message(NEXT)
    check(images(first) and images(second))
    check(first.candidates[0].content.parts[-1].thought_signature)


@case("a stream")
async def _() -> None:
    google = client()
    chunks = list(google.models.generate_content_stream(model=PRO, contents=FIRST, config=config()))
    check(any(images(chunk) for chunk in chunks))
    check(chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP, chunks[-1])


@case("thoughts that are asked for")
async def _() -> None:
    thinking = types.ThinkingConfig(include_thoughts=True)
    google = client()
    response = google.models.generate_content(
        model=PRO, contents=FIRST, config=config(thinking_config=thinking)
    )
    kinds = [bool(part.thought) for part in response.candidates[0].content.parts]
    check(kinds == [True, True, False], kinds)


@case("a refused prompt, and an image held back")
async def _() -> None:
    google = client()
    for scenario, reason in (("moderation", "PROHIBITED_CONTENT"), ("moderation_output", "")):
        response = google.models.generate_content(
            model=PRO, contents=f"{FIRST} [sandbox:{scenario}]", config=config()
        )
        if reason:
            check(response.prompt_feedback.block_reason == reason, response.prompt_feedback)
        else:
            check(response.candidates[0].finish_reason == types.FinishReason.IMAGE_SAFETY)


@case("refusals have Google's status")
async def _() -> None:
    asked: list[tuple[str, str, Any, str]] = [
        ("any", "gemini-9", config(), "NOT_FOUND"),
        ("any", PRO, config("7:7"), "INVALID_ARGUMENT"),
        ("any", PRO, config(candidate_count=2), "INVALID_ARGUMENT"),
        ("sk-invalid", PRO, config(), "INVALID_ARGUMENT"),
    ]
    for key, model, given, status in asked:
        google = client(key)
        try:
            google.models.generate_content(model=model, contents=FIRST, config=given)
        except errors.ClientError as error:
            check(error.status == status, error)
        else:
            raise AssertionError(f"{status} did not come")


@case("models")
async def _() -> None:
    google = client()
    names = [model.name for model in google.models.list()]
    check(f"models/{NEW}" in names, names)


run("google-genai")
