"""A request the rules have accepted, every default filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import field, frozen

from gptimage.models.catalog import ModelSpec


@frozen(kw_only=True)
class InputImage:
    """An input image that was decoded once, so it is known to be one.

    Attributes:
        data: The bytes as they came.
        width: Pixels across, after the camera's orientation is applied.
        height: Pixels down, likewise.
    """

    data: bytes = field(repr=False)
    width: int
    height: int


@frozen(kw_only=True)
class Job:
    """A drawing to make, and the shape of its reply.

    Attributes:
        operation: ``generation`` or ``edit``, as the service names its events.
        spec: The model's entry in the catalogue.
        prompt: The prompt.
        n: How many images.
        width: Pixels across.
        height: Pixels down.
        quality: ``low`` to ``max``.
        transparent: Whether the background is to be see-through.
        format: ``png``, ``jpeg``, ``webp``, ``gif`` or ``svg``.
        compression: 0 to 100, for jpeg and webp.
        complexity: ``low``, ``medium`` or ``high``.
        frames: Frames of a gif.
        frame_ms: Milliseconds per frame of a gif.
        stream: Whether the reply is a stream of events.
        partials: How many partial images the stream carries.
        safety_identifier: The caller's end user, echoed in the reply.
        svg_model: The author model of an svg, echoed in its usage.
        fidelity: ``low`` or ``high``: how much of the first input survives an edit.
        inputs: The images to edit, the first one first.
        mask: Edit where its alpha is 0.
        markup: A transparent overlay whose marks say where to edit.
        thoughts: Whether the reply has what the model thought before the image (Gemini).
        by_url: Whether the reply names addresses of the images instead of holding them.
        draw: ``scene``, or ``plain``: a few flat colours, for tests that draw many images.
        drift: How an edit with a mask changes what the mask protects, see `Sandbox`.
    """

    operation: Literal["generation", "edit"]
    spec: ModelSpec
    prompt: str = field(repr=False)
    n: int = 1
    width: int
    height: int
    quality: str
    transparent: bool = False
    format: str = "png"
    compression: int = 100
    complexity: str = "medium"
    frames: int = 9
    frame_ms: int = 200
    stream: bool = False
    partials: int = 0
    safety_identifier: str | None = None
    svg_model: str | None = None
    fidelity: str = "low"
    inputs: tuple[InputImage, ...] = ()
    mask: InputImage | None = None
    markup: InputImage | None = None
    thoughts: bool = False
    by_url: bool = False
    draw: Literal["scene", "plain"] = "scene"
    drift: Mapping[str, float] = field(factory=dict[str, float])

    @property
    def detail(self) -> int:
        """0 to 5: how many layers and strokes the quality and the complexity pay for."""
        steps = {"low": 0, "medium": 2, "high": 3, "xhigh": 4, "max": 5}[self.quality]
        return min(5, max(0, steps + {"low": -1, "medium": 0, "high": 1}[self.complexity]))
