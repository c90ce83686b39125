"""Advice about an error of the service, in one sentence that fits its cause."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from gptimage.errors import (
    ApiError,
    AuthenticationError,
    ModerationError,
    NotFoundError,
    OrganizationNotVerifiedError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
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


class _Case(NamedTuple):
    """A cause the class of an error does not tell.

    Attributes:
        statuses: The HTTP statuses it comes with.
        sign: What the body says.
        advice: What to do.
    """

    statuses: tuple[int, ...]
    sign: str
    advice: str


_SPECIAL: Final = (
    _Case(
        (400, 401, 403, 451),
        r"unsupported_country|country, region|region, or territory|location is not supported"
        r"|not available in your (?:country|region)|country not supported",
        "the service does not serve the country this machine, its proxy or VPN is in; run it "
        "where the service is offered, or use another service (base_url)",
    ),
    _Case(
        (400, 401, 403),
        r"(?:temporarily|been) (?:blocked|suspended|disabled)|account_deactivated"
        r"|deactivated|access_terminated",
        "the service has blocked this account or resource; write to its support, since "
        "another request or key of the same account is refused as well",
    ),
    _Case(
        (401,),
        r"mismatched_(?:organization|project)|no such (?:organization|project)",
        "the key belongs to another organization or project than OPENAI_ORG_ID or "
        "OPENAI_PROJECT_ID names: unset them, or take a key of theirs",
    ),
    _Case(
        (401, 403),
        r"virtual network|firewall rules|ip[ _](?:address )?(?:is )?not[ _]authori[sz]ed"
        r"|not allowed from (?:this|your) ip|ip_not_authorized",
        "the account lets only some networks in: add this machine's public address to its "
        "list, or go through the network that is on it",
    ),
    _Case(
        (403,),
        r"cloudflare|you have been blocked|attention required|access denied.*edgesuite"
        r"|just a moment|<html",  # the service itself sends no pages
        "a firewall in front of the service refused the connection, not the service: another "
        "network or fewer requests may help; the key and the model are not the cause",
    ),
    _Case(
        (404,),
        r"deploymentnotfound|deployment for this resource does not exist",
        "Azure knows models by the name of their deployment: pass that as model=, and wait "
        "five minutes after creating one",
    ),
    _Case(
        (405,),
        r"",
        "this address takes no POST: base_url is wrong, or a redirect on the way turned POST "
        "into GET (https:// instead of http://, the right host)",
    ),
    _Case(
        (407,),
        r"",
        "the proxy wants a user name and password: put them into HTTPS_PROXY "
        "(http://user:password@host:port), or name the service's host in NO_PROXY",
    ),
    _Case(
        (413,),
        r"",
        "the request is too large for the service or a gateway in front of it: send fewer or "
        "smaller input images (image.shrink), or raise the gateway's limit "
        "(nginx: client_max_body_size)",
    ),
    _Case(
        (429,),
        r"limit:? 0(?![\d.])",
        "the limit is 0, so this account may not use the model at all and waiting is no use; "
        "ask for access or a higher usage tier, or take another model",
    ),
)
"""Advice for what the class alone says too little or the wrong thing about: statuses, what the
body says, and what to do. Read from the top; the first that fits holds."""

_ADVICE: Final[Mapping[type[ApiError], str]] = {
    AuthenticationError: "check {key} (or api_key=) and that base_url is where it belongs",
    OrganizationNotVerifiedError: (
        "an owner verifies the organisation under Settings > Organization > General; "
        "it takes effect within 15 minutes"
    ),
    PermissionDeniedError: "the key's project may lack access to this model",
    NotFoundError: "check the model name against client.models(), and base_url",
    QuotaExceededError: "add credit or raise the limit under Settings > Billing; waiting is no use",
    RateLimitError: "send fewer at once, or wait",
    ModerationError: "rephrase the prompt or change the input image; sending it again is no use",
    ServerError: "it may pass; where sending again could pay twice, that is left to you",
}


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
    for case in () if kind in _CERTAIN else _SPECIAL:
        if status in case.statuses and re.search(case.sign, text, re.IGNORECASE):
            return case.advice
    if kind is NotFoundError and (near := _near(text, service)):
        return near
    if kind is RateLimitError and retry_after:
        return f"{_ADVICE[kind]} {_time(retry_after)}"
    return _ADVICE.get(kind)


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
