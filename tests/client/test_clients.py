"""What both clients promise: results, retries that cannot pay twice, nothing lost."""

from __future__ import annotations

import inspect
import json
import typing
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import openai
import pytest

import gptimage
from gptimage.transport.http import HttpReply
from tests.client.harness import TODAY, Harness, answer, event, failure, picture


BYTES = picture()
OK = answer(BYTES)
BUSY = failure(429, code="rate_limit_exceeded")
UNSENT = gptimage.TransportError("no route")
PARTIAL = "image_generation.partial_image"
FINAL = "image_generation.completed"
USED = {"total_tokens": 9, "input_tokens": 4, "output_tokens": 5}


def test_a_result_says_everything(harness: Harness) -> None:
    """Images, usage, cost, request, id and time come back, the bytes untouched."""
    client, service = harness.fake(OK)
    result = client.generate("A red fox", size="1024x1024", quality="low")
    assert result.image.data == BYTES
    assert result.images == (result.image,)
    assert result.image.original is None
    assert result.usage.output_tokens == 196
    assert result.cost.usd == Decimal("0.00593")
    assert result.request.prompt == "A red fox"
    assert result.request_id == "req_1"
    assert result.created == datetime.fromtimestamp(1_700_000_000, UTC)
    assert (result.cached, result.warnings) == (False, ())
    assert dict(service.requests[0].body) == {
        "model": "gpt-image-2.5-flare",
        "prompt": "A red fox",
        "size": "1024x1024",
        "quality": "low",
    }


def test_the_pixels_asked_for_come_back(harness: Harness) -> None:
    """1920x1080 is drawn at 1920x1088 and cropped, the whole image stays reachable."""
    drawn = picture(1920, 1088)
    client, service = harness.fake(answer(drawn))
    result = client.generate("A red fox", size="1920x1080")
    assert service.requests[0].body["size"] == "1920x1088"
    assert (result.image.width, result.image.height) == (1920, 1080)
    assert result.image.original.data == drawn
    assert any("1920x1088" in sentence for sentence in result.warnings)


def test_a_template_recommends_and_the_caller_decides(harness: Harness) -> None:
    """Recommendations of a rendered template apply where no option says otherwise."""
    client, service = harness.fake(OK)
    prompt = gptimage.Prompt("A fox", size="1536x1024", quality="high", template="mine")
    result = client.generate(prompt, quality="low", size=None)
    assert service.requests[0].body["size"] == "1536x1024"
    assert service.requests[0].body["quality"] == "low"
    assert result.request.template == "mine"


RETRIED = {
    "never connected": UNSENT,
    "too fast": BUSY,
    "busy, in its own words": failure(503, message="The server is currently overloaded"),
    "slow down": failure(503, code="slow_down"),
}

FINAL_FAILURES = {
    "unknown": (gptimage.OutcomeUnknownError("lost"), gptimage.OutcomeUnknownError),
    "gateway timeout": (failure(504), gptimage.OutcomeUnknownError),
    "a gateway's timeout": (failure(408), gptimage.OutcomeUnknownError),
    "hung up": (HttpReply(status=499), gptimage.OutcomeUnknownError),
    "busy, empty": (HttpReply(status=503), gptimage.OutcomeUnknownError),
    "bad gateway, a page": (
        HttpReply(status=502, headers={"retry-after": "0"}, body=b"<html>"),
        gptimage.OutcomeUnknownError,
    ),
    "failed, and no word": (HttpReply(status=500), gptimage.OutcomeUnknownError),
    "elsewhere": (
        HttpReply(status=307, headers={"location": "https://a.invalid/"}),
        gptimage.OutcomeUnknownError,
    ),
    "moved": (HttpReply(status=301, headers={"location": "https://a.invalid/"}), gptimage.ApiError),
    "bad request": (failure(400), gptimage.BadRequestError),
    "no key": (failure(401), gptimage.AuthenticationError),
    "no quota": (failure(429, code="insufficient_quota"), gptimage.QuotaExceededError),
    "failed": (
        failure(500, type="image_generation_server_error", code="image_generation_failed"),
        gptimage.ServerError,
    ),
    "worked, then failed": (
        failure(503, type="image_generation_server_error"),
        gptimage.ServerError,
    ),
    "moderation": (failure(400, code="moderation_blocked"), gptimage.ModerationError),
    "a login page": (
        HttpReply(status=200, headers={"content-type": "text/html"}, body=b"<html>"),
        gptimage.MalformedReplyError,
    ),
    "no data": (HttpReply(status=200, body=b'{"data":null}'), gptimage.MalformedReplyError),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", RETRIED)
def test_what_cannot_have_been_billed_is_sent_again(
    harness: Harness, name: str, stream: bool
) -> None:
    """Nothing reached the model, so a second try cannot pay twice."""
    client, service = harness.fake(
        RETRIED[name], RETRIED[name], OK, retry=gptimage.Retry(first_delay=0)
    )
    if stream:
        list(client.stream("A fox"))
    else:
        client.generate("A fox")
    assert len(service.requests) == 3


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", FINAL_FAILURES)
def test_everything_else_is_sent_once(harness: Harness, name: str, stream: bool) -> None:
    """What may have been billed, or cannot get better, is the caller's decision."""
    outcome, expected = FINAL_FAILURES[name]
    client, service = harness.fake(outcome, OK)
    with pytest.raises(expected):
        list(client.stream("A fox")) if stream else client.generate("A fox")
    assert len(service.requests) == 1


def test_tries_are_bounded(harness: Harness) -> None:
    """After the last try the error of that try is raised."""
    client, service = harness.fake(BUSY, retry=gptimage.Retry(attempts=3, first_delay=0.001))
    with pytest.raises(gptimage.RateLimitError):
        client.generate("A fox")
    assert len(service.requests) == 3


def test_a_long_wait_is_left_to_the_caller(harness: Harness) -> None:
    """A service that asks for minutes is not waited for in silence."""
    client, service = harness.fake(
        failure(429, {"retry-after": "300"}, code="rate_limit_exceeded"), OK
    )
    with pytest.raises(gptimage.RateLimitError) as caught:
        client.generate("A fox")
    assert caught.value.retry_after == 300
    assert len(service.requests) == 1


def test_an_unknown_outcome_says_what_it_may_have_cost(harness: Harness) -> None:
    """The possible cost is that of the dearest quality when none was named."""
    client, _ = harness.fake(gptimage.OutcomeUnknownError("the line went dead"))
    with pytest.raises(gptimage.OutcomeUnknownError, match=r"\$0\.2107") as caught:
        client.generate("A fox", size="1024x1024")
    assert caught.value.possible_cost == Decimal("0.210745")


def test_a_lost_picture_does_not_lose_the_others(harness: Harness) -> None:
    """Broken base64 in one of three is a warning; the other two are there."""
    reply = answer(BYTES, BYTES, BYTES)
    body = json.loads(bytes(reply.body))
    body["data"][1]["b64_json"] = "%%%"
    client, _ = harness.fake(HttpReply(status=200, body=json.dumps(body).encode()))
    result = client.generate("A fox", n=3)
    assert [image.data for image in result.images] == [BYTES, BYTES]
    assert any("image 2" in sentence for sentence in result.warnings)
    assert any("3 images were requested, 2 arrived" in each for each in result.warnings)


def test_streaming_tells_previews_from_the_result(harness: Harness) -> None:
    """Previews are PartialImage values, the end is one Completed with a whole result."""
    events = [
        event(PARTIAL, picture(color="gray"), partial_image_index=0),
        event(PARTIAL, picture(color="silver"), partial_image_index=1),
        event(FINAL, BYTES, created_at=1_700_000_000, usage=USED),
    ]
    client, service = harness.fake(events)
    first, second, last = client.stream("A fox", partial_images=2)
    assert isinstance(first, gptimage.PartialImage)
    assert (first.index, second.index) == (0, 1)
    assert isinstance(last, gptimage.Completed)
    assert last.image.data == BYTES
    assert last.result.usage.total_tokens == 9
    assert service.requests[0].body["stream"] is True
    assert service.closed == 1


@pytest.mark.parametrize(
    "ending",
    [
        [],
        [gptimage.OutcomeUnknownError("connection reset")],
        [gptimage.transport.http.ServerEvent(data=b'{"type":"image_generation.comp')],
    ],
)
def test_a_stream_cut_short_carries_its_previews(harness: Harness, ending: list[Any]) -> None:
    """However a stream ends early, the error has the previews and the possible cost."""
    events = [event(PARTIAL, BYTES, partial_image_index=0), *ending]
    client, service = harness.fake(events)
    found: list[object] = []
    with pytest.raises(gptimage.OutcomeUnknownError) as caught:
        found.extend(client.stream("A fox", partial_images=2, size="1024x1024"))
    assert [type(each) for each in found] == [gptimage.PartialImage]
    assert [each.image.data for each in caught.value.partials] == [BYTES]
    assert caught.value.possible_cost is not None
    assert service.closed == 1


def test_an_error_in_a_stream_carries_its_previews(harness: Harness) -> None:
    """A moderation stop after a preview is a ModerationError with that preview."""
    error = {
        "type": "error",
        "error": {"code": "moderation_blocked", "message": "no", "type": None, "param": None},
    }
    client, _ = harness.fake(
        [
            event(PARTIAL, BYTES, partial_image_index=0),
            gptimage.transport.http.ServerEvent(name="error", data=json.dumps(error).encode()),
        ]
    )
    with pytest.raises(gptimage.ModerationError) as caught:
        list(client.stream("A fox", partial_images=1))
    assert [each.image.data for each in caught.value.partials] == [BYTES]


def test_a_finished_picture_survives_a_broken_stream(harness: Harness) -> None:
    """What was finished before the line went dead is returned with a warning."""
    events = [event(FINAL, BYTES), gptimage.OutcomeUnknownError("reset")]
    client, _ = harness.fake(events)
    (last,) = client.stream("A fox", n=2)
    assert last.image.data == BYTES
    assert any("broke" in sentence for sentence in last.result.warnings)


def test_a_stream_left_early_is_closed(harness: Harness) -> None:
    """Walking away from the iteration releases the connection."""
    client, service = harness.fake([event(PARTIAL, BYTES), event(FINAL, BYTES)])
    stream = client.stream("A fox", partial_images=1)
    next(stream)
    stream.close()
    assert service.closed == 1


def test_a_plain_answer_to_a_stream_is_a_result(harness: Harness) -> None:
    """A server that cannot stream answers with JSON: that is the finished image."""
    client, _ = harness.fake(OK)
    (last,) = client.stream("A fox")
    assert last.image.data == BYTES


def test_variations_are_edits_and_say_so(harness: Harness) -> None:
    """The retired endpoint's job is done by an edit, with a note."""
    client, service = harness.fake(answer(BYTES, BYTES, BYTES))
    result = client.variations(picture(64, 64), n=3)
    assert service.requests[0].path == "/images/edits"
    assert len(result.images) == 3
    assert any("retired" in sentence for sentence in result.warnings)


def test_estimates_are_made_without_sending(harness: Harness) -> None:
    """An estimate is a number with its tokens, or None where none can be known."""
    client, service = harness.fake(OK)
    known = client.estimate("A red fox", size="1024x1024", quality="low")
    assert known.output_tokens == 196
    assert str(known) == "about $0.0059"
    assert client.estimate("A red fox") is None
    assert client.estimate("A red fox", model="gpt-image-9", size="1024x1024") is None
    edit = client.estimate("Night", images=picture(), size="1024x1024", quality="low")
    assert edit.input_tokens == 1024 + 2
    assert service.requests == []


def test_the_most_a_call_may_cost_is_known_before_sending(harness: Harness) -> None:
    """A maximum covers every quality the service may choose, and asking for it sends nothing."""
    client, service = harness.fake(OK)
    asked = {"size": "1024x1024", "quality": "low"}
    assert client.max_cost("A red fox", **asked) >= client.estimate("A red fox", **asked).usd
    assert client.estimate("A red fox", size="1024x1024") is None
    dearest = client.max_cost("A red fox", size="1024x1024", quality="max")
    assert client.max_cost("A red fox", size="1024x1024") == dearest
    assert client.max_cost("A red fox") == client.max_cost("A red fox", size=(2880, 2880)) > dearest
    assert client.max_cost("A red fox", format="svg") is None
    assert client.max_cost("Night", images=picture(), **asked) > client.max_cost("Night", **asked)
    with pytest.raises(gptimage.InvalidRequestError):
        client.max_cost("A red fox", n=11)
    assert service.requests == []


def test_a_retired_model_is_refused_from_its_last_day_on(harness: Harness) -> None:
    """Today's date decides: a warning before the shutdown, a refusal after it."""
    client, service = harness.fake(OK)
    result = client.generate("A fox", model="gpt-image-1.5")
    assert any("2026-12-01" in sentence for sentence in result.warnings)
    later, service = harness.fake(OK, clock=lambda: datetime(2026, 12, 2, tzinfo=UTC))
    with pytest.raises(gptimage.ModelRetiredError) as caught:
        later.generate("A fox", model="gpt-image-1.5")
    assert "gpt-image-2.6-flare" in caught.value.replacements
    assert "gpt-image-2.5-flare" in str(caught.value)
    assert service.requests == []


def test_an_unknown_model_passes_with_a_warning(harness: Harness) -> None:
    """The service is the authority on models we do not know."""
    client, service = harness.fake(OK)
    result = client.generate("A fox", model="gpt-image-9", quality="max", size="512x512")
    assert service.requests[0].body["size"] == "512x512"
    assert result.cost is None
    assert any("catalogue" in sentence for sentence in result.warnings)


def test_a_request_value_can_be_run_again(harness: Harness) -> None:
    """`run` sends exactly what the earlier call sent."""
    client, service = harness.fake(OK)
    first = client.edit("A fox", images=picture(64, 64), quality="low")
    client.run(first.request)
    assert service.requests[0] == service.requests[1]


def test_without_a_key_it_says_what_to_do(harness: Harness) -> None:
    """The error names the variable, the argument and the sandbox."""
    with pytest.raises(gptimage.ConfigurationError, match=r"OPENAI_API_KEY.*sandbox"):
        harness.client()


def test_the_key_stays_out_of_sight(harness: Harness) -> None:
    """Neither repr shows it."""
    client = harness.client(api_key="sk-secret-0123456789")
    assert "secret" not in repr(client)
    client.close()


def test_closing_twice_is_harmless(harness: Harness) -> None:
    """Leaving a ``with`` block after an explicit close must not fail."""
    client = harness.client(api_key="sk-x")
    client.close()
    client.close()


def test_the_twins_have_the_same_signatures() -> None:
    """Both clients have the same methods with the same parameters and types."""
    twins = (gptimage.ImageClient, gptimage.AsyncImageClient)
    names = [sorted(n for n in dir(kind) if not n.startswith("_")) for kind in twins]
    assert sorted("close" if name == "aclose" else name for name in names[1]) == names[0]
    for name in {*names[0], "__init__"} - {"close"}:
        one, two = (inspect.signature(getattr(kind, name)) for kind in twins)
        assert _plain(one) == _plain(two)


def _plain(signature: inspect.Signature) -> list[tuple[str, Any, set[str]]]:
    """Names, defaults and types, where an async type counts as its plain twin."""
    return [
        (p.name, p.default, set(str(p.annotation).replace("Async", "").split(" | ")))
        for p in signature.parameters.values()
    ]


def test_options_are_written_once() -> None:
    """Every parameter of the value is an option, and the other way round."""
    values = {each.name for each in gptimage.Edit.__attrs_attrs__}
    beside = {"prompt", "stream", "template", "images"}
    assert values - beside == set(typing.get_type_hints(gptimage.EditOptions))


def test_the_clock_is_the_callers(harness: Harness) -> None:
    """A reply that does not say when it was made gets the client's time."""
    body = json.loads(bytes(OK.body))
    del body["created"]
    client, _ = harness.fake(HttpReply(status=200, body=json.dumps(body).encode()))
    assert client.generate("A fox").created == TODAY


@pytest.mark.parametrize(
    "ignored", [{"api_key": "k"}, {"timeout": 5.0}, {"base_url": "http://127.0.0.1/v1"}]
)
def test_settings_of_a_connection_it_does_not_make_are_refused(
    harness: Harness, ignored: dict[str, Any]
) -> None:
    """An SDK client brings its own key, address and timeout: others would be ignored."""
    kind = "OpenAI" if harness.runner is None else "AsyncOpenAI"
    sdk = getattr(openai, kind)(api_key="k")
    with pytest.raises(gptimage.ConfigurationError, match=next(iter(ignored))):
        harness.client(openai=sdk, **ignored)
    harness.call(sdk.close)


@pytest.mark.parametrize("ignored", [{"api_key": "k"}, {"timeout": 5.0}])
def test_a_transport_takes_no_key_or_timeout(harness: Harness, ignored: dict[str, Any]) -> None:
    """A transport of one's own has no use for them, so they are refused by name."""
    with pytest.raises(gptimage.ConfigurationError, match=next(iter(ignored))):
        harness.fake(OK, **ignored)


class OpenLimiter:
    """A limiter that never holds anything back and knows whether it was closed."""

    closed = False

    def acquire(self, n_images: int, tokens: int | None) -> float:
        assert n_images == 1
        return 0.0 * (tokens or 0)

    def learn(self, reply: HttpReply) -> None:
        assert reply.status == 200

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("own", [True, False])
def test_limits_made_for_a_client_end_with_it(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    """A limiter the caller made is the caller's to close, one made from `Limits` the client's."""
    limiter = OpenLimiter()
    monkeypatch.setattr(gptimage.Limits, "limiter", lambda *_, **__: limiter)
    limits = limiter if own else gptimage.Limits(images_per_minute=5)
    client, _ = harness.fake(OK, limits=limits)
    client.generate("A fox")
    client.close()
    client.close()
    assert limiter.closed is not own
