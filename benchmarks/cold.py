"""A cold process to its first image: what a script, a Lambda or a command line pays each time."""

from __future__ import annotations

import base64
import json
import resource
import sys
from pathlib import Path

from canned import serving
from measure import MODEL, PROMPT, memory, report, take_turns


def run(*, quick: bool) -> None:
    """Print CPU time and peak memory of a process that draws one image and saves it."""
    contestants = ["plain SDK recipe", "gptimage", "python alone"]
    with serving(1) as url:
        runs = take_turns(Path(__file__), contestants, 2 if quick else 9, url)
    report("cold process to the first image: CPU", runs, "ms", unit="ms", aim="0.80")
    report("cold process to the first image: peak memory", runs, "mb", unit="MB", aim="below 1")


def draw(name: str, url: str) -> bytes:
    """Draw one image."""
    if name == "gptimage":
        from gptimage import ImageClient

        client = ImageClient(api_key="sk-bench", base_url=f"{url}/small/v1")
        return client.generate(PROMPT, model=MODEL, size="1024x1024").image.data
    if name == "python alone":
        return b"-"
    from openai import OpenAI

    sdk = OpenAI(api_key="sk-bench", base_url=f"{url}/small/v1")
    answer = sdk.images.generate(model=MODEL, prompt=PROMPT, size="1024x1024")
    return base64.b64decode((answer.data or [])[0].b64_json or "")


if __name__ == "__main__":
    if not draw(*sys.argv[1:]):
        raise SystemExit("an empty image came back")
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = used.ru_utime + used.ru_stime
    print(json.dumps({"ms": seconds * 1000, "mb": memory(peak=True)}))
