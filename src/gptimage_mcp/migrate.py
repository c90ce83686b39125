"""``gptimage-mcp migrate DIR``: saves the images of four older servers in the store.

lansespirit/image-gen-mcp has a JSON file beside each image, or in ``metadata``;
AiondaDotCom/mcp-openai-image has one beside it; naporin0624/gpt-image-1-mcp has images alone;
pavelsukhachev/mcp-server-gpt-image has base64 in JSON files. What was written by these programs
is data of others: whatever is not understood is left out, and the files are only read.
"""

from __future__ import annotations

import base64
import binascii
import json
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from attrs import field, frozen

import gptimage


DONE: Final = 0
SOME_LEFT: Final = 1

TAG: Final = "migrated"

_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".svg"})
_LARGEST_SIDECAR: Final = 1 << 20
_LARGEST_JSON: Final = 256 << 20
_DEEPEST: Final = 12
_BASE64: Final = ("iVBORw0KGgo", "/9j/", "UklGR", "R0lGOD", "data:image/")
"""How the base64 of a PNG, JPEG, WebP or GIF begins, or the URL that holds it."""

_PROMPTS: Final = ("prompt", "originalPrompt", "revised_prompt", "revisedPrompt")
_TIMES: Final = ("created_at", "createdAt", "timestamp", "created")
_OPTIONS: Final = ("quality", "background", "moderation")


@frozen(kw_only=True)
class FoundImage:
    """An image of an older server.

    Attributes:
        path: The file it is in.
        data: Its bytes, if they are not all that is in the file.
        known: What the older server wrote about it.
    """

    path: Path
    data: bytes | None = field(default=None, repr=False)
    known: Mapping[str, object] = field(repr=False)


def run(folder: Path, store: gptimage.Store | None, *, dry_run: bool = False) -> int:
    """Save every image in a folder and below it that the store does not have, and say so.

    Args:
        folder: The folder of the older server.
        store: Where to save them; None where a dry run has no store yet.
        dry_run: Whether only to say what would be saved.

    Returns:
        0, or 1 if a file that looked like an image could not be saved.
    """
    saved = known = left = 0
    seen: set[str] = set()
    for found in find_images(folder):
        name = found.path.relative_to(folder).as_posix()
        try:
            image = gptimage.Image.from_bytes(found.data or found.path.read_bytes())
            if image.sha256 in seen or (store is not None and store.find_identical(image.sha256)):
                known += 1
                continue
            seen.add(image.sha256)
            if store is not None and not dry_run:
                store.save(_result(image, found, name), tags=(TAG,))
        except (gptimage.GptImageError, OSError) as error:  # the others are saved all the same
            left += 1
            print(f"not saved: {name}: {error}", file=sys.stderr)
            continue
        saved += 1
        print(f"{'would be saved' if dry_run else 'saved'}: {name}")
    verb = "would be saved" if dry_run else "saved"
    print(f"{saved} images {verb}, {known} were in the store already, {left} could not be read")
    return SOME_LEFT if left else DONE


def find_images(folder: Path) -> Iterator[FoundImage]:
    """Iterate over the images in a folder and below it, with what is known of each."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    sidecars = {_sidecar(path, folder) for path in files if path.suffix.lower() in _SUFFIXES}
    for path in files:
        if path.suffix.lower() in _SUFFIXES:
            sidecar = _sidecar(path, folder)
            known = _read_json(sidecar, _LARGEST_SIDECAR) if sidecar else None
            yield FoundImage(path=path, known=_as_mapping(known))
        elif path.suffix.lower() == ".json" and path not in sidecars:
            yield from _embedded(path, _read_json(path, _LARGEST_JSON), {}, 0)


def _sidecar(image: Path, folder: Path) -> Path | None:
    name = f"{image.stem}.json"
    places = (image.with_name(name), folder / "metadata" / name)
    return next((place for place in places if place.is_file()), None)


def _read_json(path: Path, largest: int) -> object:
    try:
        if path.stat().st_size > largest:
            return None
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _embedded(
    path: Path, value: object, known: Mapping[str, object], depth: int
) -> Iterator[FoundImage]:
    """Iterate over the images a JSON file holds as base64, with what stands around each."""
    if depth > _DEEPEST:
        return
    if isinstance(value, str):
        if value.startswith(_BASE64) and (data := _decoded(value)):
            yield FoundImage(path=path, data=data, known=known)
    elif isinstance(value, dict):
        members = _as_mapping(cast("object", value))
        around = {**known, **{name: each for name, each in members.items() if _is_short(each)}}
        for each in members.values():
            yield from _embedded(path, each, around, depth + 1)
    elif isinstance(value, list):
        for each in cast("list[object]", value):
            yield from _embedded(path, each, known, depth + 1)


def _is_short(value: object) -> bool:
    return not isinstance(value, str) or not value.startswith(_BASE64)


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text.rpartition(",")[2], validate=True)
    except (binascii.Error, ValueError):
        return None


def _as_mapping(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}


def _result(image: gptimage.Image, found: FoundImage, name: str) -> gptimage.Result:
    """The result a call would have had; what it cost is not known."""
    known = {**_as_mapping(found.known.get("parameters")), **found.known}
    model = _text(known, "model") or "unknown"
    options: dict[str, Any] = {option: _text(known, option) for option in _OPTIONS}
    prompt = next((text for each in _PROMPTS if (text := _text(known, each))), "")
    return gptimage.Result(
        images=(image,),
        request=gptimage.Generate(prompt=prompt, model=model, **options),
        model=model,
        created=_created(known, found.path),
        warnings=(f"an older server made it and saved it as {name}; its cost is not known",),
    )


def _text(known: Mapping[str, object], name: str) -> str | None:
    value = known.get(name)
    return value if isinstance(value, str) and value else None


def _created(known: Mapping[str, object], path: Path) -> datetime:
    """When it was made; the time of its file where the older server wrote none."""
    for name in _TIMES:
        value = known.get(name)
        try:
            if isinstance(value, str):  # without a zone it is this machine's: it wrote it, too
                return datetime.fromisoformat(value).astimezone(UTC)
            if isinstance(value, int | float) and not isinstance(value, bool):
                seconds = value / 1000 if value > 1e11 else value  # JavaScript counts milliseconds
                return datetime.fromtimestamp(seconds, UTC)
        except (ValueError, OverflowError, OSError):
            continue
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)
