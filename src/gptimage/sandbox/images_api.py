"""What the image endpoints accept, as strictly as the service is known to be.

Written from OpenAI's documentation and from recorded replies, independently of the
library's own checks, so that each keeps the other honest. Where a feature is in preview
or no source says whether a model has it, it is refused unless previews are granted: a
program that passes here is not refused there.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import date
from typing import Final, Literal

from attrs import evolve, frozen

from gptimage.models.catalog import Models, ModelSpec
from gptimage.sandbox import _inputs, _sizes
from gptimage.sandbox._reader import Reader
from gptimage.sandbox._refusal import Refusal, user_error, wrong_type
from gptimage.sandbox.job import Job
from gptimage.sandbox.wire import MULTIPART, is_multipart, nested
from gptimage.transport.http import HttpRequest


_PROMPT_LIMIT: Final = 32_000
_QUALITIES: Final = ("low", "medium", "high", "xhigh", "max", "auto")
_BACKGROUNDS: Final = ("transparent", "opaque", "auto")
_FORMATS: Final = ("png", "jpeg", "webp", "gif", "svg")
_LEVELS: Final = ("low", "medium", "high")
_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

_COMMON: Final = frozenset(
    (
        "prompt", "model", "n", "size", "quality", "background", "output_format",
        "output_compression", "complexity", "safety_identifier", "user", "frame_count",
        "frame_duration_ms", "svg", "stream", "partial_images",
    )
)  # fmt: skip
_GENERATION: Final = _COMMON | {"moderation"}
_EDIT_JSON: Final = _COMMON | {"moderation", "input_fidelity", "images", "mask", "markup"}
# `moderation` is in the specification's JSON body of an edit, and not in the SDK's
# multipart signature: the strict reading is that the form does not have it.
_EDIT_FORM: Final = _COMMON | {"input_fidelity"}


@frozen(kw_only=True)
class Policy:
    """What this project may do, as a real account's settings would say.

    Attributes:
        models: The catalogue.
        today: The day that decides which models have been shut down.
        previews: Whether features in preview, or undocumented for a model, are granted.
        svg_model_selection: Whether the author model of an SVG may (and must) be chosen.
        uploads: Uploaded files by id.
    """

    models: Models
    today: date
    previews: bool
    svg_model_selection: bool
    uploads: Mapping[str, bytes]


def accept(request: HttpRequest, operation: Literal["generation", "edit"], policy: Policy) -> Job:
    """The job a request asks for.

    Raises:
        Refusal: A rule is broken; it holds the service's reply.
    """
    form = is_multipart(request)
    if operation == "generation" and form:
        raise _json_only()
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
    )
    read.choice("moderation", ("low", "auto"))
    _judge(read, job, policy, files)
    if operation == "edit":
        job = evolve(job, **_inputs.collect(request, read, job.spec, policy.uploads))
    return _completed(read, job, policy)


def _json_only() -> Refusal:
    message = (
        f"Unsupported content type: '{MULTIPART}'. This API method only accepts 'application/json'"
        f" requests, but you specified the header 'Content-Type: {MULTIPART}'. Please try again"
        " with a supported content type."
    )
    return Refusal(message, code="unsupported_content_type")


def _user(read: Reader) -> str | None:
    """The deprecated `user`, which unlike the other parameters may not be null."""
    if "user" in read.body and read.body["user"] is None:
        raise wrong_type("user", "a string", None)
    return read.text("user") or None


def _model(read: Reader, policy: Policy) -> ModelSpec:
    """The model's entry.

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
    """Everything that depends on more than one parameter, or on the model."""
    _quality_and_background(job, policy)
    _format(read, job, policy)
    _complexity_and_fidelity(read, job, policy)
    if read.given("partial_images") and not job.stream:
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
        ("partial_images", read.given("partial_images")),
        ("mask", masked),
    ):
        if given:
            raise user_error(f"'{name}' is not supported for GIF output format", name)


def _svg(read: Reader, job: Job, policy: Policy) -> None:
    if job.n != 1:
        raise user_error("SVG output format requires 'n' to be 1", "n")
    for name, given in (("stream", job.stream), ("partial_images", read.given("partial_images"))):
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
    """The job with its size, and with what only its format uses."""
    frames = read.whole("frame_count", 2, 16) or 9
    frame_ms = read.whole("frame_duration_ms", 1, 10**9) or 200
    asked = read.text("size") or "auto"
    if job.format == "gif":
        width, height = _sizes.gif(asked, job, frames)
    else:
        width, height = _sizes.still(asked, job)
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
