"""Perceptual hashes: which copies of an image are found, which others are, and how quickly.

Images are the sandbox's scenes, copies are what people make of an image: another size, another
format, cut edges. Hashes of a million images are random numbers. Times are of CPU.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations
from pathlib import Path

from gptimage import Image, ImageClient
from gptimage.image.perceptual_hash import differing
from gptimage.store import DUPLICATE, SIMILAR
from gptimage.store.database import Database
from gptimage.store.similar import nearest, pairs


SUBJECTS = ("fox", "cat", "owl", "fish", "robot", "cup", "boat", "house", "flower", "leaf")
PLACES = ("hills", "forest", "desert", "sea", "city", "room")
DISTANCES = (0, 2, DUPLICATE, 6, 8, SIMILAR, 12, 14)
MILLION, QUICK = 1_000_000, 50_000


def run(*, quick: bool) -> None:
    """Print recall and false pairs by distance, then the times."""
    _recall(SUBJECTS[:3] if quick else SUBJECTS)
    _times(QUICK if quick else MILLION)


def _cut(share: float) -> Callable[[Image], Image]:
    """Return what cuts this share off each side."""

    def cut(image: Image) -> Image:
        pixels = image.to_pil()
        x, y = int(pixels.width * share), int(pixels.height * share)
        return Image.from_pil(pixels.crop((x, y, pixels.width - x, pixels.height - y)))

    return cut


def _brighter(image: Image) -> Image:
    return Image.from_pil(
        image.to_pil().convert("L").point([min(255, x * 6 // 5) for x in range(256)])
    )


COPIES: dict[str, Callable[[Image], Image]] = {
    "half the size": lambda image: image.thumbnail(256),
    "an eighth of the size": lambda image: image.thumbnail(64),
    "jpeg, quality 90": lambda image: image.convert("jpeg", 90),
    "jpeg, quality 30": lambda image: image.convert("jpeg", 30),
    "webp, quality 50": lambda image: image.convert("webp", 50),
    "avif": lambda image: image.convert("avif"),
    "gif of 256 colours": lambda image: image.convert("gif"),
    "grey, a fifth brighter": _brighter,
    "2 % cut off each side": _cut(0.02),
    "5 % cut off each side": _cut(0.05),
    "10 % cut off each side": _cut(0.1),
}


def _recall(subjects: tuple[str, ...]) -> None:
    client = ImageClient.sandbox()
    images = {
        (subject, place): client.generate(
            f"A {subject}, {place}", size="512x512", quality="low"
        ).image
        for subject in subjects
        for place in PLACES
    }
    hashes = {name: image.perceptual_hash or "" for name, image in images.items()}
    print(f"\n{len(images)} images; share of the copies found, by bits that may differ")
    print(f"  {'':<28}" + "".join(f"{distance:>8}" for distance in DISTANCES))
    for title, copy in COPIES.items():
        found = [
            differing(hashes[name], copy(image).perceptual_hash or "")
            for name, image in images.items()
        ]
        _row(title, found, "8.0%")
    pairs = [
        differing(hashes[one], hashes[other])
        for one, other in combinations(images, 2)
        if one[0] != other[0] and one[1] != other[1]
    ]
    _row(f"false: {len(pairs):,} unlike pairs", pairs, "8.2%")


def _row(title: str, found: list[int], form: str) -> None:
    shares = (sum(each <= distance for each in found) / len(found) for distance in DISTANCES)
    print(f"  {title:<28}" + "".join(f"{share:{form}}" for share in shares))


def _times(count: int) -> None:
    chance = random.Random(1)

    def rows() -> Iterator[tuple[str, int]]:
        for row in range(count):
            yield f"{chance.getrandbits(128):032x}", row

    with tempfile.TemporaryDirectory() as folder:
        index = Database(Path(folder) / "x.sqlite", fill=lambda: 0, report=print, private=True)
        index.write(lambda c: c.executemany("INSERT INTO hashes VALUES (?, ?)", rows()))
        index.refill()
        wanted = f"{chance.getrandbits(128):032x}"
        times = [_time(lambda: nearest(index, wanted, 20, SIMILAR)) for _ in range(5)]
        print(
            f"\nsimilar among {count:,} hashes: {min(times):.3f} to {max(times):.3f} s (aim: 0.5)"
        )
        index.close()
    for size in (count // 10, count):
        numbers = [chance.getrandbits(64) for _ in range(size)]
        took = _time(partial(_all_pairs, numbers))
        print(f"pairs of duplicates among {size:,} hashes: {took:.1f} s")
    image = ImageClient.sandbox().generate("A fox", size="1024x1024", quality="low").image
    for each in (image, image.convert("jpeg"), image.convert("webp")):
        took = min(_time(partial(_fresh_hash, each)) for _ in range(5))
        print(f"hash of a {each.format} of 1024x1024: {took * 1000:.1f} ms")


def _all_pairs(numbers: list[int]) -> object:
    return list(pairs(numbers, DUPLICATE))


def _fresh_hash(image: Image) -> object:
    return Image.from_bytes(image.data).perceptual_hash


def _time(action: Callable[[], object]) -> float:
    started = time.process_time()
    action()
    return time.process_time() - started


if __name__ == "__main__":
    run(quick=False)
