"""The image viewer: an MCP App that shows the gallery of a call inside clients that have Apps.

It is one HTML file without a build step and without anything remote. Its own policy lets only its
own script run, lets it connect to nothing, and lets images come from ``data:`` URLs alone.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from collections.abc import Mapping
from importlib.resources import files
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
    page = files("gptimage_mcp").joinpath("viewer.html").read_text("utf-8")
    script = page.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return page.replace("'sha256-SCRIPT'", f"'sha256-{digest}'", 1)


# The icons of the server and its tools, as ``data:`` URIs: nothing is fetched to show them.

_SVG: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0,0,24,24" fill="none" stroke="mediumpurple" '
    'stroke-width="2">{}</svg>'
)
"""The colour can be seen on white and on black, so that one icon serves both themes."""


@functools.cache
def _drawings() -> Mapping[str, str]:
    """Return what is inside the SVG of the server and of each tool, by name."""
    drawings: dict[str, str] = json.loads(files("gptimage_mcp").joinpath("icons.json").read_bytes())
    return drawings


def icons(name: str) -> list[Icon]:
    """The icon of a tool (``generate_image`` ...), or of the server (``server``)."""
    return [Icon(src=_address(name), mime_type="image/svg+xml")]


@functools.cache
def _address(name: str) -> str:
    """Return the address of an icon."""
    # Not base64, which is twice as long to a model that is shown the list.
    # Commas between the numbers of a path, because a space takes three characters in an address.
    drawn = re.sub(
        r' d="[^"]*"', lambda path: " " + path[0][1:].replace(" ", ","), _drawings()[name]
    )
    drawing = quote(_SVG.format(drawn).replace('"', "'"), safe="'/:=;,-.")
    return f"data:image/svg+xml,{drawing}"
