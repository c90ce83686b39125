"""Whether a file carries a C2PA manifest: signed statements of where a picture comes from.

Only its presence is looked for, where the C2PA specification puts it in each format
(https://spec.c2pa.org, "Embedding manifests into various file formats"). Nothing is
decoded, one pass over the file's chunks, each step bounded by the file's length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from gptimage.image.formats import gif_blocks, jpeg_segments, png_chunks, riff_chunks


def has_c2pa(data: bytes, format: str) -> bool:
    """Whether a manifest is embedded; False for formats that cannot hold one."""
    look = _LOOK.get(format)
    return look is not None and look(data)


def _png(data: bytes) -> bool:
    return any(name == b"caBX" and end > start for name, start, end in png_chunks(data))


def _jpeg(data: bytes) -> bool:
    """APP11 segments hold JUMBF boxes; the first one of a manifest is described as ``c2pa``."""
    return any(
        marker == 0xEB and end <= len(data) and _is_c2pa_box(data[start : min(end, start + 64)])
        for marker, start, end in jpeg_segments(data)
    )


def _is_c2pa_box(head: bytes) -> bool:
    return head[:2] == b"JP" and b"jumb" in head[8:24] and b"jumdc2pa" in head


def _webp(data: bytes) -> bool:
    return any(name == b"C2PA" and end > start for name, start, end in riff_chunks(data))


def _gif(data: bytes) -> bool:
    """An application extension of that name: marker, label, length 11, then the name."""
    return any(
        marker == 0x21 and data[at + 1 : at + 11] == b"\xff\x0bC2PA_GIF"
        for marker, at in gif_blocks(data)
    )


def _svg(data: bytes) -> bool:
    return b"<c2pa:manifest" in data


_LOOK: Final[Mapping[str, Callable[[bytes], bool]]] = MappingProxyType(
    {"png": _png, "jpeg": _jpeg, "webp": _webp, "gif": _gif, "svg": _svg}
)
