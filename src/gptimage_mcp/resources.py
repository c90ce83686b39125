"""Images, history, storage, models and templates as MCP resources.

An image is given byte for byte as it was saved, under its own MIME type. Over stdio one message
can be too large for the client: TypeScript clients close the connection at 10 MiB, and the server
is gone for the session. So a larger image is refused there, with the other ways to get it.
Over HTTP nothing breaks, and every image is given.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from importlib.resources import files
from typing import Any, Final, Self
from urllib.parse import parse_qsl

import anyio.to_thread
from attrs import evolve, frozen
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.server.subscriptions import ResourcesListChanged, ResourceUpdated, SubscriptionBus
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, Annotations, Resource, ResourceTemplate

import gptimage
from gptimage_mcp.app import App
from gptimage_mcp.content import records
from gptimage_mcp.content.records import uri_of
from gptimage_mcp.content.sanitize import redact


# `Address`: a resource's URI taken apart, and refused by name where it makes no sense.


@frozen(kw_only=True)
class Address:
    """A URI such as ``image-history://recent?limit=5``.

    Attributes:
        uri: The whole of it.
        scheme: What stands before ``://``.
        path: What stands between that and a question mark; taken as it is, nothing is decoded.
        query: The parameters.
    """

    uri: str
    scheme: str
    path: str
    query: Mapping[str, str]

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Take a URI apart.

        Raises:
            MCPError: A parameter is there twice.
        """
        scheme, _, rest = uri.partition("://")
        path, _, query = rest.partition("?")
        pairs = parse_qsl(query, keep_blank_values=True)
        address = cls(uri=uri, scheme=scheme, path=path, query=dict(pairs))
        if len(address.query) != len(pairs):
            raise address.refusal("a parameter is given twice")
        return address

    def takes(self, *parameters: str, path: str | None = None) -> None:
        """Prove that it has this path, where one is given, and no other parameters.

        Raises:
            ResourceNotFoundError: It has another path.
            MCPError: It has another parameter.
        """
        if path is not None and self.path != path:
            raise ResourceNotFoundError(
                f"there is no {self.uri!r:.200}, only {self.scheme}://{path}"
            )
        for name in self.query:
            if name not in parameters:
                known = f"it takes {' and '.join(parameters)}" if parameters else "it takes none"
                raise self.refusal(f"{name!r:.80} is no parameter of {self.scheme}: {known}")

    def number(self, name: str, allowed: range) -> int | None:
        """A parameter that is a whole number; None when it is not given.

        Raises:
            MCPError: It is no such number.
        """
        text = self.query.get(name)
        if text is None:
            return None
        if text.isascii() and text.isdecimal() and len(text) < 10 and int(text) in allowed:
            return int(text)
        limits = f"a whole number from {allowed[0]} to {allowed[-1]}"
        raise self.refusal(f"{name} is {limits}, not {text!r:.80}")

    def refusal(self, problem: str) -> MCPError:
        """Return what is wrong with it."""
        return MCPError(code=INVALID_PARAMS, message=problem, data={"uri": self.uri[:2000]})


HISTORY_URI: Final = "image-history://recent"
STATS_URI: Final = "storage-stats://overview"
TEMPLATES_URI: Final = "prompt-templates://list"

LARGEST_OVER_STDIO: Final = 7_000_000
"""Bytes of an image that still fit a message of 10 MiB, in base64 and with room to spare."""

LISTED: Final = 20
"""Images in ``resources/list``: enough to choose from, few enough for a model to read."""

_logger: Final = logging.getLogger(__name__)
_LIMIT: Final = range(1, 101)
_DAYS: Final = range(1, 36_501)
_Reader = Callable[[Address], Awaitable[ReadResourceContents]]


async def images_changed(subscriptions: SubscriptionBus, *image_ids: str) -> None:
    """Tell subscribed clients that images were saved, changed or deleted.

    Call it with ``app.subscriptions`` after an image was saved, tagged or deleted. Only what this
    process does is sent; what another one saves is seen at the next request.

    Args:
        subscriptions: ``app.subscriptions``.
        image_ids: The images.
    """
    await subscriptions.publish(ResourcesListChanged())
    for uri in (HISTORY_URI, STATS_URI, *map(uri_of, image_ids)):
        await subscriptions.publish(ResourceUpdated(uri=uri))


class Resources:
    """Resources that `DynamicServer` serves besides the viewer; looked up with each request.

    Args:
        app: Where everything comes from.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._readers: Mapping[str, _Reader] = {
            "generated-images": self._image,
            "image-history": self._history,
            "storage-stats": self._stats,
            "model-info": self._model,
            "prompt-templates": self._templates,
            "models": self._models,
        }

    @property
    def templates(self) -> Sequence[ResourceTemplate]:
        """The shapes the addresses have."""
        return _TEMPLATES

    async def listed(self) -> Sequence[Resource]:
        """The overviews, then the newest images, newest first."""
        try:
            page = await anyio.to_thread.run_sync(self._app.store.history, LISTED)
        except gptimage.StoreError as error:  # the rest of the list is still good
            _logger.warning("the images cannot be listed: %s", error)
            return _OVERVIEWS
        return [*_OVERVIEWS, *(_listed(record) for record in page)]

    async def read(self, uri: str) -> ReadResourceContents | None:
        """Return the content, or None for an address of another kind.

        Raises:
            ResourceNotFoundError: Nothing has this address.
            ResourceError: It is there and cannot be given; the message says what to do.
            MCPError: A parameter of the address makes no sense.
        """
        reader = self._readers.get(uri.partition("://")[0])
        if reader is None:
            return None
        try:
            return await reader(Address.parse(uri))
        except (gptimage.ImageNotFoundError, gptimage.TemplateError) as error:
            raise ResourceNotFoundError(str(error)) from error
        except gptimage.GptImageError as error:
            raise ResourceError(str(error)) from error

    async def _image(self, address: Address) -> ReadResourceContents:
        address.takes()
        store = self._app.store
        record = await anyio.to_thread.run_sync(store.get, address.path)
        if self._app.settings.transport == "stdio" and record.bytes > LARGEST_OVER_STDIO:
            raise ResourceError(_too_large(record))
        image = await anyio.to_thread.run_sync(store.open, record.id)
        return ReadResourceContents(content=image.data, mime_type=image.mime_type)

    async def _history(self, address: Address) -> ReadResourceContents:
        address = _with_query(address)
        address.takes("limit", "days", path="recent")
        limit, days = address.number("limit", _LIMIT), address.number("days", _DAYS)
        since = None if days is None else self._app.clock() - timedelta(days=days)
        history = partial(self._app.store.history, limit or 20, since=since)
        return _json(records.history(await anyio.to_thread.run_sync(history)))

    async def _stats(self, address: Address) -> ReadResourceContents:
        address.takes(path="overview")
        stats = await anyio.to_thread.run_sync(self._app.store.stats)
        return _json(records.stats(self._app.store.location, stats))

    async def _model(self, address: Address) -> ReadResourceContents:
        address.takes()
        catalogue = self._app.settings.catalogue
        spec = catalogue.get(address.path)
        if spec is None:
            known = ", ".join(spec.id for spec in catalogue)
            raise ResourceNotFoundError(
                f"{address.path!r:.80} is not in the catalogue, which has {known}"
            )
        return _json(records.model(spec, catalogue, self._app.clock().date()))

    async def _models(self, address: Address) -> ReadResourceContents:
        """Return all models, as ``list_models`` does: an address of lansespirit/image-gen-mcp."""
        address.takes(path="list")
        catalogue, today = self._app.settings.catalogue, self._app.clock().date()
        return _json({"models": [records.model(spec, catalogue, today) for spec in catalogue]})

    async def _templates(self, address: Address) -> ReadResourceContents:
        address.takes()
        templates = await self._app.templates.now()
        if address.uri == TEMPLATES_URI:
            return _json(records.templates(templates, self._app.templates.problem))
        return _json(records.template(templates[address.path]))


def _listed(record: gptimage.Record) -> Resource:
    return Resource(
        uri=uri_of(record.id),
        name=record.key.rpartition("/")[2],
        title=redact(record.prompt, 60) or record.id,
        description=records.in_short(record),
        mime_type=record.mime_type,
        size=record.bytes,
        annotations=Annotations(last_modified=record.created.isoformat(), priority=0.5),
    )


def _with_query(address: Address) -> Address:
    """Return ``recent/{limit}/{days}``, as lansespirit/image-gen-mcp has it, with parameters."""
    path, *values = address.path.split("/")
    if not values or len(values) > 2 or address.query:
        return address
    return evolve(address, path=path, query=dict(zip(("limit", "days"), values, strict=False)))


def _too_large(record: gptimage.Record) -> str:
    where = f"the file is {record.path}; " if record.path else ""
    return (
        f"{record.id} has {record.bytes:,} bytes, and over stdio a message of more than 10 MiB "
        f"would end the connection: {where}view_image shows it at any smaller size"
    )


def _json(document: Mapping[str, Any]) -> ReadResourceContents:
    text = json.dumps(document, ensure_ascii=False)
    return ReadResourceContents(content=text, mime_type="application/json")


_FIXED: Final = json.loads(files("gptimage_mcp").joinpath("resources.json").read_bytes())
_OVERVIEWS: Final = tuple(map(Resource.model_validate, _FIXED["overviews"]))
_TEMPLATES: Final = tuple(map(ResourceTemplate.model_validate, _FIXED["templates"]))
