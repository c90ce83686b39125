"""Jobs at random: workers die and sleep anywhere, the service fails anyhow, people decide."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Literal

import pytest
from attrs import field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from gptimage import InvalidRequestError, OutcomeUnknownError, Retry, TransportError
from gptimage.store import Store
from gptimage.transport.http import HttpReply
from gptimage.workers import JobResult, discard, retry
from tests.workers.helpers import JOB, Clock, Paper, Process, Service, Shared, answer, refusal


STEPS = 13
"""A healthy delivery takes twelve."""

ANSWERS: dict[str, HttpReply | Exception] = {
    "picture": answer(),
    "too fast": refusal(429),
    "busy": refusal(503, code="slow_down"),
    "fails": refusal(500),
    "refuses": refusal(400),
    "breaks off": OutcomeUnknownError("read timeout"),
    "not reached": TransportError("no route"),
}


@frozen
class Fate:
    """What happens during one delivery.

    Attributes:
        dies: At which step; one that is not reached leaves it alive.
        sleeps: At which step it sleeps until it counts as dead and another one had its turn.
        answers: What the service says, one word for each request; then it draws.
        tries: How often the client tries.
        meanwhile: The other one's fate.
    """

    dies: int
    sleeps: int | None = None
    answers: list[str] = field(factory=list)
    tries: int = 1
    meanwhile: Fate | None = None


steps = st.integers(0, STEPS)
words = st.lists(st.sampled_from(sorted(ANSWERS)), max_size=2)
awake = st.builds(Fate, steps, answers=words, tries=st.integers(1, 2))
asleep = st.builds(Fate, steps, steps, words, st.integers(1, 2), meanwhile=awake)
events = st.one_of(awake, asleep, st.sampled_from(["decide", "evict"]))


class World:
    """One job, and what happens to it."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.words: list[str] = []
        self.shared = Shared(
            service=Service(says=self.says),
            job_store=Paper(self.clock),
            folder=folder / "pictures",
        )
        self.processes: list[Process] = []
        self.permitted = 1
        self.settled: JobResult | None = None

    def says(self) -> HttpReply | Exception:
        """What the service says next."""
        return ANSWERS[self.words.pop(0) if self.words else "picture"]

    def happens(self, event: Fate | Literal["decide", "evict"]) -> None:
        """A delivery, a person's decision, or a cache that is full of other things."""
        if isinstance(event, Fate):
            self.deliver(event)
        elif event == "evict":
            assert self.shared.replies is not None
            self.shared.replies.clear()
        else:
            self.decide()
        assert self.shared.service.billed <= self.permitted

    def deliver(self, fate: Fate) -> JobResult | None:
        """Give the job to a worker, when everybody who had it counts as dead.

        A job that was done when that began stays so, with the same images.
        """
        self.clock.pass_(31)
        before = self.settled
        self.words += fate.answers
        plan: dict[int, Any] = {fate.dies: None}
        if fate.sleeps is not None and fate.meanwhile is not None:
            other = fate.meanwhile
            plan[fate.sleeps] = lambda: self.deliver(other)
        patience = Retry(attempts=fate.tries, first_delay=0.0)
        self.processes.append(Process(self.shared, plan, retry=patience))
        result = self.processes[-1].run()
        if before is not None and result is not None:
            assert result == before
        if result is not None and result.status == "done":
            self.settled = result
            with Store(self.shared.folder) as store:
                assert [store.get(id).id for id in result.images] == list(result.images)
        return result

    def decide(self) -> None:
        """A person lets it be asked again, if there is anything to decide."""
        try:
            retry(self.shared.job_store, JOB["id"])
        except InvalidRequestError:
            return
        self.permitted += 1

    def ends(self) -> None:
        """Once nothing goes wrong, it is settled, and a reply that was kept is not lost."""
        self.words.clear()
        kept = bool(self.shared.replies)
        left = any("writes sending" in each.steps for each in self.processes)
        result = self.deliver(Fate(dies=99))
        assert result is not None
        assert self.shared.service.billed <= self.permitted
        if result.status == "needs_review":
            assert (kept, left) == (False, True)
            assert result.possible_cost
            discard(self.shared.job_store, JOB["id"])
            given_up = self.deliver(Fate(dies=99))
            assert given_up is not None
            assert given_up.status == "discarded"
        else:
            assert result.status == "done" or (result.status == "failed" and not kept)


@settings(max_examples=150)
@given(st.lists(events, min_size=1, max_size=4))
def test_no_history_pays_twice(history: list[Any]) -> None:
    """One payment, and one more for each time a person said so, whatever else happens."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setitem(os.environ, "XDG_STATE_HOME", str(Path(folder) / "state"))
        world = World(Path(folder))
        for event in history:
            world.happens(event)
        world.ends()
