"""What the viewer's tests show it: made-up results, and hostile words."""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from tests.mcp.harness import picture


HOSTILE: Final = (
    '<img src=x onerror="document.title=1"><script>document.title=2</script>&lt;b&gt; "\'`'
)
"""Words that would be markup, a script or an end of either, if anybody let them."""


def picture_id(number: int) -> str:
    """The id of a made-up picture."""
    return f"img_20261120T114205123456_9f86d081884c7d659a2feaa0c55ad01{number}"


def fake_result(count: int = 1, form: str = "png", **facts: Any) -> dict[str, Any]:
    """A result as the server gives it, of made-up pictures."""
    data = base64.b64encode(picture(64, 48, form)).decode()
    entries = [
        {"id": picture_id(n), "width": 64, "height": 48, "format": form, "preview": "64x48"}
        for n in range(count)
    ]
    summary = {"status": "done", "images": entries, "warnings": [], **facts}
    image = {"type": "image", "mimeType": f"image/{form}", "data": data}
    return {"content": [{"type": "text", "text": json.dumps(summary)}, *[image] * count]}
