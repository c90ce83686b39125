"""Many requests at once: what `ImageClient.generate_many` takes, and what it yields."""

from __future__ import annotations

from gptimage.bulk.book import NotTakenError
from gptimage.bulk.items import Asked, Item
from gptimage.bulk.many import amany, many
from gptimage.bulk.runs import CheckpointPath
from gptimage.bulk.stop import Stop
from gptimage.bulk.tally import Progress, Watcher


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
