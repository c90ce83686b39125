"""openai's client of Azure before the sandbox as Azure, by deployment and without a version."""

from __future__ import annotations

import os
from base64 import b64decode
from typing import Any

import openai
from azure.core.credentials import AccessToken
from azure.identity import get_bearer_token_provider
from harness import FIRST, MODEL, NEXT, case, check, is_png, png, run


ENDPOINT = os.environ["AZURE_URL"].removesuffix("/openai/v1")
DRAW: dict[str, Any] = {"model": MODEL, "prompt": FIRST, "quality": "low"}


def client(version: str = "2025-04-01-preview", **more: Any) -> openai.AzureOpenAI:
    return openai.AzureOpenAI(
        azure_endpoint=ENDPOINT, api_version=version, max_retries=0, **{"api_key": "any", **more}
    )


def image(reply: Any) -> bytes:
    return b64decode(reply.data[0].b64_json)


@case("an image by its deployment")
async def _() -> None:
    check(is_png(image(client().images.generate(**DRAW))))


@case("an edit by its deployment")
async def _() -> None:
    azure = client(azure_deployment=MODEL)
    reply = azure.images.edit(image=("a.png", png(), "image/png"), **{**DRAW, "prompt": NEXT})
    check(is_png(image(reply)))


@case("a token of Entra")
async def _() -> None:
    azure = client(api_key=None, azure_ad_token_provider=lambda: "token")
    check(is_png(image(azure.images.generate(**DRAW))))


class Login:
    """A login as azure-identity's own are."""

    def get_token(self, *scopes: str, **_: object) -> AccessToken:
        check(scopes == ("https://cognitiveservices.azure.com/.default",), scopes)
        return AccessToken("token-of-login", 2**31)


@case("a login of azure-identity")
async def _() -> None:
    scope = "https://cognitiveservices.azure.com/.default"
    azure = client(api_key=None, azure_ad_token_provider=get_bearer_token_provider(Login(), scope))
    check(is_png(image(azure.images.generate(**DRAW))))


@case("without a version, and a stream")
async def _() -> None:
    plain = openai.AsyncOpenAI(api_key="any", base_url=f"{ENDPOINT}/openai/v1/", max_retries=0)
    stream: Any = await plain.images.generate(stream=True, partial_images=1, **DRAW)
    kinds = [event.type async for event in stream]
    check(kinds == ["image_generation.partial_image", "image_generation.completed"], kinds)


@case("refusals have Azure's codes")
async def _() -> None:
    asked: list[tuple[openai.AzureOpenAI, dict[str, Any], type[openai.APIStatusError], str]] = [
        (client(), {"model": "gpt-image-9"}, openai.NotFoundError, "DeploymentNotFound"),
        (client("2024-02-01"), {}, openai.NotFoundError, "404"),
        (client(), {"prompt": "A fox [sandbox:moderation]"}, openai.BadRequestError,
         "content_policy_violation"),
        (client(), {"prompt": "A fox [sandbox:rate_limit]"}, openai.RateLimitError, "429"),
        (client(api_key="sk-invalid"), {}, openai.AuthenticationError, "401"),
    ]  # fmt: skip
    for azure, changes, kind, code in asked:
        try:
            azure.images.generate(**{**DRAW, **changes})
        except kind as error:
            check(error.code == code, error.body)
        else:
            raise AssertionError(f"{code} did not come")


run("openai")
