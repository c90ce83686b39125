"""``examples/queues/arq_worker.py`` with arq's own worker and a real Redis."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from arq import Worker, create_pool
from harness import case, check, run

from gptimage import ImageClient
from gptimage.sandbox import Sandbox
from gptimage.store import Store
from gptimage.workers import Job


sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "queues"))
HOME = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
os.chdir(HOME.name)
SOCKET = f"{HOME.name}/redis.sock"
os.environ["REDIS_URL"] = f"unix://{SOCKET}"


@asynccontextmanager
async def worker(sandbox: Sandbox) -> AsyncIterator[tuple[Any, Worker, ModuleType]]:
    """Yield arq's queue, a worker that ends when there is nothing to do, and the example."""
    import arq_worker

    command = ["redis-server", "--port", "0", "--unixsocket", SOCKET, "--save", "", "--dir", "."]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as redis:
        try:
            while not Path(SOCKET).exists():
                check(redis.poll() is None, "redis-server did not start")
                await asyncio.sleep(0.02)
            pool = await create_pool(arq_worker.SETTINGS)
            os.chdir(tempfile.mkdtemp(dir=HOME.name))

            async def open_all(context: dict[Any, Any]) -> None:
                await arq_worker.open_all(context)
                context["client"].close()
                context["client"] = ImageClient.sandbox(sandbox, store=Store("images"), retry=0)

            settings = arq_worker.WorkerSettings
            found = Worker(
                functions=settings.functions, redis_pool=pool, burst=True, poll_delay=0.02,
                on_startup=open_all, on_shutdown=settings.on_shutdown, handle_signals=False,
            )  # fmt: skip
            yield pool, found, arq_worker
        finally:
            redis.terminate()


async def results(pool: Any) -> dict[str, Any]:
    """What came of the jobs, by arq's ids."""
    return {each.job_id: each.result for each in await pool.all_job_results()}


@case("jobs are drawn, and one that is delivered twice is paid once")
async def _() -> None:
    sandbox = Sandbox(draw="plain")
    async with worker(sandbox) as (pool, found, module):
        job = Job.of("order-17", "A red fox", size="1024x1024", quality="low")
        await module.enqueue(job)
        await module.enqueue(job)
        await found.async_run()
        await pool.enqueue_job("draw", job.to_dict(), _job_id="again")
        await found.async_run()
        done = await results(pool)
        check({each["status"] for each in done.values()} == {"done"} and len(done) == 2, done)
        check(len(sandbox.requests) == 1, len(sandbox.requests))


@case("an unknown outcome waits for a person, and is not sent again")
async def _() -> None:
    sandbox = Sandbox(draw="plain")
    async with worker(sandbox) as (pool, found, _):
        for number in ("first", "second"):
            job = {"id": "order-18", "prompt": "A hen [sandbox:cut]"}
            await pool.enqueue_job("draw", job, _job_id=number)
            await found.async_run()
        done = await results(pool)
        check({each["status"] for each in done.values()} == {"needs_review"}, done)
        check(len(sandbox.requests) == 1, len(sandbox.requests))


run("arq", "redis")
