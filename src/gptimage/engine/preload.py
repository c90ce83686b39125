"""Importing what reading an answer needs before the request leaves.

Modules are imported late, to keep ``import gptimage`` light. When the answer is there it is too
late for that: with every file descriptor taken by connections the import fails, and with it the
picture that was paid for.
"""

from __future__ import annotations

import functools
import importlib
from typing import Final

from gptimage.engine.plan import Plan


_ALWAYS: Final = (
    "pybase64",
    "encodings.utf_8_sig",
    "gptimage.image.files",
    "gptimage.image.formats",
)
_FOR_PIXELS: Final = (
    "PIL.ImageOps",
    "PIL.ImageCms",
    *(f"PIL.{kind}ImagePlugin" for kind in ("Bmp", "Gif", "Jpeg", "Png", "Ppm", "WebP")),
)
_FOR_STORE: Final = ("sqlite3", "gptimage.store", "gptimage.store.recovery")


def prepare(plan: Plan, *, store: bool) -> None:
    """Import what is needed to read, crop and save the pictures of a plan.

    Raises:
        ImportError: One cannot be imported; nothing was sent yet.
        OSError: The same, for want of descriptors.
    """
    _load(_ALWAYS)
    if plan.exact is not None and plan.wire.body.get("size") != "{}x{}".format(*plan.exact):
        _load(_FOR_PIXELS)
    if store:
        _load(_FOR_STORE)
        from gptimage.store.context import library_version

        library_version()  # is read from a file, once


@functools.cache
def _load(names: tuple[str, ...]) -> None:
    for name in names:
        importlib.import_module(name)
