"""Run the benchmarks: ``python benchmarks/run.py [NAME ...] [--quick]``."""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import distributions, version

import calls
import checks
import cli
import drawing
import first_call
import imports
import many
import masks
import scoreboard
import similar
import stall


BENCHMARKS = {
    "import": imports.run,
    "cli": cli.run,
    "drawing": drawing.run,
    "stall": stall.run,
    "scoreboard": scoreboard.run,
    "first": first_call.run,
    "calls": calls.run,
    "many": many.run,
    "masks": masks.run,
    "similar": similar.run,
    "checks": checks.run,
}


PACKAGES = ("gptimage", "openai", "httpx2", "litellm", "pydantic-ai-slim")


def main() -> None:
    """Run the named benchmarks, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="few rounds: shows that it runs")
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}")
    installed = {each.name for each in distributions()}
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES if name in installed)
    print(f"Python {platform.python_version()}, {packages}")
    for name in args.names or BENCHMARKS:
        BENCHMARKS[name](quick=args.quick)


if __name__ == "__main__":
    main()
