"""``gptimage check``, and the options of ``generate`` and ``edit`` that check what they draw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gptimage import Image, StoreError
from gptimage.checks import Pixels
from gptimage.checks.named import NAMES_WITH_FILES
from gptimage.cli.main import main
from gptimage.store import Store
from tests.factories import cutout, picture


LOW = ("--sandbox", "--size", "1024x1024", "--quality", "low")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_generate_until_an_image_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that passes at once is drawn once; what each check found is printed."""
    words = ["generate", "A fox", *LOW, "--check", "pixels=1024x1024", "--until", "3"]

    assert main([*words, "-o", str(tmp_path / "fox.png")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[1] == "ok     pixels: it has 1024x1024"
    assert files(tmp_path) == ["fox.png"]


def test_an_image_that_fails_is_written_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code says that it failed; the others are in the store, under one tag."""
    store = ("--store", str(tmp_path / "store"))
    words = ["generate", "A fox", *LOW, *store, "--check", "transparent", "--until", "2", "--json"]

    assert main([*words, "-o", str(tmp_path / "fox.png")]) == 6
    document: Any = json.loads(capsys.readouterr().out)
    assert files(tmp_path) == ["fox.png", "store"]
    attempts = document["attempts"]
    assert (attempts["passed"], len(attempts["attempts"])) == (False, 2)
    assert document["ids"] == [each["id"] for each in attempts["attempts"]]
    assert document["cost_usd"] == attempts["total_cost_usd"]
    capsys.readouterr()
    assert main(["history", *store, "--tag", attempts["tag"], "--json"]) == 0
    found: Any = json.loads(capsys.readouterr().out)
    assert {each["id"] for each in found["records"]} == {
        each["id"] for each in attempts["attempts"]
    }


def test_without_a_store_every_attempt_is_written(tmp_path: Path) -> None:
    """They are paid, and nothing else has them."""
    words = ["generate", "A fox", *LOW, "--check", "transparent", "--best-of", "3"]

    assert main([*words, "--store", "off", "-o", str(tmp_path / "fox.png")]) == 6
    assert files(tmp_path) == ["fox-attempt-1.png", "fox-attempt-2.png", "fox.png"]
    assert main([*words, "--store", "off", "-o", "-"]) == 2


def test_edit_takes_checks_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same options, and one question of them to the chat model."""
    fox = tmp_path / "fox.png"
    fox.write_bytes(picture(64, 64))
    words = ["edit", "In snow", "-i", str(fox), *LOW, "--check", "ask=Is it a fox?"]

    assert main([*words, "-o", str(tmp_path / "snow.png")]) == 0
    assert " plus questions at most $0.0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--until", "3"], "need a --check"),
        (["--check", "transparent", "--until", "3", "--best-of", "2"], "take one of them"),
        (["--check", "transparent", "-n", "3", "--best-of", "2"], "leave out -n"),
        (["--check", "transparent", "--partial-images", "1"], "leave out --partial-images"),
        (["--check", "transparent", "--until", "0"], "most=0"),
        (["--check", "transparant"], "there is no check 'transparant'"),
        (["--check", "transparent=1"], "it takes no value"),
        (["--check", "words"], "write it as words=OPEN LATE"),
        (["--check", "margins=half"], "a share such as 5%"),
        (["--check", "margins=60%"], "a share, 0 to 0.4"),
        (["--check", "pixels=huge"], "pixels=huge"),
        (["--check", "palette=blurple"], "blurple"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_sent(
    words: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is drawn, and the message says what to write."""
    assert main(["generate", "A fox", *LOW, *words, "-o", str(tmp_path / "fox.png")]) == 2
    assert problem in capsys.readouterr().err
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--check", "drift"], "the check drift is of an edit with a mask"),
        (["--check", "transparent", "--until", "21"], "1 to 20"),
        (["--check", "palette=red", "--model", "gpt-image-2.6-flare", "--format", "svg"], "an svg"),
        (["--check", "transparent", "--format", "jpeg"], "a jpeg is opaque"),
        (["--check", "ask=A fox?", "--provider", "gemini"], "questions about images need"),
        (["--tag", "two\nlines"], "cannot be used: use up to 64 tags"),
        (["--budget", "0.001/day"], "budget"),
    ],
)
def test_what_is_refused_is_not_said_to_be_drawn(
    words: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No price of an image that is not going to be."""
    assert main(["generate", "A fox", "--sandbox", *words, "-o", str(tmp_path)]) in {1, 2}
    printed = capsys.readouterr().err
    assert problem in printed
    assert "drawing" not in printed


def test_check_looks_at_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each file with each check; no key is needed where nothing is asked."""
    clear, plain = tmp_path / "clear.png", tmp_path / "plain.png"
    clear.write_bytes(cutout())
    plain.write_bytes(picture(64, 64))
    checks = ["--check", "transparent", "--check", "pixels=64x64", "--check", "palette=teal,black"]

    assert main(["check", str(clear), *checks[:4]]) == 0
    assert main(["check", str(clear), str(plain), *checks, "--json"]) == 6
    document: Any = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [[each["passed"] for each in file["checks"]] for file in document["files"]] == [
        [True, True, False],
        [False, True, True],
    ]
    assert main(["check", str(plain), "--check", "ask=Is it teal?", "--sandbox"]) == 0
    printed = capsys.readouterr()
    assert "Yes." in printed.out
    assert printed.err.startswith("questions at most $0.0")
    assert main(["check", str(tmp_path / "none.png"), *checks]) == 2
    assert main(["check", str(clear), "--check", f"unlike={clear}"]) == 6
    assert main(["check", str(clear), "--check", f"unlike={tmp_path / 'none.png'}"]) == 2
    assert Image.from_path(plain).size == (64, 64)


@pytest.mark.parametrize(
    ("option", "value"), [("provider", "gemini"), ("ledger", "off"), ("budget", "1.00/day")]
)
def test_a_check_without_a_question_takes_no_setting_of_one(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What would have no effect is refused by name; a question has use for it."""
    file = tmp_path / "clear.png"
    file.write_bytes(cutout())

    assert main(["check", str(file), "--check", "transparent", f"--{option}", value]) == 2
    assert f"--{option} has no effect without --check ask=QUESTION" in capsys.readouterr().err


def test_ctrl_c_during_a_check_writes_the_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a store nothing else has them, and they are paid."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Pixels, "__call__", interrupted)
    monkeypatch.chdir(tmp_path)
    words = ["generate", "A fox", *LOW, "--check", "pixels=9x9", "--store", "off"]

    assert main([*words, "-o", "out/fox.png"]) == 130
    assert "the image is paid, and in" in capsys.readouterr().err
    (written,) = tmp_path.glob("*.png")
    assert Image.from_path(written).size == (1024, 1024)


def test_an_image_that_the_store_did_not_take_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is paid, whether it was chosen or not, and no store has it."""
    save, calls = Store.save, []

    def full(store: Store, result: Any, **more: Any) -> Any:
        calls.append(result)
        if len(calls) == 2:
            raise StoreError("the disk is full")
        return save(store, result, **more)

    monkeypatch.setattr(Store, "save", full)
    words = ["generate", "A fox", *LOW, "--check", "transparent", "--until", "3"]

    assert main([*words, "--store", str(tmp_path / "s"), "-o", str(tmp_path / "fox.png")]) == 6
    assert files(tmp_path) == ["fox-attempt.png", "fox.png", "s"]


@pytest.mark.parametrize("command", ["generate", "check"])
def test_help_names_every_check(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It stands apart from the checks, so that a parser imports none of them."""
    with pytest.raises(SystemExit):
        main([command, "--help"])

    assert "".join(NAMES_WITH_FILES.split()) in "".join(capsys.readouterr().out.split())
