"""The WordPress example, against a site that behaves as the real one."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from gptimage import ImageClient
from gptimage.store import Store
from tests.examples.conftest import paid
from tests.examples.wordpress_site import WordPressSite


def refusal(status: int, code: str, message: str) -> httpx2.Response:
    """What WordPress answers when it refuses."""
    return httpx2.Response(status, json={"code": code, "message": message})


def test_a_post_gets_its_image(wordpress: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The image is featured, described, marked as made with AI, and tagged with its id there."""
    site = WordPressSite("Foxes &amp; hens")

    wordpress.main(["featured", "1"], site.me())

    (media,) = site.media.values()
    assert site.posts[1]["featured_media"] == media["id"]
    assert media["alt_text"] == "Illustration: Foxes & hens"
    assert media["caption"] == "This image was made with AI."
    with Store("pictures") as store:
        (record,) = store.history().records
    assert f"wordpress:{media['id']}" in record.tags
    assert capsys.readouterr().out == f"post 1: image {media['id']} ({record.id})\n"


@pytest.mark.parametrize("pretty", [True, False])
def test_a_backfill_goes_on_where_it_stopped(wordpress: Any, *, pretty: bool) -> None:
    """Posts with an image are left alone; nothing is paid or uploaded twice."""
    site = WordPressSite(*(f"Article {number}" for number in range(3)), pretty=pretty)
    site.posts[2]["featured_media"] = 7

    wordpress.main(["backfill"], site.me())
    assert [post["featured_media"] for post in site.posts.values()] == [100, 7, 101]
    wordpress.main(["backfill"], site.me())
    assert (len(site.media), paid()) == (2, 2)


def test_more_posts_than_fit_on_a_page(wordpress: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run lists every post with what it may cost, and draws nothing."""
    site = WordPressSite(*(f"Article {number}" for number in range(101)))

    wordpress.main(["backfill", "--dry-run"], site.me())

    lines = capsys.readouterr().out.splitlines()
    assert (len(lines), paid(), len(site.media)) == (101, 0, 0)
    assert lines[-1] == "post 101: Article 100 (about $0.0065)"


def test_an_upload_that_broke_off_is_looked_for(wordpress: Any) -> None:
    """What may have been accepted is found at the next start, and not sent again."""
    site = WordPressSite("Foxes")
    site.after.append(("POST media", httpx2.ReadTimeout("late")))

    with pytest.raises(Exception, match="may have been accepted; start this again, it looks first"):
        wordpress.main(["featured", "1"], site.me())
    wordpress.main(["featured", "1"], site.me())

    assert (len(site.media), paid()) == (1, 1)
    assert site.posts[1]["featured_media"] == 100


@pytest.mark.parametrize("step", ["GET media", "POST media", "POST posts/1"])
def test_a_kill_between_the_steps_costs_nothing(wordpress: Any, step: str) -> None:
    """Whichever step was the last, the next start has one image, one upload and one payment."""
    site = WordPressSite("Foxes")
    site.failures.append((step, KeyboardInterrupt()))

    with pytest.raises(KeyboardInterrupt):
        wordpress.main(["featured", "1"], site.me())
    wordpress.main(["featured", "1"], site.me())

    assert (len(site.media), paid(), site.posts[1]["featured_media"]) == (1, 1, 100)


def test_a_limit_is_waited_for(wordpress: Any) -> None:
    """After 429 the same request is sent again: it was refused before anybody looked at it."""
    site = WordPressSite("Foxes")
    site.failures.append(("POST media", httpx2.Response(429, headers={"Retry-After": "3"})))

    wordpress.main(["featured", "1"], site.me())

    assert site.requests.count("POST media") == 2
    assert (len(site.media), site.posts[1]["featured_media"]) == (1, 100)


def test_a_file_that_is_too_large_becomes_smaller(wordpress: Any) -> None:
    """PHP's limit is found by trying, and the same image is paid for once."""
    site = WordPressSite("Foxes", max_upload=60_000)

    wordpress.main(["featured", "1"], site.me())

    assert site.media[100]["bytes"] <= 60_000
    assert paid() == 1


@pytest.mark.parametrize(
    ("response", "sentence"),
    [
        (
            refusal(500, "rest_upload_sideload_error", "Not allowed."),
            "POST media: 500 rest_upload_sideload_error Not allowed.",
        ),
        (
            refusal(403, "rest_cannot_create", "Sorry."),
            "POST media: 403 rest_cannot_create Sorry.: this user may not do that;",
        ),
        (
            httpx2.Response(502, text="<html><h1>Bad Gateway</h1></html>"),
            "POST media: 502 Bad Gateway",
        ),
    ],
    ids=["the file", "the user", "a proxy"],
)
def test_a_refused_upload_loses_nothing(
    wordpress: Any, response: httpx2.Response, sentence: str
) -> None:
    """The image stays in the store, the sentence says what was refused, the next start goes on."""
    site = WordPressSite("Foxes")
    site.failures.append(("POST media", response))

    with pytest.raises(Exception, match=sentence):
        wordpress.main(["featured", "1"], site.me())
    assert (site.requests.count("POST media"), paid()) == (1, 1)
    wordpress.main(["featured", "1"], site.me())
    assert (site.posts[1]["featured_media"], paid()) == (100, 1)


def test_a_password_that_expired(wordpress: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said before anything is paid."""
    site = WordPressSite("Foxes")

    with pytest.raises(Exception, match="is WORDPRESS_PASSWORD an application password"):
        wordpress.main(["featured", "1"], site.me(password="old"))
    assert paid() == 0


def test_an_image_in_the_text(wordpress: Any) -> None:
    """It stands at the end of the text, once however often the program is started."""
    site = WordPressSite("Foxes")

    for _ in range(2):
        wordpress.main(["inline", "1", 'A "red" fox'], site.me())

    text = site.posts[1]["content"]["raw"]
    assert (text.count("<img"), paid()) == (1, 1)
    assert 'alt="A &quot;red&quot; fox" class="wp-image-100"' in text


def test_the_text_of_the_store_is_used(wordpress: Any) -> None:
    """What `alt_text` or a person wrote for the image goes before the title; empty counts, too."""
    with Store("pictures") as store:
        client = ImageClient.sandbox(store=store)
        record = client.generate("A fox", size="256x256", quality="low").stored[0]
        found = [wordpress.alt_of(store, record, "Title " * 30)]
        for text in ("A fox asleep", ""):
            store.set_alt(record, text)
            found.append(wordpress.alt_of(store, record, "Title"))

    assert [len(found[0]) <= 125, *found[1:]] == [True, "A fox asleep", ""]


def test_one_failed_post_does_not_stop_the_others(
    wordpress: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A prompt that is refused leaves its post without an image and is counted."""
    site = WordPressSite("A hen [sandbox:moderation]", "Foxes")

    with pytest.raises(SystemExit, match="1 posts have no image yet"):
        wordpress.main(["backfill"], site.me())

    assert [post["featured_media"] for post in site.posts.values()] == [0, 100]
    assert capsys.readouterr().err.startswith("post 1: wordpress-post-1: no image (failed)")


def test_a_budget_holds(wordpress: Any) -> None:
    """A back-fill spends no more than it was given."""
    site = WordPressSite(*(f"Article {number}" for number in range(3)))

    with pytest.raises(SystemExit, match="posts have no image yet"):
        wordpress.main(["backfill", "--budget", "0.008"], site.me())
    assert (len(site.media), paid()) == (1, 1)


def test_the_log_of_a_stand_in(caplog: pytest.LogCaptureFixture) -> None:
    """With a test that fails pytest shows every request, its body, and what was answered."""
    with WordPressSite("Foxes").me() as client:
        client.post("/wp-json/wp/v2/posts/1", json={"featured_media": "one"})

    assert caplog.messages == [
        """POST posts/1 b'{"featured_media":"one"}'""",
        """    400 b'{"code":"rest_invalid_param","message":"No.","data":{"status":400}}'""",
    ]
