"""A service that counts strictly, and a simulation of many callers in made-up time."""

from __future__ import annotations

import heapq
import json
from collections import deque

from attrs import define, field

from gptimage.limits import Limiter
from gptimage.transport.http import HttpReply


def refused(
    limit: int, seconds: float, *, kind: str = "input-images", words: bool = True
) -> HttpReply:
    """A 429 as the service was recorded; without words, as a plain gateway sends it."""
    message = (
        f"Rate limit reached for gpt-image-2 (for limit gpt-image) in organization org-x on {kind} "
        f"per min: Limit {limit}, Used {limit}, Requested 1. Please try again in {seconds:g}s."
    )
    error = {"message": message, "type": kind, "param": None, "code": "rate_limit_exceeded"}
    body = json.dumps({"error": error}).encode() if words else b"slow down"
    return HttpReply(status=429, headers={"retry-after": f"{seconds:g}"}, body=body)


@define
class Strict:
    """Counts images over the last 60 seconds and refuses what is too much.

    Refused requests count, too, as the service's documentation says, unless it is forgiving.
    """

    limit: int
    words: bool = True
    headers: bool = False
    forgiving: bool = False
    seen: deque[float] = field(factory=deque)
    served: int = 0
    refusals: int = 0

    def answer(self, now: float) -> HttpReply:
        while self.seen and self.seen[0] <= now - 60:
            self.seen.popleft()
        self.seen.append(now)
        if len(self.seen) > self.limit:
            self.refusals += 1
            if self.forgiving:
                self.seen.pop()
            seconds = max(1.0, round(self.seen[0] + 60 - now, 3))
            return refused(self.limit, seconds, words=self.words)
        self.served += 1
        found = {}
        if self.headers:
            found = {
                "x-ratelimit-limit-input-images": f"{self.limit}",
                "x-ratelimit-remaining-input-images": f"{self.limit - len(self.seen)}",
                "x-ratelimit-reset-input-images": "60s",
            }
        return HttpReply(status=200, headers=found)


@define
class Clock:
    """Time that passes when a test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def simulate(
    service: Strict, limiter: Limiter, clock: Clock, *, requests: int, callers: int, latency: float
) -> float:
    """Let callers send requests as the client does, until all are served; gives the seconds.

    Each caller asks the limiter, waits as told, sends, tells the limiter what came, and sends
    again after a refusal, as long as it takes.
    """
    start = clock.now
    agenda = [(start + 0.001 * number, number) for number in range(callers)]
    heapq.heapify(agenda)
    left = requests
    busy: dict[int, float] = {}
    answers: dict[int, HttpReply] = {}
    while agenda:
        clock.now, caller = heapq.heappop(agenda)
        if caller in answers:
            reply = answers.pop(caller)
            limiter.learn(reply)
            if reply.status == 429:
                heapq.heappush(agenda, (clock.now + float(reply.headers["retry-after"]), caller))
                busy[caller] = clock.now
                continue
            busy.pop(caller, None)
        if caller not in busy:
            if left == 0:
                continue
            left -= 1
            busy[caller] = clock.now
        wait = limiter.acquire(1, None)
        if wait > 0:
            heapq.heappush(agenda, (clock.now + wait, caller))
            continue
        reply = answers[caller] = service.answer(clock.now)
        pause = latency if reply.status == 200 else 0.1
        heapq.heappush(agenda, (clock.now + pause, caller))
    return clock.now - start
