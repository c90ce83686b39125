"""The settings of both clients, and the plans they build from arguments."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, cast
from urllib.parse import urljoin

from attrs import Factory, evolve, field, frozen

from gptimage._internal.clock import Clock, check_time, in_utc
from gptimage.cache.base import Cache
from gptimage.engine.arguments import retry_of
from gptimage.engine.parse import image_urls, inline_images, parse_response
from gptimage.engine.plan import Plan, plan
from gptimage.engine.services import Services
from gptimage.errors import (
    ApiError,
    FetchError,
    ImageDecodeError,
    InvalidRequestError,
    ModelRetiredError,
    ModerationError,
    NotFoundError,
    OutcomeUnknownError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    TransportError,
)
from gptimage.image.codecs import memory_limit
from gptimage.image.download import Fetch
from gptimage.image.image import Image
from gptimage.image.mask import Mask
from gptimage.limits.quota import RetryQuota
from gptimage.models.catalog import OPENAI, Models
from gptimage.models.pricing import FREE
from gptimage.transport.billing import may_be_billed
from gptimage.transport.http import NO_HEADERS, HttpReply, HttpRequest
from gptimage.transport.retry import Retry, is_outage
from gptimage.types.inputs import (
    is_sdk_file,
    resolve,
    resolve_all,
    spread,
    with_references,
)
from gptimage.types.record import Record
from gptimage.types.request import (
    FileRef,
    Generate,
    Prompt,
    Sources,
    edit_request,
    generate_request,
    is_same_size,
    size_of_first,
    without_edit_options,
)
from gptimage.types.result import Result


if TYPE_CHECKING:
    from gptimage.budget.budget import Budget
    from gptimage.budget.ledger import Ledger
    from gptimage.limits import Limiter, Limits
    from gptimage.observers.protocol import Observer
    from gptimage.providers import Provider
    from gptimage.store import Store
    from gptimage.templates import PromptTemplates


DEFAULT_TIMEOUT: Final = 600.0
"""Seconds; high quality takes minutes, and a call given up on is a call paid for nothing."""


class Settings(TypedDict, total=False):
    """Settings both clients take, besides how they connect; None is a setting left out.

    Attributes:
        provider: The service that draws: a name such as ``azure``, or a `Provider`; OpenAI when
            left out. ``model="azure/gpt-image-2"`` names another one for a call.
        fallbacks: Models that are tried in turn, such as ``azure/gpt-image-2``, after a failure
            that cannot have been billed; the result's warnings say why.
        fallback_moderated: Whether a refusal of the prompt by the safety system counts as one.
        providers: More services whose name a model may begin with; those that the library knows
            need not be listed.
        model: The model used when a call names none.
        chat_model: The model that reads the words of a conversation that names none.
        retry: When to send again; ``Retry(attempts=1)`` or 0 never does. Another number is
            refused: some mean all tries by it, some only the further ones.
        models: Another catalogue.
        fetch: How images named by URL are downloaded; ``Fetch(allow_private=True)``
            also reads from your own network.
        clock: Tells the time (UTC); decides which models are still alive and which prices hold.
        budget: The most that may be spent; a call that could cross it is not sent.
        ledger: Where every call is entered; the budget's when left out.
        observers: What receives the events of a call.
        limits: How fast to send; a `Limiter` made by `Limits.limiter` is shared by clients.
    """

    provider: str | Provider | None
    providers: Sequence[Provider] | None
    fallbacks: Sequence[str] | None
    fallback_moderated: bool | None
    model: str | None
    chat_model: str | None
    retry: Retry | Literal[0] | None
    models: Models | None
    fetch: Fetch | None
    clock: Callable[[], datetime] | None
    budget: Budget | None
    ledger: Ledger | None
    observers: Sequence[Observer] | None
    limits: Limits | Limiter | None


class ClientSettings(Settings, total=False):
    """Settings both clients take, with the parts that hold their images and prompts.

    Attributes:
        store: Where every image is saved: a folder, or a `Store`.
        cache: Where responses are saved, so that the same request is paid for once: a folder, or
            what `Cache` makes.
        templates: The prompt templates of `render`; the built-in ones when left out.
    """

    store: Store | str | os.PathLike[str] | None
    cache: Cache | str | os.PathLike[str] | None
    templates: PromptTemplates | None


@frozen(kw_only=True)
class ClientConfig:
    """The settings of a client.

    Attributes:
        services: The providers it sends to.
        models: The catalogue.
        model: The model used when a call names none.
        retry: When to send again.
        fetch: How images named by URL are downloaded.
        clock: Tells the time (UTC).
        store: Where images named by their id are found, or None.
        limiter: Decides when a request may be sent, or None.
        owns_limiter: Whether `close` ends it: it was made from `Limits` for this client.
        timeout: Seconds to wait for each response; None leaves it to the transport.
        headers: Headers sent with each request, under lower-case names.
        chat_model: The model that reads the words of a conversation that names none, or None.
        fallbacks: Models that are tried in turn after a failure that cannot have been billed.
        fallback_moderated: Whether a refusal of the prompt counts as one.
        quota: How many retries are left while the service is down.
    """

    services: Services
    models: Models
    model: str
    retry: Retry
    fetch: Fetch
    clock: Callable[[], datetime]
    store: Store | None = None
    limiter: Limiter | None = None
    owns_limiter: bool = False
    timeout: float | None = None
    headers: Mapping[str, str] = field(default=NO_HEADERS, repr=False)
    chat_model: str | None = None
    fallbacks: tuple[str, ...] = ()
    fallback_moderated: bool = False
    quota: RetryQuota = field(
        default=Factory(lambda self: RetryQuota(self.retry.attempts), takes_self=True), eq=False
    )

    @classmethod
    def from_settings(
        cls, settings: Settings, *, services: Services, store: Store | None
    ) -> ClientConfig:
        """Return the core for these settings, with defaults for the rest."""
        memory_limit()  # a variable that is wrong would be noticed only when an image was paid for
        models = settings.get("models") or Models.load()
        limits = settings.get("limits")
        clock = in_utc(settings.get("clock"))
        limiter = _limiter(limits, clock)
        fallbacks = tuple(settings.get("fallbacks") or ())
        for name in fallbacks:
            services.resolve(name)  # one without a key would be missed only when it is needed
        return cls(
            services=services,
            models=models,
            model=settings.get("model") or _default_model(services.own, models),
            retry=retry_of(settings.get("retry")),
            fetch=settings.get("fetch") or Fetch(),
            clock=clock,
            store=store,
            limiter=limiter,
            owns_limiter=limiter is not limits,
            chat_model=settings.get("chat_model"),
            fallbacks=fallbacks,
            fallback_moderated=settings.get("fallback_moderated") or False,
        )

    @property
    def endpoint(self) -> str:
        """The base URL of its own provider; part of the cache keys."""
        return self.services.own.base_url or ""

    def plan_generate(
        self, prompt: str | Prompt, options: Mapping[str, Any], *, stream: bool = False
    ) -> Plan:
        """Check and plan a new image; with reference images of the prompt, an edit of those."""
        if isinstance(prompt, Prompt) and prompt.images:
            return self.plan_edit(prompt, None, options, stream=stream)
        return self.plan(generate_request(prompt, options, default_model=self.model, stream=stream))

    def plan_edit(
        self,
        prompt: str | Prompt,
        images: Sources | None,
        options: Mapping[str, Any],
        *,
        stream: bool = False,
    ) -> Plan:
        """Read or download the images, then check and plan the edit."""
        prompt, resolved, rest = self.read_inputs(prompt, images, options)
        mask, markup = rest.pop("mask"), rest.pop("markup")
        if is_same_size(rest.get("size")):
            rest["size"] = size_of_first(resolved)
        request = edit_request(
            prompt,
            rest,
            images=resolved,
            mask=mask,
            markup=markup,
            default_model=self.model,
            stream=stream,
        )
        return self.plan(request)

    def read_inputs(
        self, prompt: str | Prompt, images: Sources | None, options: Mapping[str, Any]
    ) -> tuple[str | Prompt, tuple[Image | FileRef, ...], dict[str, Any]]:
        """Return the arguments of an edit with what was read or downloaded in place of its inputs.

        Raises:
            InvalidRequestError: An input is no image.
            FetchError: A URL could not be downloaded safely.
        """
        mask, markup = options.get("mask"), self._stored(options.get("markup"))
        prompt, resolved = self.resolve_images(prompt, images)
        mask = self.resolve_mask(mask)
        if markup is not None:
            markup = resolve(markup, field="markup", fetch=self.fetch)
        return prompt, resolved, {**options, "mask": mask, "markup": markup}

    def resolve_images(
        self, prompt: str | Prompt, images: Sources | None
    ) -> tuple[str | Prompt, tuple[Image | FileRef, ...]]:
        """Read or download images, after which come those of the prompt; return its whole text.

        Raises:
            InvalidRequestError: An input is no image.
            FetchError: A URL could not be downloaded safely.
        """
        resolved: tuple[Image | FileRef, ...] = ()
        if images is not None:
            images = spread(images, stored=self.store is not None)
            found: Any = self._stored(images)
            if isinstance(images, (list, tuple)) and not is_sdk_file(images):
                found = [self._stored(each) for each in images]
            resolved = resolve_all(found, fetch=self.fetch)
        return with_references(prompt, resolved, fetch=self.fetch)

    def plan_any(
        self,
        prompt: str | Prompt,
        images: Sources | None,
        options: Mapping[str, Any],
        *,
        stream: bool = False,
    ) -> Plan:
        """Return an edit when there are images to start from, else a new image."""
        if images is None:
            return self.plan_generate(prompt, without_edit_options(options), stream=stream)
        return self.plan_edit(prompt, images, options, stream=stream)

    def plan(self, request: Generate) -> Plan:
        """Check and plan a request that is already a value."""
        if not isinstance(request, Generate):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            raise InvalidRequestError(
                "run() takes a Generate or an Edit; generate() takes a prompt",
                field="request",
                value=cast("object", request),
            )
        now = check_time(self.clock())
        try:
            return self.planned(request, now.date())
        except ModelRetiredError as error:
            for plan in self.instead(request, error):
                return plan
            raise

    def instead(
        self, request: Generate, error: Exception, *, elsewhere: bool = False
    ) -> Iterator[Plan]:
        """Yield the plans of a request for the models that may draw it after a failure.

        A model that cannot do what is asked is passed over.

        Args:
            request: What was asked.
            error: How that ended.
            elsewhere: Whether it had gone to another provider than the call names already.
        """
        if not self.fallbacks or not can_fall_back(error, moderated=self.fallback_moderated):
            return
        why = _instead_of(request.model, error)
        asked, _, _ = self.services.resolve(request.model)
        for name in self.fallbacks:
            try:
                found = self.planned(evolve(request, model=name), self.clock().date())
            except InvalidRequestError:
                continue
            if found.request.model != request.model:
                yield evolve(
                    found,
                    warnings=(*found.warnings, why),
                    elsewhere=elsewhere or found.provider is not asked,
                )

    def planned(self, request: Generate, today: date, *, batch: bool = False) -> Plan:
        """Plan a request for the provider that its model names."""
        provider, model, named = self.services.resolve(request.model)
        found = plan(
            request if named == request.model else evolve(request, model=named),
            models=self.models,
            today=today,
            endpoint=provider.base_url or "",
            provider=provider,
            model=model,
            batch=batch,
        )
        if provider is self.services.own:
            return found
        return evolve(found, wire=evolve(found.wire, provider=provider.name))

    def with_call(
        self, plan: Plan, *, timeout: float | None, headers: Mapping[str, str] | None
    ) -> Plan:
        """Return the plan with what a call says about its own delivery; its key stays the same."""
        if plan.elsewhere:  # the headers were meant for whom the call names, and may be secret
            headers = None
        if timeout is None and not headers:
            return plan
        own = {name.lower(): value for name, value in (headers or {}).items()}
        wire = evolve(plan.wire, headers={**plan.wire.headers, **own}, timeout=timeout)
        return evolve(plan, wire=wire)

    def with_retry(self, retry: Retry) -> ClientConfig:
        """Return these settings with another `Retry`, which has a quota of its own."""
        return evolve(self, retry=retry, quota=RetryQuota(retry.attempts))

    def delivered(self, request: HttpRequest) -> HttpRequest:
        """Return the request with the client's headers and timeout where it has none."""
        if request.provider:  # the headers were meant for the client's own
            return request if request.timeout else evolve(request, timeout=self.timeout)
        if self.timeout is None and not self.headers:
            return request
        timeout = self.timeout if request.timeout is None else request.timeout
        return evolve(request, headers={**self.headers, **request.headers}, timeout=timeout)

    def delay(
        self,
        attempt: int,
        outcome: HttpReply | TransportError | OutcomeUnknownError,
        *,
        unknown: int = 0,
        costs_nothing: bool = False,
        service: str | None = None,
    ) -> float | None:
        """Return seconds until the next try, or None when this was the last one.

        Args:
            attempt: How many tries have been made, from 1.
            outcome: What came of the last one.
            unknown: How many tries before the last one may have been billed.
            costs_nothing: Whether the request is one that nobody bills.
            service: The name of the provider; the client's own when left out.
        """
        delay = self.retry.delay(
            attempt,
            outcome,
            jitter=random.random(),
            now=self.clock(),
            unknown=unknown,
            costs_nothing=costs_nothing,
        )
        if delay is None or costs_nothing or not is_outage(outcome):
            return delay
        return delay if self.quota.take(service or self.services.own.name) else None

    def acquire_rate_limit(self, plan: Plan) -> float:
        """Return seconds until a request may be sent; 0 when it may be sent now, and is counted."""
        limiter = self._limiter_of(plan.provider)
        if limiter is None:
            return 0.0
        from gptimage.limits import tokens_of

        return limiter.acquire(plan.images, tokens_of(plan.estimate))

    def per_minute(self) -> int | None:
        """How many requests for one image each may be sent in a minute, as far as is known."""
        limiter = self._limiter_of(self.services.own)
        if limiter is None:
            return None
        from gptimage.limits import WindowLimiter

        return limiter.per_minute() if isinstance(limiter, WindowLimiter) else None

    def update_limits(self, plan: Plan, reply: HttpReply) -> None:
        """Tell the limiter of the service what came back, of which others know nothing."""
        limiter = self._limiter_of(plan.provider)
        if limiter is not None:
            limiter.learn(reply)

    def answered(self, plan: Plan, *, retried: bool) -> None:
        """Note that the service of a plan is up; see `RetryQuota.answered`."""
        self.quota.answered(plan.provider.name, retried=retried)

    def _limiter_of(self, provider: Provider) -> Limiter | None:
        """Return the limiter of a provider: one of the user's own making is that of all."""
        if self.limiter is None:
            return None
        from gptimage.limits import WindowLimiter

        if isinstance(self.limiter, WindowLimiter):
            return self.limiter.of(provider.name)
        return self.limiter

    def close(self) -> None:
        """End what was made for this client alone; harmless when done twice."""
        if self.limiter is not None and self.owns_limiter:
            self.limiter.close()

    def parse(self, plan: Plan, reply: HttpReply, unreachable: Mapping[str, str]) -> Result:
        """Read a reply whose images are at hand."""
        return parse_response(plan, reply, unreachable, now=self.clock())

    def inline_image_urls(
        self, endpoint: str, reply: HttpReply
    ) -> tuple[HttpReply, dict[str, str]]:
        """Return the reply with all its images in it, and why some could not be downloaded.

        Images a reply names by address are downloaded without the key, and kept only when
        they are images: what else answers there is nobody's business.
        """
        found: dict[str, bytes] = {}
        unreachable: dict[str, str] = {}
        for url in image_urls(reply):
            try:
                whole = urljoin(f"{endpoint.rstrip('/')}/", url)
                found[url] = Image.from_bytes(self.fetch.from_service(whole, endpoint)).data
            except (FetchError, ImageDecodeError, ValueError) as error:
                unreachable[url] = str(error)
        return inline_images(reply, found) if found else reply, unreachable

    def parse_cached(self, plan: Plan, body: bytes | bytearray | memoryview) -> Result:
        """Parse a reply from the cache: it costs nothing now."""
        plain = body if isinstance(body, (bytes, bytearray)) else bytes(body)
        result = parse_response(plan, HttpReply(status=200, body=plain), now=self.clock())
        return evolve(result, cached=True, cost=FREE)

    def _stored(self, source: Any) -> Any:
        """Return the image a store's id or record stands for; anything else as it is."""
        id = source.id if isinstance(source, Record) else source
        if self.store is None or not isinstance(id, str) or not id.startswith("img_"):
            return source
        from gptimage.store.names import is_id

        return self.store.open(id) if is_id(id) else source

    def resolve_mask(self, mask: object) -> Mask | FileRef | None:
        """Read or download a mask, if it is not one already."""
        if mask is None or isinstance(mask, (Mask, FileRef)):
            return mask
        found = resolve(self._stored(mask), field="mask", fetch=self.fetch, formats=None)
        return Mask.open(found) if isinstance(found, Image) else found


# When a call goes to another model: only after a failure that cannot have been billed.

_PASSING: Final = (NotFoundError, QuotaExceededError, RateLimitError, ServerError)
"""Answers about the service or the account; those about the request or the key stay errors."""


def can_fall_back(error: Exception, *, moderated: bool) -> bool:
    """Return whether another model may be asked after this failure.

    An unknown outcome never qualifies: what was sent may be drawn and billed.

    Args:
        error: How the call ended.
        moderated: Whether a refusal of the prompt or an input image counts, too. One of what was
            drawn never does: it may be billed.
    """
    if isinstance(error, (TransportError, ModelRetiredError)):
        return True
    if not isinstance(error, ApiError) or may_be_billed(error):
        return False
    if isinstance(error, ModerationError):
        return moderated and error.stage == "input"
    return isinstance(error, _PASSING)


def _instead_of(model: str, error: Exception) -> str:
    """Return the warning of a result that another model made."""
    return f"{model} did not draw it, and nothing was billed there ({error}): this model did"


def _default_model(provider: Provider, models: Models) -> str:
    """Return the model that everybody has there; empty where there is none."""
    return provider.default_model or (models.default if provider.rows == OPENAI else "")


def _limiter(limits: Limits | Limiter | None, clock: Clock) -> Limiter | None:
    if limits is None:
        return None
    from gptimage.limits import limiter_of

    return limiter_of(limits, clock=clock)
