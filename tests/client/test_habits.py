"""How people write values: one meaning, several spellings; empty values are refused by name."""

from __future__ import annotations

import base64
import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gptimage
from gptimage.image import Fetch
from gptimage.sandbox import Sandbox
from gptimage.store import Retention
from gptimage.workers import Job
from tests.client.harness import Harness, answer, picture


PNG = picture(64, 64)


@pytest.mark.parametrize(
    ("given", "name", "meant"),
    [
        ({"format": "jpg"}, "format", "jpeg"),
        ({"format": "PNG"}, "format", "png"),
        ({"quality": "HIGH"}, "quality", "high"),
        ({"size": [1200, 630]}, "size", gptimage.Size(1200, 630)),
    ],
)
def test_spellings_of_a_value(
    harness: Harness, given: dict[str, Any], name: str, meant: object
) -> None:
    """Another spelling of the same value is understood."""
    assert getattr(harness.sandbox().generate("A fox", **given).request, name) == meant


def test_a_byte_order_mark_is_no_part_of_a_prompt(harness: Harness) -> None:
    """What an editor puts before a text is not sent."""
    assert harness.sandbox().generate("\ufeffA fox").request.prompt == "A fox"


@pytest.mark.parametrize(
    "name",
    ["model", "size", "quality", "background", "format", "n", "compression", "moderation",
     "safety_identifier", "svg", "extra_body", "tags"],
)  # fmt: skip
def test_an_empty_option_is_refused(harness: Harness, name: str) -> None:
    """Empty text stands for nothing here, and the message names the parameter."""
    with pytest.raises(gptimage.InvalidRequestError, match=name):
        harness.sandbox().generate("A fox", **{name: ""})


def test_a_refused_prompt_is_not_repeated() -> None:
    """Errors end in logs, and what a person asked for belongs in none."""
    with pytest.raises(gptimage.InvalidRequestError) as caught:
        gptimage.ImageClient.sandbox().generate("Ann Example " * 3000)

    assert "Ann" not in str(caught.value) + repr(caught.value.value)


def test_a_misspelt_model_is_told(harness: Harness) -> None:
    """The warning names the model that was probably meant."""
    client, _ = harness.fake(_answered())
    result = client.generate("A fox", model="gpt-image-2.5-flair")

    assert any("did you mean gpt-image-2.5-flare?" in each for each in result.warnings)


def _answered() -> Any:
    return answer(PNG)


class _Upload:
    """What FastAPI hands over: its `read` must be awaited, its `file` need not."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)

    async def read(self, size: int = -1) -> bytes:
        return self.file.read(size)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ("a.png", PNG, "image/png"),
        lambda: ("a.png", PNG),
        lambda: ("a.png", io.BytesIO(PNG), "image/png"),
        lambda: [("a.png", PNG, "image/png")],
        lambda: base64.b64encode(PNG).decode(),
        lambda: base64.encodebytes(PNG).decode(),
        lambda: base64.b64encode(PNG),
        lambda: base64.urlsafe_b64encode(PNG).rstrip(b"=").decode(),
        lambda: _Upload(PNG),
    ],
    ids=[
        "typed",
        "untyped",
        "open file",
        "in a list",
        "base64",
        "in lines",
        "bytes",
        "url-safe",
        "upload",
    ],
)
def test_ways_to_give_one_picture(harness: Harness, make: Callable[[], Any]) -> None:
    """The SDK's tuple, bare base64 and an upload are each one image."""
    result = harness.sandbox().edit("At night", make(), quality="low")

    assert [each.data for each in result.request.inputs] == [PNG]


def test_two_pictures_are_no_file_of_the_sdk(harness: Harness) -> None:
    """A tuple of two images is still two images."""
    result = harness.sandbox().edit("At night", (PNG, PNG), quality="low")

    assert len(result.request.inputs) == 2


@pytest.mark.parametrize(
    "name", ["n", "compression", "frame_count", "frame_duration_ms", "partial_images"]
)
def test_a_number_of_numpy_is_a_whole_number(name: str) -> None:
    """A parameter takes the whole numbers of other libraries, and is an int."""
    given: dict[str, Any] = {name: np.uint8(2)}
    value = getattr(gptimage.Generate(prompt="A fox", model="a", **given), name)

    assert (value, type(value)) == (2, int)


@pytest.mark.parametrize("value", [np.True_, np.float64(2), np.array([1, 2])], ids=str)
def test_what_is_no_whole_number_is_refused(harness: Harness, value: object) -> None:
    """A truth value, a fraction and several numbers are none, whoever made them."""
    with pytest.raises(gptimage.InvalidRequestError, match=r"n=.*whole number"):
        harness.sandbox().generate("A fox", n=value)


def test_whole_numbers_of_numpy_at_the_other_doors() -> None:
    """Settings, runs, conversations, jobs and images take them, too."""
    sandbox, two = Sandbox(draw="plain", seed=np.int64(2)), np.int64(2)
    client = gptimage.ImageClient.sandbox(sandbox)
    small: dict[str, Any] = {"size": tuple(np.array([1024, 640])), "quality": "low"}
    found = [
        gptimage.Retry(attempts=two).attempts,
        gptimage.Limits(images_per_minute=two).images_per_minute,
        Fetch(max_redirects=two).max_redirects,
        int(gptimage.Budget(two, per="day").remaining()),
        len([*client.generate_many(["A fox", "A dog"], concurrency=two, **small)]),
        1 + len(client.conversation().send("A fox", max_images=two, **small).images),
        Job.of("a", "A fox", n=two, size=[1200, 630]).request["n"],
        max(gptimage.Image.from_bytes(PNG).thumbnail(two).size or ()),
        gptimage.Mask.from_box((0, 0, two, two)).boxes[0][2],
        Retention(max_count=two).max_count,
    ]

    assert found == [2] * 10


def test_an_array_is_no_size(harness: Harness) -> None:
    """What has no truth value is refused by name as well."""
    with pytest.raises(gptimage.InvalidRequestError, match="size"):
        harness.sandbox().generate("A fox", size=np.array([1024, 640]))


@pytest.mark.parametrize("folder", ["", "fox\0", "fox.png"])
def test_a_result_is_saved_into_a_folder(folder: str) -> None:
    """What is no folder's name is refused, instead of the current folder or one called fox.png."""
    result = gptimage.ImageClient.sandbox(Sandbox(draw="plain")).generate("A fox")

    with pytest.raises(gptimage.ConfigurationError, match="folder="):
        result.save(folder)


@pytest.mark.parametrize("path", ["", "fox\0.png"])
def test_an_image_is_saved_under_a_name(path: str) -> None:
    """A name that no system takes is refused in words."""
    with pytest.raises(gptimage.ConfigurationError, match="path="):
        gptimage.Image.from_bytes(PNG).save(path)


@pytest.mark.parametrize("copied", [pickle.dumps, copy.deepcopy])
def test_a_client_is_not_copied(copied: Callable[[object], object]) -> None:
    """Who hands one to another process is told what to do instead."""
    with pytest.raises(TypeError, match="make one in each"):
        copied(gptimage.ImageClient.sandbox())
