"""The default folders of a user's images, recovery copies and indexes."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from gptimage._internal.text import reason
from gptimage.errors import ConfigurationError


_NAME: Final = "gptimage"


def default_folder() -> Path:
    """Return where images are saved if no store is named: ``gptimage`` in the Pictures folder."""
    images = os.environ.get("XDG_PICTURES_DIR")
    return (Path(images) if images else _home() / "Pictures") / _NAME


def state_folder() -> Path:
    """Return the folder of recovery copies and pending replies, which survives a reboot.

    ``XDG_STATE_HOME`` (or ``~/.local/state``), on macOS and Windows the usual places.
    """
    return _user_folder("state", "XDG_STATE_HOME", ".local/state")


def recovery_folder() -> Path:
    """Return where images go whose store could not take them."""
    return state_folder() / "rescue"  # as 0.1.0 named it, so that its copies are found


def spool_folder() -> Path:
    """Return where replies wait until their images are saved."""
    return state_folder() / "spool"


def cache_folder() -> Path:
    """Return what can be built again: the indexes of object stores.

    ``XDG_CACHE_HOME`` (or ``~/.cache``), on macOS and Windows the usual places.
    """
    return _user_folder("cache", "XDG_CACHE_HOME", ".cache")


def _user_folder(kind: str, variable: str, without_home: str) -> Path:
    # As 0.1.0 did: XDG names count on every system, and on Windows what the environment says.
    local = os.environ.get("LOCALAPPDATA") if os.name == "nt" else None
    if named := os.environ.get(variable) or local:
        return Path(named) / _NAME
    home = _home()
    if home != _real_home():
        # platformdirs would name a folder called "~" in the current one.
        return home / without_home / _NAME
    import platformdirs

    # Without the author and the folder "Cache" of Windows: where 0.1.0 put its files.
    dirs = platformdirs.PlatformDirs(_NAME, appauthor=False, opinion=False)
    return dirs.user_state_path if kind == "state" else dirs.user_cache_path


def make_private(folder: Path) -> None:
    """Make a folder that only its owner may read, and see that it is ours.

    Prompts and images go there. In a shared folder somebody else may have made it before.

    Raises:
        OSError: It cannot be made, or belongs to somebody else.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not _is_ours(folder):
        raise PermissionError(f"the folder {folder} belongs to another user")


def _home() -> Path:
    """Return the user's home, or a private folder among the temporary ones for an account without.

    Raises:
        ConfigurationError: Somebody else has made that folder.
    """
    return _real_home() or _temporary_home()


def _real_home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # the account has none, and HOME is not set
        return None


def _temporary_home() -> Path:
    import tempfile

    home = Path(tempfile.gettempdir(), f"gptimage-{os.getuid()}" if os.name != "nt" else "gptimage")
    try:
        home.mkdir(mode=0o700, exist_ok=True)
        # A link is not followed: whoever made it could choose where prompts and images go.
        private = _is_ours(home) and not (os.name != "nt" and home.lstat().st_mode & 0o077)
        problem = "other users could read it" if not private else None
    except OSError as error:
        problem = reason(error)
    if problem:
        raise ConfigurationError(
            f"this account has no home folder, and {home} cannot stand in for one ({problem}): "
            "set HOME to a folder of this account"
        )
    return home


def _is_ours(folder: Path) -> bool:
    """Return whether it is a real folder and belongs to this user."""
    status = folder.lstat()
    if os.name == "nt":
        return stat.S_ISDIR(status.st_mode)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
