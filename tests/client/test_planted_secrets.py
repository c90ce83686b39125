"""A planted key and a planted word of a prompt leave only by the files meant for them."""

from __future__ import annotations

import io
import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gptimage import Cache, GptImageError, ImageClient, Ledger, Retry, Store
from gptimage.sandbox import Sandbox, SandboxServer


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
    written = [each for each in tmp_path.rglob("*") if each.is_file()]
    meant = ("store", "spool")
    for file in written:
        data = file.read_bytes()
        place = file.relative_to(tmp_path).parts[0]
        assert KEY.encode() not in data
        assert place in meant or place.startswith("prompts.") or WORD.encode() not in data, file
