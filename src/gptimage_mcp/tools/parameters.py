"""The parameters of the tools that draw: each once, with the library's name, choices and limits.

A parameter that may be left out is plain in the schema, without ``null`` and without a default:
several clients and models stumble over either. Sent as null it counts as left out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    create_model,
)
from pydantic.json_schema import SkipJsonSchema

from gptimage.checks import NAMES
from gptimage.types.parameters import Background, Level, Moderation, OutputFormat, Quality
from gptimage_mcp.tools.inputs import Upload
from gptimage_mcp.tools.register import optional
from gptimage_mcp.tools.requests import ATTEMPTS


Nothing: TypeAlias = SkipJsonSchema[None]


def _flat(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of a model's required fields, none of them required."""
    names: list[str] = model.model_json_schema()["required"]
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}}


def as_list(value: object) -> object:
    """Models forget the brackets around a single one."""
    return [value] if isinstance(value, str) else value


IMAGE: Final = "id (img_...), handle (job_...), allowed path, https or data: URL, or file-... id"


def _visible(pixels: int) -> int:
    """See that something could be recognised, or that nothing is to be shown."""
    if 0 < pixels < 64:
        raise ValueError("should be 0, or 64 to 2000")
    return pixels


Prompt = Annotated[
    str, Field(min_length=1, description="What to draw, in full: subject, style, light, text")
]
EditPrompt = Annotated[
    str, Field(min_length=1, description="What to change, and what has to stay as it is")
]
OtherPrompt = Annotated[str | Nothing, optional("What should differ")]
Model = Annotated[str | Nothing, optional("Image model of list_models; usually left out")]
N = Annotated[Annotated[int, Field(ge=1, le=10)] | Nothing, optional("Images, 1 by default")]
Size = Annotated[
    str | Nothing,
    optional("Exact pixels (1920x1080), ratio (16:9), auto, or a name: square, og_image, ..."),
]
QualityOf = Annotated[Quality | Nothing, optional("Cheap to dear; xhigh and max: 2.5 models")]
BackgroundOf = Annotated[Background | Nothing, optional("transparent: png or webp (2.6: gif, svg)")]
Format = Annotated[OutputFormat | Nothing, optional("png by default")]
Compression = Annotated[
    Annotated[int, Field(ge=0, le=100)] | Nothing, optional("Per cent, 0 to 100; jpeg and webp")
]
ModerationOf = Annotated[
    Moderation | Nothing, optional("auto (default) or low, which filters less")
]
Complexity = Annotated[
    Level | Nothing,
    optional("low to high: how much the model plans before it draws (2.6 models)"),
]
SafetyIdentifier = Annotated[
    str | Nothing, optional("A stable, hashed id of the end user, if the application has one")
]
FrameCount = Annotated[
    Annotated[int, Field(ge=2, le=16)] | Nothing, optional("2 to 16 frames of a gif")
]
FrameDuration = Annotated[
    Annotated[int, Field(ge=1)] | Nothing, optional("Milliseconds each frame of a gif is shown")
]
SvgModel = Annotated[
    str | Nothing, optional("Which model writes an svg, where the account may choose")
]
SvgEffort = Annotated[
    Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | Nothing,
    optional("none to max: how much the author of an svg thinks, where the account may choose"),
]
PartialImages = Annotated[
    Annotated[int, Field(ge=0, le=3)] | Nothing,
    optional(
        "0 to 3 previews while it is drawn, sent as progress; each costs about 100 output tokens"
    ),
]
Refresh = Annotated[
    bool, Field(description="Pay again although the same call was, or may have been, answered")
]
Tags = Annotated[
    Annotated[list[str], Field(max_length=20)] | Nothing,
    BeforeValidator(as_list),
    optional("To find it by, with list_images"),
]
SaveTo = Annotated[
    str | Nothing,
    optional(
        "Also write a copy here: a file or folder inside an allowed output folder, relative or "
        "absolute. Nothing is replaced, and the extension follows the format"
    ),
]
MaxPixels = Annotated[
    Annotated[int, Field(ge=0, le=2000), AfterValidator(_visible)] | Nothing,
    optional("Long edge of the preview, 64 to 2000 pixels; 0 shows none"),
]
Images = Annotated[
    Annotated[list[str], Field(max_length=16)] | Nothing,
    BeforeValidator(as_list),
    optional(f"1 to 16 images to start from, each {IMAGE}"),
]
Source = Annotated[str | Nothing, optional("Image to start from, named as in edit_image")]
File = Annotated[Upload, WithJsonSchema(_flat(Upload))]
"""In the schema without ``$ref``, which some clients cannot follow."""

Attached = Annotated[File | Nothing, optional("Image attached by the person; goes first")]
Mask = Annotated[
    str | Nothing,
    optional("Image whose transparent (or else white) parts may change in the first one"),
]
AttachedMask = Annotated[File | Nothing, optional("Mask attached by the person")]
MaskBox = Annotated[
    Annotated[
        list[int],
        Field(min_length=4, max_length=4),
        # Without minItems: strict converters make it required, and an empty one leaves it out.
        WithJsonSchema({"type": "array", "items": {"type": "integer"}, "maxItems": 4}),
    ]
    | Nothing,
    optional("Instead of mask: [x, y, width, height] that may change"),
]
Markup = Annotated[
    str | Nothing,
    optional("A transparent png with drawn hints, of the first image's size"),
]
InputFidelity = Annotated[
    Literal["low", "high"] | Nothing,
    optional("low or high: how closely inputs are kept (1.5 models only)"),
]
Outside = Annotated[
    Literal["keep"] | Nothing,
    optional("keep: put the first image back where the mask lets nothing change"),
]
Until = Annotated[
    Annotated[list[str], Field(max_length=10)] | Nothing,
    BeforeValidator(as_list),
    optional(
        f'Checks, such as ["transparent", "words=OPEN"]: it is drawn, and paid, up to {ATTEMPTS} '
        f"times until an image passes all. There are {NAMES}"
    ),
]
Continues = Annotated[
    str | Nothing,
    optional("What to go on from: an image, or response_id (resp_...) of an earlier turn"),
]
Extra = Annotated[
    Annotated[list[str], Field(max_length=15)] | Nothing,
    BeforeValidator(as_list),
    optional("More images to use, such as a style or an object"),
]
Action = Annotated[
    Literal["auto", "generate", "edit"],
    Field(description="auto (default), generate (draw anew) or edit (change the image)"),
]
MaxImages = Annotated[
    Annotated[int, Field(ge=1, le=10)] | Nothing,
    optional("1 (default) to 10 images the model may draw in this turn; each is paid"),
]

OUTPUT: Final[Mapping[str, Any]] = {
    "model": Model,
    "n": N,
    "size": Size,
    "quality": QualityOf,
    "background": BackgroundOf,
    "format": Format,
    "compression": Compression,
    "moderation": ModerationOf,
    "complexity": Complexity,
    "safety_identifier": SafetyIdentifier,
}
"""What images are to be like; every tool that draws takes these."""

FRAMES: Final[Mapping[str, Any]] = {
    "frame_count": FrameCount,
    "frame_duration_ms": FrameDuration,
    "svg_model": SvgModel,
    "svg_effort": SvgEffort,
    "partial_images": PartialImages,
}
"""What only some images have: frames of a gif, the author of an svg, previews."""

CALL: Final[Mapping[str, Any]] = {
    "refresh": Refresh,
    "tags": Tags,
    "save_to": SaveTo,
    "max_px": MaxPixels,
}
"""What becomes of the images, and whether an earlier response will do."""

_DEFAULTS: Final = {"refresh": False}
_Method = TypeVar("_Method", bound=Callable[..., Any])


def takes(*groups: Mapping[str, Any]) -> Callable[[_Method], _Method]:
    """Declare the parameters that a method has as ``**given``, by name, in this order."""

    def declare(method: _Method) -> _Method:
        signature = inspect.signature(method, eval_str=True)
        *own, rest = signature.parameters.values()
        more = {name: hint for group in groups for name, hint in group.items()}
        given = [
            inspect.Parameter(name, rest.KEYWORD_ONLY, default=_DEFAULTS.get(name), annotation=hint)
            for name, hint in more.items()
        ]
        hints = {name: hint for name, hint in method.__annotations__.items() if name != rest.name}
        method.__annotations__ = {**hints, **more}
        method.__signature__ = signature.replace(parameters=[*own, *given])  # type: ignore[attr-defined]  # what `inspect.signature` looks at first
        return method

    return declare


RARE: Final = (
    "compression",
    "moderation",
    "complexity",
    "safety_identifier",
    "frame_count",
    "frame_duration_ms",
    "svg_model",
    "svg_effort",
    "partial_images",
    "save_to",
    "max_px",
    "markup",
    "input_fidelity",
    "outside",
    "until",
    "action",
    "max_images",
)
"""Parameters that tools take in their ``advanced`` object, so that a tool's schema stays short."""


def rare_of(method: Callable[..., Any]) -> list[str]:
    """The rare parameters of a method of `GenerateTools`."""
    names = inspect.signature(method).parameters
    return [name for name in RARE if name in names]


def advanced_of(method: Callable[..., Any]) -> Any:
    """The type of the ``advanced`` parameter of a method of `GenerateTools`.

    In the schema it is any object: ``list_models`` tells of what is in it. Converters that make
    every parameter required can then leave it empty.
    """
    hints = get_type_hints(method, include_extras=True)
    defaults = inspect.signature(method).parameters
    rare = rare_of(method)
    fields: dict[str, Any] = {name: (hints[name], defaults[name].default) for name in rare}
    model = create_model("Advanced", __config__=ConfigDict(extra="forbid"), **fields)
    words = f"Rarely needed, see list_models: {', '.join(rare)}"
    return Annotated[
        Annotated[model, WithJsonSchema({"type": "object"})] | Nothing, optional(words)
    ]


def help_of(methods: Iterable[Callable[..., Any]]) -> dict[str, str]:
    """Return the description of each rare parameter."""
    found: dict[str, str] = {}
    for method in methods:
        hints = get_type_hints(method, include_extras=True)
        for name in rare_of(method):
            found[name] = next(
                each.description
                for each in hints[name].__metadata__
                if getattr(each, "description", None)
            )
    return found
