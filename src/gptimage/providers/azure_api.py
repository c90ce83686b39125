"""Azure's models of OpenAI: the same API under other addresses, with a key or token of its own."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol
from urllib.parse import quote, urlsplit

from attrs import evolve

from gptimage.errors import ConfigurationError
from gptimage.providers.base import Provider
from gptimage.transport.environment import check_key, environment_key
from gptimage.transport.http import HttpRequest


_V1: Final = ("v1", "latest", "preview")
"""Versions that mean the address without one, whose requests name the deployment in the body."""

_DATED: Final = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")
_FIRST: Final = "2025-04-01-preview"
"""The first dated version that draws with GPT image models (Microsoft's page of API versions,
26 August 2025). Microsoft publishes dates on which models retire, and none for these versions."""
_KEY: Final = "AZURE_OPENAI_API_KEY"
_TOKEN: Final = "AZURE_OPENAI_AD_TOKEN"
"""A token that somebody else has got; the SDK's client reads it, too."""
_CREDENTIALS: Final = "AZURE_TOKEN_CREDENTIALS"
"""Which logins azure-identity tries; whoever sets it wants to log in without a key."""
_SCOPE: Final = "https://cognitiveservices.azure.com/.default"
_LOGINS: Final = (
    f"log in to Entra by setting {_CREDENTIALS} (such as prod) with the package azure-identity, "
    f"or a token as {_TOKEN}"
)


class Credential(Protocol):
    """A login of azure-identity, such as ``DefaultAzureCredential()``."""

    def get_token(self, *scopes: str) -> Any:
        """Return an access token, whose ``token`` is the text."""
        ...


def provider(name: str) -> Provider:
    """Return it, at the address without a version."""
    return evolve(azure(), name=name)


def from_environment(name: str) -> Provider:
    """Return it with the version in ``OPENAI_API_VERSION``, which the SDK's client reads, too.

    Without a key it logs in to Entra: with a token of the environment, or as azure-identity does.
    """
    found = azure(api_version=os.environ.get("OPENAI_API_VERSION"))
    token = None
    if environment_key(_KEY)[1] is None:
        if environment_key(_TOKEN)[1] is not None:
            token = _token_of_environment
        elif os.environ.get(_CREDENTIALS):
            token = _token_of(_login)
    return evolve(found, name=name, token=token)


def _token_of_environment() -> str:
    named, token = environment_key(_TOKEN)  # anew each time: a file is renewed
    return check_key(named, token)


def _token_of(login: Callable[[], Credential]) -> Callable[[], str]:
    """Return what gives tokens of a login that is made when the first one is needed."""
    made = functools.cache(login)

    def token() -> Any:
        # The login keeps a token until shortly before it ends.
        found = made().get_token(_SCOPE)
        # One of azure.identity.aio is refused in words, see `Provider.token_headers`.
        return found if inspect.isawaitable(found) else str(found.token)

    return token


def _login() -> Credential:
    try:
        identity: Any = importlib.import_module("azure.identity")  # nothing of ours needs it
    except ImportError as error:
        raise ConfigurationError(
            f"{_CREDENTIALS} is set, and logging in to Azure needs a package: "
            "pip install azure-identity; nothing was sent"
        ) from error
    found: Credential = identity.DefaultAzureCredential()
    return found


def azure(
    endpoint: str | None = None,
    *,
    api_key: str | None = None,
    token: Callable[[], str] | None = None,
    credential: Credential | None = None,
    api_version: str | None = None,
    deployments: Mapping[str, str] | None = None,
) -> Provider:
    """Return Azure as a provider.

    Args:
        endpoint: The resource, such as ``https://name.openai.azure.com``;
            ``AZURE_OPENAI_ENDPOINT`` when left out.
        api_key: The resource's key; ``AZURE_OPENAI_API_KEY`` when left out.
        token: Returns a token of Entra, called before each request.
        credential: A login of azure-identity, such as ``DefaultAzureCredential()``, that gives
            the tokens.
        api_version: A dated version, for addresses of one deployment; the address without a
            version, ``/openai/v1``, when left out.
        deployments: The deployment of each model, where it is not called like the model.

    Raises:
        ConfigurationError: The version is none or too old, or there are two of key, token and
            credential.
    """
    if sum(each is not None for each in (api_key, token, credential)) > 1:
        raise ConfigurationError("azure() takes one of api_key=, token= and credential=")
    if credential is not None:
        token = _token_of(lambda: credential)
    dated = None if api_version in (None, "", *_V1) else api_version
    if dated is not None and not _DATED.fullmatch(dated):
        raise ConfigurationError(
            f"api_version={api_version!r} is no version of Azure's API: write it like "
            f"{_FIRST}, or leave it out"
        )
    if dated is not None and dated < _FIRST:
        raise ConfigurationError(
            f"api_version={dated!r} is older than the GPT image models: {_FIRST} is the first "
            "with them. Leave it out (and OPENAI_API_VERSION) for the address without a version"
        )
    named = dict(deployments or {})

    def address(url: str) -> str:
        return _address(url, dated=dated is not None)

    def to_wire(request: HttpRequest) -> HttpRequest:
        return _to_wire(request, named, dated)

    return Provider(
        name="azure",
        title="Azure",
        base_url=None if endpoint is None else address(endpoint),
        url_variables=("AZURE_OPENAI_ENDPOINT",) if endpoint is None else (),
        address=address,
        key_variables=(_KEY,),
        logins=_LOGINS,
        key_header="api-key",
        api_key=api_key,
        token=token,
        default_model="gpt-image-2.5-flare",
        streams=True,
        # The paths of batches and responses with a dated version differ from deployment to
        # deployment; the address without one has them all.
        batches=dated is None,
        conversations=dated is None,
        form_moderation=True,
        model_header="x-ms-oai-image-generation-deployment",
        to_wire=to_wire,
    )


def _address(url: str, *, dated: bool) -> str:
    """Return the address of the API on a resource, of which people give the host or more."""
    bare = url.rstrip("/")
    for end in ("/v1", "/openai"):
        bare = bare.removesuffix(end)
    if urlsplit(bare).path:
        return url  # of a gateway in front of it, which knows its own paths
    return f"{bare}/openai" if dated else f"{bare}/openai/v1"


def _to_wire(
    request: HttpRequest, deployments: Mapping[str, str], version: str | None
) -> HttpRequest:
    """Name the deployment: in the body, or in the path of a dated version, which takes no model."""
    model = str(request.body.get("model", ""))
    deployment = deployments.get(model, model)
    if version is None:
        return evolve(request, body={**request.body, "model": deployment})
    body = {name: value for name, value in request.body.items() if name != "model"}
    path = f"/deployments/{quote(deployment, safe='')}{request.path}?api-version={version}"
    return evolve(request, path=path, body=body)
