"""How many tokens a job would have used, by the formulas of the catalogue."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from gptimage.models.catalog import Models
from gptimage.sandbox._sizes import sheet
from gptimage.sandbox.job import Job


_PARTIAL_TOKENS: Final = 100
_STAND_IN: Final = "gpt-image-2.5-flare"
"""For models whose formula nobody has published (2.6, chatgpt-image-latest; input pictures of
the first generation) the sandbox counts as if they were this one."""
_SVG_AUTHOR: Final = "gpt-5.6-sol"


def usage(job: Job, models: Models, *, pictures: int, with_input: bool = True) -> dict[str, object]:
    """The ``usage`` object for a number of finished pictures, and the partials before each."""
    text = math.ceil(len(job.prompt) / 4) if with_input else 0
    seen = _input_tokens(job, models) if with_input else 0
    drawn = pictures * (_output_tokens(job, models) + _PARTIAL_TOKENS * job.partials)
    return {
        "total_tokens": text + seen + drawn,
        "input_tokens": text + seen,
        "output_tokens": drawn,
        "input_tokens_details": {"text_tokens": text, "image_tokens": seen},
        "output_tokens_details": {"image_tokens": drawn, "text_tokens": 0},
    }


def svg_usage(job: Job) -> Mapping[str, object]:
    """The author's tokens, counted apart; the figures are made up, their shape is not."""
    asked, written = math.ceil(len(job.prompt) / 4) + 900, 3200
    return {
        "model": job.svg_model or _SVG_AUTHOR,
        "input_tokens": asked,
        "output_tokens": written,
        "reasoning_tokens": written // 4,
        "total_tokens": asked + written,
    }


def _output_tokens(job: Job, models: Models) -> int:
    width, height = job.width, job.height
    if job.format == "gif":
        width, height = sheet(job.spec.sizes, width, height, job.frames)
    own = job.spec.output_tokens(width, height, job.quality)
    return own or models[_STAND_IN].output_tokens(width, height, job.quality) or 0


def _input_tokens(job: Job, models: Models) -> int:
    # The mask is not counted, by the one measurement there is.
    counting = job.spec if job.spec.counts_patches else models[_STAND_IN]
    return sum(counting.input_tokens(p.width, p.height) or 0 for p in job.inputs)
