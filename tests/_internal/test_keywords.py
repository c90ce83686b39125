"""Constructors: a misspelt keyword or a value of the wrong kind is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gptimage import Budget, Cache, ConfigurationError, Fetch, Ledger, Limits, Retry, Store
from gptimage.sandbox import Sandbox, SandboxServer
from gptimage.store import FileBlobs, PendingReplies
from gptimage.testing import Cassette
from gptimage.workers import BlobJobStore, Job, SqliteJobStore, run_job
from gptimage.workers.celery import image_task
from gptimage.workers.redis_store import RedisJobStore


@pytest.mark.parametrize(
    ("make", "given", "meant"),
    [
        (Limits, {"image_per_minute": 5}, "images_per_minute"),
        (Budget, {"limit": 5}, "limit_usd"),
        (Fetch, {"allow_privat": True}, "allow_private"),
        (Retry, {"attempt": 3}, "attempts"),
        (Store, {"where": "x", "index_path": "y"}, "index"),
        (Ledger, {"path": "x", "prompt": True}, "prompts"),
        (Sandbox, {"latancy": 1}, "latency"),
        (SandboxServer, {"ports": 1}, "port"),
        (FileBlobs, {"folder": "x", "fsyn": True}, "fsync"),
        (PendingReplies, {"dir": "x"}, ""),
        (Cassette, {"path": "x", "modes": "once"}, "mode"),
        (SqliteJobStore, {"path": "x", "kep": None}, "keep"),
        (RedisJobStore, {"url": "redis://x", "prefx": "a"}, "prefix"),
        (BlobJobStore, {"blobs": "x", "clok": 5}, "clock"),
        (Cache.memory, {"max_byte": 5}, "max_bytes"),
        (Cache.disk, {"max_size": 5}, "max_bytes"),
        (Cache.tiered, {"tiers": 5}, ""),
    ],
)
def test_a_misspelt_keyword_is_refused(
    make: Callable[..., object], given: dict[str, Any], meant: str
) -> None:
    """The message names what was written, and what was probably meant."""
    with pytest.raises(ConfigurationError) as caught:
        make(**given)

    wrong = next(reversed(given))
    assert f"takes no {wrong}=" in str(caught.value)
    assert meant in str(caught.value)


@pytest.mark.parametrize(
    ("make", "given"),
    [
        (Limits, {"images_per_minute": 0}),
        (Limits, {"images_per_minute": True}),
        (Limits, {"images_per_minute": "5"}),
        (Limits, {"images_per_minute": 5, "shared": ""}),
        (Limits, {"images_per_minute": 5, "name": ""}),
        (Fetch, {"max_bytes": 0}),
        (Fetch, {"timeout": 0}),
        (Fetch, {"allow_private": "no"}),
        (Fetch, {"resolver": "dns"}),
        (Retry, {"attempts": 0}),
        (Retry, {"attempts": 2.5}),
        (Retry, {"max_delay": float("nan")}),
        (Store, {"where": ""}),
        (Store, {"where": 5}),
        (Store, {"where": "x", "naming": ""}),
        (Store, {"where": "x", "clock": None}),
        (Ledger, {"path": ""}),
        (Budget, {"limit_usd": 1, "per": "day", "ledger": "spend.sqlite"}),
        (Cache.disk, {"path": ""}),
        (Cache.disk, {"ttl": 30}),
        (Cache.memory, {"max_bytes": 0}),
        (Cache.memory, {"ttl": timedelta(0)}),
        (PendingReplies, {"folder": ""}),
        (PendingReplies, {"clock": "now"}),
        (Cassette, {"path": "x", "mode": ""}),
        (SqliteJobStore, {"path": ""}),
        (SqliteJobStore, {"path": "x", "keep": timedelta(0)}),
        (SqliteJobStore, {"path": "x", "keep": 30}),
        (SqliteJobStore, {"path": "x", "clock": None}),
        (RedisJobStore, {"url": "redis://x", "keep": timedelta(days=-1)}),
        (RedisJobStore, {"url": "redis://x", "timeout": 5}),
        (BlobJobStore, {"blobs": "x", "clock": None}),
        (run_job, {"spec": {}, "client": None, "job_store": None, "lease": timedelta(0)}),
        (run_job, {"spec": {}, "client": None, "job_store": None, "paths": "no"}),
        (Job.of, {"id": "a", "prompt": "A fox", "paths": "no"}),
        (Job.from_dict, {"spec": {}, "paths": 0}),
        (image_task, {"app": None, "client": dict, "job_store": dict, "lease": 60}),
        (image_task, {"app": None, "client": dict, "job_store": dict, "paths": None}),
        (image_task, {"app": None, "client": dict, "job_store": dict, "attempts": 0}),
        (Sandbox, {"latency": -1}),
        (Sandbox, {"today": "2026-11-20"}),
        (SandboxServer, {"port": 99_999}),
        (SandboxServer, {"host": ""}),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(
    make: Callable[..., object],
    given: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Falsy values do not become defaults, and the message names the parameter."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=next(reversed(given)).partition("_")[0]):
        make(**given)


def test_tiers_are_caches() -> None:
    """A path among the tiers is refused before anything is asked."""
    with pytest.raises(ConfigurationError, match="tiers"):
        Cache.tiered(Cache.memory(), "folder")  # type: ignore[arg-type]  # what is tested
