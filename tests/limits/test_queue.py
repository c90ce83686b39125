"""Waiting for a limit is a line: nobody waits for ever, and no room is lost to those who left."""

from __future__ import annotations

import heapq
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage.limits import Limits, WindowLimiter
from gptimage.limits.window import SPAN
from tests.bulk.helpers import Clock, refused


def crowd(
    one: WindowLimiter, clock: Clock, callers: list[int], *, seconds: float, apart: float = 0.001
) -> tuple[dict[int, list[float]], list[tuple[float, int]]]:
    """Callers who come one after the other and ask again and again for so many images each.

    Returns:
        How long each caller waited for each of its turns, the last one unfinished, and what
        was sent when.
    """
    start = clock.now
    agenda = [(start + apart * number, number) for number in range(len(callers))]
    heapq.heapify(agenda)
    since = {number: when for when, number in agenda}
    waits: dict[int, list[float]] = defaultdict(list)
    sent: list[tuple[float, int]] = []
    while agenda[0][0] < start + seconds:
        clock.now, number = heapq.heappop(agenda)
        wait = one.acquire(callers[number], None)
        if wait > 0:
            heapq.heappush(agenda, (clock.now + wait, number))
            continue
        sent.append((clock.now, callers[number]))
        waits[number].append(clock.now - since[number])
        since[number] = clock.now + 1
        heapq.heappush(agenda, (since[number], number))
    for number, when in since.items():
        waits[number].append(max(0.0, start + seconds - when))
    return waits, sent


def test_many_small_requests_starve_no_large_one() -> None:
    """Among ten who ask for one image, the one who asks for five gets them."""
    clock = Clock()
    one = WindowLimiter(Limits(images_per_minute=5), clock=clock)

    waits, sent = crowd(one, clock, [*[1] * 10, 5], seconds=20 * SPAN, apart=11)

    assert max(waits[10]) < 4 * SPAN
    assert len(waits[10]) > 3
    assert sum(weight for _, weight in sent) > 15 * 5


def test_many_large_requests_starve_no_small_one() -> None:
    """The line is fair the other way round, too."""
    clock = Clock()
    one = WindowLimiter(Limits(images_per_minute=5), clock=clock)

    waits, _ = crowd(one, clock, [1, *[4] * 10], seconds=20 * SPAN)

    assert max(waits[0]) < 11 * SPAN
    assert len(waits[0]) > 1


def test_more_than_a_learned_limit_goes_out_when_nothing_counts() -> None:
    """Ten images at five a minute, as the service says: it decides, once the window is free."""
    clock = Clock()
    one = WindowLimiter(Limits(), clock=clock)
    one.learn(refused(5, 12))

    waits, sent = crowd(one, clock, [10, *[1] * 10], seconds=9 * SPAN)  # it is believed so long

    assert max(waits[0]) < 4 * SPAN
    large = [when for when, weight in sent if weight == 10]
    assert large
    for when in large:
        assert [each for each, _ in sent if when - 60 < each < when] == []


@given(
    st.integers(3, 20),
    st.lists(st.integers(1, 10), min_size=1, max_size=12),
)
def test_everybody_gets_a_turn(limit: int, weights: list[int]) -> None:
    """Whoever asks waits at most until all the others have had their turn, and a minute more."""
    clock = Clock()
    one = WindowLimiter(Limits(images_per_minute=limit), clock=clock)
    callers = [min(weight, limit) for weight in weights]
    rounds = len(callers) + 2

    waits, sent = crowd(one, clock, callers, seconds=3 * rounds * SPAN)

    assert max(wait for each in waits.values() for wait in each) < rounds * SPAN
    for start, _ in sent:
        assert sum(weight for when, weight in sent if start <= when < start + 60) <= limit


def test_a_place_is_not_kept_for_ever() -> None:
    """Somebody who gave up is waited for a few seconds after his time, and no longer."""
    clock = Clock()
    one = WindowLimiter(Limits(images_per_minute=5), clock=clock)
    one.acquire(1, None)
    gone = one.acquire(5, None)

    behind = one.acquire(1, None)
    clock.now += max(gone, behind) + 6

    assert gone == pytest.approx(SPAN)
    assert behind > 0
    assert one.acquire(1, None) == 0


def test_the_line_wastes_no_room() -> None:
    """Those who wait alike go as fast as the limit allows: not one turn a minute is lost."""
    clock = Clock()
    one = WindowLimiter(Limits(images_per_minute=50), clock=clock)

    _, sent = crowd(one, clock, [1] * 200, seconds=10 * SPAN)

    assert len(sent) == 10 * 50
