"""The real server over HTTP, plus the fixtures that MCP's conformance suite calls by name.

``python overlay.py PORT FOLDER``. Nothing of the product is replaced: its lifespan, extensions,
guards and routes are all in the way of every message, and must not break the protocol.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import uvicorn
from fixtures import add_fixtures, add_tasks

from gptimage_mcp import Settings
from gptimage_mcp.app import create_app
from gptimage_mcp.http.app import build_app, configuration, listen
from gptimage_mcp.server import server_of


def main(port: int, folder: Path) -> None:
    """Serve until terminated."""
    logging.disable()
    settings = Settings(
        sandbox=True,
        store=folder / "store",
        ledger=folder / "ledger.sqlite",
        transport="http",
        port=port,
        calls_per_minute=1_000_000,  # the suite is one client in a hurry
    )
    app = create_app(settings)
    server = server_of(app, owned=True)
    add_fixtures(server)
    add_tasks(server, app)
    sockets = listen(settings.host, port)
    uvicorn.Server(configuration(build_app(server, settings), settings)).run(sockets)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
