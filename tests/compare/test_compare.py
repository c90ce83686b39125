"""Comparisons: each image is paid once, the sheet is safe and blind, and votes reach the store."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from gptimage import (
    AsyncImageClient,
    BudgetExceededError,
    ConfigurationError,
    ImageClient,
    InvalidRequestError,
    StoreError,
)
from gptimage.checks import Pixels, Question, Transparent, max_question_cost
from gptimage.cli.main import main
from gptimage.compare import Case, Comparison, read_set, record
from gptimage.sandbox import Sandbox


MODELS = ("gpt-image-2.5-flare", "gpt-image-2")
LOW: dict[str, Any] = {"size": "1024x1024", "quality": "low"}
EVIL = '</script><img src=x onerror="alert(1)">'


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(draw="plain")


@pytest.fixture
def client(sandbox: Sandbox, tmp_path: Path) -> Iterator[ImageClient]:
    with ImageClient.sandbox(sandbox, store=tmp_path / "store", cache=tmp_path / "cache") as client:
        yield client


def compared(client: ImageClient, *prompts: Any, **more: Any) -> Comparison:
    """A comparison of two models."""
    return client.compare(prompts or ["A fox", "A cup"], models=MODELS, **{**LOW, **more})


def exported(found: Comparison, winner: int = 0) -> dict[str, Any]:
    """What the sheet exports when one place is chosen for every prompt."""
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', found.html)
    assert data is not None
    known: Any = json.loads(data[1])
    votes = [{**prompt, "winner": winner} for prompt in known["prompts"]]
    return {"format": known["format"], "title": known["title"], "voted": "", "votes": votes}


def test_each_cell_is_paid_once(client: ImageClient, sandbox: Sandbox) -> None:
    """Made once more, a comparison sends nothing; what was paid then is known, and nothing now."""
    first, second = compared(client), compared(client)

    assert len(sandbox.requests) == 4
    assert [each.usd for each in first.cells] == [each.usd for each in second.cells]
    assert [(each.case.title, each.setting.model) for each in first.cells] == [
        (prompt, model) for prompt in ("A fox", "A cup") for model in MODELS
    ]
    assert all(each.seconds is not None for each in first.cells)
    assert [each.seconds for each in second.cells] == [None] * 4
    assert first.to_dict()["paid_usd"] == str(sum(each.usd or 0 for each in first.cells))
    assert second.to_dict()["paid_usd"] == "0"


@pytest.mark.parametrize("own", [False, True], ids=["all", "one prompt's"])
def test_pixels_of_an_svg_are_refused(client: ImageClient, sandbox: Sandbox, own: bool) -> None:
    """By a check of all prompts or of one, which is drawn in a format of its own."""
    case = Case(text="A fox", checks=[Transparent()] * own, options={"format": "svg"})
    checks = [] if own else [Transparent()]

    with pytest.raises(InvalidRequestError, match="transparent: it looks at pixels"):
        client.compare(["A cup", case], models=["gpt-image-2.6-flare"], checks=checks)
    assert sandbox.requests == []


def test_questions_are_paid_with_the_images(client: ImageClient) -> None:
    """They are asked about images from the cache, too, which themselves cost nothing."""
    found = [compared(client, "A fox", checks=[Question("A fox?")]) for _ in range(2)]

    asked = [
        sum(check.cost.usd for each in one.cells for check in each.checks if check.cost)
        for one in found
    ]
    drawn = sum(each.usd or 0 for each in found[0].cells)
    assert 0 < asked[1] == asked[0]
    assert [each.paid for each in found] == [drawn + asked[0], asked[1]]


@pytest.mark.parametrize(
    ("scenario", "known"),
    [("timeout", False), ("server", False), ("moderation_output", False), ("quota", True)],
)
def test_what_may_be_billed_is_not_left_out_of_what_was_paid(
    client: ImageClient, sandbox: Sandbox, scenario: Any, known: bool
) -> None:
    """After an unknown outcome, or a failure in the middle, nobody knows what all of it costs."""
    sandbox.fail_next(scenario)

    assert (compared(client, concurrency=1).to_dict()["paid_usd"] is not None) == known


def test_an_image_that_was_not_saved_is_paid(client: ImageClient, tmp_path: Path) -> None:
    """It is in the error of its cell, and its cost in what was paid."""
    (tmp_path / "store" / "images").write_text("no folder")

    found = compared(client)

    assert [type(each.error) for each in found.cells] == [StoreError] * 4
    assert found.paid == sum(cast("Any", each.error).result.cost.usd for each in found.cells) > 0


def test_one_that_was_broken_off_goes_on(client: ImageClient, sandbox: Sandbox) -> None:
    """What failed is on the sheet with its reason, and drawn by the next run alone."""
    sandbox.fail_next("quota")

    first = compared(client, concurrency=1)
    second = compared(client)

    assert [each.error is None for each in first.cells] == [False, True, True, True]
    assert "no image" in first.html
    assert all(each.result for each in second.cells)
    assert len(sandbox.requests) == 5


def test_a_budget_holds_for_the_whole_comparison(client: ImageClient, sandbox: Sandbox) -> None:
    """What does not fit is not drawn, and said."""
    found = compared(client, budget="0.013", concurrency=1)

    errors = [each.error for each in found.cells if each.error]
    assert len(sandbox.requests) == len(found.cells) - len(errors) == 2
    assert all(isinstance(each, BudgetExceededError) for each in errors)


def test_checks_are_of_all_and_of_a_prompt(client: ImageClient) -> None:
    """A prompt may have more of them."""
    sticker = Case(text="A fox", name="sticker", checks=[Transparent()])

    found = compared(client, sticker, "A cup", checks=[Pixels("1024x1024")])

    assert [[each.name for each in cell.checks] for cell in found.cells] == [
        ["pixels", "transparent"],
        ["pixels", "transparent"],
        ["pixels"],
        ["pixels"],
    ]


def test_the_sheet_runs_nothing_but_its_own_script(client: ImageClient) -> None:
    """Texts are escaped, images are inside, and the policy names style and script by digest."""
    found = compared(client, Case(text=EVIL, name=EVIL), title=EVIL)
    page = found.html

    assert EVIL not in page
    assert page.count("<script") == page.count("</script>") == 2
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    for tag in ("style", "script"):
        text = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert text is not None
        digest = base64.b64encode(hashlib.sha256(text[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy[1]
    assert "default-src 'none'" in policy[1]
    assert re.findall(r'(?:src|href)="(?!data:image/)[^"]*"', page) == []
    assert exported(found)["title"] == EVIL


def test_the_sheet_is_blind(client: ImageClient) -> None:
    """No model is named beside its image until it is asked for, and none is always the first."""
    found = compared(client, *[f"A fox number {number}" for number in range(6)])

    hidden = r'<div class="facts[^>]*>.*?</div>|<script.*?</script>'
    before = re.sub(hidden, "", found.html, flags=re.DOTALL)
    assert not any(model in before for model in MODELS)
    firsts = {prompt["candidates"][0]["model"] for prompt in exported(found)["votes"]}
    assert firsts == set(MODELS)


def test_votes_are_recorded_in_the_store(client: ImageClient, tmp_path: Path) -> None:
    """The winner has tags for the set and the version of its prompt; twice is like once."""
    found = compared(client, Case(text="A fox", name="fox", version="3"), title="Spring 2026")
    votes = exported(found, winner=1)
    file = tmp_path / "votes.json"
    file.write_text(json.dumps(votes), encoding="utf-8")

    assert client.store is not None
    for _ in range(2):
        standings = record(client.store, file)
    winner = votes["votes"][0]["candidates"][1]
    assert client.store.get(winner["id"]).tags == (
        "compare-spring-2026",
        "prompt-fox@3",
        "winner",
        "winner-of-spring-2026",
    )
    assert [(each.model, each.wins, each.votes) for each in standings] == [
        (winner["model"], 1, 1),
        (votes["votes"][0]["candidates"][0]["model"], 0, 1),
    ]


@pytest.mark.parametrize(
    "damage",
    [
        lambda votes: votes.update(format=2),
        lambda votes: votes.pop("votes"),
        lambda votes: votes["votes"][0].update(winner=9),
        lambda votes: votes["votes"][0].update(winner=True),
        lambda votes: votes["votes"][0].update(winner=None),
        lambda votes: votes["votes"][0]["candidates"][0].update(id="../../etc"),
        lambda votes: votes["votes"][0]["candidates"][0].update(id=None),
        lambda votes: votes["votes"][0]["candidates"][0].update(model=7),
    ],
    ids=["format", "no votes", "place", "a flag", "nobody", "a path", "no id", "model"],
)
def test_a_file_of_votes_is_not_trusted(client: ImageClient, tmp_path: Path, damage: Any) -> None:
    """Anybody may have written it; one that does not fit tags nothing."""
    votes = exported(compared(client, "A fox"))
    damage(votes)
    file = tmp_path / "votes.json"
    file.write_text(json.dumps(votes), encoding="utf-8")

    assert client.store is not None
    with pytest.raises(InvalidRequestError, match="othing was"):
        record(client.store, file)
    assert list(client.store.history(tag="winner")) == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"prompts": "A fox"}, "put brackets"),
        ({"prompts": []}, "there is none"),
        ({"prompts": ["A fox", "A fox"]}, "comes twice"),
        ({"models": []}, "there is none"),
        ({"models": "gpt-image-2"}, "put brackets"),
        ({"qualities": "low"}, "put brackets"),
        ({"n": 3}, "sets it itself"),
        ({"qualities": ["low"], "quality": "high"}, "both say it"),
        ({"qualty": "low"}, "qualty: it is no parameter; quality is one"),
        ({"prompts": [f"A fox {number}" for number in range(501)]}, "500 are the most"),
    ],
)
def test_what_is_no_matrix_is_refused(
    client: ImageClient, sandbox: Sandbox, arguments: dict[str, Any], problem: str
) -> None:
    """Before anything is sent."""
    whole: dict[str, Any] = {"prompts": ["A fox"], "models": ["gpt-image-2"], **arguments}

    with pytest.raises(InvalidRequestError, match=problem):
        client.compare(whole.pop("prompts"), **whole)
    assert sandbox.requests == []


def test_a_comparison_without_a_cache_is_refused(sandbox: Sandbox) -> None:
    """It would pay again for every image when it is made once more."""
    client = ImageClient.sandbox(sandbox)

    with client, pytest.raises(ConfigurationError, match="needs a cache"):
        compared(client)
    assert sandbox.requests == []


def test_both_clients_do_the_same(tmp_path: Path) -> None:
    """The awaited method draws what the blocking one does."""

    async def run() -> Comparison:
        sandbox = Sandbox(draw="plain")
        async with AsyncImageClient.sandbox(sandbox, cache=tmp_path) as client:
            return await client.compare(["A fox"], models=MODELS, checks=[Transparent()], **LOW)

    found = asyncio.run(run())

    assert [each.checks[0].passed for each in found.cells] == [False, False]
    assert sum(each.usd or Decimal(0) for each in found.cells) > 0


SET = """
title = "Spring"
[options]
size = "1024x1024"
[[prompt]]
text = "A fox"
version = "2"
checks = ["pixels=1024x1024"]
[[prompt]]
text = "A cup"
background = "opaque"
"""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", r"no \[\[prompt\]\]"),
        ("prompt = 1", r"no \[\[prompt\]\]"),
        ("[[prompt]]\ntext = 1", 'prompt 1: write text = "..."'),
        ("[[prompt]]\nname = 'x'", 'prompt 1: write text = "..."'),
        ("[[prompt]]\ntext = 'x'\nchecks = 'transparent'", "a list of texts"),
        ("[[prompt]]\ntext = 'x'\nchecks = ['no']", "there is no check"),
        ("model = 'x'\n[[prompt]]\ntext = 'x'", "'model' is not known"),
        ("[[prompt", "is no TOML"),
    ],
)
def test_a_set_that_is_wrong_is_named(tmp_path: Path, text: str, problem: str) -> None:
    """With the file and what is wrong in it."""
    file = tmp_path / "set.toml"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(InvalidRequestError, match=problem):
        read_set(file)


def test_the_command_compares_and_records(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a file of prompts to a sheet, and from its votes to the store."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_PICTURES_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("set.toml").write_text(SET, encoding="utf-8")
    places = ("--store", "store", "--cache", "cache", "--ledger", "off", "--sandbox")
    words = ["compare", "set.toml", "--models", ",".join(MODELS), "--quality", "low"]

    assert main([*words, "--dry-run"]) == 0
    assert "4 images, at most $0.02" in capsys.readouterr().out
    assert main([*words, "--budget", "1", *places, "--json"]) == 0
    printed = capsys.readouterr()
    assert "drawing 4 images, at most $0.02" in printed.err
    document: Any = json.loads(printed.out)
    assert [len(each["checks"]) for each in document["cells"]] == [1, 1, 0, 0]
    page = Path(document["sheet"]).read_text(encoding="utf-8")
    data = re.search(r'type="application/json">(.*?)</script>', page)
    assert data is not None
    known: Any = json.loads(data[1])
    known["votes"] = [{**each, "winner": 0} for each in known.pop("prompts")]
    Path("votes.json").write_text(json.dumps(known), encoding="utf-8")
    assert main(["compare", "record", "votes.json", "--store", "store"]) == 0
    assert " of 2  gpt-image-2" in capsys.readouterr().out
    assert main(["compare", "record"]) == 2
    assert main(["compare", "set.toml"]) == 2


@pytest.mark.parametrize(
    "more", [("--models", "a"), ("--quality", "low"), ("--budget", "1"), ("--dry-run",)]
)
def test_an_option_of_drawing_is_refused_with_votes(
    capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    """Nothing is accepted and ignored."""
    assert main(["compare", "record", "votes.json", "--store", "store", *more]) == 2
    assert f"{more[0]} has no effect" in capsys.readouterr().err


def test_a_dry_run_counts_the_questions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question is paid for each image, and the most that all may cost has it in."""
    monkeypatch.chdir(tmp_path)
    Path("set.toml").write_text(SET, encoding="utf-8")
    words = ["compare", "set.toml", "--models", MODELS[0], "--quality", "low", "--dry-run"]

    def most(*more: str) -> Decimal:
        assert main([*words, *more, "--json"]) == 0
        return Decimal(json.loads(capsys.readouterr().out)["max_cost_usd"])

    asked = max_question_cost([Question("A fox?")], 2, datetime.now(UTC).date())
    assert asked is not None
    assert most("--check", "ask=A fox?") == most() + asked


def test_a_dry_run_is_that_of_the_provider(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the service would refuse is refused."""
    monkeypatch.chdir(tmp_path)
    Path("set.toml").write_text(SET, encoding="utf-8")
    words = ["compare", "set.toml", "--models", "gemini-3.1-flash-image", "--quality", "low"]

    assert main([*words, "--dry-run", "--provider", "gemini"]) == 2
    assert "takes no quality" in capsys.readouterr().err


def test_votes_cannot_move_the_cursor(
    client: ImageClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Anybody may have written the file, and what it names a model is printed."""
    votes = exported(compared(client, "A fox"))
    votes["votes"][0]["candidates"][0]["model"] = "\x1b]0;title\x07"
    file = tmp_path / "votes.json"
    file.write_text(json.dumps(votes), encoding="utf-8")

    assert main(["compare", "record", str(file), "--store", str(tmp_path / "store")]) == 0
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("case", "more"),
    [
        (Case(text="A fox", version=cast("Any", 2)), {}),
        (Case(text="A fox", name=cast("Any", 7)), {}),
        (Case(text="A fox"), {"title": 7}),
    ],
)
def test_what_the_sheet_cannot_show_is_refused_before_anything_is_paid(
    sandbox: Sandbox, tmp_path: Path, case: Case, more: dict[str, Any]
) -> None:
    """With a store or without."""
    with (
        ImageClient.sandbox(sandbox, cache=tmp_path) as client,
        pytest.raises(InvalidRequestError, match="text"),
    ):
        compared(client, case, **more)

    assert sandbox.requests == []


def test_what_was_paid_is_checked_and_saved(client: ImageClient, tmp_path: Path) -> None:
    """One check without a list, and a title with half an emoji."""
    one: Any = Transparent()

    found = compared(client, Case(text="A fox", checks=one), title="\ud83e fox")

    assert [[each.name for each in cell.checks] for cell in found.cells] == [["transparent"]] * 2
    assert "? fox" in found.save(tmp_path / "sheet.html").read_text(encoding="utf-8")


def test_options_of_the_command_have_their_effect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Limits of the provider, a sheet that can be written before anything is paid, no dead ones."""
    monkeypatch.chdir(tmp_path)
    Path("set.toml").write_text(
        'options = { size = "1024x1024" }\n[[prompt]]\ntext = "A fox"\n', encoding="utf-8"
    )
    Path("file").touch()
    words = ["compare", "set.toml", "--models", "gemini-3-pro-image", "--provider", "gemini"]

    assert main([*words, "--dry-run", "--quality", "low"]) == 2
    assert "Gemini" in capsys.readouterr().err
    assert main([*words, "--sandbox", "--store", "store", "-o", "file/sheet.html"]) == 2
    assert "nothing was sent" in capsys.readouterr().err
