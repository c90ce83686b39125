"""The retry quota: a service that is down is not hammered by everybody who waits for it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import gptimage
from gptimage.limits.quota import RetryQuota
from gptimage.transport.http import HttpReply, HttpRequest


OVERLOADED = HttpReply(
    status=503, body=b'{"error": {"message": "overloaded", "type": "server_error"}}'
)
TOO_FAST = HttpReply(status=429, headers={"retry-after-ms": "1"})


class Down:
    """A transport whose service always fails in the same way."""

    def __init__(self, outcome: HttpReply | gptimage.TransportError) -> None:
        self.outcome = outcome
        self.sent = 0
        self.lock = threading.Lock()

    def send(self, request: HttpRequest) -> HttpReply:
        """Fail."""
        del request
        with self.lock:
            self.sent += 1
        if isinstance(self.outcome, HttpReply):
            return self.outcome
        raise gptimage.TransportError("refused")

    def stream(self, request: HttpRequest) -> Any:
        """Fail."""
        raise AssertionError(request)

    def close(self) -> None:
        """Nothing to close."""


def hammered(transport: Down, threads: int, calls: int) -> None:
    """Call from many threads at once; every call fails."""
    client = gptimage.ImageClient(transport=transport, retry=gptimage.Retry(first_delay=0.001))

    def work() -> None:
        for _ in range(calls):
            with pytest.raises(gptimage.GptImageError):
                client.generate("A fox", size="1024x1024", quality="low")

    several = [threading.Thread(target=work) for _ in range(threads)]
    for each in several:
        each.start()
    for each in several:
        each.join()
    client.close()


@pytest.mark.parametrize("outcome", [OVERLOADED, gptimage.TransportError("refused")], ids=repr)
@pytest.mark.parametrize("calls", [1, 3])
def test_two_hundred_threads_before_a_service_that_is_down(
    outcome: HttpReply | gptimage.TransportError, calls: int
) -> None:
    """At most 1.1 requests for each call."""
    transport = Down(outcome)
    hammered(transport, 200, calls)

    assert 200 * calls < transport.sent <= 1.1 * 200 * calls


def test_a_pace_is_no_outage() -> None:
    """A 429 takes nothing from the quota: the service is up and names its own pace."""
    transport = Down(TOO_FAST)
    hammered(transport, 10, 3)

    assert transport.sent == 10 * 3 * 4


def test_answers_give_back() -> None:
    """A retry that helped gives back what it took, another answer a fifth of it."""
    quota = RetryQuota()
    taken = 0
    while quota.take():
        taken += 1
    quota.answered(retried=True)
    assert (taken, quota.take(), quota.take()) == (20, True, False)
    for _ in range(5):
        quota.answered(retried=False)
    assert (quota.take(), quota.take()) == (True, False)


def test_it_never_holds_more_than_at_first() -> None:
    """A long good time does not store up retries for a bad one."""
    quota = RetryQuota()
    for _ in range(1000):
        quota.answered(retried=True)

    assert sum(quota.take() for _ in range(100)) == 20


def test_one_call_has_all_its_tries() -> None:
    """Whoever sets many attempts gets them."""
    quota = RetryQuota(attempts=50)

    assert sum(quota.take() for _ in range(100)) == 49


def test_each_service_has_its_own() -> None:
    """One that is down takes no retries from another."""
    quota = RetryQuota()
    taken = sum(quota.take("gemini") for _ in range(100))

    assert (taken, quota.take("gemini"), quota.take("openai")) == (20, False, True)
