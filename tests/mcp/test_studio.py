"""The studio under ``/studio`` of the MCP server: who may see it, and what it holds to."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.server.subscriptions import ResourcesListChanged, ResourceUpdated, ServerEvent

from gptimage.service import LocalRunner
from gptimage_mcp.app import create_app
from gptimage_mcp.config.settings import Settings, SettingsError
from gptimage_mcp.server import build_server, server_of
from tests.mcp.http_helpers import OTHER, TOKEN, Site, serving
from tests.studio.conftest import PATIENCE, Hold, service_running, until


QUIET: dict[str, Any] = {"transport": "http", "log_level": "ERROR", "sandbox": True, "studio": True}
SMALL = {"size": "1024x1024", "quality": "low"}
PAGE = {"sec-fetch-site": "same-origin"}


def settings(folder: Path, **more: Any) -> Settings:
    """Settings of a server with a studio."""
    return Settings(store=folder / "store", ledger=folder / "ledger.sqlite", **{**QUIET, **more})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with two callers, who share nothing."""
    folder = tmp_path_factory.mktemp("server")
    told = settings(folder, tokens=(TOKEN, OTHER), tenants=True, max_images=2)
    with serving(build_server(told), told) as found:
        yield found


@contextmanager
def signed_in(site: Site, token: str = TOKEN) -> Generator[httpx2.Client]:
    """A browser that signed in."""
    with site.client() as client:
        entered = client.post("/studio/session", data={"token": token}, headers=PAGE)
        assert entered.status_code == 200, entered.text
        yield client


def drawn(client: httpx2.Client, id: str, prompt: str, **more: object) -> dict[str, Any]:
    """A job that is over."""
    body = {"id": id, "prompt": prompt, **SMALL, **more}
    begun = client.post("/studio/api/jobs", json=body, headers=PAGE)
    assert begun.status_code == 200, begun.text
    job: dict[str, Any] = until(
        lambda: client.get(f"/studio/api/jobs/{id}").json(), lambda job: job["state"] == "done"
    )
    return job


def test_a_browser_signs_in_with_a_token(site: Site) -> None:
    """The page asks for the token; a cookie stands for it, hidden from scripts, until it ends."""
    with site.client() as client:
        asked = client.get("/studio", follow_redirects=True)
        closed = [
            client.get(f"/studio/{path}").status_code for path in ("static/main.js", "api/jobs")
        ]
        wrong = client.post("/studio/session", data={"token": "guess"}, headers=PAGE)
    with signed_in(site) as client:
        cookie = client.post("/studio/session", data={"token": TOKEN}).headers["set-cookie"].lower()
        page = client.get("/studio/")
        files = [
            client.get(f"/studio/{path}").status_code for path in ("static/main.js", "api/jobs")
        ]
        left = client.delete("/studio/session", headers=PAGE).status_code
        after = client.get("/studio/api/jobs").status_code

    assert (asked.status_code, "Sign in" in asked.text, closed) == (401, True, [401, 401])
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (403, False)
    assert [each in cookie for each in ("httponly", "samesite=strict", "path=/studio")] == [
        True
    ] * 3
    assert ('src="static/main.js"' in page.text, files) == (True, [200, 200])
    assert (left, after) == (204, 401)


@pytest.mark.parametrize("site_of_page", ["cross-site", "same-site"])
def test_no_other_page_can_use_a_sign_in(site: Site, site_of_page: str) -> None:
    """A request that another page caused is refused, with the cookie and all."""
    with signed_in(site) as client:
        headers = {"sec-fetch-site": site_of_page}
        found = client.post("/studio/api/jobs", json={"id": "x"}, headers=headers)
        foreign = client.get("/studio/api/jobs", headers={"origin": "https://evil.example"})

    assert (found.status_code, found.json()["error"], foreign.status_code) == (
        403,
        "other_site",
        403,
    )


def test_each_caller_sees_what_is_theirs(site: Site) -> None:
    """With tenants, images, jobs and money of one caller do not exist for another one."""
    with signed_in(site) as one, signed_in(site, OTHER) as two:
        (id,) = drawn(one, "mine", "A private pond")["images"]
        seen = [client.get("/studio/api/images").json()["images"] for client in (one, two)]
        image = [client.get(f"/studio/images/{id}").status_code for client in (one, two)]
        small = [client.get(f"/studio/thumbnails/384/{id}").status_code for client in (one, two)]
        jobs = two.get("/studio/api/jobs").json()["jobs"]
        spent = [c.get("/studio/api/money").json()["total"]["calls"] for c in (one, two)]
        of_tools = site.get(f"/images/{id}", TOKEN).status_code

    assert [[each["id"] for each in found] for found in seen] == [[id], []]
    assert (image, small, jobs, spent) == ([200, 404], [200, 404], [], [1, 0])
    assert of_tools == 200


def test_clients_of_the_tools_hear_of_what_the_page_does(tmp_path: Path) -> None:
    """Subscribers are told of an image that is drawn, tagged and deleted on the page."""
    chosen = settings(tmp_path, tokens=(TOKEN,), allow_delete=True)
    app = create_app(chosen)
    events: list[ServerEvent] = []
    app.subscriptions.subscribe(events.append)
    with serving(server_of(app, owned=True), chosen) as site, signed_in(site) as client:
        (id,) = drawn(client, "heard", "A public pond")["images"]
        updated = ResourceUpdated(uri=f"generated-images://{id}")
        # The job is done for the page a moment before others are told.
        drawn_told = until(lambda: events.count(updated), bool)
        client.patch(f"/studio/api/images/{id}", json={"tag": "pond"}, headers=PAGE)
        tagged_told = events.count(updated)
        client.delete(f"/studio/api/images/{id}", headers=PAGE)

    assert (drawn_told, tagged_told, events.count(updated)) == (1, 2, 3)
    assert events.count(ResourcesListChanged()) == 3


def test_no_image_of_another_caller_can_be_edited(site: Site) -> None:
    """Its file on the server is no source, also where one image is given without a list."""
    with signed_in(site) as one, signed_in(site, OTHER) as two:
        (id,) = drawn(one, "hidden", "A hidden valley")["images"]
        file = one.get(f"/studio/api/images/{id}").json()["facts"]["path"]
        body = {"id": "theft", "prompt": "The same", "images": file, **SMALL}
        refused = two.post("/studio/api/jobs", json=body, headers=PAGE)

    assert Path(file).is_file()
    assert (refused.status_code, refused.json()["field"]) == (400, "images")


def test_limits_of_the_server_hold_in_the_studio(site: Site) -> None:
    """The most images of a call, and whether images may be deleted."""
    with signed_in(site) as client:
        (id,) = drawn(client, "kept", "A kept stone")["images"]
        many = client.post(
            "/studio/api/jobs", json={"id": "m", "prompt": "Stones", "n": 3, **SMALL}
        )
        gone = client.delete(f"/studio/api/images/{id}")
        status = client.get("/studio/api/status").json()

    assert (many.status_code, many.json()["field"]) == (400, "n")
    assert (gone.status_code, status["may_delete"], status["can_sign_out"]) == (403, False, True)


def test_reading_the_gallery_counts_for_no_rate(tmp_path: Path) -> None:
    """Hundreds of small images are one page; what begins something counts, and so do strangers."""
    told = settings(tmp_path, tokens=(TOKEN,), calls_per_minute=1)
    with (
        serving(build_server(told), told) as site,
        signed_in(site) as client,
        site.client() as other,
    ):
        read = {client.get("/studio/api/status").status_code for _ in range(8)}
        read |= {client.post("/studio/api/estimate", json={}).status_code for _ in range(8)}
        begun = [client.post("/studio/api/jobs", json={}).status_code for _ in range(4)]
        guesses = [
            other.post("/studio/session", data={"token": f"guess-{number}"}).status_code
            for number in range(4)
        ]

    assert (read, begun[-1], guesses[-1]) == ({200}, 429, 429)


def test_what_was_begun_is_there_after_a_restart(tmp_path: Path) -> None:
    """Without tokens it is open to this machine; jobs, images and money outlive the server."""
    told = settings(tmp_path)
    with serving(build_server(told), told) as site, site.client() as client:
        drawn(client, "early", "An early bird")
    with serving(build_server(told), told) as site, site.client() as client:
        jobs = client.get("/studio/api/jobs").json()["jobs"]
        status = client.get("/studio/api/status").json()

    assert [(job["id"], job["state"]) for job in jobs] == [("early", "done")]
    assert (status["images"], status["can_sign_out"], status["may_delete"]) == (1, False, False)


def test_what_was_sent_is_saved_when_the_server_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server waits for what is paid, and the next one finds the image."""
    hold = Hold()
    close = LocalRunner.close

    def closed(runner: LocalRunner) -> None:
        close(runner)
        hold.go.set()  # the service answers once the server has begun to end

    monkeypatch.setattr(LocalRunner, "close", closed)
    with service_running() as service:
        service.hold = hold
        url = service.server.base_url
        told = settings(tmp_path, sandbox=False, api_key="sk-test", base_url=url)
        with serving(build_server(told), told) as site, site.client() as client:
            client.post("/studio/api/jobs", json={"id": "late", "prompt": "A late moon", **SMALL})
            assert hold.arrived.wait(PATIENCE)
        with serving(build_server(told), told) as site, site.client() as client:
            job = client.get("/studio/api/jobs/late").json()

    assert (job["state"], len(job["images"]), len(service.calls)) == ("done", 1, 1)


def test_without_a_key_nothing_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page opens and says so; it never draws offline what was meant for the service."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    told = settings(tmp_path, sandbox=False)
    with serving(build_server(told), told) as site, site.client() as client:
        status = client.get("/studio/api/status").json()
        refused = client.post("/studio/api/jobs", json={"id": "a", "prompt": "A fox", **SMALL})

    assert (status["has_key"], refused.status_code) == (False, 409)


def test_replicas_have_no_studio(tmp_path: Path) -> None:
    """Its sign-ins are in one process: with the setting for replicas it is refused by name."""
    with pytest.raises(SettingsError, match="GPTIMAGE_STUDIO"):
        settings(tmp_path, stateless=True)
