"""`inspect_image` and `set_alt_text`: what a file says of its origin, and what stands for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from attrs import frozen
from mcp_types import CallToolResult
from pydantic import Field

import gptimage
from gptimage_mcp.content.errors import tool_errors
from gptimage_mcp.content.records import brief_record
from gptimage_mcp.content.results import structured
from gptimage_mcp.dynamic_server import DynamicServer
from gptimage_mcp.resources import images_changed
from gptimage_mcp.tools import parameters as p
from gptimage_mcp.tools import schemas
from gptimage_mcp.tools.browse import bare
from gptimage_mcp.tools.inputs import Sources
from gptimage_mcp.tools.register import LOOKS, NO_FLAG, REPEATABLE, optional, register_tool


if TYPE_CHECKING:
    from gptimage_mcp.app import App

Inspected = Annotated[str, Field(description=f"Image to look at: {p.IMAGE}")]
Similar = Annotated[
    int,
    Field(description="How many saved images that look like it to list", ge=0, le=20),
    NO_FLAG,
]
Saved = Annotated[str, Field(description="A saved image (img_...)", max_length=200)]
Text = Annotated[str, Field(description="The text; empty for mere decoration", max_length=1000)]
Other = Annotated[str | p.Nothing, optional("Image of the same size to compare it with")]


def add_inspect_tools(server: DynamicServer, app: App) -> None:
    """Register the tools, where the settings ask for them."""
    tools = InspectTools(app)
    inspect, write = tools.inspect_image, tools.set_alt_text
    register_tool(server, inspect, title="Inspect an image", hints=LOOKS, structured=True)
    register_tool(server, write, title="Set alt text", hints=REPEATABLE, structured=True)


@frozen
class InspectTools:
    """The tools.

    Attributes:
        app: The server.
    """

    app: App

    async def inspect_image(
        self, image: Inspected, other: Other = None, similar: Similar = 0
    ) -> Annotated[CallToolResult, schemas.Inspection]:
        """Tell what an image file says of its origin (XMP, C2PA), and compare images. Free.

        A signature that is not intact, or not there, proves nothing.
        """
        with tool_errors():
            sources = Sources(self.app)
            first = _at_hand(await sources.image(image, field="image"), "image")
            second = None
            if other is not None:
                second = _at_hand(await sources.image(other, field="other"), "other")
            found = await asyncio.to_thread(_inspected, first, second)
            alike = await asyncio.to_thread(self._similar, bare(image), first, similar)
            return structured({**found, **alike})

    async def set_alt_text(
        self, id: Saved, text: Text
    ) -> Annotated[CallToolResult, schemas.AltText]:
        """Save the text that web pages give to readers who cannot see an image. Free.

        Look at the image first (view_image). Say in at most 125 characters what matters about it;
        of a link or a button, what it does; nothing of an image that only decorates.
        """
        with tool_errors():
            record = await asyncio.to_thread(self.app.store.set_alt, bare(id), text)
            await images_changed(self.app.subscriptions, record.id)
            return structured({"id": record.id, "alt": record.alt})

    def _similar(self, given: str, image: gptimage.Image, most: int) -> dict[str, Any]:
        """Return saved images that look like one, the nearest first, and how many were not seen."""
        if not most:
            return {"similar": [], "unhashed": 0}
        store = self.app.store
        matches = store.similar(given if given in store else image, most)
        found = [{**brief_record(each.record), "distance": each.distance} for each in matches]
        return {"similar": found, "unhashed": store.stats().unhashed}


def _at_hand(image: gptimage.Image | gptimage.FileRef, field: str) -> gptimage.Image:
    if isinstance(image, gptimage.FileRef):
        raise gptimage.InvalidRequestError(
            f"{field}: a file the service has cannot be looked at here", field=field, value=image
        )
    return image


def _inspected(image: gptimage.Image, other: gptimage.Image | None) -> dict[str, Any]:
    return {
        "image": image.to_dict(),
        "provenance": image.provenance.to_dict(),
        "difference": None if other is None else image.diff(other).to_dict(),
    }
