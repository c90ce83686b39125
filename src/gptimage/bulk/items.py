"""The requests of a run of many as they are given, planned and yielded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, cast

from attrs import field, frozen

from gptimage._internal.keywords import flag
from gptimage.engine.config import ClientConfig
from gptimage.engine.plan import Plan
from gptimage.engine.save import read_tags
from gptimage.errors import InvalidRequestError, error_to_dict
from gptimage.types.request import Edit, EditOptions, Generate, Prompt
from gptimage.types.result import Result


RequestInput: TypeAlias = str | Prompt | Mapping[str, Any] | Generate
"""One request: a prompt, the arguments of `generate` or `edit` by name (``images`` makes it an
edit, ``tags`` are for the store), or a request that is already a value."""

NO_OPTIONS: EditOptions = {}


@frozen(kw_only=True, repr=False)
class Item:
    """The outcome of one request: it has either a result or an error.

    Attributes:
        index: Which request it was, from 0.
        request: The request as you gave it.
        error: Why there are no images, or None.
        resumed: Whether an earlier run had settled it, and nothing was sent now.
        stored_ids: Ids of the images an earlier run saved in the store; ``result`` reads them.
    """

    index: int
    request: RequestInput = field(repr=False)
    error: Exception | None = None
    resumed: bool = False
    stored_ids: tuple[str, ...] = ()
    _open: Callable[[], Result] | None = field(default=None, alias="open", repr=False, eq=False)

    @property
    def result(self) -> Result | None:
        """The images; None when there is an error. Those of an earlier run are read now.

        Raises:
            StoreError: Images of an earlier run cannot be read, or are gone.
        """
        return None if self._open is None else self._open()

    def __repr__(self) -> str:
        """Return which request it was and how it ended, on one line."""
        end = "result" if self.error is None else f"{type(self.error).__name__}: {self.error}"
        return f"<Item {self.index}: {end:.120}{', resumed' if self.resumed else ''}>"

    def to_dict(self, *, data: bool = False) -> dict[str, object]:
        """Return the outcome as JSON values; ``result`` is that of `Result.to_dict`, or None.

        Args:
            data: Whether the images themselves are in it, as base64 text.

        Raises:
            StoreError: Images of an earlier run cannot be read, or are gone.
            ConfigurationError: ``data`` is neither True nor False.
        """
        flag("data", data)
        result, error = self.result, self.error
        return {
            "index": self.index,
            "resumed": self.resumed,
            "error": None if error is None else error_to_dict(error),
            "result": None if result is None else result.to_dict(data=data),
        }

    def to_json(self, *, data: bool = False) -> str:
        """Return `to_dict` as JSON text.

        Raises:
            StoreError: Images of an earlier run cannot be read, or are gone.
        """
        return json.dumps(self.to_dict(data=data))

    def _repr_html_(self) -> str:
        """Return the images, or why there are none, for notebooks."""
        import html

        if self.error is not None or self.result is None:
            return f"<div><small>{self.index} · {html.escape(str(self.error))}</small></div>"
        return self.result._repr_html_()  # pyright: ignore[reportPrivateUsage]  # a notebook's protocol


@frozen(kw_only=True)
class PlannedItem:
    """A request that is to be sent.

    Attributes:
        index: Which it is.
        request: The request as the caller gave it.
        plan: What will be sent.
        tags: Tags for the store.
    """

    index: int
    request: RequestInput = field(repr=False)
    plan: Plan = field(repr=False)
    tags: tuple[str, ...] = ()


def check_requests(requests: object) -> None:
    """Refuse one request where several are meant: its letters or keys are no requests.

    Raises:
        InvalidRequestError: It is one, or nothing that can be iterated.
    """
    several = isinstance(requests, Iterable) or hasattr(requests, "__aiter__")
    if not several or isinstance(requests, (str, bytes, Prompt, Mapping, Generate)):
        raise InvalidRequestError(
            "requests is a list of requests, not one: put it in brackets, [...]",
            field="requests",
            value=cast("Any", requests),
            allowed="any iterable of prompts, dicts, or Generate and Edit values",
        )


def planned(
    config: ClientConfig, request: RequestInput, options: EditOptions = NO_OPTIONS
) -> tuple[Plan, tuple[str, ...]]:
    """Plan one request; return the plan and the tags.

    Args:
        config: The client's settings.
        request: The request.
        options: Parameters of all requests, where this one says nothing else.

    Raises:
        GptImageError: As the client's ``generate`` and ``edit``.
    """
    if isinstance(request, Generate):
        if options:
            raise InvalidRequestError(
                f"{next(iter(options))}= is for prompts and dicts; this request is a "
                f"{type(request).__name__}, which says all itself",
                field=next(iter(options)),
                allowed="attrs.evolve(request, ...), or no common options",
            )
        return config.plan(request), ()
    if isinstance(request, (str, Prompt)):
        request = {"prompt": request}
    if isinstance(request, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        own = {name: value for name, value in request.items() if value is not None}
        given: dict[str, Any] = {**options, **own}
        tags = () if given.get("tags") is None else read_tags(given["tags"])
        given.pop("tags", None)
        prompt, images = given.pop("prompt", None), given.pop("images", None)
        if isinstance(prompt, (str, Prompt)):
            return config.plan_any(prompt, images, given), tags
    raise InvalidRequestError(
        "each request is a prompt, a dict with a prompt, or a Generate or Edit",
        field="requests",
        value=cast("object", request),
        allowed='such as {"prompt": "A red fox", "size": "1024x1024"}',
    )


def reads_images(request: RequestInput) -> bool:
    """Tell whether planning this request may read files, download, or hash megabytes."""
    if isinstance(request, Mapping):
        return "images" in request or reads_images(cast("RequestInput", request.get("prompt", "")))
    return isinstance(request, Edit) or (isinstance(request, Prompt) and bool(request.images))
