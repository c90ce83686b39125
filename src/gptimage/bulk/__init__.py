"""Many requests at once: what `ImageClient.generate_many` takes, and what it yields."""

from __future__ import annotations

from gptimage.bulk.items import Item as Item
from gptimage.bulk.items import RequestInput as RequestInput
from gptimage.bulk.progress import Progress as Progress
from gptimage.bulk.progress import ProgressCallback as ProgressCallback
from gptimage.bulk.run import CheckpointPath as CheckpointPath
from gptimage.bulk.run import amany as amany
from gptimage.bulk.run import many as many
from gptimage.bulk.run_state import UndeliveredError as UndeliveredError
from gptimage.bulk.stop import Stop as Stop
