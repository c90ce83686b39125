"""The image viewer: an MCP App that shows the gallery of a call inside clients that have Apps.

It is one HTML file without a build step and without anything remote. Its own policy lets only its
own script run, lets it connect to nothing, and lets images come from ``data:`` URLs alone.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any, Final
from urllib.parse import quote

from mcp.server.apps import Apps, ResourceCsp
from mcp_types import Icon


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
        title="Image viewer",
        description="Shows the images of a call: grid, zoom, compare, refine.",
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


# The icons of the server and its tools, as ``data:`` URIs: nothing is fetched to show them.

_SVG: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0,0,24,24" fill="none" stroke="mediumpurple" '
    'stroke-width="2">{}</svg>'
)
"""The colour can be seen on white and on black, so that one icon serves both themes."""

_FRAME: Final = '<rect x="3" y="4" width="18" height="16" rx="2"/>'

_DRAWINGS: Final[Mapping[str, str]] = {
    "server": f'{_FRAME}<path d="m4 17 5-5 4 4 3-3 4 4"/><circle cx="15.5" cy="8.5" r="1.5"/>',
    "generate_image": '<path d="M12 3q1 8 9 9-8 1-9 9-1-8-9-9 8-1 9-9Z"/>',
    "edit_image": '<path d="m4 20 1-5L16 4l4 4L9 19Zm9.5-13.5 4 4"/>',
    "refine_image": '<path d="M4 12a8 8 0 0 1 14-5l2 2V4M20 12a8 8 0 0 1-14 5l-2-2v5"/>',
    "create_variations": (
        '<rect x="3" y="3" width="8" height="8"/><rect x="13" y="3" width="8" height="8"/>'
        '<rect x="3" y="13" width="8" height="8"/><path d="M17 13v8m-4-4h8"/>'
    ),
    "view_image": '<path d="M2 12q4-7 10-7t10 7q-4 7-10 7T2 12Z"/><circle cx="12" cy="12" r="3"/>',
    "list_images": (
        '<rect x="3" y="4" width="6" height="6"/><rect x="3" y="14" width="6" height="6"/>'
        '<path d="M13 5h8m-8 4h5m-5 6h8m-8 4h5"/>'
    ),
    "get_image_info": f'{_FRAME}<path d="M12 12v4m0-8v.01"/>',
    "estimate_cost": '<circle cx="12" cy="12" r="9"/><path d="M15 9q-3-2-5 0t2 3 2 3-5 0m3-9v12"/>',
    "list_models": '<path d="m12 3 9 5-9 5-9-5Zm-9 9 9 5 9-5M3 16l9 5 9-5"/>',
    "get_server_status": '<path d="M2 12h5l3-8 4 16 3-8h5"/>',
    "cancel_call": '<circle cx="12" cy="12" r="9"/><path d="m6 6 12 12"/>',
    "manage_cache": (
        '<ellipse cx="12" cy="6" rx="8" ry="3"/><path d="M4 6v12q0 3 8 3t8-3V6M4 12q0 3 8 3t8-3"/>'
    ),
    "edit_each_image": (
        '<rect x="3" y="3" width="8" height="8"/><rect x="3" y="13" width="8" height="8"/>'
        '<path d="m13 20 1-4 6-6 3 3-6 6Z"/>'
    ),
    "inspect_image": '<circle cx="10" cy="10" r="6"/><path d="m15 15 6 6M7 10l2 2 4-4"/>',
    "set_alt_text": '<rect x="3" y="3" width="18" height="12"/><path d="M3 19h18M3 22h10"/>',
    "manage_conversations": '<path d="M4 5h16v11H10l-5 4v-4H4Zm4 4h8m-8 3h5"/>',
    "delete_image": '<path d="M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13m-8 4v5m4-5v5"/>',
}


def icons(name: str) -> list[Icon]:
    """The icon of a tool (``generate_image`` ...), or of the server (``server``)."""
    # Not base64, which is twice as long to a model that is shown the list.
    # Commas between the numbers of a path, because a space takes three characters in an address.
    drawn = re.sub(r' d="[^"]*"', lambda path: " " + path[0][1:].replace(" ", ","), _DRAWINGS[name])
    drawing = quote(_SVG.format(drawn).replace('"', "'"), safe="'/:=;,-.")
    uri = f"data:image/svg+xml,{drawing}"
    return [Icon(src=uri, mime_type="image/svg+xml")]
