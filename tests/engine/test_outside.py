"""``outside="keep"`` through a client: refused early, saved with the original, never lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from PIL import ImageChops

from gptimage import FileRef, Image, ImageClient, InvalidRequestError, Mask
from gptimage.cache import Cache
from gptimage.engine.parse import parse_response
from gptimage.image import drift
from gptimage.image.label import COMPOSITE
from gptimage.sandbox import Sandbox
from gptimage.store import Store
from tests.factories import NOW, answer, edit, image, noise, planned


MASK = Mask.from_box((16, 16, 48, 48))
EDIT: dict[str, Any] = {"images": image(1024, 1024, color="gray"), "mask": MASK, "outside": "keep"}


@pytest.mark.parametrize(
    "options",
    [
        {"mask": None},
        {"images": [FileRef("file-12345678")]},
        {"mask": FileRef("file-12345678")},
        {"format": "gif"},
        {"outside": "paste"},
    ],
    ids=["no mask", "uploaded image", "uploaded mask", "gif", "unknown"],
)
def test_what_cannot_be_put_back_is_refused(options: dict[str, Any]) -> None:
    """Before anything is sent, and by name."""
    sandbox = Sandbox(draw="plain")
    with (
        ImageClient.sandbox(sandbox) as client,
        pytest.raises(InvalidRequestError, match=r"outside") as caught,
    ):
        client.edit("a hat", **{**EDIT, **options})

    assert (caught.value.field, sandbox.requests) == ("outside", [])


def test_both_images_are_saved_and_linked(tmp_path: Path) -> None:
    """The service's bytes lie beside the image; a stream and the cache give the same."""
    sandbox = Sandbox(draw="plain", drift={"repaint": 24})
    store = Store(tmp_path)
    with ImageClient.sandbox(sandbox, store=store, cache=Cache.memory()) as client:
        plain = client.edit("a hat", images=EDIT["images"], mask=MASK)
        kept = client.edit("a hat", **EDIT)
        events = list(client.stream("a hat", refresh=True, **EDIT))

    sent, record = kept.image.original, kept.stored[0]
    assert kept.cached
    assert sent is not None
    assert sent.data == plain.image.data
    assert record.original is not None
    assert (sent.sha256, kept.image.sha256) == (record.original.sha256, record.sha256)
    assert record.request["outside"] == "keep"
    assert record.effective == {**kept.effective, "size": "1024x1024", "format": "png"}
    assert (record.digital_source, record.ai_label.id) == (COMPOSITE, record.id)
    assert kept.image.diff(events[-1].image, tolerance=0).changed == 0
    assert 0 == drift(kept.image, EDIT["images"], MASK) < (kept.drift or 0)
    assert kept.drift == json.loads(kept.to_json())["drift"] == plain.drift
    assert any("outside the mask" in each for each in kept.warnings)


def test_a_paste_that_fails_loses_nothing() -> None:
    """The service's image is returned, and the warning says so."""
    broken = evolve(image(64, 64), data=image(64, 64).data[:60])
    plan = planned(edit(images=(image(64, 64),), mask=MASK, outside="keep"))
    lost = evolve(plan, request=edit(images=(broken,), mask=MASK, outside="keep"))
    result = parse_response(lost, answer(image(64, 64, color="red").data), now=NOW)

    assert image(64, 64, color="red").data == result.image.data
    assert any("outside='keep' failed" in each for each in result.warnings)
    assert json.loads(result.to_json())["drift"] is None


def test_what_was_put_back_is_said() -> None:
    """Nothing of an image that is the original outside; nothing is put back where it all moved."""
    pixels = noise(256, 256)
    original, mask = Image.from_pil(pixels), Mask.from_box((96, 96, 160, 160))
    plan = planned(edit(images=(original,), mask=mask, outside="keep"))
    moved = Image.from_pil(ImageChops.offset(pixels, 3, 0))
    same = parse_response(plan, answer(original.data), now=NOW)
    other = parse_response(plan, answer(moved.data), now=NOW)

    assert (same.drift, same.warnings) == (0, ())
    assert other.image.data == moved.data
    assert "moved the image by about 3, 0 pixels: nothing was put back" in other.warnings[0]


def test_the_warning_and_the_result_say_the_same() -> None:
    """Also where the service drew another size than the image has: drift is that of the image."""
    sandbox = Sandbox(draw="plain", drift={"repaint": 24})
    photo = Image.from_pil(noise(200, 136))
    with ImageClient.sandbox(sandbox) as client:
        kept = client.edit("a hat", photo, mask=MASK, outside="keep", size="same")

    assert kept.image.size == photo.size
    assert f"changed {kept.drift:.1%} of the pixels outside" in " ".join(kept.warnings)


def test_what_is_no_longer_at_hand_is_not_put_back() -> None:
    """A reply that is recovered later has an image, and no original to put into it."""
    plan = planned(edit(images=(image(64, 64),), mask=MASK, outside="keep"))
    later = evolve(plan, request=evolve(plan.request, images=(FileRef("file-12345678"),)))
    found = parse_response(later, answer(image(64, 64).data), now=NOW)

    assert (found.image.data, found.drift) == (image(64, 64).data, None)


def test_a_batch_refuses_it(tmp_path: Path) -> None:
    """Its images may not be at hand when it is read: it says what is."""
    request = edit(images=(image(64, 64),), mask=MASK, outside="keep")
    with (
        ImageClient.sandbox() as client,
        pytest.raises(InvalidRequestError, match="keep_outside") as caught,
    ):
        client.submit_batch([request], state=tmp_path / "state")

    assert caught.value.field == "outside"


def test_a_turn_keeps_it_too() -> None:
    """A conversation puts back what its mask protects; without an image it refuses by name."""
    sandbox = Sandbox(draw="plain", drift={"repaint": 24})
    with ImageClient.sandbox(sandbox) as client:
        turn = client.conversation().send("a hat", size="1024x1024", **EDIT)
        with pytest.raises(InvalidRequestError, match="no image yet") as caught:
            client.conversation().send("a hat", outside="keep")

    assert drift(turn.result.image, EDIT["images"], MASK) == 0 < (turn.result.drift or 0)
    assert caught.value.field == "outside"
