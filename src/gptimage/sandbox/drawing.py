"""The drawing of the endpoints; Pillow is imported when the first image is drawn."""

from __future__ import annotations

from collections.abc import Iterator

from gptimage.sandbox.job import Job


def paint(job: Job, index: int = 0) -> bytes:
    """Return the finished image number ``index`` of a job, encoded."""
    from gptimage.sandbox import images

    return images.paint(job, index)


def stages(job: Job, index: int = 0) -> Iterator[bytes]:
    """Yield the partial images of a job, each sharper than the one before, then the whole."""
    from gptimage.sandbox import images

    yield from images.stages(job, index)
