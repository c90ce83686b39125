"""Who may call: static tokens and OAuth tokens, and whom work in progress belongs to."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives import serialization
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.auth.provider import AccessToken

import gptimage
from gptimage_mcp.auth import (
    COOL_DOWN,
    Auth,
    KeySet,
    KeysUnavailableError,
    StaticTokens,
    endpoint,
    name_of,
)
from gptimage_mcp.config.settings import Settings
from tests.mcp.harness import PROTOCOLS, server_fixture
from tests.mcp.http_helpers import OTHER, TOKEN, Site, bearer, events, serving
from tests.mcp.issuer import PRIVATE, Issuer, issuer, public


ROUTES = ("/metrics", "/images/x", "/stream", "/stream/job_x", "/mcp", "/none", "//health")
DRAW = {"prompt": "a fox", "size": "1024x1024"}
QUIET: dict[str, Any] = {"transport": "http", "log_level": "ERROR"}


@pytest.fixture
def judge() -> Iterator[Issuer]:
    """An issuer of tokens."""
    with issuer() as found:
        yield found


@pytest.fixture
def site(tmp_path: Path, judge: Issuer) -> Iterator[Site]:
    """A server that accepts its tokens, if they are for ``us`` and good for drawing."""
    home = server_fixture(
        tmp_path,
        **QUIET,
        auth_issuer=judge.url,
        auth_audience="us",
        auth_scopes=("draw",),
        public_url="https://pictures.example.com",
        tokens=(TOKEN,),
    )
    with serving(home.server, home.app.settings) as found:
        yield found


def settings(tmp_path: Path, **more: Any) -> Settings:
    """Settings of a server over HTTP."""
    told: dict[str, Any] = {"store": tmp_path / "s", "ledger": tmp_path / "l.sqlite", **QUIET}
    return Settings(**{**told, **more})


def status(site: Site, token: str, path: str = "/none") -> int:
    """What a token gets at a path that no route has: 404 says that it was let in."""
    return site.get(path, token).status_code


@pytest.mark.parametrize("path", ROUTES)
def test_no_route_but_health_is_open(site: Site, path: str) -> None:
    """Without a token, with a wrong one, or with another scheme, no route tells anything."""
    wrong = (None, "wrong-token-0123456789", "x", TOKEN[:-1], f"{TOKEN}x", "sha256:" + "0" * 64)
    for token in wrong:
        answer = site.get(path, token)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
    basic = base64.b64encode(f"{TOKEN}:{TOKEN}".encode()).decode()
    assert site.get(path, authorization=f"Basic {basic}").status_code == 401
    for header in (TOKEN, "Bearer", f"Bearer  {TOKEN}", f"Bearer,{TOKEN}"):
        assert site.get(path, authorization=header).status_code == 401


def test_a_refusal_says_where_tokens_come_from(site: Site, judge: Issuer) -> None:
    """A client that gets 401 finds the issuer by RFC 9728, without a token."""
    refused = site.get("/mcp")
    place = "/.well-known/oauth-protected-resource/mcp"
    metadata = site.get(place)

    told = f'resource_metadata="https://pictures.example.com{place}"'
    assert told in refused.headers["www-authenticate"]
    assert metadata.status_code == 200
    assert metadata.json()["resource"] == "https://pictures.example.com/mcp"
    assert metadata.json()["authorization_servers"] == [judge.url]
    assert metadata.json()["scopes_supported"] == ["draw"]


def test_static_tokens_need_no_issuer(tmp_path: Path) -> None:
    """With tokens only, they are let in, and nobody is sent to an issuer there is not."""
    home = server_fixture(tmp_path, **QUIET, tokens=(TOKEN,))
    with serving(home.server, home.app.settings) as site:
        assert status(site, TOKEN) == 404
        assert "resource_metadata" not in site.get("/mcp").headers["www-authenticate"]
        assert site.get("/.well-known/oauth-protected-resource/mcp").status_code == 401


def test_a_token_may_be_given_by_its_hash(tmp_path: Path) -> None:
    """The configuration need not hold the token; the hash itself opens nothing."""
    hashed = f"sha256:{hashlib.sha256(TOKEN.encode()).hexdigest()}"
    home = server_fixture(tmp_path, **QUIET, tokens=(hashed,))
    with serving(home.server, home.app.settings) as site:
        assert status(site, TOKEN) == 404
        assert status(site, hashed) == 401


def test_tokens_that_could_be_guessed_are_refused(tmp_path: Path) -> None:
    """A short token is an error at start that names the variable and does not show the token."""
    with pytest.raises(gptimage.ConfigurationError) as caught:
        Auth.of(settings(tmp_path, tokens=("hunter2",)))

    assert "GPTIMAGE_TOKENS" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_tokens_are_not_kept(tmp_path: Path) -> None:
    """What judges tokens holds hashes, and what it says of a caller holds no token."""
    tokens = StaticTokens((TOKEN, OTHER), resource="https://a.example/mcp")
    access = asyncio.run(tokens.verify_token(TOKEN))

    assert access is not None
    assert TOKEN not in repr(vars(tokens)) + repr(access)
    assert name_of(access).startswith("token-")
    assert access != asyncio.run(tokens.verify_token(OTHER))


@pytest.mark.parametrize(
    ("kid", "algorithm"), [("rsa", "RS256"), ("rsa", "PS384"), ("ec", "ES256"), ("okp", "EdDSA")]
)
def test_tokens_of_the_issuer_are_accepted(
    site: Site, judge: Issuer, kid: str, algorithm: str
) -> None:
    """A token the issuer signed for us is let in, whatever kind of key it has."""
    assert status(site, judge.token(kid, algorithm, scope="look draw")) == 404
    assert status(site, judge.token(kid, algorithm, scp=["draw"], aud=["other", "us"])) == 404


def test_tokens_meant_for_others_are_refused(site: Site, judge: Issuer) -> None:
    """A token for another audience, or for none, is worth nothing here."""
    for audience in ("them", ["them"], "", None, "https://pictures.example.com/mcp"):
        assert status(site, judge.token(scope="draw", aud=audience)) == 401, audience


def test_tokens_out_of_their_time_are_refused(site: Site, judge: Issuer) -> None:
    """An expired token, one that never expires, and one that is not valid yet are refused."""
    now = int(time.time())
    for claims in ({"exp": now - 20}, {"exp": None}, {"nbf": now + 200}, {"iat": now + 200}):
        assert status(site, judge.token(scope="draw", **claims)) == 401, claims


def test_tokens_of_other_issuers_are_refused(site: Site, judge: Issuer) -> None:
    """The issuer must be the one we know, to the letter, and its key must have signed."""
    for who in ("https://evil.example", f"{judge.url}/", None):
        assert status(site, judge.token(scope="draw", iss=who)) == 401, who
    assert status(site, judge.token(scope="draw", key=PRIVATE["foreign"])) == 401
    assert status(site, judge.token("foreign", scope="draw")) == 401


def test_unsigned_tokens_are_refused(site: Site, judge: Issuer) -> None:
    """Neither ``alg: none`` nor a secret made of the public key passes for a signature."""
    good = judge.token(scope="draw")
    _, payload, signature = good.split(".")
    for alg in ("none", "None", "NONE", "", None, "HS256", "RS999"):
        head = base64.urlsafe_b64encode(json.dumps({"alg": alg, "kid": "rsa"}).encode())
        for end in ("", signature):
            forged = f"{head.decode().rstrip('=')}.{payload}.{end}"
            assert status(site, forged) == 401, alg
    for secret in (json.dumps(public("rsa")).encode(), pem("rsa"), pem("rsa").strip()):
        assert status(site, by_secret(secret, payload)) == 401
    assert status(site, good[:-4] + "AAAA") == 401
    assert status(site, good) == 404


def pem(kid: str) -> bytes:
    """A public key as text."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    key: Any = PRIVATE[kid].public_key()
    text: bytes = key.public_bytes(serialization.Encoding.PEM, form)
    return text


def by_secret(secret: bytes, payload: str) -> str:
    """A token signed with a secret; the library for tokens would not make it."""
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"rsa"}').decode().rstrip("=")
    signature = hmac.digest(secret, f"{head}.{payload}".encode(), "sha256")
    return f"{head}.{payload}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def test_published_secrets_and_weak_keys_are_no_keys(site: Site, judge: Issuer) -> None:
    """A symmetric key in the set, a key for encryption and a short one verify nothing."""
    secret = base64.urlsafe_b64encode(b"s" * 32).decode()
    judge.keys = [
        {"kty": "oct", "k": secret, "kid": "oct", "alg": "HS256"},
        public("rsa", use="enc"),
        public("weak"),
    ]
    assert status(site, judge.token("oct", "HS256", key=b"s" * 32, scope="draw")) == 401
    assert status(site, judge.token("rsa", scope="draw")) == 401
    with pytest.warns(UserWarning, match="below"):
        weak = judge.token("weak", scope="draw")
    assert status(site, weak) == 401


def test_a_scope_that_is_missing_is_named(site: Site, judge: Issuer) -> None:
    """A good token that may not draw gets 403, on every route, and learns what it lacks."""
    for path in ROUTES:
        answer = site.get(path, judge.token(scope="look drawings"))

        assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_scope")
        assert "draw" in answer.headers["www-authenticate"]


def test_nonsense_is_no_token(site: Site) -> None:
    """Whatever else is sent as a token is refused, and nothing breaks."""
    long = "a." * 20_000
    for token in ("a.b.c", "..", "e30.e30.e30", "ey.ey.ey", long[:15_000], "\xe9" * 20):
        headers = {"authorization": f"Bearer {token}".encode("latin-1")}
        with site.client() as client:
            assert client.get("/none", headers=headers).status_code == 401


def test_an_issuer_that_is_down_is_not_the_callers_fault(site: Site, judge: Issuer) -> None:
    """While nobody can tell whether a token is good the answer is 503; static tokens go on."""
    judge.status = 500

    answer = site.get("/none", judge.token(scope="draw"))

    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert status(site, TOKEN) == 404


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Published:
    """What an issuer publishes, and how often it was read."""

    def __init__(self, *kids: str) -> None:
        self.kids = kids
        self.asked = 0
        self.fails = False

    async def read(self, url: str) -> bytes:
        """The keys."""
        del url
        self.asked += 1
        await asyncio.sleep(0)
        if self.fails:
            raise OSError("nobody there")
        return json.dumps({"keys": [public(kid) for kid in self.kids]}).encode()


def test_made_up_key_ids_do_not_flood_the_issuer() -> None:
    """Tokens with unknown key ids lead to one request in a while, however many there are."""
    published, clock = Published("rsa"), Clock()

    async def ask() -> list[object]:
        keys = KeySet("", read=published.read, clock=clock)
        found = await asyncio.gather(*(keys.find(f"kid-{n}", "RS256") for n in range(50)))
        clock.now += COOL_DOWN
        return [*found, await keys.find("made-up", "RS256")]

    assert asyncio.run(ask()) == [None] * 51
    assert published.asked == 2


def test_new_keys_are_found_and_old_ones_forgotten() -> None:
    """A key the issuer adds works soon, and one it withdraws stops within the hour."""
    published, clock = Published("rsa"), Clock()

    async def ask() -> list[bool]:
        keys = KeySet("", read=published.read, clock=clock)
        found = [await keys.find("rsa", "RS256"), await keys.find("ec", "ES256")]
        published.kids = ("ec",)
        clock.now += COOL_DOWN
        found += [await keys.find("ec", "ES256"), await keys.find("rsa", "RS256")]
        published.kids = ("rsa",)
        clock.now += 3601
        found += [await keys.find("ec", "ES256"), await keys.find("rsa", "RS256")]
        return [key is not None for key in found]

    assert asyncio.run(ask()) == [True, False, True, False, False, True]


def test_an_issuer_may_be_down_for_a_day() -> None:
    """Keys that were read once go on to work, but not for ever."""
    published, clock = Published("rsa"), Clock()

    async def ask() -> bool:
        keys = KeySet("", read=published.read, clock=clock)
        await keys.find("rsa", "RS256")
        published.fails = True
        clock.now += 23 * 3600
        found = await keys.find("rsa", "RS256")
        clock.now += 2 * 3600
        with pytest.raises(KeysUnavailableError):
            await keys.find("rsa", "RS256")
        return found is not None

    assert asyncio.run(ask())


def test_without_a_key_id_there_must_be_no_choice() -> None:
    """A token that names no key is checked with the only one there is, or not at all."""

    async def ask(*kids: str) -> bool:
        return await KeySet("", read=Published(*kids).read).find(None, "RS256") is not None

    assert asyncio.run(ask("rsa", "ec"))
    assert not asyncio.run(ask("rsa", "foreign"))


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"keys": 1}', b"\xff", b'{"keys": [1]}'])
def test_nonsense_is_no_key_set(answer: bytes) -> None:
    """An answer that is no key set is like none, or like an empty one."""

    async def read(_: str) -> bytes:
        return answer

    async def ask() -> object:
        return await KeySet("", read=read).find("rsa", "RS256")

    if answer == b'{"keys": [1]}':
        assert asyncio.run(ask()) is None
    else:
        with pytest.raises(KeysUnavailableError):
            asyncio.run(ask())


def test_keys_come_over_https_only(tmp_path: Path) -> None:
    """Who can change the keys on their way decides who may call: the error names the variable."""
    for name, url in (
        ("auth_issuer", "http://login.example.com"),
        ("auth_jwks_url", "http://login.example.com/keys"),
    ):
        told = {"auth_issuer": "https://login.example.com", name: url}
        with pytest.raises(gptimage.ConfigurationError, match=f"GPTIMAGE_{name.upper()}"):
            Auth.of(settings(tmp_path, **told))


def test_the_audience_is_the_servers_own_url(tmp_path: Path, judge: Issuer) -> None:
    """Left out, the audience is the URL of the protocol as clients know it."""
    ours = "https://pictures.example.com/app/mcp"
    home = server_fixture(
        tmp_path,
        **QUIET,
        auth_issuer=judge.url,
        public_url="https://pictures.example.com/app/",
    )

    assert endpoint(home.app.settings) == ours
    assert endpoint(settings(tmp_path, host="::1", port=1)) == "http://[::1]:1/mcp"
    with serving(home.server, home.app.settings) as site:
        assert status(site, judge.token(aud=ours)) == 404
        assert status(site, judge.token(aud="us")) == 401


def test_names_tell_people_apart_and_find_them_again() -> None:
    """A user of two clients is one, two users of one client are two, and issuers do not mix."""

    def name(client: str, subject: str | None, who: str = "https://a.example") -> str:
        return name_of(
            AccessToken(token="", client_id=client, scopes=[], subject=subject, claims={"iss": who})
        )

    assert name("app", "ada") == name("other-app", "ada")
    different = [
        name("app", "ada"),
        name("app", "bob"),
        name("app", None),
        name("ada", None),
        name("app", "ada", "https://b.example"),
    ]
    assert len({*different}) == len(different)
    assert all("ada" not in each for each in different)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_client_with_a_token_is_served(site: Site, judge: Issuer, protocol: str) -> None:
    """The SDK's client lists tools with a token in either protocol."""

    async def ask(token: str) -> int:
        async with httpx2.AsyncClient(headers=bearer(token)) as http:
            transport = streamable_http_client(f"{site.url}/mcp", http_client=http)
            async with Client(transport, mode=protocol) as client:
                return len((await client.list_tools()).tools)

    assert asyncio.run(ask(judge.token(scope="draw"))) > 0
    assert asyncio.run(ask(TOKEN)) > 0


def test_a_job_belongs_to_whoever_began_it(tmp_path: Path, judge: Issuer) -> None:
    """Its handle tells nobody else about a job; its owner may come with another token."""
    told = {"auth_issuer": judge.url, "auth_audience": "us", "tokens": (TOKEN, OTHER)}
    home = server_fixture(tmp_path, **QUIET, **told)
    with serving(home.server, home.app.settings) as site:
        ada = judge.token()
        mine = events(site.post("/stream", DRAW, ada).text)[-1][1]["handle"]
        static = events(site.post("/stream", DRAW, TOKEN).text)[-1][1]["handle"]

        def told(handle: str, token: str) -> int:
            return site.get(f"/stream/{handle}", token).status_code

        assert told(mine, ada) == told(mine, judge.token(client_id="another app")) == 200
        assert told(mine, judge.token(sub="bob")) == told(mine, TOKEN) == 404
        assert told(static, TOKEN) == 200
        assert told(static, OTHER) == told(static, ada) == 404


def test_tokens_go_no_further(tmp_path: Path, judge: Issuer) -> None:
    """Neither the service nor any handler of ours gets to see what a caller showed."""
    home = server_fixture(
        tmp_path, **QUIET, auth_issuer=judge.url, auth_audience="us", tokens=(TOKEN,)
    )
    seen: list[str] = []

    @home.server.custom_route("/seen", ["GET"])
    async def look(request: Any) -> Any:
        from starlette.responses import Response

        seen.append(repr(request.scope) + repr(vars(request.user)))
        return Response()

    with serving(home.server, home.app.settings) as site:
        for token in (TOKEN, judge.token()):
            assert site.get("/seen", token).status_code == 200
            assert site.post("/stream", DRAW, token).status_code == 200
            assert token not in "".join(seen)
            assert token not in repr(home.sandbox.requests)
            assert b"authorization" not in "".join(seen).encode()
