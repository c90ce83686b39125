"""Reading replies: every JSON document means the same, however it arrives and whatever is in it."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import io
import itertools
import json
import random
import sys
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gptimage._internal.json import array, table
from gptimage.transport import base64_body
from gptimage.transport.base64_body import (
    Base64Extractor,
    ParsedBody,
    decode,
    decoded_images,
    extract_complete_images,
    image_of,
    parse,
    reassemble,
    split,
)
from gptimage.transport.response_stream import read_all
from gptimage.transport.wrapped_body import items
from tests.factories import picture, text


TRICKS = [
    '"b64_json":"',
    '\\"b64_json\\":\\"',
    '{"b64_json": "QUJD"}',
    '"b64_json',
    'b64_json"',
    "\\",
    "\\\\",
    '"',
    "\u2028",
    "é🦊",
    "\x00",
    "QUJD",
]
"""Texts that look like what the reader searches for."""

PLAIN = st.binary(max_size=60).map(text)
ALMOST = st.text(alphabet='AQg+/=-_\n\\" ', max_size=12)
STRINGS = st.one_of(
    st.text(max_size=8), st.sampled_from(TRICKS), st.lists(st.sampled_from(TRICKS)).map("".join)
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    STRINGS,
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Lists and objects, with images under their key anywhere."""
    found = st.one_of(PLAIN, ALMOST, STRINGS, st.none(), st.booleans(), inner.filter(is_no_number))
    entry = st.fixed_dictionaries({}, optional={"b64_json": found, "url": inner, "x": inner})
    keys = STRINGS.filter(lambda key: key != "b64_json")
    return st.one_of(st.lists(inner, max_size=4), entry, st.dictionaries(keys, inner, max_size=3))


def is_no_number(value: object) -> bool:
    """A number under that key is taken for the number of an image."""
    return isinstance(value, bool) or not isinstance(value, int)


DOCUMENTS = st.recursive(LEAVES, containers, max_leaves=25)
SPACES = st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", "\r\n:\n ")])
CUTS = st.lists(st.sampled_from([0, 1, 2, 3, 7, 64, 65]), min_size=1, max_size=8)


def meaning(value: Any, found: tuple[bytes, ...] | None = None) -> object:
    """The value with every image decoded, in whatever form it is there."""
    if issubclass(type(value), list):
        return [meaning(each, found) for each in array(value)]
    if not issubclass(type(value), dict):
        return value
    return {
        key: _image(each, found) if key == "b64_json" else meaning(each, found)
        for key, each in table(value).items()
    }


def _image(value: Any, found: tuple[bytes, ...] | None) -> object:
    if found is not None and isinstance(value, int) and not isinstance(value, bool):
        return found[value]
    if not isinstance(value, str):
        return meaning(value, found)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return value


def pieces(body: bytes, cuts: list[int]) -> list[bytes]:
    """The body in pieces, some of them a single byte and some empty."""
    found: list[bytes] = []
    at = 0
    for step in itertools.cycle([*cuts, 1]):
        if at >= len(body):
            return found
        found.append(body[at : at + step])
        at += step
    raise AssertionError("unreachable")


@given(DOCUMENTS, SPACES, st.booleans())
@example({"data": [{"b64_json": '"b64_json":"QUJD"'}]}, (",", ":"), False)
@example({'"b64_json': "QUJD", '\\"b64_json': "QUJD"}, (",", ":"), False)
def test_a_document_means_what_json_says(
    value: object, spaces: tuple[str, str], ascii_only: bool
) -> None:
    """Against the standard library: the same value, with the images decoded."""
    body = json.dumps(value, separators=spaces, ensure_ascii=ascii_only).encode()
    document = parse(body)

    assert meaning(json.loads(body)) == meaning(document.value, document.images)


@given(DOCUMENTS, SPACES, CUTS, st.booleans())
def test_it_may_arrive_in_any_pieces(
    value: object, spaces: tuple[str, str], cuts: list[int], interleaved: bool
) -> None:
    """Where the network cuts a reply makes no difference, alone and among others."""
    body = json.dumps(value, separators=spaces).encode()
    splitter = Base64Extractor(interleaved=interleaved)
    for piece in pieces(body, cuts):
        splitter.feed(piece)
    rest, found = splitter.close()

    assert meaning(json.loads(body)) == meaning(_parsed(rest, found).value, found)


def _parsed(rest: bytes, found: tuple[bytes, ...]) -> ParsedBody:
    return parse(rest, found) if found else ParsedBody(json.loads(rest))


@given(DOCUMENTS, SPACES)
def test_a_body_is_put_together_again(value: object, spaces: tuple[str, str]) -> None:
    """What was split for speed can be shown as it arrived."""
    body = json.dumps(value, separators=spaces).encode()

    assert meaning(json.loads(body)) == meaning(json.loads(reassemble(*split(body))))


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=3), SPACES, CUTS)
def test_pictures_may_have_another_key(
    found: list[bytes], spaces: tuple[str, str], cuts: list[int]
) -> None:
    """In the Responses API it is ``result``, and everything else is as ever."""
    value = {"output": [{"result": text(data), "b64_json": "QUJD"} for data in found]}
    body = json.dumps(value, separators=spaces).encode()
    splitter = Base64Extractor("result")
    for piece in pieces(body, cuts):
        splitter.feed(piece)
    rest, taken = splitter.close()

    assert taken == tuple(found)
    assert [each["result"] for each in json.loads(rest)["output"]] == [*range(len(found))]
    assert reassemble(rest, taken, "result") == body


@given(st.lists(st.binary(max_size=100), max_size=5), SPACES)
def test_plain_replies_are_put_together_exactly(
    found: list[bytes], spaces: tuple[str, str]
) -> None:
    """Of an ordinary reply not a byte changes."""
    value = {"created": 1, "data": [{"b64_json": text(data), "n": 0} for data in found]}
    body = json.dumps(value, separators=spaces).encode()

    assert body == reassemble(*split(body))
    assert tuple(found) == parse(body).images


@given(st.integers(0, 40), st.integers(0, 40), SPACES)
def test_a_picture_is_found_wherever_the_reply_is_cut(
    one: int, other: int, spaces: tuple[str, str]
) -> None:
    """Even inside its key: the fast way is never missed."""
    body = json.dumps({"data": [{"b64_json": text(b"ABCD")}]}, separators=spaces).encode()
    splitter = Base64Extractor()
    for piece in (body[:one], body[one : one + other], body[one + other :]):
        splitter.feed(piece)

    assert split(body) == splitter.close()
    assert split(body)[1] == (b"ABCD",)


@given(st.binary(max_size=300))
@example(b"\xef\xbb\xbf{}")
@example(b'{"b64_json":"')
@example(b'{"b64_json":"QUJD"')
@example(b'{"b64_json":"\\')
@example(b"[" * 200_000)
@example(b'{"a":' * 100_000)
@example(b"1" * 5000)
@example(b"NaN")
@example(b'"\xed\xa0\x80"')
def test_garbage_is_a_value_error(body: bytes) -> None:
    """Hostile bytes are a document or a ValueError, and never take the images with them."""
    try:
        parse(body)
    except ValueError:
        assert extract_complete_images(body).cut_short
    decoded_images(body)


@given(st.lists(st.sampled_from([b'"b64_json":"', b"QUJD", b'"', b"\\", b"{", b"}", b":", b" "])))
def test_scraps_of_replies_are_a_value_error(scraps: list[bytes]) -> None:
    """Nor do bytes that nearly are a reply crash anything."""
    body = b"".join(scraps)
    with contextlib.suppress(ValueError):
        parse(body)

    assert all(isinstance(data, bytes) for data in decoded_images(body))


@given(DOCUMENTS, st.integers(0, 400))
def test_a_truncated_document_is_a_value_error(value: object, end: int) -> None:
    """A body that ends too early is noticed, or is a document by itself."""
    body = json.dumps([value]).encode()
    if end < len(body):
        with pytest.raises(ValueError):  # noqa: PT011  # whichever kind
            parse(body[:end])


def test_a_broken_letter_loses_no_picture() -> None:
    """Half an emoji, a NaN or a line break beside an image is no reason to throw it away."""
    body = b'{"t":"\xf0\x9f","n":NaN,"s":"\\ud83e","l":"a\nb","data":[{"b64_json":"QUJD"}]}'
    document = parse(body)

    assert [image_of(item, document) for item in items(document.value)] == [b"ABC"]
    assert document.value["n"] == "NaN"


@pytest.mark.parametrize(
    "written",
    [
        "QUJD+/==",
        r"QUJD\u002B\u002F\u003d\u003d",
        r"QUJD+\/==",
        r"QU\nJD\r\n+/==",
        "QU\nJD\r\n+/==",
        " QUJD +/== ",
        "QUJD+/",
        "data:image/png;base64,QUJD+/==",
    ],
)
def test_lenient_base64(written: str) -> None:
    """JSON escapes, line breaks, missing padding and data URLs are understood."""
    body = b'{"data":[{"b64_json":"%b"}]}' % written.encode()
    document = parse(body)

    assert [image_of(item, document) for item in items(document.value)] == [b"ABC\xfb"]
    assert decoded_images(body) == [b"ABC\xfb"]


def test_a_key_written_with_escapes() -> None:
    """It is the same key to JSON, so its image is found."""
    document = parse(rb'{"data":[{"b64\u005fjson":"QUJD"}]}')

    assert [image_of(item, document) for item in items(document.value)] == [b"ABC"]


@pytest.mark.parametrize("written", ["!", "QUJD!", "Q", "QUJDQ", "QQ==QQ==", "ä", "QUJ~"])
def test_what_is_no_base64(written: str) -> None:
    """Anything else is a ValueError, never half an image."""
    with pytest.raises(ValueError):  # noqa: PT011  # binascii has its own kind
        decode(written.encode())


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("cut", range(1, 12))
def test_padding_in_the_middle_is_no_base64(cut: int, interleaved: bool) -> None:
    """An image is whole or broken, wherever the network cuts it."""
    body = b'{"b64_json":"QQ==QQ=="}'
    splitter = Base64Extractor(interleaved=interleaved)
    splitter.feed(body[: 13 + cut])
    splitter.feed(body[13 + cut :])

    assert (body, ()) == splitter.close()


@given(st.binary(max_size=100), st.sampled_from(["", "\n", "\r\n", " "]), st.booleans())
def test_decode_undoes_encode(data: bytes, gap: str, padded: bool) -> None:
    """Base64 in lines, with or without padding."""
    whole = text(data) if padded else text(data).rstrip("=")
    written = gap.join(whole[k : k + 5] for k in range(0, len(whole), 5))

    assert data == decode(written.encode())


@pytest.mark.parametrize("number", [-1, 1, 7, 10**30, True, 0.0, None, [], {}, ""])
def test_a_number_is_no_picture(number: object) -> None:
    """A reply that says a number where base64 belongs points at nothing."""
    body = json.dumps({"data": [{"b64_json": number}, {"b64_json": "QUJD"}]}).encode()
    document = parse(body)

    assert [image_of(item, document) for item in items(document.value)] == [None, b"ABC"]
    assert decoded_images(body) == [b"ABC"]


@pytest.mark.parametrize(
    "written",
    ["null", "1", '"data"', "[]", "{}", '{"data":null}', '{"data":{}}', '{"data":[null,1,[]]}'],
)
def test_items_of_anything(written: str) -> None:
    """A value of another shape has no entries."""
    assert items(json.loads(written)) == []


def test_a_cut_reply_keeps_its_whole_pictures() -> None:
    """Of four images the first two arrived; they are saved."""
    body = json.dumps({"data": [{"b64_json": text(picture(color=c))} for c in COLORS]}).encode()
    end = body.index(text(picture(color="red")).encode()) + 50
    document = extract_complete_images(body[:end])

    assert document.cut_short
    assert tuple(picture(color=c) for c in COLORS[:2]) == document.images
    assert list(document.images) == decoded_images(body[:end])


COLORS = ["teal", "navy", "red", "gold"]


def test_thirty_megabytes_in_small_pieces() -> None:
    """A large image is read in one pass, piece by piece."""
    data = random.Random(1).randbytes(22_000_000)
    body = b'{"created":1,"data":[{"b64_json":"%b"}]}' % text(data).encode()
    splitter = Base64Extractor()
    for at in range(0, len(body), 65_536):
        splitter.feed(memoryview(body)[at : at + 65_536])

    assert (b'{"created":1,"data":[{"b64_json":0}]}', (data,)) == splitter.close()
    assert splitter.has_image


@pytest.mark.parametrize("apart", [100, sys.maxsize - 1000], ids=["too little", "refused"])
def test_an_image_among_others_may_need_more_than_was_set_apart(
    apart: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is larger, or the process may not have so much memory: it is read all the same."""
    monkeypatch.setattr(base64_body, "_APART", apart)
    found = tuple(random.Random(seed).randbytes(1000) for seed in range(2))
    body = json.dumps({"data": [{"b64_json": text(data)} for data in found]}).encode()
    splitter = Base64Extractor(interleaved=True)
    for at in range(0, len(body), 50):
        splitter.feed(body[at : at + 50])

    assert found == splitter.close()[1]


def test_a_reply_that_arrives_among_others_is_read_as_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On an event loop an image has memory of its own: to copy it would hold up the loop."""
    asked: list[int] = []

    def apart() -> io.BytesIO:
        asked.append(1)
        return io.BytesIO(bytes(1000))

    monkeypatch.setattr(base64_body, "_set_apart", apart)
    body = b'{"data":[{"b64_json":"QUJDREVG"},{"b64_json":"QUJD"}]}'

    async def arriving() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 28):  # within the first image, and before the second
            yield body[at : at + 28]

    reply = asyncio.run(read_all(httpx2.Response(200, content=arriving()), "b64_json"))

    assert reply.images == (b"ABCDEF", b"ABC")
    assert asked == [1]


def test_a_whole_reply_is_read_without_a_copy() -> None:
    """One in memory, such as a cached one, takes no more beside it than its image."""
    data = random.Random(2).randbytes(900_000)
    body = b'{"data":[{"b64_json":"%b"}]}' % text(data).encode()
    split(body)  # imports what it needs
    tracemalloc.start()
    found = split(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (data,) == found[1]
    assert peak < 1.3 * len(data)


@pytest.mark.parametrize("shift", range(-40, 8, 4))
def test_an_image_begins_wherever_a_step_of_the_search_ends(shift: int) -> None:
    """Long text before an image hides none of its key."""
    body = b'{"text":"%b","data":[{"b64_json":"QUJD"}]}' % (b"x" * (65_536 + shift))

    assert split(body)[1] == (b"ABC",)
