"""Wrong values of options: exit code 2, one sentence, and nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PilImage

from gptimage.cli.main import main
from gptimage.cli.parser import build_parser
from gptimage.sandbox import Sandbox, SandboxServer


FAST = ("--size", "1024x1024", "--quality", "low")
HALF = b"fox \xf0\x9f".decode("utf-8", "surrogateescape")
"""Half an emoji, as the arguments of a process hold it."""

WRONG = (
    "",
    " ",
    "nan",
    "inf",
    "-1",
    "1e400",
    "9" * 400,
    HALF,
    "\0",
    "a-folder",
    "missing/x",
    "x.txt",
)
COMMANDS = {
    "generate": ("A fox", *FAST),
    "edit": ("A fox", "-i", "a.png", *FAST),
    "variations": ("a.png", *FAST),
    "refine": ("A fox", *FAST),
    "many": ("rows.jsonl", "--dry-run"),
    "batch submit": ("rows.jsonl",),
    "batch status": ("missing.json",),
    "batch wait": ("missing.json",),
    "batch results": ("missing.json",),
    "jobs list": (),
    "jobs retry": ("a-job",),
    "jobs discard": ("a-job",),
    "estimate": ("A fox", *FAST),
    "spend": (),
    "templates list": (),
    "store history": (),
    "store search": ("fox",),
    "store show": ("img_x",),
    "store open": ("img_x",),
    "store tag": ("img_x", "fox"),
    "store pin": ("img_x",),
    "store prune": ("--dry-run",),
    "store verify": (),
    "store recover": (),
    "store export": ("out",),
    "cache stats": (),
    "cache clear": (),
    "sandbox": ("--port", "99999"),
}
"""Commands, with arguments that are right or never get far."""


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command runs beside a folder, a text and a file of requests."""
    monkeypatch.chdir(tmp_path)
    Path("a-folder").mkdir()
    Path("x.txt").write_text("hello", encoding="utf-8")
    PilImage.new("RGB", (1024, 1024), "teal").save("a.png")
    Path("twice.jsonl").write_text('{"prompt": "A fox", "prompt": "A cat"}')
    Path("rows.jsonl").write_text('{"prompt": "A fox"}\n', encoding="utf-8")


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    """One service over HTTP for all commands."""
    with SandboxServer(sandbox=Sandbox(draw="plain")) as server:
        yield server


@pytest.fixture
def service(server: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The service that the settings lead to, which has not been asked for anything."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    return server.sandbox


def options_of(command: str) -> list[str]:
    """Every option of a command that takes a value, by its longest name."""
    parser: Any = build_parser(command.split())
    for word in command.split():
        parser = next(each for each in actions(parser) if hasattr(each.choices, "keys")).choices[
            word
        ]
    taking = [each for each in actions(parser) if each.option_strings and each.nargs != 0]
    return [each.option_strings[-1] for each in taking]


def actions(parser: Any) -> list[Any]:
    """The arguments of a parser; argparse offers no other way to them."""
    found: list[Any] = parser._actions
    return found


def run(words: list[str]) -> int | str | None:
    """The exit code of a command."""
    try:
        return main(words)
    except SystemExit as ended:
        return ended.code


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_no_value_of_an_option_is_a_fault_of_the_program(
    command: str, service: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever an option is given, the command ends with a sentence; bad input sends nothing."""
    odd: list[object] = []
    for option in options_of(command):
        refused = {2, 3} if option == "--checkpoint" else {2}  # what a run goes on from
        for value in WRONG:
            Path("batch.json").unlink(missing_ok=True)  # of other requests, by another option
            before = len(service.requests)
            code = run([*command.split(), *COMMANDS[command], f"{option}={value}"])
            printed = capsys.readouterr().err
            sent = len(service.requests) - before
            right = code == 0 or (code in refused and not sent and "gptimage" in printed)
            if not right and not (code == 1 and sent):  # only the service knows its models
                odd.append((option, value[:20], code, sent, printed[-200:]))

    assert odd == []


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("generate", "A fox", "--store", "x.txt"), "--store"),
        (("generate", "A fox", "--ledger", "a-folder"), "--ledger"),
        (("generate", "A fox", "--cache", "x.txt"), "--cache"),
        (("generate", "A fox", "--budget", "nan"), "--budget"),
        (("generate", "A fox", "-o", "9" * 400), "999"),
        (("generate", "A fox\0"), "PROMPT has a null character"),
        (("estimate", "A fox", "--templates", "missing"), "missing"),
        (("many", "rows.jsonl", "--images-per-minute", "0"), "--images-per-minute"),
        (("many", "twice.jsonl"), "line 1: 'prompt' is there twice; nothing was sent"),
        (("spend", "--ledger", "x.txt"), "--ledger"),
        (("cache", "stats", "--cache", "x.txt"), "--cache"),
        (("batch", "submit", "rows.jsonl", "--state", "a-folder"), "--state"),
        (("batch", "submit", "rows.jsonl", "--state", "x.txt"), "no state file of a batch"),
        (("batch", "status", "x.txt"), "BATCH"),
        (("batch", "wait", "a-folder"), "BATCH"),
    ],
)
def test_a_place_or_number_that_an_option_names_is_bad_input(
    words: tuple[str, ...], named: str, service: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a person typed is bad input, not a matter of configuration or a failure."""
    before = len(service.requests)

    assert (run([*words]), len(service.requests) - before) == (2, 0)
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("generate", "A fox", "--provider", "x.txt"),
        ("models", "--provider", "x.txt"),
        ("sandbox", "--drift", "melt=1"),
        ("sandbox", "--drift", "tint=2"),
    ],
)
def test_a_name_that_is_not_known_is_bad_input(
    words: tuple[str, ...], service: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error says which option it is, and what there is."""
    before = len(service.requests)

    assert (run([*words]), len(service.requests) - before) == (2, 0)
    printed = capsys.readouterr().err
    assert words[-2] in printed
    assert "openrouter" in printed or "repaint=12" in printed


def test_a_setting_that_a_variable_makes_is_configuration(
    service: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same mistake in a variable keeps the exit code of settings."""
    monkeypatch.setenv("GPTIMAGE_BUDGET", "nan")

    assert run(["generate", "A fox", "--budget", "1/day"]) == 3
