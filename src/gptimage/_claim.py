"""An exclusive claim on an open file, which the kernel frees when the process ends."""

from __future__ import annotations

import sys


def claim(handle: int) -> None:
    """Claim it at once, without waiting.

    Args:
        handle: The descriptor of a file; the claim lasts until it is closed.

    Raises:
        OSError: Somebody else has it.
    """
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
