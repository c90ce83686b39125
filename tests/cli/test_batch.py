"""``gptimage batch`` as a user types it, against a running sandbox."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gptimage.cli.main import main
from gptimage.errors import StoreError
from gptimage.sandbox import Sandbox, SandboxServer
from gptimage.store import Store
from gptimage.transport.http import HttpReply
from tests.batch.helpers import CHEAP, fox, made


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sandbox]:
    """A running service, and a folder to work in."""
    with SandboxServer(sandbox=Sandbox()) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
        monkeypatch.setenv("GPTIMAGE_STORE", str(tmp_path / "pictures"))
        monkeypatch.chdir(tmp_path)
        yield server.sandbox


def write(*requests: object) -> str:
    """A file of requests."""
    Path("in.jsonl").write_text("".join(json.dumps(each) + "\n" for each in requests))
    return "in.jsonl"


def run(*arguments: str) -> int:
    """Run ``gptimage batch``."""
    return main(["batch", *arguments])


def told(capsys: pytest.CaptureFixture[str]) -> list[Any]:
    """What was printed, as JSON."""
    return [json.loads(text) for text in capsys.readouterr().out.splitlines()]


def test_the_whole_way(sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """Submit, look, wait, save and cancel, each in a process of its own if need be."""
    refused = {**fox(1), "prompt": "[sandbox:moderation] x"}
    sandbox.batches.lines_per_look = 2
    file = write({**fox(0), "tags": ["og"]}, {"prompt": "A fox", **CHEAP}, refused)
    assert run("submit", file) == 0
    assert "go on with gptimage batch wait batch.json" in capsys.readouterr().out
    assert run("status", "batch.json") == 0
    assert capsys.readouterr().out == "in_progress: 0 of 3 done\n"
    assert run("results", "batch.json") == 2
    assert "wait for it first" in capsys.readouterr().err
    assert run("wait", "batch.json", "--poll", "0") == 0
    end = "completed: 3 of 3 done (1 failed)\n"
    assert capsys.readouterr() == (end, f"batch {end}")
    assert run("results", "batch.json") == 1
    said = capsys.readouterr()
    names = [text.partition(": ") for text in said.out.splitlines()]
    assert [name for name, _, _ in names] == ["1", "2"]
    assert all(Path(path).is_file() for _, _, path in names)
    assert said.err.startswith("gptimage: 3: Your request was rejected")
    assert run("cancel", "batch.json") == 0
    assert len(made(sandbox)) == 1


def test_json(sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """Every action speaks JSON, one object a line."""
    run("submit", write(fox(0)), "--json")
    run("status", "batch.json", "--json")
    run("wait", "batch.json", "--poll", "0", "--json")
    run("results", "batch.json", "--json")
    submitted, looked, waited, result = told(capsys)

    assert submitted["state"] == "batch.json"
    assert submitted["estimate_usd"] > "0"
    assert looked["ids"] == submitted["ids"]
    assert (waited["ended"], waited["completed"], waited["problems"]) == (True, 1, [])
    assert (result["index"], len(result["ids"])) == (0, 1)
    assert Decimal(result["cost_usd"]) > 0
    assert made(sandbox)


def test_requests_from_csv_and_from_standard_input(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table works as well as JSON lines, and so does a pipe."""
    Path("in.csv").write_text("prompt,size,quality,tags\nA fox,1024x640,low,red;og\nA cat,,low,\n")
    text = (json.dumps(fox(3)) + "\n").encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert run("submit", "in.csv", "--state", "csv.json") == 0
    assert run("submit", "-", "--state", "pipe.json") == 0

    kept = Path("csv.json.requests.jsonl").read_text().splitlines()
    assert [json.loads(each)["body"]["prompt"] for each in kept] == ["A fox", "A cat"]
    assert json.loads(kept[0])["tags"] == ["og", "red"]
    assert "Fox 3" in Path("pipe.json.requests.jsonl").read_text()
    assert len(made(sandbox)) == 2
    assert capsys.readouterr().err == ""


def test_the_same_again_submits_nothing(sandbox: Sandbox) -> None:
    """The same command goes on; other requests need another file."""
    assert run("submit", write(fox(0))) == 0
    assert run("submit", write(fox(0))) == 0
    assert run("submit", write(fox(1))) == 2
    assert len(made(sandbox)) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["status", "nowhere.json"], 2, "there is no state file"),
        (["status", "in.jsonl"], 2, "is no state file of a batch"),
        (["status", "batch_nope"], 1, "knows no batch batch_nope"),
        (["submit", "nowhere.jsonl"], 2, "nowhere.jsonl"),
        (["submit", "wrong.jsonl"], 2, "wrong.jsonl, line 2: it has no prompt; nothing was sent"),
        (["submit", "in.jsonl", "--sandbox"], 3, "run `gptimage sandbox` in another terminal"),
    ],
)
def test_mistakes_are_said(
    sandbox: Sandbox,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    """Each mistake has its exit code and a sentence, and nothing is submitted."""
    write(fox(0))
    Path("wrong.jsonl").write_text('"A fox"\n{"size": "16:9"}\n')

    assert run(*arguments) == code
    assert words in capsys.readouterr().err
    assert made(sandbox) == []


def test_a_wait_has_an_end(sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """A wait that takes too long says that the batch goes on."""
    sandbox.batches.lines_per_look = 0
    run("submit", write(fox(0)))

    assert run("wait", "batch.json", "--poll", "0.01", "--timeout", "0.05") == 1
    assert "it goes on at the service" in capsys.readouterr().err


def test_what_is_in_no_store_is_in_a_file(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A paid image the store does not take is written to the folder, and said."""
    run("submit", write({"prompt": "A fox", **CHEAP}))
    run("wait", "batch.json", "--poll", "0")

    def full(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(Store, "save", full)
    assert run("results", "batch.json") == 1
    assert "1: not in the store, but in" in capsys.readouterr().err
    assert [path.suffix for path in Path().glob("batch-1*")] == [".png"]
    assert made(sandbox)


def test_an_answer_nobody_can_read_is_kept(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line of results that makes no sense is written to a file as it is."""
    run("submit", write(fox(0)))
    run("wait", "batch.json", "--poll", "0")
    answer = sandbox.handle

    def spoiled(request: Any) -> Any:
        if request.path.endswith("/content"):
            sandbox.fail_next(HttpReply(status=200, body=b"what is this?\n"))
        return answer(request)

    monkeypatch.setattr(sandbox, "handle", spoiled)
    assert run("results", "batch.json") == 4
    said = capsys.readouterr().err
    path = said.partition("the response as received, in ")[2].partition("\n")[0]
    assert Path(path).read_bytes() == b"what is this?"
    assert "gptimage: 1: the batch's output has no response to this request" in said
