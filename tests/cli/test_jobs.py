"""``gptimage jobs``: a person sees which jobs need review, and decides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gptimage.cli.main import BAD_INPUT, NOT_CONFIGURED, OK, main
from gptimage.workers import Job, JobRecord, SqliteJobStore


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A job store with a job in every state, named in the environment."""
    job_store = SqliteJobStore(tmp_path / "jobs.sqlite", keep=None)
    states: dict[str, dict[str, Any]] = {
        "needs_review": {"reason": "OutcomeUnknownError: \x1b[2Jtimeout"},
        "sending": {"owner": "m:1:x", "until": job_store.now() + 1000},
        "claimed": {"owner": "m:2:x", "until": 1.0},
        "done": {"images": ("img_1",)},
        "failed": {"reason": "RateLimitError: too fast"},
    }
    for number, (state, values) in enumerate(states.items()):
        request = Job(f"job-{state}", {"prompt": "A red fox"}).text
        fields: Any = {"state": state, "request": request, **values}
        job_store.compare_and_swap(
            None, JobRecord(id=f"job-{state}", at=1_795_000_000.0 + number, **fields)
        )
    monkeypatch.setenv("GPTIMAGE_JOB_STORE", str(job_store.path))
    return str(job_store.path)


def run(*arguments: str) -> int:
    """Run the command."""
    return main(["jobs", *arguments])


def test_the_list_shows_what_waits(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Jobs to review, those in work and those whose worker died, each on a line with the reason."""
    assert run("list") == OK

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1:3] for line in lines] == [
        ["needs_review", "job-needs_review"],
        ["sending", "job-sending"],
        ["lost", "job-claimed"],
    ]
    assert lines[0].startswith("2026-11-18T")
    assert "timeout" in lines[0]
    assert "\x1b" not in lines[0]


def test_the_list_is_json(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Other programs get an object a line, with settled jobs if they ask."""
    assert run("list", "--all", "--json") == OK

    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["state"] for each in found] == [
        "needs_review",
        "sending",
        "lost",
        "done",
        "failed",
    ]
    assert found[3]["images"] == ["img_1"]


def test_a_job_is_shown(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything is there to decide by, the request, too."""
    assert run("show", "job-needs_review") == OK
    shown = capsys.readouterr().out
    assert run("show", "job-needs_review", "--json") == OK
    document = json.loads(capsys.readouterr().out)

    assert "A red fox" in shown
    assert document["request"] == {"prompt": "A red fox"}
    assert (document["state"], document["possible_cost_usd"]) == ("needs_review", "0")


def test_a_person_decides(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`retry` opens a job that needs review, `discard` gives one up."""
    assert run("retry", "job-needs_review") == OK
    assert run("discard", "job-claimed", "--json") == OK

    first, second = capsys.readouterr().out.splitlines()
    assert "delivered again" in first
    assert json.loads(second)["state"] == "discarded"
    job_store = SqliteJobStore(place, keep=None)
    states = {each.id: each.state for each in job_store.records(settled=True)}
    assert (states["job-needs_review"], states["job-claimed"]) == ("open", "discarded")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["retry", "job-done"], "img_1"),
        (["discard", "job-sending"], "m:1:x has it right now"),
        (["show", "nobody"], "no job"),
        (["list", "--job-store", "elsewhere.sqlite"], "no job store"),
    ],
)
def test_what_cannot_be_done_is_said(
    place: str, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A job that is done or has a live worker cannot be decided; a missing file is no job store."""
    assert run(*arguments) == BAD_INPUT
    assert says in capsys.readouterr().err


def test_a_job_store_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a job store there is nothing to look at."""
    assert run("list") == BAD_INPUT
    assert "GPTIMAGE_JOB_STORE" in capsys.readouterr().err


def test_a_redis_that_is_down_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """A URL is a Redis job store, and its silence is an error of its own."""
    assert run("list", "--job-store", "redis://127.0.0.1:1/0") == NOT_CONFIGURED
    assert "127.0.0.1:1" in capsys.readouterr().err
