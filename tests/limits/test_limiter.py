"""Limits: never faster than allowed, and no slower than needed."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage import ConfigurationError, InvalidRequestError, Models
from gptimage.limits import Limiter, Limits, WindowLimiter, limiter_of, tokens_of
from gptimage.limits.headers import age, refusal, reported_limits
from gptimage.limits.window import SPAN, Window
from gptimage.models.pricing import Estimate
from gptimage.transport.billing import duration
from gptimage.transport.http import HttpReply
from tests.bulk.helpers import Clock, Strict, refused, simulate


def limiter(clock: Clock, **limits: int) -> WindowLimiter:
    """A limiter in made-up time."""
    return WindowLimiter(Limits(**limits), clock=clock)


@given(st.lists(st.tuples(st.integers(1, 5), st.floats(0, 30)), max_size=60), st.integers(5, 20))
def test_no_minute_holds_more_than_the_limit(steps: list[tuple[int, float]], limit: int) -> None:
    """Whatever is asked and when, no 60 seconds ever see more than the limit."""
    window, now = Window(limit), 0.0
    sent: list[tuple[float, int]] = []
    for weight, pause in steps:
        now += pause
        now += window.wait(weight, now)
        assert window.wait(weight, now) < 1e-6  # sums of floats are not exact
        now += window.wait(weight, now) and 1e-6
        window.take(weight, now)
        sent.append((now, weight))

    for start, _ in sent:
        assert sum(weight for when, weight in sent if start <= when < start + 60) <= limit


@given(st.integers(1, 50), st.integers(1, 200))
def test_a_full_window_frees_itself_after_a_minute(limit: int, weight: int) -> None:
    """What waits for everything else to be forgotten waits one span, and no longer."""
    window = Window(limit)
    window.take(limit, 0.0)

    assert window.wait(weight, 0.0) == pytest.approx(SPAN)
    assert window.wait(weight, SPAN) == 0


def test_the_lower_limit_holds() -> None:
    """A learned limit lowers the user's own, never raises it, and is not believed for ever."""
    window = Window(10)

    window.learn(5, 0.0)
    assert window.limit(0.0) == 5
    window.learn(50, 1.0)
    assert window.limit(1.0) == 10
    window.learn(5, 2.0)
    assert window.limit(603.0) == 10


def test_what_others_use_counts_as_theirs() -> None:
    """What the service counted and we did not send makes us wait, and is freed bit by bit."""
    window = Window(50)
    window.take(10, 0.0)

    window.others(50, 60.0, 0.0, 0.0)
    assert window.used(0.0) == 50
    window.others(50, 60.0, 0.0, 0.0)
    assert window.used(0.0) == 50
    assert 0 < window.wait(2, 0.0) <= 4
    assert window.used(59.0) == 10 + 2
    assert window.used(SPAN) == 0


def test_a_late_reply_blames_nobody() -> None:
    """A count as old as the reply itself is compared with what we had sent by then."""
    window = Window(50)
    window.take(40, 0.0)

    window.others(40, 60.0, as_of=30.0, now=70.0)

    assert window.used(70.0) == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12s", 12.0),
        ("240ms", 0.24),
        ("58.891s", 58.891),
        ("7m12s", 432.0),
        ("1h2m3.5s", 3723.5),
        ("", None),
        ("soon", None),
        ("12", None),
        ("12s later", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    """Durations are read as the service writes them, or not at all."""
    assert duration(text) == seconds


def test_headers_tell_limits() -> None:
    """Limit, use and reset are read for each kind; odd headers tell nothing."""
    headers = {
        "x-ratelimit-limit-input-images": "5",
        "x-ratelimit-remaining-input-images": "2",
        "x-ratelimit-reset-input-images": "36s",
        "x-ratelimit-limit-requests": "-3",
        "x-ratelimit-limit-tokens": "800000",
    }

    found = {each.kind: (each.limit, each.used, each.reset) for each in reported_limits(headers)}

    assert found == {"images": (5, 3, 36.0), "tokens": (800000, None, None)}


def test_a_refusal_tells_its_limit() -> None:
    """The recorded body gives what is counted, how much of it, and when to come back."""
    found = refusal(refused(5, 12), 10.0)

    assert found is not None
    assert found.again == 12.0
    assert found.reported is not None
    assert (found.reported.kind, found.reported.limit, found.reported.used) == ("images", 5, 5)


def test_a_daily_limit_is_no_minute_limit() -> None:
    """A limit for a day holds everything back, but says nothing about a minute."""
    text = (
        b"Rate limit reached for gpt-image-2 in organization org-x on requests per day (RPD): "
        b"Limit 200, Used 200, Requested 1. Please try again in 7m12s."
    )
    found = refusal(HttpReply(status=429, body=text), None)

    assert found is not None
    assert found.again == 432.0
    assert found.reported is not None
    assert (found.reported.kind, found.reported.limit) == ("requests", None)


@pytest.mark.parametrize("code", ["insufficient_quota", "billing_hard_limit_reached"])
def test_no_credit_is_no_speed(code: str) -> None:
    """A 429 for want of credit holds nobody back: waiting is no use."""
    reply = HttpReply(status=429, body=f'{{"error": {{"code": "{code}"}}}}'.encode())

    assert refusal(reply, 5.0) is None


@given(
    st.binary(max_size=300),
    st.dictionaries(
        st.sampled_from(
            sorted(
                f"x-ratelimit-{part}-{kind}"
                for part in ("limit", "remaining", "reset")
                for kind in ("requests", "tokens", "input-images")
            )
        )
        | st.sampled_from(["retry-after", "openai-processing-ms"]),
        st.text(max_size=20),
    ),
)
def test_hostile_replies_break_nothing(body: bytes, headers: dict[str, str]) -> None:
    """No reply, however odd, makes the limiter fail or wait for more than ten minutes."""
    clock = Clock()
    one = limiter(clock)

    one.learn(HttpReply(status=429, headers=headers, body=body))
    one.learn(HttpReply(status=200, headers=headers, body=body))

    assert 0 <= one.acquire(1, 10) <= 600
    assert age(headers) >= 0


def test_a_thousand_requests_under_fifty_a_minute() -> None:
    """With the limit known, a strict service refuses nothing, and no time is wasted."""
    clock, service = Clock(), Strict(50)

    seconds = simulate(
        service, limiter(clock, images_per_minute=50), clock, requests=1000, callers=64, latency=10
    )

    assert service.served == 1000
    assert service.refusals == 0
    assert seconds < 20 * SPAN + 10


@pytest.mark.parametrize("headers", [False, True])
def test_an_unknown_limit_is_learned_once(headers: bool) -> None:
    """Without a setting, the first refusals teach the limit, and there is no storm."""
    clock, service = Clock(), Strict(50, headers=headers)

    simulate(service, limiter(clock), clock, requests=1000, callers=64, latency=10)

    assert service.served == 1000
    assert service.refusals <= 2 * (64 - 50)


def test_a_service_of_few_words_is_guessed() -> None:
    """A gateway that names no limit is asked no faster than it has just answered."""
    clock, service = Clock(), Strict(50, words=False)

    simulate(service, limiter(clock), clock, requests=1000, callers=64, latency=10)

    assert service.served == 1000
    assert service.refusals <= 2 * (64 - 50)


def test_without_a_limiter_there_is_a_storm() -> None:
    """The simulated service does refuse: what the other tests show is the limiter's work."""

    class Free:
        def acquire(self, n_images: int, tokens: int | None) -> float:
            del n_images, tokens
            return 0.0

        def learn(self, reply: HttpReply) -> None:
            del reply

        def close(self) -> None:
            pass

    service = Strict(50, forgiving=True)

    simulate(service, Free(), Clock(), requests=300, callers=64, latency=1)

    assert service.refusals > 50


def test_a_refusal_holds_everybody() -> None:
    """After a 429 nobody asks before the time the service named."""
    clock = Clock()
    one = limiter(clock)

    one.learn(refused(5, 12))

    assert 12 <= one.acquire(1, None) < 13
    clock.now += 13
    assert one.acquire(1, None) == 0


def test_a_long_ban_is_tried_again() -> None:
    """A ban of hours holds calls for ten minutes at most; then the service may say so itself."""
    clock = Clock()
    one = limiter(clock)

    one.learn(refused(5, 7200))

    assert one.acquire(1, None) == pytest.approx(600)


@pytest.mark.parametrize(
    ("n_images", "tokens"), [(4, 100), (1, 950), (1, 100)], ids=["images", "tokens", "requests"]
)
def test_every_kind_counts(n_images: int, tokens: int) -> None:
    """Images, requests and tokens each have their own limit, and the tightest one decides."""
    clock = Clock()
    one = limiter(clock, images_per_minute=10, requests_per_minute=3, tokens_per_minute=1000)

    assert one.acquire(6, 100) == 0
    assert one.acquire(1, 0) == 0
    if tokens == 100 and n_images == 1:
        assert one.acquire(1, None) == 0
    assert one.acquire(n_images, tokens) == pytest.approx(SPAN)


def test_what_never_fits_is_refused() -> None:
    """A call larger than the user's own limit is refused by name, not held back for ever."""
    one = limiter(Clock(), images_per_minute=5)

    with pytest.raises(InvalidRequestError, match="images_per_minute=5") as caught:
        one.acquire(6, None)

    assert caught.value.field == "n"


@pytest.mark.parametrize(
    "settings",
    [{"images_per_minute": 0}, {"requests_per_minute": -1}, {"shared": "limits.sqlite"}],
)
def test_nonsense_is_refused(settings: dict[str, object]) -> None:
    """A limit below one, and sharing without a number, are refused when they are written."""
    with pytest.raises(ConfigurationError):
        Limits(**settings)  # type: ignore[arg-type]  # that is the point


def test_settings_become_limiters() -> None:
    """A client takes limits, a limiter of its own making or yours, or nothing."""
    mine = Limits(images_per_minute=5).limiter()

    assert isinstance(limiter_of(Limits()), Limiter)
    assert limiter_of(mine) is mine
    assert limiter_of(None) is None
    with pytest.raises(ConfigurationError):
        limiter_of(50)  # type: ignore[arg-type]  # that is the point


def test_tokens_come_from_the_estimate() -> None:
    """What cannot be estimated counts as unknown."""
    row = next(iter(Models.load())).prices[0]
    known = Estimate(usd=Decimal(1), input_tokens=10, output_tokens=196, price=row)

    assert tokens_of(known) == 206
    assert tokens_of(None) is None
