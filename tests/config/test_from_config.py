"""Clients made from the configuration or from `GPTIMAGE_SANDBOX`: each setting has its effect."""

from __future__ import annotations

import logging
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from gptimage import (
    AsyncImageClient,
    BudgetExceededError,
    ConfigurationError,
    ImageClient,
    Ledger,
    Store,
    TransportError,
)
from gptimage.cache import Cache
from gptimage.config import load
from gptimage.engine.from_config import open_cache


def test_every_setting_reaches_the_client(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Model, store, cache, ledger, budget, templates and limits are the configured ones."""
    (project / "templates").mkdir()
    (project / "templates/mine.toml").write_text('template = "A fox."\n')
    (project / "gptimage.toml").write_text(
        'sandbox = true\nmodel = "gpt-image-2"\nchat_model = "gpt-5.5"\nstore = "images"\n'
        'cache = "replies"\ntemplates = "templates"\nbudget = "1/day"\n'
    )
    monkeypatch.setenv("GPTIMAGE_LEDGER", str(project / "spend.sqlite"))
    with ImageClient.from_config() as client:
        result = client.generate(client.render("mine"), size="1024x1024", quality="low")
        again = client.generate(client.render("mine"), size="1024x1024", quality="low")
        chat = client.conversation().chat_model

    assert (result.model, result.sandbox, again.cached, chat) == (
        "gpt-image-2",
        True,
        True,
        "gpt-5.5",
    )
    assert Store(project / "images").get(result.stored[0].id).sandbox is True
    assert (project / "sandbox-spend.sqlite").is_file()
    assert (project / "replies").is_dir()


def test_the_budget_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that could cross the configured budget is not sent."""
    monkeypatch.setenv("GPTIMAGE_SANDBOX", "1")
    monkeypatch.setenv("GPTIMAGE_BUDGET", "0.0001/day")
    with ImageClient.from_config() as client, pytest.raises(BudgetExceededError):
        client.generate("A fox", size="1024x1024", quality="low")


def test_keywords_beat_the_configuration(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger given in code is the one that counts."""
    monkeypatch.setenv("GPTIMAGE_SANDBOX", "1")
    monkeypatch.setenv("GPTIMAGE_BUDGET", "5/day")
    ledger = Ledger(project / "own.sqlite")
    with ImageClient.from_config(ledger=ledger, model="gpt-image-2") as client:
        result = client.generate("A fox", size="1024x1024", quality="low")

    assert result.model == "gpt-image-2"
    assert result.cost is not None
    assert ledger.spent() == result.cost.usd > Decimal(0)


def test_no_key_is_a_configuration_error() -> None:
    """Without a key the message names both variables and the sandbox."""
    with pytest.raises(ConfigurationError, match=r"OPENAI_API_KEY_FILE.*GPTIMAGE_SANDBOX"):
        ImageClient.from_config()


@pytest.mark.anyio
async def test_the_async_client_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin reads the same configuration."""
    monkeypatch.setenv("GPTIMAGE_SANDBOX", "1")
    async with AsyncImageClient.from_config() as client:
        result = await client.generate("A fox", size="1024x1024", quality="low")

    assert result.sandbox is True


def test_the_variable_reaches_a_plain_client(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """``ImageClient()`` draws offline, also where there is a key, and the logger says so."""
    monkeypatch.setenv("GPTIMAGE_SANDBOX", "1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with caplog.at_level(logging.WARNING, "gptimage"), ImageClient(timeout=30) as client:
        result = client.generate("A fox", size="1024x1024", quality="low")

    assert result.sandbox is True
    assert [each.message for each in caplog.records if "GPTIMAGE_SANDBOX" in each.message]


@pytest.mark.anyio
async def test_the_variable_reaches_a_plain_async_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``AsyncImageClient()`` does the same."""
    monkeypatch.setenv("GPTIMAGE_SANDBOX", "true")
    async with AsyncImageClient() as client:
        result = await client.generate("A fox", size="1024x1024", quality="low")

    assert result.sandbox is True


@pytest.mark.parametrize("value", ["", "0", "false", "off"])
def test_the_variable_can_be_off(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Without a key, and without the sandbox, there is no client."""
    monkeypatch.setenv("GPTIMAGE_SANDBOX", value)
    with pytest.raises(ConfigurationError, match="API key"):
        ImageClient()


def test_an_explicit_address_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names a key or an address means that service."""
    monkeypatch.setenv("GPTIMAGE_SANDBOX", "1")
    client = ImageClient(api_key="sk-x", base_url="http://127.0.0.1:1/v1", retry=0)
    with client, pytest.raises(TransportError):
        client.generate("A fox")


def test_a_wrong_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is neither yes nor no is not guessed: the difference is paid for."""
    monkeypatch.setenv("GPTIMAGE_SANDBOX", "maybe")
    with pytest.raises(ConfigurationError, match="GPTIMAGE_SANDBOX"):
        ImageClient()


def test_the_key_file_reaches_a_plain_client(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``OPENAI_API_KEY_FILE`` is enough for ``ImageClient()``."""
    (project / "key").write_text("sk-of-the-file\n")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(project / "key"))
    client = ImageClient(base_url="http://127.0.0.1:1/v1", retry=0)
    with client, pytest.raises(TransportError):
        client.generate("A fox")


def test_the_cache_has_the_limits_that_are_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``cache_ttl`` and ``cache_size`` reach the cache; without one they are refused by name."""
    monkeypatch.setenv("GPTIMAGE_CACHE_TTL", "24h")
    monkeypatch.setenv("GPTIMAGE_CACHE_SIZE", "500MB")
    with pytest.raises(ConfigurationError, match=r"GPTIMAGE_CACHE_TTL: .*has no effect"):
        load()
    monkeypatch.setenv("GPTIMAGE_CACHE", str(tmp_path / "cache"))
    passed: dict[str, object] = {}

    def disk(path: str, **limits: object) -> None:
        passed.update(limits, path=path)

    monkeypatch.setattr(Cache, "disk", disk)
    open_cache(load())

    assert passed == {
        "path": str(tmp_path / "cache"),
        "ttl": timedelta(hours=24),
        "max_bytes": 500_000_000,
    }
