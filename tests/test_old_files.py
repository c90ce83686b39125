"""Everything that version 0.1.0 wrote is read today: `tests/data/0.1.0`, made by `write.py.txt`."""

from __future__ import annotations

import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gptimage import Cost, Edit, ImageClient, OutcomeUnknownError, Size, Usage
from gptimage.budget.ledger import Ledger
from gptimage.cache import DiskCache
from gptimage.store import Store
from gptimage.transport.http import HttpReply
from gptimage.workers import SqliteJobStore, run_job
from gptimage_mcp.jobs.journal import Journal


CORPUS = Path(__file__).parent / "data/0.1.0"
WRITTEN = datetime(2026, 11, 29, tzinfo=UTC)
"""The day after the files were written: what is remembered for a month is there."""

USAGE = Usage(input_tokens=12, output_tokens=196, total_tokens=208, text_tokens=12, image_tokens=0)
SMALL: dict[str, Any] = {"size": "1024x1024", "quality": "low"}


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the files; the state folder among them is this user's."""
    shutil.copytree(CORPUS, tmp_path / "old")
    for name in ("XDG_STATE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "old/state"))
    return tmp_path / "old"


class Refusing:
    """A service that must not be asked."""

    def send(self, request: Any) -> HttpReply:
        """Fail the test."""
        raise AssertionError(f"sent: {request.body}")

    def stream(self, request: Any) -> Any:
        """Fail the test."""
        raise AssertionError(f"streamed: {request.body}")

    def close(self) -> None:
        """Do nothing."""


def client(**settings: Any) -> ImageClient:
    """A client for which every request is one too many."""
    return ImageClient(transport=Refusing(), clock=lambda: WRITTEN, **settings)


@pytest.fixture
def store(old: Path) -> Store:
    """The store with every kind of record."""
    with pytest.warns(match="rebuilt from 4 sidecars"):
        return Store(old / "store")


def test_records_of_a_store(store: Store) -> None:
    """Every field has the value that was saved."""
    winter, first = store.history(tag="winter")[0], store.history(pinned=True)[0]

    assert [record.prompt[:9] for record in store.history()] == [
        "",
        "Add snow",
        "A red fox",
        "A red fox",
    ]
    assert (first.id[:24], first.tags) == ("img_20261120T12345600078", ("café", "⭐"))
    assert (first.index, first.batch_count, first.format) == (1, 2, "png")
    assert (first.usage, first.cost) == (USAGE, Cost(usd=Decimal("0.0131")))
    assert first.created_at_service == datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert first.warnings == ("the image has another size than was asked for",)
    assert (first.request_id, first.template, first.version) == ("req_1", "product", "0.1.0")
    assert first.extra == {"palette": ["#ff0000"]}
    assert (winter.operation, winter.cost, winter.call_id) == ("edit", None, "ig_1")
    assert winter.original is not None
    assert (winter.original.format, winter.original.width) == ("png", 16)
    assert winter.parent == store.search("fox", format="webp")[0].id


def test_images_and_requests_of_a_store(store: Store) -> None:
    """Images are the bytes that were saved, and a request can be sent again."""
    records = {record.operation: record for record in store.history()}
    edit = store.request(records["edit"].id)
    fox = store.request(store.history(pinned=True)[0].id)

    assert {store.open(record.id).sha256 == record.sha256 for record in store.history()} == {True}
    assert store.open(records["edit"].id, original=True).sha256 != records["edit"].sha256
    assert isinstance(edit, Edit)
    assert [image.format for image in edit.images if not isinstance(image, str)] == ["png", "jpeg"]  # type: ignore[union-attr]  # images, as `open` gives them
    assert (fox.prompt, fox.size) == ("A red fox 🦊 in Schnee, 雪の中", Size.parse("1024x640"))
    assert len(store.lineage(records["edit"].id).ancestors) == 1


def test_what_a_crash_of_the_old_version_left(store: Store) -> None:
    """A temporary file and an image without a sidecar are found and put right."""
    found = Counter(problem.kind for problem in store.verify(grace=timedelta(0)).problems)
    repaired = store.verify(repair=True, grace=timedelta(0))

    assert found == {"leftover": 1, "unclaimed": 1}
    assert {problem.kind for problem in repaired.repaired} == set(found)
    assert store.verify(grace=timedelta(0)).problems == ()
    assert store.history(operation="recovered")[0].created.hour == 11


def test_what_waits_in_the_state_folder(old: Path) -> None:
    """A recovery copy keeps its id, and the reply of a dead process is saved with its request."""
    with Store(old / "new") as store:
        report = store.recover(older_than=timedelta(0))
        prompts = {record.prompt: record for record in store.history()}

    assert (len(report.saved), report.failed, report.others) == (2, (), {})
    assert prompts.keys() == {"Saved elsewhere", "A hen"}
    assert prompts["A hen"].usage == USAGE
    assert list((old / "state/gptimage").rglob("*.png")) == []
    assert list((old / "state/gptimage").rglob("*.reply")) == []


def test_a_cache(old: Path) -> None:
    """The key of a request is the one it had, and its reply is read: nothing is sent."""
    with client(cache=DiskCache(old / "cache")) as caller:
        result = caller.generate("A cabin", **SMALL)

    assert (result.cached, result.usage, result.cost) == (True, USAGE, Cost(usd=Decimal(0)))
    assert (result.image.width, result.image.original is not None) == (1024, True)


def test_a_ledger(old: Path) -> None:
    """Calls, costs, and what may have been billed add up as they did."""
    ledger = Ledger(old / "ledger.sqlite", clock=lambda: WRITTEN)
    rows = list(ledger.rows())
    (unknown, *_) = [row for row in rows if row.prompt == "CUT"]
    ledger.close()

    assert Counter((row.billing, row.cached) for row in rows) == {
        ("billed", False): 4,
        ("not_billed", True): 1,
        ("unknown", False): 4,
    }
    assert (unknown.cost, unknown.counted) == (None, Decimal("0.005895"))
    assert unknown.error == "OutcomeUnknownError"
    assert ledger.spent() == Decimal("0.047435")


@pytest.mark.filterwarnings("ignore:the index")
def test_a_checkpoint(old: Path) -> None:
    """A run goes on: what was saved is read, and what may have been billed is not sent again."""
    rows = [{"prompt": prompt, **SMALL} for prompt in ("Number one", "CUT it", "Number three")]
    with Store(old / "called") as store, client(store=store) as caller:
        items = list(caller.generate_many(rows, checkpoint=old / "run.jsonl"))

    found = {item.index: type(item.error) for item in items}
    saved = {item.index: item.result.stored for item in items if item.result is not None}

    assert found == {0: type(None), 1: OutcomeUnknownError, 2: type(None)}
    assert {item.resumed for item in items} == {True}
    assert {index: [record.prompt for record in each] for index, each in saved.items()} == {
        0: ["Number one"],
        2: ["Number three"],
    }


@pytest.mark.filterwarnings("ignore:the index")
def test_a_job_store(old: Path) -> None:
    """Delivered again, a job gives the result it had; what needs a decision still does."""
    jobs = SqliteJobStore(old / "jobs.sqlite", clock=WRITTEN.timestamp)
    with Store(old / "called") as store, client(store=store) as caller:
        results = {
            id: run_job({"id": id, "prompt": prompt, **SMALL}, client=caller, job_store=jobs)
            for id, prompt in (
                ("done", "A job"),
                ("parked", "CUT the job"),
                ("dropped", "CUT it, too"),
            )
        }
        records = [store.get(id) for id in results["done"].images]

    assert {id: result.status for id, result in results.items()} == {
        "done": "done",
        "parked": "needs_review",
        "dropped": "discarded",
    }
    assert [record.prompt for record in records] == ["A job"]
    assert results["done"].cost == Decimal("0.00594")
    assert results["parked"].possible_cost == Decimal("0.005935")


def test_a_batch(old: Path) -> None:
    """The batch of a state file is known by its id, with its estimate."""
    with ImageClient.sandbox() as caller:
        batch = caller.open_batch(old / "batch.json")

        assert batch.ids == ("batch_4c70a868799249a7935544d0",)
        assert batch.estimate == Cost(usd=Decimal("0.005895"))


def test_a_journal_of_the_mcp_server(old: Path) -> None:
    """A job whose server is gone is found, with its owner and its time."""
    (path,) = (old / "journal").glob("job_*.json")
    journal = Journal(old / "journal")
    entry = journal.find(path.stem)

    assert entry is not None
    assert (entry.operation, entry.owner, entry.sent) == ("generate", "ada", False)
    assert entry.started == datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert not journal.is_alive(entry)
