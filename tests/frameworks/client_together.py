"""Together's client before the sandbox as Together."""

from __future__ import annotations

import os
import urllib.request
from base64 import b64decode, b64encode
from typing import Any

import together
from harness import FIRST, case, check, is_png, png, run


URL = os.environ["TOGETHER_URL"].removesuffix("/v1")
DRAW: dict[str, Any] = {
    "model": "black-forest-labs/FLUX.1-schnell", "prompt": FIRST, "width": 320, "height": 192
}  # fmt: skip


def client(key: str = "any") -> together.Together:
    return together.Together(api_key=key, base_url=URL, max_retries=0)


@case("images in base64")
async def _() -> None:
    reply = client().images.generate(n=2, response_format="base64", output_format="png", **DRAW)
    check([is_png(b64decode(each.b64_json)) for each in reply.data] == [True, True])


@case("async, an address that serves the image")
async def _() -> None:
    other = together.AsyncTogether(api_key="any", base_url=URL, max_retries=0)
    reply = await other.images.generate(**DRAW)
    with urllib.request.urlopen(reply.data[0].url) as response:
        check(response.read().startswith(b"\xff\xd8\xff"))


@case("a reference image")
async def _() -> None:
    url = f"data:image/png;base64,{b64encode(png()).decode()}"
    reply = client().images.generate(reference_images=[url], response_format="base64", **DRAW)
    check(reply.data[0].b64_json)


@case("refusals have their own errors")
async def _() -> None:
    asked = [
        ("any", {"n": 5}, together.BadRequestError),
        ("any", {"model": "nobody/none"}, together.NotFoundError),
        ("any", {"prompt": "A fox [sandbox:rate_limit]"}, together.RateLimitError),
        ("any", {"prompt": "A fox [sandbox:server]"}, together.InternalServerError),
        ("sk-invalid", {}, together.AuthenticationError),
    ]
    for key, changes, kind in asked:
        try:
            client(key).images.generate(**{**DRAW, **changes})
        except kind:
            continue
        raise AssertionError(f"{kind.__name__} did not come")


run("together")
