"""The requests of a run of many as they are given, planned and yielded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, cast

from attrs import field, frozen

from gptimage.engine.config import ClientConfig
from gptimage.engine.plan import Plan
from gptimage.errors import InvalidRequestError
from gptimage.types.request import Edit, Generate, Prompt
from gptimage.types.result import Result


RequestInput: TypeAlias = str | Prompt | Mapping[str, Any] | Generate
"""One request: a prompt, the arguments of `generate` or `edit` by name (``images`` makes it an
edit, ``tags`` are for the store), or a request that is already a value."""


@frozen(kw_only=True)
class Item:
    """What became of one request: it has either a result or an error.

    Attributes:
        index: Which request it was, from 0.
        asked: The request as you gave it.
        error: Why there are no pictures, or None.
        resumed: Whether an earlier run had settled it, and nothing was sent now.
    """

    index: int
    asked: RequestInput = field(repr=False)
    error: Exception | None = None
    resumed: bool = False
    _open: Callable[[], Result] | None = field(default=None, alias="open", repr=False, eq=False)

    @property
    def result(self) -> Result | None:
        """The pictures; None when there is an error. Those of an earlier run are read now.

        Raises:
            StoreError: Pictures of an earlier run cannot be read, or are gone.
        """
        return None if self._open is None else self._open()


@frozen(kw_only=True)
class PlannedItem:
    """A request that is to be sent.

    Attributes:
        index: Which it is.
        asked: The request as the caller gave it.
        plan: What will be sent.
        tags: Tags for the store.
    """

    index: int
    asked: RequestInput = field(repr=False)
    plan: Plan = field(repr=False)
    tags: tuple[str, ...] = ()


def planned(core: ClientConfig, asked: RequestInput) -> tuple[Plan, tuple[str, ...]]:
    """The plan of one request, and its tags.

    Raises:
        GptImageError: As the client's ``generate`` and ``edit``.
    """
    if isinstance(asked, Generate):
        return core.plan(asked), ()
    if isinstance(asked, (str, Prompt)):
        return core.plan_generate(asked, {}), ()
    if isinstance(asked, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        options = dict(asked)
        tags: str | Iterable[str] = options.pop("tags", None) or ()
        prompt, images = options.pop("prompt", None), options.pop("images", None)
        if isinstance(prompt, (str, Prompt)):
            words = (tags,) if isinstance(tags, str) else tuple(tags)
            return core.plan_any(prompt, images, options), words
    raise InvalidRequestError(
        "each request is a prompt, a dict with a prompt, or a Generate or Edit",
        field="requests",
        value=cast("object", asked),
        allowed='such as {"prompt": "A red fox", "size": "1024x1024"}',
    )


def reads_pictures(asked: RequestInput) -> bool:
    """Whether planning this request may read files, download, or hash megabytes."""
    return isinstance(asked, Edit) or (isinstance(asked, Mapping) and "images" in asked)
