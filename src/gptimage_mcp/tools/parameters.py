"""The parameters of the tools that draw: each once, with the library's name, choices and limits.

A parameter that may be left out is plain in the schema, without ``null`` and without a default:
several clients and models stumble over either. Sent as null it counts as left out.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

from gptimage.types.parameters import Background, Level, Moderation, OutputFormat, Quality
from gptimage_mcp.tools.inputs import Upload
from gptimage_mcp.tools.register import optional


Nothing: TypeAlias = SkipJsonSchema[None]


def _flat(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a model, without titles."""
    schema = model.model_json_schema()
    fields: dict[str, dict[str, Any]] = schema["properties"]
    plain = {
        name: {"type": "string", "description": fields[name]["description"]} for name in fields
    }
    return {"type": "object", "properties": plain, "required": schema["required"]}


def _listed(value: object) -> object:
    """Models forget the brackets around a single one."""
    return [value] if isinstance(value, str) else value


PICTURE: Final = (
    "an id (img_...), a handle (job_...), a path in an allowed folder, an https URL, a small data: "
    "URL, or the id of an uploaded file (file-...)"
)

Prompt = Annotated[
    str, Field(min_length=1, description="What to draw, in full: subject, style, light, text")
]
EditPrompt = Annotated[
    str, Field(min_length=1, description="What to change, and what has to stay as it is")
]
OtherPrompt = Annotated[
    str | Nothing, optional("What should differ; by default composition, viewpoint and details")
]
Model = Annotated[
    str | Nothing, optional("The image model; list_models has them. Usually left out")
]
N = Annotated[
    Annotated[int, Field(ge=1, le=10)] | Nothing,
    optional("How many pictures, 1 by default; each one is paid"),
]
Size = Annotated[
    str | Nothing,
    optional(
        "Exact pixels (1920x1080), a ratio (16:9), auto, or a name: square, portrait, landscape, "
        "og_image, blog_header, ... The picture gets exactly these pixels"
    ),
]
QualityOf = Annotated[
    Quality | Nothing,
    optional("Dearer and slower from low to max; xhigh and max need a 2.5 model. auto by default"),
]
BackgroundOf = Annotated[
    Background | Nothing, optional("transparent needs format png or webp (2.6 also gif, svg)")
]
Format = Annotated[OutputFormat | Nothing, optional("The file format; png by default")]
Compression = Annotated[
    Annotated[int, Field(ge=0, le=100)] | Nothing, optional("Per cent, for jpeg and webp only")
]
ModerationOf = Annotated[Moderation | Nothing, optional("low filters less; auto by default")]
Complexity = Annotated[
    Level | Nothing, optional("How much the model plans before it draws (2.6 models)")
]
SafetyIdentifier = Annotated[
    str | Nothing, optional("A stable, hashed id of the end user, if the application has one")
]
FrameCount = Annotated[
    Annotated[int, Field(ge=2, le=16)] | Nothing, optional("Frames of a gif (format gif only)")
]
FrameDuration = Annotated[
    Annotated[int, Field(ge=1)] | Nothing, optional("Milliseconds each frame of a gif is shown")
]
SvgModel = Annotated[
    str | Nothing, optional("Which model writes an svg, where the account may choose (format svg)")
]
SvgEffort = Annotated[
    Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | Nothing,
    optional("How much the author of an svg thinks, where the account may choose (format svg)"),
]
PartialImages = Annotated[
    Annotated[int, Field(ge=0, le=3)] | Nothing,
    optional(
        "Previews while it is drawn, told as progress; each costs about 100 output tokens. None by "
        "default"
    ),
]
Refresh = Annotated[
    bool,
    Field(
        description="Pay for a new answer even if the same call was answered before; otherwise "
        "the same call gives the same pictures, free of charge"
    ),
]
Tags = Annotated[
    Annotated[list[str], Field(max_length=20)] | Nothing,
    BeforeValidator(_listed),
    optional("Words to find the pictures by, with list_images"),
]
SaveTo = Annotated[
    str | Nothing,
    optional(
        "Also write a copy here: a file or folder inside an allowed output folder, relative or "
        "absolute. Nothing is replaced, and the extension follows the format"
    ),
]
Images = Annotated[
    Annotated[list[str], Field(max_length=16)] | Nothing,
    BeforeValidator(_listed),
    optional(
        f"The pictures to start from, 1 to 16; each is {PICTURE}. A mask belongs to the first"
    ),
]
Source = Annotated[str | Nothing, optional(f"The picture to start from: {PICTURE}")]
File = Annotated[Upload, WithJsonSchema(_flat(Upload))]
"""In the schema without ``$ref``, which some clients cannot follow."""

Attached = Annotated[
    File | Nothing, optional("A picture the person attached in the client; it goes first")
]
Mask = Annotated[
    str | Nothing,
    optional(
        "Where the first picture may change: a picture whose transparent parts (or, if nothing is "
        f"transparent, white parts) may; {PICTURE}"
    ),
]
AttachedMask = Annotated[File | Nothing, optional("A mask the person attached in the client")]
MaskBox = Annotated[
    Annotated[list[int], Field(min_length=4, max_length=4)] | Nothing,
    optional("Instead of a mask: the rectangle that may change, [x, y, width, height] in pixels"),
]
Markup = Annotated[
    str | Nothing,
    optional(f"A transparent png with drawn hints, of the first picture's size; {PICTURE}"),
]
InputFidelity = Annotated[
    Literal["low", "high"] | Nothing, optional("How closely inputs are kept (1.5 models only)")
]
Continues = Annotated[
    str | Nothing,
    optional(
        "What to go on from: the picture's id (img_...), its handle (job_...) or a response_id "
        f"(resp_...) of an earlier refine_image; or any other picture: {PICTURE}"
    ),
]
Extra = Annotated[
    Annotated[list[str], Field(max_length=15)] | Nothing,
    BeforeValidator(_listed),
    optional(f"More pictures to use, such as a style or an object to add; each is {PICTURE}"),
]
Action = Annotated[
    Literal["auto", "generate", "edit"],
    Field(description="Whether to draw anew, change the picture, or let the model decide"),
]
MaxPictures = Annotated[
    Annotated[int, Field(ge=1, le=10)] | Nothing,
    optional("The most pictures the model may draw in this turn; 1 by default, each is paid"),
]
