"""What the server says of a model that ends: the day before, on the day, and after."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.mcp.harness import result_json, server_fixture, text


BEFORE = datetime(2026, 11, 30, 23, 59, tzinfo=UTC)
AFTER = [datetime(2026, 12, 1, tzinfo=UTC), datetime(2026, 12, 2, 9, tzinfo=UTC)]
OLD = "gpt-image-1.5"


def test_the_day_before(tmp_path: Path) -> None:
    """It is listed, draws, and every place names the day and what comes after it."""
    where = server_fixture(tmp_path, clock=lambda: BEFORE, model=OLD)
    listed = {each["id"]: each for each in result_json(where.call("list_models"))["models"]}
    drawn = result_json(where.call("generate_image", prompt="A fox", model=OLD, size="1024x1024"))
    status = result_json(where.call("get_server_status"))

    assert listed[OLD]["state"] == "deprecated"
    assert listed[OLD]["replacements"] == ["gpt-image-2.6-sunburst", "gpt-image-2.6-flare"]
    assert any("shuts down on 2026-12-01; use gpt-image-2.6" in each for each in drawn["warnings"])
    assert any(f"{OLD} shuts down on 2026-12-01" in each for each in status["warnings"])


@pytest.mark.parametrize("day", AFTER, ids=str)
def test_from_that_day_on(tmp_path: Path, day: datetime) -> None:
    """It is listed no more, nothing is sent, and the refusal names what to call with."""
    where = server_fixture(tmp_path, clock=lambda: day, model=OLD)
    listed = {each["id"] for each in result_json(where.call("list_models"))["models"]}
    refused = where.call("generate_image", prompt="A fox", model=OLD)
    status = result_json(where.call("get_server_status"))

    assert OLD not in listed
    assert refused.is_error
    assert "was shut down on 2026-12-01; use gpt-image-2.6-sunburst" in text(refused)
    assert "model=gpt-image-2.6-sunburst" in text(refused)
    assert "gpt-image-2.5-flare, whose cost can be estimated beforehand" in text(refused)
    assert any(f"{OLD} was shut down on 2026-12-01" in each for each in status["warnings"])
    assert where.sandbox.requests == []
