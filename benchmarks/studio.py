"""How quick the studio is with 5,000 images: ``python benchmarks/studio.py [IMAGES]``.

Needs Chromium and the packages of the test group. What is painted first, what moves while it
loads, how large it is, and how many frames a second the gallery has while it is scrolled.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import gptimage


COLOURS: Final = 60
"""Different images; the others are the same files again."""

LOADED: Final = """() => {
  const entries = (kind) => performance.getEntriesByType(kind);
  const paint = entries("paint").find((each) => each.name === "first-contentful-paint");
  const files = [...entries("navigation"), ...entries("resource")];
  return {
    "first contentful paint, ms": paint?.startTime ?? NaN,
    "page ready, ms": performance.now(),
    "requests": files.length,
    "transferred, kB": files.reduce((sum, each) => sum + each.transferSize, 0) / 1000,
    "layout shift (CLS)": window.shift ?? 0,
    "blocked by long tasks, ms": window.blocked ?? 0,
  };
}"""
WATCH: Final = """
new PerformanceObserver((list) => {
  for (const each of list.getEntries()) window.shift = (window.shift ?? 0) + each.value;
}).observe({ type: "layout-shift", buffered: true });
new PerformanceObserver((list) => {
  for (const each of list.getEntries()) window.blocked = (window.blocked ?? 0) + each.duration - 50;
}).observe({ type: "longtask", buffered: true });
"""
SCROLL: Final = """() => new Promise((done) => {
  const times = [];
  let before = performance.now(), most = 0;
  const step = (now) => {
    times.push(now - before);
    before = now;
    most = Math.max(most, document.querySelectorAll(".tile").length);
    scrollBy(0, 120);
    if (times.length < 240) requestAnimationFrame(step);
    else {
      times.shift();
      times.sort((one, other) => one - other);
      done({ "frame while scrolling, ms (median)": times[120], "frame, ms (95 of 100)": times[227],
        "tiles in the document, at most": most });
    }
  };
  requestAnimationFrame(step);
})"""


def fill(folder: Path, count: int) -> None:
    """Save so many images into a store."""
    store = gptimage.Store(folder, fsync=False)
    with gptimage.ImageClient.sandbox() as client:
        results = [
            client.generate(f"A pebble, number {number}", size="1024x1024", quality="low")
            for number in range(min(COLOURS, count))
        ]
    for number in range(count):
        store.save(results[number % len(results)])
    store.close()


def measure(address: str, browser: str) -> dict[str, Any]:
    """Return the figures of one visit."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        page.add_init_script(WATCH)
        page.goto(address)
        page.wait_for_selector("main[data-ready]", timeout=120_000)
        found: dict[str, Any] = page.evaluate(LOADED)
        page.evaluate("() => performance.mark('asked')")
        page.click("a[data-page=gallery]")
        page.wait_for_selector(".tile img.here", timeout=120_000)
        found["gallery: first image, ms"] = page.evaluate(
            "() => performance.now() - performance.getEntriesByName('asked')[0].startTime"
        )
        found |= page.evaluate(SCROLL)
        chromium.close()
    return found


def main(count: int) -> None:
    """Fill a store, serve it, and print the figures."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        raise SystemExit("Chromium is missing: apt-get install -y chromium")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder / "store", count)
        places = {each: str(folder / each) for each in ("XDG_STATE_HOME", "XDG_CACHE_HOME")}
        command = [sys.executable, "-m", "gptimage", "studio", "--sandbox", "--no-browser"]
        with subprocess.Popen(
            [*command, "--port", "0", "--store", str(folder / "store")],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **places},
            cwd=folder,
        ) as process:
            assert process.stdout
            try:
                found = measure(process.stdout.readline().strip(), browser)
            finally:
                process.terminate()
    print(f"the studio with {count:,} images, in Chromium on this machine:")
    for what, figure in found.items():
        print(f"  {what:<38}{figure:>10,.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 5_000)
