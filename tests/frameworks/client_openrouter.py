"""OpenRouter's client before the sandbox as OpenRouter."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from typing import Any

from harness import FIRST, MODEL, NEXT, case, check, is_png, png, run
from openrouter import OpenRouter, errors


URL = os.environ["OPENROUTER_URL"]
DRAW: dict[str, Any] = {"model": f"openai/{MODEL}", "prompt": FIRST, "quality": "low"}


def client(key: str = "any") -> OpenRouter:
    return OpenRouter(api_key=key, server_url=URL, retry_config=None)


@case("an image with its cost")
async def _() -> None:
    with client() as router:
        reply: Any = router.images.generate(**DRAW)
    check(is_png(b64decode(reply.data[0].b64_json)))
    check(reply.usage.cost > 0, reply.usage)


@case("async, with a reference and Google's ratios")
async def _() -> None:
    url = f"data:image/png;base64,{b64encode(png()).decode()}"
    async with client() as router:
        reply: Any = await router.images.generate_async(
            model="google/gemini-nano-banana-2.1",
            prompt=NEXT,
            aspect_ratio="16:9",
            resolution="2K",
            input_references=[{"type": "image_url", "image_url": {"url": url}}],
        )
    check(reply.data[0].media_type == "image/jpeg", reply.data[0].media_type)


@case("a stream")
async def _() -> None:
    with client() as router:
        stream: Any = router.images.generate(stream=True, **DRAW)
        kinds = [event.type.rpartition(".")[2] for event in stream]
    check(kinds == ["partial_image", "partial_image", "completed"], kinds)


@case("refusals have their own errors")
async def _() -> None:
    asked = [
        ("any", {"prompt": "A fox [sandbox:quota]"}, errors.PaymentRequiredResponseError),
        ("any", {"prompt": "A fox [sandbox:rate_limit]"}, errors.TooManyRequestsResponseError),
        ("any", {"prompt": "A fox [sandbox:moderation]"}, errors.ForbiddenResponseError),
        ("any", {"model": "nobody/none"}, errors.BadRequestResponseError),
        ("sk-invalid", {}, errors.UnauthorizedResponseError),
    ]
    for key, changes, kind in asked:
        with client(key) as router:
            try:
                router.images.generate(**{**DRAW, **changes})
            except kind:
                continue
        raise AssertionError(f"{kind.__name__} did not come")


@case("models")
async def _() -> None:
    with client() as router:
        found: Any = router.images.list_models()
    check(f"openai/{MODEL}" in [model.id for model in found.data], found)


run("openrouter")
