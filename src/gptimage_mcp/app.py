"""`App`: what every tool, resource and route works with, made once by `build_server`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import Factory, field, frozen
from mcp.server.subscriptions import SubscriptionBus

import gptimage
from gptimage_mcp.config.settings import Settings
from gptimage_mcp.job import Job
from gptimage_mcp.jobs.jobs import Jobs
from gptimage_mcp.moments import Clock, utc_now
from gptimage_mcp.templates import Templates


if TYPE_CHECKING:
    from gptimage.transport.protocols import CachePort
    from gptimage_mcp.metrics import Metrics


FETCH: Final = gptimage.Fetch(timeout=10.0, total=25.0)
"""Patient enough for a picture, and not so patient that a client gives up meanwhile."""


def _jobs(app: App) -> Jobs:
    async def ended(job: Job) -> None:
        from gptimage_mcp.resources import pictures_changed  # late: it is built on this module

        if job.records:
            await pictures_changed(app.news, *(record.id for record in job.records))

    ledger = app.settings.ledger
    folder = ledger.with_name(f"{ledger.name}.jobs")
    return Jobs(store=app.store, folder=folder, ended=ended, clock=app.clock)


@frozen(kw_only=True)
class App:
    """The client, the store, the templates and the work in progress of one server.

    Attributes:
        settings: What the server was told.
        client: What draws; None when there is no key: tools that draw then say what to do.
        store: Every picture.
        cache: Where answers are kept, or None.
        ledger: Where every call is entered.
        templates: The prompt templates; ``await app.templates.now()`` has them as they are now.
        news: Tells subscribed clients that something changed; give the server the same one.
        fetch: How pictures named by URL are downloaded.
        jobs: What is being drawn, and what was.
        clock: Tells the time (UTC): the client's own clock where there is a client.
        metrics: What ``/metrics`` tells; None over stdio, or without the extra ``prometheus``.
    """

    settings: Settings
    client: gptimage.AsyncImageClient | None
    store: gptimage.Store
    cache: CachePort | None
    ledger: gptimage.Ledger | None
    templates: Templates
    news: SubscriptionBus
    fetch: gptimage.Fetch = FETCH
    clock: Clock = utc_now
    jobs: Jobs = field(default=Factory(_jobs, takes_self=True), repr=False)
    metrics: Metrics | None = field(default=None, repr=False)
