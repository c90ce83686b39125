"""No observer can break a call, and none is left out because another failed."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from gptimage.errors import ConfigurationError
from gptimage.observers.dispatch import ObserverDispatcher
from gptimage.observers.events import Event
from gptimage.observers.protocol import Observer
from tests.observers.factories import EVENTS


class Keeps:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.seen: list[Event] = []

    def notify(self, event: Event) -> None:
        """Keep it."""
        self.seen.append(event)


class Breaks(Keeps):
    """Fails at every event."""

    def notify(self, event: Event) -> None:
        """Keep it and fail."""
        super().notify(event)
        raise RuntimeError("broken")


def test_all_are_told_and_failures_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A failing observer goes on being told, one warning is logged, the others hear everything."""
    broken, fine = Breaks(), Keeps()
    guard = ObserverDispatcher([broken, fine])
    with caplog.at_level(logging.WARNING, logger="gptimage"):
        for event in EVENTS:
            guard.dispatch(event)

    assert broken.seen == fine.seen == list(EVENTS)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "Breaks" in caplog.text


def test_anything_with_notify_is_an_observer() -> None:
    """The Protocol is one method."""
    assert isinstance(Keeps(), Observer)
    assert not isinstance(object(), Observer)


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("prometheus", "prometheus_client", "prometheus"),
        ("opentelemetry", "opentelemetry", "otel"),
        ("progress", "rich", "cli"),
    ],
)
def test_missing_packages_are_named(module: str, package: str, extra: str) -> None:
    """Without its extra, an observer says what to install."""
    code = (
        f"import sys; sys.modules[{package!r}] = None; sys.modules['{package}.progress'] = None\n"
        f"from {ConfigurationError.__module__} import ConfigurationError\n"
        f"try: import gptimage.observers.{module}\n"
        "except ConfigurationError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert f"pip install 'gptimage[{extra}]'" in done.stdout
