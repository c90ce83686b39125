"""Who may call over HTTP: static bearer tokens, and OAuth access tokens (JWT) of one issuer.

`Auth.of(settings)` is None when neither is configured. `name_of(token)` names its bearer; work in
progress belongs to that name, and so does the rate limit.

The SDK could be given ``auth=`` and ``token_verifier=`` itself, but it would then guard the
protocol's path only: routes of ``custom_route`` stay open. `http.build_app` therefore puts the
SDK's own middleware in front of everything. The audience is always checked here: left to
itself the SDK (2.3) accepts a token that was issued for another server.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, Self, cast
from urllib.parse import urlsplit

import anyio
import httpx2
import jwt
from attrs import field, frozen
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken, TokenVerifier, principal_components
from pydantic import AnyHttpUrl, ConfigDict, TypeAdapter
from starlette.authentication import AuthenticationError

import gptimage
from gptimage.service import current_caller
from gptimage_mcp.config.settings import Settings


_SHORTEST: Final = 16
_HASHED: Final = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)


@frozen(kw_only=True)
class Auth:
    """Authentication of requests over HTTP.

    Attributes:
        resource: The URL of the protocol's endpoint, which tokens must be meant for.
        verifier: Checks one bearer token.
        issuer: Who issues OAuth tokens, or None when there are only static tokens.
        scopes: Scopes a token must have.
    """

    resource: str
    verifier: TokenVerifier = field(repr=False)
    issuer: str | None = None
    scopes: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Return the authentication of the settings, or None when everybody may call.

        Raises:
            ConfigurationError: The settings cannot work; names the variable.
        """
        if not settings.tokens and settings.auth_issuer is None:
            return None
        resource = endpoint(settings)
        verifiers: list[TokenVerifier] = []
        if settings.tokens:
            verifiers.append(
                StaticTokens(settings.tokens, resource=resource, scopes=settings.auth_scopes)
            )
        if settings.auth_issuer is not None:
            verifiers.append(AccessTokens.of(settings, resource=resource))
        return cls(
            resource=resource,
            verifier=_AnyOf(tuple(verifiers)),
            issuer=settings.auth_issuer,
            scopes=settings.auth_scopes,
        )

    @property
    def resource_url(self) -> AnyHttpUrl:
        """The resource for the SDK."""
        return _url(self.resource)

    @property
    def issuer_url(self) -> AnyHttpUrl:
        """The issuer for the SDK."""
        return _url(self.issuer or self.resource)


def endpoint(settings: Settings) -> str:
    """The protocol's URL as clients know it, which is what OAuth calls the resource."""
    bare = settings.host.strip("[]")
    host = f"[{bare}]" if ":" in bare else bare
    base = settings.public_url or f"http://{host}:{settings.port}"
    return base.rstrip("/") + settings.path


def name_of(access: AccessToken) -> str:
    """The name under which the bearer of a token is known here; short, and no part of the token.

    A static token is a client of its own. An OAuth token stands for its subject, or for its
    client when it names none: a client that registered anew finds its user's work again.
    """
    client, issuer, subject = principal_components(access)
    if issuer is None:
        return client
    who = f"{issuer}\0client\0{client}" if subject is None else f"{issuer}\0subject\0{subject}"
    return f"user-{hashlib.sha256(who.encode()).hexdigest()[:16]}"


class StaticTokens:
    """Verifier of a fixed list of tokens, of which it has the hashes only.

    Args:
        tokens: The tokens, or ``sha256:`` and the hash of one in hex, so that the token itself
            need not be in the configuration.
        resource: What they are good for: this server.
        scopes: What each of them may do.

    Raises:
        ConfigurationError: A token is so short that it could be guessed.
    """

    def __init__(self, tokens: Iterable[str], *, resource: str, scopes: Iterable[str] = ()) -> None:
        self._digests = tuple(_digest(token) for token in tokens)
        self._resource = resource
        self._scopes = list(scopes)

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return the caller of this token, or None."""
        given = hashlib.sha256(token.encode()).digest()
        found = None
        for known in self._digests:  # all of them, so that time tells nothing about a match
            if hmac.compare_digest(given, known):
                found = known
        if found is None:
            return None
        client = f"token-{found.hex()[:12]}"
        # Whatever reads this later has no token to pass on.
        return AccessToken(
            token=client, client_id=client, scopes=self._scopes, resource=self._resource
        )


@frozen
class _AnyOf:
    """Accepts what any of several verifiers accepts."""

    verifiers: tuple[TokenVerifier, ...]

    async def verify_token(self, token: str) -> AccessToken | None:
        """The first judgment that is not a refusal."""
        for verifier in self.verifiers:
            access = await verifier.verify_token(token)
            if access is not None:
                return access
        return None


def _url(text: str) -> AnyHttpUrl:
    """An URL of pydantic that keeps the text as it is: issuers are compared letter for letter."""
    adapter = TypeAdapter(AnyHttpUrl, config=ConfigDict(url_preserve_empty_path=True))
    return adapter.validate_python(text)


def _digest(token: str) -> bytes:
    if hashed := _HASHED.fullmatch(token):
        return bytes.fromhex(hashed[1])
    if len(token) < _SHORTEST:
        raise gptimage.ConfigurationError(
            f"GPTIMAGE_TOKENS has a token of {len(token)} characters, which could be guessed: "
            f"make one with  python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return hashlib.sha256(token.encode()).digest()


# The public keys of an issuer of tokens: fetched when needed, kept, and fetched again with care.
#
# Anybody can send a token with a made-up key id, so an unknown one leads to a request to the
# issuer at most once in `COOL_DOWN` seconds.


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
    """Return whether a key may sign like this; a secret shared with the issuer never may."""
    return (
        key.get("kty") == FAMILIES[algorithm]
        and key.get("use") in {None, "sig"}
        and key.get("alg") in {None, algorithm}
    )


def current_user() -> str | None:
    """Return the caller of the current request, or None where there is only one (stdio).

    That is the user or else the client of the access token, or the maker of a signed link.
    """
    caller = current_caller()
    if caller is None and (token := get_access_token()) is not None:
        return name_of(token)  # a program that serves the SDK's own application
    return caller


# OAuth access tokens in the form of a JWT: signature, issuer, audience and time are checked.
#
# Only signatures with a key pair are accepted: with a shared secret, or with ``alg: none``,
# whoever can read the public keys could write tokens.

_logger: Final = logging.getLogger(__name__)
_LONGEST: Final = 16 * 1024
_LEEWAY: Final = 10.0


class AccessTokens:
    """Verifier of JWTs of one issuer.

    Args:
        keys: The issuer's keys.
        issuer: What ``iss`` must be, letter for letter.
        audiences: ``aud`` must hold one of these.
        resource: The URL of this server; reported for a token that passed.
    """

    def __init__(
        self, keys: KeySet, *, issuer: str, audiences: Iterable[str], resource: str
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audiences = list(audiences)
        self._resource = resource

    @classmethod
    def of(cls, settings: Settings, *, resource: str) -> Self:
        """Return the verifier of the settings.

        Raises:
            ConfigurationError: An URL is unsafe or missing; names the variable.
        """
        issuer = settings.auth_issuer or ""
        url = settings.auth_jwks_url or f"{issuer.rstrip('/')}/.well-known/jwks.json"
        _check_url("GPTIMAGE_AUTH_ISSUER", issuer)
        _check_url("GPTIMAGE_AUTH_JWKS_URL", url)
        return cls(
            KeySet(url),
            issuer=issuer,
            audiences=[settings.auth_audience or resource],
            resource=resource,
        )

    async def verify_token(self, token: str) -> AccessToken | None:
        """Whom this token stands for, or None.

        Raises:
            KeysUnavailableError: The issuer's keys cannot be fetched, so nobody can tell.
        """
        if len(token) > _LONGEST or token.count(".") != 2:
            return None
        try:
            return self._access(await self._claims(token))
        except jwt.PyJWTError as error:
            # A claim is quoted in the reason only once the signature was found to be good.
            _logger.info("a bearer token was refused: %.200s", error)
            return None

    async def _claims(self, token: str) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if algorithm not in ALGORITHMS:
            raise jwt.InvalidAlgorithmError("its algorithm is not one with a key pair")
        key = await self._keys.find(header.get("kid"), algorithm)
        if key is None:
            raise jwt.InvalidKeyError("it is signed with a key the issuer does not publish")
        return jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=self._audiences,
            issuer=self._issuer,
            leeway=_LEEWAY,
            options={"require": ["exp", "iss", "aud"], "enforce_minimum_key_length": True},
        )

    def _access(self, claims: Mapping[str, Any]) -> AccessToken:
        subject = claims.get("sub")
        client = next((claims[name] for name in _CLIENT if claims.get(name)), subject)
        if client is None:
            raise jwt.MissingRequiredClaimError("sub")
        # Whatever reads this later has no token to pass on.
        return AccessToken(
            token="",
            client_id=str(client),
            scopes=_scopes(claims),
            expires_at=int(claims["exp"]),
            resource=self._resource,
            subject=subject,
            claims={"iss": self._issuer},
        )


_CLIENT: Final = ("client_id", "azp", "cid")
"""Where issuers name the client: RFC 9068, OpenID Connect, and Okta."""


def _scopes(claims: Mapping[str, Any]) -> list[str]:
    """``scope`` is a text (RFC 9068); ``scp`` is a text or a list with Entra and Okta."""
    found: object = claims.get("scope", claims.get("scp"))
    if isinstance(found, str):
        return found.split()
    return [str(each) for each in cast("list[object]", found)] if isinstance(found, list) else []


def _check_url(variable: str, url: str) -> None:
    from gptimage.service.http import is_loopback  # late: over stdio nobody asks

    parts = urlsplit(url)
    safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    if not safe or not parts.hostname:
        raise gptimage.ConfigurationError(
            f"{variable} must be an https URL, because who answers there decides who may call"
        )
