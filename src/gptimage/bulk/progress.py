"""The progress of a run of many: counts, rate, money and time left, and showing them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, TypeAlias

from attrs import evolve, frozen

from gptimage.models.pricing import Cost, format_usd


@frozen(kw_only=True)
class Progress:
    """The progress of a run.

    Attributes:
        done: Items whose images arrived.
        failed: Items that ended with an error.
        resumed: Items an earlier run had finished; not part of ``done``.
        total: How many there are in all, or None when the requests do not say.
        seconds: Time since the start.
        spent: What the images of this run cost, in USD, as far as it is known.
        unpriced: Items of this run whose cost is not known.
        per_minute: How many items of one image the client's limits allow, or None.
    """

    done: int = 0
    failed: int = 0
    resumed: int = 0
    total: int | None = None
    seconds: float = 0.0
    spent: Decimal = Decimal(0)
    unpriced: int = 0
    per_minute: int | None = None

    @property
    def finished(self) -> int:
        """The number of settled items."""
        return self.done + self.failed + self.resumed

    @property
    def rate(self) -> float | None:
        """Items a second in this run, resumed ones left out; None before the first."""
        sent = self.done + self.failed
        return sent / self.seconds if sent and self.seconds > 0 else None

    @property
    def eta(self) -> float | None:
        """Seconds the rest should take, or None when that cannot be known.

        It is no less than limits allow: the speed of the first minute says little of the rest.
        """
        if self.total is None or self.rate is None:
            return None
        left = max(0, self.total - self.finished)
        limited = max(0, left - self.per_minute) * 60 / self.per_minute if self.per_minute else 0
        return max(left / self.rate, limited)

    def __str__(self) -> str:
        """Such as ``12 of 100 · 1 failed · 0.8/s · $0.1572 · 110 s left``."""
        parts = [f"{self.finished}" if self.total is None else f"{self.finished} of {self.total}"]
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{self.resumed} from before"] if self.resumed else []
        parts += [f"{self.rate:.1f}/s"] if self.rate is not None else []
        parts.append(format_usd(self.spent) + (" and more" if self.unpriced else ""))
        parts += [f"{self.eta:.0f} s left"] if self.eta is not None else []
        return " · ".join(parts)


ProgressCallback: TypeAlias = bool | Callable[[Progress], object]
"""Whether to show the progress on standard error, or a function called after every item."""


class ProgressTracker:
    """A count of the items of a run, which it shows.

    Args:
        total: How many there are, if that is known.
        callback: See `ProgressCallback`.
        per_minute: Returns how many items limits allow in a minute, or None.
        clock: Returns a time in seconds that never goes back.
    """

    def __init__(
        self,
        total: int | None,
        callback: ProgressCallback,
        *,
        per_minute: Callable[[], int | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._per_minute = per_minute
        self._start = clock()
        self._screen = _screen() if callback is True else None
        self._show = self._screen or (callback if callable(callback) else None)
        self.progress: Progress = Progress(total=total)
        if self._screen is not None:
            self._screen(self.progress)

    def resumed(self) -> None:
        """Count an item that an earlier run finished."""
        self._add(resumed=1)

    def failed(self) -> None:
        """Count an item that ended with an error."""
        self._add(failed=1)

    def done(self, cost: Cost | None) -> None:
        """Count an item whose images arrived, and their cost."""
        spent = cost.usd if cost else Decimal(0)
        self._add(done=1, spent=spent, unpriced=int(cost is None))

    def close(self) -> None:
        """Stop showing; the last state stays on the screen."""
        if self._screen is not None:
            self._screen.close()

    def _add(self, **more: Any) -> None:
        before = self.progress
        sums = {name: getattr(before, name) + value for name, value in more.items()}
        seconds, per_minute = self._clock() - self._start, self._per_minute()
        self.progress = evolve(before, seconds=seconds, per_minute=per_minute, **sums)
        if self._show is not None:
            self._show(self.progress)


_LINE_SECONDS: Final = 10.0


class _Lines:
    """A plain line now and then, where standard error is a file or a log."""

    def __init__(self) -> None:
        self._next = 0.0
        self._last = ""

    def __call__(self, progress: Progress) -> None:
        self._last = str(progress)
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _LINE_SECONDS
            self._write()

    def close(self) -> None:
        if self._last:
            self._write()

    def _write(self) -> None:
        sys.stderr.write(f"{self._last}\n")
        self._last = ""


class _Status:
    """A line in place on a terminal, for those without the extra ``cli``."""

    def __call__(self, progress: Progress) -> None:
        sys.stderr.write(f"\r\x1b[K{progress}")
        sys.stderr.flush()

    def close(self) -> None:
        sys.stderr.write("\n")


class _Bar:
    """A bar on a terminal."""

    def __init__(self, rich: Any, console: Any) -> None:
        columns = (rich.BarColumn(), rich.TextColumn("{task.description}"))
        self._bar = rich.Progress(*columns, console=console)
        self._task = self._bar.add_task("", total=None)
        self._bar.start()

    def __call__(self, progress: Progress) -> None:
        self._bar.update(
            self._task,
            completed=progress.finished,
            total=progress.total,
            description=str(progress),
        )

    def close(self) -> None:
        self._bar.stop()


def _screen() -> _Lines | _Status | _Bar:
    if not sys.stderr.isatty():
        return _Lines()
    try:
        import rich.progress
        from rich.console import Console
    except ImportError:
        return _Status()
    return _Bar(rich.progress, Console(stderr=True))
