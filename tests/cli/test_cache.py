"""``gptimage cache``: statistics and clearing from the command line."""

from __future__ import annotations

import argparse
import json
import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gptimage.cache import Cache, CacheEntry
from gptimage.cache.disk import DiskCache
from gptimage.cli.main import main
from gptimage.cli.values import age


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of the cache."""
    return tmp_path / "cache"


@pytest.fixture
def cache(root: Path) -> DiskCache:
    """A cache with a young and an old reply, two hits and a miss."""
    cache = Cache.disk(root)
    cache.put("g1:young", CacheEntry(body=b"x" * 1000, usd=Decimal("0.043")))
    cache.put("g1:old", CacheEntry(body=b"x" * 500, created=time.time() - 10 * 86400))
    cache.record_use("g1:young", hits=2, misses=1)
    return cache


def run(*words: str) -> int:
    """Run the command as the command line does."""
    return main(["cache", *words])


def test_statistics_for_people(
    cache: DiskCache, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line for each figure."""
    assert run("stats", "--cache", str(root)) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"folder   {root}",
        "replies  2 of 1,500 bytes together",
        "hits     2 (67% of all calls)",
        "misses   1",
        "evicted  0",
        "saved    $0.0860",
    ]


def test_statistics_for_programs(
    cache: DiskCache, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One JSON object with every figure."""
    run("stats", "--cache", str(root), "--json")
    found = json.loads(capsys.readouterr().out)

    assert found == {
        "path": str(root),
        "entries": 2,
        "bytes": 1500,
        "hits": 2,
        "misses": 1,
        "hit_rate": pytest.approx(2 / 3),
        "evictions": 0,
        "saved_usd": "0.086",
    }


def test_clearing_by_age(cache: DiskCache, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only what was kept longer ago goes."""
    assert run("clear", "--cache", str(root), "--older-than", "7d") == 0
    assert capsys.readouterr().out == f"forgot 1 response in {root}\n"
    assert cache.get("g1:young") is not None


def test_clearing_everything(
    cache: DiskCache, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is left, and the number is told."""
    run("clear", "--cache", str(root), "--json")

    assert json.loads(capsys.readouterr().out) == {"path": str(root), "cleared": 2}
    assert cache.stats().entries == 0


def test_the_folder_comes_from_the_environment(
    cache: DiskCache,
    root: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without ``--cache`` the variable tells where to look."""
    monkeypatch.setenv("GPTIMAGE_CACHE", str(root))
    run("stats", "--json")

    assert json.loads(capsys.readouterr().out)["entries"] == 2


def test_looking_creates_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A cache that does not exist is empty, and stays away."""
    run("stats", "--cache", str(root))
    run("clear", "--cache", str(root))

    assert "hits     0\n" in capsys.readouterr().out
    assert not root.exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("1.5h", timedelta(hours=1.5)),
        ("7D", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
    ],
)
def test_ages(text: str, expected: timedelta) -> None:
    """A number and a unit."""
    assert age(text) == expected


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1 day", "1e5d", "999999999w", "٣d", "6M"])
def test_odd_ages_are_refused(text: str) -> None:
    """Anything else is an error of the command line, in one sentence; no month is a minute."""
    with pytest.raises(argparse.ArgumentTypeError):
        age(text)


def test_an_odd_age_ends_the_command(capsys: pytest.CaptureFixture[Any]) -> None:
    """The parser shows the sentence."""
    with pytest.raises(SystemExit) as raised:
        run("clear", "--older-than", "yesterday")

    assert raised.value.code == 2
    assert "write an age as 90s" in capsys.readouterr().err
