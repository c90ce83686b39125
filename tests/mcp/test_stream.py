"""``/stream``: a web page draws and hears how far it is, and nothing that is paid gets lost."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import gptimage
from gptimage.sandbox import Sandbox
from gptimage.service.http import JobEvents
from gptimage.service.http import events as job_events
from gptimage_mcp.config.settings import Settings
from gptimage_mcp.jobs.job import Progress
from gptimage_mcp.server import build_server
from tests.mcp.harness import ServerFixture, picture, server_fixture
from tests.mcp.http_helpers import JSON, Site, draw, events, serving


QUIET: dict[str, Any] = {"transport": "http", "log_level": "ERROR", "calls_per_minute": 1000}
FOX: dict[str, Any] = {"prompt": "a fox", "size": "1024x1024", "quality": "low"}


@pytest.fixture
def home(tmp_path: Path) -> ServerFixture:
    """A server on this machine."""
    return server_fixture(tmp_path, **QUIET)


@pytest.fixture
def site(home: ServerFixture) -> Iterator[Site]:
    """The same, listening."""
    with serving(home.server, home.app.settings) as found:
        yield found


def until(happened: Callable[[], bool]) -> None:
    """Wait for something that is going to happen."""
    for _ in range(3000):
        if happened():
            return
        time.sleep(0.01)
    raise AssertionError("it never happened")


def test_a_page_hears_how_far_it_is_and_gets_the_picture(tmp_path: Path) -> None:
    """Progress comes first, then previews, and at the end the picture with its address and cost."""
    home = server_fixture(tmp_path, Sandbox(latency=0.2), **QUIET)
    with serving(home.server, home.app.settings) as site:
        answer = site.post("/stream", {**FOX, "partial_images": 2, "tags": ["zoo"]})
        told = events(answer.text)
        name, last = told[-1]
        (image,) = last["images"]
        fetched = site.get(image["url"])

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store, no-transform"
    names = [each for each, _ in told]
    assert (names[0], name) == ("progress", "complete")
    assert names.count("partial") in {1, 2}  # a newer one replaces what was not sent yet
    assert {what["handle"] for _, what in told} == {last["handle"]}
    record = home.store.get(image["id"])
    assert fetched.content == home.store.open(record.id).data
    assert image["uri"] == f"generated-images://{record.id}"
    assert (image["width"], image["height"], image["mime_type"]) == (1024, 1024, "image/png")
    assert record.cost is not None
    assert Decimal(last["cost_usd"]) == record.cost.usd
    assert {"zoo", last["handle"]} <= {*record.tags}
    assert "path" not in image


def test_previews_are_small_pictures(tmp_path: Path) -> None:
    """A preview is a whole picture in the event, never larger than a page needs."""
    home = server_fixture(tmp_path, Sandbox(latency=0.2), **QUIET)
    with serving(home.server, home.app.settings) as site:
        asked = {**FOX, "size": "2048x1152", "partial_images": 1}
        told = events(site.post("/stream", asked).text)

    (partial,) = [what for name, what in told if name == "partial"]
    shown = gptimage.Image.open(partial["image"])
    assert shown.size == (partial["width"], partial["height"]) == (1024, 576)
    assert len(base64.b64decode(partial["image"].partition(",")[2])) <= 256 * 1024


def test_pictures_make_it_an_edit(home: ServerFixture, site: Site) -> None:
    """With ``images`` the parameters are those of ``edit_image``, ids and boxes included."""
    first = draw(home.store)
    asked = {**FOX, "images": [first.id], "mask_box": [10, 10, 100, 100]}

    last = events(site.post("/stream", asked).text)[-1][1]

    record = home.store.get(last["images"][0]["id"])
    assert record.operation == "edit"
    assert first.sha256 in record.sources


def test_rare_parameters_may_stand_where_the_tools_have_them(
    home: ServerFixture, site: Site
) -> None:
    """``advanced`` is understood as it is by the tools."""
    site.post("/stream", {**FOX, "format": "jpeg", "advanced": {"compression": 5}})

    assert home.sandbox.requests[-1].body["output_compression"] == 5


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({**FOX, "n": 99}, "n"),
        ({**FOX, "size": "7x"}, "size"),
        ({**FOX, "colour": "red"}, "colour"),
        ({**FOX, "output_format": "png"}, "output_format"),
        ({**FOX, "quality": "best"}, "quality"),
        ({**FOX, "images": ["img_20261121T000000000000_" + "0" * 32]}, "img_20261121"),
        ({**FOX, "images": ["/etc/passwd"]}, "images"),
        ({**FOX, "images": ["http://169.254.169.254/latest/meta-data"]}, "https"),
        ({**FOX, "images": []}, "images"),
        ({**FOX, "advanced": {"compresion": 5}}, "compresion"),
        ({**FOX, "advanced": 5}, "advanced"),
        ({**FOX, "save_to": "../../elsewhere.png"}, "save_to"),
    ],
)
def test_wrong_parameters_are_refused_by_name(
    home: ServerFixture, site: Site, asked: dict[str, Any], named: str
) -> None:
    """What makes no sense is refused before anything is sent, and the answer names it."""
    answer = site.post("/stream", asked)
    told = answer.text if answer.status_code == 400 else events(answer.text)[-1][1]["message"]

    assert named in told
    assert home.sandbox.requests == []
    assert len(home.store.history()) == 0


def test_a_server_draws_no_more_than_it_may(tmp_path: Path) -> None:
    """The limits of the tools hold for pages, too."""
    home = server_fixture(tmp_path, **QUIET, max_images=2)
    with serving(home.server, home.app.settings) as site:
        answer = site.post("/stream", {**FOX, "n": 3})

    assert answer.status_code == 400
    assert "GPTIMAGE_MAX_IMAGES" in answer.json()["error_description"]


def test_only_json_is_read(site: Site) -> None:
    """What a page of another site can send without asking is not read: forms and plain text."""
    with site.client() as client:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
            answer = client.post("/stream", content=json.dumps(FOX), headers={"content-type": kind})
            assert answer.status_code == 415, kind
        for body in (b"", b"{", b"[]", b"7", b"\xff", b"[" * 5000):
            assert client.post("/stream", content=body, headers=JSON).status_code == 400, body


def test_a_failure_says_what_to_do(home: ServerFixture, site: Site) -> None:
    """What the service refuses arrives as an event that names the reason and the next step."""
    home.sandbox.fail_next("moderation")

    name, what = events(site.post("/stream", FOX).text)[-1]

    assert (name, what["error"]) == ("error", "ModerationError")
    assert "Next:" in what["message"]
    assert what["handle"].startswith("job_")


def test_without_a_key_it_says_so(tmp_path: Path) -> None:
    """A server that cannot draw answers 503 and names the variable."""
    told = Settings(store=tmp_path / "s", ledger=tmp_path / "l.sqlite", **QUIET)
    with serving(build_server(told), told) as site:
        answer = site.post("/stream", FOX)

    assert answer.status_code == 503
    assert "OPENAI_API_KEY" in answer.json()["error_description"]


def test_who_leaves_finds_the_picture_later(tmp_path: Path) -> None:
    """A page that goes away loses nothing: the picture is saved, and its handle leads there."""
    home = server_fixture(tmp_path, Sandbox(latency=0.3), **QUIET)
    with serving(home.server, home.app.settings) as site:
        with site.client() as client, client.stream("POST", "/stream", json=FOX) as answer:
            lines = answer.iter_lines()
            assert next(lines) == "event: progress"
            handle = json.loads(next(lines).removeprefix("data: "))["handle"]
        assert len(home.store.history()) == 0
        until(lambda: len(home.store.history()) == 1)
        again = events(site.get(f"/stream/{handle}").text)
    restarted = server_fixture(tmp_path, **QUIET)
    with serving(restarted.server, restarted.app.settings) as site:
        later = events(site.get(f"/stream/{handle}").text)

    for told in (again, later):
        name, what = told[-1]
        assert name == "complete"
        assert [each["id"] for each in what["images"]] == [home.store.history()[0].id]
        assert what["cost_usd"] is not None
    assert len(home.sandbox.requests) == 1


def test_nobody_pays_twice_for_asking_again(tmp_path: Path) -> None:
    """A page that lost its connection and asks the same again joins what is being drawn."""
    home = server_fixture(tmp_path, Sandbox(latency=0.3), cache=False, **QUIET)
    with serving(home.server, home.app.settings) as site, ThreadPoolExecutor(5) as threads:
        texts = [*threads.map(lambda _: site.post("/stream", FOX).text, range(5))]

    ends = [events(text)[-1] for text in texts]
    assert {name for name, _ in ends} == {"complete"}
    assert len({what["handle"] for _, what in ends}) == 1
    assert len(home.sandbox.requests) == 1


def test_fifty_pages_draw_at_once(tmp_path: Path) -> None:
    """Fifty drawings at once all end well, and each page gets its own picture."""
    home = server_fixture(tmp_path, Sandbox(latency=0.1), **QUIET)
    prompts = [f"fox number {number}" for number in range(50)]
    with serving(home.server, home.app.settings) as site, ThreadPoolExecutor(50) as threads:
        texts = [*threads.map(lambda it: site.post("/stream", {**FOX, "prompt": it}).text, prompts)]

    ids = [events(text)[-1][1]["images"][0]["id"] for text in texts]
    assert [home.store.get(each).prompt for each in ids] == prompts


def test_no_handle_leads_anywhere_else(site: Site) -> None:
    """A handle nobody has, or no handle at all, is a 404."""
    for handle in ("job_" + "0" * 32, "job_x", "img_x", "..%2f..%2fetc%2fpasswd", "%00"):
        assert site.get(f"/stream/{handle}").status_code == 404


class Work:
    """A job that ends when told to."""

    handle = "job_x"

    def __init__(self) -> None:
        self.is_running = True
        self.listened = asyncio.Event()
        self.over = asyncio.Event()
        self.tell: Callable[[Progress], Awaitable[None]] | None = None

    async def wait(
        self, seconds: float, tell: Callable[[Any], Awaitable[None]] | None = None
    ) -> None:
        """Until told to end."""
        assert seconds > 1e6
        self.tell = tell
        self.listened.set()
        await self.over.wait()

    async def report(self, message: str, preview: gptimage.Image | None = None) -> None:
        """Tell whoever waits."""
        await self.listened.wait()
        assert self.tell is not None
        await self.tell(Progress(seconds=1, message=message, preview=preview))
        await asyncio.sleep(0)  # others may run

    def end(self) -> None:
        """It is over."""
        self.is_running = False
        self.over.set()


class Reader:
    """A reader that takes what it is sent only when it is let."""

    def __init__(self) -> None:
        self.got = b""
        self.may = asyncio.Event()
        self.gone = asyncio.Event()
        self.subscriptions = asyncio.Event()
        self.may.set()

    async def send(self, message: Any) -> None:
        """Take it, some day."""
        await self.may.wait()
        self.got += message.get("body", b"")
        self.subscriptions.set()

    async def receive(self) -> Any:
        """Leave, some day."""
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def received(self, what: bytes, times: int = 1) -> None:
        """Wait until it was told something."""
        while self.got.count(what) < times:
            self.subscriptions.clear()
            await self.subscriptions.wait()


def telling(work: Work, reader: Reader) -> asyncio.Task[None]:
    """Tell a reader of a job."""

    async def end() -> tuple[str, dict[str, Any]]:
        return "complete", {"images": []}

    answer = JobEvents(work, end, pixels=64)
    return asyncio.create_task(
        answer({"type": "http", "method": "GET"}, reader.receive, reader.send)
    )


def test_a_slow_reader_is_told_less() -> None:
    """While a reader does not read, only the newest of a thousand previews is kept for it."""
    preview = picture()

    async def tell() -> bytes:
        work, reader = Work(), Reader()
        told = telling(work, reader)
        await work.report("begun")
        await reader.received(b"begun")
        reader.may.clear()
        for number in range(1000):
            await work.report(f"preview {number}", gptimage.Image.from_bytes(preview))
        reader.may.set()
        await reader.received(b"preview 999")
        await reader.received(b"event: partial")
        work.end()
        await told
        return reader.got

    told = events(asyncio.run(tell()).decode())
    messages = [what["message"] for name, what in told if name == "progress"]

    assert messages == ["begun", "preview 0", "preview 999"]
    assert [name for name, _ in told].count("partial") <= 2


def test_a_silent_job_keeps_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing happens a comment says that the connection lives, and a page sees no event."""
    monkeypatch.setattr(job_events, "HEARTBEAT", 0.01)

    async def tell() -> bytes:
        work, reader = Work(), Reader()
        told = telling(work, reader)
        await work.report("drawing")
        await reader.received(b": still drawing\n\n", times=3)
        work.end()
        await told
        return reader.got

    told = asyncio.run(tell()).decode()

    assert [name for name, _ in events(told)] == ["progress", "complete"]


def test_whoever_leaves_is_not_told_on() -> None:
    """When the reader is gone, telling ends at once, and the work goes on."""

    async def tell() -> bool:
        work, reader = Work(), Reader()
        told = telling(work, reader)
        await work.report("drawing")
        await reader.received(b"drawing")
        reader.gone.set()
        await told
        return work.is_running

    assert asyncio.run(tell())
