"""Write the screenshots of the studio: every page at two widths and in both themes.

Run ``python docs/generate_screenshots.py [FOLDER]``, with Chromium and the packages of the test
group installed. Everything is drawn by the sandbox, in a store of its own. Without a folder the
few that the documentation shows are written into ``docs/images``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image as PilImage

import gptimage


if TYPE_CHECKING:
    from playwright.sync_api import Page

PROMPTS: Final = (
    ("A red fox asleep in fresh snow, soft morning light", "landscape", ("animals",)),
    ("A lighthouse above a stormy sea at night", "portrait", ("sea",)),
    ("A city street in the rain, neon signs", "landscape", ("city",)),
    ("Portrait of an old sailor, oil on canvas", "portrait", ("people",)),
    ("Mountains behind a still lake at sunrise", "landscape", ("nature", "hero")),
    ("A bowl of oranges on a blue table", "square", ("food",)),
    ("A black cat on a windowsill, watercolour", "square", ("animals",)),
    ("A tiny bookshop with warm lamps, isometric", "square", ("city",)),
    ("A forest path in autumn, golden leaves", "landscape", ("nature",)),
    ("A rocket over desert dunes, retro poster", "portrait", ("poster",)),
    ("An owl on a branch under the full moon", "square", ("animals",)),
    ("A sailing boat in a calm bay, aerial view", "landscape", ("sea", "hero")),
)
WIDTHS: Final = {"phone": (390, 844), "wide": (1440, 900)}
AT_REST: Final = """async () => {
  await Promise.all([...document.images].map((each) => each.decode().catch(() => null)));
  await Promise.all(document.getAnimations().map((each) => each.finished.catch(() => null)));
}"""
"""Waits until every image is drawn and nothing moves any more."""

SHOWN: Final = ("make-wide-light", "edit-wide-light", "gallery-wide-light", "make-phone-light")
"""The ones in the documentation."""


def fill(store: Path) -> None:
    """Draw some images into a store."""
    with gptimage.ImageClient.sandbox(store=store) as client:
        for prompt, size, tags in PROMPTS:
            client.generate(prompt, size=size, quality="low", tags=tags)


@contextmanager
def studio(folder: Path) -> Iterator[str]:
    """Run ``gptimage studio`` on a store; yields its address."""
    places = {name: str(folder / name) for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME")}
    command = [sys.executable, "-m", "gptimage", "studio", "--sandbox", "--no-browser"]
    with subprocess.Popen(
        [*command, "--port", "0", "--store", str(folder / "store")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **places, "GPTIMAGE_BUDGET": "5/day", "GPTIMAGE_CACHE": "on"},
        cwd=folder,
    ) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def shoot(page: Page, folder: Path, kind: str) -> None:
    """Go through the pages, each as somebody would leave it."""

    def save(name: str) -> None:
        page.evaluate(AT_REST)
        page.screenshot(path=folder / f"{name}-{kind}.png")

    page.wait_for_selector("main[data-ready]")
    save("make-empty")
    page.fill("textarea[name=prompt]", PROMPTS[0][0])
    for prompt, size in (("A lighthouse in fog", "landscape"), (PROMPTS[0][0], "square")):
        page.fill("textarea[name=prompt]", prompt)
        page.fill(".make input[name=size]", size)
        page.click(".make button.primary")
        card = f".make .card[data-state=done]:has(.words:text-is('{prompt}'))"
        page.wait_for_selector(card, timeout=60_000)
    save("make")
    page.click("a[data-page=gallery]")
    page.wait_for_selector(".tile img.here")
    save("gallery")
    page.click(".tile >> nth=1")
    page.wait_for_selector("dialog .view img")
    save("detail")
    page.click("dialog >> text=Edit")
    page.wait_for_selector(".stage canvas")
    box = page.locator(".canvas-area").bounding_box()
    assert box
    x, y = box["x"] + box["width"] * 0.42, box["y"] + box["height"] * 0.45
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + box["width"] * 0.15, y + 40, steps=6)
    page.mouse.up()
    save("edit-mask")
    page.fill(".edit textarea[name=prompt]", "Put a small red boat there")
    page.click(".edit button.primary")
    page.wait_for_selector(".compare input", timeout=60_000)
    save("edit")
    page.click("a[data-page=jobs]")
    page.wait_for_selector(".job")
    save("jobs")
    page.click("a[data-page=money]")
    page.wait_for_selector(".figures")
    save("money")


def smaller(source: Path, target: Path) -> None:
    """Save a screenshot with 256 colours, a third of its bytes."""
    with PilImage.open(source) as image:
        image.convert("RGB").quantize(256).save(target, optimize=True)


def main(target: Path | None) -> None:
    """Write them all, or those of the documentation."""
    from playwright.sync_api import sync_playwright

    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))))
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        shots = folder / "shots" if target is None else target
        shots.mkdir(exist_ok=True, parents=True)
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            for width, (across, down) in WIDTHS.items():
                kind = f"{width}-{scheme}"
                if target is None and not any(each.endswith(kind) for each in SHOWN):
                    continue
                fill(folder / kind / "store")  # of each look its own: nothing is there twice
                with studio(folder / kind) as address:
                    page = chromium.new_page(
                        viewport={"width": across, "height": down}, color_scheme=scheme
                    )
                    page.on("console", lambda line: print(line.type, line.text))
                    page.on("pageerror", lambda error: print("error", error))
                    page.goto(address)
                    shoot(page, shots, kind)
                    page.close()
        chromium.close()
        if target is None:
            for each in SHOWN:
                target = Path(__file__).parent / "images" / f"studio-{each}.png"
                smaller(shots / f"{each}.png", target)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else None)
