"""Half-price images within a day: `Batch` waits, `AsyncBatch` is awaited."""

from __future__ import annotations

from gptimage.batch.batch import AsyncBatch as AsyncBatch
from gptimage.batch.batch import Batch as Batch
from gptimage.batch.driver import AsyncBatchParts as AsyncBatchParts
from gptimage.batch.driver import BatchParts as BatchParts
from gptimage.batch.prepare import BatchWarning as BatchWarning
from gptimage.batch.results import BatchItem as BatchItem
from gptimage.batch.status import BatchStatus as BatchStatus
from gptimage.providers.openai.batches import BatchPart as BatchPart
