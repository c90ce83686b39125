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
from gptimage.types.parameters import PARAMETERS, Effort
from gptimage_mcp.tools.inputs import Upload
from gptimage_mcp.tools.register import NO_FLAG, optional
from gptimage_mcp.tools.requests import ATTEMPTS


Nothing: TypeAlias = SkipJsonSchema[None]


def _flat(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of a model's required fields, none of them required."""
    names: list[str] = model.model_json_schema()["required"]
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}}


def as_list(value: object) -> object:
    """Models forget the brackets around a single one."""
    return [value] if isinstance(value, str) else value


def of_library(name: str, words: str) -> Any:
    """Return the type of a parameter of the library that may be left out.

    Args:
        name: Its name, in `PARAMETERS`.
        words: What a model must know of it, in as few words as will do.
    """
    row = PARAMETERS[name]
    kind: Any = Literal[row.choices] if row.choices else str
    if row.kind == "whole":
        kind = Annotated[int, Field(ge=row.least, le=row.most), NO_FLAG]
    return Annotated[kind | Nothing, optional(words)]


def _some(most: int, words: str) -> Any:
    """Return the type of a list of texts that may be left out."""
    texts = Annotated[list[str], Field(max_length=most)]
    return Annotated[texts | Nothing, BeforeValidator(as_list), optional(words)]


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
MaxPixels = Annotated[
    Annotated[int, Field(ge=0, le=2000), NO_FLAG, AfterValidator(_visible)] | Nothing,
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
        list[Annotated[int, NO_FLAG]],
        Field(min_length=4, max_length=4),
        # Without minItems: strict converters make it required, and an empty one leaves it out.
        WithJsonSchema({"type": "array", "items": {"type": "integer"}, "maxItems": 4}),
    ]
    | Nothing,
    optional("Instead of mask: [x, y, width, height] that may change"),
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
_OUTPUT: Final = {
    "model": "Image model of list_models; usually left out",
    "n": "Images, 1 by default",
    "size": "Exact pixels (1920x1080), ratio (16:9), auto, or a name: square, og_image, ...",
    "quality": "Cheap to dear; xhigh and max: 2.5 models",
    "background": "transparent: png or webp (2.6: gif, svg)",
    "format": "png by default",
    "compression": "Per cent, 0 to 100; jpeg and webp",
    "moderation": "auto (default) or low, which filters less",
    "complexity": "low to high: how much the model plans before it draws (2.6 models)",
    "safety_identifier": "A stable, hashed id of the end user, if the application has one",
}
_OTHERS: Final = {
    "frame_count": "2 to 16 frames of a gif",
    "frame_duration_ms": "Milliseconds each frame of a gif is shown",
    "partial_images": (
        "0 to 3 previews while it is drawn, sent as progress; each costs about 100 output tokens"
    ),
    "input_fidelity": "low or high: how closely inputs are kept (1.5 models only)",
    "outside": "keep: put the first image back where the mask lets nothing change",
    "markup": "A transparent png with drawn hints, of the first image's size",
}

_TYPES: Final[Mapping[str, Any]] = {
    **{name: of_library(name, words) for name, words in {**_OUTPUT, **_OTHERS}.items()},
    "svg_model": Annotated[
        str | Nothing, optional("Which model writes an svg, where the account may choose")
    ],
    "svg_effort": Annotated[
        Effort | Nothing,
        optional("none to max: how much the author of an svg thinks, where the account may choose"),
    ],
    "until": _some(
        10,
        f'Checks, such as ["transparent", "words=OPEN"]: it is drawn, and paid, up to {ATTEMPTS} '
        f"times until an image passes all. There are {NAMES}",
    ),
    "max_images": Annotated[
        Annotated[int, Field(ge=1, le=10), NO_FLAG] | Nothing,
        optional("1 (default) to 10 images the model may draw in this turn; each is paid"),
    ],
    "refresh": Annotated[
        bool,
        Field(description="Pay again although the same call was, or may have been, answered"),
    ],
    "tags": _some(20, "To find it by, with list_images"),
    "save_to": Annotated[
        str | Nothing,
        optional(
            "Also write a copy here: a file or folder inside an allowed output folder, relative or "
            "absolute. Nothing is replaced, and the extension follows the format"
        ),
    ],
    "max_px": MaxPixels,
}
"""The parameters that several tools take, by name; see `takes`."""

OUTPUT: Final = tuple(_OUTPUT)
"""What images are to be like; every tool that draws takes these."""

FRAMES: Final = ("frame_count", "frame_duration_ms", "svg_model", "svg_effort", "partial_images")
"""What only some images have: frames of a gif, the author of an svg, previews."""

CALL: Final = ("refresh", "tags", "save_to", "max_px")
"""What becomes of the images, and whether an earlier response will do."""

_DEFAULTS: Final = {"refresh": False}
_Method = TypeVar("_Method", bound=Callable[..., Any])


def takes(*names: str) -> Callable[[_Method], _Method]:
    """Declare the parameters that a method has as ``**given``, by name, in this order."""

    def declare(method: _Method) -> _Method:
        signature = inspect.signature(method, eval_str=True)
        *own, rest = signature.parameters.values()
        more = {name: _TYPES[name] for name in names}
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
