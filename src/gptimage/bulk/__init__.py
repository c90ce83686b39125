"""Many requests at once: what `ImageClient.generate_many` takes, and what it yields."""

from __future__ import annotations

from gptimage.bulk.items import Item, RequestInput
from gptimage.bulk.progress import Progress, ProgressCallback
from gptimage.bulk.run import CheckpointPath, amany, many
from gptimage.bulk.run_state import NotTakenError
from gptimage.bulk.stop import Stop


__all__ = [
    "RequestInput",
    "CheckpointPath",
    "Item",
    "NotTakenError",
    "Progress",
    "Stop",
    "ProgressCallback",
    "amany",
    "many",
]
