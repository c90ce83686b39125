"""Start of a process that goes on when its starter is killed with all its children."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final


_WITHOUT_JOB: Final = 0x01000000
"""``CREATE_BREAKAWAY_FROM_JOB``: a Windows client ends every process of its job object."""


def start(module: str) -> subprocess.Popen[bytes]:
    """Run a module of this environment in a session of its own, with pipes to all its streams.

    Raises:
        OSError: It cannot be started.
    """
    # -P: the folder we happen to be in must not hold its modules; what this process can import
    # it can import, too.
    command = [sys.executable, "-P", "-m", module]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    if sys.platform == "win32":  # written after the documentation, and never tried
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
        try:
            return _popen(command, environment, creationflags=flags | _WITHOUT_JOB)
        except PermissionError:  # the client's job lets no process go; it may be killed with it
            return _popen(command, environment, creationflags=flags)
    # A client that ends its server signals the process group; a session has groups of its own.
    return _popen(command, environment, start_new_session=True)


def _popen(
    command: list[str],
    environment: dict[str, str],
    *,
    creationflags: int = 0,
    start_new_session: bool = False,
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  # this very Python, and a module of ours
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        creationflags=creationflags,
        start_new_session=start_new_session,
    )


def leave_parent() -> bool:
    """Go on as an orphan, which is no child of the starter; return whether that was done.

    A client that kills its server's children, and theirs, finds them by their parents. Under
    process 1, which may be the server itself in a container, an orphan would never be reaped.
    """
    if sys.platform == "win32" or os.getppid() == 1:
        return False
    if os.fork():  # no thread was started yet, so nothing can be held by one that is gone
        os._exit(0)
    return True
