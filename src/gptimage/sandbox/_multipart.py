"""Splits a multipart form body (RFC 7578) strictly, in one pass."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from gptimage.transport.http import FilePart


_BOUNDARY: Final = re.compile(r'boundary=(?:"([^"\r\n]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_NAME: Final = re.compile(rb'[;\s]name="((?:[^"\\\r\n]|\\.)*)"', re.IGNORECASE)
_FILENAME: Final = re.compile(rb'[;\s]filename="((?:[^"\\\r\n]|\\.)*)"', re.IGNORECASE)
_TYPE: Final = re.compile(rb"^content-type:[ \t]*([^\r\n;]+)", re.IGNORECASE | re.MULTILINE)
_HEADER_LIMIT: Final = 8192
_PART_LIMIT: Final = 1000


def split(body: bytes | bytearray, content_type: str) -> tuple[dict[str, object], list[FilePart]]:
    """The text fields and the files of a form.

    A field given several times becomes a list.

    Raises:
        ValueError: The body is not a whole, well-formed form.
    """
    fields: dict[str, object] = {}
    files: list[FilePart] = []
    for head, data in _parts(body, content_type):
        if not (name := _NAME.search(head)):
            raise ValueError("a part has no name")
        key = _unquoted(name[1])
        if filename := _FILENAME.search(head):
            kind = _TYPE.search(head)
            mime = kind[1].strip().lower().decode("latin-1") if kind else "text/plain"
            files.append(
                FilePart(name=key, filename=_unquoted(filename[1]), content_type=mime, data=data)
            )
            continue
        text = data.decode("utf-8")
        if key in fields:
            earlier = fields[key]
            fields[key] = [*earlier, text] if isinstance(earlier, list) else [earlier, text]
        else:
            fields[key] = text
    return fields, files


def _parts(body: bytes | bytearray, content_type: str) -> Iterator[tuple[bytes, bytes]]:
    """Headers and content of each part; every byte of the body is looked at once."""
    if not (found := _BOUNDARY.search(content_type)):
        raise ValueError("no boundary")
    mark = b"--" + (found[1] or found[2]).encode("latin-1")
    if not body.startswith(mark):
        raise ValueError("the body does not begin with its boundary")
    at = len(mark)
    for _ in range(_PART_LIMIT):
        if body[at : at + 2] == b"--":
            return
        head_end = body.find(b"\r\n\r\n", at, at + _HEADER_LIMIT)
        if body[at : at + 2] != b"\r\n" or head_end < 0:
            raise ValueError("a part has no headers")
        end = body.find(b"\r\n" + mark, head_end + 2)
        if end < 0:
            raise ValueError("the form is cut short")
        yield bytes(body[at + 2 : head_end]), bytes(memoryview(body)[head_end + 4 : end])
        at = end + 2 + len(mark)
    raise ValueError("too many parts")


def _unquoted(text: bytes) -> str:
    plain = re.sub(rb"\\(.)", rb"\1", text).decode("utf-8", "replace")
    return plain.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")
