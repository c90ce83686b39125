"""Azure's models of OpenAI: the same API under other addresses, with a key or token of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote, urlsplit

from attrs import evolve

from gptimage.errors import ConfigurationError
from gptimage.providers.base import Provider
from gptimage.transport.http import HttpRequest


_V1: Final = ("v1", "latest", "preview")
"""Versions that mean the address without one, whose requests name the deployment in the body."""

_DATED: Final = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")


def provider(name: str) -> Provider:
    """Return it, at the address without a version."""
    return evolve(azure(), name=name)


def from_environment(name: str) -> Provider:
    """Return it with the version in ``OPENAI_API_VERSION``, which the SDK's client reads, too."""
    return evolve(azure(api_version=os.environ.get("OPENAI_API_VERSION")), name=name)


def azure(
    endpoint: str | None = None,
    *,
    api_key: str | None = None,
    token: Callable[[], str] | None = None,
    api_version: str | None = None,
    deployments: Mapping[str, str] | None = None,
) -> Provider:
    """Return Azure as a provider.

    Args:
        endpoint: The resource, such as ``https://name.openai.azure.com``;
            ``AZURE_OPENAI_ENDPOINT`` when left out.
        api_key: The resource's key; ``AZURE_OPENAI_API_KEY`` when left out.
        token: Returns a token of Entra, such as ``get_bearer_token_provider(credential,
            "https://cognitiveservices.azure.com/.default")`` of azure-identity.
        api_version: A dated version, for addresses of one deployment; the address without a
            version, ``/openai/v1``, when left out.
        deployments: The deployment of each model, where it is not called like the model.

    Raises:
        ConfigurationError: The version is none.
    """
    dated = None if api_version in (None, "", *_V1) else api_version
    if dated is not None and not _DATED.fullmatch(dated):
        raise ConfigurationError(
            f"api_version={api_version!r} is no version of Azure's API: write it like "
            "2025-04-01-preview, or leave it out"
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
        key_variables=("AZURE_OPENAI_API_KEY",),
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
