"""Structured logs: every event is a record, and a line of JSON."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from gptimage.observers.logging import JsonFormatter, LogObserver
from tests.observers.factories import EVENTS


@pytest.fixture
def stream() -> io.StringIO:
    """What was logged."""
    return io.StringIO()


@pytest.fixture
def logger(stream: io.StringIO) -> Iterator[logging.Logger]:
    """A logger of our own that writes JSON."""
    logger = logging.getLogger("test of logs")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)
    handler.close()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """The lines, read as JSON."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_event_is_a_line(logger: logging.Logger, stream: io.StringIO) -> None:
    """Each line names its event, the call, the model and the time; money is exact text."""
    observer = LogObserver(logger)
    for event in EVENTS:
        observer.notify(event)
    found = lines(stream)

    assert [line["event"] for line in found] == [event.name for event in EVENTS]
    assert {line["call_id"] for line in found} == {"c1"}
    assert {line["model"] for line in found} == {"flare"}
    finished = next(line for line in found if line["event"] == "finished")
    assert (finished["cost"], finished["request_id"]) == ("0.0131", "req_1")
    assert finished["usage"] == {"input_tokens": 10, "output_tokens": 200, "total_tokens": 210}
    assert finished["at"] == "2026-11-20T12:30:00.000Z"


def test_levels(logger: logging.Logger, stream: io.StringIO) -> None:
    """What went wrong is a warning; what only matters while debugging is DEBUG."""
    for event in EVENTS:
        LogObserver(logger).notify(event)

    assert {line["event"]: line["level"] for line in lines(stream)} == {
        "planned": "DEBUG",
        "waiting": "INFO",
        "sent": "DEBUG",
        "submitted": "INFO",
        "retried": "WARNING",
        "partial_arrived": "DEBUG",
        "finished": "INFO",
        "saved": "INFO",
        "cache_hit": "INFO",
        "failed": "WARNING",
    }


def test_other_records_are_json_too(logger: logging.Logger, stream: io.StringIO) -> None:
    """The formatter serves the rest of a program: messages, extra fields, exceptions."""
    try:
        raise ValueError("no")
    except ValueError:
        logger.exception("it %s", "broke", extra={"order": 7})
    (line,) = lines(stream)

    assert (line["message"], line["order"], line["level"]) == ("it broke", 7, "ERROR")
    assert line["exception"].endswith("ValueError: no")


def test_quiet_loggers_stay_quiet(logger: logging.Logger, stream: io.StringIO) -> None:
    """An event below the logger's level leaves no record."""
    logger.setLevel(logging.ERROR)
    for event in EVENTS:
        LogObserver(logger).notify(event)

    assert stream.getvalue() == ""
