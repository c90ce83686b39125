"""Where a user's pictures, rescue copies and indexes go when nobody says otherwise."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final


_NAME: Final = "gptimage"


def default_folder() -> Path:
    """The pictures of somebody who named no store: ``gptimage`` in their pictures folder."""
    pictures = os.environ.get("XDG_PICTURES_DIR")
    return (Path(pictures) if pictures else _home() / "Pictures") / _NAME


def state_folder() -> Path:
    """What must survive a reboot but is nobody's document: rescue copies and spooled replies.

    ``XDG_STATE_HOME`` (or ``~/.local/state``), on macOS and Windows the usual places.
    """
    return _place("XDG_STATE_HOME", ".local/state", "Library/Application Support") / _NAME


def rescue_folder() -> Path:
    """Where pictures go whose store could not take them."""
    return state_folder() / "rescue"


def spool_folder() -> Path:
    """Where replies wait until their pictures are saved."""
    return state_folder() / "spool"


def cache_folder() -> Path:
    """What can be built again: the indexes of object stores.

    ``XDG_CACHE_HOME`` (or ``~/.cache``), on macOS and Windows the usual places.
    """
    return _place("XDG_CACHE_HOME", ".cache", "Library/Caches") / _NAME


def _place(variable: str, on_linux: str, on_macos: str) -> Path:
    if named := os.environ.get(variable):
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local")
    return _home() / (on_macos if sys.platform == "darwin" else on_linux)


def _home() -> Path:
    """The user's home, or the temporary folder of an account that has none."""
    try:
        return Path.home()
    except RuntimeError:
        import tempfile

        return Path(tempfile.gettempdir())
