"""An image on X, Instagram, Slack, Discord or Bluesky: drawn once, posted once.

    python social.py slack "A red fox in the snow" --text "Winter is here" --alt "A fox in the snow"

The image is saved before anything is sent, and the id of the post is a tag of it, so the same
command may be started again at any time: after an expired token, a limit, a refusal, or a kill.
When nobody knows whether a post was accepted, the service is asked before it is sent again; only
Discord cannot be asked, and then a person looks and says `--posted ID` or `--again`. X and
Instagram have a flag for images made with AI, and get it; for the others the text says so. A copy
that was made smaller or a JPEG loses the signature of its maker, not the label that it is AI-made.

What each service needs in the environment is written above its class in social_services.py.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import httpx2
from publish import PublishError, UnknownOutcomeError, draw_once, remember, remembered, shorten
from social_services import SERVICES, Post, Service

import gptimage
from gptimage.store import Store
from gptimage.workers import SqliteJobStore


def post(service: Service, store: Store, message: Post) -> str:
    """Return the id of the post of a saved image, which is made unless it is there."""
    record = message.record
    if known := remembered(store, record, service.name):
        return known
    sending = f"{service.name}-sending"
    if (begun := remembered(store, record, sending)) is not None:
        # An earlier start was cut off while it posted: only the service knows how that ended.
        known = service.find(message, begun)
        if known is not None:
            remember(store, record, service.name, known)
        store.untag(record, f"{sending}:{begun}")
        if known is not None:
            return known
    upload = service.upload(message)  # nobody sees it yet, so it may be repeated
    remember(store, record, sending, upload)
    try:
        known = service.publish(message, upload)
    except UnknownOutcomeError:
        raise
    except PublishError:  # refused: the next start need not look
        store.untag(record, f"{sending}:{upload}")
        raise
    remember(store, record, service.name, known)
    store.untag(record, f"{sending}:{upload}")
    return known


def main(
    arguments: list[str],
    http: httpx2.Client | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="Post an image.")
    parser.add_argument("service", choices=sorted(SERVICES))
    parser.add_argument("prompt", help="what to draw")
    parser.add_argument("--text", required=True, help="the text of the post")
    parser.add_argument("--alt", required=True, help="what the image shows, for those who listen")
    parser.add_argument("--size", default="1080x1080")
    decision = parser.add_mutually_exclusive_group()
    decision.add_argument("--again", action="store_true", help="post it once more")
    decision.add_argument("--posted", metavar="ID", help="it is there, under this id")
    options = parser.parse_args(arguments)

    kind = SERVICES[options.service]
    kind.check(options.text, gptimage.Size.parse(options.size))  # before anything is paid
    with (
        http or httpx2.Client(timeout=60) as connection,
        Store("pictures") as store,
        gptimage.ImageClient(store=store) as client,
    ):
        service = kind(connection, wait)  # so is a token that is not accepted
        record = draw_once(
            client,
            SqliteJobStore("jobs.sqlite"),
            f"social-{options.size}",
            options.prompt,
            size=options.size,
        )
        if options.again or options.posted:
            own = (f"{kind.name}:", f"{kind.name}-sending:")
            store.untag(record, *(tag for tag in store.get(record).tags if tag.startswith(own)))
        if options.posted:
            remember(store, record, kind.name, options.posted)
        alt = shorten(options.alt, kind.alt_limit)
        message = Post(record=record, image=store.open(record), text=options.text, alt=alt)
        print(f"{kind.name}: {post(service, store, message)} ({record.id})")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except PublishError as error:
        sys.exit(str(error))
