"""The web applications and the desktop tool, as people and programs use them."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from gptimage import ImageClient
from gptimage.sandbox import Sandbox
from gptimage.store import Store
from tests.factories import image


if TYPE_CHECKING:
    from playwright.sync_api import Browser

# The frameworks' own warnings, and the sockets they leave open, are not what is tested.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

EXAMPLES = Path(__file__).parents[2] / "examples"
HOSTILE = '<img src=x onerror="document.title=1"> & <b>bold</b>'
PATIENCE = 120_000
"""Milliseconds after which what has not happened will not happen."""


def miss(what: str) -> None:
    """Skip, or fail where everything must be tested."""
    reason = f"NOT tested, {what} is missing"
    (pytest.fail if os.environ.get("TESTS_REQUIRE_WEB") else pytest.skip)(reason)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, offline, with two users and a token."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPTIMAGE_SANDBOX", "1")
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    monkeypatch.setenv("USERS", "ann:secret,bob:other")
    monkeypatch.setenv("APP_TOKEN", "of-the-test")
    return tmp_path


@contextmanager
def example(name: str, package: str) -> Iterator[ModuleType]:
    """An example as a module, where its framework is installed."""
    if importlib.util.find_spec(package) is None:
        miss(package)
    folder = "desktop" if name == "mask_editor" else "web"
    sys.path.insert(0, str(EXAMPLES / folder))
    try:
        yield importlib.import_module(name)
    finally:
        sys.path.pop(0)
        sys.modules.pop(name, None)


@pytest.fixture
def fastapi_app(home: Path) -> Iterator[Any]:
    """The application with FastAPI."""
    with example("fastapi_app", "fastapi") as found:
        yield found


def called(module: Any, work: Callable[[httpx2.AsyncClient], Awaitable[Any]]) -> Any:
    """What a browser of Ann's gets from the application with FastAPI."""

    async def run() -> Any:
        async with module.lifespan(module.app):
            transport = httpx2.ASGITransport(app=module.app)
            async with httpx2.AsyncClient(
                transport=transport, base_url="http://web", auth=("ann", "secret")
            ) as client:
                return await work(client)

    return asyncio.run(run())


def events(text: str) -> list[tuple[str, Any]]:
    """The events of a stream, each with its data."""
    blocks = [
        dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        for block in text.strip().split("\n\n")
    ]
    return [(block["event"], json.loads(block["data"])) for block in blocks if "event" in block]


WANTED = {"id": "0f0e8a5c-1", "prompt": "A red fox"}


def test_a_drawing_is_paid_once_and_followed_again(fastapi_app: Any) -> None:
    """A form that is sent twice draws once; who comes back gets what was missed, and no more."""

    async def work(client: httpx2.AsyncClient) -> Any:
        began = [await client.post("/drawings", json=WANTED) for _ in range(2)]
        first = await client.get(began[0].json()["events"])
        again = await client.get(began[1].json()["events"], headers={"last-event-id": "1"})
        shown = await client.get(events(first.text)[0][1]["url"])
        found = (await client.get("/images")).json()
        return began, events(first.text), events(again.text), shown, found

    began, first, again, shown, found = called(fastapi_app, work)
    assert [each.status_code for each in began] == [202, 202]
    assert [name for name, _ in first] == ["preview", "preview", "done"]
    assert again == first[2:]
    assert shown.headers["content-type"].startswith("image/")
    assert [each["id"] for each in found["images"]] == [first[2][1]["id"]]
    assert 0.98 < float(found["left_usd"]) < 1


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"prompt": "A hen [sandbox:cut]"}, "It may have been paid for. Look at the gallery"),
        ({"prompt": "A hen [sandbox:moderation]"}, "safety"),
    ],
)
def test_a_drawing_that_fails_says_so(fastapi_app: Any, wanted: dict[str, str], says: str) -> None:
    """The page learns what happened, and what it may have cost."""

    async def work(client: httpx2.AsyncClient) -> Any:
        began = await client.post("/drawings", json={**WANTED, **wanted})
        return events((await client.get(began.json()["events"])).text)

    name, data = called(fastapi_app, work)[-1]
    assert name == "failed"
    assert says in data["message"]


def test_each_user_has_a_budget(fastapi_app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one may not spend is not sent."""
    monkeypatch.setattr(fastapi_app, "A_DAY", "0.0001")

    async def work(client: httpx2.AsyncClient) -> Any:
        began = await client.post("/drawings", json=WANTED)
        return events((await client.get(began.json()["events"])).text)

    ((name, data),) = called(fastapi_app, work)
    assert (name, "nothing was sent" in data["message"]) == ("failed", True)


def test_users_see_their_own(fastapi_app: Any) -> None:
    """Another user's drawings and images are not there; who does not sign in gets nothing."""

    async def work(client: httpx2.AsyncClient) -> Any:
        began = await client.post("/drawings", json=WANTED)
        done = events((await client.get(began.json()["events"])).text)[-1][1]
        paths = (began.json()["events"], done["url"], "/images")
        bob = [await client.get(path, auth=("bob", "other")) for path in paths]
        wrong = [await client.get(path, auth=("ann", "other")) for path in paths]
        return [each.status_code for each in (*bob, *wrong)], bob[-1].json()["images"]

    assert called(fastapi_app, work) == ([404, 404, 200, 401, 401, 401], [])


@pytest.fixture
def browser() -> Iterator[Browser]:
    """A Chromium."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        miss("chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        found = playwright.chromium.launch(executable_path=program, args=arguments)
        yield found
        found.close()


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an application; its address."""
    import uvicorn

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def test_a_person_draws(fastapi_app: Any, browser: Browser) -> None:
    """The form, previews as they come, the image, the gallery, and a reload that draws nothing."""
    with served(fastapi_app.app) as url:
        context = browser.new_context(http_credentials={"username": "ann", "password": "secret"})
        page = context.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.set_default_timeout(PATIENCE)
        page.goto(url)
        page.evaluate(
            """() => {
              window.seen = [];
              const look = () => document.querySelectorAll("#now img")
                .forEach((img) => window.seen.push(img.alt));
              new MutationObserver(look).observe(document.body, {childList: true, subtree: true});
            }"""
        )
        page.fill("#prompt", HOSTILE)
        page.click("button")
        page.wait_for_selector("#gallery li")
        assert "preview" in page.evaluate("window.seen")
        assert page.get_attribute("#now img", "alt") == HOSTILE
        page.reload()
        page.wait_for_selector("#gallery li")
        assert page.locator("#gallery li").count() == 1
        assert page.locator("#gallery li img").get_attribute("alt") == HOSTILE
        assert float(page.inner_text("#left")) < 1
        assert (page.title(), wrong) == ("Draw", [])
        context.close()


@pytest.mark.parametrize("framework", ["flask", "django"])
def test_views_draw_once_for_each_id(home: Path, framework: str) -> None:
    """Sent again it is the same image; what may be billed is a conflict that a person decides."""
    job = {"prompt": "A red fox", "size": "1024x1024", "quality": "low"}
    lost = {"prompt": "A hen [sandbox:cut]"}
    with example(f"{framework}_app", framework) as module:
        send = by_flask(module) if framework == "flask" else by_django(module)
        first, again = send("order-1", job), send("order-1", job)
        other = send("order-1", {"prompt": "A hare"})
        unknown = [send("order-2", lost) for _ in range(2)]
        refused, stranger = send("order-3", {"colour": 1}), send("order-4", job, token="wrong")

    assert (first[0], again) == (200, first)
    assert len(Store(home / "images").history()) == 1
    assert [status for status, _ in (other, refused, stranger)] == [400, 400, 401]
    assert [status for status, _ in unknown] == [409, 409]
    if framework == "django":
        (url,) = first[1]["urls"]
        assert (home / url.removeprefix("/")).is_file()


Send = Callable[..., tuple[int, Any]]


def by_flask(module: Any) -> Send:
    """What sends a job to the view with Flask."""
    client = module.create_app().test_client()

    def send(id: str, job: Any, token: str = "of-the-test") -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {token}"}
        answer = client.put(f"/images/{id}", json=job, headers=headers)
        return answer.status_code, answer.get_json(silent=True)

    return send


def by_django(module: Any) -> Send:
    """What sends a job to the view with Django."""
    from django.test import AsyncClient

    def send(id: str, job: Any, token: str = "of-the-test") -> tuple[int, Any]:
        async def run() -> tuple[int, Any]:
            headers = {"authorization": f"Bearer {token}", "host": "localhost"}
            answer = await AsyncClient().post(
                f"/images/{id}", job, content_type="application/json", headers=headers
            )
            return answer.status_code, answer.json()

        return asyncio.run(run())

    return send


def test_gradio_draws_and_edits(home: Path) -> None:
    """A client of Gradio's own draws, and edits what is painted over."""
    with example("gradio_app", "gradio") as module:
        from gradio_client import Client, handle_file

        demo = module.create(ImageClient(store="images"))
        _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True)
        try:
            client = Client(url, verbose=False)
            drawn, cost = client.predict("A red fox", "low", api_name="/draw")
            layer = home / "layer.png"
            image(64, 64).to_pil().convert("RGBA").save(layer)
            painted = {
                "background": handle_file(str(drawn)),
                "layers": [handle_file(str(layer))],
                "composite": None,
            }
            edited, _ = client.predict("At night", painted, "low", api_name="/edit")
        finally:
            demo.close()

    assert cost.startswith("cost: $")
    assert Path(edited).is_file()
    assert [each.operation for each in Store(home / "images").history()] == ["edit", "generate"]


@pytest.fixture(scope="module")
def display() -> Iterator[None]:
    """A screen that nobody sees, one for all: Tk ends a process whose first screen is gone."""
    if shutil.which("Xvfb") is None:
        miss("Xvfb (apt-get install xvfb)")
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1024x1024x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL) as process:
        os.close(write)
        with os.fdopen(read) as numbers, pytest.MonkeyPatch.context() as patch:
            patch.setenv("DISPLAY", f":{numbers.readline().strip()}")
            yield
        process.terminate()


def test_a_mask_is_painted(home: Path, display: None) -> None:
    """Strokes on the canvas become the mask; nothing outside of them changes."""
    import tkinter as tk

    sandbox = Sandbox()
    client = ImageClient.sandbox(sandbox, store=home / "images")
    first = client.generate("A lighthouse", size="1024x1024", quality="low").image
    with example("mask_editor", "tkinter") as module:
        root = tk.Tk()
        ended: list[Exception | None] = []

        def end(error: Exception | None) -> None:
            ended.append(error)
            root.quit()

        editor = module.MaskEditor(root, client, first, end)
        root.update()
        editor.edit()
        assert "Nothing is painted" in editor.status.cget("text")
        editor.prompt.insert(0, "A red balloon")
        for x in range(300, 400, 8):
            kind = "<Button-1>" if x == 300 else "<B1-Motion>"
            editor.canvas.event_generate(kind, x=x, y=200)
        root.update()
        editor.button.invoke()
        assert editor.button.instate(["disabled"])
        root.mainloop()
        shown = editor.status.cget("text")
        root.destroy()

    assert ended == [None]
    (record, _) = Store(home / "images").history()
    assert str(record.path) in shown
    # On the canvas of 768 pixels, an image of 1024 is three quarters of its size.
    left, top, right, bottom = editor_box(first, client.store.open(record))  # type: ignore[union-attr]  # it has one
    assert (left >= 380, top >= 245, right <= 555, bottom <= 290) == (True, True, True, True)


def test_a_window_that_is_closed_while_an_image_is_drawn(home: Path, display: None) -> None:
    """The program waits for what is being paid for before it closes the client."""
    import tkinter as tk

    client = ImageClient.sandbox(store=home / "images")
    first = client.generate("A lighthouse", size="1024x1024", quality="low").image
    with example("mask_editor", "tkinter") as module, client:
        root = tk.Tk()
        editor = module.MaskEditor(root, client, first)
        root.update()
        editor.prompt.insert(0, "A red balloon")
        editor.canvas.event_generate("<Button-1>", x=300, y=200)
        root.update()
        editor.button.invoke()
        root.destroy()
        editor.wait()

    assert [each.operation for each in Store(home / "images").history()] == ["edit", "generate"]


def editor_box(before: Any, after: Any) -> tuple[int, int, int, int]:
    """Where two images differ."""
    from PIL import ImageChops

    difference = ImageChops.difference(
        before.to_pil().convert("RGB"), after.to_pil().convert("RGB")
    )
    found: tuple[int, int, int, int] | None = difference.getbbox()
    assert found is not None
    return found
