"""The studio before axe-core, in both themes at both widths, and with 5,000 images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gptimage import ImageClient, Store
from tests.studio.conftest import PATIENCE, Site, enter, miss, opened, serving


if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

    from tests.studio.conftest import Service

pytestmark = pytest.mark.slow
PAGES = ("make", "edit", "gallery", "jobs", "money")


def serious(page: Any) -> list[str]:
    """What axe-core finds serious or worse."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        miss("the studio was NOT looked at by axe-core: pip install axe-playwright-python")
    found: Any = Axe().run(page).response
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:200]} {each['nodes'][0]['failureSummary'][:300]}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_axe_finds_nothing_serious(browser: Browser, site: Site, width: int, scheme: str) -> None:
    """Every page, empty states and an open image included, at both widths, in both themes."""
    options = {"viewport": {"width": width, "height": 844}, "color_scheme": scheme}
    # axe is a script of its own, which the page's policy would not let in.
    tab = opened(browser, site, bypass_csp=True, reduced_motion="reduce", **options)
    found: list[str] = []
    for name in PAGES:
        tab.go(name)
        found += [f"{name}: {each}" for each in serious(tab.page)]
    tab.make("A lantern")
    for name in PAGES:
        tab.go(name)
        found += [f"{name}, filled: {each}" for each in serious(tab.page)]
    tab.go("gallery")
    tab.find(".tile").first.click()
    tab.there("dialog h2")
    found += [f"image: {each}" for each in serious(tab.page)]
    tab.page.context.close()

    assert found == []


def test_five_thousand_images_are_a_few_tiles(
    browser: Browser, tmp_path: Path, service: Service, home: Path
) -> None:
    """The gallery holds the tiles near the window alone, from the first to the last image."""
    from playwright.sync_api import expect

    del home
    store = Store(tmp_path / "store", fsync=False)
    with ImageClient.sandbox() as client:
        result = client.generate("A pebble", size="1024x1024", quality="low")
    for _ in range(5_000):
        store.save(result)
    store.close()

    with serving(tmp_path, service) as site:
        tab = opened(browser, enter(site))
        tab.go("gallery")
        tab.there(".tile[aria-posinset='1'] img.here")
        tab.find(".grid").focus()
        most = 0
        total = tab.find(".gallery .page-head .num").inner_text()
        grid = tab.find(".grid")
        while tab.find(".tile[aria-setsize='-1']").count():  # a page of 300 images each time
            before = grid.evaluate("node => node.style.height")
            tab.page.keyboard.press("End")
            expect(grid).not_to_have_css("height", before, timeout=PATIENCE * 1000)
            most = max(most, tab.find(".tile").count())
        assert total == "5,000 images"
        tab.page.keyboard.press("End")
        tab.there(".tile[aria-posinset='5000'] img.here")
        wrong = list(tab.wrong)
        tab.page.context.close()

    assert (most < 120, wrong) == (True, [])
