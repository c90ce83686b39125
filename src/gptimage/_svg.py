"""The little this library knows of SVG: that a file is one, its stated size, that it is whole.

An SVG is never drawn here. Its root tag is read with one forward pass instead of an XML
parser, because it may come from anywhere and parsers expand entities.
"""

from __future__ import annotations

import math
import re
from typing import Final

from gptimage.errors import ImageDecodeError


_HEAD: Final = 262_144
"""Bytes within which the root tag must end; comments and a doctype may precede it."""

_ROOT: Final = re.compile(r"<(?:[A-Za-z_][\w.-]{0,60}:)?svg(?=[\s/>]|$)")
_SPACES: Final = re.compile(r"\s*")
_ATTRIBUTE: Final = re.compile(r"""\s*([^\s=<>/"']{1,100})\s*=\s*(?:"([^"<]*)"|'([^'<]*)')""")
_LENGTH: Final = re.compile(r"\s*\+?(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})\s*(px|pt|pc|mm|cm|in)?\s*")
_PER_UNIT: Final = {"px": 1, "pt": 4 / 3, "pc": 16, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96}
"""Pixels per unit of length, fixed by CSS at 96 dots per inch."""


def svg_text(data: bytes) -> str:
    """The file as text, without its byte order mark."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8-sig", "replace")


def looks_like_svg(data: bytes) -> bool:
    """Whether the first element of the file is ``svg``."""
    if not data[:64].lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").startswith(b"<"):
        return False
    text = svg_text(data[:_HEAD])
    return _ROOT.match(text, _prolog_end(text)) is not None


def svg_size(data: bytes) -> tuple[int | None, int | None]:
    """Width and height in CSS pixels from the root tag; None, None when it states none.

    Percentages are no size; a missing one comes from the viewBox.

    Raises:
        ImageDecodeError: The root tag is cut short.
    """
    attributes = _root_attributes(svg_text(data[:_HEAD]))
    width, height = (_length(attributes.get(name, "")) for name in ("width", "height"))
    box = _view_box(attributes.get("viewBox", ""))
    if box is not None:
        across, down = box
        if width is None and height is None:
            width, height = across, down
        elif width is None and height is not None:
            width = height * across / down
        elif height is None and width is not None:
            height = width * down / across
    if width is None or height is None or max(width, height) > 1e9:
        return None, None
    return max(1, round(width)), max(1, round(height))


def resized(data: bytes, width: int, height: int) -> bytes:
    """The same drawing at this size in pixels: its viewBox is cut evenly to the new ratio.

    Raises:
        ImageDecodeError: Its first tag is damaged, or it is no UTF-8.
    """
    text = svg_text(data)
    if text.encode() != data.removeprefix(b"\xef\xbb\xbf"):
        raise ImageDecodeError("this svg is not written in UTF-8")
    attributes = _root_attributes(text)  # also proves that the tag is whole
    left, top, across, down = _box(attributes, *svg_size(data)) or (0, 0, width, height)
    scale = max(width / across, height / down)
    seen = (width / scale, height / scale)
    box = (left + (across - seen[0]) / 2, top + (down - seen[1]) / 2, *seen)
    root = _ROOT.match(text, _prolog_end(text))
    at = start = root.end() if root else len(text)
    kept: list[str] = []
    while match := _ATTRIBUTE.match(text, at):
        if match[1] not in {"width", "height", "viewBox"}:
            kept.append(match[0])
        at = match.end()
    shown = " ".join(f"{round(number, 4):g}" for number in box)
    sized = f' width="{width}" height="{height}" viewBox="{shown}"'
    return f"{text[:start]}{sized}{''.join(kept)}{text[at:]}".encode()


def check_svg(data: bytes) -> None:
    """Prove that the file is whole, well-formed XML, without expanding any entity.

    Raises:
        ImageDecodeError: It is not, or it declares entities.
    """
    from xml.parsers import expat

    parser = expat.ParserCreate()
    parser.EntityDeclHandler = _refuse_entities
    try:
        parser.Parse(data, True)
    except ImageDecodeError:
        raise
    except (expat.ExpatError, ValueError, LookupError) as error:  # the others: odd encodings
        raise ImageDecodeError(f"this svg is not whole or not well-formed: {error}") from error


def _refuse_entities(*_: object) -> None:
    raise ImageDecodeError("this svg declares XML entities, which can unpack without end")


def _prolog_end(text: str) -> int:
    """Where the first element starts, after XML declaration, comments and doctype."""
    at = 0
    while True:
        at = _spaces_end(text, at)
        if text.startswith("<!--", at):
            end = text.find("-->", at + 4)
        elif text.startswith("<?", at):
            end = text.find("?>", at)
        elif text.startswith("<!", at):
            end = _doctype_end(text, at)
        else:
            return at
        if end < 0:
            return len(text)
        at = text.find(">", end) + 1


def _spaces_end(text: str, at: int) -> int:
    space = _SPACES.match(text, at)
    return space.end() if space else at


def _doctype_end(text: str, at: int) -> int:
    """The ``>`` of a doctype, which may hold declarations in square brackets; -1 if open."""
    end = text.find(">", at)
    inside = text.find("[", at, max(end, at))
    if inside < 0:
        return end
    close = text.find("]", inside)
    return -1 if close < 0 else text.find(">", close)


def _root_attributes(text: str) -> dict[str, str]:
    root = _ROOT.match(text, _prolog_end(text))
    at = root.end() if root else len(text)
    found: dict[str, str] = {}
    while match := _ATTRIBUTE.match(text, at):
        found.setdefault(match[1], match[2] if match[2] is not None else match[3])
        at = match.end()
    if not text.startswith((">", "/>"), _spaces_end(text, at)):
        raise ImageDecodeError("this svg is cut short or damaged within its first tag")
    return found


def _length(text: str) -> float | None:
    match = _LENGTH.fullmatch(text)
    if not match:
        return None
    return float(match[1]) * _PER_UNIT[match[2] or "px"] or None


def _box(
    attributes: dict[str, str], width: int | None, height: int | None
) -> tuple[float, float, float, float] | None:
    """What is drawn, in the drawing's own units: left, top, width and height."""
    text = attributes.get("viewBox", "")
    if size := _view_box(text):
        left, top, _, _ = (float(part) for part in text.replace(",", " ").split())
        if math.isfinite(left) and math.isfinite(top):
            return left, top, *size
    return None if width is None or height is None else (0, 0, width, height)


def _view_box(text: str) -> tuple[float, float] | None:
    """Width and height of a viewBox; its first two numbers are an offset."""
    try:
        _, _, width, height = (float(part) for part in text.replace(",", " ").split())
    except ValueError:
        return None
    if not (math.isfinite(width) and math.isfinite(height) and width > 0 and height > 0):
        return None
    return width, height
