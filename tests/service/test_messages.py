"""What a call gave, on its way from the process that made it to the one that asked."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from gptimage import ImageClient, Mask
from gptimage.sandbox import Sandbox
from gptimage.service.messages import packed, read
from tests.factories import image


EDIT: dict[str, Any] = {"images": image(64, 64, color="gray"), "quality": "low"}
MASKED: dict[str, Any] = {**EDIT, "mask": Mask.from_box((16, 16, 48, 48))}


@pytest.mark.parametrize(
    "options",
    [
        {"size": "1200x630"},
        {"size": "1200x630", "format": "jpeg", "compression": 40},
        {"size": "1200x630", "format": "webp", "n": 2},
        {"size": "256x256"},
        {"background": "transparent"},
        {"model": "gpt-image-2.6-flare", "format": "svg", "size": "1024x1024"},
        EDIT,
        {**EDIT, "size": "same"},
        MASKED,
        {**MASKED, "outside": "keep"},
    ],
)
def test_every_kind_of_result_arrives_whole(options: dict[str, Any], tmp_path: Path) -> None:
    """With its images, their labels and originals, its records and all that was computed of it."""
    with ImageClient.sandbox(Sandbox(draw="plain"), store=tmp_path) as client:
        draw = client.edit if "images" in options else client.generate
        result = draw("A fox", **options)

    for each in result.images:
        assert each.ai_label is not None  # computed once, and kept in the image
        assert each.format == "svg" or each.perceptual_hash
    arrived: Any = read(io.BytesIO(packed(result)))

    assert result == arrived
    assert result.to_dict(data=True) == arrived.to_dict(data=True)
    assert [each.ai_label for each in result.images] == [each.ai_label for each in arrived.images]
    assert [each.original for each in result.images] == [each.original for each in arrived.images]


@pytest.mark.parametrize("provider", ["openai", "gemini"])
def test_a_turn_arrives_whole(provider: str) -> None:
    """With the id to go on from or the turns that are sent again, the words and the cost."""
    with ImageClient.sandbox(Sandbox(draw="plain", provider=provider)) as client:
        turn = client.conversation().send("A fox", size="300x200")

    arrived: Any = read(io.BytesIO(packed(turn)))

    assert arrived == turn
    assert arrived.request_id == turn.request_id
    assert arrived.image.original == turn.image.original
