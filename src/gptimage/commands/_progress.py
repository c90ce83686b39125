"""A line on stderr that shows that something is being waited for."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def progress(text: str) -> Generator[None]:
    """Show ``text`` while the block runs: moving on a terminal, one plain line elsewhere."""
    if not sys.stderr.isatty():
        print(text, file=sys.stderr)
        yield
        return
    with _moving(text):
        yield


@contextmanager
def _moving(text: str) -> Generator[None]:
    try:
        from rich.console import Console
    except ImportError:
        with _counting(text):
            yield
    else:
        with Console(stderr=True).status(text):
            yield


@contextmanager
def _counting(text: str) -> Generator[None]:
    """The seconds so far, in place; for those without the extra ``cli``."""
    done = threading.Event()
    start = time.monotonic()

    def count() -> None:
        while not done.wait(0.2):
            print(f"\r{text} {time.monotonic() - start:.0f} s ", end="", file=sys.stderr)

    counter = threading.Thread(target=count, daemon=True)
    counter.start()
    try:
        yield
    finally:
        done.set()
        counter.join()
        print("\r\x1b[K", end="", file=sys.stderr)
