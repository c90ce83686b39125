"""Advice about an error of the service, in one sentence that fits its cause."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from gptimage._internal.data import data_text
from gptimage.errors import (
    ApiError,
    ModerationError,
    NotFoundError,
    OrganizationNotVerifiedError,
    QuotaExceededError,
    RateLimitError,
)
from gptimage.transport.environment import KEY


_NAMED: Final = re.compile(r"\bmodel:? [`'\"](?P<name>[\w./:-]{1,100})[`'\"]")

_MODELS: Final = "client.models()"
_CERTAIN: Final = (ModerationError, QuotaExceededError, OrganizationNotVerifiedError)
"""Classes that come from a code or a sentence of their own; their advice fits."""


class Service(NamedTuple):
    """What advice names of the service that refused.

    Attributes:
        key: The environment variable of its key.
        url: What sets its address.
        name: The provider's name; empty for OpenAI.
        catalogue: Whose rows of the catalogue hold there.
    """

    key: str = KEY
    url: str = "base_url"
    name: str = ""
    catalogue: str = "openai"


OPENAI: Final = Service()


# Read while nothing has failed: a refusal may come when no file can be opened.
_TABLE: Final[Mapping[str, Any]] = tomllib.loads(data_text(__name__, "advice.toml"))


def _time(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 3 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:g} seconds"


def advice_for(
    kind: type[ApiError],
    status: int,
    text: str,
    retry_after: float | None,
    service: Service = OPENAI,
) -> str | None:
    """Say what to do, from what the body says where that is known, else from the class.

    Args:
        kind: The class of the error.
        status: The HTTP status.
        text: Code, type, message and body.
        retry_after: Seconds the service asks to wait, or None.
        service: Whose error it is.
    """
    found = _advice(kind, status, text, retry_after, service)
    if found is None:
        return None
    models = f"client.models() for the provider {service.name}" if service.name else _MODELS
    return (
        found.replace("{key}", service.key)
        .replace("base_url", service.url)
        .replace(_MODELS, models)
    )


def _advice(
    kind: type[ApiError], status: int, text: str, retry_after: float | None, service: Service
) -> str | None:
    for cause in () if kind in _CERTAIN else _TABLE["causes"]:
        if status in cause["statuses"] and re.search(cause["sign"], text, re.IGNORECASE):
            advice: str = cause["advice"]
            return advice
    if kind is NotFoundError and (near := _near(text, service)):
        return near
    if kind is RateLimitError and retry_after:
        return f"{_TABLE['classes'][kind.__name__]} {_time(retry_after)}"
    usual: str | None = _TABLE["classes"].get(kind.__name__)
    return usual


def _near(text: str, service: Service) -> str | None:
    """Models with a name like the one the service does not know."""
    match = _NAMED.search(text)
    if match is None:
        return None
    from difflib import get_close_matches

    from gptimage.models.catalog import Models

    name = match["name"]
    known = [
        model.id
        for model in Models.load().for_provider(service.catalogue)
        if model.shutdown is None
    ]
    found = [each for each in get_close_matches(name.lower(), known, n=3) if each != name]
    if not found:
        return None
    return f"did you mean {' or '.join(found)}? client.models() lists what there is"
