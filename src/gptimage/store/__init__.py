"""The store: every picture kept, described, and found again."""

from __future__ import annotations

from gptimage.records import Original, Record
from gptimage.store.exporting import ExportReport
from gptimage.store.files import FileBlobs
from gptimage.store.pages import Filters, Page, Rank
from gptimage.store.parts import StoreWarning
from gptimage.store.places import default_folder, state_folder
from gptimage.store.reader import Lineage, Reruns
from gptimage.store.reports import Problem, VerifyReport
from gptimage.store.rescue import RescueReport
from gptimage.store.retention import PruneReport, Retention
from gptimage.store.spool import Leftover, Spool, SpoolEntry, note_of
from gptimage.store.stats import Stats
from gptimage.store.store import Store


__all__ = [
    "ExportReport",
    "FileBlobs",
    "Filters",
    "Leftover",
    "Lineage",
    "Original",
    "Page",
    "Problem",
    "PruneReport",
    "Rank",
    "Record",
    "Reruns",
    "RescueReport",
    "Retention",
    "Spool",
    "SpoolEntry",
    "Stats",
    "Store",
    "StoreWarning",
    "VerifyReport",
    "default_folder",
    "note_of",
    "state_folder",
]
