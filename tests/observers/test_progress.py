"""The progress bar counts what is done and what it cost."""

from __future__ import annotations

import io
from decimal import Decimal

import pytest

from gptimage.models.pricing import Cost
from gptimage.observers.events import CacheHit, Failed, Finished, Planned, Waiting
from tests.observers.factories import of


console = pytest.importorskip("rich.console")


def test_bar() -> None:
    """Done, cached, failed and spent are on the screen; a call counts once."""
    from gptimage.observers.progress import ProgressObserver

    screen = console.Console(file=io.StringIO(), force_terminal=True, width=120)
    with ProgressObserver(total=4, console=screen) as bar:
        for call in "abcd":
            bar.notify(Planned(**of(call)))
        bar.notify(Finished(**of("a"), images=1, seconds=1.0, cost=Cost(usd=Decimal("0.25"))))
        bar.notify(Failed(**of("a"), error="StoreError", seconds=1.0))
        bar.notify(Finished(**of("b"), images=1, seconds=1.0))
        bar.notify(CacheHit(**of("c")))
        bar.notify(Waiting(**of("d"), reason="images per minute", seconds=12.0))
    shown = screen.file.getvalue()

    assert (bar.spent, bar.cached, bar.failed, bar.unpriced) == (Decimal("0.25"), 1, 1, 1)
    assert "$0.2500+ · 1 cached · 1 failed · waiting 12 s (images per minute)" in shown
    assert "3/4" in shown


def test_total_grows_with_the_plans() -> None:
    """Without a total, what was begun so far is the total."""
    from gptimage.observers.progress import ProgressObserver

    screen = console.Console(file=io.StringIO(), force_terminal=True, width=120)
    with ProgressObserver(console=screen) as bar:
        for call in "ab":
            bar.notify(Planned(**of(call)))
        bar.notify(CacheHit(**of("a")))

    assert "1/2" in screen.file.getvalue()
