"""Structured logs with the standard library: one record per event, without prompts or keys.

`LogObserver` passes events to a logger; their fields are in the record's ``gptimage``
attribute, for whatever formatter is in use. `JsonFormatter` writes each record as one line
of JSON.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

import attrs

from gptimage.models.pricing import Cost, Usage
from gptimage.observers.events import Event


_LEVELS: Final[Mapping[str, int]] = {
    "planned": logging.DEBUG,
    "sent": logging.DEBUG,
    "partial_arrived": logging.DEBUG,
    "retried": logging.WARNING,
    "failed": logging.WARNING,
}
"""All other events are INFO."""

_BUILT_IN: Final = frozenset(vars(logging.makeLogRecord({})))


class LogObserver:
    """Logs every event.

    A retry and a failure are warnings; what is only interesting while debugging (planned,
    sent, previews) is DEBUG, everything else INFO.

    Args:
        logger: Where to; the logger ``gptimage.calls`` when left out.
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logger or logging.getLogger("gptimage.calls")

    def notify(self, event: Event) -> None:
        """Log an event."""
        level = _LEVELS.get(event.name, logging.INFO)
        if self._logger.isEnabledFor(level):
            fields = fields_of(event)
            text = " ".join(f"{name}={value}" for name, value in fields.items() if name != "at")
            self._logger.log(level, "%s", text, extra={"gptimage": fields})


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON: time, level, logger, message, and its extra fields.

    The fields of an event stand in the place of the message.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "time": _text(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname,
            "logger": record.name,
        }
        extra = {name: value for name, value in vars(record).items() if name not in _BUILT_IN}
        event = extra.pop("gptimage", None)
        if isinstance(event, Mapping):
            line |= event
        else:
            line["message"] = record.getMessage()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line | extra, default=str, ensure_ascii=False)


def fields_of(event: Event) -> dict[str, object]:
    """Return an event as JSON values; what is not known is left out, money is decimal text."""
    found: dict[str, object] = {"event": event.name}
    for field in attrs.fields(type(event)):
        value = getattr(event, field.name)
        if value is not None:
            found[field.name] = _plain(value)
    return found


def _plain(value: object) -> object:
    if isinstance(value, Usage):
        return attrs.asdict(value, filter=lambda _, tokens: tokens is not None)
    if isinstance(value, Cost):
        return str(value.usd)
    if isinstance(value, datetime):
        return _text(value)
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, float):
        return round(value, 3)
    return value


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
