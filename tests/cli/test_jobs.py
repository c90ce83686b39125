"""``gptimage jobs``: a person sees what is parked, and decides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gptimage.cli.main import BAD_INPUT, NOT_CONFIGURED, OK, main
from gptimage.workers import Job, JobRecord, SqliteJobStore


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A desk with a job in every state, named in the environment."""
    desk = SqliteJobStore(tmp_path / "desk.sqlite", keep=None)
    states: dict[str, dict[str, Any]] = {
        "parked": {"reason": "OutcomeUnknownError: \x1b[2Jtimeout"},
        "sending": {"holder": "m:1:x", "until": desk.now() + 1000},
        "claimed": {"holder": "m:2:x", "until": 1.0},
        "done": {"images": ("img_1",)},
        "failed": {"reason": "RateLimitError: too fast"},
    }
    for number, (state, values) in enumerate(states.items()):
        request = Job(f"job-{state}", {"prompt": "A red fox"}).text
        fields: Any = {"state": state, "request": request, **values}
        desk.compare_and_swap(
            None, JobRecord(id=f"job-{state}", at=1_795_000_000.0 + number, **fields)
        )
    monkeypatch.setenv("GPTIMAGE_DESK", str(desk.path))
    return str(desk.path)


def run(*arguments: str) -> int:
    """Run the command."""
    return main(["jobs", *arguments])


def test_the_list_shows_what_waits(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Parked jobs, those in work and those whose worker is gone, each on a line with the reason."""
    assert run("list") == OK

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1:3] for line in lines] == [
        ["parked", "job-parked"],
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
    assert [each["state"] for each in found] == ["parked", "sending", "lost", "done", "failed"]
    assert found[3]["images"] == ["img_1"]


def test_a_job_is_shown(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything is there to decide by, the request, too."""
    assert run("show", "job-parked") == OK
    shown = capsys.readouterr().out
    assert run("show", "job-parked", "--json") == OK
    document = json.loads(capsys.readouterr().out)

    assert "A red fox" in shown
    assert document["request"] == {"prompt": "A red fox"}
    assert (document["state"], document["possible_cost_usd"]) == ("parked", "0")


def test_a_person_decides(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`retry` opens a parked job, `drop` gives one up."""
    assert run("retry", "job-parked") == OK
    assert run("drop", "job-claimed", "--json") == OK

    first, second = capsys.readouterr().out.splitlines()
    assert "delivered again" in first
    assert json.loads(second)["state"] == "dropped"
    desk = SqliteJobStore(place, keep=None)
    states = {each.id: each.state for each in desk.entries(settled=True)}
    assert (states["job-parked"], states["job-claimed"]) == ("open", "dropped")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["retry", "job-done"], "img_1"),
        (["drop", "job-sending"], "m:1:x has it right now"),
        (["show", "nobody"], "no job"),
        (["list", "--desk", "elsewhere.sqlite"], "no desk"),
    ],
)
def test_what_cannot_be_done_is_said(
    place: str, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A job that is done or alive is nobody's to decide, and a desk that is not there is none."""
    assert run(*arguments) == BAD_INPUT
    assert says in capsys.readouterr().err


def test_a_desk_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a desk there is nothing to look at."""
    assert run("list") == BAD_INPUT
    assert "GPTIMAGE_DESK" in capsys.readouterr().err


def test_a_redis_that_is_down_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """A URL is a Redis desk, and its silence is an error of its own."""
    assert run("list", "--desk", "redis://127.0.0.1:1/0") == NOT_CONFIGURED
    assert "127.0.0.1:1" in capsys.readouterr().err
