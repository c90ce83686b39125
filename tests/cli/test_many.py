"""``gptimage many``: files appear, lines are checked before anything is paid, runs go on."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gptimage import Image
from gptimage.cli.main import main
from gptimage.cli.many import Rows
from gptimage.sandbox import Sandbox, SandboxServer
from gptimage.store import Store
from gptimage.transport.http import HttpRequest
from tests.processes import start_python


FAST = ("--sandbox", "--quality", "low", "--size", "1024x1024")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(name: str, *lines: str) -> str:
    """A file of these lines."""
    Path(name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return name


def test_jsonl_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    """Every line becomes a numbered file, with its own arguments over the common ones."""
    file = written("run.jsonl", '"A red fox"', "", '{"prompt": "A hen", "size": "64x48", "n": 2}')

    code = main(["many", file, "-o", "out", *FAST])

    assert code == 0
    found = sorted(path.name for path in Path("out").iterdir())
    assert found == ["000001-a-red-fox.png", "000002-a-hen-1.png", "000002-a-hen-2.png"]
    assert Image.open("out/000001-a-red-fox.png").size == (1024, 1024)
    assert Image.open("out/000002-a-hen-1.png").size == (64, 48)
    assert "2 of 2" in capsys.readouterr().err


def test_csv_is_drawn_and_reported(capsys: pytest.CaptureFixture[str]) -> None:
    """A table works, edits included, and --json gives one object for each item."""
    Image.open(ImageFile.fox()).save("fox.png")
    file = written(
        "run.csv", "prompt,images,n,size", '"A fox, red",,2,', "Add a hat,fox.png;fox.png,,64x64"
    )

    code = main(["many", file, "-o", "out", "--json", *FAST])

    items = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    assert sorted((item["index"], len(item["files"])) for item in items) == [(0, 2), (1, 1)]
    assert all(Path(file["path"]).is_file() for item in items for file in item["files"])


class ImageFile:
    """Images to start from."""

    @staticmethod
    def fox() -> bytes:
        """A drawn fox."""
        import gptimage

        return gptimage.ImageClient.sandbox().generate("A fox", size="1024x1024").image.data


@pytest.mark.parametrize(
    ("name", "lines", "problem"),
    [
        ("run.jsonl", ['"A fox"', "{broken"], "line 2"),
        ("run.jsonl", ['"A fox"', "[1]"], "line 2"),
        ("run.jsonl", ["A fox"], "'A fox' is not understood: a line is JSON, such as"),
        ("run.jsonl", ['{"size": "64x64"}'], "no prompt"),
        ("run.jsonl", [""], "no requests"),
        ("run.csv", ["prompt,n", "A fox,two"], "'two' is not understood"),
        ("run.csv", ["prompt,n", "A fox,1,3"], "number of cells"),
        ("run.csv", ["text", "A fox"], "no column is called prompt"),
    ],
)
def test_a_bad_line_costs_nothing(
    name: str, lines: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole file is read before anything is sent."""
    code = main(["many", written(name, *lines), *FAST])

    assert code == 2
    assert problem in capsys.readouterr().err
    assert list(Path().glob("*.png")) == []


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("excel.csv", "\ufeffprompt,size\r\nA fox,1024x1024\r\n".encode()),
        ("german.csv", "\ufeffprompt;size\r\nA fox;1024x1024\r\n".encode()),
        ("unicode.csv", "prompt\tsize\r\nA fox\t1024x1024\r\n".encode("utf-16")),
        ("columns.tsv", b"size\tprompt\n1024x1024\tA fox\n"),
        ("capitals.csv", b"Prompt , SIZE\nA fox,1024x1024\n"),
        ("empty.csv", b"prompt,size,\nA fox,1024x1024,\n,,\n\n"),
        ("hint.csv", b"sep=;\r\nprompt;size\r\nA fox;1024x1024\r\n"),
        ("shell.jsonl", '{"prompt": "A fox", "size": "1024x1024"}\r\n'.encode("utf-16")),
        ("mark.jsonl", '\ufeff{"prompt": "A fox", "size": "1024x1024"}\n'.encode()),
    ],
)
def test_files_of_spreadsheets_are_read(name: str, data: bytes) -> None:
    """Byte order marks, semicolons, tabs, capitals and empty rows are what Excel writes."""
    Path(name).write_bytes(data)

    assert list(Rows(Path(name), {})) == [{"prompt": "A fox", "size": "1024x1024"}]


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("old.csv", "prompt\nA fox\nGrüner Fuchs\n".encode("cp1252"), "line 3: it is not UTF-8"),
        ("old.jsonl", '"Grüner Fuchs"\n'.encode("cp1252"), "line 1: it is not UTF-8"),
        ("no-mark.csv", "prompt\nA fox\n".encode("utf-16-le"), "line 1: it is not UTF-8"),
        ("table.csv", b"PK\x03\x04....", "a spreadsheet is not read"),
        ("open.csv", b'prompt\n"A fox\nA hare\n', "unexpected end of data"),
        ("twice.csv", b"prompt,Prompt\na,b\n", "two columns are called prompt"),
        ("nameless.csv", b"prompt,\nA fox,low\n", "a column without a name"),
        ("export.csv", b"prompt\nA fox\nA d\0g\n", "line 3: prompt has a null character"),
        ("export.jsonl", b'"A d\\u0000g"\n', "line 1: prompt has a null character"),
        ("a-folder.csv", None, "no file that can be read twice"),
    ],
)
def test_files_that_cannot_be_understood_cost_nothing(
    name: str, data: bytes | None, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No encoding is guessed, and a sentence says what to do before the first line is paid."""
    Path(name).mkdir() if data is None else Path(name).write_bytes(data)

    assert main(["many", name, *FAST]) == 2
    error = capsys.readouterr().err
    assert problem in error
    assert "nothing was sent" in error


def test_a_prompt_of_a_table_that_looks_like_json_stays_text() -> None:
    """What a cell holds is a prompt, whatever it looks like."""
    Path("run.csv").write_text('prompt\nnull\n"{""a"": 1}"\n[1]\n', encoding="utf-8")

    assert [row["prompt"] for row in Rows(Path("run.csv"), {})] == ["null", '{"a": 1}', "[1]"]


def test_one_failure_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """What fails is said with its number; the rest is drawn; the exit code tells."""
    file = written("run.jsonl", '"A fox [sandbox:moderation]"', '"A hen"')

    code = main(["many", file, "--json", *FAST])

    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    errors = {item["index"]: item.get("error", {}).get("type") for item in shown}
    assert code == 1
    assert errors == {0: "ModerationError", 1: None}


def test_no_credit_stops_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    """What would fail every request is not tried a thousand times."""
    file = written(
        "run.jsonl", *(f'"A fox, number {index} [sandbox:quota]"' for index in range(50))
    )

    code = main(["many", file, "--concurrency", "1", "--json", *FAST])

    shown = capsys.readouterr()
    assert code == 1
    assert len(shown.out.splitlines()) == 1
    assert "stopped" in shown.err


def test_a_second_run_draws_what_is_missing() -> None:
    """With a checkpoint, finished lines are not drawn again, and unknown ones only if allowed."""
    file = written("run.jsonl", '"A fox"', '"A hen [sandbox:cut]"')
    command = ["many", file, "-o", "out", "--checkpoint", "run.checkpoint", *FAST]

    codes = [main(command), main(command), main([*command, "--retry-unknown"])]

    assert codes == [4, 4, 4]
    assert [path.name for path in Path("out").iterdir()] == ["000001-a-fox.png"]


def many_of(server: SandboxServer, *more: str) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    environment = {**os.environ, "OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": server.base_url}
    words = ("many", "run.jsonl", "-o", "out", "--quality", "low", *more)
    return start_python(
        ["-m", "gptimage", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Holding(Sandbox):
    """A sandbox that answers what it refuses and two requests, and the others when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = threading.Event()
        self._first = itertools.count()

    def handle(self, request: HttpRequest) -> Any:
        """The answer, in time."""
        found = super().handle(request)
        # Four arrive at once, in any order: the refusal may be the third of them.
        if "[sandbox:" not in str(request.body.get("prompt")) and next(self._first) >= 2:
            self.may_answer.wait()
        return found


def wait_for(happens: Callable[[], object]) -> None:
    """Wait until something is the case."""
    until = time.monotonic() + 60
    while not happens():
        assert time.monotonic() < until
        time.sleep(0.02)


def last(checkpoint: Path) -> dict[int, str]:
    """What a checkpoint says of each item."""
    whole = checkpoint.read_text().rpartition("\n")[0]
    lines = [json.loads(line) for line in whole.splitlines()]
    return {line["index"]: line["status"] for line in lines}


def lines_of(process: subprocess.Popen[str], last: str) -> str:
    """What it says on standard error, up to a line with these words."""
    assert process.stderr is not None
    told = ""
    while last not in told:
        line = process.stderr.readline()
        assert line, told
        told += line
    return told


FOXES = [f"A fox, number {index}" for index in range(12)]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "term"]
)
def test_interrupted_and_resumed(number: signal.Signals, code: int) -> None:
    """Ctrl-C or SIGTERM finishes what was sent; the next run draws the rest, each once."""
    written("run.jsonl", *(json.dumps(fox) for fox in FOXES))
    sandbox = Holding()
    with SandboxServer(sandbox=sandbox) as server:
        command = ("--checkpoint", "cp", "--concurrency", "3")
        first = many_of(server, *command)
        wait_for(lambda: len(sandbox.requests) == 5)
        wait_for(lambda: len(list(Path("out").glob("*.png"))) == 2)
        first.send_signal(number)
        told = lines_of(first, "finishing")
        sandbox.may_answer.set()
        told += first.communicate(timeout=240)[1]
        there = len(list(Path("out").glob("*.png")))
        second = many_of(server, *command)
        second.communicate(timeout=240)

    drawn = [str(request.body["prompt"]) for request in sandbox.requests]
    assert "finishing 3 in flight, again to give them up" in told
    assert "the same command goes on" in told
    assert (first.returncode, there, second.returncode) == (code, 5, 0)
    assert sorted(drawn) == sorted(FOXES)
    assert len(list(Path("out").glob("*.png"))) == 12


def test_a_second_interrupt_gives_up() -> None:
    """It ends at once; what was in flight is not asked again, and the next run says so."""
    written("run.jsonl", *(json.dumps(fox) for fox in FOXES))
    sandbox = Holding()
    with SandboxServer(sandbox=sandbox) as server:
        command = ("--checkpoint", "cp", "--concurrency", "3")
        first = many_of(server, *command)
        wait_for(lambda: len(sandbox.requests) == 5)
        wait_for(lambda: len(list(Path("out").glob("*.png"))) == 2)
        first.send_signal(signal.SIGINT)
        told = lines_of(first, "finishing")
        first.send_signal(signal.SIGINT)
        told += first.communicate(timeout=240)[1]
        sandbox.may_answer.set()
        second = many_of(server, *command)
        again = second.communicate(timeout=240)[1]

    drawn = [str(request.body["prompt"]) for request in sandbox.requests]
    assert "gave up 3 in flight: they may be billed" in told
    assert (first.returncode, second.returncode) == (130, 4)
    assert again.count("it may have been billed") == 3
    assert sorted(drawn) == sorted(FOXES)


@pytest.mark.parametrize("store", [(), ("--store", "pictures")])
def test_a_killed_command_goes_on(store: tuple[str, ...]) -> None:
    """After kill -9 nothing is drawn twice, every file is written, and doubt is told."""
    written("run.jsonl", *(json.dumps(fox) for fox in FOXES))
    sandbox = Holding()
    with SandboxServer(sandbox=sandbox) as server:
        command = ("--checkpoint", "cp", "--concurrency", "3", *store)
        first = many_of(server, *command)
        wait_for(lambda: len(sandbox.requests) == 5)
        wait_for(lambda: sum(status != "begun" for status in last(Path("cp")).values()) == 2)
        first.kill()
        first.communicate()
        sandbox.may_answer.set()
        second = many_of(server, *command)
        told = second.communicate(timeout=240)[1]

    drawn = [str(request.body["prompt"]) for request in sandbox.requests]
    files = len(list(Path("out").glob("*.png")))
    assert sorted(drawn) == sorted(FOXES)
    assert (files, told.count("it may have been billed"), second.returncode) == (9, 3, 4)


def test_quota_stops_and_writes_what_is_in_flight() -> None:
    """What was sent beside the refused request is paid, and becomes a file."""
    lines = [*FOXES[:3], "A fox [sandbox:quota]", *FOXES[3:]]
    written("run.jsonl", *(json.dumps(line) for line in lines))
    sandbox = Holding()
    with SandboxServer(sandbox=sandbox) as server:
        process = many_of(server, "--concurrency", "4", "--checkpoint", "cp")
        told = lines_of(process, "stopped")
        sandbox.may_answer.set()
        process.communicate(timeout=240)

    paid = sum("quota" not in str(request.body["prompt"]) for request in sandbox.requests)
    assert "the others would fail alike" in told
    assert process.returncode == 1
    assert len(list(Path("out").glob("*.png"))) == paid >= 3


def test_a_resumed_run_writes_missing_files(capsys: pytest.CaptureFixture[str]) -> None:
    """With a store, each file that is not there is written again, and no other."""
    file = written("run.jsonl", '"A fox"', '{"prompt": "A hen", "n": 2}', '"A cow"')
    command = ["many", file, "-o", "out", "--store", "s", "--checkpoint", "cp", *FAST]
    main(command)
    before = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    Path("out/000002-a-hen-2.png").unlink()
    Path("out/000003-a-cow.png").write_bytes(b"")  # reserved by a process that was killed
    capsys.readouterr()

    codes = [main(command), main(command)]

    assert codes == [0, 0]
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == before
    assert "000002-a-hen-2.png" in capsys.readouterr().out


def test_files_of_others_are_left_alone() -> None:
    """A resumed run does not take a file of the same name for its own."""
    file = written("run.jsonl", '"A fox"')
    command = ["many", file, "-o", "out", "--store", "s", "--checkpoint", "cp", *FAST]
    Path("out").mkdir()
    Path("out/000001-a-fox.png").write_bytes(b"mine")
    main(command)
    second = Path("out/000001-a-fox-2.png")
    drawn = second.read_bytes()
    second.unlink()
    main(command)

    assert Path("out/000001-a-fox.png").read_bytes() == b"mine"
    assert second.read_bytes() == drawn


def test_images_removed_from_the_store(capsys: pytest.CaptureFixture[str]) -> None:
    """What was pruned since is no error while its file is there, and else is told."""
    file = written("run.jsonl", '"A fox"', '"A hen"')
    command = ["many", file, "-o", "out", "--store", "s", "--checkpoint", "cp", *FAST]
    main(command)
    shutil.rmtree("s")
    Path("out/000002-a-hen.png").unlink()
    capsys.readouterr()

    code = main(command)

    assert code == 1
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gptimage: ")]
    assert [line.split()[1] for line in told] == ["2:"]


def test_a_run_that_goes_on_reads_no_image_of_its_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are there are compared with the record; a missing one is read and written."""
    written("run.jsonl", *(json.dumps(fox) for fox in FOXES[:3]))
    command = ["many", "run.jsonl", "-o", "out", "--store", "images", "--checkpoint", "cp"]
    command += ["--sandbox", "--size", "1024x640", "--quality", "low"]
    assert main(command) == 0
    files = sorted(Path("out").glob("*.png"))
    before = {path: path.read_bytes() for path in files}
    opened: list[str] = []
    real = Store.open

    def note(self: Store, id: str) -> Image:
        opened.append(id)
        return real(self, id)

    monkeypatch.setattr(Store, "open", note)
    assert main(command) == 0
    assert opened == []

    files[1].unlink()
    assert main(command) == 0
    assert len(opened) == 1
    assert {path: path.read_bytes() for path in sorted(Path("out").glob("*.png"))} == before
