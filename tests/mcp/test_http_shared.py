"""Replicas that share jobs, callers that share nothing, uploads, and the deep health."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest
from attrs import evolve
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitResult

import gptimage
from gptimage.sandbox import Sandbox, SandboxServer
from gptimage_mcp.config.settings import Settings, SettingsError
from gptimage_mcp.health import KEPT_DEEP, HealthRoute
from gptimage_mcp.jobs.shared import SharedFolder, SharedRedis, SharedState
from gptimage_mcp.jobs.uploads import PER_CALLER, Uploads
from gptimage_mcp.server import build_server
from tests.mcp.harness import picture, result_json, server_fixture, text
from tests.mcp.http_helpers import OTHER, TOKEN, Site, bearer, events, serving


QUIET: dict[str, Any] = {"transport": "http", "log_level": "ERROR", "calls_per_minute": 1000}
FOX: dict[str, Any] = {"prompt": "a fox", "size": "1024x1024", "quality": "low"}
SECRET = "0123456789abcdef0123456789abcdef"
PNG = {"content-type": "image/png"}

T = TypeVar("T")


def settings(folder: Path, **more: Any) -> Settings:
    """Settings of a server whose files are in this folder."""
    places = {"store": folder / "store", "ledger": folder / "ledger.sqlite"}
    return Settings(**{**places, "sandbox": True, **QUIET, **more})


class RoundRobin(httpx2.AsyncHTTPTransport):
    """Sends each request to the next of several servers, as a load balancer does."""

    def __init__(self, ports: list[int]) -> None:
        super().__init__()
        self._ports = itertools.cycle(ports)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send it on."""
        request.url = request.url.copy_with(port=next(self._ports))
        return await super().handle_async_request(request)


def ask(
    ports: list[int],
    question: Callable[[Client], Awaitable[T]],
    *,
    token: str | None = None,
    mode: str = "auto",
    **options: Any,
) -> T:
    """Connect to servers behind one address, and ask."""

    async def connected() -> T:
        headers = {} if token is None else bearer(token)
        async with httpx2.AsyncClient(
            transport=RoundRobin(ports), headers=headers, timeout=60
        ) as http:
            transport = streamable_http_client("http://127.0.0.1/mcp", http_client=http)
            async with Client(transport, mode=mode, **options) as client:
                return await question(client)

    return asyncio.run(connected())


@pytest.fixture(params=["folder", "redis"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where replicas share their jobs."""
    if request.param == "folder":
        return tmp_path / "shared"
    url: str = request.getfixturevalue("redis_url")
    return url


@contextmanager
def replicas(folder: Path, state: Path | str, **more: Any) -> Iterator[tuple[Site, Site]]:
    """Two servers with one store and ledger behind one address."""
    both = settings(folder, stateless=True, shared_state=state, **more)
    with (
        serving(build_server(both), both) as one,
        serving(build_server(both), both) as other,
    ):
        yield one, other


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_any_replica_knows_a_handle(tmp_path: Path, state: Path | str, mode: str) -> None:
    """A call begun at one replica is waited for at the other, which did not draw it."""

    async def question(client: Client) -> Any:
        begun = result_json(await client.call_tool("generate_image", FOX))
        while begun["status"] == "running":
            begun = result_json(await client.call_tool("view_image", {"id": begun["handle"]}))
        return begun

    with replicas(tmp_path, state, wait=0.05) as sites:
        found = ask([each.port for each in sites], question, mode=mode)
        record = gptimage.Store(tmp_path / "store").get(found["images"][0]["id"])
        seen = [events(each.get(f"/stream/{found['handle']}").text)[-1] for each in sites]

    assert found["handle"] in record.tags
    assert [(name, what["images"][0]["id"]) for name, what in seen] == [("complete", record.id)] * 2


def test_a_person_answers_at_another_replica(tmp_path: Path) -> None:
    """With a shared secret the second replica reads the question that the first one asked."""
    asked: list[str] = []

    async def agree(_: Any, params: Any) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content={"draw": True})

    async def question(client: Client) -> Any:
        return await client.call_tool("generate_image", FOX)

    limits: dict[str, Any] = {"confirm_above": Decimal("0.001"), "shared_secret": (SECRET,)}
    with replicas(tmp_path, tmp_path / "shared", **limits) as sites:
        answer = ask([each.port for each in sites], question, elicitation_callback=agree)

    assert result_json(answer)["status"] == "done"
    assert len(asked) == 1


def test_links_and_uploads_are_good_at_every_replica(tmp_path: Path, state: Path | str) -> None:
    """What one replica signed or took, the other opens."""
    more: dict[str, Any] = {"tokens": (TOKEN,), "shared_secret": (SECRET,), "link_minutes": 5}
    with replicas(tmp_path, state, **more) as (one, other):
        with one.client(TOKEN) as client:
            uploaded = client.post("/images", content=picture(), headers=PNG).json()
        edited = events(other.post("/stream", {**FOX, "images": [uploaded["id"]]}, TOKEN).text)[-1][
            1
        ]
        link = edited["images"][0]["link"].removeprefix(other.url)
        found = one.get(link)

    assert found.status_code == 200
    assert len(found.content) == edited["images"][0]["bytes"]


def test_a_server_that_dies_is_seen_by_the_others(state: Path | str) -> None:
    """Others see whether a server lives: by a lock that the kernel frees, or by its silence."""

    def opened() -> SharedState:
        if isinstance(state, str):
            return SharedRedis(state, prefix="test-alive:")
        return SharedFolder(state)

    one, other = opened(), opened()
    one.enter("server_1")
    one.mark("d.job_1")
    one.write("a.json", b"1")

    assert other.is_alive("server_1")
    assert (other.marks("d."), other.marks("e."), other.read("a.json")) == (["d.job_1"], [], b"1")
    one.leave("server_1")
    assert not other.is_alive("server_1")
    other.unmark("d.job_1")
    other.delete("a.json")
    assert (one.marks(), one.read("a.json")) == ([], None)


def test_redis_that_is_gone_costs_no_image(tmp_path: Path) -> None:
    """Where the jobs cannot be written down, an image is still drawn, saved and told."""
    with replicas(tmp_path, "redis://127.0.0.1:1/0") as (site, _):
        name, last = events(site.post("/stream", FOX).text)[-1]

    assert name == "complete"
    assert len(gptimage.Store(tmp_path / "store").history()) == len(last["images"]) == 1


# Callers with a store and a budget of their own.


@pytest.fixture
def tenants(tmp_path: Path) -> Iterator[Site]:
    """A server whose callers share nothing."""
    told = settings(
        tmp_path,
        tenants=True,
        tokens=(TOKEN, OTHER),
        cache=tmp_path / "cache",
        max_per_day=Decimal("0.02"),
        link_minutes=5,
    )
    with serving(build_server(told), told) as site:
        yield site


def test_callers_see_their_own_images_only(tenants: Site, tmp_path: Path) -> None:
    """Lists, views, files, events and links of one caller show nothing of another."""
    drawn = events(tenants.post("/stream", FOX, TOKEN).text)[-1][1]
    image = drawn["images"][0]

    async def look(client: Client) -> tuple[int, str, list[str]]:
        listed = result_json(await client.call_tool("list_images", {}))
        seen = text(await client.call_tool("view_image", {"id": image["id"]}))
        resources = [each.uri for each in (await client.list_resources()).resources]
        return len(listed["records"]), seen, resources

    own, others = (ask([tenants.port], look, token=token) for token in (TOKEN, OTHER))
    link = image["link"].removeprefix(tenants.url)

    assert own[0] == 1
    assert json.loads(own[1])["images"][0]["id"] == image["id"]
    assert f"generated-images://{image['id']}" in own[2]
    assert others[0] == 0
    assert "Next:" in others[1]
    assert f"generated-images://{image['id']}" not in others[2]
    assert tenants.get(image["url"], TOKEN).status_code == 200
    assert tenants.get(image["url"], OTHER).status_code == 404
    assert tenants.get(f"/stream/{drawn['handle']}", OTHER).status_code == 404
    assert tenants.get(link).status_code == 200
    assert len(gptimage.Store(tmp_path / "store").history()) == 0


def test_each_caller_has_the_whole_budget(tenants: Site) -> None:
    """What one caller spends does not count for another, and each is held to the limit."""
    prompts = [f"fox {number}" for number in range(12)]

    def draw(prompt: str) -> str:
        return tenants.post("/stream", {**FOX, "prompt": prompt}, TOKEN).text

    ends = [events(draw(prompt))[-1] for prompt in prompts]
    first = next(index for index, (name, _) in enumerate(ends) if name == "error")
    other = events(tenants.post("/stream", FOX, OTHER).text)[-1]

    assert first > 0
    assert ends[first][1]["error"] == "BudgetExceededError"
    assert other[0] == "complete"


def test_a_caller_s_cache_is_no_window_on_others(tenants: Site) -> None:
    """The same request of another caller is not answered from a cache it has no part in."""
    ends = [
        events(tenants.post("/stream", FOX, token).text)[-1][1]["cached"]
        for token in (TOKEN, TOKEN, OTHER)
    ]

    assert ends == [False, True, False]


def test_tenants_need_callers_and_clients_of_their_own(tmp_path: Path) -> None:
    """Without tokens nobody can be told apart, and one client has one store."""
    with pytest.raises(SettingsError, match="GPTIMAGE_TENANTS"):
        settings(tmp_path, tenants=True)
    told = settings(tmp_path, tenants=True, tokens=(TOKEN,))
    client = gptimage.AsyncImageClient.sandbox(store=tmp_path / "other")
    with pytest.raises(gptimage.ConfigurationError, match="client"):
        build_server(told, client=client)


# Uploads.


@pytest.fixture
def uploading(tmp_path: Path) -> Iterator[Site]:
    """A server with two callers."""
    home = server_fixture(tmp_path, **QUIET, tokens=(TOKEN, OTHER), max_upload=200_000)
    with serving(home.server, home.app.settings) as site:
        yield site


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_an_uploaded_image_can_be_edited_by_whoever_sent_it(uploading: Site, form: str) -> None:
    """Bytes or a form, the image gets an id that only its caller can use."""
    with uploading.client(TOKEN) as client:
        plain = client.post(
            "/images", content=picture(form=form), headers={"content-type": f"image/{form}"}
        )
        as_form = client.post("/images", files={"file": ("a.png", picture(form=form))})
    uploaded = plain.json()
    body = {**FOX, "images": [uploaded["id"], as_form.json()["id"]]}
    own = events(uploading.post("/stream", body, TOKEN).text)[-1]
    other = uploading.post("/stream", body, OTHER)

    assert plain.status_code == as_form.status_code == 201
    assert (uploaded["width"], uploaded["height"]) == (64, 48)
    assert own[0] == "complete"
    assert other.status_code == 400
    assert "not yours" in other.text
    assert uploading.get(f"/images/{uploaded['id']}", TOKEN).status_code == 404


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "image/png", 400),
        (b"no image", "image/png", 400),
        (picture()[:-20], "image/png", 400),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml", 400),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "application/octet-stream", 400),
        (picture(), "text/plain", 415),
        (picture(), "application/x-www-form-urlencoded", 415),
        (picture(), "", 415),
        (b"--x\r\n", "multipart/form-data; boundary=x", 415),
        (b"--x", "multipart/form-data", 415),
        (b"\0" * 200_001, "image/png", 413),
    ],
)
def test_what_is_no_image_is_not_taken(
    uploading: Site, body: bytes, kind: str, status: int
) -> None:
    """What cannot be decoded whole, or is sent as something else, is refused."""
    with uploading.client(TOKEN) as client:
        found = client.post("/images", content=body, headers={"content-type": kind})

    assert found.status_code == status, found.text
    assert found.json()["error_description"]


def bomb() -> bytes:
    """A tiny PNG that says it has 2.5 billion pixels."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_a_small_file_with_absurd_pixels_is_refused(uploading: Site) -> None:
    """A file that would unpack to gigabytes is refused by its head, before it is decoded."""
    with uploading.client(TOKEN) as client:
        found = client.post("/images", content=bomb(), headers=PNG)

    assert found.status_code == 400
    assert "50000x50000" in found.json()["error_description"]


def test_a_form_of_many_parts_is_refused(uploading: Site) -> None:
    """A form has one file; a thousand parts are not read."""
    with uploading.client(TOKEN) as client:
        many = client.post("/images", files=[("f", (f"{n}.png", b"x")) for n in range(1000)])
        none = client.post("/images", data={"file": "x"}, files={"": ("", b"")})
        foreign = client.post(
            "/images", content=picture(), headers={**PNG, "origin": "https://evil.example"}
        )

    assert (many.status_code, foreign.status_code) == (415, 403)
    assert none.status_code in {400, 415}
    assert uploading.post("/images", {}).status_code == 401


def test_a_caller_has_so_many_uploads(tmp_path: Path) -> None:
    """The oldest upload of a caller goes when there are too many; other callers keep theirs."""
    uploads = Uploads(SharedFolder(tmp_path))
    image = gptimage.Image.from_bytes(picture())
    ids = [uploads.save(image, "a") for _ in range(PER_CALLER + 2)]
    other = uploads.save(image, "b")

    kept = [uploads.open(id, "a") is not None for id in ids]
    assert kept == [False] * 2 + [True] * PER_CALLER
    assert uploads.open(other, "b") is not None
    assert [uploads.open(id, "b") for id in ("../x", "upload_x", ids[-1])] == [None] * 3


# The health of the service.


def look(app: Any, times: int = 1, now: list[float] | None = None) -> list[Any]:
    """Ask for the health, deep."""
    clock = now or [0.0]
    route = HealthRoute(app, clock=lambda: clock[0])

    async def asked() -> list[Any]:
        from starlette.requests import Request

        request = Request({"type": "http", "query_string": b"deep=1"})
        found = await asyncio.gather(*(route.respond(request) for _ in range(times)))
        clock[0] += KEPT_DEEP + 1
        return [*found, await route.respond(request)]

    return asyncio.run(asked())


def test_a_deep_look_asks_the_service_once_a_minute(tmp_path: Path) -> None:
    """However many ask, the service is asked for its models once in a minute."""
    home = server_fixture(tmp_path, **QUIET)
    sandbox = Sandbox()
    with SandboxServer(sandbox=sandbox) as server:
        told = evolve(home.app.settings, sandbox=False, api_key="sk-test", base_url=server.base_url)
        found = look(evolve(home.app, settings=told), times=5)
        asked = [each.path for each in sandbox.requests]

    assert [each.status_code for each in found] == [200] * 6
    assert [path for path in asked if path.endswith("/models")] == asked
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, b"{}", "refuses the key"),
        (500, b"{}", "HTTP 500"),
        (302, b"", "HTTP 302"),
        (200, b"[]", "cannot be read"),
        (200, b'{"data": [{"id": "other"}]}', "does not list the model"),
        (200, b"x" * 1_100_000, "too large"),
    ],
)
def test_a_deep_look_says_what_is_wrong(
    tmp_path: Path, status: int, body: bytes, said: str
) -> None:
    """The reason is told, and neither key nor address."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Service(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # as the standard library names it
            self.send_response(status)
            self.send_header("location", "http://127.0.0.1:1/")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    home = server_fixture(tmp_path, **QUIET)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    with ThreadPoolExecutor(1) as threads:
        threads.submit(server.serve_forever, 0.02)
        try:
            told = evolve(
                home.app.settings,
                sandbox=False,
                api_key="sk-test",
                base_url=f"http://127.0.0.1:{server.server_port}/v1",
            )
            found = look(evolve(home.app, settings=told))[0].body.decode()
        finally:
            server.shutdown()
            server.server_close()

    assert said in found
    assert "sk-test" not in found
    assert str(server.server_port) not in found


def test_only_callers_may_look_deep(tmp_path: Path) -> None:
    """The plain look is for everybody; the deep one needs a token, however it is written."""
    home = server_fixture(tmp_path, **QUIET, tokens=(TOKEN,))
    with serving(home.server, home.app.settings) as site:
        codes = [
            site.get(path, token).status_code
            for path, token in (
                ("/health", None),
                ("/health?x=1", None),
                ("/health?deep=1", None),
                ("/health?d%65ep=1", None),
                ("/health?x=1&deep=1", None),
                ("/health?deep=1", TOKEN),
            )
        ]

    assert codes == [200, 200, 401, 401, 401, 200]
