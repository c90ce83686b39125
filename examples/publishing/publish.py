"""What publishing to any service needs: pay once, send once, remember where it went.

None of these services knows that it was sent the same thing before: a call that is repeated makes
a second upload, a second post. So an image is saved before anything is published, what may have
been accepted is looked for and never sent again blindly, and the id that the service gave is a
tag of the image before success is reported.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx2

import gptimage
from gptimage.store import Store
from gptimage.typing import Record
from gptimage.workers import Job, JobStore, run_job


class PublishError(Exception):
    """Something was not published; the image is saved, and the program can be started again."""


class TooLargeError(PublishError):
    """The service takes no file of this size."""


def draw_once(
    client: gptimage.ImageClient, job_store: JobStore, name: str, prompt: str, **options: Any
) -> Record:
    """Return the image of this name, which is paid for once however often the program is started.

    Raises:
        PublishError: There is no image; the text says why, and what it may have cost.
    """
    result = run_job(Job.of(name, prompt, **options), client=client, job_store=job_store)
    if result.status != "done" or client.store is None:
        raise PublishError(f"{name}: no image ({result.status}): {result.reason}")
    return client.store.get(result.images[0])


def remember(store: Store, record: Record, service: str, remote: str) -> None:
    """Write down where an image went, as the tag ``service:remote``."""
    store.tag(record, f"{service}:{remote}")


def remembered(store: Store, record: Record, service: str) -> str | None:
    """Return where an image went; None where nothing was written down."""
    tags = store.get(record).tags
    return next((tag.partition(":")[2] for tag in tags if tag.startswith(f"{service}:")), None)


def shorten(text: str, limit: int) -> str:
    """Return a text of at most so many characters, cut between words."""
    words = " ".join(text.split())
    return words if len(words) <= limit else words[: limit - 1].rsplit(" ", 1)[0] + "…"


class Api:
    """Requests to one service, sent again only where they cannot have been accepted.

    Args:
        http: Sends them.
        wait: Waits so many seconds.
    """

    def __init__(self, http: httpx2.Client, wait: Callable[[float], None] = time.sleep) -> None:
        self._http = http
        self._wait = wait

    def send(self, method: str, url: str, **request: Any) -> httpx2.Response:
        """Return the response, whatever its status, once no limit is in the way.

        Raises:
            PublishError: The service cannot be reached, or nobody knows whether it accepted this.
        """
        for attempt in range(4):
            try:
                response: httpx2.Response = self._http.request(method, url, **request)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                if attempt == 3:
                    raise PublishError(
                        f"{self._http.base_url} cannot be reached: {error}"
                    ) from None
                self._wait(2**attempt)  # nothing was sent
                continue
            except httpx2.TransportError as error:
                # It may have been accepted: the next start looks for it before it sends anything.
                raise PublishError(
                    f"{method} {url} broke off ({type(error).__name__}) and may have been accepted;"
                    " start this again, it looks first"
                ) from None
            # 429 is said before a request is looked at. A 503 may come after work was done.
            if response.status_code != 429 or attempt == 3:
                return response
            told = response.headers.get("retry-after", "")
            self._wait(min(float(told), 120.0) if told.isdigit() else 2.0**attempt)
        raise AssertionError("unreachable")
