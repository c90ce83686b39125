"""Streams: previews are never final, finals are never lost, and every ending has its error."""

from __future__ import annotations

import contextlib
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage import (
    ApiError,
    Completed,
    GptImageError,
    MalformedReplyError,
    ModerationError,
    OutcomeUnknownError,
    PartialImage,
    RateLimitError,
    ServerError,
)
from gptimage.engine.streaming import StreamReader
from gptimage.transport.http import EventDecoder, HttpReply, ServerEvent
from tests.factories import NOW, USAGE, answer, edit, event, generate, picture, planned, reply, text


PARTIAL = "image_generation.partial_image"
FINAL = "image_generation.completed"
RED, TEAL = picture(color="red"), picture(color="teal")
HEAD = HttpReply(status=200, headers={"content-type": "text/event-stream", "x-request-id": "req_1"})
BROKEN = OutcomeUnknownError("the connection broke")


def partial(data: bytes = RED, index: int = 0) -> ServerEvent:
    """A preview."""
    return event(PARTIAL, data, partial_image_index=index)


def final(data: bytes = TEAL, **fields: object) -> ServerEvent:
    """A finished image."""
    return event(FINAL, data, **{"created_at": 1_700_000_000, "usage": USAGE, **fields})


def reader(head: HttpReply = HEAD, **options: Any) -> StreamReader:
    """A reader of the stream of a small image."""
    asked = {"size": "1024x1024", "quality": "low", **options}
    asked = {name: value for name, value in asked.items() if value is not None}
    return StreamReader(planned(generate(stream=True, **asked)), head)


def read(
    *events: ServerEvent,
    broken: OutcomeUnknownError | None = None,
    head: HttpReply = HEAD,
    **options: Any,
) -> tuple[list[PartialImage], Completed]:
    """All that comes of a stream."""
    stream = reader(head, **{"size": None, **options})
    previews = [found for each in events if (found := stream.take(each)) is not None]
    return previews, stream.end(broken, now=NOW)


def test_previews_then_the_picture() -> None:
    """Two kinds of events, which cannot be confused."""
    previews, completed = read(partial(index=0), partial(index=1), final())
    result = completed.result

    assert [(each.image.data, each.index) for each in previews] == [(RED, 0), (RED, 1)]
    assert completed.image.data == TEAL
    assert (result.created.timestamp(), result.request_id) == (1_700_000_000, "req_1")
    assert result.cost == Decimal("0.00593")
    assert result.warnings == ()


def test_an_edit_streams_alike() -> None:
    """Its events have names of their own."""
    stream = StreamReader(planned(edit(stream=True)), HEAD)
    preview = stream.take(event("image_edit.partial_image", RED, partial_image_index=0))
    stream.take(event("image_edit.completed", TEAL))

    assert preview is not None
    assert stream.end(now=NOW).image.data == TEAL


def test_a_stream_gives_what_a_plain_answer_gives() -> None:
    """Images, usage, cost, date and echo are the same."""
    echo: dict[str, Any] = {
        "size": "8x8",
        "quality": "low",
        "background": "opaque",
        "output_format": "png",
    }
    _, streamed = read(partial(), final(**echo))
    plain = read(head=answer(TEAL, **echo))[1].result

    assert plain == streamed.result
    assert echo == streamed.result.reported_by_service


def test_a_stream_is_cropped_like_an_answer() -> None:
    """Previews are left as they came."""
    drawn = picture(1920, 1088)
    previews, completed = read(partial(drawn), final(drawn), size="1920x1080")

    assert previews[0].image.size == (1920, 1088)
    assert completed.image.size == (1920, 1080)
    assert completed.image.original is not None
    assert drawn == completed.image.original.data


def test_a_final_before_its_previews() -> None:
    """The service may be quicker than its previews."""
    previews, completed = read(final(), partial())

    assert len(previews) == 1
    assert completed.image.data == TEAL


def test_done_is_no_event() -> None:
    """A marker some servers send is expected."""
    _, completed = read(final(), ServerEvent(data=b"[DONE]"), ServerEvent(data=b" [DONE]\r"))

    assert completed.result.warnings == ()


def test_several_pictures() -> None:
    """All are kept, their usage added up, and the caller is told."""
    _, completed = read(final(RED), final(TEAL), n=2)
    result = completed.result

    assert [each.data for each in result.images] == [RED, TEAL]
    assert result.usage is not None
    assert (result.usage.output_tokens, result.usage.text_tokens) == (392, 20)
    assert result.cost == Decimal("0.01186")
    assert any("sum" in warning for warning in result.warnings)


def test_half_a_usage_is_none() -> None:
    """What one image did not report is not made up."""
    _, completed = read(final(RED), final(TEAL, usage=None), n=2)

    assert (completed.result.usage, completed.result.cost) == (None, None)


def test_fewer_pictures_than_asked_for() -> None:
    """The stream ended in peace, but early."""
    _, completed = read(final(), n=3)

    assert any("3 images were requested, 1 arrived" in w for w in completed.result.warnings)


# Endings.


def failed(*events: ServerEvent, **options: Any) -> Any:
    """The error a stream ends in."""
    with pytest.raises(GptImageError) as caught:
        read(*events, **options)
    return caught.value


@pytest.mark.parametrize("broken", [None, BROKEN], ids=["ended", "broke"])
@pytest.mark.parametrize("previews", [0, 1, 3])
def test_no_final_picture(broken: OutcomeUnknownError | None, previews: int) -> None:
    """It may have been billed; the previews are in the error, and stay previews."""
    asked = {"size": "1024x1024", "quality": "low"}
    error = failed(*[partial()] * previews, broken=broken, **asked)

    assert type(error) is OutcomeUnknownError
    assert [RED] * previews == [each.image.data for each in error.partials]
    assert (Decimal("0.005905"), "req_1") == (error.possible_cost, error.request_id)
    assert "up to $0.0059; look at your usage page" in str(error)
    assert (f"previews in .partials: {previews}" in str(error)) is bool(previews)
    assert ("connection broke" in str(error)) is (broken is not None)


def test_a_break_after_the_final_picture() -> None:
    """The image is paid and here; the break is a warning."""
    _, completed = read(partial(), final(), broken=BROKEN)

    assert completed.image.data == TEAL
    assert any("connection broke" in warning for warning in completed.result.warnings)


def error_event(**fields: object) -> ServerEvent:
    """A failure inside a stream."""
    return event("error", error={"message": "no", **fields})


def test_an_error_after_a_preview() -> None:
    """It carries the previews."""
    stream = reader()
    stream.take(partial())
    with pytest.raises(ModerationError) as caught:
        stream.take(error_event(code="moderation_blocked"))

    assert [each.image.data for each in caught.value.partials] == [RED]
    assert (caught.value.status, caught.value.request_id) == (200, "req_1")


def test_an_error_in_the_middle_of_the_work_says_what_it_may_have_cost() -> None:
    """The budget keeps counting it, so its message names the amount as without a stream."""
    stream = reader()
    with pytest.raises(ServerError, match=r"it may have been billed up to \$0\.0059"):
        stream.take(error_event(type="image_generation_server_error"))
    with pytest.raises(RateLimitError) as caught:
        stream.take(error_event(code="rate_limit_exceeded"))

    assert "billed" not in str(caught.value)


def test_a_final_picture_that_is_sent_twice_counts_once() -> None:
    """A proxy repeats an event; the service drew and billed one image."""
    _, once = read(final())
    _, twice = read(final(), final())

    assert [each.data for each in twice.result.images] == [TEAL]
    assert twice.result.cost == once.result.cost
    assert twice.result.warnings == ("the stream sent a finished image twice, which counts once",)


def test_two_equal_pictures_that_were_requested_are_two() -> None:
    """A server with a fixed seed draws the same image twice, and bills both."""
    _, completed = read(final(), final(), n=2)

    assert [each.data for each in completed.result.images] == [TEAL, TEAL]


def test_an_error_after_the_final_picture() -> None:
    """The image is kept, the error is a warning."""
    _, completed = read(final(), error_event(type="image_generation_server_error"))

    assert completed.image.data == TEAL
    assert any("error" in warning for warning in completed.result.warnings)


def test_a_final_picture_without_bytes() -> None:
    """An event that says it is complete and holds nothing is a broken reply."""
    error = failed(partial(), event(FINAL))

    assert isinstance(error, MalformedReplyError)
    assert [each.image.data for each in error.partials] == [RED]


def test_a_broken_final_picture() -> None:
    """It is not replaced by a preview; its bytes are in the error."""
    error = failed(partial(), event(FINAL, b"no picture"))

    assert isinstance(error, MalformedReplyError)
    assert text(b"no picture").encode() in error.reply
    assert len(error.partials) == 1


def test_a_broken_preview() -> None:
    """Previews are a courtesy: the loss of one is a warning."""
    previews, completed = read(partial(b"no picture", 1), event(PARTIAL), final())

    assert previews == []
    assert any("preview 1 could not be read" in w for w in completed.result.warnings)


def test_an_event_that_was_cut() -> None:
    """A stream that ends inside its last event keeps what came of it."""
    data = bytes(final().data)[:150]
    error = failed(partial(), ServerEvent(name=FINAL, data=data))

    assert isinstance(error, MalformedReplyError)
    assert data == error.reply
    assert [each.image.data for each in error.partials] == [RED]


def test_an_event_of_an_unknown_kind() -> None:
    """It is no final image; but if there is none, it is not thrown away."""
    strange = event("image_generation.sketch", TEAL)
    error = failed(strange)

    assert isinstance(error, MalformedReplyError)
    assert strange.data == error.reply
    assert read(strange, final(RED))[1].image.data == RED


# Answers that are no stream.


def test_a_plain_answer_to_a_stream() -> None:
    """A server that does not stream answers at once, and that is an answer."""
    previews, completed = read(head=answer(TEAL, RED), n=2)

    assert previews == []
    assert [each.data for each in completed.result.images] == [TEAL, RED]


def test_a_plain_answer_as_an_event() -> None:
    """Nor is it lost when a proxy wraps it into one event."""
    wrapped = ServerEvent(data=bytes(answer(TEAL).body))
    _, completed = read(wrapped, ServerEvent(data=b"[DONE]"))

    assert completed.image.data == TEAL
    assert completed.result.cost == Decimal("0.00593")


def test_a_plain_answer_under_the_wrong_content_type() -> None:
    """Nor when it is called a stream and is none."""
    decoder = EventDecoder()
    events = [*decoder.feed(bytes(answer(TEAL).body)), *decoder.finish()]

    assert read(*events)[1].image.data == TEAL


def test_addresses_in_a_plain_answer() -> None:
    """They are downloaded as in any other reply."""

    def complete(found: HttpReply) -> tuple[HttpReply, dict[str, str]]:
        assert b"https://example.com/a.png" in found.body
        return answer(TEAL), {}

    named = reply({"data": [{"url": "https://example.com/a.png"}]})
    completed = reader(named, size=None).end(now=NOW, complete=complete)

    assert completed.image.data == TEAL


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (reply({"error": {"message": "no"}}, status=429), RateLimitError),
        (reply({"error": {"message": "no", "code": "moderation_blocked"}}), ModerationError),
        (reply(b"<html></html>"), MalformedReplyError),
        (reply({"error": {"message": "no"}}, status=504), OutcomeUnknownError),
        (HttpReply(status=400, headers=HEAD.headers), ApiError),
    ],
    ids=range(5),
)
def test_an_error_instead_of_a_stream(head: HttpReply, kind: type[GptImageError]) -> None:
    """It is the error a plain call would raise."""
    assert isinstance(failed(head=head), kind)


# Garbage.


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"null",
        b'"x"',
        b"7",
        b"{}",
        b'{"b64_json":0}',
        b'{"b64_json":-1,"created_at":1e999,"size":{"a":1}}',
        b'{"b64_json":[],"usage":[],"url":{"a":[]}}',
        b'{"usage":{"input_tokens_details":{"text_tokens":{}},"output_tokens":"x"}}',
        b'{"created_at":NaN,"size":"\\ud800","error":0}',
        b'{"usage":' + b'{"a":' * 900 + b"1" + b"}" * 901,
    ],
    ids=range(11),
)
@pytest.mark.parametrize("name", [FINAL, PARTIAL, "error", "", "x"])
def test_hostile_events(name: str, data: bytes) -> None:
    """Strange events crash nothing and lose no image that came before."""
    strange = ServerEvent(name=name, data=data)
    stream = reader(size=None)
    with contextlib.suppress(GptImageError):
        stream.take(strange)
        stream.end(now=NOW)
    kept = read(final(), strange)[1].result

    assert TEAL in [each.data for each in kept.images]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([FINAL, PARTIAL, "error", text(TEAL), text(TEAL)[:30]]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "b64_json", "error", "usage", "data", "size", "created_at", "url"]
            ),
            inner,
            max_size=4,
        )
    ),
)
EVENTS = st.builds(
    ServerEvent,
    name=st.sampled_from([FINAL, PARTIAL, "error", ""]),
    data=st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode()),
)


@given(st.lists(EVENTS, max_size=5), st.booleans())
def test_a_stream_of_garbage(events: list[ServerEvent], breaks: bool) -> None:
    """Whatever a stream is made of, it gives a result or a GptImageError."""
    with contextlib.suppress(GptImageError):
        previews, completed = read(*events, broken=BROKEN if breaks else None)

        assert completed.result.images
        assert all(isinstance(each, PartialImage) for each in previews)


@given(st.lists(EVENTS, max_size=4), st.lists(EVENTS, max_size=4), st.booleans())
def test_a_final_picture_survives_garbage(
    before: list[ServerEvent], after: list[ServerEvent], breaks: bool
) -> None:
    """Once a finished image has come, nothing that follows loses it."""
    stream = reader(size=None)
    try:
        for each in [*before, final()]:
            stream.take(each)
    except ApiError:
        return  # an error came first; then the service has not drawn
    for each in after:
        stream.take(each)
    result = stream.end(BROKEN if breaks else None, now=NOW).result

    assert TEAL in [each.data for each in result.images]
