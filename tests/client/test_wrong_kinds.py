"""Every keyword of every constructor and call, given what is wrong: used, or refused by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest

from gptimage import (
    AsyncImageClient,
    Budget,
    Fetch,
    Generate,
    GptImageError,
    ImageClient,
    Limits,
    Retry,
    Settings,
)
from gptimage.budget import Ledger
from gptimage.cache import Cache
from gptimage.conversation.turns import TurnOptions
from gptimage.sandbox import Sandbox, SandboxServer
from gptimage.store import Store
from gptimage.types.request import EditOptions, Options


class Awaited:
    """An object that has to be awaited, and so does what it gives."""

    async def __call__(self, *_: object) -> None:
        """Nothing."""

    def __await__(self) -> Iterator[None]:
        yield


WRONG: dict[str, Any] = {
    "None": None,
    "empty": "",
    "0": 0,
    "[]": [],
    "{}": {},
    "object": object(),
    "yes": "yes",
    "bytes": b"",
    "nan": float("nan"),
    "inf": float("inf"),
    "-1": -1,
    "async": Awaited(),
    "True": True,
    "False": False,
    "huge": 10**400,
    "half an emoji": "\ud83d",
    "NUL": "a\0b",
    "class": int,
}

TEXT = "yes"
FLAG = "True False"
CONNECTION = ("api_key", "base_url", "timeout", "openai", "transport")
OWN = ("store", "cache", "templates")
CALL = ("refresh", "tags", "timeout", "extra_headers")
OPTIONS = {"size": "1024x1024", "quality": "low", "format": "png"}

FINE: dict[str, str] = {
    # Of clients and calls; None is "left out" wherever that is the default.
    "model": TEXT,
    "chat_model": TEXT,
    "image_model": TEXT,
    "retry": "0",
    "observers": "[]",
    "providers": "[]",
    "fallbacks": "[]",
    "fallback_moderated": FLAG,
    "api_key": TEXT,
    "store": TEXT,
    "cache": TEXT,
    "prompt": TEXT,
    "safety_identifier": TEXT,
    "extra_body": "{}",
    "extra_headers": "{}",
    "refresh": FLAG,
    "tags": f"[] {TEXT}",
    "resume": TEXT,
    "stateless": FLAG,
    "metadata": "{}",
    "requests": "[]",
    "retry_unknown": FLAG,
    "progress": FLAG,
    "checkpoint": TEXT,
    "state": TEXT,
    # Of the others.
    "limit_usd": "0",
    "unknown": "0",
    "images_per_minute": "huge",
    "requests_per_minute": "huge",
    "tokens_per_minute": "huge",
    "concurrency": "huge",
    "name": TEXT,
    "attempts": "huge",
    "first_delay": "0",
    "max_delay": "0",
    "allow_private": FLAG,
    "max_redirects": "0 huge",
    "max_bytes": "huge",
    "path": TEXT,
    "prefix": TEXT,
    "where": TEXT,
    "fsync": FLAG,
    "prompts": FLAG,
    "latency": "0",
    "previews": FLAG,
    "svg_model_selection": FLAG,
    "failures": "{}",
    "drift": "{}",
    "seed": "0 -1 huge",
    "port": "0",
}
"""What is fine for a keyword of this name: every other value must be refused."""

FINE_IN: dict[tuple[str, str], str] = {
    ("stream", "partial_images"): "None 0",  # no previews
    ("estimate", "partial_images"): "None 0",
    ("max_cost", "partial_images"): "None 0",
    ("estimate", "model"): "None yes",  # as a deployment of Azure may be called
    ("max_cost", "model"): "None yes",
    ("generate", "model"): "None",  # the sandbox has none of that name
    ("edit", "model"): "None",
    ("variations", "model"): "None",
    ("stream", "model"): "None",
    ("send", "model"): "None",
    ("submit_batch", "max_bytes"): "",
    ("submit_batch", "requests"): "",
    ("Cache.memory", "max_bytes"): "None huge",
    ("Cache.disk", "max_bytes"): "None huge",
    ("Cache.redis", "max_bytes"): "None huge",
    ("Cache.redis", "ttl"): "None",
}
"""Where a keyword differs."""

MESSAGES = {
    "limit_usd": "limit",
    "where": "",
    "request": "Generate",
    "hook": "hook",
}
"""Words of the message, where it does not have the keyword itself."""


def own_keywords(function: Callable[..., Any]) -> tuple[str, ...]:
    """The named parameters of a function."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = inspect.signature(function).parameters.values()
    return tuple(each.name for each in found if each.kind in kinds and each.name != "self")


def drained(call: Callable[..., Any]) -> Callable[..., Any]:
    """A call whose events are taken, too; items without a result raise their error."""

    def run(**keywords: Any) -> Any:
        found = list(call(**keywords))
        for each in found:
            if getattr(each, "error", None) is not None:
                raise each.error
        return found

    return run


def image() -> bytes:
    """A small image."""
    from tests.client.harness import picture

    return picture(64, 64)


Target = tuple[Callable[..., Any], tuple[str, ...], dict[str, Any]]


def constructors() -> dict[str, Target]:
    """What is made, with its keywords and those it cannot do without."""
    settings = (*Settings.__annotations__, *OWN)
    plain = {
        "Limits": Limits,
        "Retry": Retry,
        "Cache.memory": Cache.memory,
        "Cache.disk": Cache.disk,
        "Sandbox": Sandbox,
    }
    return {
        "ImageClient": (ImageClient, (*settings, *CONNECTION), {"api_key": "sk-x"}),
        "AsyncImageClient": (AsyncImageClient, (*settings, *CONNECTION), {"api_key": "sk-x"}),
        "ImageClient.sandbox": (ImageClient.sandbox, (*settings, "sandbox"), {}),
        "AsyncImageClient.sandbox": (AsyncImageClient.sandbox, (*settings, "sandbox"), {}),
        "Budget": (Budget, own_keywords(Budget), {"limit_usd": 1, "per": "day"}),
        "Fetch": (Fetch, tuple(each.alias or "" for each in attrs.fields(Fetch)), {}),
        "Cache.redis": (Cache.redis, own_keywords(Cache.redis), {"url": "redis://127.0.0.1:1/0"}),
        "Cache.tiered": (Cache.tiered, (), {}),
        "Store": (Store, own_keywords(Store), {"where": "store"}),
        "Ledger": (Ledger, own_keywords(Ledger), {"path": "ledger.sqlite"}),
        "SandboxServer": (SandboxServer, ("port", "sandbox"), {}),
        **{name: (make, own_keywords(make), {}) for name, make in plain.items()},
    }


def calls() -> dict[str, Target]:
    """The methods of a client, with their keywords and those they cannot do without."""
    client = ImageClient.sandbox(Sandbox(draw="plain"), store="calls", cache=Cache.memory())
    drawing = {"prompt": "A fox", **OPTIONS}
    changing = {**drawing, "images": image()}
    options, edit_options = tuple(Options.__annotations__), tuple(EditOptions.__annotations__)
    request = Generate(prompt="A fox", model="gpt-image-2.5-flare", quality="low")

    def send(**keywords: Any) -> Any:
        return client.conversation().send(**keywords)

    def batch(where: Any) -> Any:
        with suppress(FileNotFoundError):  # as `open` says it: it names the file
            return client.open_batch(where)

    def render(template: str) -> Any:
        return client.render(template, subject="x")

    return {
        "generate": (client.generate, ("prompt", *options, *CALL), drawing),
        "edit": (client.edit, ("prompt", "images", *edit_options, *CALL), changing),
        "variations": (
            client.variations,
            ("image", "prompt", *edit_options, *CALL),
            {"image": image(), **OPTIONS},
        ),
        "stream": (drained(client.stream), ("prompt", "images", *options, *CALL), drawing),
        "estimate": (client.estimate, ("prompt", "images", *options), drawing),
        "max_cost": (client.max_cost, ("prompt", "images", *options), drawing),
        "run": (client.run, ("request", *CALL), {"request": request}),
        "generate_many": (
            drained(client.generate_many),
            (
                *("requests", "concurrency", "progress", "checkpoint", "retry_unknown", "stop"),
                *("refresh", "tags", *options),
            ),
            {"requests": ["A fox"], **OPTIONS},
        ),
        "conversation": (client.conversation, own_keywords(client.conversation), {}),
        "send": (
            send,
            ("prompt", "images", "mask", "action", "tags", *TurnOptions.__annotations__),
            drawing,
        ),
        "with_options": (client.with_options, own_keywords(client.with_options), {}),
        "with_send_hook": (client.with_send_hook, ("hook",), {}),
        "submit_batch": (
            client.submit_batch,
            own_keywords(client.submit_batch),
            {"requests": ["A fox"]},
        ),
        "batch": (batch, ("where",), {"where": "batch_1"}),
        "render": (render, ("template",), {}),
    }


def is_default_none(name: str, call: Callable[..., Any], keyword: str) -> bool:
    """Whether leaving a keyword out is the same as None."""
    if name in ("stream", "generate_many", "send"):
        return keyword not in ("prompt", "requests", "action", "concurrency", "progress", "tags",
                               "refresh", "retry_unknown")  # fmt: skip
    parameter = inspect.signature(call).parameters.get(keyword)
    return parameter is None or parameter.default is None


def faults_of(name: str, target: Target) -> list[str]:
    """What is neither used nor refused by name."""
    call, keywords, needed = target
    found: list[str] = []
    for keyword in keywords:
        fine = FINE_IN.get((name, keyword), FINE.get(keyword, ""))
        if is_default_none(name, call, keyword):
            fine += " None"
        for label, value in WRONG.items():
            told = f"{name}({keyword}={label})"
            try:
                made = call(**{**needed, keyword: value})
            except GptImageError as error:
                word = MESSAGES.get(keyword, keyword.rstrip("s"))
                if word.lower() not in str(error).lower():
                    found.append(f"{told} is refused without its name: {error}")
                if f" {label} " in f" {fine} " and label not in ("None", "yes", "huge"):
                    found.append(f"{told} is refused: {error}")
            except Exception as error:  # noqa: BLE001  # what the test is about
                found.append(f"{told} raises {type(error).__name__}: {error}")
            else:
                if f" {label} " not in f" {fine} ":
                    found.append(f"{told} is accepted")
                with suppress(Exception):
                    made.close()
    return found


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is named "yes" is made in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", constructors())
def test_a_wrong_setting_is_refused_by_name(name: str) -> None:
    """Nothing is made of it, and no inner error of Python comes out."""
    assert faults_of(name, constructors()[name]) == []


CALLS = (
    *("generate", "edit", "variations", "stream", "estimate", "max_cost", "run", "generate_many"),
    *("conversation", "send", "with_options", "with_send_hook", "submit_batch", "batch", "render"),
)


@pytest.mark.filterwarnings("ignore")  # of what is fine, some is odd
@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_option_is_refused_by_name(name: str) -> None:
    """The same for every option of every call."""
    assert faults_of(name, calls()[name]) == []
