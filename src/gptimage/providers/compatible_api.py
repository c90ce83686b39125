"""Services near OpenAI's Images API: what each takes of it, and how it says the rest.

Each takes a closed set of parameters; the library refuses the others by name, because these
services ignore what they do not know, or answer with an error that does not say so. Their own
parameters go into ``extra_body``. From openrouter 1.3.84, together 3.1.1, xai-sdk 1.21, litellm
1.110.2, and the sources of sd.cpp, LocalAI and vLLM-Omni; nothing was measured at a live service.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from attrs import evolve

from gptimage._internal.data import data_text
from gptimage._internal.json import array, count, table
from gptimage.errors import ConfigurationError, InvalidRequestError
from gptimage.providers.base import Provider
from gptimage.providers.openai.images import EDIT_PATH, data_url
from gptimage.transport.base64_body import loads
from gptimage.transport.http import HttpReply, HttpRequest, ServerEvent


_PROFILES: Final[Mapping[str, Mapping[str, Any]]] = tomllib.loads(
    data_text(__name__, "compatible.toml")
)
_RATIOS: Final = (
    "1:1", "3:4", "4:3", "9:16", "16:9", "2:3", "3:2", "9:19.5", "19.5:9", "9:20", "20:9", "1:2",
    "2:1",
)  # fmt: skip
"""The ratios of xAI."""
_LARGE: Final = 1_500_000
"""Pixels from which xAI's resolution 2k is asked for, whose long edge is about twice that of 1k."""
_FLAGGED: Final = 403
"""The status with which OpenRouter refuses a prompt; then the error says for which reasons."""
_TICKS: Final = Decimal(10) ** 10
"""Parts of a US dollar in which xAI counts."""


def provider(name: str) -> Provider:
    """Return the service of this name."""
    row = {**_PROFILES[name], **_TRANSLATIONS.get(name, {})}
    row["parameters"] = frozenset(row["parameters"])
    for key in ("url_variables", "key_variables"):
        row[key] = tuple(row[key])
    return Provider(name=name, **row)


def compatible(
    name: str, base_url: str, *, profile: str = "generic", api_key: str | None = None
) -> Provider:
    """Return a server of your own that is near OpenAI's Images API.

    Args:
        name: What selects it, in ``provider=`` and before the slash in ``model=``.
        base_url: Its address.
        profile: Which service it is, such as ``vllm``; ``generic`` takes model, prompt, n and size.
        api_key: Its key, if it wants one.

    Raises:
        ConfigurationError: There is no such profile.
    """
    if profile not in _PROFILES:
        raise ConfigurationError(
            f"there is no profile {profile!r}: there are {', '.join(_PROFILES)}"
        )
    found = evolve(provider(profile), name=name, base_url=base_url, api_key=api_key)
    return evolve(found, url_variables=(), key_variables=(), needs_key=False, catalogue="")


def _to_openrouter(request: HttpRequest) -> HttpRequest:
    """Return a request to its own path, with input images as parts of a message."""
    images = [{"type": "image_url", "image_url": {"url": url}} for url in _urls(request)]
    body = _with(request.body, {"input_references": images} if images else {})
    return evolve(request, path="/images", body=body, files=())


def _from_openrouter(reply: HttpReply) -> HttpReply:
    if reply.status == _FLAGGED:
        error = table(table(loads(bytes(reply.body))).get("error"))
        if table(error.get("metadata")).get("reasons"):
            return _moderated(reply, str(error.get("message")), "input")
    return _rewritten(reply, _priced_tokens)


def _from_openrouter_event(event: ServerEvent, earlier: Sequence[ServerEvent]) -> ServerEvent:
    del earlier
    if b'"usage"' not in event.data:
        return event
    return evolve(event, data=json.dumps(_priced_tokens(table(loads(bytes(event.data))))).encode())


def _priced_tokens(value: dict[str, Any]) -> dict[str, Any]:
    """Return a reply with the tokens under OpenAI's names, and the cost that OpenRouter names."""
    usage = table(value.get("usage"))
    found = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}
    counted = {ours: count(usage.get(theirs)) for ours, theirs in found.items()}
    return {
        **value,
        "usage": {**counted, "total_tokens": count(usage.get("total_tokens"))} if usage else None,
        "cost_usd": _openrouters_cost(usage),
    }


def _openrouters_cost(usage: Mapping[str, Any]) -> object:
    """Return the whole cost: beside a key of one's own, ``cost`` is OpenRouter's fee alone."""
    cost = usage.get("cost")
    if usage.get("is_byok") is not True:
        return cost
    upstream = table(usage.get("cost_details")).get("upstream_inference_cost")
    try:
        return str(Decimal(str(cost)) + Decimal(str(upstream)))
    except ArithmeticError:
        return None


def _to_together(request: HttpRequest) -> HttpRequest:
    """Return a request with width and height, which asks for base64."""
    body = dict(request.body)
    size = _pixels(body, "Together")
    # Without it the reply has addresses of images that expire.
    ours: dict[str, object] = {"response_format": "base64"}
    if size is not None:
        ours["width"], ours["height"] = size
    if body.get("output_format") not in (None, "png", "jpeg"):
        raise _refused("format", body["output_format"], "Together draws png and jpeg", "png, jpeg")
    if images := _urls(request):
        ours["reference_images"] = images
    return evolve(request, path="/images/generations", body=_with(body, ours), files=())


def _to_xai(request: HttpRequest) -> HttpRequest:
    """Return a request with a ratio and a resolution instead of pixels; edits are JSON, too."""
    body = dict(request.body)
    if body.get("quality") not in (None, "low", "medium"):
        raise _refused("quality", body["quality"], "xAI takes low and medium", "low, medium")
    size = _pixels(body, "xAI", may_be_auto=True)
    ours: dict[str, object] = {"response_format": "b64_json"}
    if size is not None:
        ours["aspect_ratio"] = min(_RATIOS, key=lambda name: _distance(name, size))
        ours["resolution"] = "2k" if size[0] * size[1] > _LARGE else "1k"
    images = [{"url": url} for url in _urls(request)]
    if images:
        ours |= {"image": images[0]} if len(images) == 1 else {"images": images}
    return evolve(request, body=_with(body, ours), files=())


def _distance(ratio: str, size: tuple[int, int]) -> float:
    """Return how far a ratio is from that of a size: by how much the larger one is larger."""
    wide, high = map(float, ratio.split(":"))
    there, here = wide / high, size[0] / size[1]
    return max(there / here, here / there)


def _from_xai(reply: HttpReply) -> HttpReply:
    if reply.status == 400 and b"Generated image rejected" in reply.body:
        # It was drawn, so it may be billed; no source says that it is not.
        return _moderated(reply, "xAI drew the image and its moderation rejected it", "output")

    def change(value: dict[str, Any]) -> dict[str, Any]:
        items = [table(each) for each in array(value.get("data"))]
        there = [each for each in items if each.get("respect_moderation") is not False]
        ticks = count(table(value.get("usage")).get("cost_in_usd_ticks"))
        cost = None if ticks is None else str(Decimal(ticks) / _TICKS)
        if items and not there:
            # It was drawn and then held back, so it may be billed.
            return _moderation("xAI drew the image and its moderation withheld it", "output")
        return {**value, "data": there, "usage": None, "cost_usd": cost}

    return _rewritten(reply, change)


def _to_localai(request: HttpRequest) -> HttpRequest:
    """Return a request for base64; a bar in the prompt would begin a negative prompt."""
    body = dict(request.body)
    if "|" in str(body.get("prompt")):
        raise _refused(
            "prompt",
            "<text>",
            "LocalAI reads what follows a bar ('|') as what is not to be drawn",
            "a prompt without a bar, and extra_body={'negative_prompt': ...} where it is meant",
        )
    whole = _with(body, {"response_format": "b64_json"})
    return evolve(_exact_size(request, "LocalAI"), body=whole)


def _with(body: Mapping[str, object], ours: Mapping[str, object]) -> dict[str, object]:
    """Add fields that the library sets itself, and refuse another value from ``extra_body``."""
    for name, value in ours.items():
        if name in body and body[name] != value:
            raise _refused("extra_body", name, "this field is set by the library", "other fields")
    return {**body, **ours}


def _to_own_server(request: HttpRequest) -> HttpRequest:
    return _exact_size(request, "this server")


def _exact_size(request: HttpRequest, title: str) -> HttpRequest:
    """Refuse a size of the service's own choice, for which these servers take 512x512."""
    _pixels(dict(request.body), title)
    return request


def _pixels(
    body: dict[str, object], title: str, *, may_be_auto: bool = False
) -> tuple[int, int] | None:
    """Take the size out of a body."""
    size = body.pop("size", None)
    if size is None or (size == "auto" and may_be_auto):
        return None
    wide, x, high = str(size).partition("x")
    if not x:
        raise _refused(
            "size", size, f"{title} chooses no size by itself", "pixels, or leave it out"
        )
    return int(wide), int(high)


def _urls(request: HttpRequest) -> list[str]:
    """Return the input images as data URLs."""
    parts = request.files if request.path == EDIT_PATH else ()
    what = "this service, which takes no files"
    return [data_url("images", part.content_type, part.data, what) for part in parts]


def _rewritten(
    reply: HttpReply, change: Callable[[dict[str, Any]], Mapping[str, Any]]
) -> HttpReply:
    """Return a successful reply with its JSON changed; its images stay as they are."""
    if not reply.is_success:
        return reply
    value = table(loads(bytes(reply.body)))
    return evolve(reply, body=json.dumps(change(value)).encode()) if value else reply


def _moderation(message: str, stage: str) -> dict[str, object]:
    """Return the body of a refusal by a safety system, as the Images API writes it."""
    details = {"moderation_stage": stage}
    return {
        "error": {"message": message, "code": "moderation_blocked", "moderation_details": details}
    }


def _moderated(reply: HttpReply, message: str, stage: str) -> HttpReply:
    return evolve(reply, body=json.dumps(_moderation(message, stage)).encode())


def _refused(field: str, value: object, problem: str, allowed: str) -> InvalidRequestError:
    message = f"{field}={value}: {problem}; allowed: {allowed}; nothing was sent"
    return InvalidRequestError(message, field=field, value=value, allowed=allowed)


_TRANSLATIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "openrouter": {
        "to_wire": _to_openrouter,
        "from_wire": _from_openrouter,
        "from_event": _from_openrouter_event,
    },
    "together": {"to_wire": _to_together},
    "xai": {"to_wire": _to_xai, "from_wire": _from_xai},
    "localai": {"to_wire": _to_localai},
    "vllm": {"to_wire": _to_own_server},
    "sdcpp": {"to_wire": _to_own_server},
}
"""The functions of each `Provider`."""
