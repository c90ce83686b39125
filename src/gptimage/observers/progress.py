"""A progress bar of many calls, on a terminal; needs the extra ``cli``."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any, Self

from gptimage.errors import ConfigurationError
from gptimage.models.pricing import format_usd
from gptimage.observers.events import CacheHit, Event, Failed, Finished, Planned, Submitted, Waiting


try:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
except ImportError as _missing:
    raise ConfigurationError(
        "the progress bar needs another package: pip install 'gptimage[cli]'"
    ) from _missing


class ProgressObserver:
    """Shows how many calls are done, what they cost, and how long the rest may take.

    Use it as a context, and give it to a client::

        with ProgressObserver(total=100) as bar:
            client = ImageClient(observers=[bar])

    Args:
        total: How many calls there will be; without it, what was begun so far. Each request of
            a batch counts as one.
        console: A ``rich.console.Console``; standard error when left out.
    """

    def __init__(self, total: int | None = None, *, console: Any = None) -> None:
        if console is None:
            from rich.console import Console

            console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._total = total
        self._task = self._bar.add_task("images", total=total or 0)
        self._lock = threading.Lock()
        self._begun = 0
        self._done = 0
        self._open: set[str] = set()
        self._item: tuple[str, int] | None = None
        self.spent: Decimal = Decimal(0)
        self.cached: int = 0
        self.failed: int = 0
        self.unpriced: int = 0

    def notify(self, event: Event) -> None:
        """Take an event into account."""
        with self._lock:
            match event:
                case Planned():
                    self._begun += 1
                    self._open.add(event.call_id)
                case Submitted():
                    self._begun += event.requests
                case CacheHit():
                    self.cached += 1
                case Finished():
                    self.unpriced += event.cost is None
                    self.spent += event.cost.usd if event.cost else 0
                case Failed():
                    self.failed += 1
                case Waiting():
                    self._show(f"waiting {event.seconds:.0f} s ({event.reason})")
                    return
                case _:
                    return
            done = self._ends(event)
            self._done += done
            self._show("", advance=int(done))

    def __enter__(self) -> Self:
        """Start drawing."""
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing; the last state stays on the screen."""
        self._bar.stop()

    def _ends(self, event: Event) -> bool:
        """Return whether a call, or a request of a batch, is over with this event."""
        if isinstance(event, (Planned, Submitted)):
            return False
        if event.item is not None:
            before, self._item = self._item, (event.call_id, event.item)
            return self._item != before  # failed after it finished: it could not be saved
        done = event.call_id in self._open
        self._open.discard(event.call_id)
        return done

    def _show(self, note: str, *, advance: int = 0) -> None:
        parts = [f"{format_usd(self.spent)}{'+' if self.unpriced else ''}"]
        parts += [f"{self.cached} cached"] if self.cached else []
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [note] if note else []
        # Results of a batch that another process submitted were not begun here.
        total = self._total or max(self._begun, self._done)
        self._bar.update(self._task, description=" · ".join(parts), advance=advance, total=total)
