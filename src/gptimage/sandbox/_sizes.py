"""Which sizes are drawn, and which one ``auto`` becomes."""

from __future__ import annotations

import math
import re
from typing import Final

from gptimage.models.sizes import SizeRule
from gptimage.sandbox._refusal import Refusal, user_error
from gptimage.sandbox._scene import scene
from gptimage.sandbox.job import Job


_PIXELS: Final = re.compile(r"([1-9]\d{0,5})x([1-9]\d{0,5})")
_STANDARD: Final = ((1024, 1024), (1536, 1024), (1024, 1536))
_GIF_AUTO: Final = (512, 512)
_WIDE_PLACES: Final = frozenset({"hills", "sea", "city", "desert"})
_TALL: Final = re.compile(r"\b(portrait|poster|phone|story|vertical|tower|cover)\b", re.IGNORECASE)


def still(asked: str, job: Job) -> tuple[int, int]:
    """Pixels of a still picture.

    Raises:
        Refusal: The model does not draw that size.
    """
    if asked == "auto":
        return _auto(job)
    rule = job.spec.sizes
    if rule.values:
        names = ", ".join(f"{w}x{h}" for w, h in rule.values)
        if (size := _parsed(asked)) in rule.values and size:
            return size
        raise _bad(asked, f"Supported sizes are {names}, and auto.")
    width, height = _within_edges(asked, job)
    _budget(asked, width * height, job)
    return width, height


def gif(asked: str, job: Job, frames: int) -> tuple[int, int]:
    """Pixels of one frame: the limits of edges and pixels hold for the sheet of all frames.

    Raises:
        Refusal: The frames do not fit one sheet.
    """
    if asked == "auto":
        return _GIF_AUTO
    if job.spec.sizes.values:
        return still(asked, job)
    width, height = _within_edges(asked, job)
    across, down = sheet(job.spec.sizes, width, height, frames)
    limit = job.spec.sizes.max_edge
    if max(across, down) > limit:
        raise _bad(asked, f"The longest edge must be less than or equal to {limit}")
    _budget(asked, across * down, job)
    return width, height


def sheet(rule: SizeRule, width: int, height: int, frames: int) -> tuple[int, int]:
    """Pixels of the sheet the frames of a GIF share."""
    return rule.for_frames(frames).sheet(width, height)


def _within_edges(asked: str, job: Job) -> tuple[int, int]:
    rule, size = job.spec.sizes, _parsed(asked)
    if size is None:
        raise _bad(asked, "Expected 'auto' or WIDTHxHEIGHT, for example '1536x864'.")
    if size[0] % rule.multiple or size[1] % rule.multiple:
        raise _bad(asked, f"Width and height must both be divisible by {rule.multiple}")
    if max(size) > rule.max_edge:
        raise _bad(asked, f"The longest edge must be less than or equal to {rule.max_edge}")
    if max(size) > rule.max_ratio * min(size):
        ratio = f"{rule.max_ratio:g}"
        raise _bad(asked, f"The aspect ratio must be between 1:{ratio} and {ratio}:1")
    return size


def _budget(asked: str, pixels: int, job: Job) -> None:
    if pixels < job.spec.sizes.min_pixels:
        raise _bad(asked, "Requested resolution is below the current minimum pixel budget.")
    if pixels > job.spec.sizes.max_pixels:
        raise _bad(asked, "Requested resolution exceeds the current pixel budget.")


def _parsed(asked: str) -> tuple[int, int] | None:
    match = _PIXELS.fullmatch(asked)
    return (int(match[1]), int(match[2])) if match else None


def _bad(asked: str, why: str) -> Refusal:
    return user_error(f"Invalid size '{asked[:100]}'. {why}", "size")


def _auto(job: Job) -> tuple[int, int]:
    """The standard size nearest in shape to the first input, or fitting the prompt."""
    if job.inputs:
        shape = math.log(job.inputs[0].width / job.inputs[0].height)
        return min(_STANDARD, key=lambda size: abs(math.log(size[0] / size[1]) - shape))
    if _TALL.search(job.prompt):
        return 1024, 1536
    seen = scene(job.prompt)
    wide = seen.place in _WIDE_PLACES and (seen.subject is None or seen.named_place)
    return (1536, 1024) if wide else (1024, 1024)
