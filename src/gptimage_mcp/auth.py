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
import re
from collections.abc import Iterable
from typing import Final, Self

from attrs import field, frozen
from mcp.server.auth.provider import AccessToken, TokenVerifier, principal_components
from pydantic import AnyHttpUrl, ConfigDict, TypeAdapter

import gptimage
from gptimage_mcp.config.settings import Settings


_SHORTEST: Final = 16
_HASHED: Final = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)


@frozen(kw_only=True)
class Auth:
    """How requests over HTTP prove who they are.

    Attributes:
        resource: The URL of the protocol's endpoint, which tokens must be meant for.
        verifier: Judges one bearer token.
        issuer: Who issues OAuth tokens, or None when there are only static tokens.
        scopes: Scopes a token must have.
    """

    resource: str
    verifier: TokenVerifier = field(repr=False)
    issuer: str | None = None
    scopes: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """What the settings ask for, or None when everybody may call.

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
            from gptimage_mcp.oauth import AccessTokens

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
    """Judges tokens of a fixed list; it keeps their hashes only.

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
        """Who bears this token, or None."""
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
