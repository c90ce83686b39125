"""Many requests at once: what `ImageClient.generate_many` takes, and what it yields."""

from __future__ import annotations

from gptimage.bulk.items import Asked, Item
from gptimage.bulk.progress import Progress, Watcher
from gptimage.bulk.run import CheckpointPath, amany, many
from gptimage.bulk.run_state import NotTakenError
from gptimage.bulk.stop import Stop


__all__ = [
    "Asked",
    "CheckpointPath",
    "Item",
    "NotTakenError",
    "Progress",
    "Stop",
    "Watcher",
    "amany",
    "many",
]
