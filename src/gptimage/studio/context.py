"""`Studio`: the store, the ledger, the cache and the jobs that the page works with.

The page's server and the process that draws open the same of the same options.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

from gptimage._internal.clock import files_now
from gptimage._internal.user_dirs import cache_folder, make_private, state_folder
from gptimage.config import Config, load
from gptimage.engine.from_config import (
    budget_of,
    client_arguments,
    estimator_arguments,
    open_cache,
    open_ledger,
    open_store,
    open_templates,
)
from gptimage.errors import ConfigurationError
from gptimage.service import Runner
from gptimage.workers import JobStore, SqliteJobStore, open_job_store


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from decimal import Decimal

    from gptimage.budget.budget import Budget
    from gptimage.budget.ledger import Ledger
    from gptimage.cache.base import Cache
    from gptimage.client import ImageClient
    from gptimage.service import LocalRunner
    from gptimage.store import Store
    from gptimage.templates import PromptTemplates


_FOLDER: Final = "studio"
_WORK: Final = "gptimage.studio.work:open_work"
_UPLOADS: Final = 60 * 86_400.0
"""Seconds an upload is there after its last use: longer than the job store remembers jobs. The
images that edits were given are in the store for good."""


@frozen(kw_only=True)
class StudioOptions:
    """What a command line says; everything else comes from the configuration.

    Attributes:
        store: Where images are saved; the configured store when left out.
        sandbox: Draw offline, without a key and without cost.
    """

    store: str | None = None
    sandbox: bool = False

    def config(self) -> Config:
        """Read the configuration with these options on top.

        Raises:
            ConfigurationError: A setting cannot be used; nothing was sent.
        """
        return load({"store": self.store, "sandbox": self.sandbox or None})


async def _ignore(ids: Sequence[str]) -> None:
    del ids


@frozen(kw_only=True)
class Studio:
    """Everything one studio works with.

    Attributes:
        runner: Makes what draws the jobs of one server.
        sandbox: Whether it draws offline.
        has_key: Whether anything can be drawn; without a key everything else works.
        can_sign_out: Whether people signed in, and may sign out.
        provider: The service that draws; None for OpenAI.
        model: The model that draws when a form names none; None for the usual one.
        limits: The most to spend in USD, by period.
        max_images: The most images one call may ask for.
        may_delete: Whether images may be deleted here.
        estimator: A client of the sandbox, which shares checks and prices with the service.
        store: Every image.
        ledger: Every call and its cost, or None when it is off.
        cache: The cache of responses, or None when it is off.
        budget: What may be spent, or None where nothing limits it.
        job_store: Every job, with its request.
        workers: The job store of workers, which ``GPTIMAGE_JOB_STORE`` names, or None.
        templates: The prompt templates.
        folder: Uploaded images and the job store, private to this user.
        thumbnails: Small versions of images; may be deleted at any time.
        changed: Called with the ids of images that were saved, changed or deleted here.
    """

    runner: Callable[[], Runner | LocalRunner] = field(repr=False)
    sandbox: bool
    has_key: bool
    can_sign_out: bool = False
    provider: str | None = None
    model: str | None = None
    limits: Mapping[str, Decimal]
    max_images: int = 10
    may_delete: bool = True
    estimator: ImageClient
    store: Store
    ledger: Ledger | None
    cache: Cache | None
    budget: Budget | None
    job_store: SqliteJobStore
    workers: JobStore | None
    templates: PromptTemplates
    folder: Path
    thumbnails: Path
    changed: Callable[[Sequence[str]], Awaitable[None]] = field(default=_ignore, repr=False)

    @property
    def batches(self) -> Path:
        """The folder of batches."""
        return self.folder / "batches"

    @property
    def uploads(self) -> Path:
        """The folder of images that were dropped on the page, named by their SHA-256."""
        return self.folder / "uploads"

    def close(self) -> None:
        """Close files; what runs in the drawing process goes on."""
        self.estimator.close()
        self.store.close()
        self.job_store.close()
        for each in (self.ledger, self.cache, self.workers):
            if each is not None:
                each.close()


def open_client(config: Config) -> ImageClient:
    """Open the client of a configuration, in the process that draws.

    Raises:
        ConfigurationError: There is no key, or a setting cannot be used.
    """
    from gptimage.client import ImageClient

    make: Any = ImageClient.sandbox if config.sandbox else ImageClient
    client: ImageClient = make(**client_arguments(config, {}))
    return client


def open_studio(options: StudioOptions) -> Studio:
    """Open a studio.

    Raises:
        ConfigurationError: A setting cannot be used, the store is off, or so is the ledger that
            counts a budget.
        StoreError: The store's folder cannot be made.
        TemplateError: A file of the folder of templates is wrong.
        FileNotFoundError: ``GPTIMAGE_JOB_STORE`` names no file.
    """
    from gptimage.client import ImageClient

    config = options.config()
    if config.place("ledger") is None and config.limits.keys() - {"call"}:
        # What draws is a process that ends when it is idle, and forgets what was spent.
        raise ConfigurationError(
            "a budget of more than one call is counted in the ledger here, and the setting "
            "`ledger` is off: switch it on, or take the budget away; nothing was sent"
        )
    store = open_store(config)
    if store is None:
        raise ConfigurationError(
            "the studio needs a store, and the setting `store` is off: name one with --store"
        )
    ledger, budget = open_ledger(config), budget_of(config)
    if ledger is not None and budget is not None:
        budget.use_ledger(ledger)
    model = config.text("model")
    templates = open_templates(config)
    estimator = ImageClient.sandbox(store=store, templates=templates, **estimator_arguments(config))
    workers = os.environ.get("GPTIMAGE_JOB_STORE")
    folder = job_folder(store, sandbox=config.sandbox)
    make_folders(folder)
    thumbnails = cache_folder() / "thumbnails"
    make_private(thumbnails)
    jobs = folder / "jobs.sqlite"
    # The sandbox forgets its state with its process, which therefore waits for the page.
    idle: dict[str, Any] = {"idle": None} if config.sandbox else {}
    return Studio(
        runner=lambda: Runner(_WORK, (options, str(jobs)), **idle),
        sandbox=config.sandbox,
        has_key=not config.lacks_key,
        provider=config.provider,
        model=model,
        limits={per: usd for per, (usd, _) in config.limits.items()},
        estimator=estimator,
        store=store,
        ledger=ledger,
        cache=open_cache(config),
        budget=budget,
        job_store=SqliteJobStore(jobs),
        workers=open_job_store(workers) if workers else None,
        templates=templates,
        folder=folder,
        thumbnails=thumbnails,
    )


def job_folder(store: Store, *, sandbox: bool, state: Path | None = None) -> Path:
    """Return the folder of the jobs and uploads of a store.

    Args:
        store: The store.
        sandbox: Whether its images are drawn offline.
        state: Where such folders are; the user's own when left out.
    """
    # One folder for each store: its jobs name its images. Of the sandbox another one, so that
    # a job of the service is never drawn offline, or the other way round.
    kind = "sandbox" if sandbox else "service"
    name = hashlib.sha256(f"{kind}\0{store.location}".encode()).hexdigest()[:16]
    return (state or state_folder()) / _FOLDER / name


def make_folders(folder: Path) -> None:
    """Make the folder of a studio, private to this user, and forget uploads nobody uses."""
    make_private(folder)
    make_private(uploads := folder / "uploads")
    before = files_now(uploads) - _UPLOADS
    for path in uploads.iterdir():
        with suppress(OSError):  # another studio was quicker
            if path.stat().st_mtime < before:
                path.unlink()
