"""Judges a request before it is sent: every documented rule, one small function each.

A rule that is documented is enforced; where the sources disagree or are silent the
request is sent with a warning, because the service knows better. Models that are not
in the catalogue are only checked for what holds on any service.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date
from typing import Final, cast

from gptimage._internal.json import canonical
from gptimage._internal.text import closest
from gptimage.errors import InvalidRequestError, ModelRetiredError, truncated_repr
from gptimage.image.image import Image
from gptimage.image.mask import Mask
from gptimage.models.catalog import ModelSpec
from gptimage.types.inputs import API_FORMATS, MAX_BYTES
from gptimage.types.parameters import BOTH, MAX_IMAGES, MAX_PROMPT, PARAMETERS
from gptimage.types.request import Edit, FileRef, Generate


_LARGEST: Final = 2**53
"""Whole numbers beyond it are not the same to every JSON reader."""
_HALF: Final = "it holds half a character (a lone surrogate), which cannot be sent"
_DEFAULT_FORMAT: Final = "png"
SPELLING_CUTOFF: Final = 0.8
"""How alike a misspelt model and the one it may mean must be."""

Warnings = Iterator[str]
Rule = Callable[[Generate, ModelSpec], Warnings]


def validate(
    request: Generate, spec: ModelSpec | None, today: date, known: Collection[str] = ()
) -> tuple[str, ...]:
    """Refuse what cannot work; return what the caller should know.

    Args:
        request: What was asked.
        spec: What is known of its model, or None.
        today: The day, for shutdown dates.
        known: Names of models, one of which may be meant by a misspelt one.

    Raises:
        InvalidRequestError: A rule is broken: names the field, the value and what is allowed.
        ModelRetiredError: The model has been shut down.
    """
    _check_types(request)
    if spec is None:
        close = closest(request.model, known, cutoff=SPELLING_CUTOFF)
        meant = f" (did you mean {close}?)" if close else ""
        unknown = f"{request.model} is not in this library's catalogue{meant}"
        return (f"{unknown}: sent unchecked, no estimate",)
    found = list(_check_not_retired(request, spec, today))
    if spec.offered == "unknown":
        found.append(f"no source says that {spec.provider} has {spec.id}; sent as given")
    for rule in _RULES:
        found += rule(request, spec)
    return tuple(found)


def _check_types(request: Generate) -> None:
    """Check what holds for any model: types, and parameters that only make sense together."""
    for row in PARAMETERS.values():
        if row.kind in _CHECKS and hasattr(request, row.name):
            _CHECKS[row.kind](row.name, getattr(request, row.name))
    if request.n is not None and request.n < 1:
        raise refuse("n", request.n, "at least one image must be requested", "1 to 10")
    if request.partial_images is not None and not request.stream:
        raise refuse(
            "partial_images", request.partial_images, "previews need stream()", "none here"
        )
    _extra(request)
    if isinstance(request, Edit):
        _images(request)
        _outside(request)


def _whole(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _LARGEST:
        raise refuse(name, value, "it must be a whole number", "int")


def _text(name: str, value: object) -> None:
    if value is None and name not in ("prompt", "model"):  # which every request has
        return
    if not isinstance(value, str) or not value.strip():
        raise refuse(name, value, "it must be text", "a non-empty string")
    if "\0" in value:  # left by a broken export; services and databases cut the text there
        raise refuse(name, value, "it has a null character (U+0000) in it", "text without one")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise refuse(name, value, _HALF, "Unicode text") from error


def _json(name: str, value: object) -> None:
    if value is None:
        return
    given = _mapping(value)
    if not all(isinstance(key, str) for key in given):
        raise refuse(name, value, "it must be a mapping with text as keys", "a dict")
    try:
        canonical(dict(given)).decode()
    except UnicodeDecodeError as error:
        raise refuse(name, value, _HALF, "Unicode text") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise refuse(name, value, f"it must be JSON ({error})", "JSON values") from error


def _mapping(value: object) -> Mapping[object, object]:
    return cast("Mapping[object, object]", value) if isinstance(value, Mapping) else {None: value}


def _extra(request: Generate) -> None:
    for name in request.extra_body or ():
        if name in _WIRE_NAMES:
            advice = f"use {_WIRE_NAMES[name]}"
            raise refuse("extra_body", name, f"it may not set {name!r}: {advice}", "unknown fields")


def _images(request: Edit) -> None:
    """An edit that was built by hand holds images that were read already."""
    if not isinstance(request.images, tuple) or not request.images:  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise refuse("images", request.images, "an edit starts from images", "1 to 16 images")
    for name, kinds, given in (
        ("images", (Image, FileRef), request.images),
        ("mask", (Mask, FileRef), (request.mask,)),
        ("markup", (Image, FileRef), (request.markup,)),
    ):
        for each in given:
            if each is not None and not isinstance(each, kinds):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
                allowed = " or ".join(kind.__name__ for kind in kinds)
                raise refuse(name, each, "it must be read first, as edit() does", allowed)
    first = request.images[0]
    if not isinstance(first, Image) or first.original is None:
        return
    if first.original.format == "svg" and first.original.size != first.size:
        for name in ("mask", "markup"):
            if getattr(request, name) is not None:
                problem = "its pixels are not those of the png that is sent for an svg"
                raise refuse(name, f"a {name}", problem, "with the svg saved as png first")


def _outside(request: Edit) -> None:
    """What is put back must be at hand: this library does it, and no service."""
    value, choices = request.outside, PARAMETERS["outside"].choices
    if value is None:
        return
    if value not in choices:
        raise refuse("outside", value, "it is not known", choices)
    if request.mask is None:
        raise refuse("outside", value, "a mask says where nothing may change", "with mask=")
    if isinstance(request.mask, FileRef) or isinstance(request.images[0], FileRef):
        problem = "the first image and the mask must be at hand, not uploaded files"
        raise refuse("outside", value, problem, "the images themselves")
    if request.format in ("gif", "svg"):
        raise refuse("outside", value, f"{request.format} output has none", "png, jpeg or webp")


def _check_not_retired(request: Generate, spec: ModelSpec, today: date) -> Warnings:
    if spec.shutdown is None:
        return
    instead = spec.replacement_hint
    if spec.state(today) == "shut_down":
        raise ModelRetiredError(
            f"{spec.id} was shut down on {spec.shutdown}{instead}",
            model=request.model,
            shutdown_date=spec.shutdown,
            replacements=spec.replacements,
        )
    yield f"{spec.id} shuts down on {spec.shutdown}{instead}"


def _prompt(request: Generate, spec: ModelSpec) -> Warnings:
    length = len(request.prompt)
    if length > MAX_PROMPT:
        problem = f"it has {length:,} characters; {spec.id} reads at most {MAX_PROMPT:,}"
        raise refuse("prompt", request.prompt, problem, f"at most {MAX_PROMPT:,} characters")
    yield from ()


def _limits(request: Generate, spec: ModelSpec) -> Warnings:
    """Numbers within their limits, and parameters of one format with that format."""
    del spec
    written = request.format or _DEFAULT_FORMAT
    for row in PARAMETERS.values():
        value = getattr(request, row.name, None)
        if value is None:
            continue
        if row.formats and written not in row.formats:
            wanted = " or ".join(map(repr, row.formats))
            problem = f"it belongs to {' and '.join(row.formats)}, and the format is {written}"
            raise refuse(row.name, value, problem, f"format={wanted}")
        whole = row.kind == "whole" and row.least is not None and row.most is not None
        if whole and not row.least <= value <= row.most:
            raise refuse(row.name, value, "it is out of range", row.allowed)
    yield from ()


def _choices(request: Generate, spec: ModelSpec) -> Warnings:
    """Parameters with a fixed list of values."""
    lists: dict[str, tuple[str, ...]] = {
        row.name: row.choices
        for row in PARAMETERS.values()
        if row.kind == "choice" and row.operations == BOTH
    }
    # Where a model has none, its provider has no such parameter, and refuses it.
    lists["quality"] = (*spec.qualities, "auto") if spec.qualities else ()
    lists["format"] = (*spec.formats, *spec.undocumented_formats)
    for name, allowed in lists.items():
        value = getattr(request, name)
        if value is not None and allowed and value not in allowed:
            raise refuse(name, value, f"{spec.id} does not take it", allowed)
    if request.format in spec.undocumented_formats:
        yield f"no source says that {spec.id} draws {request.format}; sent as given"


def _size(request: Generate, spec: ModelSpec) -> Warnings:
    if request.size is None or request.size.dimensions is None:
        return
    width, height = spec.sizes.covering(*request.size.dimensions)
    limit = spec.sizes.experimental_pixels
    if limit and width * height > limit:
        yield f"{width}x{height} is above 2560x1440, which the service calls experimental"


def _transparency(request: Generate, spec: ModelSpec) -> Warnings:
    if request.background != "transparent":
        return
    if (request.format or _DEFAULT_FORMAT) not in spec.transparent_formats:
        problem = f"{request.format} cannot be transparent on {spec.id}"
        allowed = " or ".join(map(repr, spec.transparent_formats))
        raise refuse("background", "transparent", problem, f"format={allowed}")
    if request.format == "gif":
        yield "a pixel of a gif is transparent or it is not: edges are hard; webp and png blend"
    yield from _supported("background", "transparent", spec.transparent, spec)


def _complexity(request: Generate, spec: ModelSpec) -> Warnings:
    if request.complexity is not None:
        yield from _supported("complexity", request.complexity, spec.complexity, spec)


def _partials(request: Generate, spec: ModelSpec) -> Warnings:
    del spec
    if request.stream and request.effective_n > 1:
        yield "no source says how several images of one call are streamed; sent as given"


def _gif(request: Generate, spec: ModelSpec) -> Warnings:
    del spec
    if request.format != "gif":
        return
    _no_stream(request)
    if isinstance(request, Edit) and request.mask is not None:
        raise refuse("mask", "a mask", "gif output takes no mask", "format='png'")
    duration = request.frame_duration_ms
    if duration is not None and duration % 10:
        yield f"the service rounds frame_duration_ms={duration} to the nearest 10 milliseconds"


def _svg(request: Generate, spec: ModelSpec) -> Warnings:
    if request.format != "svg":
        return
    _no_stream(request)
    if request.effective_n != 1:
        raise refuse("n", request.n, "one call draws one svg", "1")
    if request.svg is not None and not isinstance(request.svg.get("model"), str):
        problem = "it must name the author model, or be left out"
        raise refuse("svg", request.svg, problem, "{'model': '...'}")
    if isinstance(request, Edit):
        # OpenAI's package lists svg for edits, too; whoever measured it says otherwise.
        yield "the service is reported to draw svg only for generate(); an edit may be refused"


def _no_stream(request: Generate) -> None:
    if request.stream:
        problem = f"{request.format} output cannot be streamed"
        raise refuse("format", request.format, problem, "png, jpeg or webp")


def _edit(request: Generate, spec: ModelSpec) -> Warnings:
    if not isinstance(request, Edit):
        return
    most = min(MAX_IMAGES, spec.max_inputs)
    if len(request.images) > most:
        problem = f"{len(request.images)} images were given"
        raise refuse("images", len(request.images), problem, f"1 to {most} images")
    for image in request.images:
        if isinstance(image, Image) and image.format not in API_FORMATS:
            raise refuse("images", image.format, "it is no input format", API_FORMATS)
        if isinstance(image, Image) and image.nbytes >= MAX_BYTES:
            raise refuse("images", image.nbytes, "the file is too large", "less than 50 MB")
    if request.markup is not None:
        if request.mask is not None:
            raise refuse("markup", "a markup", "it cannot be combined with mask", "one of both")
        yield from _supported("markup", "a markup", spec.markup, spec)
    yield from _fidelity(request, spec)


def _fidelity(request: Edit, spec: ModelSpec) -> Warnings:
    value = request.input_fidelity
    if value is None or value in spec.input_fidelity:
        return
    if value in spec.undocumented_fidelity:
        yield f"no source says that {spec.id} takes input_fidelity; sent as given"
        return
    allowed = spec.input_fidelity or "leave it out"
    raise refuse("input_fidelity", value, f"{spec.id} does not take it", allowed)


def _supported(field: str, value: object, support: str, spec: ModelSpec) -> Warnings:
    if support == "no":
        raise refuse(field, value, f"{spec.id} does not take it", "another model")
    if support == "preview":
        yield f"{field}={value} is a preview on {spec.id}; accounts without access are refused"
    if support == "unknown":
        yield f"no source says that {spec.id} takes {field}={value}; sent as given"


def refuse(
    field: str, value: object, problem: str, allowed: str | tuple[str, ...]
) -> InvalidRequestError:
    """Return the error about a parameter that says what is wrong with it and what is allowed."""
    hint = allowed if isinstance(allowed, str) else ", ".join(map(str, allowed))
    if field == "prompt":  # a person's own words belong in no log, and errors end in logs
        value = f"<{len(value)} characters>" if isinstance(value, str) else type(value).__name__
    shown = value if field == "prompt" else truncated_repr(value)
    message = f"{field}={shown}: {problem}; allowed: {hint}"
    return InvalidRequestError(message, field=field, value=value, allowed=allowed)


_RULES: Final[tuple[Rule, ...]] = (
    _prompt,
    _choices,
    _limits,
    _size,
    _transparency,
    _complexity,
    _partials,
    _gif,
    _svg,
    _edit,
)

_CHECKS: Final[Mapping[str, Callable[[str, object], None]]] = {
    "text": _text,
    "choice": _text,
    "whole": _whole,
    "json": _json,
}

_WIRE_NAMES: Final[Mapping[str, str]] = {
    **{row.wire: row.name for row in PARAMETERS.values() if row.wire},
    "prompt": "the prompt",
    "stream": "stream()",
    "image": "images",
}
