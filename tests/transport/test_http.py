"""Server-sent events: the same events however the bytes are cut, of any size."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gptimage.transport.http import EventDecoder, ServerEvent


def read(*chunks: bytes) -> list[ServerEvent]:
    """All events of a stream that arrives in these chunks."""
    decoder = EventDecoder()
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return [*events, *decoder.finish()]


ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
LINES = st.one_of(
    st.sampled_from([b"", b"data", b"data:", b"data: {}", b"event: x", b": ping", b"id: 1"]),
    st.binary(max_size=8).map(lambda raw: b"data: " + raw),
    st.binary(max_size=8),
)
STREAMS = st.lists(st.tuples(LINES, ENDS)).map(
    lambda lines: b"".join(line + end for line, end in lines)
)


@given(st.one_of(STREAMS, st.binary(max_size=60)), st.data())
@example(b"data: a\r\n\r\ndata: b\r\n\r\n", None)
def test_any_chunking_gives_the_same_events(stream: bytes, data: st.DataObject | None) -> None:
    """Where the network cuts makes no difference, even inside a line end of two bytes."""
    cuts = (
        list(range(len(stream)))
        if data is None
        else sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    )
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    assert read(stream) == read(*chunks)


@given(
    st.lists(
        st.tuples(
            st.text(alphabet="abc._", max_size=5),
            st.lists(st.binary(max_size=9).filter(lambda raw: not set(raw) & {10, 13}), min_size=1),
        )
    ),
    # A lone carriage return before a line feed would be one line end, not two.
    st.just([b"\r"]) | st.lists(st.sampled_from([b"\n", b"\r\n"]), min_size=1),
)
def test_what_was_written_is_read(events: list[tuple[str, list[bytes]]], ends: list[bytes]) -> None:
    """Names and data survive every kind of line end."""
    lines = [
        line
        for name, data in events
        for line in [b"event: " + name.encode(), *(b"data: " + raw for raw in data), b""]
    ]
    stream = b"".join(line + ends[k % len(ends)] for k, line in enumerate(lines))
    written = [ServerEvent(name=name, data=b"\n".join(data)) for name, data in events if any(data)]

    assert written == read(stream)


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"", []),
        (b"\n\n\n", []),
        (b"data: {}\n\n", [("", b"{}")]),
        (b"data:{}\n\n", [("", b"{}")]),
        (b"data:  {}\n\n", [("", b" {}")]),
        (b"event: a\ndata: 1\n\nevent: b\ndata: 2\n\n", [("a", b"1"), ("b", b"2")]),
        (b"data: 1\nevent: late\n\n", [("late", b"1")]),
        (b"event: a\n\ndata: 1\n\n", [("", b"1")]),
        (b"data: 1\ndata: 2\n\n", [("", b"1\n2")]),
        (b"data\ndata: 2\n\n", [("", b"\n2")]),
        (b": comment\n\ndata: 1\n\n", [("", b"1")]),
        (b"id: 7\nretry: 100\ndata: 1\n\n", [("", b"1")]),
        (b"event: ping\ndata:\n\n", []),
        (b"data: [DONE]\n\n", [("", b"[DONE]")]),
        (b"data: 1\r\rdata: 2\r\r", [("", b"1"), ("", b"2")]),
        (b"data: 1\r\n\r\ndata: 2\n\n", [("", b"1"), ("", b"2")]),
        (b"data: a:b:c\n\n", [("", b"a:b:c")]),
        (b"\xef\xbb\xbfdata: 1\n\n", [("", b"1")]),
        (b"event: \xff\ndata: \xff\n\n", [("\ufffd", b"\xff")]),
        # Without its last blank line: it may be an image that was paid for.
        (b"data: 1", [("", b"1")]),
        (b"data: 1\n", [("", b"1")]),
        (b"event: a\r\ndata: 1\r", [("a", b"1")]),
        (b"event: a", []),
    ],
    ids=range(23),
)
def test_the_format(stream: bytes, events: list[tuple[str, bytes]]) -> None:
    """Fields, comments, line ends and what a stream may end in."""
    wanted = [ServerEvent(name=name, data=data) for name, data in events]

    assert wanted == read(stream) == read(*(stream[k : k + 1] for k in range(len(stream))))


def test_an_empty_chunk_is_nothing() -> None:
    """It does not make the halves of a line end two line ends."""
    assert [ServerEvent(data=b"1\n2")] == read(b"data: 1\r", b"", b"\ndata: 2\n\n")


@pytest.mark.parametrize("step", [4_096, 1_000_003, 50_000_000])
def test_events_of_thirty_megabytes(step: int) -> None:
    """The size of an event has no limit, and its bytes are kept exactly."""
    picture = b"QUJD" * 7_500_000
    stream = b'event: a\ndata: {"b64_json":"%b"}\n\ndata: 2\n\n' % picture
    first, second = read(*(stream[k : k + step] for k in range(0, len(stream), step)))

    assert (b'{"b64_json":"%b"}' % picture, b"2") == (first.data, second.data)


def test_after_the_end_nothing_is_left() -> None:
    """Finishing twice gives no event twice."""
    decoder = EventDecoder()
    list(decoder.feed(b"data: 1"))

    assert [ServerEvent(data=b"1")] == list(decoder.finish())
    assert list(decoder.finish()) == []
