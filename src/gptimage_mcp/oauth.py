"""OAuth access tokens in the form of a JWT: signature, issuer, audience and time are checked.

Only signatures with a key pair are accepted: with a shared secret, or with ``alg: none``,
whoever can read the public keys could write tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final, Self, cast
from urllib.parse import urlsplit

import jwt
from mcp.server.auth.provider import AccessToken

import gptimage
from gptimage_mcp.config.settings import Settings
from gptimage_mcp.http.middleware import is_loopback
from gptimage_mcp.jwks import ALGORITHMS, KeySet


_logger: Final = logging.getLogger(__name__)
_LONGEST: Final = 16 * 1024
_LEEWAY: Final = 10.0


class AccessTokens:
    """Judges JWTs of one issuer.

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
        """What the settings ask for.

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
    parts = urlsplit(url)
    safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    if not safe or not parts.hostname:
        raise gptimage.ConfigurationError(
            f"{variable} must be an https URL, because who answers there decides who may call"
        )
