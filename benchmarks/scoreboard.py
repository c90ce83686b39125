"""One program, four libraries: the first image of a cold process, then small and large ones.

The HTTP library alone, which throws away what it receives, shows how much of a large reply is
left to a library: below its figure is none that uses httpx2.

Each round runs every library once, in a process of its own: its CPU time counts, which a busy
machine changes less than the clock, and its memory.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from canned import serving
from measure import MODEL, PROMPT, memory, report, take_turns


SMALL, LARGE = 20, 4
"""Calls with a reply of a few kilobytes, and with one of 12 MB, after the first one."""

Draw = Callable[[str], int]
"""Draws one image at a scene of the server, and returns how many bytes it has."""


def run(*, quick: bool) -> None:
    """Print a table for each figure."""
    found = [name for name, (module, _) in LIBRARIES.items() if find_spec(module)]
    if missing := sorted(LIBRARIES.keys() - found):
        print(f"not installed, so not measured: {', '.join(missing)}")
    with serving(1) as url:
        runs = take_turns(Path(__file__), found, 2 if quick else 7, url)
    report("cold process to the first image of 3 MB: CPU", runs, "cold", unit="ms", aim="0.80")
    report("a call with a small reply: CPU", runs, "small", unit="ms", aim="1.00")
    report("a call with a reply of 12 MB: CPU", runs, "large", unit="ms", aim="0.15")
    report("memory for replies of 12 MB, above idle", runs, "above", unit="MB", aim="0.50")
    report("peak memory", runs, "peak", unit="MB", aim="below 1")


def openai(url: str) -> Draw:
    """The recipe of the SDK's documentation."""
    from openai import OpenAI

    @functools.cache
    def client(scene: str) -> OpenAI:
        return OpenAI(api_key="sk-bench", base_url=f"{url}/{scene}/v1")

    def draw(scene: str) -> int:
        answer = client(scene).images.generate(model=MODEL, prompt=PROMPT)
        return len(base64.b64decode((answer.data or [])[0].b64_json or ""))

    return draw


def gptimage(url: str) -> Draw:
    """The same with gptimage."""
    from gptimage import ImageClient

    @functools.cache
    def client(scene: str) -> ImageClient:
        return ImageClient(api_key="sk-bench", base_url=f"{url}/{scene}/v1")

    def draw(scene: str) -> int:
        return len(client(scene).generate(PROMPT, model=MODEL).image.data)

    return draw


def httpx2(url: str) -> Draw:
    """What only receives a reply: no JSON, no base64, no image."""
    import httpx2

    client = httpx2.Client()

    def draw(scene: str) -> int:
        address, body = f"{url}/{scene}/v1/images/generations", {"model": MODEL, "prompt": PROMPT}
        with client.stream("POST", address, json=body) as response:
            return sum(map(len, response.iter_raw()))

    return draw


def litellm(url: str) -> Draw:
    """The recipe of LiteLLM's documentation."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it downloads prices first
    peer: Any = import_module("litellm")

    def draw(scene: str) -> int:
        answer = peer.image_generation(
            prompt=PROMPT,
            model=f"openai/{MODEL}",
            api_key="sk-bench",
            api_base=f"{url}/{scene}/v1",
        )
        return len(base64.b64decode(answer.data[0].b64_json))

    return draw


def pydantic_ai(url: str) -> Draw:
    """The recipe of pydantic-ai's documentation."""
    peer: Any = import_module("pydantic_ai")
    models: Any = import_module("pydantic_ai.images.openai")
    providers: Any = import_module("pydantic_ai.providers.openai")

    @functools.cache
    def generator(scene: str) -> Any:
        provider = providers.OpenAIProvider(base_url=f"{url}/{scene}/v1", api_key="sk-bench")
        return peer.ImageGenerator(models.OpenAIImageGenerationModel(MODEL, provider=provider))

    def draw(scene: str) -> int:
        return len(generator(scene).generate_sync(PROMPT).images[0].content.data)

    return draw


LIBRARIES: dict[str, tuple[str, Callable[[str], Draw]]] = {
    "openai": ("openai", openai),
    "gptimage": ("gptimage", gptimage),
    "HTTP library alone": ("httpx2", httpx2),
    "litellm": ("litellm", litellm),
    "pydantic-ai": ("pydantic_ai", pydantic_ai),
}
"""The module that must be installed, and what makes a program draw with it."""


def child(name: str, url: str) -> None:
    """Draw with one library, and print its figures."""
    draw = LIBRARIES[name][1](url)
    sizes = [draw("first")]
    cold = time.process_time()
    sizes += [draw("small"), draw("big")]  # makes clients and connections
    warm = time.process_time()
    sizes += [draw("small") for _ in range(SMALL)]
    small = time.process_time()
    idle = memory(peak=False)
    sizes += [draw("big") for _ in range(LARGE)]
    large = time.process_time()
    if not (min(sizes) > 0 and sizes[0] > 3_000_000 and sizes[-1] > 12_000_000):
        raise SystemExit(f"{name} returned images of {sizes} bytes")
    figures = {
        "cold": cold * 1000,
        "small": (small - warm) * 1000 / SMALL,
        "large": (large - small) * 1000 / LARGE,
        "above": memory(peak=True) - idle,
        "peak": memory(peak=True),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    child(*sys.argv[1:])
