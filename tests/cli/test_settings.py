"""Every command obeys the same settings: flags, variables, the two files; nothing is invisible."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gptimage import Image, Store
from gptimage.cli.main import main
from gptimage.cli.parser import build_parser, command_table
from gptimage.sandbox import Sandbox, SandboxServer
from tests.processes import run_python


FAST = ("--quality", "low", "--size", "1024x1024")
SHORT = command_table()["commands"]["store"]["short"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in a folder of its own, in the sandbox."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPTIMAGE_SANDBOX", "1")
    return tmp_path


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A service over HTTP, and the settings that lead there."""
    sandbox = Sandbox()
    with SandboxServer(sandbox=sandbox) as server:
        monkeypatch.delenv("GPTIMAGE_SANDBOX")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        yield sandbox


def run(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """Run a command that succeeds with ``--json``; what it printed."""
    capsys.readouterr()
    assert main([*words, "--json"]) == 0, capsys.readouterr().err
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return documents[0] if len(documents) == 1 else documents


def fails(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command that ends with bad input; its message."""
    capsys.readouterr()
    assert main([*words]) in {2, 3}
    return capsys.readouterr().err


CALLS = {
    "generate": ["generate", "A fox", *FAST],
    "edit": ["edit", "Add a hat", "-i", "fox.png", *FAST],
    "variations": ["variations", "fox.png", *FAST],
    "refine": ["refine", "A fox", *FAST],
    "many": ["many", "rows.jsonl", *FAST],
}


@pytest.fixture
def inputs(tmp_path: Path) -> None:
    """What the commands of `CALLS` start from."""
    from tests.factories import picture

    Path("fox.png").write_bytes(picture(64, 64))
    Path("rows.jsonl").write_text('"A fox"\n')


@pytest.mark.parametrize("words", CALLS.values(), ids=list(CALLS))
def test_nothing_is_invisible(
    words: list[str], inputs: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without any flag each command's image is in history and its cost in spend."""
    document = run(capsys, *words)
    records = run(capsys, "history")["records"]
    spent = run(capsys, "spend")["total"]

    assert document["ids"] == [each["id"] for each in records]
    assert (document["index"], document["sandbox"], records[0]["sandbox"]) == (0, True, True)
    assert (spent["calls"], spent["images"]) == (1, 1)
    assert Decimal(spent["cost_usd"]) >= Decimal(document["cost_usd"]) > 0
    assert Path(document["files"][0]["path"]).is_file()


@pytest.mark.parametrize("words", CALLS.values(), ids=list(CALLS))
def test_flags_name_other_places(
    words: list[str], inputs: None, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--store``, ``--ledger`` and ``--tag`` have their effect in every command."""
    named = ["--store", "mine", "--ledger", "mine.sqlite", "--tag", "night", "--tag", "fox"]
    document = run(capsys, *words, *named)

    with Store("mine") as store:
        assert store.get(document["ids"][0]).tags == ("fox", "night")
    assert run(capsys, "spend", "--ledger", "mine.sqlite")["total"]["calls"] == 1
    usual = [home / "Pictures", home / ".local/state/gptimage/sandbox-ledger.sqlite"]
    assert [each for each in usual if each.exists()] == []


@pytest.mark.parametrize("words", CALLS.values(), ids=list(CALLS))
def test_budgets_hold(
    words: list[str], inputs: None, service: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """What could cross ``--budget`` is not sent."""
    code = main([*words, "--budget", "0.0001/day"])

    assert code == 1
    assert "budget" in capsys.readouterr().err
    assert service.requests == []


@pytest.mark.parametrize(
    "words",
    [
        ["refine", "A fox", "--cache", "on"],
        ["batch", "submit", "rows.jsonl", "--cache", "on"],
        ["batch", "wait", "batch.json", "--store", "mine"],
        ["batch", "results", "batch.json", "--tag", "night"],
    ],
    ids=" ".join,
)
def test_what_would_have_no_effect_is_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A turn and a batch are never taken from a cache, and looking saves nothing."""
    with pytest.raises(SystemExit) as ended:
        main(words)

    assert ended.value.code == 2
    assert words[-2] in capsys.readouterr().err


def test_the_cache_pays_once(capsys: pytest.CaptureFixture[str]) -> None:
    """``--cache`` gives the second call what the first paid, unless ``--refresh``."""
    words = [*CALLS["generate"], "--cache", "replies"]
    first, second = run(capsys, *words), run(capsys, *words)
    third = run(capsys, *words, "--refresh")

    assert [each["cached"] for each in (first, second, third)] == [False, True, False]
    assert second["cost_usd"] == "0"
    assert run(capsys, "cache", "stats", "--cache", "replies")["hits"] == 1


def test_files_of_the_user_and_the_project_count(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``config`` shows what applies and from where, and ``generate`` does it."""
    file = home / ".config/gptimage/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('budget = "5/day"\nport = 9000\n')
    Path("gptimage.toml").write_text('model = "gpt-image-2"\nstore = "images"\nbudget = "9/day"\n')

    shown = run(capsys, "config")
    document = run(capsys, *CALLS["generate"])

    assert shown["settings"]["model"] == {
        "value": "gpt-image-2",
        "origin": str(Path("gptimage.toml").absolute()),
    }
    assert shown["settings"]["budget"] == {"value": "5/day", "origin": str(file)}
    assert len(shown["notes"]) == 1
    assert document["model"] == "gpt-image-2"
    assert Store("images").get(document["ids"][0]).model == "gpt-image-2"


def test_the_key_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``config`` says that there is a key, and where from."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-0123456789")

    assert run(capsys, "config")["settings"]["api_key"] == {
        "value": "(set)",
        "origin": "OPENAI_API_KEY",
    }
    main(["config"])
    assert "sk-secret" not in capsys.readouterr().out


def test_a_key_file_is_enough(
    service: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mounted secret serves the command line, too."""
    Path("key").write_text("sk-test\n")
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", "key")

    assert main(["generate", "A fox", *FAST]) == 0
    assert len(service.requests) == 1


def test_templates_stand_for_the_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    """``--template`` renders, and its recommendations apply where no flag says otherwise."""
    words = ["--template", "og_image", "title=Launch day"]
    document = run(capsys, "generate", "--quality", "low", "-o", "x.png", *words)
    record = run(capsys, "show", document["ids"][0])

    assert (document["files"][0]["width"], document["files"][0]["height"]) == (1200, 630)
    assert (record["template"], record["request"]["quality"]) == ("og_image", "low")
    assert "both say what to draw" in fails(capsys, "generate", "A fox", *words)
    assert "not KEY=VALUE" in fails(capsys, "generate", "--template", "og_image", "title")
    assert "give a PROMPT" in fails(capsys, "generate")


def test_a_usual_place_that_cannot_be_is_a_note(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An account whose images folder is a file still gets its image; a named store must work."""
    (home / "Pictures").touch()

    assert main([*CALLS["generate"], "-o", "x.png"]) == 0
    assert "nothing is saved in the usual store" in capsys.readouterr().err
    assert Image.open("x.png").size == (1024, 1024)
    assert main([*CALLS["generate"], "--store", str(home / "Pictures/x")]) != 0


# ------------------------------------------------------------------ stores


@pytest.mark.parametrize("name", [name for name in SHORT if name != "recover"])
@pytest.mark.parametrize("group", [["store"], []], ids=["store", "short"])
def test_no_store_is_made_by_looking(
    group: list[str], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt folder is an error in every command, and stays away."""
    more = {"search": ["fox"], "tag": ["img_x", "t"], "export": ["out"]}
    more |= {each: ["img_x"] for each in ("show", "open", "pin")}
    more["prune"] = ["--max-count", "1"]

    message = fails(capsys, *group, name, *more.get(name, []), "--store", "misspelt")

    assert "there is no store in" in message
    assert list(tmp_path.iterdir()) == []


def test_store_commands_have_two_names(capsys: pytest.CaptureFixture[str]) -> None:
    """``store history`` and ``history`` are the same command."""
    main(CALLS["generate"])

    assert run(capsys, "store", "history") == run(capsys, "history")


# ------------------------------------------------------------------ usage and JSON


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        (["generate", "A fox", "--qual", "low"], "usage: gptimage generate"),
        (["store", "search", "fox", "--lim", "3"], "usage: gptimage store search"),
        (["batch", "wait"], "usage: gptimage batch wait"),
        (["cache", "clear", "--older-than", "x"], "usage: gptimage cache clear"),
        ([], "usage: gptimage "),
        (["nonsense"], "usage: gptimage "),
    ],
)
def test_usage_is_that_of_the_sub_command(
    words: list[str], usage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is abbreviated, and what was misspelt is shown with the right usage."""
    with pytest.raises(SystemExit) as ended:
        main(words)

    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(usage)


def test_errors_are_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Errors of the parser and of the work have one shape, with the exit code."""
    with pytest.raises(SystemExit):
        main(["generate", "A fox", "--json", "--qual", "low"])
    usage = json.loads(capsys.readouterr().out)["error"]
    code = main(["generate", "A fox", "--json", "-n", "11"])
    refused = json.loads(capsys.readouterr().out)["error"]

    assert (usage["type"], usage["exit_code"]) == ("UsageError", 2)
    assert (code, refused["type"], refused["exit_code"]) == (2, "InvalidRequestError", 2)
    assert usage.keys() == refused.keys()


def test_all_results_have_one_shape(inputs: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command that draws prints the same names, and amounts as text."""
    documents = [run(capsys, *words) for words in CALLS.values()]
    common = set.intersection(*(set(each) for each in documents))

    assert common == set(documents[0])
    assert {type(each["cost_usd"]) for each in documents} == {str}
    assert {each["index"] for each in documents} == {0}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_names_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each shell's script has all commands, those below them, and options."""
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out

    wanted = [*command_table()["commands"], *SHORT, "submit", "checkpoint", "name-from"]
    assert [word for word in wanted if word not in script] == []


ASK = {
    "bash": """{script}
        COMP_WORDS=(gptimage "$@"); COMP_CWORD=$#; _gptimage; echo "${{COMPREPLY[@]}}" """,
    # What the line editor would filter is printed whole; files are offered by a function of zsh.
    "zsh": """compdef() {{ }}; compadd() {{ shift; print -r -- "$@" }}; _files() {{ print FILES }}
        {script}
        words=(gptimage "$@"); CURRENT=$(($# + 1)); _gptimage""",
    "fish": """{script}
        complete -C "gptimage $argv" """,
}
"""What a shell is asked, after its script."""


@pytest.mark.parametrize("shell", list(ASK))
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["gen"], "generate"),
        (["store", "hi"], "history"),
        (["many", "--na"], "--name-from"),
        (["generate", "--quality", "xh"], "xhigh"),
        (["generate", "--quality", "low", "--si"], "--size"),
        (["cache", ""], "clear"),
    ],
    ids=" ".join,
)
def test_shells_complete(
    shell: str, words: list[str], offered: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real shell offers what may follow the words typed so far, and values of options."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    main(["completion", shell])
    ask = ASK[shell].format(script=capsys.readouterr().out)
    plain = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    rest = [" ".join(words)] if shell == "fish" else ["_", *words]
    command = [shell, *plain, "-c", ask, *rest]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stderr == ""
    assert offered in done.stdout.split()


def test_only_the_named_command_is_imported() -> None:
    """``--version`` imports no parser; a command imports no other command."""
    code = (
        "import sys; from gptimage.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(sorted(set(sys.modules) & {'argparse', 'gptimage.cli.many', 'openai', 'PIL'}))"
    )

    def heavy(*words: str) -> str:
        command = [sys.executable, "-c", code, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()[-1]

    assert heavy("--version") == "[]"
    assert heavy("store", "search", "fox", "--store", "none") == "['argparse']"


def test_the_parser_is_the_same_for_one_command() -> None:
    """The quick parser of one command takes what the whole parser takes."""
    words = ["many", "x.csv", "--dry-run", "--name-from", "sku"]
    quick, whole = build_parser(words).parse_args(words), build_parser().parse_args(words)

    assert {**vars(quick), "parser": None} == {**vars(whole), "parser": None}


# ------------------------------------------------------------------ many


def test_dry_run_checks_everything_and_sends_nothing(
    service: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """The estimate is printed; with a wrong line that one is named, and the others' numbers."""
    Path("rows.jsonl").write_text('"A fox"\n{"prompt": "A hen", "n": 2}\n')
    Path("wrong.jsonl").write_text('"A fox"\n{"prompt": "x", "n": 11}\n{"prompt": "x", "n": 12}\n')

    found = run(capsys, "many", "rows.jsonl", *FAST, "--dry-run")
    message = fails(capsys, "many", "wrong.jsonl", *FAST, "--dry-run")

    assert (found["requests"], found["images"], found["dry_run"]) == (2, 3, True)
    assert Decimal(found["estimate_usd"]) > 0
    assert "wrong.jsonl, line 2: n=11" in message
    assert "1 others: 3" in message
    assert service.requests == []


def test_all_rows_are_checked_before_the_first_is_paid(
    service: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last line's mistake is found while nothing is sent."""
    Path("rows.csv").write_text("prompt,images\nA fox,\nA hat,missing.png\n")

    assert "line 3" in fails(capsys, "many", "rows.csv", *FAST)
    assert service.requests == []


def test_unknown_columns_are_refused_once(
    service: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them are named in one sentence, with what was meant."""
    Path("rows.csv").write_text("prompt,sku,qualty\n" + "A fox,1,low\n" * 5)

    message = fails(capsys, "many", "rows.csv", *FAST)

    assert message.count("'sku'") == message.count("'qualty'") == 1
    assert "did you mean quality?" in message
    assert service.requests == []


def test_a_column_names_the_files(capsys: pytest.CaptureFixture[str]) -> None:
    """``--name-from`` makes file names of a column, and none that leads elsewhere."""
    Path("rows.csv").write_text("SKU;prompt;n\nA-1;A fox;1\n../B/2;A hen;2\n")

    main(["many", "rows.csv", *FAST, "--name-from", "sku", "-o", "out"])

    assert sorted(each.name for each in Path("out").iterdir()) == [
        "A-1.png",
        "B-2-1.png",
        "B-2-2.png",
    ]


@pytest.mark.parametrize("rows", ["sku,prompt\nA,x\na,y\n", "sku,prompt\nA,x\n,y\n"])
def test_names_that_would_be_mixed_up_are_refused(
    rows: str, service: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two equal names, or none, are found before anything is sent."""
    Path("rows.csv").write_text(rows)

    assert "column sku" in fails(capsys, "many", "rows.csv", *FAST, "--name-from", "sku")
    assert service.requests == []


@pytest.mark.parametrize("text", ['"A fox"\n', "prompt;n\nA fox;1\n", "prompt\tn\nA fox\t1\n"])
def test_standard_input_is_a_table_or_jsonl(text: str, tmp_path: Path) -> None:
    """``-`` reads either, and tells them apart."""
    command = ["-m", "gptimage", "many", "-", *FAST, "-o", "out"]
    done = run_python(command, input=text, text=True)

    assert done.returncode == 0, done.stderr
    assert [each.name for each in Path("out").iterdir()] == ["000001-a-fox.png"]


def test_messages_name_standard_input() -> None:
    """Not the temporary copy it was read into."""
    command = ["-m", "gptimage", "many", "-", *FAST, "--dry-run"]
    done = run_python(command, input="prompt,sise\nA,b\n", text=True)

    assert done.returncode == 2
    assert "standard input has columns that are no parameters: 'sise'" in done.stderr


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["generat", "x"], "generate"),
        (["store", "serach", "x"], "search"),
        (["sync"], "images sync"),
        (["duplicates"], "store duplicates"),
        (["generate", "x", "--qualty", "low"], "--quality"),
        (["generate", "x", "--qualty=low"], "--quality"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_one_meant(words: list[str], meant: str) -> None:
    """Of a command, a sub-command or an option."""
    done = run_python(["-m", "gptimage", *words], text=True)

    assert done.returncode == 2
    assert f"did you mean {meant}?" in done.stderr


def test_columns_are_arguments_of_a_template(capsys: pytest.CaptureFixture[str]) -> None:
    """A table without prompts fills a template, with common arguments from the command line."""
    Path("rows.csv").write_text("title,sku\nLaunch day,a\nMoving day,b\n")
    words = ["--template", "og_image", "brand_name=Acme", "--name-from", "sku", "--quality", "low"]

    documents = run(capsys, "many", "rows.csv", "-o", "out", *words)
    prompts = [run(capsys, "show", each["ids"][0])["request"]["prompt"] for each in documents]

    assert sorted(each.name for each in Path("out").iterdir()) == ["a.jpg", "b.jpg"]
    assert all("Acme" in prompt for prompt in prompts)
    assert sorted(title in "".join(prompts) for title in ("Launch day", "Moving day")) == [
        True,
        True,
    ]


def test_a_budget_without_size_and_quality(capsys: pytest.CaptureFixture[str]) -> None:
    """What is left open is reserved at its dearest; a budget below that says what to name."""
    assert main(["generate", "A fox", "--budget", "1.00/day"]) == 0
    assert "at most $0.71" in capsys.readouterr().err

    assert main(["generate", "A fox", "--budget", "0.50/call"]) == 1
    assert "name a size and a quality" in capsys.readouterr().err
