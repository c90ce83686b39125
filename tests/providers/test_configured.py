"""Choosing a provider by variable, file and flag: the same name at every door."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from gptimage import ConfigurationError, ImageClient
from gptimage.cli.main import main
from gptimage.config import load
from gptimage.providers import Provider, provider
from gptimage.sandbox import Sandbox, SandboxServer


SECRET = "sk-of-openai-0123456789"


@pytest.fixture(autouse=True)
def fresh_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with nothing in it, and a working folder in it."""
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_variable_chooses_the_provider_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``GPTIMAGE_PROVIDER`` holds, with the key and address of that service."""
    with SandboxServer(sandbox=Sandbox(provider="azure")) as server:
        monkeypatch.setenv("GPTIMAGE_PROVIDER", "azure")
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", server.azure_endpoint)
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", "key-of-azure-0123")
        with ImageClient.from_config() as client:
            result = client.generate("A fox", quality="low", size="640x384")

    assert result.model == "azure/gpt-image-2.5-flare"


def test_openais_key_does_not_go_to_another_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment has for OpenAI is not used; the message names the right variable."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("GPTIMAGE_PROVIDER", "xai")

    assert load().text("api_key") is None
    with pytest.raises(ConfigurationError, match="no API key for xAI: set the environment"):
        ImageClient.from_config()


@pytest.mark.parametrize("chosen", ["azure", provider("azure")])
def test_a_provider_given_in_code_gets_no_key_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch, chosen: str | Provider
) -> None:
    """What `from_config` is given beats the configuration, whose key is not for it."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    sandbox, keys = Sandbox(provider="azure"), list[str | None]()

    def noted(headers: Mapping[str, str], path: str) -> None:
        del path
        keys.append(headers.get("api-key"))

    sandbox.dialect.check_key = noted  # type: ignore[method-assign]  # listens in
    with SandboxServer(sandbox=sandbox) as server:
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", server.azure_endpoint)
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", "key-of-azure-0123")
        with ImageClient.from_config(provider=chosen) as client:
            client.generate("A fox", quality="low", size="640x384")

    assert keys == ["key-of-azure-0123"]


def test_a_file_has_provider_key_and_address_together(
    fresh_account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key beside the provider is for it; another provider's flag leaves it unused."""
    file = fresh_account / "own.toml"
    file.write_text('provider = "xai"\napi_key = "key-of-xai-012345"\n')
    monkeypatch.setenv("GPTIMAGE_CONFIG", str(file))

    assert load().text("api_key") == "key-of-xai-012345"
    assert load({"provider": "together"}).text("api_key") is None


def test_a_project_may_not_choose_the_provider(fresh_account: Path) -> None:
    """A repository that was cloned does not decide who reads the prompts."""
    (fresh_account / "gptimage.toml").write_text('provider = "xai"\n')

    with pytest.raises(ConfigurationError, match="a project may not set 'provider'"):
        load()


def test_the_command_line_draws_with_a_provider(capsys: pytest.CaptureFixture[str]) -> None:
    """``--provider`` works with the sandbox as with the service."""
    code = main(
        ["generate", "A fox", "--sandbox", "--provider", "xai", "--size", "640x384", "--json"]
    )
    document = json.loads(capsys.readouterr().out)

    assert (code, document["model"]) == (0, "xai/grok-imagine-image-2.0")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--provider", "azure"], "gpt-image-2 "),
        (["--provider", "openrouter"], "openai/gpt-image-2.5-flare"),
        (["--provider", "together"], "nothing is known of the models of together"),
    ],
)
def test_the_models_of_a_provider_are_listed(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under the names it knows them by."""
    assert main(["models", *arguments]) == 0
    assert words in capsys.readouterr().out


def test_a_provider_that_is_none_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    """The message has the names there are."""
    with pytest.raises(SystemExit) as ended:
        main(["models", "--provider", "azur"])
    assert ended.value.code == 2
    assert "did you mean 'azure'" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["flag", "variable", "model"])
def test_an_estimate_is_that_of_the_provider(
    how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its prices and its parameters hold, without a key."""
    more = {"flag": ["--provider", "gemini"], "model": ["--model", "gemini/gemini-3-pro-image"]}
    if how == "variable":
        monkeypatch.setenv("GPTIMAGE_PROVIDER", "gemini")
    arguments = ["estimate", "A fox", "--size", "1024x1024", *more.get(how, [])]

    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["output_tokens"] == 1120
    assert main([*arguments, "--quality", "low"]) == 2
    assert "Gemini takes no quality" in capsys.readouterr().err


def test_a_dry_run_is_priced_by_the_provider(
    fresh_account: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of requests is checked and priced as the service that would draw it."""
    (fresh_account / "rows.jsonl").write_text('{"prompt": "A fox"}\n')
    arguments = ["many", "rows.jsonl", "--provider", "gemini", "--size", "1024x1024", "--dry-run"]

    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["without_estimate"] == 0


@pytest.mark.parametrize("name", ["azure", "vllm"])
def test_a_missing_address_names_its_variable(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """That of the service, and not OpenAI's, which is not read for it."""
    assert main(["generate", "A fox", "--provider", name]) != 0

    message = capsys.readouterr().err
    assert provider(name).url_variables[0] in message
    assert "OPENAI_BASE_URL" not in message.replace(provider(name).url_variables[0], "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--provider", "gemini", "--model", "gemini-3-pro-imag"],
         ["did you mean model='gemini-3-pro-image'", "for the provider gemini",
          "GOOGLE_GEMINI_BASE_URL"]),
        (["--provider", "azure", "--model", "my-images"], ["name of their deployment"]),
        (["--model", "gemni/gemini-3-pro-image"], ["mean model='gemini/gemini-3-pro-image'"]),
        (["--provider", "openrouter"], ["name one with --model"]),
    ],
)  # fmt: skip
def test_a_wrong_model_says_where_to_look(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The advice is about the service that was asked: its models and its variables."""
    assert main(["generate", "A fox", "--sandbox", "--size", "1024x1024", *arguments]) != 0

    message = capsys.readouterr().err
    assert [each for each in words if each not in message] == []
    assert "OPENAI_BASE_URL" not in message or "--provider" not in arguments
