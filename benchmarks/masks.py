"""What putting the original back outside a mask costs: CPU time for 1024x1024."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Final

from measure import report, take_turns


EDGE: Final = 1024
BOX: Final = (300, 300, 700, 700)


def run(*, quick: bool) -> None:
    """Print the CPU time for an edit that stayed, one that was repainted, and one that moved."""
    runs = take_turns(Path(__file__), ["unchanged", "repainted", "moved"], 3 if quick else 9)
    report("CPU time of outside='keep', from PNG to PNG", runs, "ms", unit="ms", aim="60 ms")


def child(kind: str) -> None:
    """Put the original back a few times; the best of them, which others disturbed least."""
    from PIL import Image as pil
    from PIL import ImageChops

    from gptimage import Image, ImageClient, Mask
    from gptimage.image import keep_outside

    with ImageClient.sandbox() as client:
        scene = client.generate("A red fox in fresh snow", size=f"{EDGE}x{EDGE}").image
    pixels = scene.to_pil().convert("RGB")
    grain = pil.effect_noise((EDGE, EDGE), 12)
    changed = {
        "unchanged": pixels,
        "repainted": ImageChops.add(pixels, pil.merge("RGB", [grain] * 3), 1, -128),
        "moved": ImageChops.offset(pixels, 3, 0),
    }[kind]
    first, edited, mask = Image.from_pil(pixels), Image.from_pil(changed), Mask.from_box(BOX)
    taken: list[float] = []
    for _ in range(7):
        start = time.process_time()
        keep_outside(edited, first, mask)
        taken.append((time.process_time() - start) * 1000)
    print(json.dumps({"ms": min(taken)}))


if __name__ == "__main__":
    child(sys.argv[1])
