"""What each framework that reads `gptimage-mcp` is to manage, whatever its own names are."""

from __future__ import annotations

import json
import os
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from harness import BASE_URL, FIRST, NEXT, case, check


SLOW_BASE_URL = os.environ.get("SLOW_BASE_URL", "")
"""A sandbox that draws for longer than a client stays."""
COMMAND: list[str] = json.loads(os.environ.get("MCP_COMMAND", "[]"))
DRAW = {"size": "1024x1024", "quality": "low"}


@dataclass
class Answer:
    """What a framework makes of the result of a tool.

    Attributes:
        text: Its text.
        images: How many images it has for the model.
        error: Whether the framework takes it for an error.
    """

    text: str = ""
    images: int = 0
    error: bool = False
    other: list[str] = field(default_factory=list)

    @property
    def json(self) -> Any:
        """The JSON of its text."""
        return json.loads(self.text)


Call = Callable[[str, dict[str, Any]], Awaitable[Answer]]
Connect = Callable[[dict[str, str]], AbstractAsyncContextManager[tuple[list[str], Call]]]


@asynccontextmanager
async def server(base_url: str = BASE_URL, **settings: str) -> AsyncIterator[dict[str, str]]:
    """Yield the environment of a server whose files are in a folder of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield {
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "OPENAI_API_KEY": "sk-of-nobody",
            "OPENAI_BASE_URL": base_url,
            "GPTIMAGE_STORE": f"{folder}/store",
            "GPTIMAGE_LEDGER": f"{folder}/ledger.sqlite",
            "GPTIMAGE_CACHE": "off",
            **settings,
        }


def register(connect: Connect, *, opens_each_time: bool = False) -> None:
    """Register the cases of a framework.

    Args:
        connect: Starts a server and yields its tools' names and a function that calls one.
        opens_each_time: The framework starts a server for each call and closes it at once.
    """

    @case("tools are listed")
    async def _() -> None:
        async with server() as env, connect(env) as (names, _):
            check({"generate_image", "edit_image", "view_image"} <= set(names), names)

    @case("an image is drawn, and its preview read")
    async def _() -> None:
        async with server() as env, connect(env) as (_, call):
            answer = await call("generate_image", {"prompt": FIRST, **DRAW})
            check(not answer.error, answer.text)
            check(answer.images == 1, answer)
            check(answer.json["status"] == "done", answer.text)

    @case("previews can be left out")
    async def _() -> None:
        async with server(GPTIMAGE_PREVIEW_PIXELS="off") as env, connect(env) as (_, call):
            answer = await call("generate_image", {"prompt": FIRST, **DRAW})
            check((answer.error, answer.images) == (False, 0), answer.text)

    @case("an image is refined, listed and viewed")
    async def _() -> None:
        async with server() as env, connect(env) as (_, call):
            first = await call("generate_image", {"prompt": FIRST, **DRAW})
            image = first.json["images"][0]["id"]
            second = await call("edit_image", {"prompt": NEXT, "images": [image], **DRAW})
            check(not second.error, second.text)
            listed = await call("list_images", {})
            check(image in listed.text and not listed.error, listed.text)
            viewed = await call("view_image", {"id": image})
            check((viewed.error, viewed.images) == (False, 1), viewed.text)

    @case("two images in one call")
    async def _() -> None:
        async with server() as env, connect(env) as (_, call):
            answer = await call("generate_image", {"prompt": FIRST, "n": 2, **DRAW})
            check(not answer.error and len(answer.json["images"]) == 2, answer.text)

    @case("what is wrong is an error with a message")
    async def _() -> None:
        async with server() as env, connect(env) as (_, call):
            answer = await call("generate_image", {"prompt": FIRST, "size": "no size"})
            check(answer.error and "size" in answer.text, answer)

    @case("a moderated prompt is an error with a message")
    async def _() -> None:
        async with server() as env, connect(env) as (_, call):
            answer = await call("generate_image", {"prompt": "[sandbox:moderation]", **DRAW})
            check(answer.error and "safety" in answer.text, answer)

    @case("the client closes while a job runs, and the next server has the image")
    async def _() -> None:
        async with server(SLOW_BASE_URL, GPTIMAGE_WAIT="0") as env:
            before = _drawn()
            async with connect(env) as (_, call):
                handle = (await call("generate_image", {"prompt": FIRST, **DRAW})).json["handle"]
            async with connect({**env, "GPTIMAGE_WAIT": "50"}) as (_, call):
                viewed = await call("view_image", {"id": handle})
            check(not viewed.error and viewed.json["status"] == "done", viewed.text)
            check(viewed.images == 1, viewed)
            check(_drawn() - before == 1, f"{_drawn() - before} requests were sent")

    if opens_each_time:

        @case("each call has a server of its own")
        async def _() -> None:
            async with server() as env, connect(env) as (_, call):
                first = await call("generate_image", {"prompt": FIRST, **DRAW})
                viewed = await call("view_image", {"id": first.json["images"][0]["id"]})
                check((viewed.error, viewed.images) == (False, 1), viewed.text)


def _drawn() -> int:
    """Return how many requests the slow sandbox has seen that draw."""
    address = SLOW_BASE_URL.removesuffix("/v1") + "/__sandbox/requests"
    with urllib.request.urlopen(address) as reply:  # the sandbox answers at once
        seen = json.load(reply)["data"]
    return sum(each["path"].startswith("/images/") for each in seen)
