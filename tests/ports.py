"""Free ports of this machine, for what cannot be told to find one by itself."""

from __future__ import annotations

import socket
import sys


def hold_port() -> int:
    """Return a port nobody listens on, and that no other test is given meanwhile.

    Who connects to it is refused. On Linux a server that sets SO_REUSEADDR, as nearly all do, can
    listen on it all the same; elsewhere it could not, and there the port is free again at once.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    port: int = held.getsockname()[1]
    if sys.platform == "linux":
        held.detach()  # it stays open until this process ends
    else:
        held.close()
    return port
