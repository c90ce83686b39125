"""The studio's requests: who may send them, jobs that are paid once, images and money."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import closing, nullcontext
from decimal import Decimal
from http.client import HTTPConnection
from importlib import resources
from pathlib import Path
from typing import Any

import httpx2
import pytest
from attrs import evolve
from starlette.routing import Route

from gptimage import ImageClient
from gptimage.budget.accounts import CallOutcome, CallRecord
from gptimage.cli.main import BAD_INPUT, main
from gptimage.errors import ConfigurationError, StoreError
from gptimage.sandbox import Sandbox
from gptimage.service import Runner, RunnerLostError
from gptimage.store import reader
from gptimage.studio import AddressToken, Studio, StudioOptions, open_studio
from gptimage.studio.app import build_app
from gptimage.studio.catalogue import catalogue
from gptimage.studio.jobs import Jobs
from gptimage.studio.requests import read_job
from gptimage.studio.serve import listen
from gptimage.studio.work import AltTextCall, DrawCall, StudioWork, open_work
from gptimage.transport.billing import Billing
from gptimage.workers import Job, JobRecord, SqliteJobStore
from tests.factories import picture
from tests.studio.conftest import (
    PATIENCE,
    SMALL,
    Hold,
    Service,
    Site,
    enter,
    environment,
    serving,
    until,
)


@pytest.fixture
def stranger(site: Site) -> Iterator[httpx2.Client]:
    """A client that never had the address."""
    with httpx2.Client(base_url=site.url, timeout=PATIENCE) as client:
        yield client


def test_the_address_opens_the_studio_once(home: Path, service: Service) -> None:
    """The token becomes a cookie that scripts cannot read, and is worth nothing afterwards."""
    with serving(home, service) as site:
        first = site.client.get("/", params={"token": site.token})
        again = site.client.get("/", params={"token": site.token})
        with httpx2.Client(base_url=site.url, timeout=PATIENCE) as other:
            late = other.get("/", params={"token": site.token})
        page = site.client.get("/")

    cookie = first.headers["set-cookie"].lower()
    assert ("httponly" in cookie, "samesite=strict" in cookie) == (True, True)
    assert (first.status_code, again.status_code, late.status_code) == (200, 200, 403)
    assert "set-cookie" not in late.headers
    assert "main.js" in page.text


def test_nothing_is_answered_without_the_session(site: Site, stranger: httpx2.Client) -> None:
    """Every route asks for the cookie, also the files of the page."""
    app = build_app(site.studio, AddressToken(), cookie="c")
    routes = [route for route in app.routes if isinstance(route, Route)]

    found = {
        stranger.request(method, route.path.replace("{pixels:int}", "384")).status_code
        for route in routes
        for method in route.methods or ()
    }

    assert len(routes) > 30
    assert found == {401}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"host": "evil.example"}, 421),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
    ],
)
def test_no_other_page_can_ask(site: Site, headers: dict[str, str], expected: int) -> None:
    """Foreign hosts, origins and other servers of this machine are refused, cookie or not."""
    assert site.client.get("/api/status", headers=headers).status_code == expected


def test_the_page_may_run_its_own_files_only(site: Site) -> None:
    """The policy lets no script, style or address from elsewhere in, and no text become markup."""
    policy = site.client.get("/").headers["content-security-policy"]

    assert "default-src 'none'; script-src 'self'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    "source",
    ["/etc/passwd", "file:///etc/passwd", "https://example.com/a.png", "upload:../jobs", "data:,"],
)
def test_an_image_is_of_the_store_or_an_upload(site: Site, source: str) -> None:
    """A path, a URL or a name that leaves the folder of uploads is refused before anything."""
    found: list[tuple[int, str]] = []
    for images in ([source], source):
        body = {"id": "job-x", "prompt": "Change it", "images": images}
        response = site.client.post("/api/jobs", json=body)
        found.append((response.status_code, response.json()["field"]))

    assert found == [(400, "images")] * 2


def test_a_click_that_arrives_twice_is_one_job(site: Site, service: Service, hold: Hold) -> None:
    """The same id is the same job, while it is drawn and after; the service is asked once."""
    before = len(service.calls)
    body = {"id": "twice", "prompt": "A teal boat", "tags": ["sea"], **SMALL, "partial_images": 2}
    site.post("/api/jobs", body)
    assert hold.arrived.wait(PATIENCE)
    site.post("/api/jobs", body)
    hold.go.set()
    job = site.job("twice", "done")
    after = site.post("/api/jobs", body)

    assert (after["state"], after["images"]) == ("done", job["images"])
    assert len(service.calls) - before == 1
    assert site.client.post("/api/jobs", json={**body, "prompt": "Other"}).status_code == 400


def test_what_is_sent_again_after_an_error_is_the_same_job() -> None:
    """The page keeps the id of what did not arrive for sure; another click is another job."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("the page's ids were NOT looked at: there is no node to run its script")
    file = resources.files("gptimage.studio").joinpath("static", "api.js")
    script = """
        const { Ids } = await import(process.argv[1]);
        const ids = new Ids(), fox = { prompt: "A fox" };
        const all = [ids.of(fox), ids.of({ ...fox }), ids.of(fox, 1), ids.of({ prompt: "An owl" })];
        ids.arrived();
        console.log(JSON.stringify([...all, ids.of(fox)]));
    """
    source = "data:text/javascript;base64," + base64.b64encode(file.read_bytes()).decode()
    run = subprocess.run(
        [node, "--input-type=module", "-e", script, source],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    first, again, second, other, later = json.loads(run.stdout)

    assert first == again
    assert len({first, second, other, later}) == 4


def test_events_tell_every_tab_of_a_job(site: Site) -> None:
    """A stream has each change of a job until it is done, with its images."""
    with site.client.stream("GET", "/api/events") as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: open"
        body = {"id": "told", "prompt": "A green hill", **SMALL, "partial_images": 2}
        site.post("/api/jobs", body)
        jobs: list[dict[str, Any]] = []
        for line in lines:
            if line.startswith('data: {"id"'):
                jobs.append(json.loads(line.removeprefix("data: ")))
                if jobs[-1]["state"] == "done":
                    break

    assert {job["id"] for job in jobs} == {"told"}
    assert len(jobs[-1]["images"]) == 1


def test_what_was_sent_is_finished_when_the_studio_is_stopped(
    home: Path, service: Service, hold: Hold
) -> None:
    """A paid image is saved although the server ended while it was drawn."""
    with serving(home, service) as first:
        enter(first).post("/api/jobs", {"id": "left", "prompt": "A late moon", **SMALL})
        assert hold.arrived.wait(PATIENCE)
    hold.go.set()

    with serving(home, service) as second:
        job = enter(second).job("left", "done")
        found = second.get("/api/images?text=moon")["images"]

    assert [each["id"] for each in found] == job["images"]


def test_what_goes_on_is_counted_when_the_studio_is_closed(
    home: Path, service: Service, hold: Hold
) -> None:
    """The command can say at its end how many requests are finished without it."""

    async def sent(studio: Studio) -> int:
        jobs = Jobs(studio)
        await jobs.submit(Job.of("late", "A late comet", size="1024x1024", quality="low"), 0)
        async for event in jobs.events():
            if '"sending"' in str(event.data):
                break
        await jobs.aclose()
        return jobs.sent()

    with closing(open_studio(StudioOptions(store=str(home / "store")))) as studio:
        found = asyncio.run(sent(studio))
    hold.go.set()

    assert found == 1


def test_a_studio_that_asks_is_not_idle(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is idle is closed with its client: not while an alt text is paid for."""
    idle: list[bool] = []

    async def run(*_: object) -> dict[str, Any]:
        idle.append(jobs.is_idle)
        return {}

    monkeypatch.setattr(Runner, "run", run)
    with closing(open_studio(StudioOptions(store=str(home / "store")))) as studio:
        jobs = Jobs(studio)
        asyncio.run(jobs.call(AltTextCall(image="img_any")))

    assert (idle, jobs.is_idle) == ([False], True)


def test_an_alt_text_that_cannot_be_saved_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is paid: the page gets it, and hears that it is not in the store."""

    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    async def write(work: StudioWork) -> Any:
        return await work.run("alt", AltTextCall(image=id), lambda _: None)

    with ImageClient.sandbox(Sandbox(draw="plain"), store=tmp_path / "store") as client:
        id = client.generate("A lion", **SMALL).stored[0].id
        monkeypatch.setattr("gptimage.store.Store.set_alt", full)
        found = asyncio.run(write(StudioWork(client, SqliteJobStore(tmp_path / "jobs.sqlite"))))

    assert found["alt"]
    assert "the text was not saved: the disk is full" in found["warnings"]


def test_a_job_whose_process_was_killed_is_looked_for(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has to ask: once the lease is over, its images are looked for, and the tab hears."""
    calls: list[str] = []

    async def run(_: Runner, id: str, call: DrawCall, tell: object) -> None:
        calls.append(id)
        record = store.read("killed")
        assert record is not None
        if len(calls) == 1:
            new = evolve(record, state="sending", owner="gone", until=store.now() + 0.2, revision=2)
            assert store.compare_and_swap(record, new)
            raise RunnerLostError("the process that drew it was killed")
        new = evolve(record, state="needs_review", owner="", revision=3)
        assert store.compare_and_swap(record, new)

    async def states_of() -> list[str]:
        jobs = Jobs(studio)
        await jobs.submit(Job.of("killed", "A cold comet"), 0)
        states: list[str] = []
        async for event in jobs.events():
            states += [json.loads(str(event.data))["state"]] if event.event == "job" else []
            if "needs_review" in states:
                break
        await jobs.aclose()
        return states

    monkeypatch.setattr(Runner, "run", run)
    monkeypatch.setattr("gptimage.studio.jobs._LOOK", 0.02)
    with closing(open_studio(StudioOptions(store=str(home / "store")))) as studio:
        store = studio.job_store
        found = asyncio.run(states_of())

    assert (found[-1], len(calls)) == ("needs_review", 2)


def test_a_configuration_that_was_changed_draws_nothing(home: Path, tmp_path: Path) -> None:
    """The process that draws reads it later: it never draws for money what began offline."""
    del home
    with environment(tmp_path, None):
        file = tmp_path / "config" / "gptimage" / "config.toml"
        paid = file.read_text()
        file.write_text(f"{paid}sandbox = true\n")
        options = StudioOptions(store=str(tmp_path / "store"))
        with closing(open_studio(options)) as studio:
            file.write_text(paid)
            with pytest.raises(ConfigurationError, match="start the studio again"):
                open_work((options, str(studio.job_store.path)))


@pytest.mark.parametrize(("budget", "opens"), [("5/day", False), ("1/call", True)])
def test_a_budget_that_nothing_counts_is_refused(
    home: Path, tmp_path: Path, budget: str, opens: bool
) -> None:
    """What draws forgets what it spent when it is idle; the limit of one call needs no memory."""
    del home
    with environment(tmp_path, None):
        (tmp_path / "config" / "gptimage" / "config.toml").write_text(
            f'ledger = "off"\nbudget = "{budget}"\n'
        )
        refused = pytest.raises(ConfigurationError, match="`ledger`")
        with nullcontext() if opens else refused:
            open_studio(StudioOptions(store=str(tmp_path / "store"))).close()


def test_another_provider_needs_no_key_of_openai(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Azure and others read variables of their own; the studio draws with them."""
    monkeypatch.setenv("GPTIMAGE_PROVIDER", "azure")
    del home
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    with closing(open_studio(StudioOptions(store=str(tmp_path / "store")))) as studio:
        assert (studio.has_key) is True


def test_what_was_not_sent_waits_for_a_person(home: Path, service: Service) -> None:
    """A job that had no turn is there after a restart, and nothing is sent before "Send it"."""
    request = Job.of("waits", "A patient snail", size="1024x1024", quality="low")
    with serving(home, service) as first:
        store = first.studio.job_store
        store.compare_and_swap(
            None, JobRecord(id="waits", request=request.text, state="open", at=store.now())
        )
    calls = len(service.calls)

    with serving(home, service) as second:
        listed = {job["id"]: job for job in enter(second).get("/api/jobs")["jobs"]}
        sent = len(service.calls)
        second.post("/api/jobs/waits/resume", {})
        job = second.job("waits", "done")

    assert (listed["waits"]["state"], listed["waits"]["live"], sent - calls) == ("open", False, 0)
    assert len(job["images"]) == 1


def test_a_cancel_after_sending_says_what_it_may_cost(site: Site, hold: Hold) -> None:
    """What was sent goes on and is saved; the answer names the most it may cost."""
    site.post("/api/jobs", {"id": "stop", "prompt": "A red kite", **SMALL})
    assert hold.arrived.wait(PATIENCE)
    site.job("stop", "sending")
    found = site.post("/api/jobs/stop/cancel", {})
    hold.go.set()

    assert (found["state"], Decimal(found["possible_cost_usd"]) > 0) == ("sending", True)
    assert "at most $" in found["message"]
    assert site.job("stop", "done", "failed")["state"] == "done"


@pytest.mark.parametrize(
    "wrong",
    [
        {"quality": "gorgeous"},
        {"images": []},
        {"tags": ""},
        {"mask": None},
        {"partial_images": "2"},
    ],
    ids=str,
)
def test_a_request_that_cannot_work_is_refused_at_its_field(
    site: Site, wrong: dict[str, object]
) -> None:
    """The form hears which field is wrong, empty ones included, and no job is begun."""
    body = {"id": "bad", "prompt": "A fox", "size": "1024x1024", "quality": "low", **wrong}

    response = site.client.post("/api/jobs", json=body)

    assert (response.status_code, response.json()["field"]) == (400, *wrong)
    assert site.client.get("/api/jobs/bad").status_code == 400


@pytest.mark.parametrize("body", [{"prompt": "A fox"}, {"id": "bad", "prompt": "A fox", "foo": 1}])
def test_a_job_has_an_id_and_known_parameters(site: Site, body: dict[str, object]) -> None:
    """A request without an id is no job, and what no parameter is called is not left out."""
    before = site.client.get("/api/jobs").json()

    assert site.client.post("/api/jobs", json=body).status_code == 400
    assert len(site.client.get("/api/jobs").json()["jobs"]) == len(before["jobs"])


def test_an_edit_of_a_dropped_image_has_its_mask(site: Site, service: Service) -> None:
    """An upload is the first image, another one the mask; both are named without a path."""
    names = [
        site.client.post("/api/uploads", content=data).json()["source"]
        for data in (picture(1024, 1024), picture(1024, 1024, color="white"))
    ]
    job = site.make("edit", "Add a hat", images=names[:1], mask=names[1])

    assert job["state"] == "done", job
    assert (job["request"]["images"], job["request"]["mask"]) == (names[:1], names[1])
    assert service.calls[-1].path == "/v1/images/edits"
    assert site.client.get(f"/uploads/{names[0][7:]}").content == picture(1024, 1024)
    assert site.client.post("/api/uploads", content=b"no image").status_code == 400


def test_the_gallery_finds_changes_exports_and_deletes(site: Site) -> None:
    """Search, tags, pins, small versions, every kind of export, and a pinned image that stays."""
    (id,) = site.make("g", "A quiet violet harbour", tags=["launch"])["images"]
    path = f"/api/images/{id}"
    assert [each["id"] for each in site.get("/api/images?text=violet&tag=launch")["images"]] == [id]

    changed = site.client.patch(path, json={"pinned": True, "tag": "hero", "untag": "launch"})
    small = site.client.get(f"/thumbnails/384/{id}")
    assert (changed.json()["tags"], changed.json()["pinned"]) == (["hero"], True)
    assert small.headers["content-type"] in ("image/jpeg", "image/webp")
    assert site.client.get(f"/images/{id}").content == site.studio.store.open(id).data
    assert [each["id"] for each in site.get(path)["family"]] == [id]

    web = site.client.post("/api/export", json={"ids": [id], "kind": "web"})
    with zipfile.ZipFile(io.BytesIO(web.content)) as archive:
        names = archive.namelist()
        html = archive.read("index.html").decode()
    assert {name.rpartition(".")[2] for name in names} == {"webp", "jpg", "html"}
    assert ("480w, " in html, 'alt="A quiet violet harbour"' in html) == (True, True)
    whole = site.client.post("/api/export", json={"ids": [id], "kind": "originals"})
    with zipfile.ZipFile(io.BytesIO(whole.content)) as archive:
        assert sorted(archive.namelist()) == [f"{id}.json", f"{id}.png"]
    sheet = site.client.post("/api/export", json={"ids": [id], "kind": "sheet"})
    assert sheet.content.startswith(b"\x89PNG")

    assert "pinned" in site.client.delete(path).json()["error_description"]
    site.client.patch(path, json={"pinned": False})
    assert site.client.delete(path).status_code == 204
    assert site.client.get(path).status_code == 404


def test_what_looks_alike_is_found(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same image in the store once more is similar, and what was not compared is counted."""
    monkeypatch.setattr(reader, "HASHED_AT_ONCE", 1)
    with ImageClient.sandbox(Sandbox(draw="plain"), store=site.studio.store) as client:
        id, again = (client.generate("A lion", **SMALL).stored[0].id for _ in range(2))

    first = site.get(f"/api/images?similar={id}")
    monkeypatch.undo()
    whole = site.get(f"/api/images?similar={id}")
    found = [each["id"] for each in whole["images"]]
    beside = site.client.get(f"/api/images?similar={id}&tag=x")

    assert again in found
    assert id not in found
    assert (first["unhashed"] > 0, whole["unhashed"]) == (True, 0)
    assert (beside.status_code, beside.json()["field"]) == (400, "similar")


def test_what_looks_like_a_file_of_this_machine_is_not_told(site: Site, tmp_path: Path) -> None:
    """Only images of the store are compared: the page may belong to callers from elsewhere."""
    outside = tmp_path / "outside.png"
    outside.write_bytes(picture(64, 64))

    for name in (outside, tmp_path / "nothing.png"):
        told = site.client.get("/api/images", params={"similar": str(name)})
        assert (told.status_code, told.json()["error"]) == (404, "ImageNotFoundError")


@pytest.mark.parametrize("query", ["modle=x", "limit=5", "pinned=maybe", "since=yesterday"])
def test_a_filter_that_would_not_filter_is_refused(site: Site, query: str) -> None:
    """By its name: a page with all images would look like an answer."""
    found = site.client.get(f"/api/images?{query}")

    assert (found.status_code, found.json()["field"]) == (400, query.partition("=")[0])


def test_what_is_no_text_is_not_saved_as_its_spelling(site: Site) -> None:
    """No alt text stays none, and not the word None; a list is no tag."""
    (id,) = site.make("spelling", "A plain wall")["images"]
    path = f"/api/images/{id}"

    told = [
        site.client.patch(path, json=each).status_code
        for each in (
            {"alt": "A wall"},
            {"alt": 5},
            {"tag": ["a", "b"]},
            {"alt": None},
            {"pinned": "no"},
        )
    ]

    assert told == [200, 400, 400, 200, 400]
    record = site.studio.store.get(id)
    assert (record.alt, record.tags) == (None, ("job:spelling",))


def test_no_file_of_this_machine_is_described(site: Site) -> None:
    """A name that is no id is not read, sent and paid for as a file beside the server."""
    told = site.client.post("/api/images/outside.png/alt", json={})

    assert (told.status_code, told.json()["error"]) == (404, "ImageNotFoundError")


def test_a_family_has_all_its_branches(site: Site) -> None:
    """From one branch the other one is seen, since both began with the same image."""
    (root,) = site.make("trunk", "A bare tree")["images"]
    (left,) = site.make("one-branch", "With snow", images=[root])["images"]
    (right,) = site.make("other-branch", "With leaves", images=[root])["images"]

    family = {each["id"]: each["parent"] for each in site.get(f"/api/images/{right}")["family"]}

    assert family == {root: None, left: root, right: root}


def test_an_alt_text_is_written_edited_and_exported(site: Site) -> None:
    """By the chat model in a paid call, or by hand; the page for the web has it, escaped."""
    (id,) = site.make("alt", "A silent bell")["images"]
    calls = site.get("/api/money")["total"]["calls"]

    written = site.post(f"/api/images/{id}/alt", {})
    paid = site.get("/api/money")["total"]["calls"] - calls
    saved = site.get(f"/api/images/{id}")["alt"]
    edited = site.client.patch(f"/api/images/{id}", json={"alt": 'A "bell" <in> a tower'})
    web = site.client.post("/api/export", json={"ids": [id], "kind": "web"})
    with zipfile.ZipFile(io.BytesIO(web.content)) as archive:
        html = archive.read("index.html").decode()

    assert (bool(written["alt"]), written["alt"] == saved, paid) == (True, True, 1)
    assert edited.json()["alt"] == 'A "bell" <in> a tower'
    assert "A &quot;bell&quot; &lt;in&gt; a tower" in html


def test_money_is_added_up_by_project(site: Site) -> None:
    """A tag that begins with project: names one, and is no tag besides."""
    site.make("p", "A project pencil", tags=["project:autumn"])

    found = site.get("/api/money")

    assert "autumn" in [each["name"] for each in found["by_project"]]
    assert not [each for each in found["by_tag"] if "autumn" in each["name"]]


@pytest.mark.parametrize(
    "path",
    [
        "/images/..%2F..%2Fjobs.sqlite",
        "/images/%2Fetc%2Fpasswd",
        "/thumbnails/384/..%2Findex",
        "/thumbnails/9999/img_x",
        "/uploads/..%2Fjobs.sqlite",
        "/static/..%2Fapp.py",
        "/static/%2e%2e/app.py",
    ],
)
def test_no_path_leads_out_of_the_store(site: Site, path: str) -> None:
    """Ids and names are looked up, never joined to a path."""
    assert site.client.get(path).status_code in (400, 404)


def test_an_upload_that_is_too_large_is_refused(site: Site) -> None:
    """By its length, before any of it is read, in a sentence."""
    connection = HTTPConnection(site.url.removeprefix("http://"), timeout=PATIENCE)
    connection.putrequest("POST", "/api/uploads")
    connection.putheader("content-length", str(10**12))
    cookies = "; ".join(f"{name}={value}" for name, value in site.client.cookies.items())
    connection.putheader("cookie", cookies)
    connection.endheaders()
    found = connection.getresponse()
    said = json.loads(found.read())
    connection.close()

    assert (found.status, bool(said["error_description"])) == (413, True)


def test_the_cookie_of_another_studio_opens_nothing(home: Path, service: Service) -> None:
    """Browsers send cookies to every port of a host: each studio has a name of its own for its."""
    with serving(home, service) as one, serving(home, service) as two:
        enter(one)
        (name, value), *_ = one.client.cookies.items()
        own = f"gptimage_studio_{two.url.rpartition(':')[2]}"
        found = [
            two.client.get("/api/status", headers={"cookie": f"{each}={value}"}).status_code
            for each in (name, own)
        ]

    assert (name != own, found) == (True, [401, 401])


def test_money_adds_up_and_unknown_calls_are_decided(site: Site) -> None:
    """Spending by day, model and tag; a call of unknown outcome gets the cost of the bill."""
    site.make("m", "A copper coin", tags=["money"])
    ledger = site.studio.ledger
    assert ledger is not None
    record = CallRecord(
        call_id="lost-call",
        at=site.studio.estimator.clock(),
        operation="generate",
        model="gpt-image-2.5-flare",
        estimate=Decimal("0.05"),
        reserved=Decimal("0.05"),
    )
    ledger.begin(record)
    ledger.end(record, CallOutcome(billing=Billing.UNKNOWN, error="OutcomeUnknownError"))

    found = site.get("/api/money")
    site.post("/api/money/lost-call", {"cost_usd": "0.02"})
    after = site.get("/api/money")

    assert [row["id"] for row in found["unknown"]] == ["lost-call"]
    assert after["unknown"] == []
    spent = [Decimal(each["total"]["cost_usd"]) for each in (found, after)]
    assert spent[1] == spent[0] + Decimal("0.02")
    assert "money" in [each["name"] for each in after["by_tag"]]
    assert site.client.post("/api/money/x", json={"cost_usd": "much"}).status_code == 400


def test_a_batch_is_submitted_once_and_its_images_are_saved(site: Site) -> None:
    """The same batch again goes on with it; when it has ended, its images come into the store."""
    requests = [
        {"prompt": prompt, "tags": ["offer"], **SMALL} for prompt in ("A half moon", "A half loaf")
    ]
    body = {"id": "half", "requests": requests}
    first = site.post("/api/batches", body)
    site.post("/api/batches", body)
    until(
        lambda: site.post("/api/batches/half/refresh", {}), lambda found: found["state"] == "ended"
    )
    saved = site.post("/api/batches/half/save", {})
    listed = site.get("/api/batches")["batches"]
    found = site.get("/api/images?text=half&tag=offer")["images"]

    assert (first["total"], saved["state"], saved["problems"]) == (2, "saved", [])
    assert sorted(each["id"] for each in found) == sorted(saved["images"])
    assert [each["id"] for each in listed] == ["half"]
    assert site.client.post("/api/batches/../save", json={}).status_code == 404
    assert site.client.post("/api/batches", json={**body, "requests": []}).status_code == 400


def test_jobs_of_workers_are_decided_here_too(
    home: Path, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker's job that may have been billed is listed, and given up by a person."""
    store = SqliteJobStore(tmp_path / "jobs.sqlite")
    request = Job.of("order-17", "A red fox").text
    lost = JobRecord(
        id="order-17", request=request, state="needs_review", at=store.now(), possible_cost=None
    )
    store.compare_and_swap(None, lost)
    monkeypatch.setenv("GPTIMAGE_JOB_STORE", str(store.path))

    with serving(home, service) as site:
        before = enter(site).get("/api/workers")["jobs"]
        site.post("/api/workers/order-17/discard", {})
        after = site.get("/api/workers")["jobs"]
    found = store.read("order-17")
    store.close()

    assert [(job["id"], job["state"]) for job in before] == [("order-17", "needs_review")]
    assert (after, found and found.state) == ([], "discarded")


def test_templates_are_rendered_before_they_are_sent(site: Site) -> None:
    """The page shows the prompt of a template, and an argument that is missing in a sentence."""
    name = site.get("/api/catalogue")["templates"][0]["name"]
    template = site.studio.templates[name]

    body = {"template": name, "arguments": dict(template.example)}
    missing = site.client.post("/api/render", json={"template": name, "arguments": {}})

    assert site.post("/api/render", body)["prompt"] == template.render(template.example).text
    assert missing.status_code == 400


def test_without_a_key_everything_but_drawing_works(
    tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page opens and says what to do; nothing can be begun."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with serving(tmp_path, service) as site:
        status = enter(site).get("/api/status")
        response = site.client.post("/api/jobs", json={"id": "a", "prompt": "A fox", **SMALL})

    assert (status["has_key"], response.status_code) == (False, 409)
    assert "OPENAI_API_KEY" in response.json()["error_description"]


def test_uploads_are_forgotten_long_after_their_last_use(home: Path, service: Service) -> None:
    """One that was used 61 days ago is gone with the next start, a newer one stays."""
    with serving(home, service) as site:
        old, new = (site.studio.uploads / f"{name}.png" for name in ("old", "new"))
    for path, days in ((old, 61), (new, 1)):
        path.write_bytes(b"image")
        used = path.stat().st_mtime - days * 86_400
        os.utime(path, (used, used))

    with serving(home, service):
        assert (old.exists(), new.exists()) == (False, True)
    new.unlink()


def test_a_job_keeps_its_upload(site: Site) -> None:
    """An old upload that a job names is used, and stays as long as one that was just dropped."""
    source = site.client.post("/api/uploads", content=picture(64, 48)).json()["source"]
    (path,) = site.studio.uploads.glob(f"{source[7:]}.*")
    os.utime(path, (0, 0))

    read_job(site.studio, {"id": "hat", "prompt": "Add a hat", "images": [source]})

    assert path.stat().st_mtime > 0


def test_the_command_serves_until_it_is_interrupted(tmp_path: Path, home: Path) -> None:
    """It prints its address and nothing else on standard output, and ends well with Ctrl-C."""
    del home
    words = ["studio", "--no-browser", "--sandbox", "--port", "0", "--store", str(tmp_path)]
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "gptimage", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        with httpx2.Client(timeout=PATIENCE) as client:
            client.get(address)
            status = client.get(address.partition("?")[0] + "api/status").json()
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=PATIENCE)

    assert (status["sandbox"], rest, process.returncode) == (True, "", 0)


def test_a_port_that_is_taken_is_bad_input(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The command names the port, and another way."""
    with listen(0) as taken:
        port = str(taken.getsockname()[1])
        words = ["--port", port, "--no-browser", "--sandbox", "--store", str(tmp_path)]
        code = main(["studio", *words])

    assert (code, f"--port {port} cannot be used" in capsys.readouterr().err) == (BAD_INPUT, True)


def test_a_folder_that_cannot_be_made_is_not_the_port(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --port, too, an error names what it is about."""
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))

    main(["studio", "--port", "0", "--no-browser", "--sandbox", "--store", str(tmp_path / "s")])

    told = capsys.readouterr().err
    assert ("--port" in told, "file" in told) == (False, True)


def test_models_and_prices_are_those_of_the_provider(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another service the forms have its models and parameters, and its rows the price."""
    with environment(home, None):
        monkeypatch.setenv("GPTIMAGE_PROVIDER", "gemini")
        with closing(open_studio(StudioOptions(sandbox=True))) as studio:
            found = catalogue(studio)
            estimate = studio.estimator.estimate("A fox", size="1024x1024")
    model = next(each for each in found["models"] if each["id"] == found["default_model"])

    assert found["default_model"] == "gemini-nano-banana-2.1"
    assert {row["name"] for row in model["parameters"]["generate"]} == {
        "size", "n", "format", "compression", "partial_images",
    }  # fmt: skip
    assert estimate is not None
    assert estimate.output_tokens == 1120
