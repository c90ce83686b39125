"""How often the built-in checks are wrong: 60 images of known kind, and what each check costs.

The set is made here, the same each time: scenes of the sandbox, and shapes and words on them. A
false alarm is a good image that fails; a miss is a bad one that passes.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeAlias

from attrs import frozen


if TYPE_CHECKING:
    from PIL.Image import Image as Pil

    from gptimage import Image
    from gptimage.checks import Check


EDGE = 512
PROMPTS = ("A red fox in fresh snow", "A lighthouse at night", "A cup in a studio", "A forest")


@frozen
class Labelled:
    """One image of the set.

    Attributes:
        what: What it shows.
        check: The check.
        image: The image.
        good: Whether the check should pass.
    """

    what: str
    check: Check
    image: Image
    good: bool


Labels: TypeAlias = Iterator[Labelled]


@cache
def scene(prompt: str, edge: int = EDGE) -> Pil:
    """Return an image of the sandbox."""
    from gptimage import ImageClient

    with ImageClient.sandbox() as client:
        drawn = client.generate(prompt, size="1024x1024").image.to_pil().convert("RGB")
    return drawn.resize((edge, edge))


def board(light: str, dark: str, square: int) -> Pil:
    """Return a checkerboard."""
    import PIL.Image
    from PIL import ImageDraw

    pixels = PIL.Image.new("RGB", (EDGE, EDGE), light)
    draw = ImageDraw.Draw(pixels)
    for y in range(0, EDGE, square):
        for x in range(y // square % 2 * square, EDGE, 2 * square):
            draw.rectangle((x, y, x + square - 1, y + square - 1), fill=dark)
    return pixels


def with_subject(background: Pil, color: str = "#d06020", share: float = 0.5) -> Pil:
    """Return a background with a disc in the middle, which covers this share of its edge."""
    from PIL import ImageDraw

    pixels = background.copy()
    margin = EDGE * (1 - share) / 2
    ImageDraw.Draw(pixels).ellipse((margin, margin, EDGE - margin, EDGE - margin), fill=color)
    return pixels


def noisy(pixels: Pil, sigma: float) -> Pil:
    """Return an image with grain, the same each time, as models paint it."""
    import random

    import PIL.Image
    from PIL import ImageChops

    grain = random.Random(7)
    count = pixels.width * pixels.height
    levels = bytes(max(0, min(255, round(grain.gauss(128, sigma)))) for _ in range(count))
    layer = PIL.Image.frombytes("L", pixels.size, levels)
    return ImageChops.add(pixels, PIL.Image.merge("RGB", [layer] * 3), 1, -128)


def transparent() -> Labels:
    """Yield cutouts, painted checkerboards, and what only looks like one."""
    import PIL.Image

    from gptimage import Image
    from gptimage.checks import Transparent

    def labelled(what: str, pixels: Pil, *, good: bool) -> Labelled:
        return Labelled(what, Transparent(), Image.from_pil(pixels), good)

    for share in (0.2, 0.5, 0.9):
        clear = PIL.Image.new("RGBA", (EDGE, EDGE))
        yield labelled(f"a cutout of {share:.0%}", with_subject(clear, share=share), good=True)
    tiles = with_subject(board("white", "black", 32)).convert("RGBA")
    tiles.paste((0, 0, 0, 0), (0, 0, EDGE, 64))
    yield labelled("a chessboard below a clear sky", tiles, good=True)
    checkers = (("white", "#cccccc", 16), ("#f4f4f4", "#e2e2e2", 24), ("#4a4a4a", "#333333", 20))
    for light, dark, square in checkers:
        painted = with_subject(board(light, dark, square))
        yield labelled(f"a checkerboard of {light} and {dark}", painted, good=False)
        yield labelled("the same with grain", noisy(painted, 3), good=False)
        yield labelled("the same with much grain", noisy(painted, 7), good=False)
        turned = painted.rotate(1, PIL.Image.Resampling.BILINEAR)
        yield labelled("the same, turned by a degree", turned, good=False)
    yield labelled("an opaque scene", scene(PROMPTS[0]), good=False)


def words() -> Labels:
    """Yield signs of the sandbox with the words that were wanted, and with others."""
    from gptimage import Image
    from gptimage.checks import Words

    signs = (
        ("GRAND OPENING", "GRAND OPENNING"),
        ("Fresh bread daily", "Fresh braed daily"),
        ("SINCE 1902", "SINCE 1920"),
        ("Quiet please", "Quite please"),
        ("SALE 50% OFF", "SALE 60% OFF"),
        ("Museum of Light", "Museum of Lihgt"),
    )
    for number, (right, wrong) in enumerate(signs):
        place = PROMPTS[number % len(PROMPTS)]
        for drawn, good in ((right, True), (wrong, False)):
            sign = Image.from_pil(scene(f'{place}, with a sign "{drawn}"', 1024))
            yield Labelled(f"{drawn!r} for {right!r}", Words(right), sign, good)


def palette() -> Labels:
    """Yield posters of two colours, some with shades and grain, and some with others."""
    import PIL.Image

    from gptimage import Image
    from gptimage.checks import Palette

    check = Palette(["#1d3557", "#e63946"], least=0.9)
    cases = (
        ("the palette itself", "#1d3557", "#e63946", True),
        ("with slightly other shades", "#20385c", "#df4049", True),
        ("with a subject of another colour", "#1d3557", "#2a9d8f", False),
        ("on another ground", "#f1faee", "#e63946", False),
    )
    for what, ground, color, good in cases:
        poster = with_subject(PIL.Image.new("RGB", (EDGE, EDGE), ground), color, 0.6)
        yield Labelled(what, check, Image.from_pil(poster), good)
        yield Labelled(f"{what}, with grain", check, Image.from_pil(noisy(poster, 4)), good)
    yield Labelled("a scene", check, Image.from_pil(scene(PROMPTS[3])), False)


def margins() -> Labels:
    """Yield subjects within the margins and across them, on plain and soft grounds."""
    import PIL.Image

    from gptimage import Image
    from gptimage.checks import Margins

    plain = PIL.Image.new("RGB", (EDGE, EDGE), "#f4f1ea")
    soft = PIL.Image.linear_gradient("L").resize((EDGE, EDGE)).convert("RGB")
    clear = PIL.Image.new("RGBA", (EDGE, EDGE))
    for name, ground in (("plain", plain), ("soft", soft), ("clear", clear)):
        for share, good in ((0.5, True), (0.85, True), (0.97, False)):
            pixels = with_subject(ground, share=share)
            what = f"a subject of {share:.0%} on a {name} ground"
            yield Labelled(what, Margins(), Image.from_pil(pixels), good)
    yield Labelled("grain alone", Margins(), Image.from_pil(noisy(plain, 4)), True)


def drift() -> Labels:
    """Yield edits that stayed within their mask, and edits that did not."""
    from PIL import ImageChops

    from gptimage import Image, Mask
    from gptimage.checks import Drift

    first = scene(PROMPTS[1])
    box = (150, 150, 350, 350)
    check = Drift(Image.from_pil(first), Mask.from_box(box))
    inside = first.copy()
    inside.paste("#2a9d8f", box)
    slightly = inside.copy()
    slightly.paste("#e63946", (0, 0, 40, 40))
    jpeg = Image.from_pil(inside).convert("jpeg", 95)
    moved = ImageChops.offset(inside, 3, 0)
    yield Labelled("nothing outside", check, Image.from_pil(inside), True)
    yield Labelled("nothing outside, saved as jpeg", check, jpeg, True)
    yield Labelled("the original", check, Image.from_pil(first), True)
    yield Labelled("weak grain", check, Image.from_pil(noisy(inside, 1.5)), True)
    yield Labelled("repainted with grain", check, Image.from_pil(noisy(inside, 12)), False)
    yield Labelled("moved by 3 pixels", check, Image.from_pil(moved), False)
    yield Labelled("a corner repainted, 0.6 %", check, Image.from_pil(slightly), True)
    slightly.paste("#e63946", (0, 0, 120, 120))
    yield Labelled("a corner repainted, 6 %", check, Image.from_pil(slightly), False)


def unlike() -> Labels:
    """Yield other images, and copies that were made smaller, cropped or repainted."""
    from gptimage import Image
    from gptimage.checks import Unlike

    first = Image.from_pil(scene(PROMPTS[0]))
    for prompt in (*PROMPTS[1:], "A city at dawn"):
        yield Labelled(prompt, Unlike(first), Image.from_pil(scene(prompt)), True)
    cropped = scene(PROMPTS[0]).crop((12, 12, EDGE - 12, EDGE - 12))
    yield Labelled("smaller", Unlike(first), first.thumbnail(200), False)
    yield Labelled("as a rough jpeg", Unlike(first), first.convert("jpeg", 40), False)
    yield Labelled("cropped by 2 %", Unlike(first), Image.from_pil(cropped), False)
    grain = noisy(scene(PROMPTS[0]), 12)
    yield Labelled("with grain", Unlike(first), Image.from_pil(grain), False)


def run(*, quick: bool) -> None:
    """Print false alarms and misses of each check, and its CPU time for an image of the set."""
    reads = find_spec("rapidocr") is not None and not quick
    kinds = [transparent, palette, margins, drift, unlike, *([words] if reads else [])]
    taken: dict[str, list[float]] = defaultdict(list)
    wrong: list[str] = []
    print("\nFalse alarms and misses of checks, on a labelled set")
    print(f"  {'':<14}{'good':>6}{'alarms':>8}{'bad':>6}{'misses':>8}{'CPU':>10}")
    total = 0
    for kind in kinds:
        counts: dict[tuple[bool, bool], int] = defaultdict(int)
        for each in kind():
            start = time.process_time()
            found = each.check(each.image)
            taken[kind.__name__].append(time.process_time() - start)
            counts[each.good, found.passed] += 1
            total += 1
            if found.passed != each.good:
                wrong.append(f"{kind.__name__}: {each.what} ({found.reason})")
        good, bad = (
            sum(counts[label, passed] for passed in (True, False)) for label in (True, False)
        )
        mean = 1000 * sum(taken[kind.__name__]) / len(taken[kind.__name__])
        alarms, misses = counts[True, False], counts[False, True]
        print(f"  {kind.__name__:<14}{good:>6}{alarms:>8}{bad:>6}{misses:>8}{mean:>7.0f} ms")
    print(f"  {total} images" + "".join(f"\n  wrong: {each}" for each in wrong))
    if not reads:
        print("  words: not measured; `nox -s bench -- checks` installs what reads them")
