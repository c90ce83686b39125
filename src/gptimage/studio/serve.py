"""Serve the page on this machine until it is stopped."""

from __future__ import annotations

import asyncio
import socket
import webbrowser
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Final

import uvicorn

from gptimage.studio.app import build_app
from gptimage.studio.context import StudioOptions, open_studio
from gptimage.studio.session import AddressToken


HOST: Final = "127.0.0.1"
PORT: Final = 4747
"""The port when none is named; another one when it is taken."""

_GRACE: Final = 3
"""Seconds that open requests have when the server is stopped; what is drawn goes on elsewhere."""


def listen(port: int | None) -> socket.socket:
    """Return a socket that listens on this machine only.

    Args:
        port: The port; None for the usual one, or any when that is taken; 0 for any.

    Raises:
        OSError: The port is taken.
    """
    if port is None:
        with suppress(OSError):
            return socket.create_server((HOST, PORT))
    return socket.create_server((HOST, port or 0))


def serve(
    options: StudioOptions,
    *,
    port: int | None = None,
    browser: bool = True,
    say: Callable[[str], None],
) -> None:
    """Serve the page until the process is interrupted.

    Args:
        options: What to open.
        port: Where to listen; see `listen`.
        browser: Open the page in the browser.
        say: Gets the address, and at the end what goes on without the page.

    Raises:
        ConfigurationError: A setting cannot be used.
        StoreError: The store's folder cannot be made.
        OSError: The port is taken.
    """
    with closing(open_studio(options)) as studio, listen(port) as listening:
        address = AddressToken()
        number = listening.getsockname()[1]
        url = f"http://{HOST}:{number}/?token={address.token}"
        app = build_app(studio, address, cookie=f"gptimage_studio_{number}")
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=_GRACE
        )
        server = uvicorn.Server(config)
        say(url)
        if browser:
            webbrowser.open(url)
        with suppress(KeyboardInterrupt):  # uvicorn raises it again once everything is closed
            asyncio.run(server.serve(sockets=[listening]))
        if sent := app.state.jobs.sent():
            say(f"{sent} sent before the end: finished in the background, and saved in the store")
