"""`App`: what every tool, resource and route works with, made once by `build_server`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
from attrs import Factory, field, frozen
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    PromptsListChanged,
    ResourceUpdated,
    SubscriptionBus,
)

import gptimage
from gptimage.service import Tenants
from gptimage_mcp.auth import current_user
from gptimage_mcp.config.settings import Settings
from gptimage_mcp.content.records import Clock, utc_now
from gptimage_mcp.jobs.engine import (
    TENANTS,
    Tenant,
    open_limiter,
    open_state,
    open_tenant,
)
from gptimage_mcp.jobs.job import Job
from gptimage_mcp.jobs.jobs import Jobs
from gptimage_mcp.jobs.shared import SharedState
from gptimage_mcp.retention import Pruning


if TYPE_CHECKING:
    from gptimage import Cache
    from gptimage.limits import Limiter
    from gptimage.service import Runner
    from gptimage_mcp.metrics import Metrics
    from gptimage_mcp.studio import Studios


# `Templates`: the prompt templates as they are now, read again when a file of them changes.

_logger: Final = logging.getLogger(__name__)


class Templates:
    """Keeps a set of templates fresh; of a broken folder, the last set that could be read.

    Args:
        templates: The set to begin with.
        subscriptions: Tells subscribed clients when another set has taken its place.
    """

    def __init__(self, templates: gptimage.PromptTemplates, subscriptions: SubscriptionBus) -> None:
        self._templates = templates
        self._subscriptions = subscriptions
        self._lock = anyio.Lock()
        self.problem: str | None = None
        """Return why the folder cannot be read, or None; the set before it still serves."""

    async def now(self) -> gptimage.PromptTemplates:
        """The templates as the files are at this moment."""
        async with self._lock:
            fresh = await anyio.to_thread.run_sync(self._reread)
            replaced, self._templates = fresh is not self._templates, fresh
        if replaced:
            await self._subscriptions.publish(PromptsListChanged())
            await self._subscriptions.publish(ResourceUpdated(uri="prompt-templates://list"))
        return fresh

    def _reread(self) -> gptimage.PromptTemplates:
        try:
            fresh = self._templates.reloaded() if self._templates.changed() else self._templates
        except gptimage.TemplateError as error:
            self._note(str(error))
            return self._templates
        self.problem = None
        return fresh

    def _note(self, problem: str) -> None:
        """Log it once, not at each use of a template."""
        if problem != self.problem:
            _logger.warning("the prompt templates cannot be read again: %s", problem)
        self.problem = problem


FETCH: Final = gptimage.Fetch(timeout=10.0, total_timeout=25.0)
"""Patient enough for an image, and not so patient that a client gives up meanwhile."""


def _jobs(app: App) -> Jobs:
    async def ended(job: Job) -> None:
        from gptimage_mcp.resources import images_changed  # late: it is built on this module

        if job.records:
            await images_changed(app.subscriptions, *(record.id for record in job.records))

    return Jobs(
        store=lambda: app.store,
        state=app.state,
        ended=ended,
        tenants=app.settings.tenants,
        clock=app.clock,
    )


def _pruning(app: App) -> Pruning:
    return Pruning(app.stores, app.settings.retention)


def _state(app: App) -> SharedState:
    return open_state(app.settings)


def _tenants(app: App) -> Tenants[Tenant] | None:
    settings = app.settings
    if not settings.tenants:
        return None
    return Tenants(
        lambda name: open_tenant(settings, name, metrics=app.metrics, limiter=app.limiter),
        is_idle=lambda each: all(job.owner != each.name for job in app.jobs.running),
        # A request that still has it can go on: a closed store opens itself again.
        close=lambda each: each.store.close(),
    )


def _studios(app: App) -> Studios | None:
    if not app.settings.studio or app.settings.transport != "http":
        return None
    from gptimage_mcp.studio import Studios  # late: the extra is needed for the page alone

    return Studios(app)


@frozen(kw_only=True)
class App:
    """The client, the store, the templates and the work in progress of one server.

    ``client`` (None when there is no key: tools that draw then say what to do), ``store``,
    ``cache`` and ``ledger`` are those of the current request's caller; see `Tenant`.

    Attributes:
        settings: The server's settings.
        shared: What all callers share, and what requests without a caller use.
        templates: The prompt templates; ``await app.templates.now()`` has them as they are now.
        subscriptions: Tells subscribed clients of changes; give the server the same one.
        fetch: How images named by URL are downloaded.
        state: Where jobs and uploads are written down.
        jobs: What is being drawn, and what was.
        tenants: What each caller has, where callers do not share everything; or None.
        clock: Tells the time (UTC): the client's own clock where there is a client.
        pruning: Deletes old images once a day, however many clients come.
        runner: The process that draws, where this one may be killed by its client; or None.
        metrics: What ``/metrics`` tells; None over stdio, or without the extra ``prometheus``.
        limiter: How fast the service may be asked, by all callers together; None for any speed.
        studios: The page for people, of each caller; None where it is not wanted.
    """

    settings: Settings
    shared: Tenant
    templates: Templates
    subscriptions: SubscriptionBus
    fetch: gptimage.Fetch = FETCH
    clock: Clock = utc_now
    state: SharedState = field(default=Factory(_state, takes_self=True), repr=False)
    jobs: Jobs = field(default=Factory(_jobs, takes_self=True), repr=False)
    tenants: Tenants[Tenant] | None = field(default=Factory(_tenants, takes_self=True), repr=False)
    pruning: Pruning = field(default=Factory(_pruning, takes_self=True), repr=False)
    runner: Runner | None = field(default=None, repr=False)
    metrics: Metrics | None = field(default=None, repr=False)
    limiter: Limiter | None = field(default=None, repr=False)
    studios: Studios | None = field(default=Factory(_studios, takes_self=True), repr=False)

    @property
    def current(self) -> Tenant:
        """Return the resources of the current request."""
        caller = None if self.tenants is None else current_user()
        if self.tenants is not None and caller is not None:
            return self.tenants.of(caller)
        return self.shared

    @property
    def client(self) -> gptimage.AsyncImageClient | None:
        """See `Tenant`."""
        return self.current.client

    @property
    def store(self) -> gptimage.Store:
        """See `Tenant`."""
        return self.current.store

    @property
    def cache(self) -> Cache | None:
        """See `Tenant`."""
        return self.current.cache

    @property
    def ledger(self) -> gptimage.Ledger | None:
        """See `Tenant`."""
        return self.current.ledger

    def stores(self) -> list[gptimage.Store]:
        """Return every store there is; of object stores, those that were opened."""
        if self.tenants is None:
            return [self.shared.store]
        opened = {each.name for each in self.tenants.opened if each.name is not None}
        folder = None if self.shared.store.folder is None else self.shared.store.folder / TENANTS
        found = [] if folder is None or not folder.is_dir() else [*folder.iterdir()]
        names = opened | {each.name for each in found if each.is_dir()}
        return [self.shared.store, *(self.tenants.of(name).store for name in sorted(names))]

    async def aclose(self) -> None:
        """Close what the server made for its callers."""
        if self.studios is not None:
            await self.studios.aclose()
        for each in () if self.tenants is None else self.tenants.opened:
            if each.client is not None:
                await each.client.aclose()


# From settings to an `App`: the client, and all it works with.


def create_app(
    settings: Settings,
    client: gptimage.AsyncImageClient | None = None,
    fetch: gptimage.Fetch | None = None,
    *,
    detached: bool = False,
    subscriptions: SubscriptionBus | None = None,
) -> App:
    """Everything a server works with.

    Args:
        settings: The server's settings.
        client: Draws with this one and its store, cache and ledger; made when left out.
        fetch: Downloads images named by URL; one with short limits when left out.
        detached: Whether another process draws, which survives this one.
        subscriptions: Tells subscribed clients of changes; made when left out.

    Raises:
        ConfigurationError: A setting makes no sense, or the client has no store.
        StoreError: The folder of the store cannot be made.
        TemplateError: The folder of templates holds one that is wrong.
    """
    templates, metrics = _templates(settings), _metrics(settings)
    limiter = open_limiter(settings)
    if client is None:
        shared = open_tenant(settings, metrics=metrics, limiter=limiter)
    elif settings.tenants:
        raise gptimage.ConfigurationError("tenants have clients of their own: leave client= out")
    elif client.store is None:
        raise gptimage.ConfigurationError("the client of an MCP server needs a store=")
    else:
        shared = Tenant(client=client, store=client.store, cache=client.cache, ledger=client.ledger)
    subscriptions = subscriptions or InMemorySubscriptionBus()
    return App(
        settings=settings,
        shared=shared,
        templates=Templates(templates, subscriptions),
        subscriptions=subscriptions,
        fetch=fetch or FETCH,
        clock=utc_now if shared.client is None else shared.client.clock,
        metrics=metrics,
        limiter=limiter,
        runner=_runner(settings) if detached else None,
    )


def _runner(settings: Settings) -> Runner:
    """The sandbox remembers responses in its process, which therefore waits for its server."""
    from gptimage.service import Runner

    options = {"idle": None} if settings.sandbox else {}
    return Runner("gptimage_mcp.jobs.work:open_work", settings, **options)


def _metrics(settings: Settings) -> Metrics | None:
    """Return the counters for ``/metrics``; over stdio they could not be read."""
    if settings.transport != "http":
        return None
    from gptimage_mcp.metrics import Metrics

    return Metrics.make()


def _templates(settings: Settings) -> gptimage.PromptTemplates:
    builtin = gptimage.PromptTemplates.builtin()
    if settings.templates is None:
        return builtin
    return builtin | gptimage.PromptTemplates.load(settings.templates)
