"""When the one who asks fails: whose error it is, and who may ask again."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from gptimage.cache import Cache
from gptimage.cache.base import FlightResult
from gptimage.cache.single_flight import single_flight
from gptimage.errors import (
    AuthenticationError,
    BudgetExceededError,
    GptImageError,
    ModerationError,
    OutcomeUnknownError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    TransportError,
)
from tests.cache.single_flight_helpers import (
    COST,
    KEY,
    Maker,
    Service,
    Together,
    body,
    errors,
    in_threads,
    threads,
    wait_until,
    waiting,
)


FINAL = [
    OutcomeUnknownError("no answer in time", possible_cost=Decimal("0.2"), request_id="req_7"),
    QuotaExceededError("no credit left", status=429, code="insufficient_quota"),
    ModerationError(
        "refused",
        status=400,
        body={"moderation_details": {"moderation_stage": "output", "categories": ["gore"]}},
    ),
    ServerError("the service failed", status=500),
]


@pytest.mark.parametrize("failure", FINAL, ids=lambda error: type(error).__name__)
def test_a_failure_that_may_have_cost_is_everybodys(
    together: Together, failure: GptImageError
) -> None:
    """Nobody asks again; each gets the same error, as an object of its own."""
    service = Service(failure)
    found = errors(together(5, Cache.memory(), service))

    assert service.asked == 1
    assert [type(each) for each in found] == [type(failure)] * 5
    assert {str(each) for each in found} == {str(failure)}
    assert [vars(each) for each in found] == [vars(failure)] * 5
    assert len({id(each) for each in found}) == 5


NEVER_BILLED = [
    TransportError("refused"),
    RateLimitError("too fast", status=429, retry_after=1.5),
    AuthenticationError("the key is wrong", status=401),
]


@pytest.mark.parametrize("failure", NEVER_BILLED, ids=lambda error: type(error).__name__)
def test_after_a_failure_that_cost_nothing_somebody_else_leads(
    together: Together, failure: GptImageError
) -> None:
    """One gets the error, one of the others asks again, and the rest share its reply."""
    service = Service(failure)
    found = together(5, Cache.memory(), service)

    assert service.asked == 2
    assert [type(each) for each in errors(found)] == [type(failure)]
    assert {body(each) for each in found if isinstance(each, FlightResult)} == {b"reply 2"}


def behind(leader: Cache, waiter: Cache, service: Service, together: Together) -> Any:
    """What those get who wait for a leader in another process."""
    service.go.clear()
    looked, lease = threading.Event(), waiter.lease

    def look(*arguments: Any) -> Any:
        found = lease(*arguments)
        looked.set()
        return found

    waiter.lease = look  # type: ignore[method-assign]  # tells when it has been called
    with ThreadPoolExecutor(2) as pool:
        job = pool.submit(single_flight, leader, KEY, service)
        service.begun.wait()
        others = pool.submit(together, 3, waiter, service)
        wait_until(lambda: waiting() == 2 or others.done())
        assert looked.wait(60)  # the third of them asks for the lease
        service.go.set()
        return job.exception(), others.result()


@pytest.mark.parametrize("failure", FINAL, ids=lambda error: type(error).__name__)
def test_a_failure_that_may_have_cost_reaches_other_processes(
    elsewhere: Maker, together: Together, failure: GptImageError
) -> None:
    """Those who wait elsewhere get the same error, whole, and nobody asks again."""
    service = Service(failure, delay=0)
    raised, found = behind(elsewhere(), elsewhere(), service, together)

    assert service.asked == 1
    assert raised is failure
    assert [type(each) for each in found] == [type(failure)] * 3
    assert {str(each) for each in found} == {str(failure)}
    assert [vars(each) for each in found] == [vars(failure)] * 3


@pytest.mark.parametrize("failure", NEVER_BILLED[:1], ids=lambda error: type(error).__name__)
def test_after_a_failure_that_cost_nothing_another_process_leads(
    elsewhere: Maker, together: Together, failure: GptImageError
) -> None:
    """One of those who wait elsewhere asks again, and the others share its reply."""
    service = Service(failure, delay=0)
    raised, found = behind(elsewhere(), elsewhere(), service, together)

    assert service.asked == 2
    assert raised is failure
    assert {body(each) for each in found} == {b"reply 2"}


def test_a_service_that_stays_away_is_not_asked_by_everybody(together: Together) -> None:
    """The second failure in a row is shared: a crowd does not queue up to fail one by one."""
    service = Service(*(TransportError("refused") for _ in range(50)))
    found = together(20, Cache.memory(), service)

    assert [type(each) for each in found] == [TransportError] * 20
    assert service.asked == 2


def test_somebody_elses_budget_is_not_mine(together: Together) -> None:
    """An error about the settings of the one who led concerns nobody else."""
    spent = BudgetExceededError("too dear", estimate=None, limit=COST, spent=COST)
    service = Service(spent, spent, spent)
    found = together(5, Cache.memory(), service)

    assert [type(each) for each in errors(found)] == [BudgetExceededError] * 3
    assert {body(each) for each in found if isinstance(each, FlightResult)} == {b"reply 4"}


def test_a_failure_is_soon_forgotten(cache: Cache) -> None:
    """A request that starts after a failure asks anew."""
    service = Service(OutcomeUnknownError("no answer"), delay=0)
    with pytest.raises(OutcomeUnknownError):
        single_flight(cache, KEY, service)

    assert body(single_flight(cache, KEY, service)) == b"reply 2"


def test_a_bug_reaches_others_as_an_unknown_outcome(together: Together) -> None:
    """Whatever is no error of ours is raised where it happened; the others learn the risk."""
    service = Service(ZeroDivisionError("a bug"))
    service.crowd = 4
    cache = Cache.memory()

    def work() -> FlightResult:
        try:
            return single_flight(cache, KEY, service)
        except ZeroDivisionError as error:
            raise ServerError("was a bug", status=599) from error

    found = in_threads(4, work) if together is threads else together(4, cache, service)

    assert service.asked == 1
    unknown = [each for each in errors(found) if isinstance(each, OutcomeUnknownError)]
    assert len(unknown) == 3
    assert "ZeroDivisionError" in str(unknown[0])
