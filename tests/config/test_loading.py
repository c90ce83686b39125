"""The configuration: which source wins, what a project may say, and what is refused by name."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

import pytest

from gptimage import ConfigurationError
from gptimage.config import SETTINGS, load, user_file


KEY = "sk-secret-0123456789"


def write_user_file(text: str) -> Path:
    """Write the user's file."""
    path = user_file()
    assert path is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_nothing_is_configured(home: Path) -> None:
    """Without any source there are the usual store and ledger, and no cache."""
    config = load()

    assert (config.values, config.limits, config.file, config.project) == ({}, {}, None, None)
    assert config.place("store") == str(home / "Pictures" / "gptimage")
    assert config.place("ledger") == str(home / ".local/state/gptimage/ledger.sqlite")
    assert config.is_off("cache")


def test_flag_beats_variable_beats_project_beats_user(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each source is tried alone on top of the weaker ones."""
    found: list[tuple[str | None, str]] = []
    path = write_user_file('model = "of-user"')
    found.append((load().text("model"), load().origin("model")))
    (project / "gptimage.toml").write_text('model = "of-project"')
    found.append((load().text("model"), load().origin("model")))
    monkeypatch.setenv("GPTIMAGE_MODEL", "of-variable")
    found.append((load().text("model"), load().origin("model")))
    config = load({"model": "of-flag"})
    found.append((config.text("model"), config.origin("model")))

    assert found == [
        ("of-user", str(path)),
        ("of-project", str(project / "gptimage.toml")),
        ("of-variable", "GPTIMAGE_MODEL"),
        ("of-flag", "--model"),
    ]


def test_pyproject_counts_from_a_folder_below(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``[tool.gptimage]`` of the repository holds in its folders, and paths start from it."""
    (project / "pyproject.toml").write_text('[tool.gptimage]\nstore = "images"\n')
    (project / "src").mkdir()
    monkeypatch.chdir(project / "src")

    config = load()

    assert config.place("store") == str(project / "images")
    assert config.project == project / "pyproject.toml"


def test_a_file_above_the_repository_does_not_count(project: Path) -> None:
    """The search ends where the repository does."""
    (project.parent / "gptimage.toml").write_text('model = "of-somebody"')

    assert load().values == {}


@pytest.mark.parametrize(
    "line",
    [
        'api_key = "sk-x"',
        'base_url = "https://evil.example/v1"',
        "timeout = 0.1",
        'ledger = "other.sqlite"',
        'redis_url = "redis://evil.example"',
        'proxy = "http://evil.example"',
        'provider = "other"',
        'fallback = "other"',
        "retry = 9",
        "unknown_cost = 0",
        "images_per_minute = 100000",
        'tokens = ["x"]',
        'store = "../outside"',
        'store = "~/outside"',
        'cache = "/outside"',
        'store = "s3://bucket/x"',
        'templates = ".."',
        "sandbox = false",
    ],
)
@pytest.mark.parametrize("file", ["gptimage.toml", "pyproject.toml"])
def test_a_project_can_do_no_harm(project: Path, file: str, line: str) -> None:
    """A cloned repository cannot send the key elsewhere, spend, or write outside of itself."""
    head = "[tool.gptimage]\n" if file == "pyproject.toml" else ""
    (project / file).write_text(head + line)

    with pytest.raises(ConfigurationError, match=line.partition(" ")[0]):
        load()


def test_a_link_out_of_the_project_is_refused(project: Path, tmp_path: Path) -> None:
    """A folder of the project that leads elsewhere is not inside of it."""
    (project / "images").symlink_to(tmp_path)
    (project / "gptimage.toml").write_text('store = "images"')

    with pytest.raises(ConfigurationError, match="inside the project"):
        load()


def test_a_project_may_only_lower_a_budget(project: Path) -> None:
    """Of the user's and the project's limit per period the lower one holds."""
    write_user_file('budget = "5/day"\nmax_per_call = 0.10')
    file = project / "gptimage.toml"
    file.write_text('budget = "2/day, 9/call, 20/month"')

    config = load()

    assert {per: usd for per, (usd, _) in config.limits.items()} == {
        "day": Decimal(2),
        "call": Decimal("0.10"),
        "month": Decimal(20),
    }
    [note] = config.notes
    assert note.startswith(f"{file}: 9/call is not used, because a project may only lower a budget")


def test_budgets_of_the_user_replace_each_other_per_period(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``--budget`` for a call leaves the file's limit of a day in force."""
    path = write_user_file("max_per_day = 5")
    monkeypatch.setenv("GPTIMAGE_BUDGET", "1/call")

    config = load({"budget": "$0.25 per call"})

    assert config.limits == {
        "day": (Decimal(5), str(path)),
        "call": (Decimal("0.25"), "--budget"),
    }


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("GPTIMAGE_BUDGET", "5", "AMOUNT/PERIOD"),
        ("GPTIMAGE_BUDGET", "5/week", "one of call, hour"),
        ("GPTIMAGE_BUDGET", "1/day, 2/day", "twice"),
        ("GPTIMAGE_MAX_PER_DAY", "NaN", "no amount"),
        ("GPTIMAGE_SANDBOX", "perhaps", "neither yes nor no"),
        ("GPTIMAGE_TIMEOUT", "0", "no number of seconds"),
        ("GPTIMAGE_TIMEOUT", "1e300", "no number of seconds"),
        ("GPTIMAGE_CACHE_SIZE", f"{'9' * 400}GB", "no size"),
        ("GPTIMAGE_IMAGES_PER_MINUTE", "1.5", "no whole number"),
        ("GPTIMAGE_CACHE", "http://x", "an address"),
        ("GPTIMAGE_UNKNOWN_COST", "1", "without a budget"),
        ("GPTIMAGE_BUDGT", "5/day", "did you mean GPTIMAGE_BUDGET"),
        ("GPTIMAGE_CONFIG", "missing.toml", "no file"),
        ("OPENAI_API_KEY_FILE", "missing", "cannot be read"),
        ("OPENAI_API_KEY_FILE", os.devnull, "a pipe or a device"),
        ("OPENAI_BASE_URL", "ftp://x", "no address"),
    ],
)
def test_variables_are_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    """What cannot have its effect stops everything before anything is sent."""
    monkeypatch.setenv(name, value)

    with pytest.raises(ConfigurationError, match=words) as caught:
        load()

    assert name.removeprefix("GPTIMAGE_").lower() in str(caught.value).lower()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stroe = 1", "did you mean store"),
        ("model = 5", "wrong type"),
        ('model = "a b"', "no name"),
        ("model = ", "cannot be read"),
        ('max_per_day = 1\nbudget = "2/day"', "keep one"),
    ],
)
def test_a_wrong_file_is_refused(text: str, words: str) -> None:
    """The file and the key are named."""
    path = write_user_file(text)

    with pytest.raises(ConfigurationError, match=words) as caught:
        load()

    assert str(path) in str(caught.value)


def test_keys_of_the_server_are_left_to_it() -> None:
    """The file is shared: what only the MCP server reads is no error here."""
    write_user_file('transport = "http"\nport = 8000\nmodel = "gpt-image-2"')

    assert load().values == {"model": "gpt-image-2"}


def test_the_key_comes_from_a_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mounted secret ends with a line break, which no header can hold."""
    (project / "key").write_text(f"{KEY}\n")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", "key")

    config = load()

    assert (config.text("api_key"), config.origin("api_key")) == (KEY, "OPENAI_API_KEY_FILE")


def test_two_keys_are_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which of two keys would be billed is not guessed."""
    (project / "key").write_text(KEY)
    monkeypatch.setenv("OPENAI_API_KEY_FILE", "key")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    with pytest.raises(ConfigurationError, match="both set"):
        load()


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the rows nor the repr hold the key, or a password of an address."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "https://me:hunter22@proxy.example/v1")
    monkeypatch.setenv("GPTIMAGE_REDIS_URL", "redis://:hunter22@localhost")

    config = load()

    assert KEY not in f"{list(config.rows())} {config!r}"
    assert "hunter22" not in f"{list(config.rows())} {config!r}"
    assert [name for name, *_ in config.rows()] == [
        name for name in SETTINGS if not name.startswith("max_per")
    ]


def test_the_sandbox_has_a_ledger_of_its_own(home: Path) -> None:
    """What costs nothing is not entered among what was paid, unless a flag says so."""
    usual = load({"sandbox": True}).place("ledger")
    named = load({"sandbox": True, "ledger": "mine.sqlite"}).place("ledger")

    assert usual == str(home / ".local/state/gptimage/sandbox-ledger.sqlite")
    assert named == "mine.sqlite"


@pytest.mark.parametrize("of_file", ["azure", None])
@pytest.mark.parametrize("chosen", ["openai", "xai", "azure", None])
def test_a_key_goes_to_its_own_provider_alone(
    project: Path, monkeypatch: pytest.MonkeyPatch, of_file: str | None, chosen: str | None
) -> None:
    """What stands in a file is for the provider it names, ``OPENAI_API_KEY`` for OpenAI."""
    named = f'provider = "{of_file}"\n' if of_file else ""
    write_user_file(f'{named}api_key = "of-the-file-0123"\nbase_url = "https://file.example"')
    whose = of_file or "openai"
    for has_variable in (False, True):
        if has_variable:
            monkeypatch.setenv("OPENAI_API_KEY", KEY)

        config = load({"provider": chosen})

        effective = chosen or whose
        of_its_own = KEY if has_variable and effective == "openai" else None
        of_file_too = effective == whose
        expected = of_its_own or ("of-the-file-0123" if of_file_too else None)
        assert config.text("api_key") == expected
        assert config.text("base_url") == ("https://file.example" if of_file_too else None)
