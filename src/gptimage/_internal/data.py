"""The data files beside a module, which may lie in a folder or in a zip."""

from __future__ import annotations

import os
import sys
from typing import Any


def data_file(module: str, name: str) -> bytes:
    """Return the content of a file beside a module.

    Whatever imported the module reads it, as `pkgutil.get_data` does. That module and
    `importlib.resources` are not used because importing them takes longer than all the rest.

    Args:
        module: The ``__name__`` of the module.
        name: The name of the file.

    Raises:
        OSError: There is no such file.
    """
    spec: Any = sys.modules[module].__spec__
    data: bytes = spec.loader.get_data(os.path.join(os.path.dirname(spec.origin), name))  # noqa: PTH118, PTH120  # as the loader spells it
    return data


def data_text(module: str, name: str) -> str:
    """Return the text of a file beside a module; see `data_file`."""
    # As a file opened for text: a checkout on Windows may have other ends of lines.
    return data_file(module, name).decode().replace("\r\n", "\n")
