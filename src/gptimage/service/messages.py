"""Messages between a runner and its owner, over pipes that no other process can open.

Both ends are the same program of the same account, started one by the other, so a message is a
pickle with its length in front.
"""

from __future__ import annotations

import pickle
import struct
from typing import IO, Any, Final


_LENGTH: Final = struct.Struct(">Q")


def packed(message: object) -> bytes:
    """A message as it travels.

    Raises:
        Exception: It cannot be pickled; by convention anything may be raised.
    """
    body = pickle.dumps(message, protocol=5)
    return _LENGTH.pack(len(body)) + body


def read(file: IO[bytes]) -> Any | None:
    """The next message; None at the end, also where the other end died in the middle of one."""
    head = file.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    body = file.read(length)
    return pickle.loads(body) if len(body) == length else None  # noqa: S301  # of our own process
