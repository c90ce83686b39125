"""What publishing to any service needs: pay once, send once, remember where it went.

None of these services knows that it was sent the same thing before: a call that is repeated makes
a second upload, a second post. So an image is saved before anything is published, what may have
been accepted is looked for and never sent again blindly, and the id that the service gave is a
tag of the image before success is reported.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any, cast

import httpx2

import gptimage
from gptimage.store import Store
from gptimage.typing import Record
from gptimage.workers import Job, JobStore, run_job


class PublishError(Exception):
    """Something was not published; the image is saved, and the program can be started again."""


class TooLargeError(PublishError):
    """The service takes no file of this size."""


class UnknownOutcomeError(PublishError):
    """Nobody knows whether a request was accepted."""


def draw_once(
    client: gptimage.ImageClient, job_store: JobStore, name: str, prompt: str, **options: Any
) -> Record:
    """Return the image of this name, which is paid for once however often the program is started.

    Another prompt under the same name, as when a title was changed, is another image.

    Raises:
        PublishError: There is no image; the text says why, and what it may have cost.
    """
    job = Job.of(f"{name}-{hashlib.sha256(prompt.encode()).hexdigest()[:12]}", prompt, **options)
    result = run_job(job, client=client, job_store=job_store)
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
        refresh: Makes a new token, and returns its headers; None where that needs a person.
        hide: A secret that is part of addresses, and of no message.
    """

    def __init__(
        self,
        http: httpx2.Client,
        wait: Callable[[float], None] = time.sleep,
        refresh: Callable[[], dict[str, str]] | None = None,
        *,
        hide: str = "",
    ) -> None:
        self._http = http
        self._wait = wait
        self._refresh = refresh
        self._hide = hide or "\0"
        self.headers: dict[str, str] = {}

    def send(self, method: str, url: str, *, token: bool = True, **request: Any) -> httpx2.Response:
        """Return the response, whatever its status, once no limit is in the way.

        Args:
            method: Its method.
            url: The address, or the path below that of the client.
            token: Whether the credentials go with it: no other host may see them.
            **request: As for httpx2.

        Raises:
            PublishError: The service cannot be reached, or nobody knows whether it accepted this.
        """
        response = self._send(method, url, token=token, **request)
        # Bluesky says so with a 400.
        expired = response.status_code == 401 or b'"ExpiredToken"' in response.content[:100]
        if expired and token and self._refresh is not None:
            # Refused before it was looked at: with a new token it is sent for the first time.
            self.headers = self._refresh()
            response = self._send(method, url, token=token, **request)
        return response

    def _send(self, method: str, url: str, *, token: bool, **request: Any) -> httpx2.Response:
        headers = {**(self.headers if token else {}), **request.pop("headers", {})}
        for attempt in range(4):
            try:
                response: httpx2.Response = self._http.request(
                    method, url, headers=headers, **request
                )
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                if attempt == 3:
                    host = httpx2.URL(url).host or self._http.base_url.host
                    raise PublishError(f"{host} cannot be reached: {error}") from None
                self._wait(2**attempt)  # nothing was sent
                continue
            except httpx2.TransportError as error:
                # It may have been accepted: the next start looks for it before it sends anything.
                path = httpx2.URL(url).path.replace(self._hide, "...")
                raise UnknownOutcomeError(
                    f"{method} {path} broke off ({type(error).__name__}) and may "
                    "have been accepted; start this again, it looks first"
                ) from None
            # 429 is said before a request is looked at. A 503 may come after work was done.
            if response.status_code != 429 or attempt == 3:
                return response
            self._wait(min(seconds_to_wait(response, 2.0**attempt), 900.0))
        raise AssertionError("unreachable")


def error_of(response: httpx2.Response, text: str) -> PublishError:
    """Return the error of a response without the wanted answer.

    A service that failed (5xx), or whose answer cannot be read, may have done what it was told.
    """
    refused = 400 <= response.status_code < 500 and response.status_code != 408
    if refused or response.request.method == "GET":
        return PublishError(text)
    return UnknownOutcomeError(f"{text}; it may have been accepted: start this again, it looks")


def json_of(response: httpx2.Response) -> dict[str, Any]:
    """Return the JSON object of a response; an empty one for a proxy's page."""
    try:
        found = response.json()
    except ValueError:
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def seconds_to_wait(response: httpx2.Response, otherwise: float) -> float:
    """Return how long a service says to wait: in seconds, or until a moment (X, Bluesky)."""
    headers = response.headers
    for text, start in (
        (headers.get("retry-after"), 0.0),
        (headers.get("x-rate-limit-reset") or headers.get("ratelimit-reset"), time.time()),
    ):
        try:
            return max(float(text or ""), start) - start
        except ValueError:  # it is not there, or a date
            continue
    return otherwise
