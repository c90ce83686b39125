"""Many small calls: what one costs with gptimage and with the plain SDK."""

from __future__ import annotations

import base64
import statistics
import time
from collections.abc import Callable

from canned import serving
from measure import MODEL, PROMPT, Numbers, report


def run(*, quick: bool) -> None:
    """Print the time of one call, both ways taking turns in blocks in one process."""
    rounds, block = (4, 25) if quick else (20, 50)
    with serving(1) as url:
        ways = {"plain SDK recipe": plain(url), "gptimage": ours(url)}
        for call in ways.values():
            timed(call, block)
        runs: dict[str, list[Numbers]] = {name: [] for name in ways}
        for number in range(rounds):
            for name in ways if number % 2 == 0 else reversed(ways):
                runs[name].append({"us": timed(ways[name], block)})
    report("One small call, reply to bytes", runs, "us", unit="us", aim="1.00")
    pairs = zip(runs["gptimage"], runs["plain SDK recipe"], strict=True)
    extra = statistics.median(ours["us"] - plain["us"] for ours, plain in pairs)
    print(f"  gptimage adds {extra:+.0f} us to a call (median of {rounds} paired blocks)")


def plain(url: str) -> Callable[[], bytes]:
    """The recipe of the SDK's documentation."""
    from openai import OpenAI

    client = OpenAI(api_key="sk-bench", base_url=f"{url}/small/v1")

    def call() -> bytes:
        answer = client.images.generate(model=MODEL, prompt=PROMPT, size="1024x1024")
        return base64.b64decode((answer.data or [])[0].b64_json or "")

    return call


def ours(url: str) -> Callable[[], bytes]:
    """The same with gptimage."""
    from gptimage import ImageClient

    client = ImageClient(api_key="sk-bench", base_url=f"{url}/small/v1")
    return lambda: client.generate(PROMPT, model=MODEL, size="1024x1024").image.data


def timed(call: Callable[[], bytes], times: int) -> float:
    """Microseconds of one call, over a block of them."""
    start = time.perf_counter()
    for _ in range(times):
        if not call():
            raise SystemExit("an empty picture came back")
    return (time.perf_counter() - start) / times * 1_000_000
