"""The example for X, Instagram, Slack, Discord and Bluesky, each against a site that refuses."""

from __future__ import annotations

import contextlib
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gptimage.store import Store
from tests.examples.conftest import paid
from tests.examples.social_sites import SITES, InstagramSite, Site, XSite
from tests.store.azurite import Azurite


WORDS = ("A red fox", "--text", "Winter is here", "--alt", "A fox in the snow", "--size", "64x64")
STEPS = [(name, step) for name, site in SITES.items() for step in site.steps]


class Social:
    """The program before one site."""

    def __init__(self, module: Any, name: str, site: Site) -> None:
        self.module = module
        self.name = name
        self.site = site

    def __call__(self, *words: str) -> None:
        """Start it."""
        self.module.main([self.name, *WORDS, *words], self.site.client())

    @property
    def tags(self) -> list[str]:
        """What the image remembers."""
        with Store("pictures") as store:
            (record,) = store.history().records
        return [tag for tag in record.tags if tag.startswith(self.name)]


@pytest.fixture
def start(
    program: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Social]:
    """Return the program before a site, with its credentials."""

    def started(name: str) -> Social:
        site = SITES[name]()
        for variable, value in site.environment.items():
            monkeypatch.setenv(variable, value)
        module = program("social")
        if isinstance(site, InstagramSite):
            import social_services  # type: ignore[import-not-found]  # beside the program

            monkeypatch.setattr(social_services, "public_link", site.public_link)
        return Social(module, name, site)

    return started


@pytest.mark.parametrize("name", SITES)
def test_an_image_is_posted_once(
    start: Callable[[str], Social], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has its text and alternative text, says that it is made with AI, and is remembered."""
    social = start(name)

    for _ in range(2):
        social()

    (post,) = social.site.posts
    assert (post["text"].startswith("Winter is here"), post["alt"]) == (True, "A fox in the snow")
    assert post["ai"] is True
    (tag,) = social.tags
    out = capsys.readouterr().out
    assert (out.count(tag.replace(":", ": ")), paid()) == (2, 1)


@pytest.mark.parametrize("when", ["failures", "after"])
@pytest.mark.parametrize(("name", "step"), STEPS)
def test_a_kill_between_the_steps(
    start: Callable[[str], Social], name: str, step: str, when: str
) -> None:
    """Before and after each request: the next start has one post, and one payment."""
    social = start(name)
    getattr(social.site, when).append((step, KeyboardInterrupt()))

    with pytest.raises(KeyboardInterrupt):
        social()
    if name == "discord":  # the one that cannot be asked: nothing is sent until a person looked
        with pytest.raises(Exception, match="--posted ID or with --again"):
            social()
        social(*(["--posted", "41"] if when == "after" else ["--again"]))
        assert social.tags == ["discord:41"]
    else:
        social()

    assert (len(social.site.posts), paid()) == (1, 1)


@pytest.mark.parametrize("name", SITES)
def test_a_reply_that_got_lost(start: Callable[[str], Social], name: str) -> None:
    """A post that may have been accepted is not sent again blindly, and no message has a secret."""
    social = start(name)
    social.site.after.append((social.site.publishing, httpx2.ReadTimeout("late")))

    with pytest.raises(Exception, match="may have been accepted; start this again") as raised:
        social()
    assert "very-secret" not in str(raised.value)
    social(*(["--posted", "41"] if name == "discord" else []))

    assert (len(social.site.posts), len(social.tags), paid()) == (1, 1, 1)


@pytest.mark.parametrize(
    ("name", "status"),
    # Posts of Bluesky have keys of ours: any success is one.
    [*((name, 503) for name in SITES), *((name, 200) for name in SITES if name != "bluesky")],
)
def test_a_failure_after_the_post(start: Callable[[str], Social], name: str, status: int) -> None:
    """A service that failed, or a proxy's page, is no refusal: it is looked for, not sent again."""
    social = start(name)
    page = httpx2.Response(status, text="<html>")
    social.site.after.append((social.site.publishing, page))

    with pytest.raises(Exception, match="may have been accepted"):
        social()
    social(*(["--posted", "41"] if name == "discord" else []))

    assert (len(social.site.posts), len(social.tags), paid()) == (1, 1, 1)


def test_slack_fails_with_a_200(start: Callable[[str], Social]) -> None:
    """Of what it calls an internal error a part may have been done."""
    social = start("slack")
    reply = httpx2.Response(200, json={"ok": False, "error": "internal_error"})
    social.site.after.append((social.site.publishing, reply))

    with pytest.raises(Exception, match="internal_error; it may have been accepted"):
        social()
    social()

    assert (len(social.site.posts), paid()) == (1, 1)


def test_x_rewrites_texts(start: Callable[[str], Social]) -> None:
    """A post is found again by its image, whatever became of & and of links."""
    social = start("x")
    social.site.after.append((social.site.publishing, httpx2.ReadTimeout("late")))
    words = ["x", "A red fox", "--text", "Ann & Bob: https://example.org", "--alt", "A fox"]

    for _ in range(2):
        with contextlib.suppress(social.module.UnknownOutcomeError):
            social.module.main(words, social.site.client())

    assert (len(social.site.posts), social.tags) == (1, ["x:70"])


@pytest.mark.parametrize("name", SITES)
def test_a_limit_is_waited_for(start: Callable[[str], Social], name: str) -> None:
    """After 429 the same request is sent again: it was refused before anybody looked at it."""
    social = start(name)
    limited = httpx2.Response(429, headers={"Retry-After": "0.75"}, json={"retry_after": 0.75})
    social.site.failures.append((social.site.publishing, limited))
    waits: list[float] = []

    social.module.main([name, *WORDS], social.site.client(), wait=waits.append)

    assert 0.75 in waits
    assert (len(social.site.posts), paid()) == (1, 1)


@pytest.mark.parametrize("failure", ["refusal", "expired"])
@pytest.mark.parametrize("name", SITES)
def test_what_is_refused_loses_nothing(
    start: Callable[[str], Social], name: str, failure: str
) -> None:
    """The image is saved; a token is renewed where that is possible; the next start goes on."""
    social = start(name)
    social.site.failures.append((social.site.publishing, getattr(social.site, failure)))
    renewed = failure == "expired" and name in {"x", "bluesky"}

    if not renewed:
        with pytest.raises(Exception, match="(?i)" + {"x": "X: "}.get(name, name)):
            social()
        assert social.site.posts == []
        assert [tag for tag in social.tags if "sending" in tag] == []
    social()

    assert (len(social.site.posts), paid()) == (1, 1)


@pytest.mark.parametrize("name", SITES)
def test_wrong_credentials_cost_nothing(
    start: Callable[[str], Social], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are refused before anything is paid, and so is what the service never takes."""
    social = start(name)
    with pytest.raises(Exception, match="the text has 5000 characters"):
        social.module.main([name, "A fox", "--text", "a" * 5000, "--alt", "A fox"])
    for variable in social.site.environment:
        monkeypatch.setenv(variable, "https://discord.com/api/v10/webhooks/1/wrong")

    with pytest.raises(Exception, match="(?i)" + name):
        social()
    assert paid() == 0


def test_x_writes_a_new_token_down(start: Callable[[str], Social]) -> None:
    """The refresh token changes each time: the next start knows the new one."""
    social = start("x")
    assert isinstance(social.site, XSite)
    social.site.access = "another"

    social()
    social.site.access = "expired again"
    social()

    assert social.site.requests.count("POST /2/oauth2/token") == 2
    assert Path("x-token.json").stat().st_mode & 0o077 == 0


def test_what_instagram_takes(start: Callable[[str], Social]) -> None:
    """A shape it does not show and a day that is full are refused before an upload."""
    social = start("instagram")
    assert isinstance(social.site, InstagramSite)

    with pytest.raises(Exception, match=re.escape("--size 1080x1920: Instagram takes pixels")):
        social("--size", "1080x1920")
    assert paid() == 0
    social.site.quota = 0
    with pytest.raises(Exception, match="no more posts today"):
        social()
    assert social.site.containers == {}


def test_the_public_link(
    program: Callable[[str], Any], bucket_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object store gives an address with a signature and an end, which anybody can open."""
    monkeypatch.setenv("PUBLIC_BUCKET", "s3://bucket/public")
    program("social")
    import social_services  # type: ignore[import-not-found]  # beside the program

    link = social_services.public_link(b"a jpeg", "fox.jpg")

    assert link.startswith(f"{bucket_server}/bucket/public/fox.jpg?X-Amz-")
    assert "X-Amz-Expires=3600" in link
    with urllib.request.urlopen(link) as response:
        assert (response.read(), response.headers["Content-Type"]) == (b"a jpeg", "image/jpeg")


def test_the_public_link_of_azure(
    program: Callable[[str], Any], azure: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container of Azure gives such an address, too."""
    azure.create_container("images")
    for name, value in {**azure.environment, "PUBLIC_BUCKET": "az://images/public"}.items():
        monkeypatch.setenv(name, value)
    program("social")
    import social_services  # type: ignore[import-not-found]  # beside the program

    with urllib.request.urlopen(social_services.public_link(b"a jpeg", "fox.jpg")) as response:
        assert (response.read(), response.headers["Content-Type"]) == (b"a jpeg", "image/jpeg")
