"""The icons of the server and its tools, as ``data:`` URIs: nothing is fetched to show them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final

from mcp_types import Icon


_SVG: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="#8b6cf6" '
    'stroke-width="2" stroke-linecap="round" stroke-linejoin="round">{}</svg>'
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
    "manage_cache": (
        '<ellipse cx="12" cy="6" rx="8" ry="3"/><path d="M4 6v12q0 3 8 3t8-3V6M4 12q0 3 8 3t8-3"/>'
    ),
    "delete_image": '<path d="M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13m-8 4v5m4-5v5"/>',
}


def icons(name: str) -> list[Icon]:
    """The icon of a tool (``generate_image`` ...), or of the server (``server``)."""
    drawing = base64.b64encode(_SVG.format(_DRAWINGS[name]).encode()).decode()
    uri = f"data:image/svg+xml;base64,{drawing}"
    return [Icon(src=uri, mime_type="image/svg+xml", sizes=["any"])]
