"""Our routes besides the protocol: ``/health``, ``/metrics``, ``/images`` and ``/stream``.

The SDK leaves routes like these open to everybody; `http.app.build_app` puts authentication in
front of all but ``/health``.
"""

from __future__ import annotations

from typing import Final, cast

from mcp.server import MCPServer
from starlette.requests import Request
from starlette.responses import Response

from gptimage.service.http import image_response
from gptimage_mcp.app import App
from gptimage_mcp.health import HealthRoute
from gptimage_mcp.http.middleware import LINKED
from gptimage_mcp.http.stream import StreamRoute
from gptimage_mcp.http.uploads import receive_upload
from gptimage_mcp.jobs.uploads import Uploads
from gptimage_mcp.metrics import MetricsRoute


HEALTH: Final = "/health"
METRICS: Final = "/metrics"
IMAGES: Final = "/images"
STREAM: Final = "/stream"
STUDIO: Final = "/studio"
OPEN: Final = (HEALTH, STUDIO, f"{STUDIO}/", f"{STUDIO}/session")
"""Paths that need no token: of the studio the page that asks for one, and what takes it."""

ROUTES: Final = (HEALTH, METRICS, IMAGES, STREAM, STUDIO)
"""What the paths of all our routes begin with."""


def add_routes(server: MCPServer[App], app: App) -> None:
    """Register the routes; `build_server` calls it."""
    uploads = Uploads(app.state)

    async def image(request: Request) -> Response:
        linked = LINKED in request.scope
        return cast("Response", await image_response(request.scope, app.store, linked=linked))

    async def upload(request: Request) -> Response:
        return await receive_upload(request, uploads)

    stream = StreamRoute(app)
    server.custom_route(HEALTH, ["GET"])(HealthRoute(app).respond)
    server.custom_route(METRICS, ["GET"])(MetricsRoute(app).respond)
    server.custom_route(f"{IMAGES}/{{id}}", ["GET"])(image)
    server.custom_route(IMAGES, ["POST"])(upload)
    server.custom_route(STREAM, ["POST"])(stream.draw)
    server.custom_route(f"{STREAM}/{{handle}}", ["GET"])(stream.follow)
    if app.studios is not None:
        methods = ["GET", "POST", "PATCH", "DELETE"]
        server.custom_route(STUDIO, ["GET"])(app.studios.respond)
        server.custom_route(f"{STUDIO}/{{rest:path}}", methods)(app.studios.respond)
