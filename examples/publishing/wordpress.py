"""Featured images for a WordPress site: one post, all that have none, or an image in the text.

    export WORDPRESS_URL=https://example.org WORDPRESS_USER=me WORDPRESS_PASSWORD="abcd efgh ijkl"
    python wordpress.py featured 17
    python wordpress.py backfill --dry-run
    python wordpress.py backfill --budget 5.00
    python wordpress.py inline 17 "A diagram of the water cycle"

The password is an application password (Users > Profile). A post that has an image is left alone,
so the site itself remembers how far a back-fill came; images are paid for once and uploaded once
however often it is started.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx2
from publish import Api, PublishError, TooLargeError, draw_once, remember, remembered, shorten

import gptimage
from gptimage.store import Store
from gptimage.typing import Record
from gptimage.workers import SqliteJobStore


SIZE = "1200x630"
QUALITY: Final = "medium"
MAX_BYTES = 2_000_000  # what PHP takes unless the host was told otherwise


class WordPress:
    """The part of a site's REST API that images need.

    Args:
        api: Sends the requests; its client has the site as base and the credentials.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        # Without "pretty permalinks" there is no /wp-json/, only this parameter.
        self._plain = api.send("GET", "/wp-json/").status_code == 404
        self.call("GET", "users/me", params={"context": "edit"})  # before anything is paid

    def call(self, method: str, route: str, **request: Any) -> httpx2.Response:
        """Return the response of a route that did what it was told.

        Raises:
            TooLargeError: The file is more than the server takes.
            PublishError: The site refused; the text says what to do.
        """
        params = {**request.pop("params", {})}
        url = f"/wp-json/wp/v2/{route}"
        if self._plain:
            url, params["rest_route"] = "/", f"/wp/v2/{route}"
        response = self._api.send(method, url, params=params, **request)
        if response.is_success:
            return response
        try:
            error = response.json()
            code, message = str(error["code"]), str(error["message"])
        except (ValueError, KeyError, TypeError):  # a proxy's page, not WordPress
            code, message = "", shorten(re.sub(r"<[^>]*>", " ", response.text), 200)
        # "No data" for a body that had some: PHP dropped what exceeds its post_max_size.
        if response.status_code == 413 or code in {
            "rest_upload_no_data",
            "rest_upload_file_too_big",
        }:
            raise TooLargeError(f"the server takes no file of this size: {message}")
        advice = ""
        if response.status_code == 401:
            advice = ": is WORDPRESS_PASSWORD an application password that still exists?"
        elif response.status_code == 403:
            advice = ": this user may not do that; an Author may upload, an Editor may edit all"
        raise PublishError(
            " ".join(f"{method} {route}: {response.status_code} {code} {message}".split()) + advice
        )

    def posts_without_image(self) -> Iterator[dict[str, Any]]:
        """Yield the posts without a featured image, the oldest first."""
        # The site knows no such filter. In this order, what is published meanwhile comes last.
        params = {
            "per_page": 100,
            "orderby": "id",
            "order": "asc",
            "status": "publish,draft",
            "_fields": "id,title,featured_media",
        }
        page, pages = 1, 1
        while page <= pages:
            response = self.call("GET", "posts", params={**params, "page": page})
            pages = int(response.headers["X-WP-TotalPages"])
            yield from (post for post in response.json() if not post["featured_media"])
            page += 1

    def upload(self, image: gptimage.Image, slug: str, alt: str, caption: str) -> int:
        """Return the id of the image on the site, where it may be already."""
        params = {"slug": slug, "_fields": "id"}
        if there := self.call("GET", "media", params=params).json():
            return int(there[0]["id"])
        data = image.data
        response = self.call(
            "POST",
            "media",
            params={"slug": slug, "title": alt, "alt_text": alt, "caption": caption},
            content=data,
            headers={
                "Content-Type": image.mime_type,
                "Content-Disposition": f'attachment; filename="{slug}.jpg"',
                # In hex, unlike the standard: the site refuses what arrived damaged.
                "Content-MD5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
            },
        )
        return int(response.json()["id"])

    def feature(self, post: int, media: int) -> None:
        """Make an image the featured image of a post."""
        answer = self.call("POST", f"posts/{post}", json={"featured_media": media}).json()
        if answer["featured_media"] != media:  # an id that is no image is answered with 200
            raise PublishError(f"the site did not take image {media} for post {post}")

    def insert(self, post: int, media: int, alt: str) -> None:
        """Put an image at the end of a post's text, unless it is in there."""
        params = {"context": "edit", "_fields": "content"}
        text = str(self.call("GET", f"posts/{post}", params=params).json()["content"]["raw"])
        if f"wp-image-{media}" in text:
            return
        address = self.call("GET", f"media/{media}", params={"_fields": "source_url"}).json()
        block = (
            f'<!-- wp:image {{"id":{media}}} -->\n<figure class="wp-block-image">'
            f'<img src="{html.escape(address["source_url"])}" alt="{html.escape(alt)}"'
            f' class="wp-image-{media}"/></figure>\n<!-- /wp:image -->'
        )
        self.call("POST", f"posts/{post}", json={"content": f"{text}\n\n{block}"})


def alt_of(store: Store, record: Record, otherwise: str) -> str:
    """Return the alt text the store has for an image, else this text, cut to 125 characters."""
    known = store.get(record).alt
    return shorten(otherwise, 125) if known is None else known


def publish(site: WordPress, store: Store, record: Record, alt: str) -> int:
    """Return the id on the site of a saved image, uploaded unless it is there."""
    if known := remembered(store, record, "wordpress"):
        return int(known)
    caption = "This image was made with AI."
    limit = MAX_BYTES
    while True:
        image = store.open(record).convert("jpeg").shrink(limit)
        try:
            # Named after the image in the store: a smaller copy of it is still the same image.
            media = site.upload(image, f"img-{record.sha256[:16]}", alt, caption)
        except TooLargeError:
            if limit < 100_000:
                raise
            limit //= 2
        else:
            remember(store, record, "wordpress", str(media))
            return media


def title_of(post: dict[str, Any]) -> str:
    """Return a post's title as plain text."""
    return html.unescape(re.sub(r"<[^>]*>", "", post["title"]["rendered"])) or "Untitled"


def illustrate(
    site: WordPress,
    client: gptimage.ImageClient,
    jobs: SqliteJobStore,
    store: Store,
    post: dict[str, Any],
) -> str:
    """Draw, save, upload and feature the image of a post; return a line that says so."""
    title = title_of(post)
    prompt = f"An editorial illustration, without any text, for an article with the title: {title}"
    record = draw_once(
        client, jobs, f"wordpress-post-{post['id']}", prompt, size=SIZE, quality=QUALITY
    )
    alt = alt_of(store, record, f"Illustration: {title}")
    media = publish(site, store, record, alt)
    site.feature(post["id"], media)
    return f"post {post['id']}: image {media} ({record.id})"


def main(
    arguments: list[str],
    http: httpx2.Client | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="Images for a WordPress site.")
    commands = parser.add_subparsers(dest="command", required=True)
    featured = commands.add_parser("featured", help="the featured image of one post")
    featured.add_argument("post", type=int)
    backfill = commands.add_parser("backfill", help="of every post that has none")
    backfill.add_argument("--budget", help="the most to spend, in USD")
    backfill.add_argument("--dry-run", action="store_true", help="only say what it may cost")
    inline = commands.add_parser("inline", help="an image at the end of a post's text")
    inline.add_argument("post", type=int)
    inline.add_argument("prompt")
    options = parser.parse_args(arguments)

    http = http or httpx2.Client(
        base_url=os.environ["WORDPRESS_URL"],
        auth=(os.environ["WORDPRESS_USER"], os.environ["WORDPRESS_PASSWORD"]),
        timeout=60,
    )
    budget = getattr(options, "budget", None)
    settings: dict[str, Any] = {"budget": gptimage.Budget(budget, per="total")} if budget else {}
    with http, Store("pictures") as store, gptimage.ImageClient(store=store, **settings) as client:
        jobs = SqliteJobStore("jobs.sqlite")
        site = WordPress(Api(http, wait))
        if options.command == "featured":
            post = site.call(
                "GET", f"posts/{options.post}", params={"_fields": "id,title,featured_media"}
            ).json()
            print(illustrate(site, client, jobs, store, post))
        elif options.command == "inline":
            name = f"wordpress-inline-{options.post}"
            record = draw_once(client, jobs, name, options.prompt, size=SIZE, quality=QUALITY)
            alt = alt_of(store, record, options.prompt)
            media = publish(site, store, record, alt)
            site.insert(options.post, media, alt)
            print(f"post {options.post}: image {media} in the text ({record.id})")
        else:
            fill(site, client, jobs, store, dry_run=options.dry_run)


def fill(
    site: WordPress,
    client: gptimage.ImageClient,
    jobs: SqliteJobStore,
    store: Store,
    *,
    dry_run: bool,
) -> None:
    """Illustrate every post that has no image; one that fails does not stop the others."""
    failed = 0
    for post in site.posts_without_image():
        if dry_run:
            estimate = client.estimate(title_of(post), size=SIZE, quality=QUALITY)
            about = f"${estimate.usd:.4f}" if estimate else "an unknown amount"
            print(f"post {post['id']}: {title_of(post)} (about {about})")
            continue
        try:
            print(illustrate(site, client, jobs, store, post), flush=True)
        except PublishError as error:
            failed += 1
            print(f"post {post['id']}: {error}", file=sys.stderr)
    if failed:
        sys.exit(f"{failed} posts have no image yet; start this again to go on")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except PublishError as error:
        sys.exit(str(error))
