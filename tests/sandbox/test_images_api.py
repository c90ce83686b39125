"""Every rule of the image endpoints: what is refused, how, and what is let through."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest

from gptimage.errors import ConfigurationError
from gptimage.image.image import Image
from gptimage.models.catalog import Models
from gptimage.sandbox import Sandbox
from gptimage.sandbox.images_api import Policy, accept
from gptimage.sandbox.job import Job
from gptimage.sandbox.models_files_api import Uploads
from gptimage.transport.http import HttpRequest
from tests.sandbox.pictures import GENERATIONS, MODEL, TODAY, error, generate, part


USER = "image_generation_user_error"
NEW, SECOND, OLD, MINI = "gpt-image-2.6-flare", "gpt-image-2", "gpt-image-1.5", "gpt-image-1-mini"
GIF = {"model": NEW, "output_format": "gif"}
SVG = {"model": NEW, "output_format": "svg"}

REFUSED: list[tuple[Mapping[str, Any], str, str, str]] = [
    # what is sent, param, code, how the message begins
    ({"response_format": "b64_json"}, "response_format", "unknown_parameter",
     "Unknown parameter: 'response_format'."),
    ({"style": "vivid"}, "style", "unknown_parameter", "Unknown parameter: 'style'."),
    ({"seed": 1}, "seed", "unknown_parameter", "Unknown parameter: 'seed'."),
    ({"images": []}, "images", "unknown_parameter", "Unknown parameter: 'images'."),
    ({"input_fidelity": "high"}, "input_fidelity", "unknown_parameter", "Unknown parameter"),
    ({"prompt": ...}, "prompt", "missing_required_parameter",
     "Missing required parameter: 'prompt'."),
    ({"model": ...}, "model", "missing_required_parameter",
     "Missing required parameter: 'model'."),
    ({"prompt": 7}, "prompt", "invalid_type",
     "Invalid type for 'prompt': expected a string, but got an integer instead."),
    ({"prompt": None}, "prompt", "invalid_type",
     "Invalid type for 'prompt': expected a string, but got null instead."),
    ({"prompt": ""}, "prompt", "empty_string", "Invalid 'prompt': empty string."),
    ({"prompt": "x" * 32_001}, "prompt", "string_above_max_length",
     ("Invalid 'prompt': string too long. Expected a string with maximum length 32000, "
     "but got a string with length 32001 instead.")),
    ({"model": "dall-e-3"}, "model", "invalid_value", "The model 'dall-e-3' does not exist."),
    ({"model": "gpt-image-1"}, "model", "invalid_value", "The model 'gpt-image-1' does not"),
    ({"model": "gpt-4o"}, "model", "invalid_value", "The model 'gpt-4o' does not exist."),
    ({"model": ["a"]}, "model", "invalid_type", ("Invalid type for 'model': expected a string, "
     "but got an array instead.")),
    ({"n": "3"}, "n", "invalid_type",
     "Invalid type for 'n': expected an integer, but got a string instead."),
    ({"n": 1.5}, "n", "invalid_type", ("Invalid type for 'n': expected an integer, "
     "but got a decimal number instead.")),
    ({"n": True}, "n", "invalid_type", ("Invalid type for 'n': expected an integer, "
     "but got a boolean instead.")),
    ({"n": 0}, "n", "integer_below_min_value",
     "Invalid 'n': integer below minimum value. Expected a value >= 1, but got 0 instead."),
    ({"n": 11}, "n", "integer_above_max_value",
     "Invalid 'n': integer above maximum value. Expected a value <= 10, but got 11 instead."),
    ({"size": "512x512"}, "size", "invalid_value", ("Invalid size '512x512'. "
     "Requested resolution is below the current minimum pixel budget.")),
    ({"size": "800x800"}, "size", "invalid_value", "Invalid size '800x800'. Requested"),
    ({"size": "1920x1080"}, "size", "invalid_value", ("Invalid size '1920x1080'. "
     "Width and height must both be divisible by 16")),
    ({"size": "4096x2048"}, "size", "invalid_value", ("Invalid size '4096x2048'. "
     "The longest edge must be less than or equal to 3840")),
    ({"size": "3200x1024"}, "size", "invalid_value", "Invalid size '3200x1024'. The aspect"),
    ({"size": "3840x2880"}, "size", "invalid_value", ("Invalid size '3840x2880'. "
     "Requested resolution exceeds the current pixel budget.")),
    ({"size": "landscape"}, "size", "invalid_value", "Invalid size 'landscape'."),
    ({"size": "01024x1024"}, "size", "invalid_value", "Invalid size '01024x1024'."),
    ({"size": 1024}, "size", "invalid_type", "Invalid type for 'size'"),
    ({"model": OLD, "size": "1024x640"}, "size", "invalid_value", ("Invalid size '1024x640'. "
     "Supported sizes are 1024x1024, 1536x1024, 1024x1536, and auto.")),
    ({"quality": "hd"}, "quality", "invalid_value", ("Invalid value: 'hd'. Supported values are: "
     "'low', 'medium', 'high', 'xhigh', 'max', and 'auto'.")),
    ({"model": SECOND, "quality": "xhigh"}, "quality", "invalid_value",
     "The model 'gpt-image-2' does not support quality 'xhigh'"),
    ({"background": "clear"}, "background", "invalid_value", "Invalid value: 'clear'."),
    ({"model": SECOND, "background": "transparent"}, "background", "invalid_value",
     "Transparent background is not supported for this model."),
    ({"model": NEW, "background": "transparent", "output_format": "jpeg"}, "background",
     "invalid_value", "Transparent background is not supported for JPEG output format"),
    ({"background": "transparent", "output_format": "jpeg"}, "background", "invalid_value",
     "Transparent background is not supported for JPEG output format"),
    ({"output_format": "bmp"}, "output_format", "invalid_value", "Invalid value: 'bmp'."),
    ({"output_format": "gif"}, "output_format", "invalid_value",
     "The model 'gpt-image-2.5-flare' does not support output format 'gif'"),
    ({"output_compression": 50}, "output_compression", "invalid_png_output_compression",
     "Compression less than 100 is not supported for PNG output format"),
    ({"output_compression": 101, "output_format": "webp"}, "output_compression",
     "integer_above_max_value", "Invalid 'output_compression'"),
    ({**GIF, "output_compression": 100}, "output_compression", "invalid_value", "'output_comp"),
    ({**SVG, "output_compression": 100}, "output_compression", "invalid_value", "'output_comp"),
    ({"moderation": "off"}, "moderation", "invalid_value", ("Invalid value: 'off'. "
     "Supported values are: 'low' and 'auto'.")),
    ({"complexity": "max"}, "complexity", "invalid_value", "Invalid value: 'max'."),
    ({"stream": "true"}, "stream", "invalid_type", "Invalid type for 'stream'"),
    ({"partial_images": 1}, "partial_images", "invalid_value", "'partial_images' is only"),
    ({"stream": True, "partial_images": 4}, "partial_images", "integer_above_max_value",
     "Invalid 'partial_images'"),
    ({"user": None}, "user", "invalid_type", "Invalid type for 'user'"),
    ({"safety_identifier": 5}, "safety_identifier", "invalid_type", "Invalid type"),
    ({"frame_count": 4}, "frame_count", "invalid_value", "'frame_count' is only supported"),
    ({"frame_duration_ms": 90}, "frame_duration_ms", "invalid_value", "'frame_duration_ms' is"),
    ({**GIF, "frame_count": 1}, "frame_count", "integer_below_min_value", "Invalid 'frame_count'"),
    ({**GIF, "frame_count": 17}, "frame_count", "integer_above_max_value", "Invalid 'frame_c"),
    ({**GIF, "frame_duration_ms": 0}, "frame_duration_ms", "integer_below_min_value", "Invalid"),
    ({**GIF, "stream": True}, "stream", "invalid_value", "'stream' is not supported for GIF"),
    ({**GIF, "size": "1024x1024", "frame_count": 6}, "size", "invalid_value",
     "Invalid size '1024x1024'. The longest edge must be less than or equal to 3840"),
    ({**GIF, "size": "976x976", "frame_count": 9}, "size", "invalid_value",
     "Invalid size '976x976'. Requested resolution exceeds"),
    ({**GIF, "size": "256x256", "frame_count": 4}, "size", "invalid_value",
     "Invalid size '256x256'. Requested resolution is below"),
    ({**SVG, "n": 2}, "n", "invalid_value", "SVG output format requires 'n' to be 1"),
    ({**SVG, "stream": True}, "stream", "invalid_value", "'stream' is not supported for SVG"),
    ({**SVG, "svg": {"model": "gpt-5.6-sol"}}, "svg", "invalid_value", "SVG model selection"),
    ({"svg": {"model": "gpt-5.6-sol"}}, "svg", "invalid_value", "'svg' is only supported"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "param", "code", "message"), REFUSED)
def test_broken_rules_are_refused_like_the_service_does(
    sandbox: Sandbox, given: Mapping[str, Any], param: str, code: str, message: str
) -> None:
    """Each broken rule is a 400 that names the parameter, in the service's words."""
    body = {key: value for key, value in generate(**given).body.items() if value is not ...}
    reply = sandbox.send(HttpRequest(method="POST", path=GENERATIONS, body=body))
    found = error(reply)

    assert (400, param, code) == (reply.status, found["param"], found["code"])
    assert found["message"].startswith(message)


SELECTING: list[tuple[Mapping[str, Any], str, str]] = [
    ({}, "svg.model", "missing_required_parameter"),
    ({"svg": {}}, "svg.model", "missing_required_parameter"),
    ({"svg": {"model": ""}}, "svg.model", "empty_string"),
    ({"svg": {"model": "a", "style": "flat"}}, "svg.style", "unknown_parameter"),
    ({"svg": {"model": "a", "reasoning": {"effort": "huge"}}}, "svg.reasoning.effort",
     "invalid_value"),
    ({"svg": {"model": "a", "reasoning": {"depth": 1}}}, "svg.reasoning.depth",
     "unknown_parameter"),
    ({"svg": {"model": "a", "reasoning": "high"}}, "svg.reasoning", "invalid_type"),
    ({"svg": "a"}, "svg", "invalid_type"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "param", "code"), SELECTING)
def test_svg_author_is_checked_where_it_may_be_chosen(
    given: Mapping[str, Any], param: str, code: str
) -> None:
    """With model selection on, `svg` needs a model and knows its own fields only."""
    sandbox = Sandbox(today=lambda: TODAY, svg_model_selection=True)
    found = error(sandbox.send(generate(**SVG, **given)))

    assert (param, code) == (found["param"], found["code"])


def job(
    *, previews: bool = False, today: date = TODAY, selecting: bool = False, **body: Any
) -> Job:
    """The accepted job."""
    policy = Policy(
        models=Models.load(),
        today=today,
        previews=previews,
        svg_model_selection=selecting,
        uploads=Uploads(lambda: 0),
    )
    return accept(generate(**body), "generation", policy)


ACCEPTED: list[Mapping[str, Any]] = [
    {"size": "816x816"},
    {"size": "3840x2160", "quality": "max"},
    {"size": "3072x1024"},
    {"prompt": "x" * 32_000, "n": 10},
    {"background": "transparent", "output_format": "webp", "output_compression": 0},
    {"output_compression": 100},
    {"complexity": "high"},
    {"model": MINI, "size": "1024x1536", "quality": "high"},
    {"model": OLD, "background": "transparent"},
    *[{"model": NEW, "background": "transparent", "output_format": each}
      for each in ("png", "webp", "gif", "svg")],
    {**GIF, "size": "960x960", "frame_count": 4, "frame_duration_ms": 700_000},
    {**GIF, "size": "512x512", "frame_count": 16},
    {**GIF, "size": "720x720", "frame_count": 16},
    {**GIF, "size": "816x816", "frame_count": 12},
    {"n": None, "size": None, "quality": None, "background": None, "output_format": None,
     "output_compression": None, "moderation": None, "complexity": None, "stream": None,
     "partial_images": None, "safety_identifier": None, "frame_count": None, "svg": None},
]  # fmt: skip


@pytest.mark.parametrize("given", ACCEPTED)
def test_documented_requests_are_accepted(given: Mapping[str, Any]) -> None:
    """The edges of what is documented are let through."""
    accepted = job(**given)

    assert given.get("n") in {None, accepted.n}
    assert given.get("size") in {None, f"{accepted.width}x{accepted.height}"}


def test_defaults_are_filled_in() -> None:
    """What is left out becomes what the service would choose."""
    accepted = job()

    assert (accepted.width, accepted.height) == (1024, 1024)
    assert (
        accepted.quality, accepted.format, accepted.compression, accepted.n,
    ) == ("medium", "png", 100, 1)  # fmt: skip


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({"prompt": "mountains at dawn"}, (1536, 1024)),
        ({"prompt": "portrait of a robot"}, (1024, 1536)),
        ({"prompt": "a cup of tea", "size": "auto"}, (1024, 1024)),
        (GIF, (512, 512)),
    ],
)
def test_automatic_size_follows_the_prompt(given: Mapping[str, Any], size: tuple[int, int]) -> None:
    """``auto``, or no size, becomes a size that suits the image."""
    accepted = job(**given)

    assert size == (accepted.width, accepted.height)


def test_previews_can_be_granted() -> None:
    """A project with access to previews gets what is refused by default."""
    assert job(previews=True, model=SECOND, background="transparent").transparent
    assert job(previews=True, output_format="gif").format == "gif"


def test_safety_identifier_wins_over_user() -> None:
    """`user` is used only when there is no safety identifier."""
    assert job(safety_identifier="a", user="b").safety_identifier == "a"
    assert job(safety_identifier="", user="b").safety_identifier == "b"
    assert job(user="").safety_identifier is None


@pytest.mark.parametrize("model", [OLD, MINI, "chatgpt-image-latest"])
def test_todays_date_retires_models(model: str) -> None:
    """What answers on 30 November does not exist on 1 December."""
    assert model == job(model=model, today=date(2026, 11, 30)).spec.id
    reply = Sandbox(today=lambda: date(2026, 12, 1)).send(generate(model=model))

    assert (reply.status, error(reply)["type"]) == (400, USER)
    assert error(reply)["message"] == f"The model '{model}' does not exist."


def test_generations_take_no_form(sandbox: Sandbox) -> None:
    """A form is the wrong kind of body for a generation."""
    form = HttpRequest(
        method="POST",
        path=GENERATIONS,
        body={"model": MODEL, "prompt": "x"},
        files=(part("image", b"x"),),
    )
    found = error(sandbox.send(form))

    assert found["code"] == "unsupported_content_type"
    assert found["message"].startswith("Unsupported content type: 'multipart/form-data'.")


def test_svg_choice_reaches_the_job() -> None:
    """The author model is kept, for the usage that names it."""
    chosen = {"model": "gpt-5.6-sol", "reasoning": {"effort": "low"}}

    assert job(selecting=True, **SVG, svg=chosen).svg_model == "gpt-5.6-sol"


def test_drawing_is_chosen_by_name() -> None:
    """`Sandbox(draw="plain")` draws a palette image; any other name is refused."""
    plain, scene = (
        Image.from_bytes(b64decode(json.loads(made.send(generate()).body)["data"][0]["b64_json"]))
        for made in (Sandbox(draw="plain"), Sandbox())
    )

    assert (plain.size, plain.to_pil().mode) == (scene.size, "P")
    assert plain.nbytes < scene.nbytes / 5
    with pytest.raises(ConfigurationError, match="'scene' or 'plain'"):
        Sandbox(draw="sketch")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # that is the test
