"""Signed links open one thing for a while, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage.service.http import LinkError, SignedLinks


SECRET = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"
PATH = "/images/img_1"


def links(*secrets: str, now: float = 1_000_000.0) -> SignedLinks:
    """Links of ten minutes, at a time."""
    return SignedLinks(secrets or (SECRET,), lifetime=timedelta(minutes=10), clock=lambda: now)


def verify(signer: SignedLinks, address: str, method: str = "GET") -> str | None:
    """Check an address."""
    path, _, query = address.partition("?")
    return signer.verify(method, path, query)


@pytest.mark.parametrize("owner", [None, "token-0123", "user-ab", "", "a b&c=d", "-"])
def test_a_link_opens_what_it_was_made_for(owner: str | None) -> None:
    """A link is good for its path, in the name of its owner, until its time is over."""
    address = links().sign(PATH, owner=owner)

    assert verify(links(), address) == owner
    assert verify(links(now=1_000_599), address) == owner
    with pytest.raises(LinkError, match="time is over"):
        verify(links(now=1_000_600), address)


def test_it_opens_nothing_else() -> None:
    """Another path, method, owner, time or parameter needs another signature."""
    address = links().sign(PATH, owner="token-1")
    changed = [
        (address.replace("img_1", "img_2"), "GET"),
        (address, "HEAD"),
        (address, "DELETE"),
        (address.replace("token-1", "token-2"), "GET"),
        (address.replace("owner=token-1&", ""), "GET"),
        (address.replace("1000600", "9000600"), "GET"),
        (address.replace("1000600", "x"), "GET"),
        (f"{address}&expires=9000600", "GET"),
        (f"{address}&size=large", "GET"),
        (address[:-1], "GET"),
        (f"{address}A", "GET"),
        (f"{PATH}?signature=", "GET"),
        (PATH, "GET"),
    ]

    for each, method in changed:
        with pytest.raises(LinkError):
            verify(links(), each, method)


def test_a_secret_can_be_replaced_while_links_are_in_use() -> None:
    """The first secret signs and all are accepted, so old links stay good while both are there."""
    old = links(OTHER).sign(PATH)

    assert verify(links(SECRET, OTHER), old) is None
    with pytest.raises(LinkError):
        verify(links(SECRET), old)


@given(st.text(), st.text())
def test_any_query_is_judged(path: str, query: str) -> None:
    """Whatever somebody sends, it is a link of ours or a `LinkError`."""
    with pytest.raises(LinkError):
        links().verify("GET", path, query)


def test_without_a_secret_nothing_is_signed() -> None:
    """A signer without a secret would accept anything, so there is none."""
    with pytest.raises(ValueError, match="secret"):
        SignedLinks((), lifetime=timedelta(minutes=1))
