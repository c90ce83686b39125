"""Where clients see a server, with and without proxies in front of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage.service.http import ForwardedMiddleware, address_of
from gptimage.service.http.asgi import Message, Receive, Scope, Send


PROXY = "10.1.2.3"


def request(
    path: str,
    *,
    client: str = "192.0.2.7",
    headers: dict[str, str] | None = None,
    **options: Any,
) -> tuple[str, str, str, str]:
    """Return path, address, absolute address and client as the application behind sees them."""
    seen: list[tuple[str, str, str, str]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(
            (
                scope["path"],
                address_of("/images/x"),
                address_of("/images/x", absolute=True),
                scope["client"][0],
            )
        )

    async def nothing() -> Message:
        return {}

    async def ignore(_: Message) -> None:
        pass

    given_headers = {"host": "h.example:8000", **(headers or {})}
    scope = {
        "type": "http",
        "path": path,
        "scheme": "http",
        "client": (client, 1),
        "headers": [(name.encode(), value.encode()) for name, value in given_headers.items()],
    }
    routes = ("/images", "/stream", "/health")
    middleware = ForwardedMiddleware(app, endpoint="/mcp", routes=routes, **options)
    asyncio.run(middleware(scope, nothing, ignore))
    return seen[0]


def test_without_a_proxy_addresses_are_paths() -> None:
    """Nothing is known of the outside, so an address is a path; absolute, it has the Host."""
    seen = request("/images/x")

    assert seen == ("/images/x", "/images/x", "http://h.example:8000/images/x", "192.0.2.7")


def test_the_public_url_and_its_path_are_in_every_address() -> None:
    """Addresses begin with the public URL, whatever host the request named."""
    seen = request("/images/x", public_url="https://example.com/img/")

    address = "https://example.com/img/images/x"
    assert seen == ("/images/x", address, address, "192.0.2.7")


@pytest.mark.parametrize(
    ("asked", "routed"),
    [
        ("/mcp", "/mcp"),
        ("/mcp/", "/mcp"),
        ("/img/mcp", "/mcp"),
        ("/img/mcp/", "/mcp"),
        ("/img/images/x", "/images/x"),
        ("/img/health", "/health"),
        ("/img/none", "/img/none"),
        ("/img", "/img"),
        ("/imgs/mcp", "/imgs/mcp"),
        ("/img/img/mcp", "/img/img/mcp"),
        ("/mcp/more", "/mcp/more"),
        ("/images", "/images"),
        ("/health/", "/health/"),
    ],
)
def test_a_proxy_may_leave_the_prefix_on(asked: str, routed: str) -> None:
    """Both kinds of proxies lead to the same routes, and the endpoint takes a slash at its end."""
    assert request(asked, public_url="https://example.com/img")[0] == routed


def test_an_endpoint_named_like_the_prefix_is_found() -> None:
    """A proxy for /mcp that takes its prefix off still leads to the endpoint /mcp."""
    paths = [
        request(path, public_url="https://example.com/mcp")[0]
        for path in ("/mcp", "/mcp/", "/mcp/mcp", "/mcp/images/x")
    ]

    assert paths == ["/mcp", "/mcp", "/mcp", "/images/x"]


def test_a_trusted_proxy_says_who_asks_and_where() -> None:
    """Of a trusted proxy the client, the scheme and the prefix are believed."""
    headers = {
        "x-forwarded-for": "6.6.6.6, 203.0.113.9",
        "x-forwarded-proto": "https",
        "x-forwarded-prefix": "/team",
    }

    path, address, _, client = request(
        "/team/images/x", client=PROXY, headers=headers, proxies=["10.0.0.0/8"]
    )

    assert (path, address, client) == ("/images/x", "/team/images/x", "203.0.113.9")


def test_nobody_else_is_believed() -> None:
    """Whoever is no trusted proxy can write these headers, too, and changes nothing."""
    headers = {"x-forwarded-for": "1.1.1.1", "x-forwarded-prefix": "/team"}

    for proxies in ([], ["10.0.0.0/8"]):
        seen = request("/images/x", headers=headers, proxies=proxies)

        assert (seen[1], seen[3]) == ("/images/x", "192.0.2.7")


def test_the_prefix_of_a_proxy_replaces_the_path_of_the_public_url() -> None:
    """The public URL names the host; the proxy knows the prefix of this very request."""
    headers = {"x-forwarded-prefix": "/b"}

    seen = request(
        "/images/x",
        client=PROXY,
        headers=headers,
        proxies=[PROXY],
        public_url="https://example.com/a",
    )

    assert seen[1] == "https://example.com/b/images/x"


def test_an_ipv4_proxy_on_a_dual_stack_socket_is_recognised() -> None:
    """A dual-stack socket shows an IPv4 proxy as an IPv6 address; it is trusted all the same."""
    headers = {"x-forwarded-prefix": "/team", "x-forwarded-for": "203.0.113.9"}

    seen = request("/images/x", client=f"::ffff:{PROXY}", headers=headers, proxies=[PROXY])

    assert (seen[1], seen[3]) == ("/team/images/x", "203.0.113.9")


@pytest.mark.parametrize(
    "prefix",
    ["//evil.example", "/\\evil.example", "https://evil.example", "/a/../b", "/a b", "/é", "/a//b",
     "a", "/", "/a?x", "/a#x", "/%2e%2e", "/..", "/a/."],
)  # fmt: skip
def test_a_prefix_that_could_lead_elsewhere_is_not_used(prefix: str) -> None:
    """A prefix ends up in addresses, so it must be a plain path."""
    headers = {"x-forwarded-prefix": prefix}

    assert request("/images/x", client=PROXY, headers=headers, proxies=[PROXY])[1] == "/images/x"


def test_every_proxy_on_the_way_adds_its_prefix() -> None:
    """Two proxies that each take a prefix off name both."""
    headers = {"x-forwarded-prefix": "/a, /b/"}

    seen = request("/images/x", client=PROXY, headers=headers, proxies=[PROXY])

    assert seen[1] == "/a/b/images/x"


@given(st.text(max_size=40))
def test_whatever_a_client_writes_an_address_stays_here(prefix: str) -> None:
    """An address made with any prefix is a path of this server."""
    headers = {"x-forwarded-prefix": prefix.encode("utf-8", "ignore").decode("latin-1")}

    address = request("/images/x", client=PROXY, headers=headers, proxies=[PROXY])[1]

    assert address.startswith("/")
    assert not address.startswith("//")
    assert ".." not in address


def test_what_is_no_address_is_refused() -> None:
    """A name cannot be trusted, because anybody may answer to it."""
    with pytest.raises(ValueError, match=r"proxy\.example"):
        request("/mcp", proxies=["proxy.example"])
