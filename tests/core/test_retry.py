"""Retry as a pure function: only what cannot have been billed is sent again."""

from __future__ import annotations

import email.utils
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gptimage import Retry, TransportError
from gptimage._http import HttpReply
from gptimage.retry import QUOTA_CODES, retry_after

from .making import NOW


def answered(status: int, body: object = b"", **headers: str) -> HttpReply:
    """A reply with this status, body and headers."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpReply(status=status, headers=named, body=raw)


def delay(outcome: HttpReply | TransportError, attempt: int = 1, **settings: float) -> float | None:
    """What `Retry` decides, without jitter."""
    retry = Retry(**settings)  # type: ignore[arg-type]  # keywords of the test
    return retry.delay(attempt, outcome, jitter=0.0, now=NOW)


@pytest.mark.parametrize("status", [100, *range(200, 600)])
def test_only_busy_is_sent_again(status: int) -> None:
    """Of all statuses only 429, 502 and 503 show that nothing was drawn."""
    assert (status in (429, 502, 503)) == (delay(answered(status)) is not None)


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


@pytest.mark.parametrize("status", [502, 503])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Bad gateway</html>",
        {"error": {"message": "overloaded", "type": "server_error"}},
    ],
    ids=range(3),
)
def test_a_gateway_without_signs_of_work_is_tried_again(status: int, body: object) -> None:
    """An empty or general error says that the model was never reached."""
    assert delay(answered(status, body)) == 0.5


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0.5),
        ({"retry_after": "12"}, 12.0),
        ({"retry_after": "1.5"}, 1.5),
        ({"retry_after": " 3 "}, 3.0),
        ({"retry_after": "0"}, 0.0),
        ({"retry_after": "-5"}, 0.0),
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
        ({"retry_after": "Fri, 20 Nov 2026 11:00:00 GMT"}, 0.0),
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
        assert seconds is None or 0 <= seconds < float("inf")


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)))
def test_dates_are_seconds_from_now(moment: datetime) -> None:
    """A date in the future is waited for, one in the past not at all."""
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    header = email.utils.format_datetime(moment, usegmt=True)

    assert max(0.0, (moment - NOW).total_seconds()) == retry_after({"retry-after": header}, NOW)


def test_waits_double_up_to_the_longest() -> None:
    """Without advice from the service the wait doubles."""
    waits = [delay(TransportError("x"), attempt, attempts=99) for attempt in range(1, 10)]

    assert waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize("attempts", [1, 2, 4])
def test_attempts_are_counted(attempts: int) -> None:
    """The first try counts; after the last one there is no other."""
    tries = 1
    while delay(answered(503), tries, attempts=attempts) is not None:
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
    """Whatever came back, the answer is a wait or none; only the three statuses give a wait."""
    reply = HttpReply(status=status, headers=headers, body=body)
    wait = Retry().delay(1, reply, jitter=0.5, now=NOW + timedelta(days=1))

    assert wait is None or (0 <= wait <= 60 and status in (429, 502, 503))
