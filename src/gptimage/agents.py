"""Plain typed functions that a language model calls to draw, change, look at and find images.

`image_tools` makes them for a client. Their annotations and docstrings are what the frameworks for
agents make their schemas of, and their names are those of the MCP server's tools. None raises what
the library raises: many frameworks call a tool again that raised, and that could be paid twice.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    Literal,
    NamedTuple,
    Self,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from attrs import frozen

from gptimage._internal.coroutines import run_blocking
from gptimage._internal.keywords import refuse_unknown
from gptimage.async_client import AsyncImageClient
from gptimage.client import ImageClient
from gptimage.errors import (
    BadRequestError,
    BudgetExceededError,
    ConfigurationError,
    FetchError,
    GptImageError,
    ImageDecodeError,
    ImageNotFoundError,
    InvalidRequestError,
    ModerationError,
    RateLimitError,
    StoreError,
    TransportError,
)
from gptimage.image.image import Image
from gptimage.store import Store
from gptimage.store.names import is_id
from gptimage.transport.billing import may_be_billed
from gptimage.types.record import Record
from gptimage.types.request import Options
from gptimage.types.result import Result
from gptimage.wording import for_assistant


if TYPE_CHECKING:
    from gptimage.image import Folders


PREVIEW_PX: Final = 768
"""Pixels of a preview's longest edge, at most: a model sees enough, and reads some 800 tokens."""

PREVIEW_BYTES: Final = 400_000
"""Bytes of all previews of one output, at most."""

_MOST_PROMPT: Final = 200
_REMOTE: Final = ("https://", "http://", "data:")
_WRONG_INPUT: Final = (FetchError, ImageDecodeError, ImageNotFoundError, InvalidRequestError)
_NOT_SENT: Final = (*_WRONG_INPUT, BudgetExceededError)
"""What ends a call before it is sent."""

_PAID: Final = "Do NOT call again: it is paid, and would be paid a second time. "
_NOT_BILLED: Final = "Nothing was billed."
_AUTO: Final = "auto"

OutputT = TypeVar("OutputT")


class ToolOutput(str):
    """The output of a tool: a text for the model, with previews that a framework may show it.

    Attributes:
        previews: Small versions of the images, at most 768 pixels on the long edge, JPEG or WebP;
            none of an svg.
        result: What the client returned, for your program: the images with every byte; None where
            nothing was drawn.
        error: The error that the text explains, or None.
    """

    __slots__ = ("error", "previews", "result")

    previews: tuple[Image, ...]
    result: Result | None
    error: Exception | None

    def __new__(
        cls,
        text: str,
        *,
        previews: tuple[Image, ...] = (),
        result: Result | None = None,
        error: Exception | None = None,
    ) -> Self:
        """Make an output of its text."""
        output = super().__new__(cls, text)
        output.previews, output.result, output.error = previews, result, error
        return output


class ImageTools(NamedTuple, Generic[OutputT]):
    """The tools of a client, in the order in which they are listed to a model.

    Attributes:
        generate_image: Draws a new image.
        edit_image: Changes images.
        view_image: Shows a saved image.
        list_images: Finds saved images.
    """

    generate_image: Callable[..., OutputT]
    edit_image: Callable[..., OutputT]
    view_image: Callable[..., OutputT]
    list_images: Callable[..., OutputT]


@overload
def image_tools(
    client: ImageClient,
    *,
    convert: None = None,
    folders: Folders | None = None,
    **options: Unpack[Options],
) -> ImageTools[ToolOutput]: ...


@overload
def image_tools(
    client: AsyncImageClient,
    *,
    convert: None = None,
    folders: Folders | None = None,
    **options: Unpack[Options],
) -> ImageTools[Awaitable[ToolOutput]]: ...


@overload
def image_tools(
    client: ImageClient,
    *,
    convert: Callable[[ToolOutput], OutputT],
    folders: Folders | None = None,
    **options: Unpack[Options],
) -> ImageTools[OutputT]: ...


@overload
def image_tools(
    client: AsyncImageClient,
    *,
    convert: Callable[[ToolOutput], OutputT],
    folders: Folders | None = None,
    **options: Unpack[Options],
) -> ImageTools[Awaitable[OutputT]]: ...


def image_tools(
    client: ImageClient | AsyncImageClient,
    *,
    convert: Callable[[ToolOutput], object] | None = None,
    folders: Folders | None = None,
    **options: Unpack[Options],
) -> ImageTools[Any]:
    """Return functions for an agent; those of an `AsyncImageClient` are coroutine functions.

    Each returns a `ToolOutput`. What it drew is in the client's store, and the text names the id,
    the file and the cost. Give the client a budget: a model decides how often it calls.

    Args:
        client: Draws and saves; it has a store.
        convert: Makes what a framework takes of each output, where it takes more than text.
        folders: Folders in which the model may name files to edit; none when left out, since a
            model's paths may come from a stranger's page.
        **options: Parameters of every call, such as ``model`` or ``quality``; a size, a quality
            and a background that the model itself names come first.

    Raises:
        ConfigurationError: The client has no store, or an option is unknown.
    """
    refuse_unknown("image_tools", options, ("convert", "folders", *Options.__annotations__))
    if client.store is None:
        raise ConfigurationError(
            "image_tools needs a client with a store, whose ids a model can name: pass store="
        )
    tools = _Tools(
        client=client, store=client.store, convert=convert, folders=folders, options=options
    )
    names = ImageTools[Any]._fields
    return ImageTools(*(tools.function(getattr(tools, name)) for name in names))


@frozen(kw_only=True)
class _Tools:
    """The tools, written once: for an `ImageClient` they run to their end without waiting."""

    client: ImageClient | AsyncImageClient
    store: Store
    convert: Callable[[ToolOutput], object] | None
    folders: Folders | None
    options: Options

    def function(
        self, tool: Callable[..., Coroutine[Any, Any, ToolOutput]]
    ) -> Callable[..., object]:
        """Return a tool as a plain function whose errors are texts."""
        draws = tool.__name__ in ("generate_image", "edit_image")
        signature = inspect.signature(tool, eval_str=True)

        async def settled(*args: Any, **kwargs: Any) -> object:
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                output = ToolOutput(f"{error}.\n{_NOT_BILLED} Correct the call.", error=error)
            else:
                try:
                    output = await tool(*args, **kwargs)
                except Exception as error:  # noqa: BLE001  # see the module: a call again may cost
                    output = await self._work(functools.partial(_failed, error, draws=draws))
            return output if self.convert is None else self.convert(output)

        def waiting(*args: Any, **kwargs: Any) -> object:
            return run_blocking(settled(*args, **kwargs))

        plain: Any = settled if isinstance(self.client, AsyncImageClient) else waiting
        # Frameworks read these; `__wrapped__` would lead those that look for a coroutine astray.
        plain.__name__ = plain.__qualname__ = tool.__name__
        plain.__doc__ = inspect.getdoc(tool)
        plain.__signature__ = signature
        plain.__annotations__ = inspect.get_annotations(tool, eval_str=True)
        found: Callable[..., object] = plain
        return found

    async def generate_image(
        self,
        prompt: str,
        size: str = _AUTO,
        quality: Literal["auto", "low", "medium", "high"] = _AUTO,
        background: Literal["auto", "opaque", "transparent"] = _AUTO,
    ) -> str:
        """Draw a new image from a description. Costs money; the image is saved.

        Args:
            prompt: What to draw: subject, style, light, and every word that is to be written.
            size: Pixels such as 1536x1024, a ratio such as 16:9, or auto.
            quality: How much work the model puts in, which decides the cost.
            background: transparent for a cut-out, as a png or webp.
        """
        options = self._options(size=size, quality=quality, background=background)
        result = self.client.generate(prompt, **options)
        return await self._work(functools.partial(_drawn, await _done(result)))

    async def edit_image(
        self,
        prompt: str,
        images: list[str],
        size: str = _AUTO,
        quality: Literal["auto", "low", "medium", "high"] = _AUTO,
        background: Literal["auto", "opaque", "transparent"] = _AUTO,
    ) -> str:
        """Change an image, or make a new one from several. Costs money; the result is saved.

        Args:
            prompt: What to change, and what must stay as it is.
            images: One to 16 images: ids of list_images (img_...) or https addresses.
            size: Pixels such as 1536x1024, a ratio such as 16:9, same, or auto.
            quality: How much work the model puts in, which decides the cost.
            background: transparent for a cut-out, as a png or webp.
        """
        options = self._options(size=size, quality=quality, background=background)
        given = cast("object", images)  # of a model, whatever the schema says
        several = cast("list[object]", given) if isinstance(given, list) else [given]
        sources = [self._source(each, number) for number, each in enumerate(several)]
        result = self.client.edit(prompt, sources, **options)
        return await self._work(functools.partial(_drawn, await _done(result)))

    async def view_image(self, id: str) -> str:
        """Show a saved image and how it was made. Free.

        Args:
            id: The id of the image (img_...), as the other tools name it.
        """

        def look() -> ToolOutput:
            record = self.store.get(id)
            made = f"{record.operation} by {record.model}: {_shortened(record)}"
            text = f"{_described(record)}\n{made}\n{_cost_of(record)}"
            return ToolOutput(text, previews=_previews((self.store.open(record),)))

        return await self._work(look)

    async def list_images(self, text: str = "", limit: int = 10) -> str:
        """List saved images, the newest first, or those whose prompt or tags have all words. Free.

        Args:
            text: Words to look for; empty for the newest images.
            limit: How many at most, 1 to 50.
        """

        def look() -> ToolOutput:
            most = min(limit, 50)
            page = self.store.search(text, most) if text.strip() else self.store.history(most)
            lines = [f"{_described(each)}: {_shortened(each)}" for each in page]
            more = ["There are more: name more words."] if page.next else []
            return ToolOutput("\n".join([*lines, *more]) or "There is no such image.")

        return await self._work(look)

    def _options(self, **given: str) -> Options:
        """Return the options of a call: what the model left to us is the program's."""
        chosen: Any = {name: value for name, value in given.items() if value != _AUTO}
        return cast("Options", {**self.options, **chosen})

    def _source(self, source: object, number: int) -> str | bytes:
        """Return an input image as the client takes it; a path is read inside the folders alone."""
        text = str(source)
        if is_id(text) or text.lower().startswith(_REMOTE):
            return text
        field = f"images[{number}]"
        if self.folders is not None:
            return self.folders.read(text, field=field)
        allowed = "an id of list_images (img_...), an https or data: URL"
        raise InvalidRequestError(
            f"{field}: not an image that may be read here; give {allowed}",
            field=field,
            value=text,
            allowed=allowed,
        )

    async def _work(self, do: Callable[[], ToolOutput]) -> ToolOutput:
        """Read and scale images: beside an event loop in a thread."""
        return await asyncio.to_thread(do) if isinstance(self.client, AsyncImageClient) else do()


async def _done(result: Result | Awaitable[Result]) -> Result:
    return result if isinstance(result, Result) else await result


def _drawn(result: Result) -> ToolOutput:
    """Return what a model is told of images it paid for."""
    cost = "at a cost that is not known" if result.cost is None else f"for {result.cost}"
    many = "1 image" if len(result) == 1 else f"{len(result)} images"
    head = f"{many} from the cache, free" if result.cached else f"Drew {many} {cost}"
    lines = [f"{head}.", *map(_described, result.stored)]
    lines += [f"Note: {for_assistant(each)}" for each in result.warnings]
    return ToolOutput("\n".join(lines), previews=_previews(result.images), result=result)


def _described(record: Record) -> str:
    pixels = "" if record.width is None else f"{record.width}x{record.height} "
    return f"{record.id} ({pixels}{record.format}, {record.path or record.key})"


def _shortened(record: Record) -> str:
    prompt = " ".join(str(record.request.get("prompt", "")).split())
    return prompt if len(prompt) <= _MOST_PROMPT else prompt[: _MOST_PROMPT - 1] + "…"


def _cost_of(record: Record) -> str:
    return "Its cost is not known." if record.cost is None else f"Its call cost {record.cost}."


def _previews(images: Sequence[Image]) -> tuple[Image, ...]:
    from gptimage.image.previews import previews

    found = previews(images, max_px=PREVIEW_PX, max_bytes=PREVIEW_BYTES)
    return tuple(each for each in found if each is not None)


def _failed(error: Exception, *, draws: bool) -> ToolOutput:
    """Return an error as a text: what happened, what it may have cost, what to do next."""
    known = isinstance(error, GptImageError)
    name = type(error).__name__
    what = f"{name}: {for_assistant(str(error))}" if known else f"The tool failed ({name})."
    result = error.result if isinstance(error, StoreError) else None
    paid = result if isinstance(result, Result) else None
    copies = ", ".join(error.recovery_copies) if isinstance(error, StoreError) else ""
    if paid is not None or copies:
        where = f"Copies are in {copies}. " if copies else ""
        next_step = f"{_PAID}{where}Tell the person that the store could not save it."
    elif draws and not isinstance(error, _NOT_SENT) and may_be_billed(error):
        next_step = _unknown(getattr(error, "possible_cost", None))
    else:
        next_step = f"{_NOT_BILLED} {_advice(error)}"
    previews = _previews(paid.images) if paid is not None else ()
    return ToolOutput(f"{what}\n{next_step}", previews=previews, result=paid, error=error)


def _unknown(possible: object) -> str:
    most = "an amount that is not known" if possible is None else f"up to ${possible:.4f}"
    return (
        f"It may have been billed, {most}. Do NOT call again: it could be paid twice. Look at "
        "list_images whether the image came after all; if it did not, ask the person."
    )


def _advice(error: Exception) -> str:
    if isinstance(error, ModerationError):
        return "Rephrase the prompt or use other images; do not try to get around the refusal."
    if isinstance(error, BudgetExceededError):
        return "Ask for a lower quality or a smaller size, or tell the person."
    if isinstance(error, (*_WRONG_INPUT, BadRequestError)):
        allowed = getattr(error, "allowed", None)
        return f"Correct the call{_allowed(allowed)}."
    if isinstance(error, RateLimitError) and error.retry_after is not None:
        return f"Wait {error.retry_after:g} seconds before you call again."
    if isinstance(error, RateLimitError) or (isinstance(error, TransportError) and error.retryable):
        return "Wait a minute before you call again."
    return "Calling again will not help: tell the person."


def _allowed(allowed: object) -> str:
    if allowed is None:
        return ""
    several = isinstance(allowed, (tuple, list))
    values = cast("Sequence[object]", allowed) if several else (allowed,)
    return f" (accepted: {for_assistant(', '.join(map(str, values)))[:300]})"
