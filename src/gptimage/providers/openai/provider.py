"""OpenAI as a provider: the form that all others are translated from and to."""

from __future__ import annotations

import os

from gptimage.providers.base import Provider
from gptimage.transport.headers import custom_headers


URL = "https://api.openai.com/v1"


def provider(name: str) -> Provider:
    """Return it."""
    return Provider(
        name=name,
        title="OpenAI",
        base_url=URL,
        url_variables=("OPENAI_BASE_URL",),
        key_variables=("OPENAI_API_KEY",),
        headers=_headers,
        files=True,
        streams=True,
        batches=True,
        conversations=True,
    )


def _headers() -> dict[str, str]:
    """Return the headers that the environment sets, as the SDK's client does."""
    named = {
        "openai-organization": os.environ.get("OPENAI_ORG_ID"),
        "openai-project": os.environ.get("OPENAI_PROJECT_ID"),
    }
    found = {name: value for name, value in named.items() if value is not None}
    return {**found, **custom_headers()}
