"""How a client reaches a provider: its address, its key or token, and what is refused before."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openai
import pytest

from gptimage import (
    AsyncImageClient,
    AuthenticationError,
    ConfigurationError,
    ImageClient,
    InvalidRequestError,
    ModelRetiredError,
    NotFoundError,
)
from gptimage.providers import Provider, azure, compatible, names, provider
from gptimage.sandbox import Sandbox, SandboxServer


KEY = "key-4f7a9c1e2b"
QUICK: dict[str, Any] = {"quality": "low", "size": "640x384"}


class Site:
    """A running sandbox, and the headers of what reaches it; it keeps no keys itself."""

    def __init__(self, name: Any) -> None:
        self.sandbox = Sandbox(provider=name)
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        check = self.sandbox.dialect.check_key

        def noted(headers: Any, path: str) -> None:
            self.headers.append({name.lower(): value for name, value in headers.items()})
            self.paths.append(path)
            check(headers, path)

        self.sandbox.dialect.check_key = noted  # type: ignore[method-assign]  # listens in
        self.server = SandboxServer(sandbox=self.sandbox)
        self.azure_endpoint = self.server.azure_endpoint
        self.base_url = self.server.base_url


@pytest.fixture
def site() -> Iterator[Site]:
    """A resource of Azure."""
    found = Site("azure")
    with found.server:
        yield found


def headers(site: Site) -> dict[str, str]:
    """The headers of the last request, under lower-case names."""
    return site.headers[-1]


def test_azure_is_found_in_the_environment(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Address and key come from Azure's variables, and the key goes in Azure's header alone."""
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", site.azure_endpoint)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai-0123456789")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-openai")
    with ImageClient(provider="azure") as client:
        result = client.generate("A fox", **QUICK)

    assert result.model == "azure/gpt-image-2.5-flare"
    assert headers(site)["api-key"] == KEY
    assert headers(site).keys() & {"authorization", "openai-organization"} == set()


def test_a_call_of_openais_client_can_go_to_azure(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of the model chooses address and key; OpenAI's key stays at home."""
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", f"{site.azure_endpoint}/openai/v1/")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    with ImageClient(api_key="sk-of-openai-0123456789") as client:
        result = client.generate("A fox", model="azure/gpt-image-2", **QUICK)

    assert result.model == "azure/gpt-image-2"
    assert (headers(site)["api-key"], "authorization" in headers(site)) == (KEY, False)


@pytest.mark.parametrize("operation", ["generate", "edit"])
def test_a_dated_version_names_the_deployment_in_the_path(site: Site, operation: str) -> None:
    """The body then has no model, in JSON and in forms; a deployment may have its own name."""
    service = azure(
        site.azure_endpoint,
        api_key=KEY,
        api_version="2025-04-01-preview",
        deployments={"gpt-image-2": "gpt-image-2-2026-04-21"},
    )
    with ImageClient(provider=service, model="gpt-image-2") as client:
        result = client.generate("A fox", **QUICK)
        if operation == "edit":
            result = client.edit("in blue", result.image, **QUICK)

    path = f"images/{'generations' if operation == 'generate' else 'edits'}"
    assert (result.model, result.cost is None) == ("azure/gpt-image-2", False)
    assert f"/deployments/gpt-image-2-2026-04-21/{path}" in site.paths[-1]


def test_a_token_is_asked_for_before_each_request(site: Site) -> None:
    """A token of Entra lives for an hour: the function that knows a fresh one is always asked."""
    tokens = iter(["token-one-123456", "token-two-123456"])
    service = azure(site.azure_endpoint, token=lambda: next(tokens))
    sent: list[str] = []
    with ImageClient(provider=service) as client:
        for prompt in ("A fox", "A hare"):
            client.generate(prompt, **QUICK)
            sent.append(headers(site)["authorization"])

    assert sent == ["Bearer token-one-123456", "Bearer token-two-123456"]
    assert "api-key" not in headers(site)


class Login:
    """A login as azure-identity has them."""

    scopes: tuple[str, ...] = ()
    made = 0

    def __init__(self) -> None:
        Login.made += 1

    def get_token(self, *scopes: str) -> Any:
        """Return a token, as azure-identity does."""
        Login.scopes = scopes
        return SimpleNamespace(token="token-of-login-1234", expires_on=2**31)


@pytest.mark.parametrize("how", ["credential", "environment", "token", "key"])
def test_azure_logs_in_to_entra(
    site: Site, monkeypatch: pytest.MonkeyPatch, how: str, tmp_path: Path
) -> None:
    """With a login, one of azure-identity or a token somebody else got; a key beats them."""
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", site.azure_endpoint)
    monkeypatch.setitem(
        sys.modules, "azure.identity", SimpleNamespace(DefaultAzureCredential=Login)
    )
    service: Any = "azure"
    if how == "credential":
        service = azure(credential=Login())
    else:
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "prod")
    if how == "token":
        file = tmp_path / "token"
        file.write_text("token-of-file-1234")
        monkeypatch.setenv("AZURE_OPENAI_AD_TOKEN_FILE", str(file))
    if how == "key":
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    made = Login.made
    with ImageClient(provider=service) as client:
        for _ in range(2):
            client.generate("A fox", **QUICK)

    expected = {"token": "Bearer token-of-file-1234", "key": None}
    assert headers(site).get("authorization") == expected.get(how, "Bearer token-of-login-1234")
    assert Login.made - made == (1 if how == "environment" else 0)
    if how in ("credential", "environment"):
        assert Login.scopes == ("https://cognitiveservices.azure.com/.default",)


def test_a_login_needs_its_package(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable asks for it; without azure-identity the error says what to install."""
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", site.azure_endpoint)
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "prod")
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    with (
        ImageClient(provider="azure") as client,
        pytest.raises(ConfigurationError, match="pip install azure-identity"),
    ):
        client.generate("A fox", **QUICK)

    assert site.sandbox.requests == []


@pytest.mark.parametrize("how", ["token", "credential"])
def test_a_token_that_is_awaited_is_refused(site: Site, how: str) -> None:
    """A login of azure.identity.aio gives no token here, and the error says which does."""

    async def token(*scopes: str) -> str:
        return "token"

    given: Any = {how: token if how == "token" else SimpleNamespace(get_token=token)}
    with (
        ImageClient(provider=azure(site.azure_endpoint, **given)) as client,
        pytest.raises(ConfigurationError, match=r"not of azure.identity.aio"),
    ):
        client.generate("A fox", **QUICK)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"api_version": "2024-10-21"}, "2025-04-01-preview is the first"),
        ({"api_version": "latest-1"}, "no version"),
        ({"api_key": KEY, "credential": Login()}, "one of"),
    ],
)
def test_what_azure_cannot_use_is_refused_at_once(how: Any, words: str) -> None:
    """An older version has none of these models, and two ways to log in are one too many."""
    with pytest.raises(ConfigurationError, match=words):
        azure("https://name.openai.azure.com", **how)


@pytest.mark.anyio
async def test_a_token_that_fails_sends_nothing(site: Site) -> None:
    """The error says whose token it was, and nothing was sent or may be billed."""

    def fail() -> str:
        raise RuntimeError("no login")

    service = azure(site.azure_endpoint, token=fail)
    async with AsyncImageClient(provider=service) as client:
        with pytest.raises(ConfigurationError, match=r"no token for Azure .*no login.*not"):
            await client.generate("A fox", **QUICK)

    assert site.sandbox.requests == []


def test_a_wrong_key_names_the_variable_of_its_provider(site: Site) -> None:
    """The advice is not about the key of another service."""
    service = azure(site.azure_endpoint, api_key="sk-invalid")
    with (
        ImageClient(provider=service) as client,
        pytest.raises(AuthenticationError, match=r"check AZURE_OPENAI_API_KEY"),
    ):
        client.generate("A fox")


def test_azure_knows_its_own_dates_and_successors() -> None:
    """A model that Azure retired is refused with one that Azure has."""
    with ImageClient.sandbox(provider="azure") as client:
        with pytest.raises(ModelRetiredError, match=r"2026-10-23; use gpt-image-2$"):
            client.generate("A fox", model="gpt-image-1")
        with pytest.raises(NotFoundError, match="deployment"):
            client.generate("A fox", model="gpt-image-2.6-flare")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"provider": "azur"}, r"no provider 'azur', did you mean 'azure'"),
        ({"provider": "azure"}, r"Azure has no address.*AZURE_OPENAI_ENDPOINT \(or base_url="),
        (
            {"provider": "azure", "base_url": "https://name.openai.azure.com"},
            r"no API key for Azure: set the environment variable AZURE_OPENAI_API_KEY \(or AZURE_",
        ),
        ({"provider": "generic"}, r"this server has no address.*GENERIC_BASE_URL \(or base_url="),
        ({"provider": 7}, r"provider=7: it must be the name of one"),
        ({"providers": "azure"}, r"providers='azure': it must be a list"),
    ],
)
def test_what_cannot_connect_is_refused_at_once(settings: dict[str, Any], words: str) -> None:
    """The message says which variable or parameter is missing or wrong."""
    with pytest.raises(ConfigurationError, match=words):
        ImageClient(**settings)


def test_a_provider_beside_a_client_of_the_sdk_is_refused() -> None:
    """The SDK's client decides where it sends."""
    with pytest.raises(ConfigurationError, match="provider would be ignored beside openai="):
        ImageClient(openai=openai.OpenAI(api_key=KEY), provider="azure")


def test_a_key_in_a_file_holds_for_every_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``NAME_FILE`` is read as for OpenAI's key, and no repr shows what was in it."""
    (tmp_path / "key").write_text(f"{KEY}\n")
    monkeypatch.setenv("XAI_API_KEY_FILE", str(tmp_path / "key"))
    found = provider("xai").connected()

    assert found.api_key == KEY
    assert KEY not in repr(found)


def test_slashes_belong_to_servers_that_have_them() -> None:
    """A name with a slash goes to a server at another address as it is."""
    with SandboxServer() as server:
        own = compatible("lab", server.base_url, profile="litellm", api_key=KEY)
        with (
            ImageClient(provider=own) as client,
            pytest.raises(NotFoundError, match="azure/gpt-image-2"),
        ):
            client.generate("A fox", model="azure/gpt-image-2")
        with (
            ImageClient(base_url=server.base_url, api_key=KEY) as client,
            pytest.raises(NotFoundError, match="openai/gpt-image-2"),
        ):
            client.generate("A fox", model="openai/gpt-image-2")


def test_a_server_of_ones_own_is_listed_by_name() -> None:
    """``providers=`` makes its name one that a model may begin with."""
    site = Site("openai")
    with site.server:
        own = compatible("lab", site.base_url, api_key=KEY)
        with ImageClient(api_key="sk-of-openai-0123456789", providers=[own]) as client:
            result = client.generate("A fox", model="lab/gpt-image-2")

    assert result.model == "lab/gpt-image-2"
    assert headers(site)["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("xai", {"background": "transparent"}, r"xAI takes no background.*openai, azure"),
        ("xai", {"quality": "high"}, r"quality=high: xAI takes low and medium"),
        ("together", {"n": 5}, r"Together draws at most 4 in one call.*openai"),
        ("together", {"format": "webp"}, r"format=webp: Together draws png and jpeg"),
        ("openrouter", {"moderation": "low"}, r"OpenRouter takes no moderation"),
        ("localai", {"prompt": "a | b"}, r"LocalAI reads what follows a bar"),
        ("vllm", {"size": "auto"}, r"chooses no size by itself"),
        ("sdcpp", {"quality": "low"}, r"sd.cpp takes no quality"),
        ("generic", {"format": "webp"}, r"this server takes no format.*openai"),
        ("litellm", {"complexity": "low"}, r"the LiteLLM proxy takes no complexity"),
    ],
)
def test_what_a_provider_cannot_do_is_refused_by_name(
    name: str, options: dict[str, Any], words: str
) -> None:
    """Nothing is sent, and the message names providers that can."""
    service = compatible("own", "http://127.0.0.1:9/v1", profile=name)
    asked = {"prompt": "A fox", "model": "some-model", **options}
    with (
        ImageClient(provider=service) as client,
        pytest.raises(InvalidRequestError, match=words),
    ):
        client.generate(**asked)


def test_every_provider_has_a_name_a_title_and_a_closed_set() -> None:
    """The table in the documentation is made of these."""
    found = {name: provider(name) for name in names()}

    assert {name: each.name for name, each in found.items()} == {name: name for name in found}
    assert all(each.title and "prompt" in each.parameters for each in found.values())


def test_a_providers_name_is_a_word() -> None:
    """A slash in it could never be found in front of a model."""
    with pytest.raises(ConfigurationError, match="must be a word in small letters"):
        Provider(name="a/b", title="A")


def test_a_conversation_is_refused_where_there_is_none() -> None:
    """It needs the Responses API; the message names services that have it."""
    with ImageClient.sandbox(provider="xai") as client:
        talk = client.conversation()
        with pytest.raises(InvalidRequestError, match=r"xAI has no Responses API.*openai, azure"):
            talk.send("A fox")


def test_a_conversation_goes_to_the_provider_of_its_image_model(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client of OpenAI sends the turn to Azure, with Azure's key and its header of the model."""
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", site.azure_endpoint)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    with ImageClient(api_key="sk-of-openai-0123456789") as client:
        turn = client.conversation(image_model="azure/gpt-image-2").send("A fox")

    sent = headers(site)
    assert turn.result.model == "azure/gpt-image-2"
    assert sent["api-key"] == KEY
    assert sent["x-ms-oai-image-generation-deployment"] == "gpt-image-2"


def test_a_password_in_the_address_of_another_provider_stays_with_its_transport(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither a repr, a cache key nor the address of a download has it."""
    monkeypatch.setenv("VLLM_BASE_URL", "http://user:of-the-proxy-77@127.0.0.1:9/v1")
    with ImageClient(api_key="sk-of-openai-0123456789") as client:
        found, _, _ = client._config.services.resolve("vllm/FLUX.1-dev")

    assert found.base_url == "http://127.0.0.1:9/v1"


def test_a_profile_that_is_none_is_bad_configuration() -> None:
    """Azure is no profile; the message has those there are."""
    with pytest.raises(ConfigurationError, match="no profile 'azure': there are openrouter"):
        compatible("lab", "http://127.0.0.1:9/v1", profile="azure")


def test_a_password_in_an_address_is_not_shown() -> None:
    """A provider is a value that people print."""
    assert "pass-77-word" not in repr(compatible("lab", "http://user:pass-77-word@lab.example/v1"))
