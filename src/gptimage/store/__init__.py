"""The store: every image saved, described, and found again."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from gptimage._internal.user_dirs import default_folder as default_folder
from gptimage._internal.user_dirs import state_folder as state_folder
from gptimage.store.context import StoreWarning as StoreWarning
from gptimage.store.local_blobs import FileBlobs as FileBlobs
from gptimage.store.reader import CanRun as CanRun
from gptimage.store.reader import Lineage as Lineage
from gptimage.store.search import Filters as Filters
from gptimage.store.search import Page as Page
from gptimage.store.search import Rank as Rank
from gptimage.store.search import Stats as Stats
from gptimage.store.similar import DUPLICATE as DUPLICATE
from gptimage.store.similar import SIMILAR as SIMILAR
from gptimage.store.similar import Match as Match
from gptimage.store.store import Store as Store
from gptimage.types.record import Original as Original
from gptimage.types.record import Record as Record


if TYPE_CHECKING:
    from gptimage.store.export import ExportReport as ExportReport
    from gptimage.store.prune import PruneReport as PruneReport
    from gptimage.store.prune import Retention as Retention
    from gptimage.store.recovery import PendingReplies as PendingReplies
    from gptimage.store.recovery import PendingReply as PendingReply
    from gptimage.store.recovery import RecoverReport as RecoverReport
    from gptimage.store.recovery import SpooledReply as SpooledReply
    from gptimage.store.recovery import note_of as note_of
    from gptimage.store.verify import Problem as Problem
    from gptimage.store.verify import VerifyReport as VerifyReport
else:
    _LATER: Final = {
        "export": "ExportReport",
        "prune": "PruneReport Retention",
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
