"""The command line on poor terminals, full disks and closed pipes: no image is lost."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import gptimage
from gptimage import Image, ImageClient
from gptimage.cli import output
from gptimage.cli.console import NotDeliveredError, Output
from gptimage.cli.main import exit_code, main
from gptimage.cli.output import Target, keep_what_came, save_one, target
from gptimage.cli.parser import build_parser
from gptimage.sandbox import Sandbox, SandboxServer
from tests.processes import run_python


FAST = ("--quality", "low", "--size", "1024x1024")
SNOW = "雪の中の狐"
FULL = Path("/dev/full")
REDUCED = ["-m", "gptimage", "generate", SNOW, *FAST, "--sandbox"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A service over HTTP, and the settings that lead there."""
    sandbox = Sandbox()
    with SandboxServer(sandbox=sandbox) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        yield sandbox


def run(*words: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own."""
    return run_python(["-m", "gptimage", *words], env={**os.environ, **env})


# --------------------------------------------------------------- what is printed


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "cp932", "utf-16"])
def test_no_letter_ends_a_command(encoding: str) -> None:
    """A file named after a Japanese prompt is written and told on every console."""
    done = run("generate", SNOW, *FAST, "--sandbox", PYTHONIOENCODING=encoding)

    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert Path(f"{SNOW}.png").is_file()


def test_a_locale_without_letters_takes_a_plain_name() -> None:
    """Where file names are ASCII alone, the image gets a name that can be written."""
    env = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}

    assert run("generate", f"{SNOW} fox", *FAST, "--sandbox", **env).returncode == 0
    assert [each.name for each in Path().iterdir()] == ["fox.png"]


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_streams_may_be_missing(closed: str) -> None:
    """A job started without standard streams draws all the same."""
    command = f'exec "$0" -m gptimage generate fox --sandbox --quality low -o fox.png {closed}'
    done = subprocess.run(["sh", "-c", command, sys.executable], capture_output=True, check=False)

    assert (done.returncode, Image.from_path("fox.png").format) == (0, "png")


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has a device that is always full")
def test_a_full_disk_behind_standard_output() -> None:
    """The image is written; that its name could not be is told by a code of its own."""
    with FULL.open("wb") as full:
        done = run_python(REDUCED, stdout=full)

    assert (done.returncode, Path(f"{SNOW}.png").is_file()) == (5, True)
    assert b"standard output cannot be written: No space left" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has a device that is always full")
def test_a_full_disk_behind_standard_error() -> None:
    """Messages that cannot be written are no reason to fail."""
    with FULL.open("wb") as full:
        done = run_python(REDUCED, stderr=full)

    assert (done.returncode, b"1024x1024 png" in done.stdout) == (0, True)


# ---------------------------------------------------- the image on standard output


def test_the_end_of_a_stream_writes_nothing() -> None:
    """Python 3.13 prints what closing raises, and ends every stream by closing it."""
    closed = io.TextIOWrapper(io.BytesIO())
    output = Output(closed)
    closed.close()
    output.close()

    with pytest.raises(NotDeliveredError, match="closed"):
        output.flush()


def test_standard_output_takes_the_image() -> None:
    """``-o -`` writes the bytes, and every word goes to standard error."""
    done = run("generate", "A fox", *FAST, "--sandbox", "-o", "-", "--format", "webp")

    image = Image.from_bytes(done.stdout)
    assert (done.returncode, image.format, image.size) == (0, "webp", (1024, 1024))
    assert b"cost $" in done.stderr
    assert list(Path().iterdir()) == []


def test_a_turn_on_standard_output() -> None:
    """``refine`` does the same, with one turn."""
    done = run("refine", "A fox", *FAST, "--sandbox", "-o", "-")

    assert (done.returncode, Image.from_bytes(done.stdout).format) == (0, "png")
    assert b"--resume" in done.stderr


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["generate", "A fox", "-o", "-", "-n", "2"], "-n"),
        (["generate", "A fox", "-o", "-", "--json"], "--json"),
        (["generate", "A fox", "-o", "-", "--keep-original"], "--keep-original"),
        (["generate", "A fox", "-o", "-", "--partial-images", "1"], "--partial-images"),
        (["refine", "A fox", "A hare", "-o", "-"], "PROMPT"),
        (["refine", "A fox", "-o", "-", "--max-images", "2"], "--max-images"),
        (["generate", "A fox", "-o", "-"], "redirect it"),
    ],
)
def test_what_standard_output_cannot_take_is_refused(
    words: list[str],
    named: str,
    service: Sandbox,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two images, JSON beside the image, or a terminal: refused before anything is sent."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    assert (main(words), len(service.requests)) == (2, 0)
    assert named in capsys.readouterr().err


def test_several_images_need_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    """``many -o -`` is refused instead of making a folder called ``-``."""
    Path("run.jsonl").write_text('"A fox"\n', encoding="utf-8")

    assert main(["many", "run.jsonl", "--sandbox", "-o", "-"]) == 2
    assert main(["demo", "--sandbox", "-o", "-"]) == 2
    assert capsys.readouterr().err.count("name a folder") == 2
    assert not Path("-").exists()


def test_an_image_nobody_reads_is_kept() -> None:
    """When the reader of the pipe is gone, the image is in a file, and its place is said."""
    reading, writing = os.pipe()
    os.close(reading)
    done = run_python([*REDUCED, "-o", "-"], stdout=writing)
    os.close(writing)

    assert (done.returncode, Image.from_path(f"{SNOW}.png").format) == (5, "png")
    assert f"it is paid, and in {Path.cwd()}".encode() in done.stderr
    assert b"Traceback" not in done.stderr


# ------------------------------------------------------- where it cannot be written


def test_a_name_too_long_is_found_before_paying(
    service: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name no disk takes is refused while it costs nothing."""
    assert main(["generate", "A fox", "-o", f"{'x' * 250}.png"]) == 2

    assert len(service.requests) == 0
    assert "File name too long; nothing was sent" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("prompt", "stem"),
    [("CON", "con-"), ("com¹", "com¹-"), ("Aux", "aux-"), ("Convex", "convex"), ("", "image")],
)
def test_names_of_devices_are_no_file_names(prompt: str, stem: str) -> None:
    """A prompt such as "con" would be written to the console of Windows."""
    assert target(None, prompt).stem == stem


def test_an_image_finds_a_name_that_works(capsys: pytest.CaptureFixture[str]) -> None:
    """An image whose name fails after it was paid is written under a plain one."""
    with ImageClient.sandbox() as client:
        image = client.generate("A fox", size="1024x1024", quality="low").image

    path = save_one(image, Target(folder=Path("out"), stem="a"), "x" * 300)
    assert (path, Image.from_path(path).sha256) == (Path.cwd() / "image.png", image.sha256)
    assert str(path) in capsys.readouterr().err


def test_an_image_no_place_takes_is_not_called_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """When every disk is full, the exit code does not say that nothing was paid."""

    def full(*_: Any, **__: Any) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(output, "_save", full)

    assert main(["generate", "A fox", "--sandbox", *FAST]) == 5


def test_an_interrupt_waits_for_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while paid images are written ends the command when all are on disk."""
    saved = output._save

    def pressed(*args: Any, **options: Any) -> Path:
        signal.raise_signal(signal.SIGINT)
        return saved(*args, **options)

    monkeypatch.setattr(output, "_save", pressed)

    assert main(["generate", "A fox", "--sandbox", *FAST, "-n", "2"]) == 130
    assert sorted(each.name for each in Path().iterdir()) == ["a-fox-1.png", "a-fox-2.png"]


def test_images_of_a_store_that_failed_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    """The error of a store carries the paid images, and the command line writes them."""
    with ImageClient.sandbox() as client:
        result = client.generate("A fox", size="1024x1024", quality="low")

    keep_what_came(gptimage.StoreError("the disk is full", result=result))
    assert Image.from_path("a-fox.png").sha256 == result.image.sha256
    assert "paid, and in" in capsys.readouterr().err
    assert exit_code(gptimage.StoreError("x", result=result)) == 5


# -------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["generate", "A fox", "--size", ""], "--size is empty"),
        (["generate", "A fox", "--quality="], "--quality is empty"),
        (["generate", "A fox", "-o", ""], "--output is empty"),
        (["generate", ""], "PROMPT is empty"),
        (["edit", "A fox", "-i", "a.png", "-i", ""], "--image is empty"),
        (["edit", "A fox", "-i", "a.png", "--mask", ""], "--mask is empty"),
        (["refine", "A fox", ""], "PROMPTS is empty"),
        (["search", "--tag", "", "fox"], "--tag is empty"),
        (["history", "--store", ""], "--store is empty"),
        (["many", "x.jsonl", "--checkpoint", ""], "--checkpoint is empty"),
    ],
)
def test_an_empty_argument_is_refused_by_name(
    words: list[str], named: str, service: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """A variable of a script that is not set is no default, and no other meaning either."""
    assert (main(words), len(service.requests)) == (2, 0)
    assert named in capsys.readouterr().err


@pytest.mark.parametrize("data", ["\ufeffA fox".encode(), "A fox".encode("utf-16"), b"A fox\r\n"])
def test_a_prompt_of_a_pipe_has_no_byte_order_mark(data: bytes) -> None:
    """What a pipe of Windows puts in front is no part of the prompt."""
    command = ["-m", "gptimage", "generate", "-", "--sandbox", *FAST]

    assert run_python(command, input=data).returncode == 0
    assert [each.name for each in Path().iterdir()] == ["a-fox.png"]


def test_a_prompt_that_is_no_text_is_refused() -> None:
    """Bytes in no known encoding are refused before anything is sent."""
    done = run_python(["-m", "gptimage", "generate", "-", "--sandbox"], input=b"Gr\xfcn")

    assert (done.returncode, b"is not UTF-8 text; nothing was sent" in done.stderr) == (2, True)


@pytest.mark.parametrize("prompt", [b"fox \xf0\x9f", "fox \ud83d".encode("utf-8", "surrogatepass")])
def test_half_an_emoji_is_refused(prompt: bytes) -> None:
    """Half a letter, as programs that cut text leave it, is refused by name."""
    done = run_python(["-m", "gptimage", "generate", prompt, "--sandbox"])

    assert (done.returncode, b"Traceback" in done.stderr) == (2, False)
    assert b"prompt" in done.stderr


@pytest.mark.parametrize("words", [["--port", "99999"], ["--latency", "nan"], ["--draw", "x"]])
def test_numbers_of_the_sandbox_are_checked(words: list[str]) -> None:
    """A port or a wait that cannot be is refused by name."""
    with pytest.raises(SystemExit) as ended:
        main(["sandbox", *words])

    assert ended.value.code == 2


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 70, "fox..com", "256.0.0.1"])
def test_an_address_of_the_sandbox_that_is_none(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be listened on is a sentence that names it."""
    assert main(["sandbox", "--host", host, "--port", "0"]) == 2
    assert f"cannot listen on {host}" in capsys.readouterr().err


# ------------------------------------------------------------- errors of all kinds


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_what_no_place_takes_is_said(tmp_path: Path) -> None:
    """Where neither the store nor any disk takes a paid image, a line says so."""
    program = (
        "import resource, sys; from gptimage.cli.main import main; "
        "draw = ['generate', 'x', '--size', '1024x1024', '--store', 'store']; "
        "main([*draw, '--quality', 'low']); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)); "
        "sys.exit(main(draw))"
    )
    ended = run_python(
        ["-c", program],
        text=True,
        cwd=tmp_path,
        env={**os.environ, "GPTIMAGE_SANDBOX": "1", "HOME": str(tmp_path)},
    )

    assert ended.returncode == 5
    assert "no place on this machine takes it" in ended.stderr


def every_error() -> Iterator[BaseException]:
    """One of every class that a command may meet."""
    special: dict[type, Any] = {
        gptimage.InvalidRequestError: {"field": "n"},
        gptimage.ModelRetiredError: {
            "model": "m",
            "shutdown_date": date(2026, 1, 1),
            "replacements": (),
        },
        gptimage.FetchError: {"url": "u"},
        gptimage.BudgetExceededError: {
            "estimate": None,
            "limit": Decimal(1),
            "spent": Decimal(0),
        },
        gptimage.MalformedReplyError: {"reply": b"<html>"},
    }
    kinds = [
        each
        for name in vars(gptimage)["__all__"]
        if isinstance(each := getattr(gptimage, name), type)
    ]
    for kind in kinds:
        if issubclass(kind, gptimage.GptImageError):
            more = {"status": 400} if issubclass(kind, gptimage.ApiError) else {}
            yield kind("a reason: 雪 \ud83d", **special.get(kind, more))
    yield from (OSError(28, "No space left on device", "a-file"), OSError("a reason"))
    yield from (PermissionError(13, "Permission denied", "a-file"), IsADirectoryError("a-file"))
    yield from (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), UnicodeError())
    yield UnicodeEncodeError("ascii", "雪", 0, 1, "ordinal not in range")
    yield from (KeyboardInterrupt(), BrokenPipeError(32, "Broken pipe"), ValueError("x"))


def every_command() -> Iterator[list[str]]:
    """The words of every sub-command, with the least arguments each takes."""
    needed = {
        "edit": ["p", "-i", "a"],
        "spend": ["--ledger", "x"],
        "tag": ["img_x", "t"],
        "completion": ["bash"],
        "diff": ["a", "b"],
        "check": ["a", "--check", "transparent"],
        "web": ["a", "-o", "b"],
    }
    actions = {
        "batch": ["submit x", "status x", "wait x", "results x", "cancel x"],
        "cache": ["stats", "clear"],
        "images": ["sync"],
        "jobs": ["list", "show x", "retry x", "discard x"],
        "templates": ["list", "show x", "render x", "new x", "gallery"],
    }
    actions["store"] = [f"{name} {' '.join(needed.get(name, []))}" for name in ("tag", "stats")]
    one = (
        "variations",
        "generate",
        "alt",
        "compare",
        "refine",
        "estimate",
        "many",
        "search",
        "show",
        "open",
        "pin",
        "export",
        "inspect",
    )
    # argparse offers no other way to its sub-commands.
    (choices,) = [each.choices for each in build_parser()._actions if each.choices]
    for name in choices:
        for action in actions.get(name, [""]):
            yield [name, *action.split(), *needed.get(name, ["x"] if name in one else [])]


@pytest.mark.parametrize("words", list(every_command()), ids=" ".join)
def test_every_error_of_every_command_is_a_sentence(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No class of error ends a command with a traceback, also on a console of ASCII."""
    args = build_parser().parse_args(words)
    for error in every_error():
        console = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        monkeypatch.setattr("gptimage.cli.parser.build_parser", lambda _, e=error: Parsed(args, e))
        monkeypatch.setattr(sys, "stderr", console)

        assert main(words) == (141 if isinstance(error, BrokenPipeError) else exit_code(error))
        console.seek(0)
        printed = console.read()
        assert "Traceback" not in printed
        assert bool(printed) == (not isinstance(error, BrokenPipeError))


class Parsed:
    """A parser that has read a command whose work fails."""

    def __init__(self, args: Any, error: BaseException) -> None:
        self.args, self.error = args, error

    def parse_known_args(self, _: Any) -> Any:
        """Return the arguments, with work that fails."""

        def fail(_: Any) -> int:
            raise self.error

        self.args.func = fail
        return self.args, []


def test_exit_codes_are_documented() -> None:
    """Every exit code is in the help and on the page of the command line."""
    page = Path(__file__).parents[2].joinpath("docs", "cli.md").read_text(encoding="utf-8")
    help_text = build_parser().format_help()

    for code in {*map(exit_code, every_error()), 5}:
        assert f"| {code} |" in page
        assert f"{code} " in help_text


def test_an_error_nobody_foresaw_can_be_seen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of the program itself says so, and shows its place when asked."""

    def broken(*_: Any) -> Any:
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr("gptimage.cli.info.run_models", broken)
    assert main(["models", "--json"]) == 70
    told = capsys.readouterr()
    assert json.loads(told.out)["error"]["exit_code"] == 70
    assert ("Traceback" in told.err, "may have been billed" in told.err) == (False, True)
    monkeypatch.setenv("GPTIMAGE_TRACEBACK", "1")
    main(["models"])
    assert "Traceback" in capsys.readouterr().err
