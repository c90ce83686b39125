"""The studio's Jobs and Money in a real Chromium: what runs, what it cost, what is decided."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gptimage.budget.accounts import CallOutcome, CallRecord
from gptimage.transport.billing import Billing
from gptimage.workers import Job, JobRecord, SqliteJobStore
from tests.studio.conftest import Hold, Service, Site, Tab, enter, serving


if TYPE_CHECKING:
    from gptimage.workers import JobStore


@pytest.fixture(scope="module")
def site(home: Path, service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A studio with a job store of workers, which the tests of a module share."""
    path = tmp_path_factory.mktemp("workers") / "jobs.sqlite"
    with closing(SqliteJobStore(path)) as store:
        assert [*store.records()] == []  # which makes the file
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPTIMAGE_JOB_STORE", str(path))
        with serving(home, service) as found:
            yield enter(found)


def workers(tab: Tab) -> JobStore:
    """The job store of workers."""
    assert tab.site.studio.workers is not None
    return tab.site.studio.workers


def test_spending_is_charted_by_day_model_tag_and_project(tab: Tab) -> None:
    """Charts are SVG with their figures as text, and what the cache saved stands beside them."""
    request = {"tags": [f"tag-{tab.name}", f"project:project-{tab.name}"]}
    tab.site.make(f"spent-{tab.name}", f"A spent {tab.name}", **request)
    tab.site.make(f"again-{tab.name}", f"A spent {tab.name}", **request)
    tab.go("money")
    tab.there(".money svg.chart[role=img][aria-label*='$']")
    for title, name in (
        ("By model", "gpt-image-2.5-flare"),
        ("By operation", "generate"),
        ("By project", f"project-{tab.name}"),
        ("By tag", f"tag-{tab.name}"),
    ):
        tab.there(f".money section[aria-label='{title}'] li:has-text('{name}'):has-text('$')")
    figures = tab.find(".money .figures").inner_text()

    assert all(each in figures for each in ("Spent", "Left", "$5.00 a day", "Saved by the cache"))
    assert "hit" in figures


def test_a_call_of_unknown_outcome_is_looked_at_and_decided(tab: Tab) -> None:
    """It says what it counts; the cost of the bill is entered, and it is gone from the list."""
    ledger = tab.site.studio.ledger
    assert ledger is not None
    record = CallRecord(
        call_id=f"lost-{tab.name}",
        at=tab.site.studio.estimator.clock(),
        operation="generate",
        model="gpt-image-2.5-flare",
        estimate=Decimal("0.05"),
        reserved=Decimal("0.05"),
    )
    ledger.begin(record)
    ledger.end(record, CallOutcome(billing=Billing.UNKNOWN, error=f"Error {tab.name}"))
    tab.go("money")
    row = tab.there(f".unknown li:has-text('{tab.name}'):has-text('counts $0.0500')")
    row.locator("input").fill("0.02")
    row.locator("button").click()
    tab.there(f".unknown li:has-text('{tab.name}')", 0)

    assert [each.cost for each in ledger.rows() if each.id == record.call_id] == [Decimal("0.02")]


def test_a_batch_is_submitted_at_half_price_and_its_images_saved(tab: Tab) -> None:
    """From the form to the images, with its state in between, also after a reload."""
    tab.go("make")
    tab.find(".make textarea[name=prompt]").fill(f"A first {tab.name}\nA second {tab.name}")
    tab.page.get_by_label("One image for each line").check()
    tab.there(".make .estimate:has-text('for 2')")
    tab.page.get_by_label("Half price").check()
    tab.there(".make .estimate:has-text('half price')")
    tab.find(".make button.primary:text-is('Submit 2 images')").click()
    tab.there(".toast:has-text('Submitted.')")
    tab.page.get_by_label("One image for each line").uncheck()
    tab.page.reload()
    tab.there("main[data-ready]")
    tab.go("jobs")
    row = f".job[data-batch]:has-text('A first {tab.name}')"
    tab.there(f"{row}:has-text('2 requests')")
    ended, look = f"{row}[data-state=ended]", f"{row} button:text-is('How far is it?'):enabled"
    while True:  # the button is off from a click until the report is there
        tab.find(f"{ended}, {look}").first.wait_for()
        if tab.find(ended).count():
            break
        tab.find(look).click()
    tab.there(f"{row}[data-state=ended]:has-text('2 drawn')")
    tab.find(f"{row} button:text-is('Save its images')").click()
    tab.there(f"{row}[data-state=saved]:has-text('2 images saved')")
    tab.find(f"{row} button[aria-label='Open its images']").click()
    tab.there("dialog h2:text-is('Image')")
    tab.page.keyboard.press("Escape")

    assert len(tab.site.get(f"/api/images?text={tab.name}")["images"]) == 2


def test_a_workers_job_is_decided_here(tab: Tab) -> None:
    """What a worker may have paid for waits here; giving it up settles it."""
    store = workers(tab)
    id = f"order-{tab.name}"
    job = Job.of(id, f"An ordered {tab.name}")
    lost = JobRecord(id=id, request=job.text, state="needs_review", at=store.now())
    store.compare_and_swap(None, lost)
    tab.go("jobs")
    row = f".job[data-job='{id}']"
    tab.there(f"{row}:has-text('It may have been billed, and there is no image.')")
    tab.there(f"{row} button:text-is('Send again, may pay twice')")
    tab.find(f"{row} button:text-is('Discard')").click()
    tab.there(row, 0)
    record = store.read(id)

    assert record is not None
    assert record.state == "discarded"


def test_jobs_survive_a_closed_tab(tab: Tab, hold: Hold) -> None:
    """What one tab began runs on without it; another one follows it to its end."""
    tab.go("make")
    tab.find(".make textarea[name=prompt]").fill(f"A lonely {tab.name}")
    tab.find(".make button.primary").click()
    tab.there(".make .card:first-child[data-state=sending]")
    tab.page.goto("about:blank")
    tab.page.goto(tab.site.url)
    tab.there("main[data-ready]")
    tab.go("jobs")
    row = f".job:has(.words:text-is('A lonely {tab.name}'))"
    tab.there(f"{row}[data-state=sending] button:text-is('Cancel')")
    tab.there(".tabs .count:visible")
    hold.go.set()
    tab.there(f"{row}[data-state=done] .state:has-text('$')")


def test_what_was_not_sent_waits_for_a_person(tab: Tab) -> None:
    """A job that had no turn is listed first, and is sent by a button."""
    store = tab.site.studio.job_store
    job = Job.of(f"wait-{tab.name}", f"A patient {tab.name}", size="1024x1024", quality="low")
    store.compare_and_swap(
        None, JobRecord(id=job.id, request=job.text, state="open", at=store.now())
    )
    tab.page.reload()
    tab.there("main[data-ready]")
    tab.go("jobs")
    tab.there(f".job.needs[data-job='{job.id}']:has-text('It was not sent')")
    tab.find(f".job[data-job='{job.id}'] button:text-is('Send it')").click()
    tab.there(f".job[data-job='{job.id}'][data-state=done] img")
