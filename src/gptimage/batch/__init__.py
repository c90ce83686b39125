"""Half-price images within a day: `Batch` waits, `AsyncBatch` is awaited."""

from __future__ import annotations

from gptimage.batch.batch import AsyncBatch, Batch
from gptimage.batch.driver import AsyncBatchParts, BatchParts
from gptimage.batch.prepare import BatchWarning
from gptimage.batch.results import BatchItem
from gptimage.batch.status import BatchStatus
from gptimage.providers.openai.batches import BatchPart


__all__ = [
    "AsyncBatch",
    "AsyncBatchParts",
    "Batch",
    "BatchItem",
    "BatchPart",
    "BatchParts",
    "BatchStatus",
    "BatchWarning",
]
