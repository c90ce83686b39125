"""A paid reply outlives its call: whatever breaks that off, and wherever, no image is lost."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Self

import pytest

import gptimage
from gptimage.cache import Cache
from gptimage.conversation import Turn
from gptimage.store import PendingReplies, Store
from gptimage.transport.base64_body import decoded_images
from gptimage.transport.http import HttpReply, HttpRequest, ServerEvent
from tests.client.harness import TODAY, answer, event, picture
from tests.conversation import helpers as turns


PACKAGE = str(Path(gptimage.__file__).parent)
IMAGE = picture()
SAVES = "'gptimage recover' or Store.recover saves its images"
PREVIEW = picture(32, 32)
OPTIONS: dict[str, Any] = {"quality": "low", "size": "1024x1024", "model": "gpt-image-2.5-flare"}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's state folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


class Interrupter:
    """Raises an error at the n-th step of the library after its reply arrived.

    Args:
        at: At which step, from 0.
        error: What is raised.
        events: Which events of `sys.settrace` are a step.
    """

    def __init__(self, at: int, error: type[BaseException], events: frozenset[str]) -> None:
        self.at, self.error, self.events = at, error, events
        self.count = 0
        self.arrived = False
        self.where: str | None = None

    def __enter__(self) -> Self:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, kind: str, argument: object) -> Any:
        del argument
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if self.arrived and self.where is None and kind in self.events:
            self.count += 1
            if self.count > self.at:
                self.where = f"{frame.f_code.co_qualname}, line {frame.f_lineno}"
                raise self.error
        return self._trace


class Service:
    """Sends one reply or the events of one, and says when all of it is there."""

    def __init__(self, found: HttpReply | list[ServerEvent], interrupter: Interrupter) -> None:
        self.found, self.interrupter = found, interrupter
        self.got: list[Any] = []

    def send(self, request: HttpRequest) -> HttpReply:
        """The reply."""
        del request
        self.interrupter.arrived = True
        assert isinstance(self.found, HttpReply)
        return self.found

    def stream(self, request: HttpRequest) -> Events:
        """The events."""
        del request
        return Events(self)

    def close(self) -> None:
        """Nothing is open."""


class Events:
    """The events of one stream."""

    reply = HttpReply(status=200, headers={"content-type": "text/event-stream"})

    def __init__(self, service: Service) -> None:
        self.service = service

    def __iter__(self) -> Iterator[ServerEvent]:
        found = self.service.found
        assert isinstance(found, list)
        yield from found[:-1]
        self.service.interrupter.arrived = True
        yield found[-1]

    async def __aiter__(self) -> AsyncIterator[ServerEvent]:
        for each in self:
            yield each

    def close(self) -> None:
        """Nothing is open."""

    async def aclose(self) -> None:
        """Nothing is open."""


class AsyncService:
    """The same, awaited."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def send(self, request: HttpRequest) -> HttpReply:
        """The reply."""
        return self.service.send(request)

    async def stream(self, request: HttpRequest) -> Events:
        """The events."""
        return self.service.stream(request)

    async def aclose(self) -> None:
        """Nothing is open."""


REPLY = answer(IMAGE)
EVENTS = [
    event("image_generation.partial_image", PREVIEW, partial_image_index=0),
    event("image_generation.completed", IMAGE),
]
TURN = turns.reply(turns.response(turns.call(IMAGE)))
TURN_EVENTS = [
    turns.partial(PREVIEW),
    turns.event("response.output_item.done", item=turns.call(IMAGE)),
]


def generate(client: Any) -> Any:
    """A plain call."""
    return client.generate("A fox", **OPTIONS)


def edit(client: Any) -> Any:
    """An edit."""
    return client.edit("Add snow", IMAGE, **OPTIONS)


def stream(client: Any) -> Any:
    """A streamed call."""
    return client.stream("A fox", partial_images=1, **OPTIONS)


def turn(client: Any) -> Any:
    """A turn of a conversation."""
    return client.conversation().send("A fox", quality="low", size="1024x1024")


def streamed_turn(client: Any) -> Any:
    """A streamed turn."""
    return client.conversation().stream("A fox", quality="low", size="1024x1024", partial_images=1)


CALLS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "generate": (generate, REPLY),
    "edit": (edit, REPLY),
    "stream": (stream, EVENTS),
    "turn": (turn, TURN),
    "streamed-turn": (streamed_turn, TURN_EVENTS),
}


def run(
    call: Callable[[Any], Any], service: Service, kind: str, settings: dict[str, Any]
) -> list[Any]:
    """Make a call of a new client; return what the caller got: results and events."""
    settings = {"clock": lambda: TODAY, **settings}
    got = service.got
    if kind == "sync":
        found = call(gptimage.ImageClient(transport=service, **settings))
        if isinstance(found, gptimage.Result | Turn):
            got.append(found)
            return got
        for each in found:
            got.append(each)  # what came before an interruption counts
        return got

    async def main() -> None:
        found = call(gptimage.AsyncImageClient(transport=AsyncService(service), **settings))
        if not hasattr(found, "__anext__"):
            got.append(await found)
            return
        async for each in found:
            got.append(each)

    asyncio.run(main())
    return got


def waiting() -> list[bytes]:
    """The images of the replies that recovery takes at once; they are taken away."""
    found: list[bytes] = []
    for left in PendingReplies().abandoned():
        found += decoded_images(left.read())
        left.path.unlink()
    return found


def sweep(
    name: str,
    kind: str,
    error: type[BaseException],
    settings: Callable[[], dict[str, Any]],
    *,
    every: int,
    events: frozenset[str] = frozenset({"call"}),
) -> tuple[int, list[str]]:
    """Break a call off at one step after the other; return how many there were, and the losses."""
    call, found = CALLS[name]
    run(call, Service(found, Interrupter(10**9, error, events)), kind, settings())  # imports all
    at, tried, lost = 0, 0, list[str]()
    while True:
        carried = None
        with Interrupter(at, error, events) as interrupter:
            service = Service(found, interrupter)
            try:
                run(call, service, kind, settings())
            except BaseException as caught:  # noqa: BLE001  # what was raised, or what it became
                carried = getattr(caught, "reply", None) or getattr(caught, "result", None)
        if interrupter.where is None:
            return tried, lost
        delivered = any(not isinstance(each, gptimage.PartialImage) for each in service.got)
        if IMAGE not in waiting() and not delivered and carried is None:
            lost.append(interrupter.where)
        tried += 1
        at += every


# Python itself reports an error while a generator is thrown away, and the call goes on.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_call_loses_no_image(
    name: str, kind: str, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """At some of the library's steps after the reply arrived, without store or cache."""
    tried, lost = sweep(name, kind, error, dict, every=29)

    assert lost == []
    assert tried > 1


@pytest.mark.slow  # every step: some thousand calls
# As above.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("name", CALLS)
def test_no_step_loses_an_image(name: str, kind: str) -> None:
    """The same at every step."""
    tried, lost = sweep(name, kind, KeyboardInterrupt, dict, every=1)
    print(f"{name}, {kind}: {tried} steps, lost {len(lost)}")  # noqa: T201  # the figures

    assert lost == []


@pytest.mark.slow  # a thousand calls
# As above: here it is an error inside of a generator that checks the bytes of an image.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_line_loses_an_image() -> None:
    """At every line, but for those that hand the result to the caller: nothing guards them."""
    lines = frozenset({"call", "line"})
    tried, lost = sweep("generate", "sync", KeyboardInterrupt, dict, every=1, events=lines)
    print(f"generate, sync: {tried} lines, lost {lost}")  # noqa: T201  # the figures

    assert [where for where in lost if "run_blocking" not in where] == []
    assert len(lost) <= 2


def test_the_note_says_where_it_is(state: Path) -> None:
    """Ctrl-C in an observer: the exception names the file, and `recover` has the image at once."""

    class Observer:
        def notify(self, event: object) -> None:
            if type(event).__name__ == "Finished":
                raise KeyboardInterrupt

    service = Service(REPLY, Interrupter(10**9, KeyboardInterrupt, frozenset()))
    with pytest.raises(KeyboardInterrupt) as caught:
        run(generate, service, "sync", {"observers": [Observer()]})

    (path,) = state.rglob("*.reply")
    assert caught.value.__notes__ == [f"its reply is paid and was kept in {path}: {SAVES}"]
    assert os.name == "nt" or path.parent.stat().st_mode & 0o077 == 0
    with Store(state / "store") as store:
        (record,) = store.recover().saved
        assert (record.prompt, store.open(record.id).original) != ("", None)
        assert record.cost is not None
    assert list(state.rglob("*.reply")) == []


def test_a_reply_that_waits_for_the_store_is_recovered_at_once(state: Path) -> None:
    """It was in the spool when the call broke off; the note names a command that finds it there."""

    class Observer:
        def notify(self, event: object) -> None:
            if type(event).__name__ == "Finished":
                raise KeyboardInterrupt

    service = Service(REPLY, Interrupter(10**9, KeyboardInterrupt, frozenset()))
    with Store(state / "store", clock=lambda: TODAY) as store:
        with pytest.raises(KeyboardInterrupt) as caught:
            run(generate, service, "sync", {"observers": [Observer()], "store": store})

        (path,) = state.rglob("*.reply")
        assert caught.value.__notes__ == [f"its reply is paid and waits in {path}: {SAVES}"]
        assert [each.prompt for each in store.recover().saved] == ["A fox"]
    assert list(state.rglob("*.reply")) == []


def test_a_turn_is_recovered_with_the_cost_of_its_image(state: Path) -> None:
    """The usage of the chat model is not taken for that of the image."""
    service = Service(TURN, Interrupter(10**9, KeyboardInterrupt, frozenset()))

    class Observer:
        def notify(self, event: object) -> None:
            if type(event).__name__ == "Finished":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(turn, service, "sync", {"observers": [Observer()]})
    with Store(state / "store") as store:
        (record,) = store.recover().saved

    assert record.usage is not None
    assert record.usage.output_tokens == turns.IMAGE_USAGE["output_tokens"]


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("name", CALLS)
def test_without_a_folder_the_exception_carries_it(name: str, kind: str, state: Path) -> None:
    """No disk takes the reply: it is in ``reply`` of what was raised, and the note says so."""
    state.write_text("a file where the folder should be")
    call, found = CALLS[name]
    run(call, Service(found, Interrupter(10**9, KeyboardInterrupt, frozenset())), kind, {})
    carried: list[Any] = []

    class Observer:
        def notify(self, event: object) -> None:
            if type(event).__name__ == "Finished":
                raise KeyboardInterrupt

    service = Service(found, Interrupter(10**9, KeyboardInterrupt, frozenset()))
    with pytest.raises(KeyboardInterrupt) as caught:
        run(call, service, kind, {"observers": [Observer()]})
    carried.append(caught.value)

    assert decoded_images(carried[0].reply) == [IMAGE]
    assert "it is in .reply of this error" in carried[0].__notes__[-1]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_stream_that_is_left_after_its_image(kind: str, state: Path) -> None:
    """A finished image came before the last preview; the loop that breaks there loses nothing."""
    found = [EVENTS[1], EVENTS[0]]
    service = Service(found, Interrupter(10**9, KeyboardInterrupt, frozenset()))

    def left() -> None:
        client = gptimage.ImageClient(transport=service)
        events: Any = client.stream("A fox", partial_images=1, n=2, **OPTIONS)
        next(events)
        events.close()

    async def aleft() -> None:
        client = gptimage.AsyncImageClient(transport=AsyncService(service))
        events: Any = client.stream("A fox", partial_images=1, n=2, **OPTIONS)
        await anext(events)
        await events.aclose()

    if kind == "sync":
        left()
    else:
        asyncio.run(aleft())

    assert waiting() == [IMAGE]


def test_a_refusal_leaves_no_file(state: Path) -> None:
    """What holds no image is not kept."""
    refused = HttpReply(status=200, body=b'{"error": {"message": "no", "code": "x"}}')
    service = Service(refused, Interrupter(10**9, KeyboardInterrupt, frozenset()))
    with pytest.raises(gptimage.ApiError):
        run(generate, service, "sync", {})

    assert list(state.rglob("*.reply")) == []


def test_a_cancelled_task_leaves_its_reply(state: Path) -> None:
    """A task that is cancelled while its reply goes into the cache: `recover` has the image."""
    reached, go_on = asyncio.Event(), asyncio.Event()

    class SlowService(AsyncService):
        async def send(self, request: HttpRequest) -> HttpReply:
            del request
            reached.set()
            await go_on.wait()
            return REPLY

    async def main() -> None:
        service: Any = SlowService(Service(REPLY, Interrupter(0, KeyError, frozenset())))
        client = gptimage.AsyncImageClient(transport=service, cache=Cache.memory())
        task = asyncio.ensure_future(client.generate("A fox", **OPTIONS))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        while (await client.generate("A fox", **OPTIONS)).cached is False:
            raise AssertionError("it was paid for twice")

    asyncio.run(main())

    assert waiting() == [IMAGE]
