"""A client of the Python SDK that closes 1 s after it was told a handle loses no picture."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

from gptimage.sandbox import SandboxServer
from gptimage_mcp.jobs.job import Job
from gptimage_mcp.jobs.journal import Entry
from tests.mcp.closing import Unhurried, come_back, draw_and_leave, environment, text


def test_a_new_server_has_the_picture(tmp_path: Path) -> None:
    """The SDK closes its server while the service still draws; the next one shows the picture."""
    service = Unhurried()
    with SandboxServer(sandbox=service) as door:
        env = environment(tmp_path, door.base_url)
        handle = asyncio.run(draw_and_leave(env, "Fox"))
        seen = asyncio.run(come_back(env, handle))

    assert not seen.is_error, text(seen)
    assert json.loads(text(seen))["status"] == "done"
    assert [block.type for block in seen.content] == ["text", "image"]
    assert len(service.requests) == 1


def test_the_handle_waits_for_a_process_that_is_still_starting() -> None:
    """On a busy machine it starts late; who left before would find that nothing was sent."""

    async def story() -> tuple[bool, bool]:
        loop = asyncio.get_running_loop()
        entry = Entry(operation="generate", started=datetime(2026, 11, 28, tzinfo=UTC))
        job = Job(entry, loop=loop, settling=1e-9)
        waiting = loop.create_task(job.wait(0))
        for _ in range(10):
            await asyncio.sleep(0)
        before = waiting.done()
        job.follow(job.snapshot)  # the process says that it has the job
        await waiting
        return before, job.sent

    assert asyncio.run(story()) == (False, False)
