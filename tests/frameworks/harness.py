"""Cases of one framework, run in the framework's own environment: nothing but Python is needed.

A script registers its cases and calls `run`. The first line it prints says how many cases there
are, so that a script that dies half-way is noticed; then each case is one line of JSON.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import struct
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version
from typing import Any


BASE_URL = os.environ.get("OPENAI_BASE_URL", "")
KEY = os.environ.get("OPENAI_API_KEY", "")
MODEL = "gpt-image-2.5-flare"
TRANSPARENT_MODEL = "gpt-image-2.6-flare"
CHAT_MODEL = "gpt-6-luna"
FIRST, NEXT = "Draw a red fox in the snow.", "Now draw it at night."
Case = Callable[[], Awaitable[object]]

_cases: list[tuple[str, str, Case]] = []


def case(name: str, *, not_ours: str = "") -> Callable[[Case], Case]:
    """Register a case.

    Args:
        name: What is tried, in a few words.
        not_ours: Why the framework itself cannot do it, if it cannot: the case is run all the
            same, and reported apart.
    """

    def register(function: Case) -> Case:
        _cases.append((name, not_ours, function))
        return function

    return register


def run(*packages: str) -> None:
    """Run every registered case; print each outcome as a line of JSON."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    print(json.dumps({"cases": len(_cases), "versions": versions}), flush=True)
    asyncio.run(_run())
    sys.exit(0)


async def _run() -> None:
    for name, not_ours, function in _cases:
        outcome: dict[str, object] = {"case": name, "not_ours": not_ours, "error": None}
        try:
            await asyncio.wait_for(function(), 120)
        except BaseException as error:  # noqa: BLE001  # whatever a framework raises is the result
            outcome["error"] = described(error)
        print(json.dumps(outcome), flush=True)


def described(error: BaseException) -> str:
    """Return an error in one line; of a group, the first one inside."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def check(condition: object, message: object = "") -> None:
    """Fail the case unless the condition holds."""
    if not condition:
        raise AssertionError(str(message)[:300])


async def done(value: Any) -> Any:
    """Return a value, or what an awaitable gives: one case serves a client and its async twin."""
    return await value if inspect.isawaitable(value) else value


async def each(values: Any) -> AsyncIterator[Any]:
    """Yield what a stream or a list has, or its async twin."""
    if hasattr(values, "__aiter__"):
        async for value in values:
            yield value
    else:
        for value in values:
            yield value


def png(width: int = 64, height: int = 64, *, clear: bool = False) -> bytes:
    """Return a small PNG of one colour; ``clear``: its upper half is transparent."""
    rows = b"".join(
        b"\0" + (b"\x20\x80\x80\0" if clear and row < height // 2 else b"\x20\x80\x80\xff") * width
        for row in range(height)
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def is_png(data: bytes) -> bool:
    """Whether the bytes begin as a PNG does."""
    return data.startswith(b"\x89PNG\r\n\x1a\n")
