"""A long run: many calls with faults in between; memory and descriptors must stay flat.

``nox -s soak`` runs it, with ``-- 10000`` for a short one. It prints the figures of the first and
the last thousand calls, and fails if they grow.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

from gptimage import Budget, Cache, GptImageError, ImageClient, Retry
from gptimage.budget import Ledger
from gptimage.sandbox import Sandbox
from gptimage.sandbox.failures import Scenario


FAULTS: dict[Scenario, float] = {
    "cut": 0.01,
    "server": 0.01,
    "overloaded": 0.01,
    "html": 0.01,
    "empty": 0.01,
}
MEMORY = 1.10
"""How much larger the memory may be at the end than after the first tenth."""


def memory() -> int:
    """Bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    """Open file descriptors."""
    return len(list(Path("/proc/self/fd").iterdir()))


def main(calls: int) -> int:
    """Run so many calls; the exit code is 1 when something grew."""
    logging.disable(logging.CRITICAL)
    # In memory, where there is such a folder: the run is not about the speed of a disk.
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as name:
        return run(calls, Path(name))


def run(calls: int, folder: Path) -> int:
    """Run so many calls with their files in a folder."""
    os.environ["XDG_STATE_HOME"] = str(folder)
    sandbox = Sandbox(draw="plain", failures=FAULTS, seed=1)
    outcomes: Counter[str] = Counter()
    figures: list[tuple[int, int]] = []
    step = max(1, min(1_000, calls // 20))
    with ImageClient.sandbox(
        sandbox,
        retry=Retry(first_delay=0, max_delay=0),
        cache=Cache.memory(max_bytes=1_000_000),
        ledger=Ledger(folder / "ledger.sqlite"),
        budget=Budget(1_000_000, per="total", unknown=0),
    ) as client:
        for number in range(calls):
            try:
                client.generate(f"A fox, number {number % 5_000}", size="1024x1024", quality="low")
                outcomes["ok"] += 1
            except GptImageError as error:
                outcomes[type(error).__name__] += 1
            if (number + 1) % step == 0:
                gc.collect()
                figures.append((memory(), descriptors()))
    settled, last = figures[len(figures) // 10], figures[-1]
    print(f"{calls} calls: {dict(outcomes)}")  # the figures
    for name, (size, files) in (("first", figures[0]), ("settled", settled), ("last", last)):
        print(f"{name}: {size / 1e6:.1f} MB, {files} descriptors")
    grew = last[0] > MEMORY * settled[0] or last[1] > settled[1] + 2
    print("GREW" if grew else "flat")
    return int(grew)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))
