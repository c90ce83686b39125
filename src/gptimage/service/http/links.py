"""Signed links, each to fetch one thing, for some minutes, without a token."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

from gptimage._internal.clock import unix_now
from gptimage.errors import GptImageError


SIGNATURE: Final = "signature"
"""The parameter that makes an address a signed link."""

_LABEL: Final = b"gptimage signed link, version 1"
_PARAMETERS: Final = {"expires", "owner", SIGNATURE}


class LinkError(GptImageError):
    """A signed link was changed, or its time is over."""


class SignedLinks:
    """Makes signed links and checks them. A link is good for ``GET`` of one path.

    Args:
        secrets: Each at least 32 characters of chance. The first one signs and all are accepted,
            so that a secret can be replaced while links are in use; replicas share them.
        lifetime: How long a link is good for.
        clock: Tells seconds since 1970.

    Raises:
        ValueError: There is no secret.
    """

    def __init__(
        self,
        secrets: Sequence[str],
        *,
        lifetime: timedelta,
        clock: Callable[[], float] = unix_now,
    ) -> None:
        if not secrets:
            raise ValueError("links cannot be signed without a secret")
        # A key of its own for each use: what one part signs is worthless to another.
        self._keys = [hmac.digest(each.encode(), _LABEL, "sha256") for each in secrets]
        self._lifetime = lifetime.total_seconds()
        self._clock = clock

    def sign(self, path: str, *, owner: str | None = None) -> str:
        """Return a path with the parameters that open it.

        Args:
            path: Such as ``/images/img_...``.
            owner: In whose name it is opened; None where all share everything.
        """
        expires = str(int(self._clock() + self._lifetime))
        parameters = {"expires": expires, **({} if owner is None else {"owner": owner})}
        signature = _signature(self._keys[0], path, expires, owner)
        return f"{quote(path)}?{urlencode({**parameters, SIGNATURE: signature})}"

    def verify(self, method: str, path: str, query: str) -> str | None:
        """Return in whose name a request is served.

        Args:
            method: The HTTP method.
            path: The path, decoded.
            query: What stands behind the question mark.

        Raises:
            LinkError: The link is not one of ours, is for something else, or is too old.
        """
        pairs = parse_qsl(query, keep_blank_values=True)
        given = dict(pairs)
        whole = len(given) == len(pairs) and given.keys() <= _PARAMETERS
        expires, owner = given.get("expires", ""), given.get("owner")
        signature = given.get(SIGNATURE, "").encode("utf-8", "replace")
        # All keys are compared, so that time tells nothing about a match.
        matches = [
            hmac.compare_digest(_signature(key, path, expires, owner).encode(), signature)
            for key in self._keys
        ]
        if method != "GET" or not whole or not any(matches):
            raise LinkError("this link is not good for this request: ask for a new one")
        if int(expires) <= self._clock():  # signed, so it is a number
            raise LinkError("this link's time is over: ask for a new one")
        return owner


def _signature(key: bytes, path: str, expires: str, owner: str | None) -> str:
    # The parts are separated by what none of them can hold, so that none can be moved.
    parts = ("GET", path, expires, "-" if owner is None else f"={owner}")
    words = "\0".join(parts).encode("utf-8", "surrogatepass")
    return base64.urlsafe_b64encode(hmac.digest(key, words, hashlib.sha256)).decode().rstrip("=")
