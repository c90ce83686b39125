"""Sidecars: the JSON file beside every picture, which is the truth the index is built from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from attrs import frozen

from gptimage.models.pricing import Cost, Usage
from gptimage.store.ids import find_id, time_of
from gptimage.store.keys import SIDECAR, is_part, stem
from gptimage.types.record import USAGE_FIELDS, Original, Record


T = TypeVar("T")

TOMBSTONE: Final = "deleted"
"""A sidecar with this field belongs to a picture that is being removed."""


@frozen
class Sidecar:
    """A sidecar that was read.

    Attributes:
        record: The record.
        deleted: Whether its picture is being removed.
    """

    record: Record
    deleted: bool = False


class UnreadableSidecarError(ValueError):
    """The file is no sidecar of this library, or a damaged one."""


def dump(record: Record, *, deleted: bool = False) -> bytes:
    """The bytes of a sidecar: JSON people can read, UTF-8, two spaces of indent."""
    values = record.to_json()
    if deleted:
        values[TOMBSTONE] = True
    text = json.dumps(values, ensure_ascii=False, indent=2, default=str) + "\n"
    try:
        return text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which only escapes can say
        return (json.dumps(values, indent=2, default=str) + "\n").encode()


def load(data: bytes, *, key: str, folder: Path | None) -> Sidecar:
    """Read a sidecar, trusting nothing in it: the file may have been changed by anybody.

    Args:
        data: The file.
        key: Its name in the store; its pictures lie beside it.
        folder: The store's local folder, if it has one.

    Raises:
        UnreadableSidecarError: It is not one, or it is damaged.
    """
    try:
        parsed: object = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UnreadableSidecarError(f"no JSON: {error}") from error
    values = cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else {}
    if not isinstance(values.get("gptimage"), int):
        raise UnreadableSidecarError("JSON, but not written by gptimage")
    try:
        return Sidecar(_record(_Fields(values), key, folder), values.get(TOMBSTONE) is True)
    except (TypeError, ValueError, RecursionError) as error:
        raise UnreadableSidecarError(str(error)) from error


class _Fields:
    """Values of a JSON object by name and kind; what was not asked for is left over."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._left = dict(values)

    def get(self, name: str, kind: type[T]) -> T:
        value = self._left.pop(name, None)
        # bool is an int to Python, but not to a reader of JSON.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise TypeError(f"{name} is {value!r:.60}, not {kind.__name__}")
        return value

    def maybe(self, name: str, kind: type[T]) -> T | None:
        if self._left.get(name) is None:
            self._left.pop(name, None)
            return None
        return self.get(name, kind)

    def texts(self, name: str) -> tuple[str, ...]:
        values: list[object] = self.get(name, list)  # pyright: ignore[reportUnknownVariableType]  # each is judged below
        return tuple(_text(name, value) for value in values)

    def table(self, name: str) -> dict[str, Any] | None:
        return self.maybe(name, dict)  # pyright: ignore[reportUnknownVariableType]  # JSON keys are text

    def made(self, name: str, make: Callable[[str], T]) -> T:
        return make(self.get(name, str))

    def rest(self) -> dict[str, object]:
        left = dict(self._left)
        left.pop("gptimage", None)
        left.pop(TOMBSTONE, None)
        return left


def _record(fields: _Fields, key: str, folder: Path | None) -> Record:
    picture = _beside(key, fields.get("file", str))
    fields.maybe("created", str)  # the id says the same
    return Record(
        id=(id := _id(key, fields.get("id", str))),
        created=time_of(id),
        made=fields.made("made", _moment),
        operation=fields.get("operation", str),
        request=fields.table("request") or {},
        model=fields.get("model", str),
        usage=_usage(fields.table("usage")),
        cost=_cost(fields.maybe("cost_usd", str), fields.maybe("cost_is_upper_bound", bool)),
        key=picture,
        format=fields.get("format", str),
        width=fields.maybe("width", int),
        height=fields.maybe("height", int),
        bytes=fields.get("bytes", int),
        sha256=fields.get("sha256", str),
        original=_original(key, fields.table("original")),
        sources=fields.texts("sources"),
        parent=fields.maybe("parent", str),
        response_id=fields.maybe("response_id", str),
        call_id=fields.maybe("call_id", str),
        index=fields.get("index", int),
        of=max(1, fields.get("of", int)),
        tags=fields.texts("tags"),
        pinned=fields.get("pinned", bool),
        provenance=fields.get("provenance", bool),
        template=fields.maybe("template", str),
        version=fields.get("version", str),
        warnings=fields.texts("warnings"),
        request_id=fields.maybe("request_id", str),
        path=folder.joinpath(*picture.split("/")) if folder else None,
        extra=fields.rest(),
    )


def _id(key: str, id: str) -> str:
    if find_id(key.rpartition("/")[2]) != id:
        raise ValueError(f"it says {id!r:.80}, which is not the id in its name")
    return id


def _beside(key: str, name: str) -> str:
    """The key of a file next to the sidecar; anything else is an attempt to point elsewhere."""
    base = key.removesuffix(SIDECAR)
    found = f"{key.rpartition('/')[0]}/{name}"
    if not is_part(name) or stem(found) != base or found == key:
        raise ValueError(f"file {name!r:.80} does not belong to this sidecar")
    return found


def _original(key: str, values: Mapping[str, Any] | None) -> Original | None:
    if values is None:
        return None
    fields = _Fields(values)
    return Original(
        key=_beside(key, fields.get("file", str)),
        format=fields.get("format", str),
        width=fields.maybe("width", int),
        height=fields.maybe("height", int),
        bytes=fields.get("bytes", int),
        sha256=fields.get("sha256", str),
    )


def _usage(values: Mapping[str, Any] | None) -> Usage | None:
    if values is None:
        return None
    fields = _Fields(values)
    return Usage(
        input_tokens=fields.get("input_tokens", int),
        output_tokens=fields.get("output_tokens", int),
        total_tokens=fields.get("total_tokens", int),
        **{name: fields.maybe(name, int) for name in USAGE_FIELDS[3:]},
    )


def _cost(usd: str | None, upper_bound: bool | None) -> Cost | None:
    if usd is None:
        return None
    try:
        amount = Decimal(usd)
    except InvalidOperation:
        raise ValueError(f"cost_usd {usd!r:.40} is no amount") from None
    if not amount.is_finite() or not 0 <= amount < 1_000_000:
        raise ValueError(f"cost_usd {usd!r:.40} is no amount a call can cost")
    return Cost(usd=amount, upper_bound=upper_bound is not False)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time {text!r:.40} has no time zone")
    return moment


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} holds {value!r:.60}, not text")
    return value
