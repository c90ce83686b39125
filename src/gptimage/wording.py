"""Advice of the library in the words of its reader: a command line, or an assistant.

Errors are raised for programs in Python and say what to write there. A person at a command line
has flags for the same, and an assistant has tools and the settings of its server.
"""

from __future__ import annotations

import json
from functools import cache

from gptimage._internal.data import data_file


def for_command_line(text: str) -> str:
    """Say what flags and commands do where the library names Python."""
    return _reworded(text, 1)


def for_assistant(text: str) -> str:
    """Say what tools and settings do where the library names Python."""
    return _reworded(text, 2)


def _reworded(text: str, door: int) -> str:
    for row in _phrases():
        text = text.replace(row[0], row[door])
    return text


@cache
def _phrases() -> list[tuple[str, str, str]]:
    """Return each phrase of the library, with that of the command line and of the MCP server."""
    rows: list[tuple[str, str, str]] = json.loads(data_file(__name__, "wording.json"))
    return rows
