"""The parameters of a call, one row each: name, wire name, kind, limits, formats and help.

Validation, the wire, the command line's flags, the schemas of MCP tools, the signatures that
``help()`` shows and the table in ``docs/parameters.md`` are built from these rows. `Options` and
`EditOptions` repeat the names for type checkers, which cannot read a table; a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias, get_args

from attrs import frozen


Quality = Literal["low", "medium", "high", "xhigh", "max", "auto"]
Background = Literal["transparent", "opaque", "auto"]
OutputFormat = Literal["png", "jpeg", "webp", "gif", "svg"]
Moderation = Literal["auto", "low"]
Level = Literal["low", "medium", "high"]
Fidelity = Literal["low", "high"]
Outside = Literal["keep"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Operation = Literal["generate", "edit"]

Kind: TypeAlias = Literal["text", "whole", "choice", "size", "json", "image", "images"]
"""What a value is: text, a whole number, one of `Parameter.choices`, a size, JSON, an input image,
or up to 16 of them."""

MAX_PROMPT: Final = 32_000
MAX_IMAGES: Final = 16
BOTH: Final[tuple[Operation, ...]] = ("generate", "edit")


@frozen(kw_only=True)
class Parameter:
    """One parameter of a call.

    Attributes:
        name: Its name in Python, and with dashes on the command line.
        kind: What its value is.
        help: What it does, in one sentence without a full stop.
        wire: Its name in the request to the service; None for what is no field of its own.
        choices: Its values, where the list is fixed; a model may take fewer.
        least: The smallest number, or None.
        most: The largest number, or the most characters or images; None for no limit.
        formats: The output formats it belongs to; empty for all.
        operations: ``generate``, ``edit`` or both.
        metavar: A word for its value in the help of a command.
    """

    name: str
    kind: Kind
    help: str
    wire: str | None
    choices: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None
    formats: tuple[str, ...] = ()
    operations: tuple[Operation, ...] = BOTH
    metavar: str = ""

    @property
    def allowed(self) -> str:
        """Its limits or choices in words; empty where there are none."""
        if self.choices:
            return ", ".join(self.choices)
        if self.kind == "whole" and self.most is not None:
            return f"{self.least} to {self.most}"
        return f"at most {self.most:,} characters" if self.kind == "text" and self.most else ""


def _row(name: str, kind: Kind, help: str, **more: Any) -> Parameter:
    choices = more.pop("choices", None)
    return Parameter(
        name=name,
        kind=kind,
        help=help,
        wire=more.pop("wire", name),
        choices=get_args(choices) if choices else (),
        **more,
    )


_ROWS: Final = (
    _row("prompt", "text", "What to draw or change, in words", most=MAX_PROMPT, metavar="PROMPT"),
    _row("model", "text", "The image model; the client's default when left out", metavar="MODEL"),
    _row("n", "whole", "How many images, 1 when left out", least=1, most=10, metavar="N"),
    _row(
        "size",
        "size",
        "Pixels such as 1920x1080, a ratio such as 16:9, auto, or a name such as landscape or "
        "og_image: you get exactly these pixels; same in an edit means those of the first image",
        metavar="SIZE",
    ),
    _row(
        "quality",
        "choice",
        "How much work goes into it; xhigh and max need a model from 2.5 on",
        choices=Quality,
        metavar="QUALITY",
    ),
    _row(
        "background",
        "choice",
        "What is behind the subject; transparent needs png or webp (from 2.6 on also gif or svg)",
        choices=Background,
        metavar="KIND",
    ),
    _row(
        "format",
        "choice",
        "The file format; png when left out",
        wire="output_format",
        choices=OutputFormat,
        metavar="FORMAT",
    ),
    _row(
        "compression",
        "whole",
        "Per cent: less makes a smaller and rougher file",
        wire="output_compression",
        least=0,
        most=100,
        formats=("jpeg", "webp"),
        metavar="PERCENT",
    ),
    _row(
        "moderation",
        "choice",
        "How strictly the content is filtered: low filters less",
        choices=Moderation,
        metavar="LEVEL",
    ),
    _row(
        "complexity",
        "choice",
        "How much the model plans before it draws (2.6)",
        choices=Level,
        metavar="LEVEL",
    ),
    _row("safety_identifier", "text", "A stable, hashed id of your end user", metavar="ID"),
    _row(
        "frame_count",
        "whole",
        "How many frames a gif has",
        least=2,
        most=16,
        formats=("gif",),
        metavar="N",
    ),
    _row(
        "frame_duration_ms",
        "whole",
        "Milliseconds each frame of a gif is shown",
        least=1,
        most=655_350,
        formats=("gif",),
        metavar="MS",
    ),
    _row(
        "svg",
        "json",
        "The model that writes an svg and how much it thinks, where the project may choose",
        formats=("svg",),
        metavar="JSON",
    ),
    _row(
        "partial_images",
        "whole",
        "Previews while streaming; each costs about 100 output tokens",
        least=0,
        most=3,
        metavar="N",
    ),
    _row(
        "input_fidelity",
        "choice",
        "How closely the input images are followed, on models that take it",
        choices=Fidelity,
        operations=("edit",),
        metavar="LEVEL",
    ),
    _row(
        "extra_body",
        "json",
        "Fields of the request this library does not know yet, sent as they are",
        wire=None,
        metavar="JSON",
    ),
    _row(
        "images",
        "images",
        "The images to start from; mask and markup belong to the first",
        least=1,
        most=MAX_IMAGES,
        operations=("edit",),
        metavar="IMAGE",
    ),
    _row(
        "mask",
        "image",
        "Where the first image may change: a Mask, or an image whose transparent (or, when "
        "nothing is transparent, white) parts may",
        operations=("edit",),
        metavar="IMAGE",
    ),
    _row(
        "outside",
        "choice",
        "What happens where the mask lets nothing change: keep puts the first image back there",
        wire=None,
        choices=Outside,
        operations=("edit",),
        metavar="KEEP",
    ),
    _row(
        "markup",
        "image",
        "A transparent png with drawn hints, laid over the first image (from 2.5 on)",
        operations=("edit",),
        metavar="IMAGE",
    ),
)

PARAMETERS: Final[Mapping[str, Parameter]] = {row.name: row for row in _ROWS}
"""Every parameter by its name, in the order of a request."""

WIRE_NAMES: Final[Mapping[str, str]] = {
    row.name: row.wire
    for row in _ROWS
    if row.wire and row.kind in ("text", "whole", "choice", "json")
    if row.name not in ("prompt", "model")
}
"""What the parameters that are sent just as they are given are called on the wire."""


def option_names(operation: Operation) -> tuple[str, ...]:
    """Names of what `generate` or `edit` takes as keyword options, beside prompt and images."""
    return tuple(
        row.name
        for row in _ROWS
        if operation in row.operations and row.name not in ("prompt", "images")
    )
