"""The WordPress example against a real WordPress, which `nox -s wordpress` brings and starts."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.examples.conftest import paid


FOLDER = os.environ.get("TESTS_WORDPRESS")
"""Where `nox -s wordpress` put the site and the packages that start it."""

pytestmark = pytest.mark.skipif(FOLDER is None, reason="needs a real WordPress: nox -s wordpress")

_PLUGIN = """<?php
add_filter('wp_is_application_passwords_available', '__return_true');  // also without HTTPS
// It would ask for updates and call itself for its chores, and wait for both without a network.
add_filter('pre_http_request', fn () => new WP_Error('offline', 'no network'));
defined('DISABLE_WP_CRON') || define('DISABLE_WP_CRON', true);
add_action('rest_api_init', function () {
    register_rest_route('tests', '/password', [
        'methods' => 'GET',
        'permission_callback' => '__return_true',
        'callback' => function () {
            $name = ['name' => wp_generate_uuid4()];
            return WP_Application_Passwords::create_new_application_password(1, $name)[0];
        },
    ]);
});
"""


@pytest.fixture
def wordpress(wordpress: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program with small images: PHP in WebAssembly makes five sizes of each."""
    monkeypatch.setattr(wordpress, "SIZE", "120x63")
    return wordpress


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a fresh site."""
    site = tmp_path_factory.mktemp("wordpress") / "site"
    shutil.copytree(Path(str(FOLDER), "site"), site)
    plugins = site / "wp-content" / "mu-plugins"
    plugins.mkdir()
    (plugins / "tests.php").write_text(_PLUGIN, encoding="utf-8")
    words = ["--mount-dir-before-install", str(site), "/wordpress"]
    words += ["--wordpress-install-mode", "install-from-existing-files", "--port", "0"]
    program = Path(str(FOLDER), "node_modules", ".bin", "wp-playground-cli")
    with subprocess.Popen(
        ["node", program, "server", *words, "--workers", "6"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as server:
        assert server.stdout is not None
        seen: list[str] = []
        try:
            for line in server.stdout:
                seen.append(line)
                if "WordPress is running on" in line:
                    yield line.partition("running on ")[2].split()[0]
                    break
            else:
                pytest.fail("".join(seen))
        finally:
            server.terminate()
            with suppress(subprocess.TimeoutExpired):
                server.wait(60)
            server.kill()


@pytest.fixture
def site(address: str) -> Iterator[httpx2.Client]:
    """A client of the site with an application password."""
    # The very first request is redirected once: Playground logs its visitor in.
    with httpx2.Client(base_url=address, timeout=120, follow_redirects=True) as first:
        password = first.get("/", params={"rest_route": "/tests/password"}).json()
    with httpx2.Client(base_url=address, timeout=120, auth=("admin", password)) as client:
        yield client


def new_post(site: httpx2.Client, title: str, **more: Any) -> int:
    """Publish a post, and return its id."""
    response = site.post(
        "/wp-json/wp/v2/posts",
        json={"title": title, "content": "<p>Text</p>", "status": "publish", **more},
    )
    assert response.status_code == 201, response.text
    return int(response.json()["id"])


def read(site: httpx2.Client, route: str) -> dict[str, Any]:
    """Read something as its editor sees it."""
    response = site.get(f"/wp-json/wp/v2/{route}", params={"context": "edit"})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def again(site: httpx2.Client) -> httpx2.Client:
    """A client like this one: the program closes the one it is given."""
    return httpx2.Client(base_url=site.base_url, timeout=120, auth=site.auth)


def test_a_featured_image(wordpress: Any, site: httpx2.Client) -> None:
    """It is featured with its alternative text and caption, and found again at the next start."""
    post = new_post(site, "Foxes &amp; hens")

    for _ in range(2):
        wordpress.main(["featured", str(post)], again(site))

    media = read(site, f"media/{read(site, f'posts/{post}')['featured_media']}")
    assert media["alt_text"] == "Illustration: Foxes & hens"
    assert media["caption"]["raw"] == "This image was made with AI."
    assert (media["mime_type"], media["media_details"]["width"]) == ("image/jpeg", 120)
    assert site.get(media["source_url"]).content[:2] == b"\xff\xd8"
    assert paid() == 1


def test_a_backfill(
    wordpress: Any, site: httpx2.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dry run names the posts, a budget stops, the next start goes on, and no one is repeated."""
    posts = [new_post(site, "One"), new_post(site, "Two", status="draft"), new_post(site, "Three")]
    capsys.readouterr()

    wordpress.main(["backfill", "--dry-run"], again(site))
    listed = capsys.readouterr().out
    assert [f"post {post}: " in listed for post in posts] == [True] * 3
    assert paid() == 0
    with pytest.raises(SystemExit, match="have no image yet"):
        wordpress.main(["backfill", "--budget", "0.008"], again(site))
    assert paid() == 1
    wordpress.main(["backfill"], again(site))
    before = paid()

    wordpress.main(["backfill"], again(site))

    assert paid() == before
    assert all(read(site, f"posts/{post}")["featured_media"] for post in posts)


def test_an_image_in_the_text(wordpress: Any, site: httpx2.Client) -> None:
    """It stands in the text once, however often the program is started."""
    post = new_post(site, "Foxes")

    for _ in range(2):
        wordpress.main(["inline", str(post), 'A "red" fox'], again(site))

    text = read(site, f"posts/{post}")["content"]["raw"]
    assert (text.count("<!-- wp:image"), paid()) == (1, 1)
    assert 'alt="A &quot;red&quot; fox"' in text


def test_a_kill_after_the_upload(wordpress: Any, site: httpx2.Client) -> None:
    """The upload is found by its slug: there is one image on the site, and one payment."""
    post = new_post(site, "Owls")

    class Killed(httpx2.HTTPTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            if request.method == "POST" and request.url.path.endswith(f"/posts/{post}"):
                raise KeyboardInterrupt
            return super().handle_request(request)

    dying = httpx2.Client(
        base_url=site.base_url, timeout=120, auth=site.auth, transport=Killed(retries=0)
    )
    with pytest.raises(KeyboardInterrupt):
        wordpress.main(["featured", str(post)], dying)
    wordpress.main(["featured", str(post)], again(site))

    found = site.get("/wp-json/wp/v2/media", params={"search": "Owls"}).json()
    assert (len(found), paid()) == (1, 1)
    assert read(site, f"posts/{post}")["featured_media"] == found[0]["id"]


def test_what_the_site_refuses(wordpress: Any, site: httpx2.Client) -> None:
    """A wrong password is refused before anything is paid, with the same words as the stand-in."""
    post = new_post(site, "Hens")
    wrong = httpx2.Client(base_url=site.base_url, timeout=120, auth=("admin", "wrong"))

    with pytest.raises(Exception, match=r"401 .*is WORDPRESS_PASSWORD an application password"):
        wordpress.main(["featured", str(post)], wrong)
    assert not Path("pictures").exists() or paid() == 0
