"""An issuer of OAuth tokens on this machine: keys, tokens, and the address where keys are read."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm


PRIVATE = {
    "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ec": ec.generate_private_key(ec.SECP256R1()),
    "okp": ed25519.Ed25519PrivateKey.generate(),
    "weak": rsa.generate_private_key(public_exponent=65537, key_size=1024),
    "foreign": rsa.generate_private_key(public_exponent=65537, key_size=2048),
}
"""Private keys by key id; those of `foreign` are never published."""


def public(kid: str, **more: Any) -> dict[str, Any]:
    """A public key as an issuer publishes it."""
    key: Any = PRIVATE[kid].public_key()
    kind = {"ec": ECAlgorithm, "okp": OKPAlgorithm}.get(kid, RSAAlgorithm)
    return {**kind.to_jwk(key, as_dict=True), "kid": kid, "use": "sig", **more}


class Issuer:
    """Publishes keys and signs tokens.

    Attributes:
        url: Its own URL, the ``iss`` of its tokens.
        keys: What it publishes; may be changed.
        status: The HTTP status of its answers.
        asked: How often its keys were read.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys: list[dict[str, Any]] = [public("rsa"), public("ec"), public("okp")]
        self.status = 200
        self.asked = 0

    def token(
        self,
        kid: str = "rsa",
        algorithm: str = "RS256",
        *,
        key: Any = None,
        headers: dict[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """A token for the audience ``us``; claims that are None are left out."""
        now = int(time.time())
        told = {"iss": self.url, "aud": "us", "sub": "ada", "client_id": "app", "iat": now}
        told |= {"exp": now + 300, **claims}
        kept = {name: value for name, value in told.items() if value is not None}
        signed: str = jwt.encode(
            kept, key or PRIVATE[kid], algorithm, headers={"kid": kid, **(headers or {})}
        )
        return signed


@contextmanager
def issuer() -> Iterator[Issuer]:
    """An issuer that answers on a free port."""
    found: list[Issuer] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found[0].asked += 1
            body = json.dumps({"keys": found[0].keys}).encode()
            self.send_response(found[0].status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.append(Issuer(f"http://127.0.0.1:{server.server_address[1]}"))
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield found[0]
        finally:
            server.shutdown()
            thread.join()
