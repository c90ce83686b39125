"""The common base of both clients: coroutines over a `Runtime`, and methods that send nothing."""

from __future__ import annotations

import copy
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, Protocol, Self, TypeVar, Unpack

from attrs import define, evolve, field, frozen

from gptimage._internal.clock import Clock
from gptimage._internal.keywords import (
    flag,
    is_async,
    missing,
    refuse_unknown,
    refused,
    text,
)
from gptimage.budget.budget import Usd
from gptimage.cache.base import Cache, NewReply
from gptimage.engine.accounting import CallAccounting, CallTracker
from gptimage.engine.arguments import (
    cache_of,
    check_headers,
    check_retry,
    check_sandbox,
    check_settings,
    check_timeout,
    refuse_in_call,
    store_of,
)
from gptimage.engine.config import ClientConfig, ClientSettings, Settings, can_fall_back
from gptimage.engine.connections import sandbox_of, sandbox_transport
from gptimage.engine.plan import Plan
from gptimage.engine.runtime import Runtime
from gptimage.engine.save import ParsedReply, ResultSaver
from gptimage.engine.send import (
    RetryingSender,
    SendHook,
    chain,
    parse_large_in_thread,
    reserve_budget,
    run_accounting,
)
from gptimage.engine.services import Services
from gptimage.engine.signatures import shows
from gptimage.engine.streaming import StreamReader
from gptimage.errors import BudgetExceededError, ConfigurationError, OutcomeUnknownError
from gptimage.models.catalog import Models
from gptimage.models.pricing import Estimate
from gptimage.observers.protocol import Observer
from gptimage.transport.http import HttpRequest
from gptimage.transport.protocols import SANDBOX_URL
from gptimage.transport.retry import Retry
from gptimage.types.request import (
    CallOptions,
    Generate,
    Prompt,
    Sources,
    without_edit_options,
)
from gptimage.types.result import Completed, PartialImage, Result


if TYPE_CHECKING:
    from gptimage.budget.ledger import Ledger
    from gptimage.sandbox import Sandbox
    from gptimage.store import Store
    from gptimage.store.recovery import SpooledReply


PartsT = TypeVar("PartsT")

VARIATION: Final = (
    "Make a new variation of this image: keep its subject, style and mood, "
    "and change composition, viewpoint and details."
)
"""The prompt of `variations`; the endpoint of that name is retired."""

VARIATION_NOTE: Final = "OpenAI's variations endpoint is retired; this was made by an edit"
_NOT_EITHER: Final = "{} did not draw it, either: {}"
_HOOK: Final = ("before_send", "not_billed")
_NO_BATCH: Final = (
    "a send hook is not called for batches: submit the batch with the client that has none"
)


class SavingHook(SendHook, Protocol):
    """A `SendHook` that also saves the raw reply of the request it let leave."""

    def keep(self, plan: Plan, body: bytes) -> SpooledReply:
        """Save the reply until its images are saved or taken."""
        ...

    def check_running(self) -> None:
        """Raise when the request is to be given up while it waits and nothing was sent."""
        ...


@frozen(kw_only=True)
class CallSettings:
    """`CallOptions` with a value for each."""

    refresh: bool = False
    tags: Iterable[str] = ()
    timeout: float | None = None
    extra_headers: Mapping[str, str] | None = None


def call_settings(options: Mapping[str, Any]) -> tuple[dict[str, Any], CallSettings]:
    """Split the keywords of a call: the parameters of its image, and the rest."""
    own = {name: options[name] for name in CallOptions.__annotations__ if name in options}
    return {name: options[name] for name in options if name not in own}, CallSettings(**own)


@define
class _Tried:
    """How the models of one call ended so far.

    Attributes:
        first: The first failure, which is raised when no model draws the image.
        others: The plans for the models that may still be asked.
    """

    first: Exception | None = None
    others: list[Plan] = field(factory=list[Plan])


class BaseClient:
    """The common base of `ImageClient` and `AsyncImageClient`.

    Args:
        runtime: Sends and waits.
        services: The providers it sends to.
        settings: The settings, checked.
    """

    _kind: ClassVar[str]
    """The client's own name, also in a class that was made from it."""

    def __init__(self, runtime: Runtime, services: Services, settings: ClientSettings) -> None:
        self.store: Store | None = store_of(settings.get("store"))
        self.cache: Cache | None = cache_of(settings.get("cache"))
        self._config = ClientConfig.from_settings(settings, services=services, store=self.store)
        self._saver = ResultSaver(core=self._config, cache=self.cache)
        self._sender = RetryingSender(self._config, runtime)
        self._accounting = CallAccounting.of(settings, self._config.clock)
        self._templates = settings.get("templates")
        self._runtime = runtime
        self.clock: Clock = self._config.clock
        self.ledger: Ledger | None = self._accounting.ledger

    @classmethod
    @shows(ClientSettings, Settings)
    def sandbox(cls, sandbox: Sandbox | None = None, **settings: Unpack[ClientSettings]) -> Self:
        """Return a client of the offline sandbox: no key, no network, no cost, the same code path.

        Args:
            sandbox: The sandbox to use, for its settings and its log; a new one when left out.
            **settings: See `ClientSettings` and `Settings`.
        """
        check_settings(f"{cls._kind}.sandbox", settings)
        check_sandbox(sandbox)
        offline = sandbox_of(settings, sandbox)
        transport = sandbox_transport(offline, wants_async=cls._kind.startswith("Async"))
        make: Any = cls
        client: Self = make(transport=transport, base_url=SANDBOX_URL, **settings)
        return client

    @classmethod
    @shows(ClientSettings, Settings)
    def from_config(
        cls,
        file: str | os.PathLike[str] | None = None,
        *,
        project: bool = True,
        **settings: Unpack[ClientSettings],
    ) -> Self:
        """Make a client with the settings that the command line uses, too.

        What is given here beats what is configured.

        The store and the ledger are the user's usual ones where no setting names others.

        Args:
            file: The user's file; ``GPTIMAGE_CONFIG`` or the usual one when left out.
            project: Whether ``gptimage.toml`` or ``[tool.gptimage]`` of the working folder counts.
            **settings: See `ClientSettings` and `Settings`.

        Raises:
            ConfigurationError: A setting cannot be used; nothing was sent.
        """
        from gptimage.config import load
        from gptimage.engine.from_config import client_arguments

        check_settings(f"{cls._kind}.from_config", settings)
        config = load(file=file, project=project)
        make: Any = cls.sandbox if config.sandbox else cls
        client: Self = make(**client_arguments(config, settings))
        return client

    def models(self) -> Models:
        """Return the catalogue: what each model accepts and costs, and its shutdown date."""
        return self._config.models

    def render(self, template: str, /, **arguments: object) -> Prompt:
        """Fill in a prompt template. Nothing is sent and nothing is billed.

        Raises:
            TemplateError: There is no such template, or an argument is wrong.
        """
        if self._templates is None:
            from gptimage.templates import PromptTemplates

            self._templates = PromptTemplates.builtin()
        return self._templates.render(template, **arguments)

    def with_options(
        self,
        *,
        model: str | None = None,
        retry: Retry | int | None = None,
        timeout: float | None = None,
        extra_headers: Mapping[str, str] | None = None,
    ) -> Self:
        """Return this client with other settings; what is left out stays as it is.

        Both clients have the same connections, store, cache, ledger and budget, so close only
        one. For a single call, `generate` and its kin take ``timeout`` and ``extra_headers``.

        Args:
            model: The image model used when a call names none.
            retry: When to send again; 0 never does.
            timeout: Seconds to wait for each response.
            extra_headers: Headers sent with each request, added to those of this client.

        Raises:
            ConfigurationError: A value is of the wrong kind.
        """
        config = self._config
        if model is not None:
            text("model", model)
            config = evolve(config, model=model)
        if retry is not None:
            config = config.with_retry(check_retry(retry))
        if timeout is not None:
            check_timeout(timeout)
            config = evolve(config, timeout=timeout)
        if extra_headers is not None:
            headers = {**config.headers, **check_headers(extra_headers)}
            config = evolve(config, headers=headers)
        twin = copy.copy(self)
        twin._config = config
        twin._saver = evolve(self._saver, core=config)
        twin._sender = evolve(self._sender, config=config)
        return twin

    def with_send_hook(self, hook: SendHook) -> Self:
        """Return this client, whose requests leave only when ``hook`` agrees.

        It is called before every try, after the hooks this client has already; a reply from the
        cache leaves nothing to agree to. Both clients have the same connections, store, cache
        and budget, so close only one.

        Args:
            hook: What is called before a request leaves.

        Raises:
            ConfigurationError: It is none.
        """
        wanted = "a SendHook, with the methods before_send and not_billed"
        if missing(hook, _HOOK):
            raise refused("hook", hook, wanted)
        if any(is_async(getattr(hook, name)) for name in _HOOK):
            raise refused("hook", hook, f"{wanted} that need not be awaited")
        twin = copy.copy(self)
        twin._sender = evolve(self._sender, hook=chain(hook, self._sender.hook))
        return twin

    def __copy__(self) -> Self:
        """Return a client of the same parts, such as `with_send_hook` changes one of."""
        twin = type(self).__new__(type(self))
        vars(twin).update(vars(self))
        return twin

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied into another process: connections and locks do not go along."""
        raise TypeError(
            f"{type(self).__name__} holds connections, and cannot be copied or sent to another "
            "process: make one in each (in a Pool's initializer, in a worker's own function)"
        )

    def __repr__(self) -> str:
        """Return where it sends and with which model; never the key."""
        return f"{type(self).__name__}({self._config.endpoint}, model={self._config.model})"

    def _with_saving_hook(self, hook: SavingHook) -> Self:
        """Return this client for one item of a run: its request is noted and its reply saved."""
        twin = self.with_send_hook(hook)
        twin._saver = evolve(self._saver, keep=hook.keep)
        twin._sender = evolve(twin._sender, check_running=hook.check_running)
        return twin

    def _batch_parts(self, kind: Callable[..., PartsT]) -> PartsT:
        """Return what a batch needs of this client.

        Args:
            kind: Makes it, for code that waits or for asyncio.

        Raises:
            ConfigurationError: The transport cannot download, or there is a hook, which would not
                be called.
        """
        if self._sender.hook is not None:
            raise ConfigurationError(_NO_BATCH)
        transport, config = self._config.services.transport, self._config
        if missing(transport, ("download",)):
            raise ConfigurationError("this transport cannot download, which a batch needs")

        def send(request: HttpRequest) -> Any:
            return transport.send(config.delivered(request))

        def download(request: HttpRequest) -> Any:
            return transport.download(config.delivered(request))

        return kind(saver=self._saver, accounting=self._accounting, send=send, download=download)

    async def _generate(
        self, prompt: str | Prompt, options: Mapping[str, Any], how: CallSettings
    ) -> Result:
        tags = self._check(how)
        plan = partial(self._config.plan_generate, prompt, options)
        reads = isinstance(prompt, Prompt) and prompt.images  # files, of megabytes
        return await self._answer(await self._runtime.work(plan) if reads else plan(), how, tags)

    async def _edit(
        self, prompt: str | Prompt, images: Sources, options: Mapping[str, Any], how: CallSettings
    ) -> Result:
        tags = self._check(how)
        plan_edit = partial(self._config.plan_edit, prompt, images, options)
        return await self._answer(await self._runtime.work(plan_edit), how, tags)

    def _within(self, budget: Usd | None, observer: Observer | None = None) -> Self:
        """Return this client for a group of calls, with a limit and an observer of their own.

        Raises:
            ConfigurationError: The limit is no amount in USD.
        """
        if budget is None and observer is None:
            return self
        twin = copy.copy(self)
        twin._accounting = self._accounting.within(budget, observer)
        return twin

    async def _draw_any(
        self,
        prompt: str | Prompt,
        images: Sources | None,
        options: Mapping[str, Any],
        how: CallSettings,
    ) -> Result:
        """Edit where there are images to start from, else draw anew."""
        if images is None:
            return await self._generate(prompt, without_edit_options(options), how)
        return await self._edit(prompt, images, options, how)

    async def _run(
        self, request: Generate, unknown: Mapping[str, Any], how: CallSettings
    ) -> Result:
        refuse_unknown("run", unknown, CallOptions.__annotations__)
        tags = self._check(how)
        plan = partial(self._config.plan, request)
        has_inputs = bool(getattr(request, "inputs", ()))  # megabytes to be hashed
        return await self._answer(
            await self._runtime.work(plan) if has_inputs else plan(), how, tags
        )

    async def _stream(
        self,
        prompt: str | Prompt,
        images: Sources | None,
        options: Mapping[str, Any],
        how: CallSettings,
    ) -> AsyncGenerator[PartialImage | Completed]:
        tags = self._check(how)
        plan_any = partial(self._config.plan_any, prompt, images, options, stream=True)
        runtime = self._runtime
        plan = await runtime.work(plan_any)
        tried = _Tried()
        while True:
            # One generator: between two, a finished image could be lost on its way to the caller.
            call, began = self._accounting.call(plan), False
            timed = self._config.with_call(plan, timeout=how.timeout, headers=how.extra_headers)
            try:
                with self._kept_on_failure(timed, call), call:
                    parsed = await self._looked_up(timed, call, refresh=how.refresh)
                    if parsed is None:
                        async with reserve_budget(runtime, call):
                            async with aclosing(await self._sender.stream(timed, call)) as source:
                                reader = StreamReader(timed, source.reply)
                                call.arrival.reader = reader
                                broken = None
                                try:
                                    # Into the reader at once: a call that breaks off here has it.
                                    async for reader.event in source:
                                        preview = await parse_large_in_thread(
                                            runtime, reader.event, reader.take
                                        )
                                        if preview is not None:
                                            call.partial(preview)
                                            began = True
                                            yield preview
                                except OutcomeUnknownError as error:
                                    broken = error  # a finished image that came before it counts
                            spool = self._saver.parse_stream_and_spool
                            parse = partial(spool, timed, reader, broken, call.arrival)
                            parsed = await runtime.work(parse)
                            settled = partial(parsed.change, call.finished)
                            parsed = await run_accounting(runtime, call, settled)
                    completed = Completed(result=call.saved(await self._save(parsed, tags)))
                break
            except Exception as error:
                if began:
                    raise
                plan = await self._another(tried, plan, call, error)
        yield completed

    async def _looked_up(
        self, plan: Plan, call: CallTracker, *, refresh: bool
    ) -> ParsedReply | None:
        """Return what the cache has of a plan."""
        if self.cache is None or refresh:
            return None
        parsed = await self._runtime.work(partial(self._saver.cache_lookup, plan, self.cache))
        if parsed is None:
            return None
        noted = partial(parsed.change, call.cache_hit)
        return await run_accounting(self._runtime, call, noted)

    async def _estimate(
        self, prompt: str | Prompt, images: Sources | None, options: Mapping[str, Any]
    ) -> Estimate | None:
        return (await self._plan_for_estimate(prompt, images, options)).estimate

    async def _plan_for_estimate(
        self, prompt: str | Prompt, images: Sources | None, options: Mapping[str, Any]
    ) -> Plan:
        streams = options.get("partial_images") is not None
        return await self._runtime.work(
            partial(self._config.plan_any, prompt, images, options, stream=streams)
        )

    def _check(self, how: CallSettings) -> tuple[str, ...]:
        """Refuse what a call cannot use, before anything is read or sent; returns the tags.

        Raises:
            InvalidRequestError: A value is of the wrong kind.
        """
        with refuse_in_call("refresh", how.refresh):
            flag("refresh", how.refresh)
        if how.timeout is not None:
            with refuse_in_call("timeout", how.timeout):
                check_timeout(how.timeout)
        if how.extra_headers is not None:
            with refuse_in_call("extra_headers", "<headers>"):
                check_headers(how.extra_headers)
        return self._saver.check_saving(how.tags)

    async def _answer(self, plan: Plan, how: CallSettings, tags: tuple[str, ...]) -> Result:
        """Return the result, saved: of this plan, or of a model that is asked after it."""
        tried = _Tried()
        while True:
            call = self._accounting.call(plan)
            try:
                return await self._draw(plan, call, how, tags)
            except Exception as error:  # noqa: BLE001  # raised where no other model may be asked
                plan = await self._another(tried, plan, call, error)

    async def _another(
        self, tried: _Tried, plan: Plan, call: CallTracker, error: Exception
    ) -> Plan:
        """Return the plan for the model that is asked after a failure.

        Raises:
            Exception: This failure, when the call may be billed; the first one, when there is no
                model left.
        """
        if call.doubtful:  # an earlier try may be billed, whatever came of the last one
            raise error
        if tried.first is None:
            tried.first, tried.others = error, await self._instead(plan, error)
        # A budget that refuses the price of a model asked instead leaves it out.
        elif isinstance(error, BudgetExceededError) or can_fall_back(
            error, moderated=self._config.fallback_moderated
        ):
            tried.first.add_note(_NOT_EITHER.format(plan.request.model, error))
            await self._tell_hook()
        else:
            raise error
        if not tried.others:
            raise tried.first from tried.first.__cause__
        return tried.others.pop(0)

    async def _instead(self, plan: Plan, error: Exception) -> list[Plan]:
        """Return the plans for the models that may be asked after this failure."""
        if not self._config.fallbacks:
            return []
        instead = partial(self._config.instead, plan.request, error, elsewhere=plan.elsewhere)
        found = await self._runtime.work(lambda: [*instead()])
        if found:
            await self._tell_hook()
        return found

    async def _tell_hook(self) -> None:
        """Let a hook that noted a request know, before another one leaves, that it cost nothing."""
        if self._sender.hook is not None:
            await self._runtime.work(self._sender.hook.not_billed)

    async def _draw(
        self, plan: Plan, call: CallTracker, how: CallSettings, tags: tuple[str, ...]
    ) -> Result:
        """Return the result of a plan, from the cache or the service, saved."""
        plan = self._config.with_call(plan, timeout=how.timeout, headers=how.extra_headers)
        with self._kept_on_failure(plan, call), call:
            if self.cache is None:
                parsed = await self._request(plan, call)
            else:
                parsed = await self._share(self.cache, plan, call, refresh=how.refresh)
            return call.saved(await self._save(parsed, tags))

    def _kept_on_failure(self, plan: Plan, call: CallTracker) -> AbstractContextManager[None]:
        return call.arrival.kept_on_failure(partial(self._saver.keep_given_up, plan), plan.read)

    async def _share(
        self, cache: Cache, plan: Plan, call: CallTracker, *, refresh: bool
    ) -> ParsedReply:
        """Take the reply from the cache, from a request like this one in flight, or send it."""
        own: list[ParsedReply] = []

        async def send() -> NewReply:
            own.append(await self._request(plan, call))
            if call.arrival.given_up:  # this runs on for the others and the cache; see AsyncRunner
                await self._runtime.work(call.arrival.rescue)
            return own[0].fresh

        found = await self._runtime.share(
            cache, plan.key, send, refresh=refresh, sent=lambda: call.posted
        )
        parsed = await self._runtime.work(partial(self._saver.from_single_flight, plan, found, own))
        if own:
            return parsed
        noted = partial(parsed.change, call.cache_hit)
        return await run_accounting(self._runtime, call, noted)

    async def _request(self, plan: Plan, call: CallTracker) -> ParsedReply:
        async with reserve_budget(self._runtime, call):
            reply = await self._sender.send(plan, call)
            parse = partial(self._saver.parse_and_spool, plan, reply, call.arrival)
            is_cheap = self._saver.is_cheap(plan, reply)
            parsed = parse() if is_cheap else await self._runtime.work(parse)
            settled = partial(parsed.change, call.finished)
            return await run_accounting(self._runtime, call, settled)

    async def _save(self, parsed: ParsedReply, tags: tuple[str, ...]) -> Result:
        save = partial(self._saver.save, parsed, tags)
        return save() if self.store is None else await self._runtime.work(save)
