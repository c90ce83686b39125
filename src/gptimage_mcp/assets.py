"""The picture viewer: an MCP App that shows the gallery of a call inside clients that have Apps.

It is one HTML file without a build step and without anything remote. Its own policy lets only its
own script run, lets it connect to nothing, and lets pictures come from ``data:`` URLs alone.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import Any, Final

from mcp.server.apps import Apps, ResourceCsp


VIEWER_URI: Final = "ui://gptimage/viewer.html"
"""Where the viewer is."""

VIEWER_META: Final[dict[str, Any]] = {
    "ui": {"resourceUri": VIEWER_URI},
    "ui/resourceUri": VIEWER_URI,  # how hosts of 2025 looked for it
}
"""The ``meta`` of tools whose results the viewer shows."""


def viewer() -> Apps:
    """The extension of a server that has the viewer."""
    apps = Apps()
    apps.add_html_resource(
        VIEWER_URI,
        html(),
        name="viewer",
        title="Picture viewer",
        description="Shows the pictures of a call: grid, zoom, compare, refine.",
        csp=ResourceCsp(),  # nothing but itself
        prefers_border=True,
    )
    return apps


def html() -> str:
    """The page, with the hash of its script in its policy."""
    page = resources.files("gptimage_mcp").joinpath("viewer.html").read_text("utf-8")
    script = page.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return page.replace("'sha256-SCRIPT'", f"'sha256-{digest}'", 1)
