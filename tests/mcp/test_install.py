"""`gptimage-mcp install`: the right file of each client, nothing lost, no key unless asked for."""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # moto[server] brings it along
from hypothesis import assume, given
from hypothesis import strategies as st

from gptimage import ConfigurationError
from gptimage_mcp.__main__ import main
from gptimage_mcp.install import jsonc, merge
from gptimage_mcp.install.clients import CLIENTS
from gptimage_mcp.install.merge import ServerEntry, merge_json, merge_toml
from gptimage_mcp.install.yaml_text import merge_yaml


SECRET = "sk-very-secret"
LAUNCH = {"command": sys.executable, "args": ["-m", "gptimage_mcp"]}

ENTRIES: dict[str, dict[str, Any]] = {
    "claude-desktop": LAUNCH,
    "claude-code": {"type": "stdio", **LAUNCH, "env": {"OPENAI_API_KEY": "${OPENAI_API_KEY:-}"}},
    "vscode": {"type": "stdio", **LAUNCH, "env": {"OPENAI_API_KEY": "${input:openai-api-key}"}},
    "cursor": {**LAUNCH, "env": {"OPENAI_API_KEY": "${env:OPENAI_API_KEY}"}},
    "codex": {**LAUNCH, "startup_timeout_sec": 60, "env_vars": ["OPENAI_API_KEY"]},
    "windsurf": {**LAUNCH, "env": {"OPENAI_API_KEY": "${env:OPENAI_API_KEY}"}},
    "zed": {"source": "custom", **LAUNCH},
    "cline": LAUNCH,
    "gemini-cli": {**LAUNCH, "env": {"OPENAI_API_KEY": "$OPENAI_API_KEY"}},
    "lm-studio": LAUNCH,
    "opencode": {
        "type": "local",
        "enabled": True,
        "command": [sys.executable, "-m", "gptimage_mcp"],
        "timeout": 60_000,
        "environment": {"OPENAI_API_KEY": "{env:OPENAI_API_KEY}"},
    },
    "goose": {
        "type": "stdio",
        "name": "gptimage",
        "enabled": True,
        "timeout": 300,
        "cmd": sys.executable,
        "args": ["-m", "gptimage_mcp"],
        "env_keys": ["OPENAI_API_KEY"],
    },
    "generic": LAUNCH,
}
"""What each client's documentation wants."""

KNOWN = [name for name, client in CLIENTS.items() if client.files]
"""The clients whose file is known."""

CLINE = "Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json"

PLACES = {
    ("claude-desktop", "linux"): ".config/Claude/claude_desktop_config.json",
    ("claude-desktop", "darwin"): ("Library/Application Support/Claude/claude_desktop_config.json"),
    ("claude-desktop", "win32"): "AppData/Roaming/Claude/claude_desktop_config.json",
    ("claude-code", "linux"): ".claude.json",
    ("claude-code", "darwin"): ".claude.json",
    ("claude-code", "win32"): ".claude.json",
    ("vscode", "linux"): ".config/Code/User/mcp.json",
    ("vscode", "darwin"): "Library/Application Support/Code/User/mcp.json",
    ("vscode", "win32"): "AppData/Roaming/Code/User/mcp.json",
    ("cursor", "linux"): ".cursor/mcp.json",
    ("cursor", "darwin"): ".cursor/mcp.json",
    ("cursor", "win32"): ".cursor/mcp.json",
    ("codex", "linux"): ".codex/config.toml",
    ("codex", "darwin"): ".codex/config.toml",
    ("codex", "win32"): ".codex/config.toml",
    ("windsurf", "linux"): ".codeium/windsurf/mcp_config.json",
    ("windsurf", "win32"): ".codeium/windsurf/mcp_config.json",
    ("zed", "linux"): ".config/zed/settings.json",
    ("zed", "darwin"): ".config/zed/settings.json",
    ("zed", "win32"): "AppData/Roaming/Zed/settings.json",
    ("cline", "linux"): f".config/{CLINE}",
    ("cline", "darwin"): f"Library/Application Support/{CLINE}",
    ("gemini-cli", "darwin"): ".gemini/settings.json",
    ("lm-studio", "darwin"): ".lmstudio/mcp.json",
    ("opencode", "darwin"): ".config/opencode/opencode.json",
    ("goose", "darwin"): ".config/goose/config.yaml",
    ("goose", "win32"): "AppData/Roaming/Block/goose/config/config.yaml",
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, with no client in it, and a key in the environment."""
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in (
        *("APPDATA", "LOCALAPPDATA", "CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_CONFIG_HOME"),
        "CLINE_MCP_SETTINGS_PATH",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    return tmp_path


def entry(path: Path, table: str, name: str = "gptimage") -> Any:
    """A server as a configuration has it."""
    return parsed(path.suffix, path.read_text(encoding="utf-8"))[table][name]


def parsed(suffix: str, text: str) -> Any:
    """A configuration as the client reads it."""
    readers = {".toml": tomllib.loads, ".yaml": yaml.safe_load}
    return readers.get(suffix, json.loads)(text)


def file_of(client: str) -> Path:
    """Where a client keeps its configuration."""
    file = CLIENTS[client].file()
    assert file is not None
    return file


@pytest.mark.parametrize("client", CLIENTS)
def test_printing_changes_nothing(
    client: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By default the configuration is printed, whole and without the key."""
    assert main(["install", client]) == 0

    printed = capsys.readouterr()
    document = parsed(f".{CLIENTS[client].format}", printed.out)
    assert document[CLIENTS[client].table] == {"gptimage": ENTRIES[client]}
    assert (str(file_of(client)) if client in KNOWN else "your client") in printed.err
    assert SECRET not in printed.out + printed.err
    assert [*home.iterdir()] == []


@pytest.mark.parametrize("client", KNOWN)
def test_writing_makes_the_file(client: str) -> None:
    """Where there is no configuration, there is one afterwards, without the key."""
    assert main(["install", client, "--write"]) == 0

    path = file_of(client)
    assert entry(path, CLIENTS[client].table) == ENTRIES[client]
    assert SECRET not in path.read_text(encoding="utf-8")
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("client", KNOWN)
def test_writing_twice_changes_nothing(client: str) -> None:
    """The second time nothing is written and nothing copied."""
    main(["install", client, "--write"])
    path = file_of(client)
    before = path.stat()

    assert main(["install", client, "--write"]) == 0

    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(("client", "platform"), PLACES)
def test_each_system_has_its_own_place(
    client: str, platform: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is where the client looks on that system."""
    monkeypatch.setattr(sys, "platform", platform)

    assert file_of(client) == home / PLACES[client, platform]


def test_the_packaged_claude_on_windows_has_a_folder_of_its_own(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Installed from the Store it never reads the documented file."""
    monkeypatch.setattr(sys, "platform", "win32")
    packages = home / "AppData" / "Local" / "Packages"
    for name in ("Claude_abc", "Claude_old", "Other_abc"):
        (packages / name).mkdir(parents=True)
    below = Path("LocalCache", "Roaming", "Claude", "claude_desktop_config.json")

    assert file_of("claude-desktop") == packages / "Claude_abc" / below

    (packages / "Claude_old" / below).parent.mkdir(parents=True)
    (packages / "Claude_old" / below).write_text("{}", encoding="utf-8")
    assert file_of("claude-desktop") == packages / "Claude_old" / below


def test_variables_of_clients_move_their_files(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CLAUDE_CONFIG_DIR and CODEX_HOME are heeded."""
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(home / "claude"))
    monkeypatch.setenv("CODEX_HOME", str(home / "codex"))

    assert file_of("claude-code") == home / "claude" / ".claude.json"
    assert file_of("codex") == home / "codex" / "config.toml"


def test_vscode_asks_for_the_key(home: Path) -> None:
    """Its file says how to ask, once, beside what else it asks for."""
    path = home / "mcp.json"
    asked = {"type": "promptString", "id": "other", "description": "Other"}
    path.write_text(json.dumps({"inputs": [asked]}), encoding="utf-8")

    for _ in range(2):
        main(["install", "vscode", "--write", "--file", str(path)])

    inputs = json.loads(path.read_text(encoding="utf-8"))["inputs"]
    assert [each["id"] for each in inputs] == ["other", "openai-api-key"]
    assert inputs[1]["password"] is True


def test_the_sandbox_needs_no_key(home: Path) -> None:
    """With --sandbox no client is told of a key, or asks for one."""
    for client in CLIENTS:
        path = home / client / "file.toml"
        assert main(["install", client, "--write", "--sandbox", "--file", str(path)]) == 0
        assert "OPENAI" not in path.read_text(encoding="utf-8")
        assert "GPTIMAGE_SANDBOX" in path.read_text(encoding="utf-8")


def test_other_files_settings_and_names(home: Path) -> None:
    """A project's file, a name and settings may be given; uvx finds the package by itself."""
    path = home / "project" / ".mcp.json"
    words = ["--file", str(path), "--name", "pictures", "--env", "GPTIMAGE_MAX_PER_DAY=5"]

    assert main(["install", "claude-code", "--write", "--uvx", *words]) == 0

    found = entry(path, "mcpServers", "pictures")
    assert Path(found["command"]).name == "uvx"
    assert found["args"] == ["--from", "gptimage[mcp]", "gptimage-mcp"]
    assert found["env"]["GPTIMAGE_MAX_PER_DAY"] == "5"


def test_an_environment_of_uvx_is_not_written_down(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What uvx made for this run may be gone tomorrow: the client is told to run uvx itself."""
    monkeypatch.setattr(sys, "prefix", str(home / "cache" / "archive-v0" / "abc"))

    main(["install", "cursor", "--write", "--sandbox"])

    assert Path(entry(home / ".cursor/mcp.json", "mcpServers")["command"]).name == "uvx"


def test_codex_waits_for_uvx(home: Path) -> None:
    """Ten seconds are not enough for a first start that downloads everything."""
    main(["install", "codex", "--write", "--uvx"])

    assert entry(home / ".codex/config.toml", "mcp_servers")["startup_timeout_sec"] == 120


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--env", "GPTIMAGE_STROE=~/a"], "--env GPTIMAGE_STROE: there is no such setting"),
        (["--env", "GPTIMAGE_WAIT"], "--env GPTIMAGE_WAIT: there is no such setting"),
        (["--env", "GPTIMAGE_WAIT=soon"], "--env GPTIMAGE_WAIT: its value is no number of sec"),
        (["--env", f"OPENAI_API_KEY={SECRET}"], "a command line is no place for a key"),
        (["--name", "my server"], "clients want a letter"),
        (["--with-key"], "--with-key goes with --write"),
    ],
)
def test_mistakes_are_told(
    words: list[str], problem: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A setting that does not exist is not written down for a server that would refuse it."""
    assert main(["install", "cursor", *words]) == 2

    said = capsys.readouterr()
    assert problem in said.err
    assert SECRET not in said.err
    assert said.out == ""
    assert [*home.iterdir()] == []


# ------------------------------------------------------------------ the key


def test_the_key_is_written_when_asked_for(home: Path) -> None:
    """--with-key writes it into a file nobody else may read."""
    assert main(["install", "claude-desktop", "--write", "--with-key"]) == 0

    path = file_of("claude-desktop")
    assert entry(path, "mcpServers")["env"] == {"OPENAI_API_KEY": SECRET}
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_key_that_is_there_stays(home: Path) -> None:
    """Somebody who wrote a key by hand keeps it until they ask for another one."""
    path = home / ".cursor" / "mcp.json"
    path.parent.mkdir()
    old = {"command": "old", "env": {"OPENAI_API_KEY": "sk-old", "HTTP_PROXY": "x"}, "more": 1}
    path.write_text(json.dumps({"mcpServers": {"gptimage": old}}), encoding="utf-8")

    main(["install", "cursor", "--write"])
    assert entry(path, "mcpServers") == {**old, **LAUNCH}

    main(["install", "cursor", "--write", "--with-key"])
    assert entry(path, "mcpServers")["env"] == {"OPENAI_API_KEY": SECRET, "HTTP_PROXY": "x"}


def test_there_must_be_a_key_to_write(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a key in the environment --with-key says so."""
    monkeypatch.delenv("OPENAI_API_KEY")

    assert main(["install", "cursor", "--write", "--with-key"]) == 2
    assert "--with-key: OPENAI_API_KEY is not set here" in capsys.readouterr().err


# ------------------------------------------------------------------ nothing is lost


def test_other_settings_of_the_file_stay(home: Path) -> None:
    """What else is in the file is as it was, in its order and its indentation."""
    path = home / ".claude.json"
    text = (
        '{\n    "numStartups": 34,\n    "mcpServers": {\n        "other": {"command": "ö"}\n'
        '    },\n    "last": 1e2\n}\n'
    )
    path.write_text(text, encoding="utf-8")

    main(["install", "claude-code", "--write"])

    after = path.read_text(encoding="utf-8")
    found = json.loads(after)
    assert [*found] == ["numStartups", "mcpServers", "last"]
    assert found["mcpServers"].pop("gptimage") == ENTRIES["claude-code"]
    assert found == json.loads(text)
    assert '\n    "numStartups": 34' in after
    assert "ö" in after
    assert after.endswith("}\n")


def test_the_file_before_is_kept(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each change leaves a copy of what was there, with the rights it had."""
    path = home / ".claude.json"
    path.write_text("{}", encoding="utf-8")
    path.chmod(0o640)

    main(["install", "claude-code", "--write"])
    main(["install", "claude-code", "--write", "--sandbox"])

    copies = sorted(home.glob(".claude.json.before-gptimage-*"))
    assert [json.loads(copy.read_text(encoding="utf-8")) for copy in copies] == [
        {},
        {"mcpServers": {"gptimage": ENTRIES["claude-code"]}},
    ]
    assert str(copies[1]) in capsys.readouterr().err
    if sys.platform != "win32":
        assert {each.stat().st_mode & 0o777 for each in (path, *copies)} == {0o640}


@pytest.mark.parametrize(
    "text",
    [
        '{"mcpServers": {"a": {}, "a": {}}}',
        '{"mcpServers": []}',
        '{"mcpServers": {"gptimage": {"env": []}}}',
        "[]",
        "{",
        "{'mcpServers': {}}",
    ],
)
def test_json_that_would_lose_something_is_left_alone(
    text: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Doubled keys and other shapes are refused; what to put there is printed."""
    path = home / ".cursor" / "mcp.json"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")

    assert main(["install", "cursor", "--write", "--with-key"]) == 2

    said = capsys.readouterr()
    assert path.read_text(encoding="utf-8") == text
    assert [*path.parent.iterdir()] == [path]
    assert json.loads(said.out)["mcpServers"]["gptimage"]["command"] == sys.executable
    assert str(path) in said.err
    assert "by hand" in said.err
    assert SECRET not in said.out + said.err


def test_comments_of_json_stay(home: Path) -> None:
    """A file with comments and trailing commas keeps them, its order and every other byte."""
    path = home / ".config" / "zed" / "settings.json"
    path.parent.mkdir(parents=True)
    path.write_text(ZED, encoding="utf-8")

    assert main(["install", "zed", "--write", "--sandbox"]) == 0

    after = path.read_text(encoding="utf-8")
    rest = iter(after)
    assert all(character in rest for character in ZED)
    assert jsonc.parse(after).value["context_servers"] == {
        "other": {"command": "x"},
        "gptimage": {"source": "custom", **LAUNCH, "env": {"GPTIMAGE_SANDBOX": "true"}},
    }
    assert main(["install", "zed", "--write", "--sandbox"]) == 0
    assert path.read_text(encoding="utf-8") == after


ZED = """\
// Zed settings
{
  "theme": "One Dark", // the dark one
  "context_servers": {
    "other": {"command": "x"}, /* mine */
  },
}
"""


# ------------------------------------------------------------------ files of a team


@pytest.mark.parametrize(
    ("client", "name"),
    [
        ("claude-code", ".mcp.json"),
        ("vscode", ".vscode/mcp.json"),
        ("cursor", ".cursor/mcp.json"),
        ("gemini-cli", ".gemini/settings.json"),
    ],
)
def test_a_file_of_a_team_has_a_command_for_everybody(client: str, name: str, home: Path) -> None:
    """Where this machine keeps its Python is no use to the others."""
    path = home / "project" / name

    assert main(["install", client, "--write", "--file", str(path)]) == 0

    found = entry(path, CLIENTS[client].table)
    assert [found["command"], *found["args"]] == ["uvx", "--from", "gptimage[mcp]", "gptimage-mcp"]
    assert str(home) not in path.read_text(encoding="utf-8")


def test_any_file_may_be_one_of_a_team(home: Path) -> None:
    """With --team, whatever the file's name is."""
    path = home / "project" / "opencode.json"

    assert main(["install", "opencode", "--write", "--team", "--file", str(path)]) == 0

    assert entry(path, "mcp")["command"][0] == "uvx"


def test_no_key_goes_into_a_file_of_a_team(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who checks in a key has to revoke it."""
    path = home / "project" / ".mcp.json"

    assert main(["install", "claude-code", "--write", "--with-key", "--file", str(path)]) == 2

    assert "a key of yours does not belong into it" in capsys.readouterr().err
    assert not path.exists()


def test_a_client_without_a_name_has_no_file(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`generic` is printed, or written into the file that is named."""
    path = home / "servers.json"

    assert main(["install", "generic", "--write"]) == 2
    assert "--file" in capsys.readouterr().err
    assert main(["install", "generic", "--write", "--file", str(path)]) == 0
    assert entry(path, "mcpServers") == LAUNCH


def test_the_file_that_is_there_is_the_clients(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opencode's file with comments, and Cline's without an editor, go before the usual ones."""
    commented = home / ".config" / "opencode" / "opencode.jsonc"
    alone = home / ".cline" / "data" / "settings" / "cline_mcp_settings.json"
    for path in (commented, alone):
        path.parent.mkdir(parents=True)
        path.write_text("{}", encoding="utf-8")

    assert file_of("opencode") == commented
    assert file_of("cline") == alone
    monkeypatch.setenv("CLINE_MCP_SETTINGS_PATH", str(home / "mine.json"))
    assert file_of("cline") == home / "mine.json"


# ------------------------------------------------------------------ YAML


GOOSE = """\
# my settings
active_provider: openai
extensions:
  # what comes with it
  developer:
    enabled: true
    type: builtin

GOOSE_MODE: "smart_approve"
slash_commands:
- command: "x"
"""


def test_yaml_keeps_every_line(home: Path) -> None:
    """The server is a block of its own; the second time nothing changes."""
    path = home / ".config" / "goose" / "config.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(GOOSE, encoding="utf-8")

    assert main(["install", "goose", "--write", "--env", "GPTIMAGE_MAX_PER_DAY=5"]) == 0

    after = path.read_text(encoding="utf-8")
    found, before = yaml.safe_load(after), yaml.safe_load(GOOSE)
    assert found["extensions"].pop("gptimage") == {
        **ENTRIES["goose"],
        "envs": {"GPTIMAGE_MAX_PER_DAY": "5"},
    }
    assert found == before
    rest = iter(after.splitlines())
    assert all(line in rest for line in GOOSE.splitlines())
    assert main(["install", "goose", "--write", "--env", "GPTIMAGE_MAX_PER_DAY=5"]) == 0
    assert path.read_text(encoding="utf-8") == after


@pytest.mark.parametrize(
    "text",
    [
        "extensions: {a: {}}\n",
        "extensions:\n- a\n",
        "extensions: &here\n  a: {}\n",
        "{extensions: {}}\n",
        "a: 1\n---\nextensions:\n",
        '"extensions":\n  a: {}\n',
        "extensions:\n  a: {}\nextensions:\n  b: {}\n",
        "extensions:\n  gptimage:\n    cmd: other\n",
        "extensions: {}\n  # a\n  a: 1\n",
    ],
)
def test_yaml_in_another_form_is_left_alone(text: str, home: Path) -> None:
    """What could mean something else is not written; what to put there is printed."""
    path = home / ".config" / "goose" / "config.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")

    assert main(["install", "goose", "--write"]) == 2
    assert path.read_text(encoding="utf-8") == text


CODEX = """\
# my settings
model = "gpt-5.4"  # the good one

[mcp_servers.other]
command = "npx"
args = [
  "-y",
]

[mcp_servers.gptimage]  # pictures
command = "old"
# twenty were too few
startup_timeout_sec = 90
tool_timeout_sec = 600

[mcp_servers.gptimage.env]
GPTIMAGE_WAIT = "20"

[mcp_servers.gptimage.tools.generate_image]
approval_mode = "approve"

[projects."~/code"]
trust_level = "trusted"
"""


def test_toml_keeps_every_other_line(home: Path) -> None:
    """Comments, order and form of the rest stay; the entry keeps what was said of it."""
    path = home / ".codex" / "config.toml"
    path.parent.mkdir()
    path.write_text(CODEX, encoding="utf-8")

    assert main(["install", "codex", "--write", "--env", "GPTIMAGE_MAX_PER_DAY=5"]) == 0

    after = path.read_text(encoding="utf-8")
    before = tomllib.loads(CODEX)
    found = tomllib.loads(after)
    assert found["mcp_servers"].pop("gptimage") == {
        **ENTRIES["codex"],
        "startup_timeout_sec": 90,
        "tool_timeout_sec": 600,
        "env": {"GPTIMAGE_MAX_PER_DAY": "5", "GPTIMAGE_WAIT": "20"},
        "tools": {"generate_image": {"approval_mode": "approve"}},
    }
    del before["mcp_servers"]["gptimage"]
    assert found == before
    kept = [line for line in CODEX.splitlines() if line.startswith(("#", "model", "[proj", "  "))]
    assert [line for line in kept if line not in after.splitlines()] == []
    assert main(["install", "codex", "--write", "--env", "GPTIMAGE_MAX_PER_DAY=5"]) == 0
    assert path.read_text(encoding="utf-8") == after


@pytest.mark.parametrize(
    "text",
    [
        'mcp_servers = { gptimage = { command = "old" } }\n',
        'mcp_servers.gptimage.command = "old"\n',
        'mcp_servers = "none"\n',
        "model = \n",
        '[mcp_servers]\ngptimage = { command = "old" }\n',
    ],
)
def test_toml_in_another_form_is_left_alone(text: str, home: Path) -> None:
    """What cannot be proved to say the same plus one entry is not written."""
    path = home / ".codex" / "config.toml"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")

    assert main(["install", "codex", "--write"]) == 2
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("client", ["cursor", "codex"])
def test_line_ends_and_byte_order_marks_stay(client: str) -> None:
    """A file of Windows' Notepad stays one."""
    path = file_of(client)
    path.parent.mkdir()
    text = "{\r\n}\r\n" if client == "cursor" else "a = 1\r\n"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())

    assert main(["install", client, "--write"]) == 0

    after = path.read_bytes()
    assert after.startswith(b"\xef\xbb\xbf")
    assert re.findall(rb"(?<!\r)\n", after) == []


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_links_are_followed(home: Path) -> None:
    """Who keeps the file elsewhere and links to it keeps the link."""
    real = home / "dotfiles" / "mcp.json"
    real.parent.mkdir()
    real.write_text("{}", encoding="utf-8")
    link = home / ".cursor" / "mcp.json"
    link.parent.mkdir()
    link.symlink_to(real)

    main(["install", "cursor", "--write"])

    assert link.is_symlink()
    assert entry(real, "mcpServers") == ENTRIES["cursor"]


def test_a_change_in_between_is_not_overwritten(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that writes its file at the same moment loses nothing."""
    path = home / ".claude.json"
    path.write_text("{}", encoding="utf-8")

    def busy(text: str, addition: ServerEntry) -> str:
        path.write_text('{"numStartups": 35}', encoding="utf-8")
        return merge_json(text, addition)

    monkeypatch.setattr(merge, "merge_json", busy)

    assert main(["install", "claude-code", "--write"]) == 2
    assert json.loads(path.read_text(encoding="utf-8")) == {"numStartups": 35}
    assert [*home.iterdir()] == [path]


def test_a_failed_write_leaves_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk costs nothing: the file is replaced in one step or not at all."""
    path = home / ".claude.json"
    path.write_text("{}", encoding="utf-8")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    assert main(["install", "claude-code", "--write"]) == 2
    assert path.read_text(encoding="utf-8") == "{}"
    assert [*home.iterdir()] == [path]


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)
ADDITION = ServerEntry(
    table="mcpServers", name="gptimage", entry={"command": "a", "args": [], "env": {"B": "c"}}
)


@given(
    document=st.dictionaries(st.text(), DOCUMENTS),
    servers=st.none() | st.dictionaries(st.text(), DOCUMENTS),
    indent=st.sampled_from([None, 1, 2, 4, "\t"]),
)
def test_any_json_keeps_everything(
    document: dict[str, Any], servers: dict[str, Any] | None, indent: int | str | None
) -> None:
    """Whatever the file holds is there afterwards, and a second time nothing changes."""
    document.pop("mcpServers", None)
    if servers is not None:
        document["mcpServers"] = servers
    text = json.dumps(document, indent=indent)

    after = merge_json(text, ADDITION)

    found = json.loads(after)
    assert found["mcpServers"].pop("gptimage")["command"] == "a"
    expected = json.loads(text)
    expected.setdefault("mcpServers", {}).pop("gptimage", None)
    assert found == expected
    assert merge_json(after, ADDITION) == after


KEYS = st.from_regex(r"[a-z]{1,5}", fullmatch=True)
LINES = st.lists(
    st.sampled_from(
        [
            "# a comment",
            "",
            'text = """\n[mcp_servers.gptimage]\n"""',
            "many = [\n  1,\n  2,\n]",
            "[mcp_servers.other]",
            "[mcp_servers.gptimage]",
            "[mcp_servers.gptimage.env]",
            '[ mcp_servers . "gptimage" . tools ]',
            "[mcp_servers.gptimage_too]",
            "[other]",
            "[[list]]",
            "a = 1",
            'b = "[x]"',
            'c = ["[mcp_servers.gptimage]"]',
        ]
    ),
    max_size=12,
)


@given(LINES)
def test_any_toml_keeps_everything_or_is_refused(lines: list[str]) -> None:
    """However the file is cut, the outcome says what it said and one entry more, or nothing."""
    text = "\n".join(lines) + "\n"
    addition = ServerEntry(table="mcp_servers", name="gptimage", entry={"command": "a", "args": []})
    try:
        after = merge_toml(text, addition)
    except ConfigurationError:
        return

    before, found = tomllib.loads(text), tomllib.loads(after)
    old = before.get("mcp_servers", {}).pop("gptimage", {})
    new = found["mcp_servers"].pop("gptimage")
    assert new == {**old, "command": "a", "args": []}
    assert found == {"mcp_servers": {}, **before}
    assert merge_toml(after, addition) == after


YAML_LINES = st.lists(
    st.sampled_from(
        [
            "# a comment",
            "",
            "extensions:",
            "extensions: {}  # none",
            "  other:",
            "    enabled: true",
            "  gptimage:",
            '    cmd: "a"',
            "  # below",
            "- one",
            "other:",
            "  text: |",
            "    extensions:",
            "name: 'it'",
            "list: [1, 2]",
            "extensions_too:",
        ]
    ),
    max_size=10,
)


@given(YAML_LINES, st.text(max_size=5), st.sampled_from(["gptimage", "yes", "my-images"]))
def test_any_yaml_keeps_everything_or_is_refused(lines: list[str], value: str, name: str) -> None:
    """Of what is YAML, the outcome says what it said and one entry more, or it is refused."""
    text = "\n".join(lines) + "\n"
    before: dict[str, Any] = {}
    try:
        before = yaml.safe_load(text) or {}
    except yaml.YAMLError:
        assume(condition=False)
    added = ServerEntry(table="extensions", name=name, entry={"cmd": value, "envs": {"A": value}})
    try:
        after = merge_yaml(text, added)
    except ConfigurationError:
        return

    found = yaml.safe_load(after)
    assert found["extensions"].pop(name) == added.entry
    assert found == {**before, "extensions": before.get("extensions") or {}}
    assert merge_yaml(after, added) == after
