"""The CPU time of a cold command: a person waits for it every time, and so do completions."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import report, take_turns


COMMANDS = {
    "bare interpreter": ["-c", "pass"],
    "gptimage --version": ["-m", "gptimage", "--version"],
    "gptimage store search": ["-m", "gptimage", "store", "search", "fox"],
    "gptimage models": ["-m", "gptimage", "models"],
}


def run(*, quick: bool) -> None:
    """Print the CPU time of each command."""
    with tempfile.TemporaryDirectory() as folder:
        _draw(folder)
        runs = take_turns(Path(__file__), list(COMMANDS), 3 if quick else 15, folder)
    aim = "--version at most 120 ms, store search at most 200 ms"
    report("CPU time of a cold command", runs, "ms", unit="ms", aim=aim)


def child(name: str, folder: str) -> None:
    """Measure one fresh process."""
    command = [sys.executable, *COMMANDS[name]]
    environment = {**os.environ, "GPTIMAGE_STORE": folder}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps({"ms": (used.ru_utime + used.ru_stime) * 1000}))


def _draw(folder: str) -> None:
    import gptimage

    with gptimage.ImageClient.sandbox(store=folder) as client:
        for number in range(20):
            client.generate(f"A red fox, number {number}", size="1024x1024", quality="low")


if __name__ == "__main__":
    child(sys.argv[1], sys.argv[2])
