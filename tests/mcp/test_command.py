"""`gptimage-mcp` as a process: protocol on stdout and nothing else, clean ends, clear refusals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml  # moto[server] brings it along

import gptimage
from gptimage.config import variable
from gptimage.sandbox import SandboxServer
from gptimage_mcp.__main__ import build_parser, main
from gptimage_mcp.config.settings import ROWS
from gptimage_mcp.install.clients import CLIENTS
from tests.mcp.harness import Slow
from tests.processes import run_python, start_python


SECRET = "sk-very-secret"
MODULE = (sys.executable, "-m", "gptimage_mcp")
FORK = MODULE[1:]
"""The same as a fork of a process that has imported it; tests of how it starts use the other."""

PATIENCE = 120.0
"""Seconds; only a hanging process takes so long."""

READ_ONLY = Path("/proc" if Path("/proc/self").exists() else "/")
"""A folder nobody can write to, not even root."""


READERS: dict[str, Callable[[str], Any]] = {
    "json": json.loads,
    "toml": tomllib.loads,
    "yaml": yaml.safe_load,
}
"""What reads a client's configuration, by the name of its format."""


class Server:
    """A server of its own process, spoken to in plain JSON lines."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._ids = iter(range(1, 1000))

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a request; notices that come before it are passed over."""
        number = next(self._ids)
        self.send({"id": number, "method": method, "params": params})
        while True:
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
            assert line, "the server ended"
            message = json.loads(line)
            if message.get("id") == number:
                return message["result"]

    def greet(self) -> dict[str, Any]:
        """The handshake every client begins with."""
        me = {"name": "test", "version": "1"}
        answer = self.ask(
            "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=me
        )
        self.send({"method": "notifications/initialized"})
        return answer

    def hang_up(self) -> tuple[str, str, int]:
        """Close its standard input; what it still wrote, and its exit code."""
        out, err = self.process.communicate(timeout=PATIENCE)
        return out, err, self.process.returncode

    def signal(self, number: int) -> tuple[str, str, int]:
        """Send a signal while standard input stays open; the same three."""
        stdin = self.process.stdin
        self.process.send_signal(number)
        self.process.wait(timeout=PATIENCE)
        assert stdin is not None
        assert not stdin.closed
        return self.hang_up()

    def send(self, message: dict[str, Any]) -> None:
        """Write one message."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()


@pytest.fixture
def account(tmp_path: Path) -> dict[str, str]:
    """The environment a client starts a server with: hardly any, and the sandbox."""
    kept = ("PATH", "PYTHONPATH", "SYSTEMROOT", "TMPDIR", "TEMP")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "HOME": str(tmp_path),
        "USERPROFILE": str(tmp_path),
        "GPTIMAGE_SANDBOX": "true",
    }


@contextmanager
def serving(
    environment: dict[str, str], command: Sequence[str] = FORK, folder: Path = READ_ONLY
) -> Iterator[Server]:
    """A server that is running, and is gone afterwards whatever happens."""
    start: Any = start_python if command[0] == FORK[0] else subprocess.Popen
    with start(
        command,
        cwd=folder,
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield Server(process)
        finally:
            process.kill()


def ended(
    environment: dict[str, str], *words: str, command: Sequence[str] = FORK
) -> subprocess.CompletedProcess[str]:
    """A run that ends by itself."""
    options: dict[str, Any] = {
        "cwd": READ_ONLY,
        "env": environment,
        "text": True,
        "input": "",
        "timeout": PATIENCE,
    }
    if command == FORK:
        return run_python([*command, *words], **options)
    return subprocess.run([*command, *words], **options, capture_output=True, check=False)


# ------------------------------------------------------------------ stdio


def test_it_works_in_a_read_only_folder(account: dict[str, str], tmp_path: Path) -> None:
    """Wherever a client starts it, it answers, draws, and saves among the account's pictures."""
    with serving(account, MODULE) as server:
        assert server.greet()["serverInfo"]["name"] == "gptimage"
        tools = {each["name"] for each in server.ask("tools/list")["tools"]}
        drawn = server.ask("tools/call", name="generate_image", arguments={"prompt": "A fox"})
        out, _, code = server.hang_up()

    assert {"generate_image", "get_server_status"} <= tools
    assert not drawn.get("isError")
    assert (out, code) == ("", 0)
    pictures = [*(tmp_path / "Pictures" / "gptimage" / "images").rglob("*.png")]
    assert len(pictures) == 1


NOISY = """
import atexit, logging, sys, warnings
import gptimage
from gptimage_mcp import app
from gptimage_mcp.__main__ import main

def noise(where):
    print("STRAY", where, flush=True)
    sys.stdout.write("STRAY without an end " + where)
    warnings.warn("STRAY warning " + where)
    logging.getLogger("anything").warning("STRAY log %s", where)

def create_app(*args, before=app.create_app, **options):
    noise("while building")
    return before(*args, **options)

app.create_app = create_app  # before the server's module takes it
stats = gptimage.Store.stats
gptimage.Store.stats = lambda self: (noise("while answering"), stats(self))[1]
history = gptimage.Store.history
gptimage.Store.history = lambda *a, **k: (noise("while answering"), history(*a, **k))[1]
atexit.register(noise, "at exit")
sys.exit(main([]))
"""
"""A server whose every part prints, warns and logs."""


def test_stdout_is_the_protocol(account: dict[str, str]) -> None:
    """Whatever prints, warns or logs, a client reads nothing but messages."""
    account |= {"PYTHONWARNINGS": "always", "GPTIMAGE_LOG_LEVEL": "DEBUG"}
    with serving(account, (sys.executable, "-c", NOISY)) as server:
        server.greet()
        server.ask("tools/call", name="list_images", arguments={})
        server.ask("tools/call", name="get_server_status", arguments={})
        out, err, code = server.hang_up()

    assert (out, code) == ("", 0)
    for where in ("while building", "while answering", "at exit"):
        assert f"STRAY {where}" in err
        assert f"STRAY warning {where}" in err


def test_prompts_and_keys_are_not_logged(account: dict[str, str]) -> None:
    """At the most talkative level nothing a person wrote reaches the log of the client."""
    del account["GPTIMAGE_SANDBOX"]  # so that the service's own SDK is in it, which logs, too
    account |= {"GPTIMAGE_LOG_LEVEL": "DEBUG", "OPENAI_API_KEY": SECRET}
    prompt = "A fox named Ambrosius"
    with SandboxServer() as service:
        account["OPENAI_BASE_URL"] = service.base_url
        with serving(account) as server:
            server.greet()
            drawn = server.ask("tools/call", name="generate_image", arguments={"prompt": prompt})
            _, err, _ = server.hang_up()

    assert not drawn.get("isError")
    assert "serving over stdio" in err
    assert re.findall(r"^.* DEBUG (?!gptimage).*$", err, re.MULTILINE) == []
    assert "Ambrosius" not in err
    assert SECRET not in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes without asking them")
def test_a_signal_ends_it(number: int, account: dict[str, str]) -> None:
    """A client that keeps the pipe open and sends a signal does not have to send a worse one."""
    with serving(account) as server:
        server.greet()
        out, err, code = server.signal(number)

    assert (out, code) == ("", 0)
    assert "Traceback" not in err


def test_the_end_of_input_ends_it(account: dict[str, str]) -> None:
    """A client that goes away, even before it said a word, leaves no process behind."""
    for greeted in (False, True):
        with serving(account) as server:
            if greeted:
                server.greet()
            out, err, code = server.hang_up()

        assert (out, code) == ("", 0)
        assert "Traceback" not in err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes without asking them")
@pytest.mark.parametrize("how", ["hang up", "break off", "signal"])
def test_a_client_that_leaves_does_not_lose_its_picture(
    how: str, account: dict[str, str], tmp_path: Path
) -> None:
    """The process ends at once, cleanly; what was sent is saved all the same."""
    service = Slow()
    pictures = tmp_path / "Pictures" / "gptimage" / "images"
    del account["GPTIMAGE_SANDBOX"]
    with SandboxServer(sandbox=service) as door:
        account |= {"OPENAI_API_KEY": SECRET, "OPENAI_BASE_URL": door.base_url}
        with serving(account) as server:
            server.greet()
            server.send(
                {
                    "id": 99,
                    "method": "tools/call",
                    "params": {"name": "generate_image", "arguments": {"prompt": "A fox"}},
                }
            )
            assert service.here.wait(PATIENCE)
            process = server.process
            assert process.stdin is not None
            assert process.stdout is not None
            if how == "signal":
                process.send_signal(signal.SIGTERM)
            else:
                process.stdin.close()
            if how == "break off":
                process.stdout.close()
            code = process.wait(timeout=PATIENCE)
            assert process.stderr is not None
            err = process.stderr.read()
            service.go.set()
            while not [*pictures.rglob("*.json")]:  # its sidecar is written last
                time.sleep(0.05)

    assert (code, "Traceback" in err) == (0, False), err
    assert len([*pictures.rglob("*.png")]) == 1


@pytest.fixture(scope="module")
def greeted() -> dict[tuple[object, ...], str]:
    """What a server says of itself, by its command and its variables."""
    return {}


@pytest.mark.parametrize("client", CLIENTS)
def test_what_install_prints_can_be_started(
    client: str,
    account: dict[str, str],
    greeted: dict[tuple[object, ...], str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The command of every client's configuration starts a server that answers."""
    assert main(["install", client, "--sandbox"]) == 0
    printed = capsys.readouterr().out
    known = CLIENTS[client]
    entry = READERS[known.format](printed)[known.table]["gptimage"]
    command = entry[known.command]  # a list of everything where there are no arguments
    started = tuple(command) if not known.args else (command, *entry[known.args])
    del account["GPTIMAGE_SANDBOX"]
    same = (started, *sorted(entry[known.env].items()))
    if same not in greeted:  # most clients are given the same command
        with serving({**account, **entry[known.env]}, started) as server:
            greeted[same] = server.greet()["instructions"]

    assert "sandbox" in greeted[same].lower()


# ------------------------------------------------------------------ refusals


def test_bad_settings_are_one_text(account: dict[str, str]) -> None:
    """Nothing is started: code 2, every variable named, no traceback, no secret, empty stdout."""
    account |= {
        "GPTIMAGE_WAIT": "soon",
        "GPTIMAGE_STROE": "x",
        "OPENAI_API_KEY": f"'{SECRET}'",
    }

    done = ended(account)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "gptimage-mcp cannot start:",
        "  GPTIMAGE_STROE: there is no such setting; did you mean GPTIMAGE_STORE?",
        "  GPTIMAGE_WAIT: 'soon' is no number of seconds; write it like 50",
        "  OPENAI_API_KEY stands in quotation marks: take them out",
    ]


@pytest.mark.skipif(READ_ONLY.name != "proc", reason="needs a folder even root cannot write to")
def test_an_unwritable_home_is_explained(account: dict[str, str]) -> None:
    """An account that can save nothing is told which two variables help, before it pays."""
    account["HOME"] = "/proc/nobody"

    done = ended(account)

    assert (done.returncode, done.stdout) == (2, "")
    assert re.findall(r"^  (\w+): .*? \(/proc/nobody\); name a", done.stderr, re.MULTILINE) == [
        "GPTIMAGE_STORE",
        "GPTIMAGE_LEDGER",
    ]


def test_a_cache_that_cannot_be_kept_is_only_a_warning(
    account: dict[str, str], tmp_path: Path
) -> None:
    """Without a cache the server works, and its log says what that may cost."""
    (tmp_path / "file").write_text("")
    account["GPTIMAGE_CACHE"] = str(tmp_path / "file" / "cache")

    with serving(account) as server:
        server.greet()
        _, err, code = server.hang_up()

    assert code == 0
    assert "GPTIMAGE_CACHE: responses cannot be saved in" in err


def test_broken_templates_are_a_refusal(account: dict[str, str], tmp_path: Path) -> None:
    """A template that cannot be read is told at the start, with its file."""
    (tmp_path / "card.toml").write_text("name = ")
    account["GPTIMAGE_TEMPLATES"] = str(tmp_path)

    done = ended(account)

    assert (done.returncode, done.stdout) == (2, "")
    assert "card.toml" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_sdk_is_explained(account: dict[str, str]) -> None:
    """Who installed the library without the extra is told what to install."""
    code = (
        "import sys; sys.modules['mcp'] = None; "
        "from gptimage_mcp.__main__ import main; sys.exit(main())"
    )

    done = ended(account, command=(sys.executable, "-c", code))

    assert (done.returncode, done.stdout) == (2, "")
    assert 'pip install "gptimage[mcp]"' in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
@pytest.mark.parametrize("closed", ["<&-", ">&-"])
def test_closed_descriptors_are_explained(closed: str, account: dict[str, str]) -> None:
    """Started by something that is no client, it says what it needs."""
    done = ended(account, command=("sh", "-c", f"{sys.executable} -m gptimage_mcp {closed}"))

    assert (done.returncode, done.stdout) == (2, "")
    assert "an MCP client starts this server" in done.stderr


def test_listening_beyond_this_machine_needs_a_token(account: dict[str, str]) -> None:
    """Over HTTP on all addresses it refuses to be open to everybody."""
    account["GPTIMAGE_HOST"] = "0.0.0.0"

    done = ended(account, "--http")

    assert (done.returncode, done.stdout) == (2, "")
    assert "GPTIMAGE_TOKENS" in done.stderr


# ------------------------------------------------------------------ HTTP


def health(url: str) -> int:
    """The status of a server that says it has started, but may not be listening yet."""
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                return answer.status
        except urllib.error.URLError:
            time.sleep(0.05)
    raise AssertionError("nobody listens")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes without asking them")
def test_http_answers_and_ends(account: dict[str, str]) -> None:
    """`--http` listens, says where in its log, and SIGTERM ends it; stdout stays empty."""
    account |= {"GPTIMAGE_PORT": "0"}
    with serving(account, (*FORK, "--http")) as server:
        assert server.process.stderr is not None
        received = ""
        while "startup complete" not in received:
            line = server.process.stderr.readline()
            assert line, received
            received += line
        (port,) = re.findall(r"listening on http://127\.0\.0\.1:(\d+)/mcp", received)
        assert health(f"http://127.0.0.1:{port}/health") == 200
        out, err, _ = server.signal(signal.SIGTERM)

    assert out == ""
    assert "Traceback" not in err


# ------------------------------------------------------------------ check, version, help


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process, with an account of its own."""
    for name in [*os.environ]:
        if name.startswith(("GPTIMAGE_", "XDG_")):
            monkeypatch.delenv(name)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


def test_check_shows_what_applies(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every setting with its value and where it comes from; secrets are not shown."""
    file = here / "mcp.toml"
    file.write_text("wait = 7\n", encoding="utf-8")
    monkeypatch.setenv("GPTIMAGE_CONFIG", str(file))
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("GPTIMAGE_TOKENS", SECRET)
    monkeypatch.setenv("GPTIMAGE_MAX_PER_DAY", "5")

    assert main(["--check"]) == 0

    said = capsys.readouterr()
    assert SECRET not in said.out + said.err
    assert f"gptimage {gptimage.__version__}, mcp 2." in said.out
    lines = [line.split() for line in said.out.splitlines() if line.startswith(("GPT", "OPENAI"))]
    rows = {words[0]: words[1:] for words in lines}
    assert rows.keys() >= {variable(name) for name in ROWS}
    assert rows["GPTIMAGE_WAIT"] == ["7.0", str(file)]
    assert rows["GPTIMAGE_MAX_PER_DAY"] == ["5"]
    assert rows["OPENAI_API_KEY"] == ["set,", "not", "shown"]
    assert rows["GPTIMAGE_STORE"][1:] == ["default"]
    assert said.out.endswith("Everything is ready.\n")


def test_check_ends_quietly_where_its_reader_went_away(account: dict[str, str]) -> None:
    """As `head` does: no traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*MODULE, "--check"],
        cwd=READ_ONLY,
        env=account,
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)

    assert (done.returncode, done.stderr) == (141, b"")


def test_check_says_what_will_not_work(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No key, a store that is a file and an open port: exit code 1, a line each."""
    (here / "file").write_text("")
    monkeypatch.setenv("GPTIMAGE_STORE", str(here / "file"))
    assert main(["--check"]) == 1
    said = capsys.readouterr().out.partition("This will not work:")[2]
    assert re.findall(r"^  (\w+): ", said, re.MULTILINE) == ["OPENAI_API_KEY", "GPTIMAGE_STORE"]

    monkeypatch.setenv("GPTIMAGE_STORE", str(here / "pictures"))
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("GPTIMAGE_HOST", "0.0.0.0")
    assert main(["--check"]) == 0
    capsys.readouterr()
    assert main(["--check", "--http"]) == 1
    assert "GPTIMAGE_TOKENS" in capsys.readouterr().out.partition("This will not work:")[2]


def test_check_fails_for_a_model_that_is_shut_down(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No call can succeed with it, so the exit code is 1 and the line names another model."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("GPTIMAGE_MODEL", "dall-e-3")

    assert main(["--check"]) == 1
    told = capsys.readouterr().out.partition("This will not work:")[2]
    assert re.search(r"GPTIMAGE_MODEL: dall-e-3 was shut down on 2026-.*; use gpt-image-", told)


@pytest.mark.parametrize(
    ("given", "note"),
    [
        ({"GPTIMAGE_WAIT": "90"}, "GPTIMAGE_WAIT: many clients give a call up after 60 seconds"),
        ({"GPTIMAGE_SANDBOX": "1"}, "the sandbox is on"),
        ({"STORAGE__BASE_PATH": "x"}, "STORAGE__BASE_PATH: belongs to an older server"),
        ({"GPTIMAGE_MODEL": "my-model"}, "GPTIMAGE_MODEL: my-model is not in the catalogue"),
        ({"GPTIMAGE_INPUT_FOLDERS": "~/none"}, "GPTIMAGE_INPUT_FOLDERS: "),
        ({"GPTIMAGE_LINK_MINUTES": "5"}, "GPTIMAGE_LINK_MINUTES: has an effect over HTTP only"),
        (
            {"GPTIMAGE_TRANSPORT": "http", "GPTIMAGE_LINK_MINUTES": "5"},
            "GPTIMAGE_SHARED_SECRET: without it, links end",
        ),
        (
            {"GPTIMAGE_TRANSPORT": "http", "GPTIMAGE_STATELESS": "true"},
            "GPTIMAGE_SHARED_SECRET: without it a replica cannot read",
        ),
        (
            {"GPTIMAGE_TRANSPORT": "http", "GPTIMAGE_STATELESS": "true"},
            "GPTIMAGE_SHARED_STATE: replicas find",
        ),
    ],
)
def test_check_says_what_is_worth_knowing(
    given: dict[str, str],
    note: str,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What works, but perhaps otherwise than meant, is told without failing."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    for name, text in given.items():
        monkeypatch.setenv(name, text)

    assert main(["--check"]) == 0
    assert f"\n  {note}" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="rights are kept otherwise there")
def test_check_sees_a_key_others_may_read(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A settings file with a key in it should be its owner's alone."""
    file = here / "mcp.toml"
    file.write_text(f'api_key = "{SECRET}"\n', encoding="utf-8")
    monkeypatch.setenv("GPTIMAGE_CONFIG", str(file))

    for mode, told in ((0o644, True), (0o600, False)):
        file.chmod(mode)
        assert main(["--check"]) == 0
        assert ("other accounts may read it" in capsys.readouterr().out) is told


def test_check_of_bad_settings_lists_those_there_are(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Settings that cannot be read are exit code 2, and the names that exist are shown."""
    monkeypatch.setenv("GPTIMAGE_BUDGIT", "5")

    assert main(["--check"]) == 2

    said = capsys.readouterr().out
    assert "  GPTIMAGE_BUDGIT: there is no such setting" in said
    assert [name for name in ROWS if f"\n  {variable(name)}" not in said] == []


@pytest.mark.parametrize("name", ["GPTIMAGE_REDIS_URL", "GPTIMAGE_SHARED_STATE"])
def test_check_reaches_for_redis(
    name: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A Redis nobody answers at is found out before a picture is paid for."""
    monkeypatch.setenv("GPTIMAGE_SANDBOX", "1")
    monkeypatch.setenv(name, f"redis://:{SECRET}@127.0.0.1:9/0")

    assert main(["--check"]) == 1

    said = capsys.readouterr().out
    assert SECRET not in said
    assert "redis" in said.partition("This will not work:")[2].lower()


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Both print and end; the help names every option and client."""
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"gptimage-mcp {gptimage.__version__}\n"

    text = build_parser().format_help()
    assert [
        each for each in ("--http", "--check", "--version", "install") if each not in text
    ] == []
