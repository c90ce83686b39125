"""Validation of the image endpoints, as strict as the service is known to be.

Written from OpenAI's documentation and from recorded replies, independently of the
library's own checks, so that each keeps the other honest. Where a feature is in preview
or no source says whether a model has it, it is refused unless previews are granted: a
program that passes here is not refused there.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import date
from typing import Any, Final, Literal, TypedDict

from attrs import evolve, field, frozen

from gptimage.image.codecs import load, open_file, orientation, without_texts
from gptimage.models.catalog import Models, ModelSpec
from gptimage.models.sizes import SizeRule
from gptimage.sandbox.failures import (
    CONTACT,
    ErrorReply,
    duplicate,
    missing,
    quoted_list,
    refusal,
    unknown,
    user_error,
    wrong_type,
)
from gptimage.sandbox.job import InputImage, Job
from gptimage.sandbox.scene import read_scene
from gptimage.sandbox.wire import Reader, accepted, is_multipart, nested
from gptimage.transport.http import FilePart, HttpRequest


# The images of an edit: found in the form or the JSON body, and proved to be images.

_MAX_INPUTS: Final = 16
_MAX_BYTES: Final = 50_000_000
"""Below 50 MB, read strictly as decimal megabytes."""
_MAX_MASK_BYTES: Final = 4_000_000
"""Below 4 MB by the reference; a guide says 50 MB, and the smaller one is safe."""
_MAX_URL: Final = 20_971_520
_MAX_PIXELS: Final = 120_000_000
"""A guard against bombs; the service's own limit is not published."""
_TYPES: Final = ("image/jpeg", "image/png", "image/webp")
FORMATS: Final = ("PNG", "JPEG", "WEBP")
_PIL_TYPES: Final = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
_DATA_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w-]+=[^;,]*)*;base64,", re.IGNORECASE)


class Found(TypedDict):
    """The images of one request."""

    inputs: tuple[InputImage, ...]
    mask: InputImage | None
    markup: InputImage | None


def collect(
    request: HttpRequest, read: Reader, spec: ModelSpec, uploads: Mapping[str, bytes]
) -> Found:
    """Find and check every image of an edit.

    Raises:
        Refusal: One is missing, is not an image, or does not fit the others.
    """
    parts = _from_form(request) if read.form else _from_json(read, uploads)
    inputs = tuple(_decoded(part, number + 1) for number, part in enumerate(parts["images"]))
    mask, markup = (parts[name][0] if parts[name] else None for name in ("mask", "markup"))
    if mask and markup:
        raise user_error("'markup' cannot be combined with 'mask'.", "markup")
    if markup and spec.markup == "no":
        raise user_error(f"The model '{spec.id}' does not support 'markup'.", "markup")
    return Found(
        inputs=inputs,
        mask=_overlay(mask, inputs[0], "mask") if mask else None,
        markup=_markup(markup, inputs[0]) if markup else None,
    )


def _from_form(request: HttpRequest) -> dict[str, list[FilePart]]:
    found: dict[str, list[FilePart]] = {"images": [], "mask": [], "markup": []}
    for part in request.files:
        kind = {"image": "images", "image[]": "images"}.get(part.name, part.name)
        if kind not in found or part.name == "images":
            raise unknown(part.name[:200])
        found[kind].append(part)
        if part.name != "image[]" and len(found[kind]) > 1:
            raise duplicate(part.name)
    if not found["images"]:
        raise missing("image")
    if len(found["images"]) > _MAX_INPUTS:
        raise refusal("too_many", "image", limit=_MAX_INPUTS, length=len(found["images"]))
    for number, part in enumerate(found["images"]):
        _check_file(
            part, f"image[{number}]" if part.name == "image[]" else "image", _TYPES, _MAX_BYTES
        )
    for name, limit in (("mask", _MAX_MASK_BYTES), ("markup", _MAX_BYTES)):
        for part in found[name]:
            _check_file(part, name, ("image/png",), limit)
    return found


def _check_file(part: FilePart, name: str, types: tuple[str, ...], limit: int) -> None:
    if part.content_type not in types:
        kind = part.content_type[:100]
        raise refusal("mimetype", name, kind=kind, listed=quoted_list(types))
    if len(part.data) >= limit:
        raise refusal("file_too_large", name, limit=limit // 1_000_000)


def _from_json(read: Reader, uploads: Mapping[str, bytes]) -> dict[str, list[FilePart]]:
    if "images" not in read.body:
        raise missing("images")
    if not isinstance(read.body["images"], list):
        raise wrong_type("images", "an array of objects", read.body["images"])
    images = read.array("images")
    if not images:
        raise refusal("empty_array", "images")
    if len(images) > _MAX_INPUTS:
        raise refusal("too_many", "images", limit=_MAX_INPUTS, length=len(images))
    found = {"images": [_referenced(each, uploads, _MAX_BYTES) for each in read.objects("images")]}
    for name, limit in (("mask", _MAX_MASK_BYTES), ("markup", _MAX_BYTES)):
        given = read.object(name)
        found[name] = [] if given is None else [_referenced(given, uploads, limit)]
    return found


def _referenced(read: Reader, uploads: Mapping[str, bytes], limit: int) -> FilePart:
    """Return the image an object with ``image_url`` or ``file_id`` stands for."""
    name = read.prefix[:-1]
    read.only(("image_url", "file_id"))
    url, file_id = read.image_source(_MAX_URL)
    if file_id is not None:
        if file_id not in uploads:
            message = f"No such File object: {file_id[:100]}"
            raise ErrorReply(message, param=f"{name}.file_id", status=404)
        part = FilePart(name=name, filename=file_id, content_type="", data=uploads[file_id])
    else:
        part = _from_url(url or "", name)
        _check_file(part, name, _TYPES, limit)
    if len(part.data) >= limit:
        _check_file(part, name, (part.content_type,), limit)
    return part


def image_at(url: str, name: str) -> InputImage:
    """Return the input image of a data URL.

    Raises:
        ErrorReply: It is none, or cannot be fetched: the sandbox has no network.
    """
    part = _from_url(url, name)
    if (image := decoded_image(part.data, part.content_type)) is None:
        raise ErrorReply(f"{name}: it is no image", param=name)
    return image


def _from_url(url: str, name: str) -> FilePart:
    if match := _DATA_URL.match(url):
        try:
            data = base64.b64decode(url[match.end() :], validate=True)
        except (binascii.Error, ValueError) as error:
            raise refusal("base64", f"{name}.image_url") from error
        return FilePart(name=name, filename=name, content_type=match[1].lower(), data=data)
    if url.startswith(("http://", "https://")):  # the sandbox has no network: nothing is reachable
        raise refusal("download", f"{name}.image_url", url=url[:200])
    raise refusal("image_url", f"{name}.image_url")


def decoded_image(data: bytes, declared: str) -> InputImage | None:
    """Return an input image, or None when the bytes are none, or none of the declared type.

    Nobody has seen a service refuse a type that the bytes contradict, but nobody should rely on
    its not doing it.
    """
    opened = _open(data)
    if opened is None or (declared and _PIL_TYPES.get(opened.format) != declared):
        return None
    width, height = opened.size
    if orientation(opened) in {5, 6, 7, 8}:  # on their side
        width, height = height, width
    return InputImage(data=data, width=width, height=height)


def _decoded(part: FilePart, number: int) -> InputImage:
    image = decoded_image(part.data, part.content_type)
    if image is None:
        message = f"Invalid image file or mode for image {number}, please check your image file."
        param = "image" if part.name.startswith("image[") or part.name == "image" else part.name
        raise user_error(message + CONTACT, param, "invalid_image_file")
    return image


def _open(data: bytes) -> Any:
    """Return the fully decoded image, or None when the bytes are none of the accepted kinds."""
    try:
        with open_file(without_texts(data), FORMATS) as image:
            if image.width * image.height > _MAX_PIXELS or image.format not in _PIL_TYPES:
                return None
            load(image)
            return image
    except Exception:  # noqa: BLE001  # Pillow raises nearly anything on hostile bytes
        return None


def _markup(part: FilePart, first: InputImage) -> InputImage:
    image = _overlay(part, first, "markup")
    low, _high = _open(part.data).convert("RGBA").getchannel("A").getextrema()
    if low > 0:
        raise user_error(
            "Invalid markup image format - markup must contain transparent pixels",
            "markup", "invalid_markup_image_format",
        )  # fmt: skip
    return image


def _overlay(part: FilePart, first: InputImage, name: str) -> InputImage:
    """Return a PNG with an alpha channel, as large as the first input."""
    opened = _open(part.data)
    if opened is None or opened.format != "PNG":
        problem = f"{name} image must be a valid PNG file"
    elif not opened.has_transparency_data:
        problem = f"{name} image missing alpha channel"
    elif (opened.width, opened.height) != (first.width, first.height):
        problem = f"{name} size does not match image size"
    else:
        return InputImage(data=part.data, width=opened.width, height=opened.height)
    message = f"Invalid {name} image format - {problem}"
    raise user_error(message, name, f"invalid_{name}_image_format")


# Which sizes are drawn, and which one ``auto`` becomes.

_PIXELS: Final = re.compile(r"([1-9]\d{0,5})x([1-9]\d{0,5})")
_STANDARD: Final = ((1024, 1024), (1536, 1024), (1024, 1536))
_GIF_AUTO: Final = (512, 512)
_WIDE_PLACES: Final = frozenset({"hills", "sea", "city", "desert"})
_TALL: Final = re.compile(r"\b(portrait|poster|phone|story|vertical|tower|cover)\b", re.IGNORECASE)


def still_size(wanted: str, job: Job) -> tuple[int, int]:
    """Return pixels of a still image.

    Raises:
        Refusal: The model does not draw that size.
    """
    if wanted == "auto":
        return _auto(job)
    rule = job.spec.sizes
    if rule.values:
        names = ", ".join(f"{w}x{h}" for w, h in rule.values)
        if (size := _parsed(wanted)) in rule.values and size:
            return size
        raise _bad(wanted, f"Supported sizes are {names}, and auto.")
    width, height = _within_edges(wanted, job)
    _budget(wanted, width * height, job)
    return width, height


def gif_size(wanted: str, job: Job, frames: int) -> tuple[int, int]:
    """Return pixels of one frame: the limits of edges and pixels hold for the sheet of all frames.

    Raises:
        Refusal: The frames do not fit one sheet.
    """
    if wanted == "auto":
        return _GIF_AUTO
    if job.spec.sizes.values:
        return still_size(wanted, job)
    width, height = _within_edges(wanted, job)
    across, down = sheet_size(job.spec.sizes, width, height, frames)
    limit = job.spec.sizes.max_edge
    if max(across, down) > limit:
        raise _bad(wanted, f"The longest edge must be less than or equal to {limit}")
    _budget(wanted, across * down, job)
    return width, height


def sheet_size(rule: SizeRule, width: int, height: int, frames: int) -> tuple[int, int]:
    """Return pixels of the sheet the frames of a GIF share."""
    return rule.for_frames(frames).sheet(width, height)


def _within_edges(wanted: str, job: Job) -> tuple[int, int]:
    rule, size = job.spec.sizes, _parsed(wanted)
    if size is None:
        raise _bad(wanted, "Expected 'auto' or WIDTHxHEIGHT, for example '1536x864'.")
    if size[0] % rule.multiple or size[1] % rule.multiple:
        raise _bad(wanted, f"Width and height must both be divisible by {rule.multiple}")
    if max(size) > rule.max_edge:
        raise _bad(wanted, f"The longest edge must be less than or equal to {rule.max_edge}")
    if max(size) > rule.max_ratio * min(size):
        ratio = f"{rule.max_ratio:g}"
        raise _bad(wanted, f"The aspect ratio must be between 1:{ratio} and {ratio}:1")
    return size


def _budget(wanted: str, pixels: int, job: Job) -> None:
    if pixels < job.spec.sizes.min_pixels:
        raise _bad(wanted, "Requested resolution is below the current minimum pixel budget.")
    if pixels > job.spec.sizes.max_pixels:
        raise _bad(wanted, "Requested resolution exceeds the current pixel budget.")


def _parsed(wanted: str) -> tuple[int, int] | None:
    match = _PIXELS.fullmatch(wanted)
    return (int(match[1]), int(match[2])) if match else None


def _bad(wanted: str, why: str) -> ErrorReply:
    return user_error(f"Invalid size '{wanted[:100]}'. {why}", "size")


def _auto(job: Job) -> tuple[int, int]:
    """Return the standard size nearest in shape to the first input, or fitting the prompt."""
    if job.inputs:
        shape = math.log(job.inputs[0].width / job.inputs[0].height)
        return min(_STANDARD, key=lambda size: abs(math.log(size[0] / size[1]) - shape))
    if _TALL.search(job.prompt):
        return 1024, 1536
    scene = read_scene(job.prompt)
    wide = scene.place in _WIDE_PLACES and (scene.subject is None or scene.named_place)
    return (1536, 1024) if wide else (1024, 1024)


_PROMPT_LIMIT: Final = 32_000
_QUALITIES: Final = ("low", "medium", "high", "xhigh", "max", "auto")
_BACKGROUNDS: Final = ("transparent", "opaque", "auto")
_FORMATS: Final = ("png", "jpeg", "webp", "gif", "svg")
_LEVELS: Final = ("low", "medium", "high")
_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

_COMMON: Final = frozenset(accepted("images", "parameters"))
_GENERATION: Final = _COMMON | {"moderation"}
# `moderation` is in the specification's JSON body of an edit and not in the SDK's multipart
# signature; the form was reported to refuse it in 2025, and two current clients send it there.
_EDIT_FORM: Final = _COMMON | {"moderation", "input_fidelity"}
_EDIT_JSON: Final = _EDIT_FORM | {"images", "mask", "markup"}


@frozen(kw_only=True)
class Policy:
    """The permissions of this project, like a real account's settings.

    Attributes:
        models: The catalogue.
        today: The day that decides which models have been shut down.
        previews: Whether features in preview, or undocumented for a model, are granted.
        svg_model_selection: Whether the author model of an SVG may (and must) be chosen.
        uploads: Uploaded files by id.
        draw: ``scene`` or ``plain``, as `Job.draw`.
        drift: As `Job.drift`.
    """

    models: Models
    today: date
    previews: bool
    svg_model_selection: bool
    uploads: Mapping[str, bytes]
    draw: Literal["scene", "plain"] = "scene"
    drift: Mapping[str, float] = field(factory=dict[str, float])


def accept(request: HttpRequest, operation: Literal["generation", "edit"], policy: Policy) -> Job:
    """Return the job a request asks for.

    Raises:
        Refusal: A rule is broken; it holds the service's reply.
    """
    form = is_multipart(request)
    if operation == "generation" and form:
        raise refusal("json_only")
    read = Reader(nested(request.body) if form else request.body, form)
    files = {part.name.removesuffix("[]") for part in request.files}
    read.only(_GENERATION if operation == "generation" else _EDIT_FORM if form else _EDIT_JSON)
    prompt = read.text("prompt", limit=_PROMPT_LIMIT, required=True)
    job = Job(
        operation=operation,
        prompt=prompt or "",
        spec=_model(read, policy),
        n=read.whole("n", 1, 10) or 1,
        width=0,
        height=0,
        quality=read.choice("quality", _QUALITIES) or "auto",
        transparent=read.choice("background", _BACKGROUNDS) == "transparent",
        format=read.choice("output_format", _FORMATS) or "png",
        complexity=read.choice("complexity", _LEVELS) or "medium",
        stream=read.flag("stream"),
        partials=read.whole("partial_images", 0, 3) or 0,
        safety_identifier=read.text("safety_identifier") or _user(read),
        fidelity=read.choice("input_fidelity", ("high", "low")) or "low",
        draw=policy.draw,
        drift=policy.drift,
    )
    read.choice("moderation", ("low", "auto"))
    _judge(read, job, policy, files)
    if operation == "edit":
        job = evolve(job, **collect(request, read, job.spec, policy.uploads))
    return _completed(read, job, policy)


def _user(read: Reader) -> str | None:
    """Return the deprecated `user`, which unlike the other parameters may not be null."""
    if "user" in read.body and read.body["user"] is None:
        raise wrong_type("user", "a string", None)
    return read.text("user") or None


def _model(read: Reader, policy: Policy) -> ModelSpec:
    """Return the model's entry.

    Leaving it out used to mean dall-e-2, which is gone; the documentation now says
    "specify a model explicitly", and the strict reading is that one must. For retired
    models this reply was recorded; that an id which never existed gets the same one is
    inferred from its text.
    """
    name = read.text("model", required=True) or ""
    spec = policy.models.get(name)
    if spec is None or spec.state(policy.today) == "shut_down":
        raise user_error(f"The model '{name[:100]}' does not exist.", "model")
    return spec


def _judge(read: Reader, job: Job, policy: Policy, files: AbstractSet[str]) -> None:
    """Check what depends on more than one parameter, or on the model."""
    _quality_and_background(job, policy)
    _format(read, job, policy)
    _complexity_and_fidelity(read, job, policy)
    if job.partials and not job.stream:  # recorded: 0 is let through
        raise user_error(
            "'partial_images' is only supported when 'stream' is true.", "partial_images"
        )
    if job.format == "gif":
        _gif(read, job, masked="mask" in files or read.given("mask"))
    if job.format == "svg":
        _svg(read, job, policy)
    elif read.given("svg"):
        raise user_error("'svg' is only supported when 'output_format' is 'svg'.", "svg")
    for name in ("frame_count", "frame_duration_ms"):
        if read.given(name) and job.format != "gif":
            raise user_error(f"'{name}' is only supported when 'output_format' is 'gif'.", name)


def _quality_and_background(job: Job, policy: Policy) -> None:
    model = job.spec.id
    if job.quality not in (*job.spec.qualities, "auto"):
        raise user_error(f"The model '{model}' does not support quality '{job.quality}'", "quality")
    if not job.transparent:
        return
    if job.spec.transparent != "yes" and not (policy.previews and job.spec.transparent != "no"):
        raise user_error("Transparent background is not supported for this model.", "background")
    if job.format not in job.spec.transparent_formats:
        message = f"Transparent background is not supported for {job.format.upper()} output format"
        raise user_error(message, "background")


def _format(read: Reader, job: Job, policy: Policy) -> None:
    allowed = job.spec.formats + (job.spec.undocumented_formats if policy.previews else ())
    if job.format not in allowed:
        message = f"The model '{job.spec.id}' does not support output format '{job.format}'"
        raise user_error(message, "output_format")
    compression = read.whole("output_compression", 0, 100)
    if compression is None or job.format in {"jpeg", "webp"}:
        return
    if job.format == "png":  # recorded: 100, the default, is let through
        if compression < 100:
            message = "Compression less than 100 is not supported for PNG output format"
            raise user_error(message, "output_compression", "invalid_png_output_compression")
        return
    message = f"'output_compression' is not supported for {job.format.upper()} output format"
    raise user_error(message, "output_compression")


def _complexity_and_fidelity(read: Reader, job: Job, policy: Policy) -> None:
    model, spec = job.spec.id, job.spec
    # Its documentation names no model, so "unknown" is let through here.
    if read.given("complexity") and spec.complexity == "no":
        raise user_error(
            f"The model '{model}' does not support the 'complexity' parameter.", "complexity"
        )
    if not read.given("input_fidelity"):
        return
    allowed = spec.input_fidelity + (spec.undocumented_fidelity if policy.previews else ())
    if not allowed:
        message = f"The model '{model}' does not support the 'input_fidelity' parameter."
        raise user_error(message, "input_fidelity", "invalid_input_fidelity_model")
    if job.fidelity not in allowed:
        message = f"The model '{model}' does not support input fidelity '{job.fidelity}'"
        raise user_error(message, "input_fidelity")


def _gif(read: Reader, job: Job, *, masked: bool) -> None:
    for name, given in (
        ("stream", job.stream),
        ("partial_images", job.partials > 0),
        ("mask", masked),
    ):
        if given:
            raise user_error(f"'{name}' is not supported for GIF output format", name)


def _svg(read: Reader, job: Job, policy: Policy) -> None:
    if job.n != 1:
        raise user_error("SVG output format requires 'n' to be 1", "n")
    for name, given in (("stream", job.stream), ("partial_images", job.partials > 0)):
        if given:
            raise user_error(f"'{name}' is not supported for SVG output format", name)
    if read.given("svg") and not policy.svg_model_selection:
        raise user_error("SVG model selection is not enabled for this project; omit 'svg'.", "svg")
    if policy.svg_model_selection:
        author = read.object("svg") or Reader({}, read.form, "svg.")
        author.only(("model", "reasoning"))
        author.text("model", required=True)
        if reasoning := author.object("reasoning"):
            reasoning.only(("effort",))
            reasoning.choice("effort", _EFFORTS)


def _completed(read: Reader, job: Job, policy: Policy) -> Job:
    """Return the job with its size, and with what only its format uses."""
    frames = read.whole("frame_count", 2, 16) or 9
    frame_ms = read.whole("frame_duration_ms", 1, 10**9) or 200
    size = read.text("size")
    wanted = "auto" if size is None else size
    if job.format == "gif":
        width, height = gif_size(wanted, job, frames)
    else:
        width, height = still_size(wanted, job)
    author = read.object("svg") if policy.svg_model_selection else None
    compression = read.whole("output_compression", 0, 100)
    return evolve(
        job,
        width=width,
        height=height,
        frames=frames,
        frame_ms=frame_ms,
        quality="medium" if job.quality == "auto" else job.quality,
        compression=100 if compression is None else compression,
        svg_model=author.text("model") if author else None,
    )
