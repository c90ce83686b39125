"""The public keys of an issuer of tokens: fetched when needed, kept, and fetched again with care.

Anybody can send a token with a made-up key id, so an unknown one leads to a request to the
issuer at most once in `COOL_DOWN` seconds.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

import anyio
import httpx2
import jwt
from starlette.authentication import AuthenticationError


_logger: Final = logging.getLogger(__name__)

FAMILIES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    "EdDSA": "OKP",
}
ALGORITHMS: Final = frozenset(FAMILIES)
"""Signatures that are accepted, all with a key pair."""

COOL_DOWN: Final = 30.0
_FRESH: Final = 3600.0
_LAST_RESORT: Final = 24 * 3600.0
_LARGEST: Final = 512 * 1024
_PATIENCE: Final = 10.0


class KeysUnavailableError(AuthenticationError):
    """The issuer's keys cannot be fetched, so no token can be judged."""


async def fetch(url: str) -> bytes:
    """Read a key set; redirects are not followed.

    Raises:
        OSError: The issuer was not reached in time.
        ValueError: Its answer is no key set.
    """
    body = bytearray()
    try:
        with anyio.fail_after(_PATIENCE):
            async with httpx2.AsyncClient() as client, client.stream("GET", url) as reply:
                if reply.status_code != 200:
                    raise ValueError(f"it answered HTTP {reply.status_code}")
                async for piece in reply.aiter_bytes():
                    body += piece
                    if len(body) > _LARGEST:
                        raise ValueError("its answer is too large")
    except httpx2.HTTPError as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
    return bytes(body)


class KeySet:
    """The keys under one URL. An hour old they are fetched again; after a day they are no use.

    Args:
        url: Where they are.
        read: Fetches them.
        clock: Tells seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        read: Callable[[str], Awaitable[bytes]] = fetch,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._read = read
        self._clock = clock
        self._lock = anyio.Lock()
        self._keys: tuple[Mapping[str, Any], ...] = ()
        self._fetched: float | None = None
        self._tried: float | None = None

    async def find(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        """The key of a token, or None when the issuer has none like it.

        Raises:
            KeysUnavailableError: There are no keys to look among.
        """
        if self._age() > _FRESH:
            await self._refresh()
        key = self._look(kid, algorithm)
        if key is None:
            await self._refresh()
            key = self._look(kid, algorithm)
        if self._age() > _LAST_RESORT:
            raise KeysUnavailableError("the keys of the tokens' issuer cannot be fetched")
        return key

    def _age(self) -> float:
        return float("inf") if self._fetched is None else self._clock() - self._fetched

    def _look(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        fitting = [key for key in self._keys if _fits(key, algorithm)]
        if kid is not None:
            fitting = [key for key in fitting if key.get("kid") == kid]
        if len(fitting) != 1:  # without a key id there must be no choice
            return None
        return jwt.PyJWK(dict(fitting[0]), algorithm)

    async def _refresh(self) -> None:
        """Fetch them, unless that was tried a moment ago; a failure leaves the old ones."""
        async with self._lock:  # those who waited find that it was just done
            now = self._clock()
            if self._tried is not None and now - self._tried < COOL_DOWN:
                return
            self._tried = now
            try:
                self._keys = _parse(await self._read(self._url))
                self._fetched = now
            except (OSError, ValueError) as error:
                _logger.warning("the keys at %s cannot be fetched: %s", self._url, error)


def _parse(body: bytes) -> tuple[Mapping[str, Any], ...]:
    """The members of a key set (RFC 7517)."""
    whole: object = json.loads(body)
    keys = cast("dict[str, object]", whole).get("keys") if isinstance(whole, dict) else None
    if not isinstance(keys, list):
        raise ValueError("it is no key set")
    found = cast("list[object]", keys)
    return tuple(cast("dict[str, Any]", key) for key in found if isinstance(key, dict))


def _fits(key: Mapping[str, Any], algorithm: str) -> bool:
    """Whether a key may sign like this; a secret shared with the issuer never may."""
    return (
        key.get("kty") == FAMILIES[algorithm]
        and key.get("use") in {None, "sig"}
        and key.get("alg") in {None, algorithm}
    )
