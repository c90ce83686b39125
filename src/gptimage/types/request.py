"""The requests, as frozen values: `Generate` and `Edit`.

`Options` and `EditOptions` are the typed face of the table in ``parameters.py``: the clients
unpack them, the values hold what they name, and ``validation.py`` checks it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol, TypedDict, TypeVar

from attrs import field, frozen

from gptimage._internal.keywords import as_int
from gptimage._internal.text import closest
from gptimage.errors import InvalidRequestError
from gptimage.image.codecs import oriented_size
from gptimage.image.image import Image, ImageSource
from gptimage.image.label import Label, combined
from gptimage.image.mask import Mask
from gptimage.models.sizes import Size
from gptimage.types.parameters import (
    PARAMETERS,
    Background,
    Effort,
    Fidelity,
    Level,
    Moderation,
    Operation,
    OutputFormat,
    Outside,
    Quality,
    option_names,
)
from gptimage.types.record import Record


# A prompt: the text for the model, and the settings its template recommends.
#
# It is what `PromptTemplate` renders and what `ImageClient.generate` accepts in place of plain
# text. Making one sends nothing and costs nothing.


@frozen(kw_only=True)
class ReferenceImage:
    """An image that belongs to a prompt: a logo, a product, a person.

    Attributes:
        name: What it is called, such as ``logo``.
        file: Where it is.
        about: A sentence for the model: what it is, and what has to stay as it is.
    """

    name: str
    file: Path
    about: str


def _copy(arguments: Mapping[str, object]) -> Mapping[str, object]:
    return MappingProxyType(dict(arguments))


@frozen(kw_only=True)
class Prompt:
    """Text for the model with recommended settings; explicit keyword arguments win over them.

    The text and the arguments stay out of ``repr``, as prompts stay out of logs; ``str(prompt)``
    is the text.

    Attributes:
        text: What the model is asked to draw.
        size: A size such as ``"1200x630"``, or None for no recommendation.
        quality: A quality such as ``"high"``, or None for no recommendation.
        background: ``"opaque"``, ``"transparent"`` or ``"auto"``, or None for no recommendation.
        format: A file format such as ``"png"``, or None for no recommendation.
        template: Name of the template it was rendered from, or None.
        arguments: What it was rendered with, defaults included; cannot be changed.
        images: Images that belong to it: a call with it is an edit of them, after any images of
            the call, and their sentences are added to the text.
    """

    text: str = field(repr=False, kw_only=False)
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    format: str | None = None
    template: str | None = None
    arguments: Mapping[str, object] = field(
        factory=dict[str, object], converter=_copy, repr=False, hash=False
    )
    images: tuple[ReferenceImage, ...] = ()

    def __str__(self) -> str:
        """Return the text alone."""
        return self.text

    def full_text(self, *, after: int = 0) -> str:
        """Return the text with a sentence for each of its images, as the model gets it.

        Args:
            after: How many other images come first.
        """
        if not self.images:
            return self.text
        sentences = [
            f"Image {number} ({each.name}): {each.about}"
            for number, each in enumerate(self.images, after + 1)
        ]
        return "\n".join([f"{self.text}\n", _REFERENCES, *sentences])

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle and copy by value: a read-only mapping cannot be pickled as it is."""
        settings = (self.size, self.quality, self.background, self.format, self.template)
        return _rebuild, (self.text, *settings, dict(self.arguments), self.images)


_REFERENCES: Final = "Reference images, to be used as each of them says:"


def _rebuild(text: str, *values: Any) -> Prompt:
    names = ("size", "quality", "background", "format", "template", "arguments", "images")
    return Prompt(text, **dict(zip(names, values, strict=False)))


class SvgReasoning(TypedDict, total=False):
    """The reasoning effort of the model that writes an SVG."""

    effort: Effort


class Svg(TypedDict, total=False):
    """Which model writes an SVG, for projects where that may be chosen."""

    model: str
    reasoning: SvgReasoning


class Options(TypedDict, total=False):
    """Parameters shared by every operation; one left out, or None, is not sent.

    Attributes:
        model: The image model; the client's default when left out.
        n: How many images, 1 to 10.
        size: Pixels (``"1920x1080"`` or a pair of numbers), a ratio (``"16:9"``), ``"auto"``, or
            a name such as ``"landscape"`` or ``"og_image"``. You get exactly these pixels;
            ``"same"`` in an edit means those of the first image.
        quality: ``low`` to ``max`` (``xhigh`` and ``max`` from 2.5 on), or ``auto``.
        background: ``transparent`` (png or webp only), ``opaque`` or ``auto``.
        format: ``png``, ``jpeg``, ``webp``, ``gif`` or ``svg``.
        compression: 0 to 100 per cent, for jpeg and webp.
        moderation: ``auto``, or ``low`` for less filtering.
        complexity: How much the model plans before it draws (2.6).
        safety_identifier: A stable, hashed id of your end user.
        frame_count: Frames of a gif, 2 to 16.
        frame_duration_ms: Milliseconds each gif frame is shown.
        svg: The author model of an svg, where the project may choose one.
        partial_images: Previews while streaming, 0 to 3 (`stream` only).
        extra_body: Wire fields this library does not know yet, sent as they are.
    """

    model: str | None
    n: int | None
    size: str | Sequence[int] | Size | None
    quality: Quality | None
    background: Background | None
    format: OutputFormat | None
    compression: int | None
    moderation: Moderation | None
    complexity: Level | None
    safety_identifier: str | None
    frame_count: int | None
    frame_duration_ms: int | None
    svg: Svg | None
    partial_images: int | None
    extra_body: Mapping[str, object] | None


@frozen
class FileRef:
    """An image already uploaded to the service.

    Attributes:
        file_id: Its id there, such as ``file-abc123``.
    """

    file_id: str


Source = ImageSource | FileRef | Record
"""An input image: a path, bytes, an open file, a PIL image, an `Image`, an ``http(s)`` or
``data:`` URL, the id of an uploaded file (``file-...`` or `FileRef`), or an image of the
client's store (``img_...`` or its `Record`)."""


class HasImages(Protocol):
    """The outcome of a call that can be the input of the next one: a `Result` or a `Turn`."""

    @property
    def images(self) -> tuple[Image, ...]:
        """The images."""
        ...

    @property
    def stored(self) -> tuple[Record, ...]:
        """Their records, when they are in a store."""
        ...


Sources = Source | HasImages | Sequence[Source | HasImages]
"""One input image, or up to 16; a `Result` or `Turn` stands for all its images."""


class EditOptions(Options, total=False):
    """Parameters of edits besides those in `Options`.

    Attributes:
        mask: Where the first image may change: a `Mask`, or an image whose transparent
            (or, when nothing is transparent, white) parts may.
        markup: A transparent PNG with drawn hints, laid over the first image (from 2.5 on).
        input_fidelity: ``low`` or ``high``: how closely inputs are kept, on models that take it.
        outside: ``keep`` puts the first image back where the mask lets nothing change.
    """

    mask: Mask | Source | None
    markup: Source | None
    input_fidelity: Fidelity | None
    outside: Outside | None


class CallOptions(TypedDict, total=False):
    """Options of one call that are not about its image.

    Attributes:
        refresh: Send the request even if the cache has its reply, and replace that.
        tags: Tags for the store.
        timeout: Seconds to wait for each response; the client's when left out.
        extra_headers: Headers sent with each request, besides the client's.
    """

    refresh: bool
    tags: Iterable[str]
    timeout: float | None
    extra_headers: Mapping[str, str] | None


class GenerateCall(Options, CallOptions, total=False):
    """All keywords of ``generate``."""


class EditCall(EditOptions, CallOptions, total=False):
    """All keywords of ``edit`` and its kin."""


class BatchOptions(TypedDict, total=False):
    """Options of a batch.

    Attributes:
        state: A file that lets another process go on, and never submits twice.
        metadata: Your words about the batch, kept by the service: up to 15 short texts.
        max_lines: Requests in one batch of the service; a larger job is several.
        max_bytes: Bytes of one batch's file of requests.
    """

    state: str | os.PathLike[str] | None
    metadata: Mapping[str, str] | None
    max_lines: int
    max_bytes: int


def _size(value: str | Sequence[int] | Size | None) -> Size | None:
    return None if value is None else Size.parse(value)


@frozen(kw_only=True)
class Generate:
    """A request for new images; see `Options` for what each field means."""

    prompt: str = field(repr=False)
    model: str
    n: int | None = field(default=None, converter=as_int)
    size: Size | None = field(default=None, converter=_size)
    quality: str | None = None
    background: str | None = None
    format: str | None = None
    compression: int | None = field(default=None, converter=as_int)
    moderation: str | None = None
    complexity: str | None = None
    safety_identifier: str | None = field(default=None, repr=False)
    frame_count: int | None = field(default=None, converter=as_int)
    frame_duration_ms: int | None = field(default=None, converter=as_int)
    svg: Mapping[str, object] | None = None
    partial_images: int | None = field(default=None, converter=as_int)
    extra_body: Mapping[str, object] | None = None
    stream: bool = False
    template: str | None = None

    @property
    def operation(self) -> Operation:
        """``generate`` or ``edit``."""
        return "generate"

    @property
    def effective_n(self) -> int:
        """The number of images requested: ``n``, or 1 when it was left out."""
        return 1 if self.n is None else self.n

    @property
    def inputs(self) -> tuple[Image | FileRef, ...]:
        """The input images; none for a new image."""
        return ()

    @property
    def keeps_outside(self) -> bool:
        """Whether the first image is put back where the mask lets nothing change."""
        return False


@frozen(kw_only=True)
class Edit(Generate):
    """A request to change images.

    Attributes:
        images: 1 to 16 input images; mask and markup belong to the first.
        mask: Where the first image may change.
        markup: A transparent PNG with drawn hints, laid over the first image.
        input_fidelity: How closely inputs are kept, on models that take it.
        outside: ``keep`` to put the first image back where the mask lets nothing change.
    """

    images: tuple[Image | FileRef, ...]
    mask: Mask | FileRef | None = None
    markup: Image | FileRef | None = None
    input_fidelity: str | None = None
    outside: str | None = None

    @property
    def operation(self) -> Operation:
        """``generate`` or ``edit``."""
        return "edit"

    @property
    def inputs(self) -> tuple[Image | FileRef, ...]:
        """The input images."""
        return self.images

    @property
    def keeps_outside(self) -> bool:
        """Whether the first image is put back where the mask lets nothing change."""
        return self.outside is not None


RequestT = TypeVar("RequestT", bound=Generate)


def label_for(request: Generate, created: datetime | None) -> Label:
    """Return the label of the images of a request: what was edited may be a photograph.

    The time is the service's, if it tells one: the same reply always makes the same files.
    """
    made = Label(model=request.model, created=created)
    known = [each.ai_label if isinstance(each, Image) else None for each in request.inputs]
    return combined(known, made) or made


_HINTS: Final[Mapping[str, str]] = {
    "output_format": "it is called format here",
    "response_format": "it is called format here, and images always arrive as bytes",
    "output_compression": "it is called compression here",
    "style": "it went with DALL-E; describe the style in the prompt",
    "user": "it is deprecated; use safety_identifier",
    "seed": "OpenAI's image models take no seed",
    "negative_prompt": "say in the prompt what to leave out",
    "image": "it is called images here, and belongs to edit()",
    "stream": "call stream() instead",
    "use_cache": "refresh=True sends again and replaces what the cache has",
    "images": "images to start from belong to edit()",
    **dict.fromkeys(("mask", "markup", "input_fidelity", "outside"), "it belongs to edit()"),
}


SAME_SIZE: Final = "same"
"""The size of an edit that means the pixels of its first image."""


def is_same_size(size: object) -> bool:
    """Return whether a size means the pixels of the first image; an array has no truth value."""
    return isinstance(size, str) and size == SAME_SIZE


def size_of_first(images: Sequence[Image | FileRef]) -> Size:
    """Return the pixels of the first image as they are shown, for ``size="same"``.

    Raises:
        InvalidRequestError: They are not known here.
    """
    first = images[0]
    if isinstance(first, FileRef) or first.width is None or first.height is None:
        raise InvalidRequestError(
            "size='same' means the pixels of the first image, and those are not known here: "
            "say the size, or pass the image itself",
            field="size",
            value=SAME_SIZE,
            allowed="a size such as '1024x1024'",
        )
    if first.original is not None and first.original.format == "svg" and first.original.size:
        return Size(*first.original.size)  # a still of another size is sent of it
    return Size(*oriented_size(first.data, first.format))


def generate_request(
    prompt: str | Prompt, options: Mapping[str, Any], *, default_model: str, stream: bool = False
) -> Generate:
    """Build a `Generate` from what a caller wrote; explicit options win over a template's.

    Raises:
        InvalidRequestError: An option is unknown, or the size is not understood.
    """
    if is_same_size(options.get("size")):
        raise InvalidRequestError(
            "size='same' means the pixels of the first image, which only an edit has",
            field="size",
            value=SAME_SIZE,
            allowed="a size such as '1024x1024', '16:9' or 'auto'",
        )
    return _build(Generate, prompt, options, {}, default_model, stream)


def without_edit_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what only an edit has where it is None: what may be either shows that default."""
    own = EditOptions.__annotations__.keys() - Options.__annotations__.keys()
    return {name: value for name, value in options.items() if value is not None or name not in own}


def edit_request(
    prompt: str | Prompt,
    options: Mapping[str, Any],
    *,
    images: tuple[Image | FileRef, ...],
    mask: Mask | FileRef | None = None,
    markup: Image | FileRef | None = None,
    default_model: str,
    stream: bool = False,
) -> Edit:
    """Build an `Edit` from resolved images and the remaining options.

    Raises:
        InvalidRequestError: An option is unknown, or the size is not understood.
    """
    inputs = {"images": images, "mask": mask, "markup": markup}
    return _build(Edit, prompt, options, inputs, default_model, stream)


def _build(
    kind: type[RequestT],
    prompt: str | Prompt,
    options: Mapping[str, Any],
    inputs: Mapping[str, Any],
    default_model: str,
    stream: bool,
) -> RequestT:
    known = option_names("edit" if kind is Edit else "generate")
    for name in options:
        if name not in known:
            raise _unknown(name, known)
    text, recommended = _prompt(prompt)
    asked = {name: _habit(name, value) for name, value in options.items() if value is not None}
    values = {"model": default_model, **recommended, **asked}
    return kind(prompt=text, stream=stream, **values, **inputs)


_SAME: Final[Mapping[str, str]] = {"jpg": "jpeg"}
_MARK: Final = "\ufeff"
"""A byte order mark: what some editors put before a text is no part of it."""


def _habit(name: str, value: Any) -> Any:
    """The one spelling of a value that people write in several; what it means is never changed."""
    if PARAMETERS[name].kind == "choice" and isinstance(value, str):
        lower = value.lower()
        return _SAME.get(lower, lower) if name == "format" else lower
    return value


def _prompt(prompt: str | Prompt) -> tuple[str, dict[str, Any]]:
    """Return the text, and what a template recommends for it."""
    if not isinstance(prompt, Prompt):
        return prompt.removeprefix(_MARK) if isinstance(prompt, str) else prompt, {}  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
    if prompt.images:  # who plans the request has read them by now, where images can be sent
        raise InvalidRequestError(
            f"this prompt has reference images ({', '.join(each.name for each in prompt.images)}), "
            "which cannot be sent here; nothing was sent",
            field="prompt",
            allowed="generate, edit, stream, many and conversations",
        )
    names = ("size", "quality", "background", "format", "template")
    found = {name: getattr(prompt, name) for name in names}
    return prompt.text, {name: value for name, value in found.items() if value is not None}


def _unknown(name: str, known: tuple[str, ...]) -> InvalidRequestError:
    hint = _HINTS.get(name)
    close = closest(name, known)
    advice = hint or (f"did you mean {close}?" if close else "extra_body passes unknown fields")
    return InvalidRequestError(
        f"{name} is not a parameter here: {advice}", field=name, allowed=known
    )
