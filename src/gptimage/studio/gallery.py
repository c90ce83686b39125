"""The images of the store for the page: pages of a search, one image with its family, changes."""

from __future__ import annotations

import html
import json
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

from gptimage._internal import atomic
from gptimage._internal.text import shorten
from gptimage.errors import ImageDecodeError, InvalidRequestError
from gptimage.image import Image, previews
from gptimage.image.contact_sheet import contact_sheet
from gptimage.store import Filters, Store
from gptimage.types.record import Record


PAGE: Final = 300
"""Images of one page of the list."""

THUMBNAILS: Final = (384, 768, 1536)
"""Long edges of the small versions that are made, in pixels."""

_THUMBNAIL_BYTES: Final = 400_000
_EXPORT: Final = 500
_WEB_WIDTHS: Final = (480, 960, 1440, 1920)
_JOB: Final = "job:"


def list_images(store: Store, query: Mapping[str, str]) -> dict[str, Any]:
    """Return one page of images, newest first.

    Args:
        store: The store.
        query: ``text`` to search for, ``cursor`` of the page before, and the filters ``model``,
            ``tag``, ``operation``, ``format``, ``pinned``, ``since`` and ``until`` (days); or
            alone the id of an image to which others are ``similar``, the nearest first.

    Raises:
        InvalidRequestError: A value makes no sense.
        StoreError: The store cannot be read.
    """
    given: Any = {name: value for name, value in query.items() if value}
    if similar := given.pop("similar", None):
        if given:
            raise InvalidRequestError("similar stands alone, without filters", field="similar")
        # By its record: given a text that is no id, the store would read a file of this machine.
        images = [summary(each.record) for each in store.similar(store.get(similar), PAGE)]
        return {"images": images, "next": None, "unhashed": store.stats().unhashed}
    cursor, text = given.pop("cursor", None), given.pop("text", "").strip()
    for name in given.keys() - Filters.__annotations__.keys():
        raise InvalidRequestError(f"{name!r:.40} is no filter of images", field=name)
    for name in given.keys() & {"since", "until"}:
        given[name] = _day(name, given[name])
    if (pinned := given.get("pinned")) in ("true", "false"):
        given["pinned"] = pinned == "true"
    find = partial(store.search, text) if text else store.history
    page = find(PAGE, cursor=cursor, **given)
    return {"images": [summary(record) for record in page], "next": page.next}


def summary(record: Record) -> dict[str, Any]:
    """Return what a tile of the gallery shows."""
    share = record.cost_share
    return {
        "id": record.id,
        "prompt": shorten(record.prompt, 300),
        "alt": record.alt,
        "width": record.width,
        "height": record.height,
        "format": record.format,
        "model": record.model,
        "operation": record.operation,
        "created": record.created.isoformat(),
        "tags": [tag for tag in record.tags if not tag.startswith(_JOB)],
        "pinned": record.pinned,
        "cost_usd": None if share is None else str(share.usd),
        "sandbox": record.sandbox,
    }


def describe(store: Store, id: str) -> dict[str, Any]:
    """Return everything that is known of an image, and its whole family as a tree.

    Raises:
        ImageNotFoundError: No image has this id.
        StoreError: The store cannot be read.
    """
    record = store.get(id)
    lineage = store.lineage(record)
    family = {each.id: each for each in (*lineage.ancestors, record, *lineage.descendants)}
    if lineage.ancestors:  # with the other branches that began where this one did
        first = min(lineage.ancestors, key=lambda one: one.id)
        family |= {each.id: each for each in store.lineage(first).descendants}
    by_bytes: dict[str, str] = {}
    tree: list[dict[str, Any]] = []
    for each in sorted(family.values(), key=lambda one: one.id):
        sources = [by_bytes[sha256] for sha256 in each.sources if sha256 in by_bytes]
        parent = each.parent or (sources[0] if sources else None)
        tree.append({**summary(each), "parent": parent})
        by_bytes[each.sha256] = each.id
    facts = record.to_dict()
    facts["tags"] = summary(record)["tags"]
    return {**summary(record), "prompt": record.prompt, "facts": facts, "family": tree}


def change(store: Store, id: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Pin or unpin an image, add or take tags, or write its alt text; return its summary.

    Raises:
        InvalidRequestError: A value makes no sense, or there is nothing to change.
        ImageNotFoundError: No image has this id.
        StoreError: It cannot be changed.
    """
    if not wanted or wanted.keys() - {"pinned", "tag", "untag", "alt"}:
        given = ", ".join(sorted(wanted)) or "nothing"
        message = f"pinned, tag, untag and alt can be changed, not {given}"
        raise InvalidRequestError(message, field="body")
    if not isinstance(pinned := wanted.get("pinned", False), bool):
        raise InvalidRequestError("pinned is true or false", field="pinned", value=pinned)
    record = store.get(id)
    if "pinned" in wanted:
        record = store.pin(record) if pinned else store.unpin(record)
    for name, alter in (("tag", store.tag), ("untag", store.untag)):
        if tag := wanted.get(name):
            record = alter(record, tag)
    if "alt" in wanted:
        record = store.set_alt(record, wanted["alt"])
    return summary(record)


def thumbnail(store: Store, folder: Path, id: str, pixels: int) -> Path | None:
    """Return the file of a small version, made when it is first needed.

    Args:
        store: The store.
        folder: Where small versions are.
        id: The image.
        pixels: Its long edge, one of `THUMBNAILS`.

    Returns:
        A JPEG or WebP; None for an svg, which is never drawn here.

    Raises:
        ImageNotFoundError: No image has this id.
        ImageDecodeError: Its file is damaged.
        StoreError: It cannot be read.
    """
    record = store.get(id)
    # Named by the bytes: two stores with the same image share it, and it never goes stale.
    path = folder / record.sha256[:2] / f"{record.sha256}-{pixels}"
    if path.is_file():
        return path
    if record.format == "svg":
        return None
    small = previews([store.open(record)], max_px=pixels, max_bytes=_THUMBNAIL_BYTES)[0]
    if small is None:
        raise ImageDecodeError("the image is damaged, or too small to be recognised")
    path.parent.mkdir(exist_ok=True, mode=0o700)
    atomic.replace(path, small.data, fsync=False)
    return path


def export(store: Store, ids: Sequence[str], kind: str, file: IO[bytes]) -> str:
    """Write images into a file for download; return the name to offer.

    Args:
        store: The store.
        ids: The images, 1 to 500.
        kind: ``originals`` (a ZIP with files and sidecars), ``web`` (a ZIP with WebP and
            JPEG files in several widths and an ``index.html`` that chooses by ``srcset``) or
            ``sheet`` (a PNG).
        file: Where it is written.

    Raises:
        InvalidRequestError: There are no images, too many, or the kind is unknown.
        ImageNotFoundError: An image is gone.
        StoreError: One cannot be read.
    """
    if not 1 <= len(ids) <= _EXPORT:
        raise InvalidRequestError(
            f"choose 1 to {_EXPORT} images, not {len(ids)}", field="ids", allowed=f"1 to {_EXPORT}"
        )
    if kind == "sheet":
        records = [store.get(id) for id in ids]
        labels = [shorten(each.prompt or each.id, 60) for each in records]
        file.write(contact_sheet([store.open(each) for each in records], labels=labels).data)
        return "contact-sheet.png"
    if kind not in ("originals", "web"):
        allowed = ("originals", "web", "sheet")
        raise InvalidRequestError(
            f"{kind!r:.40} is no kind of export", field="kind", allowed=allowed
        )
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        snippets: list[str] = []
        for id in ids:
            record = store.get(id)
            image = store.open(record)
            if kind == "originals":
                archive.writestr(f"{record.id}.{image.extension}", image.data)
                sidecar = json.dumps(record.to_sidecar(), indent=2, ensure_ascii=False)
                archive.writestr(f"{record.id}.json", sidecar)
            else:
                snippets.append(_for_web(archive, record, image))
        if kind == "web":
            archive.writestr("index.html", _WEB_PAGE.format("\n".join(snippets)))
    return f"gptimage-{kind}.zip"


_WEB_PAGE: Final = '<!doctype html>\n<meta charset="utf-8">\n<title>Images</title>\n{}\n'


def _for_web(archive: zipfile.ZipFile, record: Record, image: Image) -> str:
    """Write an image in several widths; return the HTML that shows the one that fits."""
    alt = shorten(record.prompt, 200) if record.alt is None else record.alt
    if image.format in ("svg", "gif"):
        name = f"{record.id}.{image.extension}"  # scales by itself, or moves
        archive.writestr(name, image.data)
        return f'<img src="{name}" alt="{html.escape(alt, quote=True)}" loading="lazy">'
    # No AVIF: somebody waits for this, and it takes ten times as long.
    web = image.for_web(_WEB_WIDTHS, alt=alt, name=record.id, formats=("webp", "jpeg"))
    for file in web.files:
        archive.writestr(file.name, file.data)
    return web.html


def save_upload(folder: Path, data: bytes) -> dict[str, Any]:
    """Save an image that was dropped on the page, once it is proved to be one.

    Raises:
        ImageDecodeError: It is none, or damaged.
        OSError: It cannot be written.
    """
    image = Image.from_bytes(data)
    image.verify()
    path = folder / f"{image.sha256}.{image.extension}"
    if path.is_file():
        path.touch()  # it is used again, see `open_studio`
    else:
        atomic.replace(path, data)
    return {
        "source": f"upload:{image.sha256}",
        "width": image.width,
        "height": image.height,
        "format": image.format,
    }


def find_upload(folder: Path, source: str) -> Path:
    """Return the file of an upload; nothing else of this machine can be named.

    Raises:
        InvalidRequestError: There is none of this name.
    """
    digest = source.removeprefix("upload:")
    if len(digest) == 64 and set(digest) <= set("0123456789abcdef"):
        for path in folder.glob(f"{digest}.*"):
            return path
    raise InvalidRequestError(
        "an uploaded image is gone: drop it on the page again", field="images", value=source
    )


def _day(name: str, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequestError(
            f"{name} {text!r:.40} is no day: write it like 2026-11-20", field=name, value=text
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
