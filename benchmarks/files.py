"""Four pictures of 12 MB from call to files: wall time and peak memory."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from canned import BIG_EDGE, serving
from measure import MODEL, PROMPT, memory, report, take_turns


PICTURES = 4
SIZE = f"{BIG_EDGE}x{BIG_EDGE}"


def run(*, quick: bool) -> None:
    """Print time and memory of both ways."""
    contestants = ["plain SDK recipe", "gptimage"]
    with serving(PICTURES) as url:
        runs = take_turns(Path(__file__), contestants, 2 if quick else 9, url)
    what = f"{PICTURES} pictures of 12 MB, from call to files"
    report(f"{what}: wall time", runs, "ms", unit="ms", aim="0.50")
    report(f"{what}: peak memory of the process", runs, "mb", unit="MB", aim="0.50")
    report(f"{what}: of that, above idle", runs, "above", unit="MB", aim="0.50")


def plain(url: str, folder: Path) -> Callable[[str], None]:
    """The recipe of the SDK's documentation."""
    import base64

    from openai import OpenAI

    def save(scene: str) -> None:
        client = OpenAI(api_key="sk-bench", base_url=f"{url}/{scene}/v1")
        answer = client.images.generate(model=MODEL, prompt=PROMPT, n=PICTURES)
        for index, item in enumerate(answer.data or ()):
            data = base64.b64decode(item.b64_json or "")
            (folder / f"{scene}-{index}.png").write_bytes(data)

    return save


def ours(url: str, folder: Path) -> Callable[[str], None]:
    """The same with gptimage."""
    from gptimage import ImageClient

    def save(scene: str) -> None:
        client = ImageClient(api_key="sk-bench", base_url=f"{url}/{scene}/v1")
        result = client.generate(PROMPT, model=MODEL, n=PICTURES)
        for index, image in enumerate(result.images):
            image.save(folder / f"{scene}-{index}.png")

    return save


def child(name: str, url: str) -> None:
    """Warm up on a small picture, then time one big reply."""
    with tempfile.TemporaryDirectory() as folder:
        way = plain if name == "plain SDK recipe" else ours
        save = way(url, Path(folder))
        save("small")
        idle = memory(peak=False)
        start = time.perf_counter()
        save("big")
        seconds = time.perf_counter() - start
        written = sorted(each.stat().st_size for each in Path(folder).glob("big-*.png"))
    if len(written) != PICTURES or written[0] < 12_000_000:
        raise SystemExit(f"{name} wrote {written}")
    peak = memory(peak=True)
    print(json.dumps({"ms": seconds * 1000, "mb": peak, "above": peak - idle}))


if __name__ == "__main__":
    child(*sys.argv[1:])
