"""What the page can ask for: models with the parameters each takes, sizes and templates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gptimage.models.catalog import ModelSpec
from gptimage.models.sizes import PRESETS
from gptimage.providers import DEFAULT, Provider, provider
from gptimage.types.parameters import PARAMETERS, Operation, Parameter


if TYPE_CHECKING:
    from gptimage.studio.context import Studio

_ELSEWHERE: Final = frozenset(
    ["prompt", "model", "images", "mask", "outside", "safety_identifier", "extra_body", "svg"]
)
"""Parameters that the page shows in another way, or that belong to programs."""


def catalogue(studio: Studio) -> dict[str, Any]:
    """Return everything the forms are built from, as JSON values."""
    service = provider(studio.provider or DEFAULT)
    models = studio.estimator.models().for_provider(service.rows)
    today = studio.estimator.clock().date()
    default = studio.model or service.default_model or models.default
    return {
        "models": [_model(spec, service) for spec in models if spec.state(today) != "shut_down"],
        "default_model": default,
        "sizes": {name: f"{width}x{height}" for name, (width, height) in PRESETS.items()},
        "templates": [
            {
                "name": template.name,
                "title": template.title,
                "description": template.description,
                "arguments": [argument.describe() for argument in template.arguments],
            }
            for template in studio.templates.values()
        ],
    }


def _model(spec: ModelSpec, service: Provider) -> dict[str, Any]:
    return {
        "id": spec.id,
        "shutdown": spec.shutdown and spec.shutdown.isoformat(),
        "parameters": {each: parameters(spec, each, service) for each in ("generate", "edit")},
    }


def parameters(spec: ModelSpec, operation: Operation, service: Provider) -> list[dict[str, Any]]:
    """Return the parameters that a model takes there, and of each only the values it takes."""
    taken = service.parameters - _ELSEWHERE
    rows = [row for row in PARAMETERS.values() if row.name in taken]
    found = [_described(row, spec) for row in rows if operation in row.operations]
    return [each for each in found if each is not None]


def _described(row: Parameter, spec: ModelSpec) -> dict[str, Any] | None:
    formats = (*spec.formats, *spec.undocumented_formats)
    choices = {
        "quality": (*spec.qualities, "auto"),
        "format": formats,
        "background": [
            each for each in row.choices if each != "transparent" or spec.transparent != "no"
        ],
        "input_fidelity": (*spec.input_fidelity, *spec.undocumented_fidelity),
        "complexity": row.choices if spec.complexity != "no" else (),
    }.get(row.name, row.choices)
    if row.kind == "choice" and not choices:
        return None
    if row.formats and not set(row.formats) & set(formats):
        return None
    if row.name == "markup" and spec.markup == "no":
        return None
    same = {name: getattr(row, name) for name in ("name", "kind", "help", "least", "most")}
    return {**same, "choices": list(choices), "formats": list(row.formats)}
