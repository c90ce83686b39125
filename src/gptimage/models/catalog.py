"""The catalogue of models: what each accepts, what it costs, until when it lives.

The facts are in ``models.toml``; this file only reads them. A model that is not
listed is not refused: it is sent with a warning, unchecked and without an estimate.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal

from attrs import evolve, field, frozen

from gptimage._internal.atomic import open_file
from gptimage._internal.data import data_file
from gptimage.errors import ConfigurationError
from gptimage.models.sizes import SizeRule


Support = Literal["yes", "no", "preview", "unknown"]
State = Literal["live", "deprecated", "shut_down"]

OPENAI: Final = "openai"
"""The provider whose models a catalogue lists where no other is named."""

_PATCH: Final = 32
_PATCH_BUDGET: Final = 1536
_UPSCALE_EDGE: Final = 1024


@frozen(kw_only=True)
class Price:
    """One dated price row, in USD per million tokens; None is not published.

    Attributes:
        start: The first day it holds.
        batch: Whether it is the half price of the Batch API.
        text_input: Prompt tokens.
        text_input_cached: Prompt tokens the service had cached.
        image_input: Tokens of input images.
        image_input_cached: Tokens of input images the service had cached.
        image_output: Tokens of drawn images.
        text_output: Tokens of written text.
        source: Where the figures come from.
        checked: The day they were last compared with the source.
    """

    start: date
    batch: bool = False
    text_input: Decimal
    text_input_cached: Decimal | None = None
    image_input: Decimal
    image_input_cached: Decimal | None = None
    image_output: Decimal
    text_output: Decimal | None = None
    source: str
    checked: date


@frozen(kw_only=True)
class ModelSpec:
    """The facts about one model. Every figure's source is in ``models.toml``.

    Attributes:
        id: The name sent to the service.
        family: Models of one family share rules and prices.
        role: What it is for, in a few words.
        released: The day it appeared, when known.
        snapshot: The dated model an alias stands for, when there is one.
        shutdown: The day it stops answering, or None when none is announced.
        replacements: Models to use instead, best first.
        costable_replacement: One whose cost is known beforehand, where the others' is not.
        azure_retirement: The day Azure retires it, when known.
        azure_replacements: Models to use instead there; Azure has not all of them.
        provider: Whose model it is, where its own rules depend on that.
        offered: Whether the provider has it; ``unknown`` where no source says so.
        sizes: The sizes it draws.
        qualities: Accepted qualities besides ``auto``.
        formats: Output formats it is documented to accept.
        undocumented_formats: Formats no source speaks of; sent with a warning.
        input_fidelity: Accepted values of ``input_fidelity``; empty when it must be omitted.
        undocumented_fidelity: Values no source speaks of; sent with a warning.
        transparent: Whether it draws transparent backgrounds.
        transparent_formats: Formats that can be transparent.
        complexity: Whether it takes ``complexity``.
        markup: Whether it takes a ``markup`` overlay.
        batch: Whether the Batch API draws with it.
        prices: Dated price rows, oldest first.
        output_base: Grid base per quality of the output token formula; empty when unknown.
        output_table: Output tokens per ``WxH`` and quality; empty when unknown.
        tier_tokens: Output tokens of one image per tier of its size; empty when unknown.
        counts_patches: Whether input images are counted in 32-pixel patches.
        input_image_tokens: Tokens of one input image, where all count alike.
        max_inputs: How many input images an edit takes at most.
        images_per_minute: The limit of usage tiers 1 to 5; empty when unknown.
        tokens_per_minute: The limit of usage tiers 1 to 5; empty when unknown.
        source: Where the entry comes from.
        checked: The day it was last compared with the source.
    """

    id: str
    family: str
    role: str
    released: date | None = None
    snapshot: str | None = None
    shutdown: date | None = None
    replacements: tuple[str, ...] = ()
    costable_replacement: str | None = None
    azure_retirement: date | None = None
    azure_replacements: tuple[str, ...] = ()
    provider: str = OPENAI
    offered: Support = "yes"
    sizes: SizeRule
    qualities: tuple[str, ...]
    formats: tuple[str, ...]
    undocumented_formats: tuple[str, ...] = ()
    input_fidelity: tuple[str, ...] = ()
    undocumented_fidelity: tuple[str, ...] = ()
    transparent: Support
    transparent_formats: tuple[str, ...] = ("png", "webp")
    complexity: Support
    markup: Support
    batch: Support = "unknown"
    prices: tuple[Price, ...] = ()
    output_base: Mapping[str, int] = field(factory=dict[str, int])
    output_table: Mapping[str, Mapping[str, int]] = field(factory=dict[str, Mapping[str, int]])
    tier_tokens: Mapping[str, int] = field(factory=dict[str, int])
    counts_patches: bool = False
    input_image_tokens: int | None = None
    max_inputs: int = 16
    images_per_minute: tuple[int, ...] = ()
    tokens_per_minute: tuple[int, ...] = ()
    source: str
    checked: date

    def state(self, today: date) -> State:
        """``live``, ``deprecated`` (a shutdown is announced) or ``shut_down`` (it has come)."""
        if self.shutdown is None:
            return "live"
        return "shut_down" if today >= self.shutdown else "deprecated"

    @property
    def replacement_hint(self) -> str:
        """What to use instead, as the end of a sentence; nothing where nothing is known."""
        if not self.replacements:
            return ""
        use = f"; use {' or '.join(self.replacements)}"
        if self.costable_replacement is None:
            return use
        return f"{use}, or {self.costable_replacement}, whose cost can be estimated beforehand"

    def price(self, on: date, *, batch: bool = False) -> Price | None:
        """Return the price row that holds on a day, or None when none is known."""
        rows = [row for row in self.prices if row.batch is batch and row.start <= on]
        return max(rows, key=lambda row: row.start, default=None)

    def output_tokens(self, width: int, height: int, quality: str | None) -> int | None:
        """Return tokens one drawn image uses, or None when no formula is published."""
        if self.tier_tokens:
            _, tier = self.sizes.named.get((width, height), ("", ""))
            return self.tier_tokens.get(tier)
        if quality is None:
            return None
        if base := self.output_base.get(quality):
            return _grid_tokens(base, width, height)
        return self.output_table.get(f"{width}x{height}", {}).get(quality)

    def input_tokens(self, width: int, height: int) -> int | None:
        """Return tokens one input image uses, or None when no figure is known."""
        return _patch_tokens(width, height) if self.counts_patches else self.input_image_tokens


class Models:
    """A catalogue: iterate it for `ModelSpec` values, index it by id.

    Args:
        specs: The models, in order of display.
        default: The id used when the caller names none.
        checked: The day the catalogue was last compared with its sources.
        others: Models of other providers, in order of display; see `of`.
    """

    def __init__(
        self,
        specs: tuple[ModelSpec, ...],
        *,
        default: str,
        checked: date,
        others: tuple[ModelSpec, ...] = (),
    ) -> None:
        self._by_id: dict[str, ModelSpec] = {spec.id: spec for spec in specs}
        self._others: tuple[ModelSpec, ...] = others
        self.default: str = default
        self.checked: date = checked

    @classmethod
    def load(cls, path: str | Path | None = None) -> Models:
        """Read the shipped catalogue, or a file of the same shape.

        Raises:
            ConfigurationError: The file is not a catalogue.
            OSError: It cannot be read.
        """
        if path is None:
            return _shipped()
        with open_file(path) as file:
            return _parse(file.read(), str(path))

    def for_provider(self, provider: str) -> Models:
        """Return the models of a provider, by the names it knows them by; empty for an unknown one.

        Azure has OpenAI's models, with dates and successors of its own.

        Args:
            provider: Its name; OpenAI's are those that iteration gives.
        """
        if provider == OPENAI:
            return self
        if provider == "azure":
            found = [_on_azure(spec) for spec in self if spec.azure_retirement or not spec.shutdown]
            return Models(tuple(found), default=self.default, checked=self.checked)
        if provider == "openrouter":
            makers = {"openai": self, "google": self.for_provider("gemini")}
            found = [_routed(maker, spec) for maker, models in makers.items() for spec in models]
            return Models(tuple(found), default="", checked=self.checked)
        found = [spec for spec in self._others if spec.provider == provider]
        return Models(tuple(found), default="", checked=self.checked)

    def get(self, model: str) -> ModelSpec | None:
        """Return the entry of a model, or None when it is not listed."""
        return self._by_id.get(model) if isinstance(model, str) else None  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers

    def __getitem__(self, model: str) -> ModelSpec:
        """Return the entry of a model; KeyError when it is not listed."""
        return self._by_id[model]

    def __contains__(self, model: object) -> bool:
        """Return whether a model id is listed."""
        return model in self._by_id

    def __iter__(self) -> Iterator[ModelSpec]:
        """Entries in order of display."""
        return iter(self._by_id.values())

    def __len__(self) -> int:
        """Return how many models are listed."""
        return len(self._by_id)

    def __repr__(self) -> str:
        """Return ids and the day of the check."""
        return f"Models({', '.join(self._by_id)}; checked {self.checked})"


def _on_azure(spec: ModelSpec) -> ModelSpec:
    """Return what holds for OpenAI's model on Azure, which has not all of them."""
    return evolve(
        spec,
        provider="azure",
        offered="yes" if spec.azure_retirement else "unknown",
        shutdown=spec.azure_retirement,
        replacements=spec.azure_replacements,
        costable_replacement=None,
    )


def _routed(maker: str, spec: ModelSpec) -> ModelSpec:
    """Return what holds for a model on OpenRouter, which sells it and states each cost."""
    return evolve(
        spec,
        id=f"{maker}/{spec.id}",
        provider="openrouter",
        replacements=tuple(f"{maker}/{each}" for each in spec.replacements),
        costable_replacement=None,
        prices=(),
    )


@functools.cache
def _shipped() -> Models:
    return _parse(data_file(__name__, "models.toml"), "models.toml")


def _parse(text: bytes, name: str) -> Models:
    import tomllib

    try:
        data = tomllib.loads(text.decode())
        pixels = data.get("pixels", {})
        rules = {key: _size_rule(table, pixels) for key, table in data["sizes"].items()}
        families = {table["name"]: _family(table, rules) for table in data["family"]}
        specs = tuple(_model(table, families, data["sources"]) for table in data["model"])
        own = tuple(spec for spec in specs if spec.provider == OPENAI)
        others = tuple(spec for spec in specs if spec.provider != OPENAI)
        return Models(own, default=data["default"], checked=data["checked"], others=others)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ConfigurationError(f"{name} is not a model catalogue: {error!r}") from error


def _size_rule(table: dict[str, Any], pixels: dict[str, Any]) -> SizeRule:
    if "pixels" in table:
        return _named_sizes(table, pixels[table["pixels"]])
    values = tuple(_edges(text) for text in table.get("values", ()))
    limits = {key: table[key] for key in table.keys() - {"values", "source", "checked"}}
    return SizeRule(values=values, **limits)


def _named_sizes(table: dict[str, Any], pixels: dict[str, Any]) -> SizeRule:
    """Return the rule of a service that takes ratios and tiers, with the pixels of each pair."""
    ratios, tiers = table.get("ratios", list(pixels["ratios"])), table["tiers"]
    named = {
        _edges(size): (ratio, tier)
        for ratio in ratios
        for tier, size in zip(pixels["tiers"], pixels["ratios"][ratio], strict=True)
        if tier in tiers
    }
    return SizeRule(values=tuple(named), named=named)


def _edges(text: str) -> tuple[int, int]:
    width, height = text.split("x")
    return int(width), int(height)


def _family(table: dict[str, Any], rules: dict[str, SizeRule]) -> dict[str, Any]:
    """Return the keyword arguments all models of a family share."""
    return {
        "family": table["name"],
        "sizes": rules[table["sizes"]],
        "batch": table.get("batch", "unknown"),
        "transparent_formats": tuple(table.get("transparent_formats", ("png", "webp"))),
        **{key: table[key] for key in ("transparent", "complexity", "markup")},
        **{
            key: tuple(table.get(key, ()))
            for key in (
                "qualities",
                "formats",
                "undocumented_formats",
                "input_fidelity",
                "undocumented_fidelity",
                "images_per_minute",
                "tokens_per_minute",
            )
        },
        "prices": tuple(_price(row) for row in table["prices"]),
        "output_base": table.get("output_tokens", {}),
        "output_table": table.get("output_table", {}),
        "tier_tokens": table.get("tier_tokens", {}),
        "counts_patches": table.get("input_tokens") == "patches",
        "input_image_tokens": table.get("input_image_tokens"),
        "max_inputs": table.get("max_inputs", 16),
        "checked": table["capabilities_checked"],
    }


def _price(row: dict[str, Any]) -> Price:
    money = {key: Decimal(text) for key, text in row.items() if key.endswith(_MONEY)}
    return Price(
        start=row["from"],
        batch=row.get("batch", False),
        source=row["source"],
        checked=row["checked"],
        **money,
    )


_MONEY: Final = ("_input", "_output", "_cached")


def _model(
    table: dict[str, Any], families: dict[str, dict[str, Any]], sources: dict[str, str]
) -> ModelSpec:
    own = {
        key: table[key]
        for key in table.keys() - {"family", "replacements", "azure_replacements", "source"}
    }
    source = "; ".join(sources[key] for key in table["source"].split(", "))
    return ModelSpec(
        **families[table["family"]],
        **own,
        replacements=tuple(table.get("replacements", ())),
        azure_replacements=tuple(table.get("azure_replacements", ())),
        source=source,
    )


def _grid_tokens(base: int, width: int, height: int) -> int:
    """OpenAI's own calculator for gpt-image-2 and 2.5 (facts: 120 of 120 price rows exact).

    Python rounds halves to even, as that calculator does.
    """
    short = round(base * min(width, height) / max(width, height))
    return math.ceil(base * short * (2_000_000 + width * height) / 4_000_000)


def _patch_tokens(width: int, height: int) -> int:
    """32-pixel patches after enlarging the long edge to 1024 pixels, at most 1536 of them."""
    scale = max(1.0, _UPSCALE_EDGE / max(width, height))
    patches = [math.ceil(edge * scale / _PATCH) for edge in (width, height)]
    if patches[0] * patches[1] <= _PATCH_BUDGET:
        return patches[0] * patches[1]
    return _shrunk_patches(width, height)


def _shrunk_patches(width: int, height: int) -> int:
    """Patches of an image scaled down until it fits the budget, whole patches per edge."""
    scale = math.sqrt(_PATCH_BUDGET * _PATCH * _PATCH / (width * height))
    across, down = (edge * scale / _PATCH for edge in (width, height))
    fit = min(math.floor(across) / across, math.floor(down) / down)
    return math.ceil(across * fit) * math.ceil(down * fit)
