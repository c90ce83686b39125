"""What argparse hands to every command module.

A command module has ``add_parser(subparsers)``, which sets ``func`` to a function that
takes the parsed arguments and returns an exit code.
"""

from __future__ import annotations

import argparse
from typing import Any, Protocol


class Subparsers(Protocol):
    """What ``ArgumentParser.add_subparsers()`` returns; its own class has a private name."""

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser:
        """Add a sub-command and return its parser."""
        ...
