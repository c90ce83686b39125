"""The version of this library, read from the metadata of the installed package."""

from __future__ import annotations

import functools


@functools.cache
def library_version() -> str:
    """Return the version of this library; ``unknown`` when it was copied, not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("gptimage")
    except PackageNotFoundError:
        return "unknown"
