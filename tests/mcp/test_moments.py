"""Times and ages as tools take them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gptimage import InvalidRequestError
from gptimage_mcp.content.records import parse_duration, parse_time


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        (" 12h ", timedelta(hours=12)),
        ("1.5d", timedelta(hours=36)),
        ("2w", timedelta(weeks=2)),
    ],
)
def test_ages(text: str, length: timedelta) -> None:
    """A number and a unit."""
    assert parse_duration(text, "older_than") == length


@pytest.mark.parametrize("text", ["", "7", "d", "-7d", "7 days", "1e9d", "999999999w", "7d; rm"])
def test_no_ages(text: str) -> None:
    """Anything else is refused with the name of the parameter and what it takes."""
    with pytest.raises(InvalidRequestError) as caught:
        parse_duration(text, "older_than")

    assert caught.value.field == "older_than"
    assert caught.value.allowed


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-20T08:00Z", datetime(2026, 11, 20, 8, tzinfo=UTC)),
        ("2026-11-20T08:00:30+02:00", datetime(2026, 11, 20, 6, 0, 30, tzinfo=UTC)),
        ("2026-11-20", datetime(2026, 11, 20).astimezone()),  # the server's own zone is meant
    ],
)
def test_times(text: str, time: datetime) -> None:
    """A date or a time; without a zone it is the server's."""
    assert parse_time(text, "since") == time


def test_as_long_ago_as_an_age() -> None:
    """An age counts back from now."""
    before = datetime.now(UTC)
    found = parse_time("7d", "since")

    assert found is not None
    assert before <= found + timedelta(days=7) <= datetime.now(UTC)


@pytest.mark.parametrize("text", [None, "", "  "])
def test_nothing_is_no_time(text: str | None) -> None:
    """What is left out, or empty, does not filter."""
    assert parse_time(text, "since") is None


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "9999999w", "0001-01-01T00:00+23:00"])
def test_no_times(text: str) -> None:
    """Anything else is refused with the name of the parameter."""
    with pytest.raises(InvalidRequestError) as caught:
        parse_time(text, "until")

    assert caught.value.field == "until"
