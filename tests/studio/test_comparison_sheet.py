"""The sheet of a comparison in a real Chromium: blind, by keyboard, and safe."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve

from gptimage import ImageClient
from gptimage.checks import Transparent
from gptimage.compare import Case, record
from gptimage.sandbox import Sandbox
from gptimage.store import Store
from tests.studio.conftest import PATIENCE


if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

MODELS = ("gpt-image-2.5-flare", "gpt-image-2")
HOSTILE = '</script></title><img src="x" onerror="document.title=1"><b>&amp;' + "long" * 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sheet of three prompts, of which one is markup, and the store behind it."""
    folder = tmp_path_factory.mktemp("sheet")
    cases = [Case(text="A fox", checks=[Transparent()]), Case(text="A cup"), Case(text=HOSTILE)]
    with ImageClient.sandbox(
        Sandbox(draw="plain"), store=folder / "store", cache=folder / "cache"
    ) as client:
        found = client.compare(cases, models=MODELS, size="1024x1024", quality="low")
        evolve(found, title=HOSTILE).save(folder / "sheet.html")
    return folder


@pytest.fixture
def page(browser: Browser, folder: Path, look: dict[str, Any]) -> Iterator[Page]:
    """The sheet, opened as a file; in the end nothing went wrong."""
    context = browser.new_context(**look)
    context.set_default_timeout(PATIENCE * 1000)
    page, wrong = context.new_page(), list[str]()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda line: wrong.append(line.text))
    page.goto((folder / "sheet.html").as_uri())
    yield page
    context.close()
    assert wrong == []


def test_votes_are_blind_until_models_are_shown(page: Page) -> None:
    """Neither a model nor a cost can be seen or heard before; everything fits the window."""
    before = page.locator("body").inner_text()
    tree = page.locator("body").aria_snapshot()
    page.get_by_role("button", name="Show models").click()
    after = page.locator("body").inner_text()

    for each in (*MODELS, "$", "transparent"):
        assert (each in before, each in tree, each in after) == (False, False, True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.get_by_role("button", pressed=True).count() == 1


def test_a_hostile_prompt_is_text(page: Page) -> None:
    """It stands there as it was written, and made no element."""
    assert page.title() == page.locator("h1").inner_text() == HOSTILE
    assert page.locator("fieldset > p").nth(2).inner_text() == HOSTILE
    assert (page.locator("b").count(), page.locator("img").count()) == (0, 6)


def test_votes_by_keyboard_reach_the_store(page: Page, folder: Path, tmp_path: Path) -> None:
    """Tab goes from prompt to prompt, arrows choose, and the exported file is recorded."""
    page.get_by_role("button", name="Show models").focus()
    for keys in (("Tab", "Space"), ("Tab", "ArrowDown"), ("Tab", "ArrowUp")):  # 1st, 2nd, none
        for key in keys:
            page.keyboard.press(key)
    status = page.get_by_role("status").inner_text()
    page.get_by_role("button", name="Export votes").focus()
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    votes = tmp_path / "votes.json"
    download.value.save_as(votes)
    exported = json.loads(votes.read_text())
    with Store(folder / "store") as store:
        standings = record(store, votes)
        winners = {each.prompt for each in store.history(tag="winner")}

    assert status == "3 of 3 prompts decided"
    assert page.get_by_role("status").inner_text() == "votes.json has winners of 2 of 3 prompts"
    assert download.value.suggested_filename == "votes.json"
    assert [each["winner"] for each in exported["votes"]] == [0, 1, None]
    assert exported["title"] == HOSTILE
    assert ({each.votes for each in standings}, sum(each.wins for each in standings)) == ({2}, 2)
    assert winners == {"A fox", "A cup"}
