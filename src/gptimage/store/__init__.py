"""The store: every picture kept, described, and found again."""

from __future__ import annotations

from gptimage._internal.user_dirs import default_folder, state_folder
from gptimage.store.context import StoreWarning
from gptimage.store.export import ExportReport
from gptimage.store.local_blobs import FileBlobs
from gptimage.store.prune import PruneReport, Retention
from gptimage.store.reader import CanRun, Lineage
from gptimage.store.recovery import (
    PendingReplies,
    PendingReply,
    RecoverReport,
    SpooledReply,
    note_of,
)
from gptimage.store.search import Filters, Page, Rank, Stats
from gptimage.store.store import Store
from gptimage.store.verify import Problem, VerifyReport
from gptimage.types.record import Original, Record


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
