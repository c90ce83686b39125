"""A checkpoint says of a request that it was begun when it leaves, and no earlier."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gptimage import OutcomeUnknownError, RateLimitError
from gptimage.bulk.checkpoint import Checkpoint, CheckpointLine
from gptimage.cache import Cache
from gptimage.sandbox import Sandbox
from gptimage.transport.billing import Billing
from gptimage.transport.http import HttpReply
from gptimage.transport.retry import Retry
from tests.bulk.conftest import Both


REQUESTS = [{"prompt": f"Fox {index}", "size": "1024x640", "quality": "low"} for index in range(3)]


def lines(path: Path, index: int) -> list[str]:
    """Everything a checkpoint says of an item, in order."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [line["status"] for line in found if line["index"] == index]


class Holds:
    """A limiter that lets some requests through, and breaks the run when one waits."""

    def __init__(self, turns: int) -> None:
        self.turns = turns

    def acquire(self, n_images: int, tokens: int | None) -> float:
        """0 as long as there are turns."""
        del n_images, tokens
        self.turns -= 1
        if self.turns < 0:
            raise KeyboardInterrupt
        return 0.0

    def learn(self, reply: HttpReply) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def test_what_waits_for_a_limit_was_not_begun(both: Both, tmp_path: Path) -> None:
    """A run that ends meanwhile leaves no doubt about it: the next one asks."""
    path, sandbox = tmp_path / "run.jsonl", Sandbox()
    with pytest.raises(KeyboardInterrupt):
        both.many(both.sandbox(sandbox, limits=Holds(2)), REQUESTS, checkpoint=path, concurrency=1)
    before = [lines(path, index) for index in range(3)]
    items = both.many(both.sandbox(sandbox), REQUESTS, checkpoint=path)

    assert before[2] == []
    assert len(sandbox.requests) == 3
    assert [item.index for item in items if item.result] == [2]


def test_what_was_refused_at_no_cost_is_not_in_doubt(both: Both, tmp_path: Path) -> None:
    """While it waits to be sent again, it counts as failed; the line says when it leaves anew."""
    path, sandbox = tmp_path / "run.jsonl", Sandbox()
    sandbox.fail_next("rate_limit", retry_after=0.01)
    client = both.sandbox(sandbox, retry=Retry(attempts=2, max_delay=100))
    (item,) = both.many(client, REQUESTS[:1], checkpoint=path)

    assert item.result
    assert lines(path, 0) == ["begun", "failed", "begun", "answered", "done"]


def test_an_answer_from_the_cache_never_left(both: Both, tmp_path: Path) -> None:
    """It is finished without having been begun."""
    path = tmp_path / "run.jsonl"
    client = both.sandbox(cache=Cache.memory())
    both.many(client, REQUESTS[:1])
    both.many(client, REQUESTS[:1], checkpoint=path)

    assert lines(path, 0) == ["answered", "done"]


@pytest.mark.parametrize("cache", [None, Cache.memory])
def test_without_its_line_nothing_leaves(
    both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Any
) -> None:
    """A checkpoint that cannot be written ends the run before the request is sent."""
    sandbox = Sandbox()

    def full(self: Checkpoint, entry: CheckpointLine) -> None:
        if entry.billing is Billing.SENT:
            raise OSError("no space left on device")

    monkeypatch.setattr(Checkpoint, "write", full)
    client = both.sandbox(sandbox, cache=cache() if cache else None)
    with pytest.raises(OSError, match="no space"):
        both.many(client, REQUESTS, checkpoint=tmp_path / "run.jsonl")

    assert sandbox.requests == []


def test_a_line_too_many_errs_on_the_safe_side(
    both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it cannot be written that a refusal cost nothing, the item goes on all the same."""
    path, sandbox = tmp_path / "run.jsonl", Sandbox()
    write = Checkpoint.write

    def once_full(self: Checkpoint, entry: CheckpointLine) -> None:
        if entry.billing is Billing.NOT_BILLED and entry.error is None:
            raise OSError("no space left on device")
        write(self, entry)

    monkeypatch.setattr(Checkpoint, "write", once_full)
    sandbox.fail_next("rate_limit", retry_after=0.01)
    client = both.sandbox(sandbox, retry=Retry(attempts=2, max_delay=100))
    (item,) = both.many(client, REQUESTS[:1], checkpoint=path)

    assert item.result
    assert lines(path, 0) == ["begun", "begun", "answered", "done"]


def test_the_last_refusal_is_a_failure(both: Both, tmp_path: Path) -> None:
    """One that was refused each time cost nothing, and the next run asks again."""
    path, sandbox = tmp_path / "run.jsonl", Sandbox()
    sandbox.fail_next("rate_limit", retry_after=0.01)
    client = both.sandbox(sandbox, retry=Retry(attempts=1))
    (item,) = both.many(client, REQUESTS[:1], checkpoint=path)
    (again,) = both.many(client, REQUESTS[:1], checkpoint=path)

    assert isinstance(item.error, RateLimitError)
    assert not isinstance(again.error, OutcomeUnknownError)
    assert again.result
