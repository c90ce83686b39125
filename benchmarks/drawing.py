"""What the sandbox's images cost: CPU time of one 1024x1024 PNG, as a scene and plain."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from measure import report, take_turns


PROMPTS = (
    "A red fox in fresh snow",
    "A lighthouse at dusk",
    "A street in the rain at night",
    "A cup of coffee on a wooden table",
    'A poster that says "Grand Opening"',
)


def run(*, quick: bool) -> None:
    """Print the CPU time of each way of drawing."""
    runs = take_turns(Path(__file__), ["scene", "plain"], 3 if quick else 9)
    report("CPU time of a 1024x1024 PNG", runs, "ms", unit="ms", aim="scene 60 ms, plain 5 ms")


def child(draw: str) -> None:
    """Draw each prompt a few times; the mean of all, without what only the first one takes."""
    from gptimage.sandbox import Sandbox
    from gptimage.transport.http import HttpRequest

    sandbox, requests = Sandbox(draw="plain" if draw == "plain" else "scene"), []
    for prompt in PROMPTS:
        body = {"model": "gpt-image-2.5-flare", "prompt": prompt, "size": "1024x1024"}
        requests.append(HttpRequest(method="POST", path="/images/generations", body=body))
    for request in requests:
        sandbox.answer(request)
    start, rounds = time.process_time(), 5
    for request in requests * rounds:
        sandbox.answer(request)
    taken = (time.process_time() - start) / (rounds * len(requests))
    print(json.dumps({"ms": taken * 1000}))


if __name__ == "__main__":
    child(sys.argv[1])
