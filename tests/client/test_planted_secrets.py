"""A planted key and a planted word of a prompt leave only by the files meant for them."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from gptimage import Cache, GptImageError, ImageClient, Ledger, Retry, Store
from gptimage.cli.main import main
from gptimage.sandbox import Sandbox, SandboxServer
from gptimage.transport import HttpReply
from gptimage_mcp import Settings, build_server
from tests.client.harness import FakeTransport
from tests.factories import picture


KEY = "sk-planted0123456789abcdefghij"
WORD = "quokkaplanted"
PROMPT = f"A {WORD} in the snow"
FAST: dict[str, Any] = {"size": "1024x1024", "quality": "low"}


@pytest.fixture
def logs() -> Iterator[io.StringIO]:
    """Everything that any logger says, from DEBUG up."""
    text, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(text), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield text
    root.removeHandler(handler)
    root.setLevel(level)


def generate(client: ImageClient, folder: Path) -> object:
    """One call."""
    return client.generate(PROMPT, **FAST)


def edit(client: ImageClient, folder: Path) -> object:
    """A call with an input image."""
    with ImageClient.sandbox() as other:
        image = other.generate("A hill", **FAST).image
    return client.edit(PROMPT, images=image, **FAST)


def stream(client: ImageClient, folder: Path) -> object:
    """A call with partial images."""
    return list(client.stream(PROMPT, partial_images=1, **FAST))


def turn(client: ImageClient, folder: Path) -> object:
    """A turn of a conversation."""
    chat = client.conversation()
    return chat, chat.send(PROMPT, **FAST)


def many(client: ImageClient, folder: Path) -> object:
    """Many requests with a checkpoint."""
    return list(client.generate_many([PROMPT], checkpoint=folder / "prompts.checkpoint"))


def batch(client: ImageClient, folder: Path) -> object:
    """A batch, from its start to its results."""
    started = client.submit_batch([PROMPT], state=folder / "prompts.batch")
    return started, started.wait(poll=0), list(started.results())


@pytest.mark.parametrize("failure", [None, "server", "moderation", "html", "cut", "empty"])
@pytest.mark.parametrize("call", [generate, edit, stream, turn, many, batch])
def test_neither_key_nor_prompt_leaves(
    call: Callable[[ImageClient, Path], object],
    failure: Any,
    logs: io.StringIO,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever a call does and however it fails, only the files meant for prompts hold one."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "spool"))
    sandbox = Sandbox(draw="plain")
    told: list[str] = []
    with (
        SandboxServer(sandbox=sandbox) as server,
        ImageClient(
            api_key=KEY,
            base_url=server.base_url,
            store=Store(tmp_path / "store", fsync=False),
            cache=Cache.disk(tmp_path / "cache"),
            ledger=Ledger(tmp_path / "ledger.sqlite"),
            retry=Retry(first_delay=0, max_delay=0),
        ) as client,
    ):
        if failure is not None:
            sandbox.fail_next(failure, times=9)
        try:
            told.append(repr(call(client, tmp_path)))
        except GptImageError as error:
            told += [repr(error), "".join(traceback.format_exception(error))]
        told.append(repr(client))
    told += [logs.getvalue(), *capsys.readouterr()]

    assert [word for word in (KEY, KEY[3:], WORD) if any(word in each for each in told)] == []
    assert "gptimage" in logs.getvalue()  # the loggers did speak
    check_files(tmp_path)


@pytest.mark.parametrize("status", [400, 500, 200])
@pytest.mark.parametrize("call", [generate, stream, turn])
def test_a_service_that_repeats_them(
    call: Callable[[ImageClient, Path], object], status: int, tmp_path: Path
) -> None:
    """What a service or a gateway says of a request may hold all of it, or the begin of it."""
    asked = json.dumps({"prompt": PROMPT})
    said = f"refused with {KEY}: {PROMPT} and {asked} {PROMPT[:14]}"
    body = json.dumps({"error": {"message": said, "code": KEY, "param": PROMPT, "type": KEY}})
    reply = HttpReply(status=status, headers={"x-request-id": KEY}, body=body.encode())
    client = ImageClient(transport=FakeTransport([reply]), retry=0)

    with pytest.raises(GptImageError, match="<prompt>") as caught:
        call(client, tmp_path)

    told = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
    assert [word for word in (KEY, KEY[3:], PROMPT[:12]) if word in told] == []


@pytest.mark.parametrize("call", [generate, stream, turn])
def test_a_transport_that_repeats_them(
    call: Callable[[ImageClient, Path], object], tmp_path: Path
) -> None:
    """A transport of the caller's own may raise anything: it is raised, and says neither."""
    client = ImageClient(transport=FakeTransport([ValueError(f"{KEY}: {PROMPT}")]), retry=0)

    with pytest.raises(ValueError, match="<prompt>") as caught:
        call(client, tmp_path)

    told = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
    assert [word for word in (KEY, KEY[3:], PROMPT[:12]) if word in told] == []


def check_files(folder: Path) -> None:
    """No file holds the key, and only those meant for prompts hold one."""
    for file in (each for each in folder.rglob("*") if each.is_file()):
        data, (place, *_) = file.read_bytes(), file.relative_to(folder).parts
        assert KEY.encode() not in data, file
        meant = place in {"store", "spool", "out"} or place.startswith("prompts.")
        assert meant or WORD.encode() not in data, file


COMMANDS = {
    "generate": ("generate", PROMPT, "-o", "out", "--json"),
    "edit": ("edit", PROMPT, "-i", "hill.png", "-o", "out", "--partial-images", "1"),
    "refine": ("refine", PROMPT, "-o", "out"),
    "many": ("many", "prompts.jsonl", "-o", "out", "--checkpoint", "prompts.checkpoint"),
    "batch": ("batch", "submit", "prompts.jsonl", "--state", "prompts.batch"),
}


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize("failure", [None, "moderation", "html", "cut", "unauthorized"])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_tells_them(
    command: str,
    failure: Any,
    logs: io.StringIO,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The command line prints no key, and logs neither; a prompt is in the names of its files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gptimage.batch.submit._SEARCH_DELAYS", (0.0,))
    Path("prompts.jsonl").write_text(json.dumps(PROMPT))
    Path("hill.png").write_bytes(picture(1024, 1024))
    sandbox = Sandbox(draw="plain")
    with SandboxServer(sandbox=sandbox) as server:
        if failure is not None:
            sandbox.fail_next(failure, times=9)
        settings = {
            "XDG_STATE_HOME": str(tmp_path / "spool"),
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": server.base_url,
            "GPTIMAGE_STORE": str(tmp_path / "store"),
            "GPTIMAGE_CACHE": str(tmp_path / "cache"),
            "GPTIMAGE_LEDGER": str(tmp_path / "ledger.sqlite"),
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        code = main([*COMMANDS[command], "--size", "1024x1024", "--quality", "low"])
    printed = capsys.readouterr()

    assert (code == 0) == (failure is None), printed.err
    assert KEY[3:] not in printed.out + printed.err + logs.getvalue()
    assert WORD not in logs.getvalue()
    check_files(tmp_path)


@pytest.mark.parametrize("failure", [None, "moderation", "html", "cut", "unauthorized"])
def test_no_tool_tells_them(
    failure: Any, logs: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An assistant is never told the key; logs, journal and progress have no prompt either."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "spool"))
    sandbox, progress = Sandbox(draw="plain"), list[str]()

    async def tell(_: float, __: float | None, message: str | None) -> None:
        progress.append(str(message))

    async def story(base_url: str) -> list[str]:
        server = build_server(
            Settings(
                store=tmp_path / "store",
                ledger=tmp_path / "ledger.sqlite",
                cache=tmp_path / "cache",
                api_key=KEY,
                base_url=base_url,
            )
        )
        asked = {"prompt": PROMPT, **FAST}
        async with Client(server) as client:
            told = [
                await client.call_tool("generate_image", asked, progress_callback=tell),
                await client.call_tool("generate_image", {**asked, "n": 99}),
                await client.call_tool("get_server_status", {}),
            ]
            return [each.model_dump_json() for each in told]

    with SandboxServer(sandbox=sandbox) as server:
        if failure is not None:
            sandbox.fail_next(failure, times=9)
        told = asyncio.run(story(server.base_url))

    assert KEY[3:] not in "".join([*told, *progress, logs.getvalue()])
    assert WORD not in "".join([*progress, logs.getvalue()])
    check_files(tmp_path)
