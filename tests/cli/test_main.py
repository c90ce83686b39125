"""The command line: files appear, errors are one line, exit codes mean what is documented."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import attrs
import pytest

import gptimage
from gptimage import Image
from gptimage.cli.demo import STEPS
from gptimage.cli.generate import image_args
from gptimage.cli.main import exit_code, main
from gptimage.cli.options import options_from_args
from gptimage.cli.output import Target, save, target
from gptimage.cli.parser import build_parser, command_table
from gptimage.sandbox import Sandbox, SandboxServer
from tests.processes import start_python


FAST = ("--quality", "low", "--size", "1024x1024")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A service over HTTP, and the settings that lead there: the way of a user with a key."""
    sandbox = Sandbox()
    with SandboxServer(sandbox=sandbox) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        yield sandbox


def script(*words: str) -> list[str]:
    """The command line of a process of its own."""
    return [sys.executable, "-m", "gptimage", *words]


# ------------------------------------------------------------------ generate


def test_generate_writes_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    """One image goes exactly where it was asked to, with exactly the pixels asked for."""
    code = main(["generate", "A red fox", "--sandbox", "--size", "1200x630", "-o", "out/fox.png"])

    image = Image.from_path("out/fox.png")
    assert (code, image.size, image.format) == (0, (1200, 630), "png")
    assert "out/fox.png  1200x630 png" in capsys.readouterr().out


def test_several_pictures_are_numbered() -> None:
    """Two images become fox-1 and fox-2."""
    assert main(["generate", "A red fox", "--sandbox", *FAST, "-n", "2", "-o", "fox.png"]) == 0

    assert sorted(path.name for path in Path().iterdir()) == ["fox-1.png", "fox-2.png"]


@pytest.mark.parametrize("output", [None, "pictures/", "pictures"])
def test_a_folder_gets_a_name_from_the_prompt(output: str | None) -> None:
    """Without a file name the prompt's words name the file."""
    words = ["generate", "A red fox, in snow!", "--sandbox", *FAST]

    assert main(words if output is None else [*words, "-o", output]) == 0
    assert Path(output or ".", "a-red-fox-in-snow.png").is_file()


def test_existing_files_are_kept() -> None:
    """A second call writes beside the first one's file, unless told to replace it."""
    words = ["generate", "A red fox", "--sandbox", *FAST, "-o", "fox.png"]
    Path("fox.png").write_bytes(b"precious")

    assert main(words) == 0
    assert Path("fox.png").read_bytes() == b"precious"
    assert Image.from_path("fox-2.png").size == (1024, 1024)
    assert main([*words, "--overwrite"]) == 0
    assert Image.from_path("fox.png").size == (1024, 1024)


def test_file_name_asks_for_its_format() -> None:
    """``-o fox.webp`` asks the service for webp."""
    assert main(["generate", "A red fox", "--sandbox", *FAST, "-o", "fox.webp"]) == 0

    assert Image.from_path("fox.webp").format == "webp"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["-o", "fox.tiff"], ".tiff"),
        (["-o", "fox.png", "--format", "webp"], "--format"),
        (["-o", "a-file/fox.png"], "nothing was sent"),
        (["--extra-body", "[1]"], "JSON object"),
        (["--extra-body", "{"], "JSON object"),
        (["--quality", "splendid"], "quality"),
        (["-n", "11"], "n=11"),
    ],
)
def test_bad_input_is_refused_before_sending(
    words: list[str], named: str, service: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot work ends with 2, one line that names it, and no request."""
    Path("a-file").touch()

    code = main(["generate", "A red fox", *words])

    error = capsys.readouterr().err
    assert (code, len(service.requests)) == (2, 0)
    assert named in error
    assert error.count("\n") == 1


def test_prompt_from_standard_input(monkeypatch: pytest.MonkeyPatch, service: Sandbox) -> None:
    """``-`` reads the prompt from a pipe."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("A red fox\n"))

    assert main(["generate", "-", *FAST]) == 0
    assert service.requests[-1].body["prompt"] == "A red fox"


def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    """Machines get files, sizes, cost, usage, warnings and the request id, and nothing else."""
    main(["generate", "A red fox", "--sandbox", "--quality", "low", "--size", "1200x630", "--json"])

    document = json.loads(capsys.readouterr().out)
    (file,) = document["files"]
    path = Path(file.pop("path"))
    assert file == {
        "kind": "image",
        "format": "png",
        "width": 1200,
        "height": 630,
        "bytes": path.stat().st_size,
    }
    assert Decimal(document["cost_usd"]) > 0
    assert document["usage"]["total_tokens"] > 0
    assert any("1200x630" in warning for warning in document["warnings"])
    assert document["request_id"].startswith("req_")
    assert document["cached"] is False


def test_partial_images_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    """Streaming writes each preview and the final image."""
    words = ["generate", "A red fox", "--sandbox", *FAST, "--partial-images", "2", "-o", "fox.png"]

    assert main(words) == 0
    names = ["fox-partial-1.png", "fox-partial-2.png", "fox.png"]
    assert sorted(path.name for path in Path().iterdir()) == names
    assert capsys.readouterr().out.count("preview") == 2


def test_previews_of_a_broken_stream_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """When a stream fails half-way, what arrived is on disk and the user is told where."""
    words = ["generate", "A fox [sandbox:cut]", "--sandbox", *FAST, "--partial-images", "2"]

    assert main([*words, "-o", "fox.png"]) == 4
    assert Image.from_path("fox-partial-1.png").size == (1024, 1024)
    assert "fox-partial-1.png" in capsys.readouterr().err


def test_original_is_kept_on_request() -> None:
    """``--keep-original`` writes the whole image beside the cropped one."""
    words = ["generate", "A red fox", "--sandbox", "--quality", "low", "--size", "1200x630"]

    assert main([*words, "-o", "fox.png", "--keep-original"]) == 0
    width, height = Image.from_path("fox-original.png").size or (0, 0)
    assert Image.from_path("fox.png").size == (1200, 630)
    assert width * height > 1200 * 630


# ---------------------------------------------------------------------- edit


def test_edit_changes_only_the_box() -> None:
    """A box given in pixels is the only place that changes."""
    main(["generate", "A lighthouse", "--sandbox", *FAST, "-o", "before.png"])

    words = ["edit", "A red fox", "--sandbox", *FAST, "-i", "before.png", "-o", "after.png"]
    assert main([*words, "--mask-box", "100,100,500,500"]) == 0

    before, after = (
        Image.from_path(name).to_pil().convert("RGB") for name in ("before.png", "after.png")
    )
    assert (
        before.crop((520, 520, 1000, 1000)).tobytes()
        == after.crop((520, 520, 1000, 1000)).tobytes()
    )  # type: ignore[attr-defined]  # PIL's own method
    assert before.crop((100, 100, 500, 500)).tobytes() != after.crop((100, 100, 500, 500)).tobytes()  # type: ignore[attr-defined]  # PIL's own method


@pytest.mark.parametrize(
    "words",
    [
        ["--mask-box", "1,2,3"],
        ["--mask-box", "a,b,c,d"],
        ["--mask-box", "1,2,3,4", "--mask", "mask.png"],
        ["-i", "missing.png"],
    ],
)
def test_bad_pictures_end_with_2(words: list[str]) -> None:
    """A missing image or a box that is none is bad input."""
    main(["generate", "A lighthouse", "--sandbox", *FAST, "-o", "before.png"])

    assert main(["edit", "A fox", "--sandbox", "-i", "before.png", *words]) == 2


# ---------------------------------------------------------------- parameters


def test_every_parameter_has_an_option() -> None:
    """What the library takes, the command line takes under the same name."""
    parser = build_parser()
    words = ["edit", "p", "-i", "a.png", "-i", "b.png", "--mask", "m.png", "--markup", "k.png"]
    words += ["--input-fidelity", "high", "-n", "1", "--partial-images", "1", "--extra-body", "{}"]
    words += ["--outside", "keep"]
    words += ["--svg-model", "x", "--svg-effort", "low", "--compression", "5"]
    words += ["--frame-count", "3", "--frame-duration-ms", "200"]
    for name in ("model", "size", "quality", "background", "format", "moderation", "complexity"):
        words += [f"--{name}", "x"]
    args = parser.parse_args([*words, "--safety-identifier", "x"])

    given = {**options_from_args(args), **image_args(args)}
    assert given.keys() == {*gptimage.EditOptions.__annotations__, "images"}
    assert given["svg"] == {"model": "x", "reasoning": {"effort": "low"}}


def test_options_not_given_are_not_sent(service: Sandbox) -> None:
    """The service's own defaults apply to whatever was left out."""
    assert main(["generate", "A red fox"]) == 0

    assert service.requests[-1].body.keys() == {"model", "prompt"}


def test_options_reach_the_wire(service: Sandbox) -> None:
    """A given option arrives under the service's name."""
    words = ["--format", "webp", "--compression", "60", "--moderation", "low", *FAST]

    assert main(["generate", "A red fox", *words]) == 0
    body = service.requests[-1].body
    names = ("output_format", "output_compression", "moderation", "quality", "size")
    assert [body[name] for name in names] == ["webp", 60, "low", "low", "1024x1024"]


# -------------------------------------------------------------------- errors


def test_no_key(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a key the two ways on are named."""
    assert main(["generate", "A red fox"]) == 3

    error = capsys.readouterr().err
    assert "OPENAI_API_KEY" in error
    assert "--sandbox" in error


@pytest.mark.parametrize(
    ("scenario", "code"),
    [("moderation", 1), ("quota", 1), ("server", 1), ("html", 4), ("empty", 4), ("cut", 4)],
)
def test_failures_of_the_service(
    scenario: str, code: int, service: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each failure ends with its exit code and no traceback, also as JSON."""
    service.fail_next(scenario, times=5)

    assert main(["generate", "A red fox", "--json"]) == code
    printed = capsys.readouterr()
    assert json.loads(printed.out)["error"]["exit_code"] == code
    assert "gptimage: " in printed.err
    assert "Traceback" not in printed.err


def test_unreadable_reply_is_kept(service: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """A paid answer nobody can read is written to a file for those who can."""
    service.fail_next("html")

    assert main(["generate", "A red fox"]) == 4
    (line,) = [each for each in capsys.readouterr().err.splitlines() if "reply as it" in each]
    assert b"<" in Path(line.rpartition(" ")[2]).read_bytes()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (gptimage.ConfigurationError("x"), 3),
        (gptimage.InvalidRequestError("x", field="n"), 2),
        (
            gptimage.ModelRetiredError(
                "x", model="m", shutdown_date=date(2026, 1, 1), replacements=()
            ),
            2,
        ),
        (gptimage.ImageDecodeError("x"), 2),
        (gptimage.FetchError("x", url="u"), 2),
        (gptimage.TemplateError("x"), 2),
        (FileNotFoundError("x"), 2),
        (gptimage.TransportError("x"), 1),
        (gptimage.AuthenticationError("x", status=401), 1),
        (gptimage.BudgetExceededError("x", estimate=None, limit=Decimal(1), spent=Decimal(0)), 1),
        (gptimage.StoreError("x"), 1),
        (gptimage.OutcomeUnknownError("x"), 4),
        (gptimage.MalformedReplyError("x"), 4),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exit_codes(error: Exception, code: int) -> None:
    """The documented meaning of each exit code."""
    assert exit_code(error) == code


def test_paid_picture_finds_another_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """When the folder fails after the call, the image goes elsewhere and that is said."""
    Path("gone").touch()
    with gptimage.ImageClient.sandbox() as client:
        image = client.generate("A red fox", size="1024x1024", quality="low").image

    (path,) = save([image], Target(folder=tmp_path / "gone", stem="fox"))

    assert path.read_bytes() == image.data
    assert str(path) in capsys.readouterr().err


def test_broken_pipe_is_quiet() -> None:
    """A reader that leaves early gets no traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(script("models"), stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)

    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to a child")
def test_interrupt_says_what_it_may_have_cost(service: Sandbox) -> None:
    """Ctrl-C during a call ends with 130 and a word about the bill."""
    service.latency = 30
    with start_python(
        ["-m", "gptimage", "generate", "A red fox"], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        while not service.requests and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()

    assert first.startswith("drawing")
    assert process.returncode == 130
    assert "may still be billed" in rest


# ------------------------------------------------------------ other commands


def test_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    """An estimate is printed without a key and without a call."""
    assert main(["estimate", "A red fox", *FAST]) == 0
    assert "about $0.00" in capsys.readouterr().out

    assert main(["estimate", "A red fox", *FAST, "--json"]) == 0
    assert 0 < Decimal(json.loads(capsys.readouterr().out)["estimate_usd"]) < Decimal("0.01")


def test_estimate_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    """Where no estimate is honest, none is made up."""
    assert main(["estimate", "A red fox", "--json"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert (told["estimate_usd"], told["max_cost_usd"]) == (None, "0.711615")
    assert main(["estimate", "A red fox"]) == 0
    assert "name --size and --quality; at most $0.7116" in capsys.readouterr().out


def test_models(capsys: pytest.CaptureFixture[str]) -> None:
    """The catalogue names the default and hides what is shut down, unless asked."""
    assert main(["models", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert main(["models", "--all"]) == 0
    everything = capsys.readouterr().out

    assert shown["default"] in {each["id"] for each in shown["models"]}
    assert "shut_down" not in {each["state"] for each in shown["models"]}
    assert all(spec.id in everything for spec in gptimage.Models.load())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """``--version`` prints the version."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])

    assert (ended.value.code, capsys.readouterr().out) == (0, f"gptimage {gptimage.__version__}\n")


@pytest.mark.parametrize(
    "example",
    [
        line.strip()
        for each in command_table()["commands"].values()
        for line in each.get("examples", "").splitlines()
    ],
)
def test_the_examples_of_the_help_are_taken(example: str) -> None:
    """Each is one that the command itself parses, without a word left over."""
    program, *words = shlex.split(example)
    args, unknown = build_parser(words).parse_known_args(words)

    assert (program, unknown) == ("gptimage", [])
    assert callable(args.func)


def test_unknown_command_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong word is a usage error."""
    with pytest.raises(SystemExit) as ended:
        main(["paint"])

    assert ended.value.code == 2
    assert "paint" in capsys.readouterr().err


def test_a_sandbox_of_an_unknown_provider_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The error lists the providers there are; nothing is served."""
    assert main(["sandbox", "--provider", "bedrock"]) == 2
    assert "azure, gemini, openrouter, together, xai" in capsys.readouterr().err


def test_a_provider_of_tiers_draws_and_lists_its_prices(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Gemini's file has the format its name says, and `models` the price of each tier."""
    words = ["generate", "A fox", "--sandbox", "--provider", "gemini", "-o", "fox.png"]

    assert main(words) == 0
    assert Image.from_path("fox.png").format == "png"
    assert main(["models", "--provider", "gemini"]) == 0
    assert "1K $0.134 2K $0.134 4K $0.240" in capsys.readouterr().out


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to a child")
def test_sandbox_serves_until_interrupted() -> None:
    """The sandbox names its address, answers there, and ends cleanly on Ctrl-C."""
    with subprocess.Popen(
        script("sandbox", "--port", "0", "--draw", "plain"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().split()[2]
        with gptimage.ImageClient(api_key="sk-any", base_url=base_url) as client:
            image = client.generate("A red fox", size="1024x1024", quality="low").image
        process.send_signal(signal.SIGINT)
        _, error = process.communicate()

    assert image.size == (1024, 1024)
    assert image.nbytes < 20_000  # plain
    assert (process.returncode, "Traceback" in error) == (0, False)


# ---------------------------------------------------------------------- demo


def test_demo_without_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    """One command makes every kind of image, and says that it was free."""
    assert main(["demo"]) == 0

    found = {path.name: Image.from_path(path) for path in Path("gptimage-demo").iterdir()}
    assert found.keys() == {
        "balloon.jpg",
        "coffee-edited.png",
        "coffee.png",
        "contact-sheet.png",
        "fox-partial-1.png",
        "fox-partial-2.png",
        "fox.png",
        "leaf.webp",
        "lighthouse.png",
    }
    assert found["lighthouse.png"].size == (1200, 630)
    printed = capsys.readouterr().out
    assert "nothing is billed" in printed
    assert all(name in printed for name in found)


def test_demo_never_bills_by_surprise(service: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """With a key but nobody to ask, the sandbox is used, and that is said."""
    assert main(["demo"]) == 0

    assert len(service.requests) == 0
    printed = capsys.readouterr().out
    assert "about $" in printed
    assert "sandbox instead" in printed


def test_demo_with_consent_uses_the_service(service: Sandbox) -> None:
    """``--yes`` sends the five calls."""
    assert main(["demo", "--yes"]) == 0

    assert len(service.requests) == 5


@pytest.mark.usefixtures("service")
def test_demo_shows_what_came_before_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failure on the way keeps and lists what was already paid."""
    first, second, *_ = STEPS
    refused = attrs.evolve(second, prompt="A picture [sandbox:moderation]")
    monkeypatch.setattr("gptimage.cli.demo.STEPS", (first, refused))

    assert main(["demo", "--yes"]) == 1
    assert Path("gptimage-demo/lighthouse.png").is_file()
    assert "lighthouse.png" in capsys.readouterr().out


# --------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("output", "folder", "stem"),
    [(None, ".", "a-fox"), ("x/", "x", "a-fox"), ("x/y.png", "x", "y"), ("y.JPG", ".", "y")],
)
def test_target(output: str | None, folder: str, stem: str) -> None:
    """What ``--output`` means."""
    where = target(output, "A fox")

    assert (where.folder, where.stem) == (Path(folder), stem)


def test_ctrl_c_says_where_a_paid_reply_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The note of an interrupted call is shown, and a reply no disk took is tried once more."""

    def interrupted(*_: object, **__: object) -> None:
        error = KeyboardInterrupt()
        error.reply = b"paid"  # type: ignore[attr-defined]  # as the engine does
        error.add_note("its reply could not be written; it is in .reply of this error")
        raise error

    monkeypatch.setattr("gptimage.ImageClient.generate", interrupted)
    code = main(["generate", "A fox", "--sandbox"])
    told = capsys.readouterr().err

    assert code == 130
    assert "its reply could not be written; it is saved in a file" in told
    path = told.rsplit("the reply as it arrived is in ", 1)[1].strip()
    assert Path(path).read_bytes() == b"paid"


@pytest.mark.parametrize(
    ("words", "listed"),
    [([], "look into the cache on disk"), (["cache"], "entries, bytes"), (["batch"], "submit")],
)
def test_who_names_no_command_sees_them_all(
    words: list[str], listed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The help has a line for each, and the last line says what is missing."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    shown = capsys.readouterr().err

    assert ended.value.code == 2
    assert listed in shown
    assert "are required: " in shown.splitlines()[-1]
