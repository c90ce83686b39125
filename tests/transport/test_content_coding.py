"""Packed bodies, also those that are packed in other ways than their headers say."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage import OutcomeUnknownError
from gptimage._internal.coroutines import run_blocking
from gptimage.transport.content_coding import pieces
from gptimage.transport.response_stream import read_all


TEXT = b'{"data": [{"b64_json": "iVBORw0KGgo="}]}' * 9
BODIES = {
    "one part": gzip.compress(TEXT),
    "two parts": gzip.compress(TEXT[:50]) + gzip.compress(TEXT[50:]),
    "with zeros behind it": gzip.compress(TEXT) + b"\0" * 7,
    "with something else behind it": gzip.compress(TEXT) + b"\x1f",
    "unpacked on the way": TEXT,
}


class Body(httpx2.SyncByteStream):
    """A body of a blocking client, in these pieces."""

    def __init__(self, arriving: list[bytes]) -> None:
        self._arriving = arriving

    def __iter__(self) -> Iterator[bytes]:
        yield from self._arriving


class AsyncBody(httpx2.AsyncByteStream):
    """A body of an async client, in these pieces."""

    def __init__(self, arriving: list[bytes]) -> None:
        self._arriving = arriving

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._arriving:
            yield piece


def response(
    arriving: list[bytes], coding: str = "gzip", kind: type[Body | AsyncBody] = Body
) -> httpx2.Response:
    """A response whose body is not read yet."""
    return httpx2.Response(200, headers={"content-encoding": coding}, stream=kind(arriving))


def waited(found: httpx2.Response) -> list[bytes]:
    """Every piece of a blocking client's response."""
    return run_blocking(awaited(found))


async def awaited(found: httpx2.Response) -> list[bytes]:
    """Every piece of it."""
    return [piece async for piece in pieces(found)]


@pytest.mark.parametrize("name", BODIES)
@given(cuts=st.lists(st.integers(0, 600), max_size=4))
def test_a_body_is_the_same_however_it_was_packed_and_cut(name: str, cuts: list[int]) -> None:
    """Nothing of a paid response is dropped, and only the last piece may be empty."""
    body = BODIES[name]
    places = [0, *sorted(cuts), len(body)]
    cut = [body[start:end] for start, end in pairwise(places)]
    found, later = waited(response(cut)), asyncio.run(awaited(response(cut, kind=AsyncBody)))

    assert TEXT == b"".join(found) == b"".join(later)
    assert all(found[:-1])
    assert all(later[:-1])


@pytest.mark.parametrize("coding", ["deflate", "identity", "GZIP", "x-gzip", "gzip, gzip"])
def test_other_codings_are_read_as_they_were(coding: str) -> None:
    """The HTTP library knows those."""
    body = {
        "deflate": zlib.compress(TEXT),
        "identity": TEXT,
        "gzip, gzip": gzip.compress(gzip.compress(TEXT)),
    }.get(coding, gzip.compress(TEXT))

    assert b"".join(waited(response([body], coding))) == TEXT


def test_a_body_of_one_byte_is_no_gzip() -> None:
    """It is too short to tell, and passed on."""
    assert b"".join(waited(response([b"{"]))) == b"{"


def test_a_damaged_body_may_have_been_billed() -> None:
    """As any other that breaks off."""
    packed = bytearray(gzip.compress(TEXT))
    packed[12:30] = b"\xff" * 18
    with pytest.raises(OutcomeUnknownError, match="did not arrive"):
        run_blocking(read_all(response([bytes(packed)]), "b64_json"))
