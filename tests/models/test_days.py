"""Three models end on 1 December 2026: what is said and done the day before, on it, and after."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest

import gptimage
from gptimage import ImageClient, Models
from gptimage.cli.main import main
from gptimage.errors import ModelRetiredError
from gptimage.sandbox import Sandbox


MODELS = Models.load()
ENDING = [spec.id for spec in MODELS if spec.shutdown == date(2026, 12, 1)]
BEFORE = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)
AFTER = [datetime(2026, 12, 1, tzinfo=UTC), datetime(2026, 12, 2, 9, tzinfo=UTC)]
ADVICE = (
    "use gpt-image-2.6-sunburst or gpt-image-2.6-flare, or gpt-image-2.5-flare, whose cost can "
    "be estimated beforehand"
)
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("model", ENDING)
def test_the_day_before_it_draws_and_warns(model: str) -> None:
    """Until midnight (UTC) the image comes, with the day and what to use from then on."""
    result = ImageClient.sandbox(clock=lambda: BEFORE).generate("A fox", model=model)

    assert f"{model} shuts down on 2026-12-01; {ADVICE}" in result.warnings


@pytest.mark.parametrize("day", AFTER, ids=str)
@pytest.mark.parametrize("model", ENDING)
def test_from_that_day_on_nothing_is_sent(model: str, day: datetime) -> None:
    """It is refused before anything is sent, with the day and what to use instead."""
    sandbox = Sandbox(clock=lambda: day)
    client = ImageClient.sandbox(sandbox, clock=lambda: day)
    with pytest.raises(ModelRetiredError) as caught:
        client.generate("A fox", model=model)

    assert str(caught.value) == f"{model} was shut down on 2026-12-01; {ADVICE}"
    assert sandbox.requests == []


@pytest.mark.parametrize("day", [BEFORE, *AFTER], ids=str)
def test_what_is_advised_works(day: datetime) -> None:
    """Every replacement draws without a word about its end."""
    client = ImageClient.sandbox(clock=lambda: day)
    for spec in (MODELS[name] for name in ENDING):
        for name in (*spec.replacements, spec.costable_replacement or ""):
            warnings = client.generate("A fox", model=name, size="1024x1024").warnings
            assert [each for each in warnings if "shut" in each] == []


@pytest.mark.parametrize("hours", [-10, 0, 14])
def test_the_day_begins_at_midnight_in_utc(hours: int) -> None:
    """A clock that shows another zone shows the same moment, and ends a model at the same."""
    zone = timezone(timedelta(hours=hours))
    now = [BEFORE.astimezone(zone)]
    client = ImageClient.sandbox(clock=lambda: now[0])
    drawn = client.generate("A fox", model=ENDING[0])
    now[0] += timedelta(seconds=1)
    with pytest.raises(ModelRetiredError):
        client.generate("A fox", model=ENDING[0])

    assert len(drawn.images) == 1


@pytest.mark.parametrize(
    ("day", "states"), [(BEFORE, {"shuts down"}), *((day, {"shut down"}) for day in AFTER)]
)
def test_the_command_says_it_in_the_right_tense(
    day: datetime,
    states: set[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """``gptimage models --all`` lists what will end and what has ended by its day."""
    monkeypatch.setattr("gptimage.cli.info.utc_now", lambda: day)
    assert main(["models", "--all"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}

    assert {re.findall(r"shuts? down", lines[model])[0] for model in ENDING} == states


def texts() -> list[Path]:
    """What people read and copy: docs, examples, templates, and the code with its messages."""
    source = Path(gptimage.__file__).parents[1]
    places = [ROOT / "docs", ROOT / "examples", ROOT / "benchmarks"]
    places += [source / "gptimage", source / "gptimage_mcp"]
    found = [path for place in places for path in place.rglob("*") if path.is_file()]
    kinds = {".md", ".py", ".toml", ".json", ".html", ".ipynb", ".sh", ".yaml", ".yml"}
    facts = source / "gptimage" / "models" / "models.toml"
    return [ROOT / "README.md", *(each for each in found if each.suffix in kinds and each != facts)]


def test_nothing_to_read_or_copy_names_a_model_that_ends() -> None:
    """Docs, examples, templates and messages name only models that go on, with these exceptions."""
    ids = "|".join(re.escape(spec.id) for spec in MODELS if spec.shutdown)
    named = re.compile(rf"(?<![\w.-])(?:{ids})(?![\w.-])")
    known = {
        "sandbox.md": "shows what happens on the day",
        "errors.md": "shows the error of a model that is gone",
        "models.md": "is the catalogue with all its dates, written from it",
        "image-gen-mcp.md": "says what an older server drew with, and that it is gone",
        "behaviours.md": "says what the older servers drew with, and that it is refused",
        "index.md": "says which models are gone, for those who come from them",
        "openai-sdk.md": "says what went with dall-e",
        "replies.py": "says in a comment why a formula stands in",
        "images_api.py": "says in a comment what leaving the model out used to mean",
        "service.py": "refuses as the endpoint of dall-e-2 does",
    }
    guilty = {
        f"{path.name}: {match[0]}"
        for path in texts()
        for match in named.finditer(path.read_text(encoding="utf-8"))
        if path.name not in known
    }

    assert guilty == set()
