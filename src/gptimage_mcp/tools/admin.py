"""The tools that tell about the server, its models, its costs and its cache; none draws."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from anyio.to_thread import run_sync
from mcp.server import MCPServer
from mcp_types import CallToolResult
from pydantic import Field

import gptimage
from gptimage_mcp.app import App
from gptimage_mcp.content import records
from gptimage_mcp.content.errors import failing
from gptimage_mcp.content.results import data
from gptimage_mcp.content.sanitize import told
from gptimage_mcp.moments import age
from gptimage_mcp.resources import pictures_changed
from gptimage_mcp.status import cache_counts, cache_state, model_of, status
from gptimage_mcp.tools import parameters as p
from gptimage_mcp.tools import schemas
from gptimage_mcp.tools.generate import Counter
from gptimage_mcp.tools.register import LOOKS, REMOVES, offer, optional
from gptimage_mcp.tools.requests import Drawing
from gptimage_mcp.tools.submit import Desk


ModelId = Annotated[str | p.Nothing, optional("Only this model")]
Every = Annotated[bool, Field(description="Also those that are shut down")]
Action = Annotated[
    Literal["stats", "clear"], Field(description="Tell what it holds, or forget answers")
]
OlderThan = Annotated[
    str | p.Nothing, optional("clear: only answers kept longer ago, such as 12h or 7d")
]
PictureId = Annotated[
    str,
    Field(
        description="The picture (img_...), as list_images gives it", min_length=1, max_length=200
    ),
]


def add_telling(server: MCPServer[App], app: App) -> None:
    """Offer the tools that tell; `delete_image` only where the settings allow it."""
    tools = Telling(app)
    offer(server, tools.estimate_cost, title="Estimate cost", hints=LOOKS, structured=True)
    offer(server, tools.list_models, title="List models", hints=LOOKS, structured=True)
    offer(server, tools.get_server_status, title="Server status", hints=LOOKS, structured=True)
    offer(server, tools.manage_cache, title="Manage cache", hints=REMOVES, structured=True)
    if app.settings.allow_delete:
        offer(server, tools.delete_image, title="Delete picture", hints=REMOVES, structured=True)


class Telling:
    """Tools that cost nothing.

    Args:
        app: The server.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def estimate_cost(
        self,
        prompt: p.Prompt,
        images: p.Images = None,
        mask: p.Mask = None,
        mask_box: p.MaskBox = None,
        markup: p.Markup = None,
        input_fidelity: p.InputFidelity = None,
        model: p.Model = None,
        n: p.N = None,
        size: p.Size = None,
        quality: p.QualityOf = None,
        background: p.BackgroundOf = None,
        format: p.Format = None,
        compression: p.Compression = None,
        moderation: p.ModerationOf = None,
        complexity: p.Complexity = None,
        safety_identifier: p.SafetyIdentifier = None,
        frame_count: p.FrameCount = None,
        frame_duration_ms: p.FrameDuration = None,
        svg_model: p.SvgModel = None,
        svg_effort: p.SvgEffort = None,
        partial_images: p.PartialImages = None,
    ) -> Annotated[CallToolResult, schemas.Estimated]:
        """Tell what generate_image (or, with images, edit_image) may cost with these arguments.

        Nothing is sent and nothing is billed. It is an estimate, not a bill: usd is the likely
        amount and ceiling_usd the most it should cost, in USD. null cannot be known beforehand:
        name size and quality, because auto has no price. It fails where the call would be refused.
        """
        of_edits: dict[str, Any] = {
            "images": images,
            "mask": mask,
            "mask_box": mask_box,
            "markup": markup,
            "input_fidelity": input_fidelity,
        }
        of_both: dict[str, Any] = {
            "model": model,
            "n": n,
            "size": size,
            "quality": quality,
            "background": background,
            "format": format,
            "compression": compression,
            "moderation": moderation,
            "complexity": complexity,
            "safety_identifier": safety_identifier,
            "frame_count": frame_count,
            "frame_duration_ms": frame_duration_ms,
            "svg_model": svg_model,
            "svg_effort": svg_effort,
            "partial_images": partial_images,
        }
        with failing():
            counter = Counter(Desk(self._app))
            if all(value is None for value in of_edits.values()):
                order = await counter.generate_image(prompt, **of_both)
            else:
                order = await counter.edit_image(prompt, **of_edits, **of_both)
            assert isinstance(order.draft, Drawing)  # noqa: S101  # both make one
            return data(await self._estimated(order.draft, model))

    async def list_models(
        self, model: ModelId = None, all: Every = False
    ) -> Annotated[CallToolResult, schemas.Catalogue]:
        """List the image models: what each draws and costs, until when it answers, its replacement.

        Prices are in USD per million tokens; estimate_cost tells what a picture costs.
        """
        with failing():
            catalogue, today = gptimage.Models.load(), self._app.clock().date()
            default = model_of(self._app)
            specs = [spec for spec in catalogue if all or spec.state(today) != "shut_down"]
            if model is not None:
                specs = [_known(catalogue, model)]
            return data(
                {
                    "default": default,
                    "checked": catalogue.checked.isoformat(),
                    "models": [
                        {**records.model(each, catalogue, today), "default": each.id == default}
                        for each in specs
                    ],
                }
            )

    async def get_server_status(self) -> Annotated[CallToolResult, schemas.Status]:
        """Tell whether the server can draw and, if not, what to do; its limits, spending and store.

        Look here first when something fails. It works without a key and when parts are broken.
        """
        return data(await run_sync(status, self._app))

    async def manage_cache(
        self, action: Action = "stats", older_than: OlderThan = None
    ) -> Annotated[CallToolResult, schemas.Cache]:
        """Tell what the cache of answers holds and has saved, or clear it.

        The same call is answered from it for free. Clearing deletes no picture: the next same call
        is sent and paid again. A cache in Redis is shared with other machines.
        """
        with failing():
            cache = self._app.cache
            if action == "stats" and older_than is not None:
                raise gptimage.InvalidRequestError(
                    "older_than belongs to action=clear", field="older_than", value=older_than
                )
            longer = None if older_than is None else age(older_than, "older_than")
            cleared = None
            if cache is not None and action == "clear":
                cleared = await run_sync(cache.clear, longer)
            state = await run_sync(cache_state, self._app)
            found = None if cache is None else cache_counts(await run_sync(cache.stats))
            document: schemas.Cache = {
                "kind": state["kind"],
                "path": state["path"],
                "cleared": cleared,
                "stats": found,
            }
            return data(document)

    async def delete_image(self, id: PictureId) -> Annotated[CallToolResult, schemas.Deleted]:
        """Delete a saved picture for good. It cannot be undone: ask the person first.

        A pinned picture is not deleted.
        """
        with failing():
            image_id = id.strip().removeprefix("generated-images://")
            await run_sync(self._app.store.delete, image_id)
            await pictures_changed(self._app.news, image_id)
            document: schemas.Deleted = {"deleted": image_id}
            return data(document)

    async def _estimated(self, draft: Drawing, model: str | None) -> schemas.Estimated:
        async with self._judge() as client:
            images = list(draft.images) or None
            found = await client.estimate(draft.prompt, images, **draft.options)
            ceiling = await draft.ceiling(client)
        notes = list(found.notes) if found else ["null: name size and quality, or another model"]
        if self._app.settings.sandbox:
            notes.append("the sandbox costs nothing; this is what the service would charge")
        return {
            "estimate": True,
            "model": model or model_of(self._app),
            "usd": None if found is None else f"{found.usd:f}",
            "ceiling_usd": None if ceiling is None else f"{ceiling:f}",
            "input_tokens": None if found is None else found.input_tokens,
            "output_tokens": None if found is None else found.output_tokens,
            "notes": notes,
        }

    @asynccontextmanager
    async def _judge(self) -> AsyncGenerator[gptimage.AsyncImageClient]:
        """Who judges a request; without a key the sandbox, which has the same checks and prices."""
        if self._app.client is not None:
            yield self._app.client
            return
        model = model_of(self._app)
        async with gptimage.AsyncImageClient.sandbox(
            store=self._app.store, model=model, clock=self._app.clock
        ) as client:
            yield client


def _known(catalogue: gptimage.Models, model: str) -> gptimage.ModelSpec:
    spec = catalogue.get(model.strip())
    if spec is None:
        raise gptimage.InvalidRequestError(
            f"{told(model, 60)} is not in the catalogue; it may still be drawn with, unchecked",
            field="model",
            value=model,
            allowed=tuple(spec.id for spec in catalogue),
        )
    return spec
