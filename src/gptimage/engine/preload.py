"""Importing what reading a response needs before the request leaves.

Modules are imported late, to keep ``import gptimage`` light. When the response is there it is too
late for that: with every file descriptor taken by connections the import fails, and with it the
image that was paid for.
"""

from __future__ import annotations

import importlib
from typing import Final

from gptimage.engine.plan import Plan


_ALWAYS: Final = (
    "pybase64",
    "encodings.utf_8_sig",
    "gptimage.image.files",
    "gptimage.image.formats",
    "xml.parsers.expat",  # for what an input image says of its origin
)
_FOR_PIXELS: Final = (
    "PIL.ImageChops",
    "PIL.ImageCms",
    "PIL.ImageFilter",
    "PIL.ImageOps",
    *(f"PIL.{kind}ImagePlugin" for kind in ("Bmp", "Gif", "Jpeg", "Png", "Ppm", "WebP")),
)
_FOR_STORE: Final = ("sqlite3", "gptimage.store", "gptimage.store.recovery")


_prepared: Final[set[tuple[bool, bool]]] = set()


def is_prepared(plan: Plan, *, store: bool) -> bool:
    """Return whether `prepare` has nothing left to do for such a plan."""
    return (_needs_pixels(plan), store) in _prepared


def prepare(plan: Plan, *, store: bool) -> None:
    """Import what is needed to read, crop and save the images of a plan.

    Raises:
        ImportError: One cannot be imported; nothing was sent yet.
        OSError: The same, for want of descriptors.
    """
    pixels = _needs_pixels(plan)
    names = (*_ALWAYS, *(_FOR_PIXELS if pixels else ()), *(_FOR_STORE if store else ()))
    for name in names:
        importlib.import_module(name)
    if store:
        from gptimage._internal.version import library_version

        library_version()  # is read from a file, once
    _prepared.add((pixels, store))


def _needs_pixels(plan: Plan) -> bool:
    if plan.request.keeps_outside:
        return True
    return plan.exact is not None and plan.wire.body.get("size") != "{}x{}".format(*plan.exact)
