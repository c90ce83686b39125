"""Whether the folders and files the settings name can be used; asked before anything is paid."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gptimage_mcp.config.settings import Settings, variable


def unusable(settings: Settings) -> Iterator[str]:
    """What the server cannot do without and cannot have, a line each with its variable."""
    if why := _unwritable(settings.store):
        yield (
            f"{variable('store')}: pictures cannot be saved in {settings.store}: {why}; "
            "name a folder you may write to"
        )
    if why := _unwritable(settings.ledger.parent) or _not_a_file(settings.ledger):
        yield (
            f"{variable('ledger')}: calls cannot be entered in {settings.ledger}: {why}; "
            "name a file in a folder you may write to"
        )
    if settings.templates is not None and not settings.templates.is_dir():
        yield f"{variable('templates')}: {settings.templates} is no folder"


def doubtful(settings: Settings) -> Iterator[str]:
    """What the server goes on without, a line each with its variable."""
    if settings.cache is not None and (why := _unwritable(settings.cache)):
        yield (
            f"{variable('cache')}: answers cannot be kept in {settings.cache}: {why}; "
            "the same request may be paid for twice"
        )
    for folder in settings.input_folders:
        if not os.access(folder, os.R_OK | os.X_OK):
            yield f"{variable('input_folders')}: {folder} is not there, or may not be read"
    for folder in settings.output_folders:
        if not os.access(folder, os.W_OK | os.X_OK):
            yield f"{variable('output_folders')}: {folder} is not there, or may not be written to"


def _unwritable(folder: Path) -> str | None:
    """Why nothing can be written to a folder, or None; it is made as it would be later."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:  # asking for rights beforehand says yes to root everywhere
        return f"{error.strerror} ({error.filename or folder})"


def _not_a_file(path: Path) -> str | None:
    if path.is_dir():
        return "it is a folder"
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        return "it is read-only"
    return None
