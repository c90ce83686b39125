"""A hook is called before every try, on both clients, and nothing leaves when it says no."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field

from gptimage import AsyncImageClient, ConfigurationError, ImageClient, Retry, TransportError
from gptimage.cache import Cache
from tests.workers.helpers import URL, Service, answer, refusal


class Awaited:
    """The service for an async client."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def send(self, request: Any) -> Any:
        return self._service.send(request)

    async def stream(self, request: Any) -> Any:
        raise NotImplementedError

    async def aclose(self) -> None:
        pass


@define
class Note:
    """A hook that takes notes, and may say no."""

    name: str
    notes: list[str]
    closed: bool = False
    keys: list[tuple[str, Decimal | None]] = field(factory=list)

    def before_send(self, key: str, max_cost: Decimal | None) -> None:
        self.notes.append(f"{self.name} sending")
        self.keys.append((key, max_cost))
        if self.closed:
            raise ConfigurationError("not today")

    def not_billed(self) -> None:
        self.notes.append(f"{self.name} unsent")


@define
class Turns:
    """A limiter that lets nobody through at once."""

    notes: list[str]

    def acquire(self, n_images: int, tokens: int | None) -> float:
        del n_images, tokens
        self.notes.append("turn")
        return 0.001 if len(self.notes) < 3 else 0.0

    def learn(self, reply: Any) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Any:
    """Makes clients of each kind, whose calls can be waited for."""

    def build(service: Service, **settings: Any) -> Any:
        if request.param == "sync":
            return ImageClient(transport=service, base_url=URL, **settings)
        transport: Any = Awaited(service)
        return AsyncImageClient(transport=transport, base_url=URL, **settings)

    return build


def wait(found: Any) -> Any:
    """The result of a call, awaited if need be."""

    async def awaited() -> Any:
        return await found

    return asyncio.run(awaited()) if hasattr(found, "__await__") else found


def test_it_is_asked_before_every_try(make: Any) -> None:
    """Refused for going too fast, a request passes the hook again before it leaves again."""
    says = iter([refusal(429), TransportError("no route"), answer()])
    service = Service(says=lambda: next(says))
    notes: list[str] = []
    note = Note("hook", notes)
    client = make(service, retry=Retry(first_delay=0.0)).with_send_hook(note)

    wait(client.generate("A fox", size="1024x1024", quality="low"))

    assert notes == ["hook sending", "hook unsent"] * 2 + ["hook sending"]
    assert len(service.asked) == 3
    ((key, max_cost),) = set(note.keys)
    assert key.startswith("g1:")
    assert max_cost is not None
    assert 0 < max_cost < 1


def test_it_is_asked_last(make: Any) -> None:
    """While a request waits for its turn nothing is noted as sent."""
    notes: list[str] = []
    client = make(Service(), limits=Turns(notes)).with_send_hook(Note("hook", notes))

    wait(client.generate("A fox"))

    assert notes == ["turn", "turn", "turn", "hook sending"]


def test_nothing_leaves_when_it_says_no(make: Any) -> None:
    """What a hook raises reaches the caller; the client it was made from has no hook."""
    service = Service()
    client = make(service)
    hooked = client.with_send_hook(Note("hook", [], closed=True))

    with pytest.raises(ConfigurationError, match="not today"):
        wait(hooked.generate("A fox"))
    assert service.asked == []
    wait(client.generate("A fox"))
    assert len(service.asked) == 1


def test_a_known_reply_passes_no_hook(make: Any) -> None:
    """What the cache knows does not leave, so nobody is asked."""
    service, notes = Service(), list[str]()
    client = make(service, cache=Cache.memory())
    wait(client.generate("A fox"))

    again = wait(client.with_send_hook(Note("hook", notes, closed=True)).generate("A fox"))

    assert (again.cached, notes, len(service.asked)) == (True, [], 1)


def test_every_hook_is_called(make: Any) -> None:
    """Hooks add up; one that agreed is told when a later one does not."""
    notes: list[str] = []
    first, second = Note("first", notes), Note("second", notes, closed=True)

    with pytest.raises(ConfigurationError):
        wait(make(Service()).with_send_hook(first).with_send_hook(second).generate("A fox"))

    assert notes == ["first sending", "second sending", "first unsent"]


def test_a_batch_has_no_hook(make: Any) -> None:
    """A hook that would not be called is none: batches are refused."""
    with pytest.raises(ConfigurationError, match="send hook"):
        wait(make(Service()).with_send_hook(Note("hook", [])).submit_batch(["A fox"]))
