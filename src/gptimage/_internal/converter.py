"""One cattrs converter for every JSON file: strict about types, exact about time and money."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin


if TYPE_CHECKING:
    from cattrs import Converter


T = TypeVar("T")


def to_json(value: object) -> Any:
    """Turn an attrs value into what JSON can say: times in ISO 8601, money as text, no bytes."""
    return converter().unstructure(value)


def from_json(value: object, kind: type[T]) -> T:
    """Build an attrs value from JSON.

    Raises:
        ValueError: A field is missing or of another type; the message names each.
    """
    from cattrs.errors import BaseValidationError
    from cattrs.v import transform_error

    try:
        return converter().structure(value, kind)
    except BaseValidationError as error:
        raise ValueError("; ".join(transform_error(error))) from None


@functools.cache
def converter() -> Converter:
    """Return the converter, made once.

    cattrs would read "3" as a number, 3 as a text, and any value as a flag. A file that was
    damaged or written by hand must be refused by name instead.
    """
    from cattrs import Converter

    made = Converter()
    kinds: tuple[type[object], ...] = (str, int, bool, bytes)
    for kind in kinds:
        made.register_structure_hook(kind, _exactly(kind))
    made.register_structure_hook(float, _number)
    made.register_structure_hook(datetime, _moment)
    made.register_structure_hook(Decimal, _amount)
    made.register_structure_hook(StrEnum, _member)  # the hook of str would give plain text
    made.register_structure_hook_factory(_is_array, _array)
    made.register_structure_hook(Path, lambda value, _: Path(_text(value)))
    made.register_unstructure_hook(datetime, datetime.isoformat)
    made.register_unstructure_hook(Decimal, str)
    made.register_unstructure_hook_func(_is_path, str)
    return made


def _exactly(kind: type[T]) -> Callable[[object, Any], T]:
    def hook(value: object, _: Any) -> T:
        if type(value) is not kind:
            raise TypeError(f"{kind.__name__} expected, not {type(value).__name__}")
        return value

    return hook


def _member(value: object, kind: Any) -> object:
    return kind(value)


def _is_array(kind: Any) -> bool:
    origin, inner = get_origin(kind), get_args(kind)
    return origin is list or (origin is tuple and inner[1:] == (...,))


def _array(kind: Any, made: Any) -> Callable[[object, Any], object]:
    """Refuse a text where a list is expected: cattrs would take it letter by letter."""
    from cattrs.cols import list_structure_factory

    several = list_structure_factory(kind, made)

    def hook(value: object, _: Any) -> object:
        if not isinstance(value, list):
            raise TypeError(f"a list expected, not {type(value).__name__}")
        found: list[object] = several(value, kind)
        return get_origin(kind)(found)

    return hook


def _number(value: object, _: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError(f"a number expected, not {type(value).__name__}")
    return float(value)  # type: ignore[arg-type]  # checked above by exact type


def _moment(value: object, _: Any) -> datetime:
    found = datetime.fromisoformat(_text(value))
    if found.tzinfo is None:
        raise ValueError("a time without a zone")
    return found


def _amount(value: object, _: Any) -> Decimal:
    try:
        found = Decimal(_text(value))
    except InvalidOperation:
        raise ValueError("not an amount") from None
    if not found.is_finite():
        raise ValueError("not an amount")
    return found


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text expected, not {type(value).__name__}")
    return value


def _is_path(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Path)
