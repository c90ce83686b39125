"""`Limits`: how fast a client may send, so that the service need not refuse it.

A `Limiter` is called before every request is sent and after every reply. It never waits by
itself: it returns how long to, and each client waits in its own way. Threads and tasks share one;
processes and machines share their count through SQLite or Redis (extra ``limits``).
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from attrs import define, evolve, field, frozen

from gptimage._internal.clock import Clock, utc_now
from gptimage._internal.keywords import as_int, path, strict_class, text, whole
from gptimage.errors import ConfigurationError, InvalidRequestError
from gptimage.limits.headers import KINDS, Kind, RateLimited, age, refusal, reported_limits
from gptimage.limits.window import SPAN, Window
from gptimage.models.pricing import Estimate
from gptimage.secrets import remember_url, scrub
from gptimage.transport.http import HttpReply
from gptimage.transport.retry import retry_after


if TYPE_CHECKING:
    from gptimage.limits.shared import SharedWindows


# Who waits for a turn, in the order of asking, so that many small requests starve no large one.
#
# A request that waits keeps its slot: what it needs is set aside, and whoever came later goes
# only if there is room for both. The time is an argument, as in a `Window`.

_PATIENCE: Final = 5.0
"""Seconds a slot stays reserved for a caller that was to try again, and may have given up."""

_EARLY: Final = 0.001
"""Seconds; clocks are not exact, and whoever is that much too early is in time."""


@define(eq=False)
class Slot:
    """One slot in the line.

    Attributes:
        needs: What the request needs, by kind.
        due: When it may try again.
    """

    needs: Mapping[Kind, int]
    due: float


@define
class FairQueue:
    """The slots of those who wait, oldest first."""

    _slots: list[Slot] = field(factory=list[Slot])

    def find(self, needs: Mapping[Kind, int], now: float) -> tuple[Slot | None, list[Slot]]:
        """Return the slot of a request, and those before it; all of them when it is new.

        Nobody says who asks, so a slot belongs to whoever comes when it is due and needs the
        same: requests that are alike may change slots, and none of them is worse off.
        """
        self._slots = [each for each in self._slots if each.due + _PATIENCE > now]
        for number, slot in enumerate(self._slots):
            if slot.due <= now + _EARLY and slot.needs == needs:
                return slot, self._slots[:number]
        return None, self._slots

    def reserve(self, slot: Slot | None, needs: Mapping[Kind, int], due: float) -> None:
        """Keep a slot, or give a new one at the end, until it is due."""
        if slot is None:
            self._slots.append(Slot(needs, due))
        else:
            slot.due = due

    def leave(self, slot: Slot | None) -> None:
        """Remove a slot once its request may be sent."""
        if slot is not None:
            self._slots.remove(slot)


_LONGEST_BACK_OFF: Final = 600.0
"""Seconds; after a longer wait that the service asks for, one try in between shows if it holds."""

_SHORTEST_BACK_OFF: Final = 1.0
"""Seconds to hold back after a refusal that names no time."""

_DEFAULT: Final = "openai"
"""The service that a limiter by itself is of."""

_TICK: Final = 0.001
"""Seconds; a shorter wait could round to no wait at all, again and again."""


@runtime_checkable
class Limiter(Protocol):
    """Decides when a request may be sent. Safe for any number of threads."""

    def acquire(self, n_images: int, tokens: int | None) -> float:
        """Ask for a turn, without waiting.

        Args:
            n_images: How many images the request asks for.
            tokens: How many tokens it should use, or None when that is not known.

        Returns:
            0 when it may be sent now, which is then counted; else how many seconds to wait
            before asking again, and nothing is counted.

        Raises:
            InvalidRequestError: It could never be sent.
        """
        ...

    def learn(self, reply: HttpReply) -> None:
        """Learn from a reply; called for every one."""
        ...

    def close(self) -> None:
        """Release files and connections; harmless when done twice."""
        ...


def _without_password(shared: object) -> str:
    return scrub(repr(shared))


@strict_class
@frozen(kw_only=True)
class Limits:
    """A limit on the speed of a client. What is None is learned from the service's replies alone.

    Each service that a client sends to has a count of its own.

    The lower one holds of what you set and what the service states.

    Attributes:
        images_per_minute: How many images may be requested.
        requests_per_minute: How many requests may be sent.
        tokens_per_minute: How many tokens requests may use; one whose tokens cannot be
            estimated (automatic size or quality) counts as none.
        shared: Where processes count together: a file for those of one machine, or
            ``redis://...`` for several machines; needs the extra ``limits``.
        name: Those who share a place count together only under the same name: one per account.

    Raises:
        ConfigurationError: A limit is below 1, or there is nothing to share.
    """

    images_per_minute: int | None = field(default=None, converter=as_int)
    requests_per_minute: int | None = field(default=None, converter=as_int)
    tokens_per_minute: int | None = field(default=None, converter=as_int)
    shared: str | os.PathLike[str] | None = field(default=None, repr=_without_password)
    name: str = "gptimage"

    def __attrs_post_init__(self) -> None:
        """Refuse what makes no sense."""
        for kind, limit in self.by_kind.items():
            whole(f"{kind}_per_minute", limit, 1)
        text("name", self.name)
        if self.shared is not None:
            path("shared", self.shared)
            remember_url(os.fspath(self.shared))
        if self.shared is not None and not self.by_kind:
            raise ConfigurationError(
                "shared limits need a number: Limits(images_per_minute=50, shared=...)"
            )

    @property
    def by_kind(self) -> Mapping[Kind, int]:
        """The numbers that were set, by what they count."""
        given = (self.images_per_minute, self.requests_per_minute, self.tokens_per_minute)
        return {kind: limit for kind, limit in zip(KINDS, given, strict=True) if limit is not None}

    def limiter(self, *, clock: Clock = utc_now) -> Limiter:
        """Return a limiter for several clients of this process; one client makes its own.

        Args:
            clock: Tells the time (UTC), for replies that name a date to wait for.

        Raises:
            ConfigurationError: A package is missing, or the shared place cannot be used.
        """
        return WindowLimiter(self, shared=_shared(self), utc=clock)


def _shared(limits: Limits) -> SharedWindows | None:
    if limits.shared is None:
        return None
    from gptimage.limits.shared import SharedWindows

    return SharedWindows(os.fspath(limits.shared), limits.name, limits.by_kind)


@define(eq=False)
class WindowLimiter:
    """The `Limiter` that counts what was sent in the last minute; those who wait form a line.

    Attributes:
        limits: What the user set.
        clock: Measures how long ago something was, in seconds from anywhere.
        utc: Tells the time (UTC), for replies that name a date to wait for.
    """

    limits: Limits
    shared: SharedWindows | None = field(default=None, kw_only=True)
    clock: Callable[[], float] = field(default=time.monotonic, kw_only=True)
    utc: Clock = field(default=utc_now, kw_only=True)
    _windows: dict[Kind, Window] = field(init=False)
    _queue: FairQueue = field(init=False, factory=FairQueue)
    _refused: Window = field(init=False, factory=Window)
    _backed_off_until: float = field(init=False, default=0.0)
    _knows_limit: bool = field(init=False, default=False)
    _others: dict[str, WindowLimiter] = field(init=False, factory=dict[str, "WindowLimiter"])
    _lock: threading.Lock = field(init=False, factory=threading.Lock, repr=False)

    def __attrs_post_init__(self) -> None:
        """One window for each thing that is counted."""
        self._windows = {kind: Window(self.limits.by_kind.get(kind)) for kind in KINDS}

    def of(self, service: str) -> WindowLimiter:
        """Return the limiter of another service, with the same limits and a count of its own.

        Args:
            service: Its name; OpenAI's is this one.
        """
        if service == _DEFAULT:
            return self
        with self._lock:  # two threads must not make two, which would count apart
            if service not in self._others:
                name = re.sub(r"[^A-Za-z0-9_-]", "-", f"{self.limits.name}-{service}")[:64]
                limits = evolve(self.limits, name=name)
                shared = None if self.shared is None else _shared(limits)
                found = WindowLimiter(limits, shared=shared, clock=self.clock, utc=self.utc)
                self._others[service] = found
            return self._others[service]

    def acquire(self, n_images: int, tokens: int | None) -> float:
        """Ask for a turn; see `Limiter.acquire`."""
        needs: dict[Kind, int] = {"images": n_images, "requests": 1, "tokens": tokens or 0}
        self._check(needs)
        with self._lock:
            now = self.clock()
            slot, ahead = self._queue.find(needs, now)
            wait = max(self._backed_off_until - now, self._room(needs, ahead, now))
            if wait <= 0 and self.shared is not None:
                wait = self.shared.take(needs)
            if wait > 0:
                # A request is not tried again before those ahead of it.
                after = ahead[-1].due - now + _TICK if ahead else _TICK
                wait = max(wait, after)
                self._queue.reserve(slot, needs, now + wait)
                return wait
            self._queue.leave(slot)
            for kind, window in self._windows.items():
                window.take(needs[kind], now)
        return 0.0

    def learn(self, reply: HttpReply) -> None:
        """Learn from a reply; see `Limiter.learn`."""
        refused = refusal(reply, retry_after(reply.headers, self.utc()))
        with self._lock:
            now = self.clock()
            as_of = now - age(reply.headers)
            for each in reported_limits(reply.headers):
                if each.limit is not None:
                    self._knows_limit = True
                    self._windows[each.kind].learn(each.limit, now)
                if each.used is not None and each.reset is not None:
                    self._windows[each.kind].others(each.used, each.reset, as_of, now)
            if refused is not None:
                self._back_off(refused, now)

    def per_minute(self) -> int | None:
        """Return how many requests for one image fit into a minute; None while nothing is known."""
        with self._lock:
            now = self.clock()
            known = [self._windows[kind].limit(now) for kind in ("images", "requests")]
        return min((limit for limit in known if limit is not None), default=None)

    def close(self) -> None:
        """Release what is shared."""
        for each in (self, *self._others.values()):
            if each.shared is not None:
                each.shared.close()

    def _room(self, needs: Mapping[Kind, int], ahead: list[Slot], now: float) -> float:
        """Return seconds until there is room for a request and for those before it."""
        return max(
            window.wait(needs[kind], now, [slot.needs[kind] for slot in ahead])
            for kind, window in self._windows.items()
        )

    def _back_off(self, refused: RateLimited, now: float) -> None:
        """Hold back all requests until the time the service named, and to the speed it bears."""
        again = _SHORTEST_BACK_OFF if refused.again is None else refused.again
        self._backed_off_until = max(self._backed_off_until, now + min(again, _LONGEST_BACK_OFF))
        self._refused.take(1, now)
        reached = refused.reported
        if reached is not None and reached.limit is not None:
            self._knows_limit = True
            self._windows[reached.kind].learn(reached.limit, now)
            reset = SPAN * (reached.used or 0) / max(1, reached.limit)
            self._windows[reached.kind].others(reached.used or 0, reset, now, now)
        elif not self.limits.by_kind and not self._knows_limit:
            # It names no limit, so what it has just accepted is the best guess.
            requests = self._windows["requests"]
            requests.learn(requests.used(now) - self._refused.used(now), now)

    def _check(self, needs: Mapping[Kind, int]) -> None:
        """Refuse what can never fit into a limit of the user's own."""
        for kind, limit in self.limits.by_kind.items():
            if needs[kind] > limit:
                raise InvalidRequestError(
                    f"one call for {needs[kind]} {kind} never fits into "
                    f"{kind}_per_minute={limit}: ask for less at once, or raise the limit",
                    field="n" if kind == "images" else "size",
                    value=needs[kind],
                    allowed=f"up to {limit} {kind}",
                )


def limiter_of(limits: Limits | Limiter | None, *, clock: Clock = utc_now) -> Limiter | None:
    """Return the limiter a client's setting stands for; None never holds anything back.

    Raises:
        ConfigurationError: It is neither, or its shared place cannot be used.
    """
    if limits is None:
        return None
    if isinstance(limits, Limits):
        return limits.limiter(clock=clock)
    if isinstance(limits, Limiter):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        return limits
    raise ConfigurationError("limits must be a Limits(...) or a Limiter")


def tokens_of(estimate: Estimate | None) -> int | None:
    """Return how many tokens a request should use, or None when that cannot be known."""
    return None if estimate is None else estimate.input_tokens + estimate.output_tokens
