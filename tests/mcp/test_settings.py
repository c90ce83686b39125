"""Settings: read from the environment and a file, checked as a whole, wrong ones told by name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import fields
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gptimage.config
from gptimage.config import variable
from gptimage.config.settings import SERVER_SETTINGS, SETTINGS
from gptimage_mcp.config.loading import CONFIG, default_file, load
from gptimage_mcp.config.older_servers import replacements
from gptimage_mcp.config.settings import ROWS, Settings, SettingsError


DOCS = Path(__file__).parents[2] / "docs"
SECRET = "sk-very-secret"
LONG = "0123456789abcdefghijklmnopqrstuv"
LIST = "`gptimage config` and `gptimage-mcp --check` list all"

EXAMPLES: dict[str, tuple[str, object]] = {
    "api_key": ("sk-1", "sk-1"),
    "base_url": ("https://example.com/v1", "https://example.com/v1"),
    "sandbox": ("Yes", True),
    "provider": ("azure", "azure"),
    "fallbacks": ("azure/gpt-image-2, gpt-image-2", ("azure/gpt-image-2", "gpt-image-2")),
    "model": ("gpt-image-2", "gpt-image-2"),
    "chat_model": ("gpt-5.4", "gpt-5.4"),
    "timeout": ("7.5", 7.5),
    "store": ("~/store", Path.home() / "store"),
    "retention": ("30d", timedelta(days=30)),
    "cache": ("~/cache", Path.home() / "cache"),
    "cache_ttl": ("24h", timedelta(hours=24)),
    "cache_size": ("500MB", 500_000_000),
    "redis_url": ("rediss://:pw@example.com:1/0", "rediss://:pw@example.com:1/0"),
    "ledger": ("~/spend.sqlite", Path.home() / "spend.sqlite"),
    "templates": ("~/templates", Path.home() / "templates"),
    "input_folders": (f"~/a{os.pathsep}~/b c", (Path.home() / "a", Path.home() / "b c")),
    "output_folders": ("~/a", (Path.home() / "a",)),
    "fetch_urls": ("off", False),
    "budget": ("1/hour, 20/month", {"hour": Decimal(1), "month": Decimal(20)}),
    "max_per_call": ("0.25", Decimal("0.25")),
    "max_per_day": ("5", Decimal(5)),
    "unknown_cost": ("1", Decimal(1)),
    "confirm_above": ("0", Decimal(0)),
    "max_images": ("4", 4),
    "images_per_minute": ("60", 60),
    "wait": ("0", 0.0),
    "preview_pixels": ("512", 512),
    "links": ("true", True),
    "allow_delete": ("1", True),
    "tools": ("Core, list_models", ("core", "list_models")),
    "transport": ("HTTP", "http"),
    "host": ("::1", "::1"),
    "port": ("0", 0),
    "path": ("/pictures/mcp", "/pictures/mcp"),
    "stateless": ("true", True),
    "public_url": ("https://example.com", "https://example.com"),
    "tokens": ("abc,def ghi", ("abc", "def", "ghi")),
    "auth_issuer": ("https://login.example.com", "https://login.example.com"),
    "auth_audience": ("https://example.com", "https://example.com"),
    "auth_jwks_url": ("https://example.com/keys", "https://example.com/keys"),
    "auth_scopes": ("draw look", ("draw", "look")),
    "allowed_hosts": ("example.com, example.com:8000", ("example.com", "example.com:8000")),
    "allowed_origins": ("https://example.com", ("https://example.com",)),
    "trusted_proxies": ("10.0.0.0/8, ::1", ("10.0.0.0/8", "::1")),
    "calls_per_minute": ("10", 10),
    "sessions_per_caller": ("5", 5),
    "max_upload": ("1000000", 1_000_000),
    "link_minutes": ("7.5", 7.5),
    "shared_secret": (f"{LONG}, {LONG[::-1]}", (LONG, LONG[::-1])),
    "shared_state": ("rediss://h:1/0", "rediss://h:1/0"),
    "tenants": ("on", True),
    "studio": ("true", True),
    "max_body": ("10_000_000", 10_000_000),
    "log_level": ("warning", "WARNING"),
}
"""What may be written for each setting, and what it becomes."""

NEEDS = {
    "unknown_cost": {"max_per_day": "5"},
    "auth_audience": {"auth_issuer": "https://login.example.com"},
    "auth_jwks_url": {"auth_issuer": "https://login.example.com"},
    "auth_scopes": {"tokens": "abc"},
    "tenants": {"tokens": "abc"},
}
"""What makes no sense alone."""

WRONG = {
    "api_key": f"'{SECRET}'",
    "base_url": "api.openai.com/v1",
    "sandbox": "maybe",
    "provider": "azur",
    "fallbacks": "xia/grok",
    "model": "two words",
    "chat_model": "two words",
    "timeout": "0",
    "store": "pictures",
    "retention": "0d",
    "cache": "s3://bucket/cache",
    "cache_ttl": "24",
    "cache_size": "0MB",
    "redis_url": f"http://:{SECRET}@example.com",
    "ledger": "spend.sqlite",
    "templates": "./templates",
    "input_folders": f"~/a{os.pathsep}b",
    "output_folders": "here",
    "fetch_urls": "2",
    "budget": "5",
    "max_per_call": "$5",
    "max_per_day": "-1",
    "unknown_cost": "nan",
    "confirm_above": "inf",
    "max_images": "11",
    "images_per_minute": "0",
    "wait": "soon",
    "preview_pixels": "7.5",
    "links": "some",
    "allow_delete": "perhaps",
    "tools": "generate_images",
    "transport": "sse",
    "host": "http://localhost",
    "port": "65536",
    "path": "mcp",
    "stateless": "no, thanks",
    "public_url": "ftp://example.com",
    "tokens": f'"{SECRET}"',
    "auth_issuer": "https://",
    "auth_audience": "two words",
    "auth_jwks_url": "https://example.com:port/keys",
    "auth_scopes": "it's",
    "allowed_hosts": "https://example.com",
    "allowed_origins": "example.com",
    "trusted_proxies": "proxy.example.com",
    "calls_per_minute": "1e3",
    "sessions_per_caller": "0",
    "max_upload": "1GB",
    "link_minutes": "2000",
    "shared_secret": f"{SECRET}-{SECRET}",
    "shared_state": f"http://:{SECRET}@example.com",
    "tenants": "some",
    "studio": "please",
    "max_body": "4MB",
    "log_level": "TRACE",
}
"""What must not be written for each."""


@pytest.fixture(autouse=True)
def fresh_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An account without any setting, and with a home of its own."""
    for name in [*os.environ]:
        if name.startswith(("GPTIMAGE_", "XDG_")):
            monkeypatch.delenv(name)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


def write(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings file, and the variable that names it."""
    path = folder / "mcp.toml"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setenv(CONFIG, str(path))
    return path


def problems() -> tuple[str, ...]:
    """What loading complains of."""
    with pytest.raises(SettingsError) as caught:
        load()
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_examples_are_of_every_setting() -> None:
    """No setting is without a kind, an example and a counterexample."""
    names = {each.name for each in fields(Settings)}

    assert names == ROWS.keys() == EXAMPLES.keys() == WRONG.keys()


def test_nothing_said_is_enough(fresh_account: Path) -> None:
    """An account that says nothing gets the folders of the `gptimage` command and no key."""
    loaded = load()

    assert (loaded.settings.api_key, loaded.settings.transport, loaded.file) == (
        None,
        "stdio",
        None,
    )
    for folder in (loaded.settings.store, loaded.settings.cache, loaded.settings.ledger):
        assert isinstance(folder, Path)
        assert folder.is_relative_to(fresh_account)
    assert set(loaded.origins.values()) == {"default"}
    assert [*fresh_account.iterdir()] == []


@pytest.mark.parametrize("name", ROWS)
def test_every_setting_is_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each variable becomes its field, and loading says that it came from there."""
    text, value = EXAMPLES[name]
    home = str(Path.home())
    for needed, given_text in NEEDS.get(name, {}).items():
        monkeypatch.setenv(variable(needed), given_text)
    monkeypatch.setenv(variable(name), text)

    loaded = load()

    moved = _moved(value, home)
    assert getattr(loaded.settings, name) == moved
    assert loaded.origins[name] == variable(name)


def _moved(value: Any, home: str) -> Any:
    """An example's paths, in the home of this test."""
    if isinstance(value, tuple):
        return tuple(_moved(each, home) for each in value)
    return Path(home, value.name) if isinstance(value, Path) else value


@pytest.mark.parametrize("name", ROWS)
def test_what_makes_no_sense_is_told_by_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong value is one line that begins with its variable, and shows no secret."""
    for needed, given_text in NEEDS.get(name, {}).items():
        monkeypatch.setenv(variable(needed), given_text)
    monkeypatch.setenv(variable(name), WRONG[name])

    (problem,) = problems()

    assert problem.startswith(variable(name))
    assert SECRET not in problem
    assert len(problem) > len(variable(name)) + 20


def test_the_message_is_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line says what was written and how to write it."""
    monkeypatch.setenv("GPTIMAGE_WAIT", "soon")

    assert problems() == ("GPTIMAGE_WAIT: 'soon' is no number of seconds; write it like 50",)


def test_all_problems_are_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody with five mistakes starts the server twice, not six times."""
    monkeypatch.setenv("GPTIMAGE_WAIT", "soon")
    monkeypatch.setenv("GPTIMAGE_STROE", "~/pictures")
    file = write(tmp_path, 'port = "high"\nwiat = 3\nsandbox = 1\n', monkeypatch)

    assert sorted(each.partition(": ")[0] for each in problems()) == sorted(
        [
            "GPTIMAGE_STROE",
            "GPTIMAGE_WAIT",
            *[str(file)] * 3,
        ]
    )


def test_every_kind_of_mistake_is_told_in_one_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be read, what does not hold together and a folder that is none come together."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("GPTIMAGE_WAIT", "soon")
    monkeypatch.setenv("GPTIMAGE_UNKNOWN_COST", "1")
    monkeypatch.setenv("GPTIMAGE_STORE", str(tmp_path / "file"))
    monkeypatch.setenv("GPTIMAGE_AUTH_ISSUER", "?")
    monkeypatch.setenv("GPTIMAGE_AUTH_AUDIENCE", "a")

    assert [each.partition(": ")[0] for each in problems()] == [
        "GPTIMAGE_WAIT",
        "GPTIMAGE_AUTH_ISSUER",
        "GPTIMAGE_UNKNOWN_COST",
        "GPTIMAGE_STORE",
    ]


def test_what_does_not_hold_together_is_told_beside_what_cannot_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A wrong value hides neither settings without effect nor a server open to everybody."""
    for name, value in {
        "STORE": "relative",
        "TRANSPORT": "http",
        "HOST": "0.0.0.0",
        "CACHE": "off",
        "CACHE_TTL": "1h",
        "TENANTS": "true",
        "ALLOWED_HOSTS": "images.example.com",
    }.items():
        monkeypatch.setenv(f"GPTIMAGE_{name}", value)

    with pytest.raises(SettingsError) as caught:
        load()

    found = [each.split(":")[0].split("=")[0] for each in caught.value.problems]
    expected = ["STORE", "CACHE_TTL", "TENANTS", "HOST"]
    assert found == [f"GPTIMAGE_{name}" for name in expected]


def test_options_beat_variables_and_have_an_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--host, --port and --store are settings like others; beside stdio a port would do nothing."""
    monkeypatch.setenv("GPTIMAGE_PORT", "1")
    options = {"transport": "http", "port": "2", "host": "localhost", "store": str(tmp_path)}

    loaded = load(options)
    with pytest.raises(SettingsError) as caught:
        load({"port": "2", "host": "a b"})

    assert (loaded.settings.port, loaded.settings.host) == (2, "localhost")
    assert (loaded.settings.store, loaded.origins["store"]) == (tmp_path, "--store")
    assert caught.value.problems[0].startswith("--host: 'a b' ")
    assert caught.value.problems[1:] == (
        "--host: has no effect without --http",
        "--port: has no effect without --http",
    )


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("s3://bucket", True),
        ("s3://bucket/some/images/", True),
        ("az://container/images", True),
        ("gs://bucket/images", True),
        ("s3://", False),
        ("s3://key:secret@bucket/images", False),
        ("s3://bucket/images?region=x", False),
        ("https://example.com/images", False),
        ("file:///images", False),
    ],
)
def test_a_store_may_be_a_bucket(text: str, right: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Buckets are taken by URL, without a password in it; other URLs are refused."""
    monkeypatch.setenv("GPTIMAGE_STORE", text)

    if right:
        assert load().settings.store == text.rstrip("/")
    else:
        (problem,) = problems()
        assert problem.startswith("GPTIMAGE_STORE: ")
        assert "secret" not in problem


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"OPENAI_API_TIMEOUT": "9", "CACHE_DIR": "x"}, ["CACHE_DIR", "OPENAI_API_TIMEOUT"]),
        ({"STORAGE__BASE_PATH": "x"}, ["STORAGE__BASE_PATH"]),
        ({"CACHE_DIR": "x", "API_MODE": "images"}, ["API_MODE", "CACHE_DIR"]),
        ({"CACHE_DIR": "x"}, []),
        ({"STORAGE__BASE_PATH": ""}, []),
    ],
)
def test_variables_of_older_servers_are_known(
    environment: dict[str, str], expected: list[str]
) -> None:
    """Each is named with what to do; one that other programs have counts only beside another."""
    assert [each.partition(": ")[0] for each in replacements(environment)] == expected


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("GPTIMAGE_STROE", "GPTIMAGE_STORE"),
        ("GPTIMAGE_API_KEY", "OPENAI_API_KEY"),
        ("GPTIMAGE_OPENAI_BASE_URL", "OPENAI_BASE_URL"),
        ("GPTIMAGE_MAX_PER_DAYS", "GPTIMAGE_MAX_PER_DAY"),
        ("GPTIMAGE_CONFIGS", "GPTIMAGE_CONFIG"),
    ],
)
def test_misspelt_variables_are_refused(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit that is misspelt is no limit, so it is not passed over."""
    monkeypatch.setenv(name, "1")

    assert problems() == (f"{name}: there is no such setting; did you mean {meant}?",)


def test_unknown_keys_of_the_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key nobody knows is named; one written like a variable is understood as a guess."""
    file = write(tmp_path, "GPTIMAGE_WAIT = 3\n[server]\nport = 1\n", monkeypatch)

    assert problems() == (
        f"{file}: there is no setting 'GPTIMAGE_WAIT'; did you mean wait?",
        f"{file}: there is no setting 'server'; {LIST}",
    )


def test_the_environment_beats_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both may say something; the variable wins, and an option beats both."""
    file = write(tmp_path, 'wait = 10\nport = 1000\ntransport = "stdio"\n', monkeypatch)
    monkeypatch.setenv("GPTIMAGE_WAIT", "20")

    loaded = load({"transport": "http"})

    found = loaded.settings
    assert (found.wait, found.port, found.transport) == (20.0, 1000, "http")
    origins = [loaded.origins[name] for name in ("wait", "port", "transport", "host")]
    assert origins == ["GPTIMAGE_WAIT", str(file), "--http", "default"]


def test_the_file_is_written_in_toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its values have TOML's own types, and paths may be given from where the file is."""
    write(
        tmp_path,
        '\ufeffapi_key = "sk-1"\nsandbox = true\ncache = false\nstore = "pictures"\n'
        'max_per_call = 0.1\nmax_per_day = "5.00"\ntimeout = 30\nport = 1\n'
        'tokens = ["a,b", "c"]\ninput_folders = ["in", "~/out"]\n',
        monkeypatch,
    )

    found = load().settings

    assert (found.api_key, found.sandbox, found.cache) == ("sk-1", True, None)
    assert (found.store, found.input_folders) == (
        tmp_path / "pictures",
        (tmp_path / "in", tmp_path / "out"),
    )
    assert (found.max_per_call, found.max_per_day) == (Decimal("0.1"), Decimal(5))
    assert (found.timeout, found.port, found.tokens) == (30.0, 1, ("a,b", "c"))


@pytest.mark.parametrize(
    "line",
    [
        "sandbox = 1",
        'input_folders = "~/a"',
        "input_folders = [1]",
        "port = 1.5",
        "port = true",
        "store = false",
        "store = 1979-05-27",
        "max_per_day = nan",
        "wait = {seconds = 1}",
        'tokens = ["two words"]',
        "api_key = 5",
    ],
)
def test_other_types_are_refused(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value of a type that makes no sense is told like any other mistake."""
    file = write(tmp_path, line, monkeypatch)
    name = line.partition(" ")[0]

    (problem,) = problems()

    assert problem.startswith(f"{file}: {name}")


def test_a_named_file_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file somebody named is not passed over when it is missing or broken."""
    monkeypatch.setenv(CONFIG, str(tmp_path / "none.toml"))
    assert problems() == (f"GPTIMAGE_CONFIG: there is no file {tmp_path / 'none.toml'}",)

    file = write(tmp_path, "wait = ?", monkeypatch)
    assert re.search(r"mcp\.toml cannot be read: .*line 1", problems()[0])

    file.write_bytes(b"\xff")
    assert "cannot be read" in problems()[0]


def test_the_usual_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a name the file is looked for where the system has configuration."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("APPDATA", str(tmp_path / "config"))
    file = default_file()
    assert file is not None
    file.parent.mkdir(parents=True)
    file.write_text("wait = 7", encoding="utf-8")

    loaded = load()

    assert (loaded.settings.wait, loaded.file) == (7.0, file)


def test_the_file_is_that_of_the_library(
    fresh_account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file serves command line, library and server; each takes what it knows."""
    file = fresh_account / ".config" / "gptimage" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(
        'model = "gpt-image-2"\nstore = "images"\ncache = true\nbudget = "0.25/call, 5/day"\n'
        'cache_ttl = "24h"\nwait = 7\n',
        encoding="utf-8",
    )

    found, config = load(), gptimage.config.load(project=False)

    server = found.settings
    assert (server.model, server.wait, server.cache_ttl) == ("gpt-image-2", 7.0, timedelta(days=1))
    assert (server.store, str(server.store)) == (file.parent / "images", config.place("store"))
    assert server.limits == {per: usd for per, (usd, _) in config.limits.items()}
    assert (found.origins["store"], config.origin("store")) == (str(file), str(file))
    monkeypatch.setenv("GPTIMAGE_BUDGET", "1/day")
    assert load().settings.limits == {"day": Decimal(1)}


def test_the_file_of_older_versions_is_read(fresh_account: Path) -> None:
    """``mcp.toml`` is read where there is no ``config.toml`` yet."""
    folder = fresh_account / ".config" / "gptimage"
    folder.mkdir(parents=True)
    (folder / "mcp.toml").write_text("wait = 7", encoding="utf-8")

    assert (load().settings.wait, load().file) == (7.0, folder / "mcp.toml")


def test_a_key_may_be_in_a_file(fresh_account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``OPENAI_API_KEY_FILE`` holds for the server as for the library."""
    (fresh_account / "key").write_text(f"{SECRET}\n", encoding="utf-8")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(fresh_account / "key"))

    assert (load().settings.api_key, load().origins["api_key"]) == (SECRET, "OPENAI_API_KEY_FILE")


def test_the_server_does_not_go_without_store_and_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command line may turn off, the server refuses by name."""
    monkeypatch.setenv("GPTIMAGE_STORE", "off")
    monkeypatch.setenv("GPTIMAGE_LEDGER", "off")

    assert [each.partition(": ")[0] for each in problems()] == ["GPTIMAGE_STORE", "GPTIMAGE_LEDGER"]


def test_the_library_knows_the_names_of_the_server() -> None:
    """A key of the shared file that only the server reads is no mistake on the command line."""
    assert ROWS.keys() - SETTINGS.keys() == SERVER_SETTINGS


@pytest.mark.parametrize(
    ("platform", "folder"),
    [
        ("linux", ".config/gptimage"),
        ("darwin", "Library/Application Support/gptimage"),
        ("win32", "AppData/Roaming/gptimage"),
    ],
)
def test_each_system_has_its_own_place(
    platform: str, folder: str, fresh_account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file lies where programs of the system put theirs."""
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.delenv("APPDATA", raising=False)

    assert default_file() == fresh_account / folder / "config.toml"


def test_empty_fields_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients hand over empty text, and bundles a placeholder, for a field left empty."""
    monkeypatch.setenv("OPENAI_API_KEY", "${user_config.api_key}")
    monkeypatch.setenv("GPTIMAGE_MAX_PER_DAY", "")
    monkeypatch.setenv("GPTIMAGE_STORE", "  ")
    monkeypatch.setenv(CONFIG, "${user_config.settings}")

    loaded = load()

    assert (loaded.settings.api_key, loaded.settings.max_per_day) == (None, None)
    assert set(loaded.origins.values()) == {"default"}


@pytest.mark.parametrize("text", ["${OPENAI_API_KEY}", "${OPENAI_API_KEY:-}", "%OPENAI_API_KEY%"])
def test_a_variable_nobody_filled_in_is_told(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that expands nothing would have its placeholder sent to the service as a key."""
    monkeypatch.setenv("OPENAI_API_KEY", text)

    assert re.search(
        r"^OPENAI_API_KEY: .* nobody filled in: it is not set where the client runs", problems()[0]
    )


@pytest.mark.parametrize(
    ("given_settings", "problem"),
    [
        ({"unknown_cost": "1"}, "GPTIMAGE_UNKNOWN_COST: has no effect without"),
        ({"cache": "off", "cache_ttl": "1h"}, "GPTIMAGE_CACHE_TTL: has no effect without GPT"),
        ({"auth_audience": "a"}, "GPTIMAGE_AUTH_AUDIENCE: has no effect without GPTIMAGE_AUTH_ISS"),
        ({"auth_jwks_url": "https://a.b"}, "GPTIMAGE_AUTH_JWKS_URL: has no effect without"),
        ({"auth_scopes": "a"}, "GPTIMAGE_AUTH_SCOPES: has no effect without GPTIMAGE_TOKENS or"),
        ({"path": "/images/mcp"}, "GPTIMAGE_PATH: '/images/mcp' is one of the server's own routes"),
        ({"path": "/health"}, "GPTIMAGE_PATH: '/health' is one of the server's own routes"),
        (
            {"auth_issuer": "https://a.b", "host": "0.0.0.0"},
            "GPTIMAGE_AUTH_ISSUER: whom its tokens must be meant for is not known",
        ),
        (
            {"redis_url": "redis://localhost", "cache": "~/cache"},
            "GPTIMAGE_CACHE: has no effect beside GPTIMAGE_REDIS_URL",
        ),
    ],
)
def test_what_would_be_ignored_is_refused(
    given_settings: dict[str, str], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings that cancel each other out are told, not silently dropped."""
    for name, text in given_settings.items():
        monkeypatch.setenv(variable(name), text)

    assert [each for each in problems() if each.startswith(problem)] == [*problems()]


def test_redis_takes_the_place_of_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a Redis there is no folder of answers unless somebody asks for both."""
    monkeypatch.setenv("GPTIMAGE_REDIS_URL", "redis://localhost")

    assert load().settings.cache is None


@pytest.mark.parametrize("word", ["off", "OFF", "false", "0", "no"])
def test_the_cache_can_be_off(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wants no cache says so."""
    monkeypatch.setenv("GPTIMAGE_CACHE", word)

    assert load().settings.cache is None


def test_an_account_without_home_is_told_what_to_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no home, pictures are not put somewhere that is cleared at night."""

    def homeless(_: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", classmethod(homeless))

    told = problems()
    assert [each.partition(":")[0] for each in told] == [
        "GPTIMAGE_STORE",
        "GPTIMAGE_CACHE",
        "GPTIMAGE_LEDGER",
    ]
    assert "this account has no home folder" in told[0]

    root = Path.cwd().anchor
    for name in ("store", "ledger"):
        monkeypatch.setenv(variable(name), f"{root}data/{name}")
    monkeypatch.setenv("GPTIMAGE_CACHE", "off")
    assert load().settings.store == Path(f"{root}data/store")


def test_settings_made_in_code_are_checked_too(tmp_path: Path) -> None:
    """A program that makes the value itself gets the same lines."""
    with pytest.raises(SettingsError) as caught:
        Settings(store=tmp_path, ledger=tmp_path / "l", wait=-1, port=True, tokens="abc")  # type: ignore[arg-type]  # what an untyped caller might do

    assert caught.value.problems == (
        "GPTIMAGE_WAIT: -1 is no number of seconds from 0 to 3600",
        "GPTIMAGE_PORT: True is no port; write it like 8000",
        "GPTIMAGE_TOKENS: the value is no tuple of values",
    )


def test_secrets_are_not_in_the_repr(tmp_path: Path) -> None:
    """Whoever logs the settings logs no key, token or password."""
    found = Settings(
        store=tmp_path,
        ledger=tmp_path / "l",
        api_key=SECRET,
        tokens=(SECRET,),
        redis_url=f"redis://:{SECRET}@localhost",
    )

    assert SECRET not in repr(found)


def test_every_secret_is_marked() -> None:
    """What is hidden from reprs is hidden from messages and from `--check`, and the reverse."""
    hidden = {each.name for each in fields(Settings) if each.repr is False}

    assert hidden == {name for name in ROWS if ROWS[name].secret}


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from([*ROWS]), text=TEXTS)
def test_any_text_is_a_value_or_a_line(name: str, text: str) -> None:
    """Whatever a variable says, loading makes a value that fits or names the variable."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(variable(name), text)
        found, told = loaded(name)

    assert [each for each in told if not each.startswith(variable(name))] == []
    if ROWS[name].is_path and isinstance(found, Path):
        assert found.is_absolute()


def loaded(name: str) -> tuple[Any, tuple[str, ...]]:
    """A setting's value, or what loading complains of."""
    try:
        return getattr(load().settings, name), ()
    except SettingsError as error:
        return None, error.problems


# ------------------------------------------------------------------ docs/mcp.md


def test_the_table_of_the_docs_is_fresh() -> None:
    """The page's table is what the generator writes of the docstring today."""
    done = subprocess.run([sys.executable, DOCS / "generate_settings.py", "--check"], check=False)

    assert done.returncode == 0, "run docs/generate_settings.py"


def test_the_table_has_every_setting() -> None:
    """Each setting has a row with its variable and a sentence."""
    page = (DOCS / "mcp.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| [^|]*\| (.+) \|$", page, re.MULTILINE))

    assert rows.keys() == {variable(name) for name in ROWS}
    assert [name for name, meaning in rows.items() if len(meaning) < 20] == []


def test_the_example_of_the_docs_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file the page shows is one that works, and each of its lines counts."""
    page = (DOCS / "mcp.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    file = write(tmp_path, example, monkeypatch)

    loaded = load()

    from_file = {name for name in ROWS if loaded.origins[name] == str(file)}
    assert from_file == tomllib.loads(example).keys()
    assert loaded.settings.max_per_call == Decimal("0.50")
