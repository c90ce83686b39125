"""The store: every image saved, described, and found again."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from gptimage._internal.user_dirs import default_folder, state_folder
from gptimage.store.context import StoreWarning
from gptimage.store.local_blobs import FileBlobs
from gptimage.store.prune import PruneReport, Retention
from gptimage.store.reader import CanRun, Lineage
from gptimage.store.search import Filters, Page, Rank, Stats
from gptimage.store.store import Store
from gptimage.types.record import Original, Record


if TYPE_CHECKING:
    from gptimage.store.export import ExportReport
    from gptimage.store.recovery import (
        PendingReplies,
        PendingReply,
        RecoverReport,
        SpooledReply,
        note_of,
    )
    from gptimage.store.verify import Problem, VerifyReport
else:
    _LATER: Final = {
        "export": "ExportReport",
        "recovery": "PendingReplies PendingReply RecoverReport SpooledReply note_of",
        "verify": "Problem VerifyReport",
    }

    def __getattr__(name: str) -> object:
        """Import what only maintenance needs when it is first used."""
        module = next((each for each, names in _LATER.items() if name in names.split()), None)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
        return found


__all__ = [
    "CanRun",
    "ExportReport",
    "FileBlobs",
    "Filters",
    "Lineage",
    "Original",
    "Page",
    "PendingReplies",
    "PendingReply",
    "Problem",
    "PruneReport",
    "Rank",
    "Record",
    "RecoverReport",
    "Retention",
    "SpooledReply",
    "Stats",
    "Store",
    "StoreWarning",
    "VerifyReport",
    "default_folder",
    "note_of",
    "state_folder",
]
