"""Fair comparisons: contestants take turns, each in a fresh process, and medians are printed."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


Numbers = Mapping[str, float]

MODEL = "gpt-image-2.5-flare"
PROMPT = "A red fox in fresh snow"


def take_turns(
    script: Path, contestants: Sequence[str], rounds: int, *arguments: str
) -> dict[str, list[Numbers]]:
    """Run ``script CONTESTANT ARGUMENTS...`` in turns; each run prints one JSON object.

    The order is turned round every time, so that nobody always runs after the same one.
    """
    found: dict[str, list[Numbers]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name in contestants if number % 2 == 0 else reversed(contestants):
            command = [sys.executable, str(script), name, *arguments]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[name].append(json.loads(done.stdout))
    return found


def median(runs: Sequence[Numbers], key: str) -> float:
    """The median of one figure over the runs."""
    return statistics.median(run[key] for run in runs)


def report(
    title: str, runs: Mapping[str, Sequence[Numbers]], key: str, *, unit: str, aim: str
) -> None:
    """Print one line per contestant, with its ratio to the first, and the aim."""
    print(f"\n{title}")
    print(f"  {'':<34}{'median':>10}{'min':>10}{'max':>10}  {unit:<4}{'ratio':>7}")
    base = median(next(iter(runs.values())), key)
    for name, found in runs.items():
        values = [run[key] for run in found]
        middle = median(found, key)
        figures = "".join(f"{each:>10.1f}" for each in (middle, min(values), max(values)))
        ratio = f"{middle / base:>7.2f}" if base else f"{'-':>7}"
        print(f"  {name:<34}{figures}  {unit:<4}{ratio}")
    print(f"  aim: {aim}")


def memory(*, peak: bool) -> float:
    """Resident memory of this process, in megabytes: now, or the largest so far."""
    try:
        # ru_maxrss can hold the parent's figure from before exec; VmHWM cannot.
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except FileNotFoundError as error:
        raise SystemExit("memory is read from /proc, so this benchmark needs Linux") from error
    return int(status.partition("VmHWM:" if peak else "VmRSS:")[2].split()[0]) / 1000
