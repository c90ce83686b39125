"""What comes back: nothing paid is lost, nothing is asked twice, and nothing hostile crashes."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

import gptimage
from gptimage import (
    ApiError,
    BadRequestError,
    GptImageError,
    MalformedReplyError,
    ModerationError,
    OutcomeUnknownError,
    PartialImage,
    ServerError,
    StoreError,
)
from gptimage.store import Store
from gptimage.transport.http import ServerEvent
from tests.conversation.helpers import (
    BLOCKED,
    EVENT_STREAM,
    Fake,
    Talks,
    call,
    event,
    forgotten,
    partial,
    picture,
    reply,
    response,
    words,
)


SMALL = picture(64, 64)
DRAWN = reply(response(call(SMALL, revised_prompt="A log cabin"), words("Here you are.")))


def end(*output: dict[str, object], **fields: object) -> ServerEvent:
    """The last event of a turn."""
    return event("response.completed", response=response(*output, **fields))


# ---------------------------------------------------------------- reading


def test_a_reply_is_read_whole(talks: Talks) -> None:
    """Bytes untouched, words, ids, times, and both usages."""
    talk, _ = talks.fake(DRAWN)
    turn = talk.send("A cabin")

    assert turn.image.data == SMALL
    assert (turn.text, turn.revised_prompt) == ("Here you are.", "A log cabin")
    assert (turn.response_id, turn.call_ids) == ("resp_1", ("ig_1",))
    assert turn.result.request_id == "req_1"
    assert turn.result.created.timestamp() == 1_700_000_000
    assert turn.result.usage is not None
    assert turn.result.usage.image_tokens == 1024
    assert turn.result.cost == Decimal("0.014122")  # 10 x 5 + 1024 x 8 + 196 x 30, per million
    assert turn.chat_usage is not None
    assert turn.chat_usage.reasoning_tokens == 60
    assert turn.chat_cost == Decimal("0.000119")


def test_several_pictures_keep_their_ids(talks: Talks) -> None:
    """An unreadable image takes its id with it; a failed call is told with its reason."""
    outputs = (
        call(SMALL, id="ig_a"),
        call(b"no picture", id="ig_b"),
        call(None, id="ig_c", error=BLOCKED),
        call(picture(32, 32), id="ig_d", revised_prompt="the last"),
    )
    talk, _ = talks.fake(reply(response(*outputs)))
    turn = talk.send("Three cabins", max_images=4)

    assert turn.call_ids == ("ig_a", "ig_d")
    assert turn.revised_prompts == (None, "the last")
    assert [image.width for image in turn.images] == [64, 32]
    (failed,) = turn.failed
    assert (failed.call_id, failed.code) == ("ig_c", "moderation_blocked")
    assert (failed.stage, failed.categories) == ("output", ("violence",))
    told = " ".join(turn.warnings)
    assert "image 2 of the reply could not be read" in told
    assert "drew 2 images in this turn, and each is billed" in told
    assert "drew nothing" in told


def test_money_without_its_parts_is_unknown(talks: Talks) -> None:
    """Earlier images are input, too: a sum alone cannot be priced once a turn goes on."""
    plain = {"input_tokens": 1034, "output_tokens": 196, "total_tokens": 1230}
    answer = reply(response(call(SMALL), tool_usage={"image_gen": plain}))
    first, _ = talks.fake(answer)
    later, _ = talks.fake(answer, resume="resp_0")

    assert first.send("A cabin").result.cost is not None
    assert later.send("Add snow").result.cost is None


# ---------------------------------------------------------------- failures


def test_the_only_call_failing_is_the_error(talks: Talks) -> None:
    """The image call's own error is raised, with its moderation details."""
    talk, service = talks.fake(reply(response(call(None, error=BLOCKED), words("I cannot."))))

    with pytest.raises(ModerationError) as caught:
        talk.send("A cabin")

    assert (caught.value.stage, caught.value.categories) == ("output", ("violence",))
    assert caught.value.request_id == "req_1"
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "server_error", "message": "sorry"}, ServerError),
        ({"code": "invalid_image", "message": "no"}, BadRequestError),
        ({"code": "moderation_blocked", "message": "no"}, ModerationError),
        ({"code": "image_content_policy_violation", "message": "no"}, ModerationError),
    ],
)
def test_a_failed_response_is_the_fitting_error(
    talks: Talks, error: dict[str, str], kind: type[ApiError]
) -> None:
    """Whole or as the end of a stream, though the error has no type."""
    broken = response(status="failed", error=error)
    talk, _ = talks.fake(reply(broken), [event("response.failed", response=broken)])

    for ask in (talk.send, talk.stream):
        with pytest.raises(kind):
            ask("A cabin")


def test_words_alone_are_no_picture(talks: Talks) -> None:
    """It may have been billed; what the model said is what helps, so it is told."""
    talk, _ = talks.fake(reply(response(words("Which cabin,\nthe red one?"))))

    with pytest.raises(MalformedReplyError, match="Which cabin, the red one") as caught:
        talk.send("A cabin")

    assert caught.value.text == "Which cabin,\nthe red one?"
    assert talk.chat.turns == ()


def test_many_words_are_shortened(talks: Talks) -> None:
    """A message stays readable; the attribute has all of it."""
    talk, _ = talks.fake(reply(response(words("word " * 1_000))))

    with pytest.raises(MalformedReplyError) as caught:
        talk.send("A cabin")

    assert len(str(caught.value)) < 800
    assert caught.value.text == "word " * 1_000


def test_a_refusal_in_words_is_moderation(talks: Talks) -> None:
    """A refusal part says that the model would not draw this, so it has the class for that."""
    refused = {**words(""), "content": [{"type": "refusal", "refusal": "I cannot draw that."}]}
    talk, _ = talks.fake(*[reply(response(refused))], [end(refused)])

    for ask in (talk.send, talk.stream):
        with pytest.raises(ModerationError, match="I cannot draw that"):
            ask("A cabin")


def test_a_reply_cut_short_gives_its_whole_pictures(talks: Talks) -> None:
    """The image came before the cut, so it is there; its ids are not, and that is known."""
    body = bytes(DRAWN.body)
    talk, _ = talks.fake(evolve(DRAWN, body=body[: body.index(b"Here you are")]))
    turn = talk.send("A cabin")

    assert turn.image.data == SMALL
    assert turn.response_id is None
    assert "cut short" in " ".join(turn.warnings)


def test_without_an_id_the_picture_goes_on(talks: Talks) -> None:
    """A reply that names no response is continued from its image."""
    talk, service = talks.fake(reply(response(call(SMALL), id=None)), DRAWN)
    first = talk.send("A cabin")
    talk.send("Add snow")

    assert "no id" in first.warnings[0]
    assert service.requests[1].body["input"][0]["content"][1]["type"] == "input_image"


@pytest.mark.parametrize("streamed", [False, True])
def test_a_turn_that_cannot_be_saved_is_not_lost(
    talks: Talks, tmp_path: Path, streamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error carries the result, and the conversation goes on from it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    from gptimage.sandbox import Sandbox

    store = Store(tmp_path / "store")
    talk = talks.sandbox(Sandbox(), store=store)

    def full(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(store, "save", full)
    with pytest.raises(StoreError) as caught:
        (talk.stream if streamed else talk.send)("A cabin", quality="low", size="1024x1024")

    (turn,) = talk.chat.turns
    assert caught.value.result is not None
    assert caught.value.result.images == turn.images
    assert talk.chat.response_id == turn.response_id


# ---------------------------------------------------------------- asking again


def test_a_forgotten_response_is_asked_once_more(talks: Talks) -> None:
    """The refusal was free; the second request has the image and is the last."""
    talk, service = talks.fake(DRAWN, forgotten(), DRAWN)
    talk.send("A cabin")
    turn = talk.send("Add snow")

    assert len(service.requests) == 3
    assert "previous_response_id" not in service.requests[2].body
    assert "resp_1" in turn.warnings[-1]


def test_a_second_refusal_is_raised(talks: Talks) -> None:
    """There is no third way, so there is no third request."""
    talk, service = talks.fake(DRAWN, forgotten())
    talk.send("A cabin")

    with pytest.raises(BadRequestError):
        talk.send("Add snow")

    assert len(service.requests) == 3


def test_a_refusal_inside_the_stream_counts_as_well(talks: Talks) -> None:
    """Some services say it as an event."""
    nested = json.loads(bytes(forgotten().body))
    talk, service = talks.fake(DRAWN, [event("error", **nested)], [end(call(SMALL))])
    talk.send("A cabin")
    turn = talk.stream("Add snow")[-1].turn

    assert len(service.requests) == 3
    assert turn.image.data == SMALL


def test_a_refusal_after_a_preview_is_final(talks: Talks) -> None:
    """Something was drawn, so asking again could pay twice, whatever the error says."""
    nested = json.loads(bytes(forgotten().body))
    talk, service = talks.fake(DRAWN, [partial(SMALL), event("error", **nested)])
    talk.send("A cabin")

    with pytest.raises(BadRequestError):
        talk.stream("Add snow", partial_images=1)

    assert len(service.requests) == 2


@pytest.mark.parametrize(
    "answer",
    [
        OutcomeUnknownError("timed out"),
        reply({"error": {"message": "boom", "type": "server_error", "code": None}}, 500),
        reply(response(call(None, error=BLOCKED))),
        reply({"error": {"message": "response not found", "code": "other"}}, 400),
    ],
    ids=["timeout", "500", "blocked", "another 400"],
)
def test_what_may_be_billed_is_never_asked_again(talks: Talks, answer: Any) -> None:
    """Only the one refusal that costs nothing is answered by another request."""
    talk, service = talks.fake(DRAWN, answer)
    talk.send("A cabin")

    with pytest.raises(GptImageError):
        talk.send("Add snow")

    assert len(service.requests) == 2


@pytest.mark.usefixtures("quick_retries")
def test_a_rate_limit_is_waited_for(talks: Talks) -> None:
    """A turn has the client's retries."""
    limited = reply({"error": {"message": "slow", "code": "rate_limit_exceeded"}}, 429)
    talk, service = talks.fake(limited, DRAWN)
    talk.send("A cabin")

    assert len(service.requests) == 2


def test_an_unknown_outcome_says_what_it_may_cost(talks: Talks) -> None:
    """Up to as many images as the model may draw, and what the chat model may use."""
    talk, _ = talks.fake(OutcomeUnknownError("timed out"))
    picture = Decimal((196 * 30) + (7 + 1_000) * 5) / 1_000_000  # drawn, and its two prompts

    with pytest.raises(OutcomeUnknownError) as one:
        talk.send("A cabin", quality="low", size="1024x1024")
    with pytest.raises(OutcomeUnknownError) as three:
        talk.send("A cabin", quality="low", size="1024x1024", max_images=3)

    assert one.value.possible_cost == picture + said(1)
    assert three.value.possible_cost == 3 * picture + said(3)


def said(drawn: int) -> Decimal:
    """The most the chat model may cost, by the figures of ``docs/conversations.md``."""
    read = 512 + 7 + 4_000 * drawn + 4_096
    return ((drawn + 1) * read * Decimal("0.125") + 4_096 * Decimal("0.5")) / 1_000_000


# ---------------------------------------------------------------- streams


def done(data: bytes | None = SMALL, **fields: object) -> ServerEvent:
    """The event with a finished image call."""
    return event("response.output_item.done", output_index=0, item=call(data, **fields))


def test_a_stream_may_leave_the_picture_out_of_its_end(talks: Talks) -> None:
    """The item on the way has it; the end has ids, words and usage."""
    short = {**call(None), "status": "completed"}
    events = [partial(picture(32, 32)), done(), end(short, words("Done."))]
    talk, _ = talks.fake(events)
    preview, last = talk.stream("A cabin", partial_images=1)

    assert isinstance(preview, PartialImage)
    assert last.turn.image.data == SMALL
    assert (last.turn.text, last.turn.call_ids) == ("Done.", ("ig_1",))
    assert last.turn.result.cost is not None


@pytest.mark.parametrize("how", ["breaks", "ends", "errors"])
def test_a_stream_that_breaks_after_the_picture_gives_it(talks: Talks, how: str) -> None:
    """It is paid for; only usage and the end are missing, and that is said."""
    created = event("response.created", response={"id": "resp_7", "status": "in_progress"})
    tail: list[Any] = {
        "breaks": [OutcomeUnknownError("the line went dead")],
        "ends": [],
        "errors": [event("error", error={"message": "late", "type": "server_error"})],
    }[how]
    talk, _ = talks.fake([created, done(), *tail])
    (last,) = talk.stream("A cabin")

    assert last.turn.image.data == SMALL
    assert last.turn.response_id == "resp_7"
    assert last.turn.result.cost is None
    assert "after a finished image" in " ".join(last.turn.warnings)


def test_a_stream_that_breaks_before_it_carries_the_previews(talks: Talks) -> None:
    """The outcome is unknown, and what came is not thrown away."""
    talk, service = talks.fake([partial(SMALL), OutcomeUnknownError("the line went dead")])

    with pytest.raises(OutcomeUnknownError, match="line went dead") as caught:
        talk.stream("A cabin", partial_images=1)

    assert [each.image.data for each in caught.value.partials] == [SMALL]
    assert len(service.requests) == 1


def test_an_error_event_carries_the_previews(talks: Talks) -> None:
    """Nested as recorded, or flat as documented."""
    flat = {"code": "server_error", "message": "sorry", "param": None, "sequence_number": 9}
    talk, _ = talks.fake(
        [partial(SMALL), event("error", **flat)], [partial(SMALL), event("error", error=flat)]
    )
    for _ in range(2):
        with pytest.raises(ServerError) as caught:
            talk.stream("A cabin", partial_images=1)
        assert len(caught.value.partials) == 1
        assert "it may have been billed" in str(caught.value)


def test_an_unreadable_event_is_kept(talks: Talks) -> None:
    """An image may be in it."""
    talk, _ = talks.fake([ServerEvent(name="response.output_item.done", data=b'{"item": {"resu')])

    with pytest.raises(MalformedReplyError) as caught:
        talk.stream("A cabin")

    assert b'{"item"' in caught.value.reply


def test_an_answer_that_is_no_stream_is_read_anyway(talks: Talks) -> None:
    """Some servers ignore the wish."""
    talk, _ = talks.fake(DRAWN)
    (last,) = talk.stream("A cabin")

    assert last.turn.image.data == SMALL


# ---------------------------------------------------------------- hostile

NAMES = (
    *("id", "type", "result", "status", "error", "output", "usage", "tool_usage", "image_gen"),
    *("content", "text", "item", "response", "code", "message", "input_tokens", "output_tokens"),
    *("moderation_details", "partial_image_b64", "partial_image_index", "summary"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
    ),
    max_leaves=20,
)
ITEMS = st.dictionaries(
    st.sampled_from(["id", "result", "error", "revised_prompt", "svg_usage", "size", "content"]),
    JSON,
).map(lambda table: {"type": "image_generation_call", **table})


@given(value=JSON | st.fixed_dictionaries({"output": st.lists(ITEMS | JSON)}), data=st.binary())
def test_hostile_replies_raise_only_our_errors(value: Any, data: bytes) -> None:
    """Whatever a server sends, whole or in events, nothing else escapes."""
    body = json.dumps(value).encode()
    kinds = ("response.output_item.done", "response.completed", "error", "x.partial_image")
    for raw in (body, data):
        for answer in (
            evolve(DRAWN, body=raw),
            [ServerEvent(name=kind, data=raw) for kind in kinds],
            [ServerEvent(data=b'{"type": "response.completed", "response": %b}' % body)],
            evolve(DRAWN, headers=EVENT_STREAM, body=raw),
        ):
            with gptimage.ImageClient(transport=Fake([answer])) as client:
                chat = client.conversation()
                try:
                    if isinstance(answer, list):
                        list(chat.stream("A cabin"))
                    else:
                        chat.send("A cabin")
                except GptImageError:
                    continue
