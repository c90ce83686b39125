"""Votes of a sheet, recorded in the store: the winner of each prompt, and of which version."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from gptimage._internal.text import one_line
from gptimage.compare.matrix import TAG, tag_of
from gptimage.compare.sheet import FORMAT
from gptimage.errors import InvalidRequestError
from gptimage.store import Store
from gptimage.store.names import is_id


WINNER: Final = "winner"
"""The tag of an image that was voted the best of its prompt."""

_MAX_BYTES: Final = 5_000_000


@frozen(kw_only=True)
class Standing:
    """How often a model and quality won.

    Attributes:
        model: The model.
        quality: The quality, or None.
        wins: Prompts it was voted the best for.
        votes: Prompts that were voted on in which it took part.
    """

    model: str
    quality: str | None
    wins: int
    votes: int


def record(store: Store, votes: str | os.PathLike[str]) -> tuple[Standing, ...]:
    """Tag the winners in the store; doing it twice changes nothing.

    The winner of each prompt gets the tags ``winner``, ``winner-of-`` with the comparison's name,
    and ``prompt-`` with the prompt's name and version.

    Args:
        store: Where the images are.
        votes: The file that a sheet exported.

    Returns:
        How often each model and quality won, the best first.

    Raises:
        InvalidRequestError: It is no such file, or the store has none of its winners; nothing was
            tagged.
        StoreError: The store cannot be read or written.
        OSError: The file cannot be read.
    """
    title, rows = _read(Path(votes))
    wins: dict[tuple[str, str | None], list[int]] = {}
    tags: dict[str, list[str]] = {}
    for row in rows:
        if row.winner is None:
            continue
        for place, (model, quality, _) in enumerate(row.candidates):
            count = wins.setdefault((model, quality), [0, 0])
            count[0] += place == row.winner
            count[1] += 1
        id = row.candidates[row.winner][2]
        if id is not None:
            name = f"prompt-{row.prompt[:60]}@{row.version[:30]}"
            own = tag_of(title).removeprefix(TAG)
            tags.setdefault(id, [WINNER]).extend([f"{WINNER}-of-{own}", one_line(name)])
    _check_images(store, tags)
    for id, words in tags.items():
        store.tag(id, *words)
    found = [
        Standing(model=model, quality=quality, wins=won, votes=total)
        for (model, quality), (won, total) in wins.items()
    ]
    return tuple(sorted(found, key=lambda each: (-each.wins, each.model, each.quality or "")))


@frozen(kw_only=True)
class _Row:
    prompt: str
    version: str
    winner: int | None
    candidates: tuple[tuple[str, str | None, str | None], ...]


def _read(path: Path) -> tuple[str, list[_Row]]:
    """Read a file of votes, trusting nothing in it: anybody may have written it."""
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    try:
        if len(data) > _MAX_BYTES:
            raise ValueError("it is larger than 5 MB")
        found: Any = json.loads(data)
        if found["format"] != FORMAT:
            raise ValueError(f"its format is {found['format']!r:.20}, not {FORMAT}")
        return _text(found["title"]), [_row(each) for each in found["votes"]]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise InvalidRequestError(
            f"{path.name} is no file of votes that a sheet exported ({error}); nothing was tagged",
            field="votes",
        ) from error


def _row(value: Any) -> _Row:
    candidates = tuple(
        (_text(each["model"]), _maybe(each["quality"]), _maybe(each["id"]))
        for each in value["candidates"]
    )
    winner = value["winner"]
    if winner is not None and not (type(winner) is int and 0 <= winner < len(candidates)):
        raise ValueError(f"winner {winner!r:.20} is none of the images")
    return _Row(
        prompt=_text(value["prompt"]),
        version=_text(value["version"]),
        winner=winner,
        candidates=candidates,
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value


def _maybe(value: object) -> str | None:
    return None if value is None else _text(value)


def _check_images(store: Store, ids: Iterable[str]) -> None:
    """Refuse a file whose winners are not all here, before anything is tagged."""
    found = list(ids)
    if not found:
        raise InvalidRequestError(
            "no vote names an image of a store: draw the comparison with a store, and vote in its "
            "sheet; nothing was tagged",
            field="votes",
        )
    for id in found:
        if not is_id(id) or id not in store:
            raise InvalidRequestError(
                f"the store has no image {id[:60]!r}: was it drawn into another one? Nothing was "
                "tagged",
                field="votes",
                value=id,
            )
