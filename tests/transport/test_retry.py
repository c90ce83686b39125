"""Retry as a pure function: only what cannot have been billed is sent again."""

from __future__ import annotations

import email.utils
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gptimage import Retry, TransportError
from gptimage.errors import ConfigurationError, OutcomeUnknownError
from gptimage.transport.billing import QUOTA_CODES, duration, verdict, wait_in
from gptimage.transport.http import HttpReply
from gptimage.transport.retry import is_outage, retry_after, waiting_time
from tests.factories import NOW


def answered(status: int, body: object = b"", **headers: str) -> HttpReply:
    """A reply with this status, body and headers."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpReply(status=status, headers=named, body=raw)


def delay(outcome: HttpReply | TransportError, attempt: int = 1, **settings: float) -> float | None:
    """What `Retry` decides, without jitter."""
    retry = Retry(**settings)  # type: ignore[arg-type]  # keywords of the test
    return retry.delay(attempt, outcome, jitter=0.0, now=NOW)


OVERLOADED = {"error": {"message": "The server is overloaded", "type": "server_error"}}


def test_no_status_alone_is_sent_again() -> None:
    """Of all statuses only 429 shows that nothing was drawn; a gateway's 502 and 503 do not."""
    statuses = [100, *range(200, 600)]

    assert [each for each in statuses if delay(answered(each)) is not None] == [429]


def test_a_service_may_say_that_sending_again_is_no_use() -> None:
    """OpenAI's header; its "true" does not make safe what may have been billed."""
    assert delay(answered(429, x_should_retry="false", retry_after="1")) is None
    assert delay(answered(429, x_should_retry="true", retry_after="1")) == 1
    assert delay(answered(500, x_should_retry="true")) is None


@pytest.mark.parametrize("status", [500, 502, 503, 520, 529])
@pytest.mark.parametrize(
    "body",
    [
        OVERLOADED,
        {"error": {"message": "The engine is currently overloaded, please try again later"}},
        {"error": {"message": "busy", "code": "slow_down"}},
        {"error": {"message": "busy", "code": "server_is_overloaded"}},
        {"error": {"message": "We are experiencing high demand", "code": "no_capacity"}},
        {"error": {"message": "x", "code": "rate_limit_exceeded"}},
        {"error": {"message": "Too Many Requests"}},
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}},
        {"error": "Model x is currently loading", "estimated_time": 20.0},
        {"detail": "server is busy"},
    ],
    ids=range(11),
)
def test_the_services_own_word_is_believed(status: int, body: object) -> None:
    """An error object that names overload or a rate limit says that nothing was done."""
    assert delay(answered(status, body)) == 0.5


@pytest.mark.parametrize("status", [502, 503, 520, 521, 522, 523, 525, 526, 530, 599])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><h1>503 Service Temporarily Unavailable</h1></html>",
        b"<html>overloaded</html>",
        b"upstream connect error or disconnect/reset before headers. reset reason: overflow",
        b"no healthy upstream",
        {"message": "Service Unavailable"},
        {"error": {"message": "Bad gateway", "type": "server_error"}},
        {"error": {"message": "litellm.InternalServerError: Connection error.", "code": "503"}},
    ],
    ids=range(8),
)
def test_a_gateways_word_is_not(status: int, body: object) -> None:
    """A gateway knows nothing of the work behind it: it may have been done and billed."""
    assert (delay(answered(status, body)), verdict(answered(status, body))) == (None, "unknown")


@pytest.mark.parametrize("status", [408, 460, 499, 504, 524, 598, 599])
@pytest.mark.parametrize("body", [b"", OVERLOADED, {"error": {"code": "Timeout"}}], ids=range(3))
def test_who_stopped_waiting_knows_nothing(status: int, body: object) -> None:
    """Whatever else is said, the work may have gone on after somebody stopped waiting."""
    assert verdict(answered(status, body)) == "unknown"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *[(status, "refused") for status in (301, 308, 400, 401, 402, 403, 404, 405, 407, 409)],
        *[(status, "refused") for status in (413, 415, 422, 425, 451, 501, 505, 511)],
        *[(status, "unknown") for status in (300, 302, 303, 304, 307, 500, 507, 508, 529)],
        *[(status, "answered") for status in (200, 201, 206)],
        (429, "free"),
    ],
)
def test_every_status_has_a_verdict(status: int, expected: str) -> None:
    """The table of docs/money.md."""
    assert verdict(answered(status)) == expected


@pytest.mark.parametrize(
    ("unknown", "sent_again"), [(0, [False, False]), (1, [True, False]), (2, [True, True])]
)
@pytest.mark.parametrize(
    "outcome", [answered(504), answered(503), answered(500), OutcomeUnknownError("cut")], ids=repr
)
def test_who_would_rather_pay_twice_says_so(
    outcome: HttpReply | OutcomeUnknownError, unknown: int, sent_again: list[bool]
) -> None:
    """Without a number of its own, nothing of unknown outcome is ever sent again."""
    retry = Retry(unknown=unknown)
    waits = [
        retry.delay(earlier + 1, outcome, jitter=0.0, now=NOW, unknown=earlier)
        for earlier in (0, 1)
    ]

    assert [wait is not None for wait in waits] == sent_again


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"unknown": -1}, "0 or more"),
        ({"unknown": True}, "0 or more"),
        ({"unknown": 1.5}, "0 or more"),
        ({"unknown": "2"}, "0 or more"),
        ({"unknown": 4}, "attempts=5"),
        ({"unknown": 1, "attempts": 1}, "attempts=2"),
        ({"unknown": 4, "attempts": 4}, "attempts=5"),
        ({"attempts": 0}, "attempts"),
        ({"first_delay": -0.1}, "first_delay"),
        ({"max_delay": -0.1}, "max_delay"),
    ],
)
def test_a_number_without_effect_is_refused(settings: dict[str, Any], told: str) -> None:
    """More unknown tries than tries in all would never be made; no wait is shorter than none."""
    with pytest.raises(ConfigurationError, match=told):
        Retry(**settings)


@pytest.mark.parametrize(
    "outcome",
    [answered(status) for status in (408, 425, 429, 460, 499, 500, 502, 503, 504, 520, 524, 599)]
    + [OutcomeUnknownError("cut"), TransportError("refused")],
    ids=repr,
)
def test_what_costs_nothing_is_asked_for_again(outcome: Any) -> None:
    """A look at a batch is not billed, so a lost answer to it is harmless."""
    wait = Retry().delay(1, outcome, jitter=0.0, now=NOW, costs_nothing=True)

    assert wait == 0.5


@pytest.mark.parametrize(
    "outcome",
    [answered(status) for status in (302, 400, 401, 404, 409, 426, 461, 498, 501, 505, 511)]
    + [answered(429, {"error": {"code": QUOTA_CODES[0]}}), TransportError("x", retryable=False)],
    ids=repr,
)
def test_what_costs_nothing_is_not_asked_for_in_vain(outcome: Any) -> None:
    """A refusal stays one, and so does an empty account."""
    wait = Retry().delay(1, outcome, jitter=0.0, now=NOW, costs_nothing=True)

    assert wait is None


def test_the_numbers_that_are_documented() -> None:
    """Four tries, half a second at first, a minute at most, and nothing that may be billed."""
    assert Retry(attempts=4, first_delay=0.5, max_delay=60.0, unknown=0) == Retry()
    assert Retry(first_delay=0, max_delay=0).delay(1, TransportError("x"), jitter=1, now=NOW) == 0
    assert Retry().delay(1, TransportError("x"), jitter=1.0, now=NOW) == 0.375
    assert Retry(unknown=1).delay(1, OutcomeUnknownError("cut"), jitter=0, now=NOW) == 0.5


def test_a_connection_never_made_is_sent_again() -> None:
    """Nothing reached the service; a wrong address stays wrong."""
    assert delay(TransportError("refused")) == 0.5
    assert delay(TransportError("bad address", retryable=False)) is None


@pytest.mark.parametrize("code", QUOTA_CODES)
@pytest.mark.parametrize(
    "shape",
    [
        '{"error":{"code":"%s","type":"x","message":"m"}}',
        '{"error":{"code":null,"type":"%s","message":"m"}}',
        '{"error":{"code":"429","type":"%s","message":"m"}}',
        '{"error":"%s"}',
        '[{"error":{"code":"%s"}}]',
        '{"detail":"Error code: 429 - %s"}',
        "%s",
    ],
)
def test_no_credit_is_never_sent_again(code: str, shape: str) -> None:
    """Waiting brings no credit, wherever a proxy has put the code."""
    assert delay(answered(429, (shape % code).encode(), retry_after="1")) is None


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": "rate_limit_exceeded", "message": "Rate limit reached"}},
        {"error": {"code": None, "type": "input-images", "message": "5 per min"}},
        {"error": "slow down"},
        {"detail": "slow down"},
        [],
        b"",
        b"<html>Too many requests</html>",
        b"\xff\xfe",
        b"[" * 100_000,
    ],
    ids=range(9),
)
def test_going_too_fast_is_sent_again(body: object) -> None:
    """A 429 for speed passes by itself, whatever its body looks like."""
    assert delay(answered(429, body)) == 0.5


@pytest.mark.parametrize("status", [502, 503])
@pytest.mark.parametrize(
    "body",
    [
        {"error": {"type": "image_generation_server_error", "code": "image_generation_failed"}},
        {"error": {"type": "image_generation_user_error"}},
        {"data": []},
        {"usage": {"total_tokens": 1}},
        {"created": 1, "data": [{"b64_json": "AAAA"}]},
        {"error": "x", "data": None},
    ],
    ids=range(6),
)
def test_signs_of_work_forbid_it(status: int, body: object) -> None:
    """A gateway error whose body shows the model had started may be billed."""
    assert delay(answered(status, body)) is None


@pytest.mark.parametrize(
    "message",
    [
        "Rate limit reached: Limit 0, Used 0, Requested 1. Please try again in 12s.",
        "Quota exceeded for metric: x, limit: 0, model: y",
        "You exceeded your current quota, please check your plan and billing details.",
        "litellm.RateLimitError: OpenAIException - You exceeded your current quota, please check",
        "Your credit balance is too low to access the API",
        "ExceededBudget: Budget has been exceeded! Current cost: 5, Max budget: 5",
    ],
)
def test_no_waiting_mends_it(message: str) -> None:
    """A limit of 0 and an empty account stay; gateways keep the sentence and lose the code."""
    body = {"error": {"message": message, "type": "throttling_error", "code": "429"}}

    assert delay(answered(429, body)) is None


def test_a_limit_of_nothing_in_a_header() -> None:
    """The limit stands in the headers where the body says little."""
    assert delay(answered(429, b"", x_ratelimit_limit_requests="0")) is None
    assert delay(answered(429, b"", x_ratelimit_limit_requests="10")) == 0.5


def test_geminis_quota_is_a_pace() -> None:
    """It says "quota" for a limit per minute, too, and then names a time."""
    message = "You exceeded your current quota, please check your plan. Please retry in 37.5s."

    assert delay(answered(429, {"error": {"message": message}})) == 37.5


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Please try again in 20s.", 20),
        ("Please try again in 1m3s. Visit", 63),
        ("Please try again in 350ms", 0.35),
        ("Please try again in 6m0s", 360),
        ("Please try again in 1h2m3.5s", 3723.5),
        ("try again after 51.84 seconds", 51.84),
        ("Please retry after 26 seconds.", 26),
        ("Please retry your requests after 5 seconds", 5),
        ("Please wait 1 minute and 30 seconds", 90),
        ("Please retry in 43.508s.", 43.508),
        ("retry in 2 hours", 7200),
        ("Please try again in 1 day", 86_400),
        ("Please try again in 6d12h", 561_600),
        ("Try again in 10 min", 600),
        ("The limit resets in 12s", 12),
        ("Retry-After: 5s", 5),
        ('{"retryDelay": "43s"}', 43),
        ('{"retry_after": 20}', 20),
        ('{"retry_after_ms": 1500}', 1.5),
        ("try again in 20s, or retry after 40 seconds", 40),
        ("Please try again later", None),
        ("try again in 5 meters", None),
        ("Limit 5, Used 5, Requested 1", None),
        ("", None),
    ],
)
def test_the_text_names_the_time(text: str, seconds: float | None) -> None:
    """Services without a header say it in a sentence."""
    assert wait_in(text) == (None if seconds is None else pytest.approx(seconds))


def test_the_longer_time_holds() -> None:
    """Whoever comes back too early waits again; more than the longest wait is left alone."""
    body = {"error": {"message": "Please try again in 20s"}}

    assert delay(answered(429, body)) == 20
    assert delay(answered(429, body, retry_after="1")) == 20
    assert delay(answered(429, body, retry_after="30")) == 30
    assert delay(answered(429, {"error": {"message": "Please try again in 2m"}})) is None


def test_only_errors_name_a_time_and_no_time_is_endless() -> None:
    """The text of a response that is no error is the model's; a month is the longest wait."""
    told = {"error": {"message": "Please try again in 5s"}}
    waits = [waiting_time(answered(status, told), NOW) for status in (200, 399, 400)]
    forever = {"error": {"message": "Please try again in 9999 hours"}}

    assert waits == [None, None, 5]
    assert waiting_time(answered(429, forever), NOW) == 30 * 86_400
    assert retry_after({"retry-after": "1e300"}, NOW) == 30 * 86_400


@pytest.mark.parametrize(
    ("outcome", "down"),
    [
        (answered(429), False),
        (answered(503), True),
        (answered(400), False),
        (answered(200), False),
        (TransportError("refused"), True),
        (OutcomeUnknownError("cut"), True),
    ],
    ids=repr,
)
def test_an_outage_is_no_pace(outcome: Any, down: bool) -> None:
    """A 429 asks for a slower pace, and a refusal shows a service that works."""
    assert is_outage(outcome) is down


@given(st.text(max_size=300))
@example("try again in " + "1s" * 9000)
@example("wait " * 4000)
@example("try again in " + "9" * 5000 + "s")
def test_any_text_is_read(text: str) -> None:
    """Text made of garbage gives a bounded wait or none."""
    for seconds in (wait_in(text), duration(text)):
        assert seconds is None or 0 <= seconds < float("inf")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0.5),
        ({"retry_after": "12"}, 12.0),
        ({"retry_after": "1.5"}, 1.5),
        ({"retry_after": " 3 "}, 3.0),
        ({"retry_after": "0"}, 0.5),
        ({"retry_after": "-5"}, 0.5),
        ({"retry_after_ms": "250"}, 0.25),
        ({"retry_after_ms": "250", "retry_after": "12"}, 0.25),
        ({"retry_after_ms": "soon", "retry_after": "12"}, 12.0),
        ({"retry_after": "60"}, 60.0),
        ({"retry_after": "61"}, None),
        ({"retry_after": "1e300"}, None),
        ({"retry_after": "inf"}, 0.5),
        ({"retry_after": "nan"}, 0.5),
        ({"retry_after": "soon"}, 0.5),
        ({"retry_after": ""}, 0.5),
        ({"retry_after": "Fri, 20 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry_after": "Fri, 20 Nov 2026 11:00:00 GMT"}, 0.5),
        ({"retry_after": "Fri, 20 Nov 2026 13:00:30 +0100"}, 30.0),
        ({"retry_after": "Sat, 21 Nov 2026 12:00:00 GMT"}, None),
        ({"retry_after": "Fri, 20 Nov 2026 12:00:30 -0000"}, 0.5),
        ({"retry_after": "Fri, 99 Nov 99999 12:00:30 GMT"}, 0.5),
    ],
    ids=str,
)
def test_the_service_names_the_time(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, milliseconds and dates are honoured up to the longest wait; nonsense is not."""
    assert seconds == delay(answered(429, b"", **headers))


@given(st.text())
@example("Mon, 01 Jan 2026 00:00:00 +99999999999999")
@example("9" * 5000)
def test_any_header_is_read_or_ignored(header: str) -> None:
    """Headers made of garbage never crash, and never give a negative or endless wait."""
    for name in ("retry-after", "retry-after-ms"):
        seconds = retry_after({name: header}, NOW)
        assert seconds is None or 0 <= seconds <= 30 * 86_400


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)))
def test_dates_are_seconds_from_now(moment: datetime) -> None:
    """A date in the future is waited for, one in the past not at all."""
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    header = email.utils.format_datetime(moment, usegmt=True)

    seconds = min(max(0.0, (moment - NOW).total_seconds()), 30 * 86_400)
    assert seconds == retry_after({"retry-after": header}, NOW)


def test_waits_double_up_to_the_longest() -> None:
    """Without advice from the service the wait doubles."""
    waits = [delay(TransportError("x"), attempt, attempts=99) for attempt in range(1, 10)]

    assert waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize("attempts", [1, 2, 4])
def test_attempts_are_counted(attempts: int) -> None:
    """The first try counts; after the last one there is no other."""
    tries = 1
    while delay(answered(503, OVERLOADED), tries, attempts=attempts) is not None:
        tries += 1

    assert attempts == tries


@given(st.integers(1, 10**6), st.floats(0, 1), st.floats(0, 1e6), st.floats(0, 1e6))
def test_every_wait_is_within_bounds(
    attempt: int, jitter: float, first: float, longest: float
) -> None:
    """Jitter takes off up to a quarter and never adds, however many tries there were."""
    retry = Retry(attempts=10**7, first_delay=first, max_delay=longest)
    wait = retry.delay(attempt, TransportError("x"), jitter=jitter, now=NOW)

    assert wait is not None
    assert min(longest, first) * 0.75 <= wait <= longest


@given(st.integers(100, 599), st.binary(max_size=200), st.dictionaries(st.text(), st.text()))
def test_any_reply_is_judged(status: int, body: bytes, headers: dict[str, str]) -> None:
    """Whatever came back, the answer is a bounded wait or none."""
    reply = HttpReply(status=status, headers=headers, body=body)
    wait = Retry().delay(1, reply, jitter=0.5, now=NOW + timedelta(days=1))

    assert wait is None or (0 <= wait <= 60 and (status == 429 or status >= 500))
