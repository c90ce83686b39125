"""A job is paid for once, however often it is delivered and wherever its worker dies."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from gptimage import (
    BudgetExceededError,
    ConfigurationError,
    ImageClient,
    InvalidRequestError,
    OutcomeUnknownError,
    PartialImage,
    Retry,
    TransportError,
)
from gptimage.budget.budget import Budget
from gptimage.budget.ledger import Ledger
from gptimage.cache import Cache, CacheEntry
from gptimage.errors import CacheError
from gptimage.sandbox import Sandbox
from gptimage.store import Store
from gptimage.workers import (
    Job,
    JobRecord,
    JobResult,
    JobStoreError,
    Previews,
    SqliteJobStore,
    discard,
    retry,
    run_job,
    state_machine,
)
from gptimage.workers.job import JobOutput
from gptimage.workers.job_store import JobStore, change
from tests.workers.helpers import (
    JOB,
    LEASE,
    URL,
    Clock,
    Killed,
    Memory,
    Process,
    Service,
    Shared,
    answer,
    picture,
)
from tests.workers.helpers import refusal as refused


DEAD = 31.0
"""Seconds after which a worker counts as dead."""


def entry_of(shared: Shared) -> JobRecord:
    """What the job store knows of the job."""
    found = shared.job_store.read(JOB["id"])
    assert found is not None
    return found


def deliver(shared: Shared, **options: Any) -> JobResult:
    """Deliver the job to a healthy worker."""
    result = Process(shared, **options).run()
    assert result is not None
    return result


def killed(shared: Shared, clock: Clock, step: str) -> None:
    """Deliver the job to a worker that dies at this step, and let time pass."""
    healthy = ["writes claimed", "wrote claimed", "writes sending", "wrote sending", "leaves"]
    healthy += ["arrived", "caches", "cached", "saves", "saved", "writes done", "wrote done"]
    if shared.replies is None:
        healthy = [each for each in healthy if not each.startswith("cache")]
    process = Process(shared, {healthy.index(step): None})
    assert process.run() is None
    assert process.steps[-1] == step
    clock.pass_(DEAD)


def test_a_job_is_done(shared: Shared) -> None:
    """Its images are in the store under its tag and yours, with what they cost."""
    result = Process(shared).run({**JOB, "tags": ["hero"]})

    assert result is not None
    assert (result.status, result.attempt, result.possible_cost) == ("done", 1, 0)
    with Store(shared.folder) as store:
        (record,) = store.history(tag="job:order-17")
    assert result.images == (record.id,)
    assert record.tags == ("hero", "job:order-17")
    assert record.cost is not None
    assert result.cost == record.cost.usd


def test_delivered_again_it_gives_the_same(shared: Shared) -> None:
    """A second delivery changes nothing and sends nothing."""
    first, second = deliver(shared), deliver(shared)

    assert first == second
    assert len(shared.service.asked) == 1


def test_an_edit_starts_from_a_picture_of_the_store(shared: Shared) -> None:
    """A job names images by their ids, and a template's name reaches the record."""
    (source,) = deliver(shared).images
    spec = Job("edit", {"prompt": "Night", "images": [source], "template": "mine"}).to_dict()

    result = Process(shared).run(spec)

    assert result is not None
    assert result.status == "done"
    with Store(shared.folder) as store:
        record = store.get(result.images[0])
    assert (record.operation, record.template) == ("edit", "mine")


@pytest.mark.parametrize("step", ["writes claimed", "wrote claimed", "writes sending"])
def test_killed_before_its_request_left_it_is_begun_anew(
    shared: Shared, clock: Clock, step: str
) -> None:
    """Nothing can have been billed, so the next worker asks."""
    killed(shared, clock, step)

    assert deliver(shared).status == "done"
    assert len(shared.service.asked) == 1


@pytest.mark.parametrize("step", ["wrote sending", "leaves", "arrived"])
def test_killed_without_a_reply_it_needs_review(shared: Shared, clock: Clock, step: str) -> None:
    """Nobody knows whether it was billed: a person decides, and until then nothing is sent."""
    killed(shared, clock, step)
    asked = len(shared.service.asked)

    results = [deliver(shared), deliver(shared)]

    assert [each.status for each in results] == ["needs_review", "needs_review"]
    assert results[0] == results[1]
    assert results[0].possible_cost
    assert "up to $0.0059" in str(results[0].reason)
    assert [each.id for each in shared.job_store.records()] == ["order-17"]
    assert len(shared.service.asked) == asked


@pytest.mark.parametrize("step", ["cached", "saves"])
def test_a_reply_in_the_cache_is_taken(
    shared: Shared, clock: Clock, state: Path, step: str
) -> None:
    """On another machine there is no spool; the shared cache has the reply."""
    killed(shared, clock, step)
    for path in state.rglob("*.reply"):
        path.unlink()

    result = deliver(shared)

    assert (result.status, result.cost) == ("done", Decimal("0.005930"))
    assert len(shared.service.asked) == 1


def test_a_reply_in_the_spool_is_taken(shared: Shared, clock: Clock, state: Path) -> None:
    """Without a cache, the reply waits on the machine where it arrived, and is gone after that."""
    shared.replies = None
    killed(shared, clock, "saves")
    assert list(state.rglob("*.reply"))

    result = deliver(shared)

    assert (result.status, result.cost) == ("done", Decimal("0.005930"))
    assert len(shared.service.asked) == 1
    assert not list(state.rglob("*.reply"))


@pytest.mark.parametrize("cached", [True, False])
def test_a_reply_of_another_model_is_taken(
    shared: Shared, clock: Clock, state: Path, cached: bool
) -> None:
    """Killed before the images of a fallback are saved, its reply is found under its own key."""
    sandbox = Sandbox()
    sandbox.fail_next("rate_limit")
    cache = Cache.memory() if cached else None

    def work(store: Store) -> JobResult:
        client = ImageClient.sandbox(
            sandbox, store=store, cache=cache, retry=Retry(attempts=1), fallbacks=["gpt-image-2"]
        )
        return run_job(JOB, client=client, job_store=shared.job_store, lease=LEASE)

    class Dies(Store):
        def save(self, *arguments: Any, **options: Any) -> Any:
            del arguments, options
            raise Killed

    with pytest.raises(Killed):
        work(Dies(shared.folder))
    if cached:
        for path in state.rglob("*.reply"):
            path.unlink()
    clock.pass_(DEAD)
    asked = len(sandbox.requests)
    with Store(shared.folder) as store:
        result = work(store)
        models = [store.get(each).model for each in result.images]

    assert (result.status, models, len(sandbox.requests)) == ("done", ["gpt-image-2"], asked)


def test_pictures_in_the_store_are_the_result(shared: Shared, clock: Clock) -> None:
    """Killed after saving, with no cache: the images are found by the job's tag."""
    shared.replies = None
    killed(shared, clock, "saved")

    result = deliver(shared)

    with Store(shared.folder) as store:
        assert result.images == tuple(record.id for record in store.history())
    assert (result.status, result.cost) == ("done", Decimal("0.005930"))
    assert len(shared.service.asked) == 1


def test_half_of_the_pictures_is_not_the_result(shared: Shared, clock: Clock) -> None:
    """Two of three saved images are no answer: the reply is looked for, and all come back."""
    shared.service.says = lambda: answer(picture("red"), picture("green"), picture("blue"))
    spec = {**JOB, "n": 3}
    process = Process(shared, {9: None})
    assert process.run(spec) is None
    clock.pass_(DEAD)
    with Store(shared.folder) as store:
        gone = store.history()[0]
        store.delete(gone.id)

    result = Process(shared).run(spec)

    assert result is not None
    assert (result.status, len(result.images), len(shared.service.asked)) == ("done", 3, 1)


def test_halves_of_two_calls_are_not_the_result(shared: Shared, clock: Clock, state: Path) -> None:
    """The first image of one call and the second of another were never one answer."""
    spec = {**JOB, "n": 2}
    for number in (0, 1):
        colors = [picture(f"#0000{number}0"), picture(f"#0000{number}1")]
        reply = answer(*colors, created=1_795_000_000 + number)
        shared.service.says = lambda reply=reply: reply
        assert Process(shared, {9: None}).run(spec) is None
        clock.pass_(DEAD)
        with Store(shared.folder) as store:
            newest = store.history(2)
            store.delete(newest[number].id)
        assert shared.replies is not None
        shared.replies.clear()
        for path in state.rglob("*.reply"):
            path.unlink()
        if number == 0:
            retry(shared.job_store, "order-17")

    result = Process(shared).run(spec)

    assert result is not None
    assert result.status == "needs_review"


def test_a_live_worker_keeps_its_job(shared: Shared) -> None:
    """While somebody is on it, others are told to come back later."""
    others: list[JobResult] = []
    sleeping = Process(shared, {4: lambda: others.append(deliver(shared))})

    result = sleeping.run()

    assert result is not None
    assert (result.status, len(shared.service.asked)) == ("done", 1)
    assert [each.status for each in others] == ["busy"]
    assert others[0].retryable
    assert others[0].retry_after == pytest.approx(31, abs=0.1)


def test_signs_of_life_keep_a_long_call(shared: Shared, clock: Clock) -> None:
    """A call that takes longer than the lease is not taken for dead."""
    begun, over = threading.Event(), threading.Event()
    lease = timedelta(seconds=0.3)

    def slow() -> Any:
        begun.set()
        assert over.wait(60)
        return answer()

    def run(service: Service) -> JobResult:
        with Store(shared.folder) as store:
            client = ImageClient(transport=service, base_url=URL, store=store)
            return run_job(JOB, client=client, job_store=shared.job_store, lease=lease)

    results: list[JobResult] = []
    worker = threading.Thread(target=lambda: results.append(run(Service(says=slow))))
    worker.start()
    assert begun.wait(60)
    for _ in range(4):
        clock.pass_(0.25)
        while entry_of(shared).until < clock.now + 0.29:
            threading.Event().wait(0.01)
    other = run(Service())
    over.set()
    worker.join()

    assert (other.status, results[0].status) == ("busy", "done")


def test_a_sleeper_does_not_send(shared: Shared, clock: Clock) -> None:
    """A worker that was thought dead before its request left finds the gate closed."""

    def meanwhile() -> None:
        clock.pass_(DEAD)
        deliver(shared)

    sleeper = Process(shared, {1: meanwhile})
    result = sleeper.run()

    assert result == deliver(shared)
    assert "leaves" not in sleeper.steps
    assert len(shared.service.asked) == 1


def test_what_a_sleeper_brings_home_is_taken(shared: Shared, clock: Clock) -> None:
    """A worker thought dead in the middle of its call comes back, and the job is done."""
    needs_review: list[JobResult] = []

    def meanwhile() -> None:
        clock.pass_(DEAD)
        needs_review.append(deliver(shared))

    result = Process(shared, {4: meanwhile}).run()

    assert result is not None
    assert [each.status for each in needs_review] == ["needs_review"]
    assert result.status == "done"
    assert deliver(shared) == result


def test_a_late_reply_settles_a_job_to_review(shared: Shared, clock: Clock) -> None:
    """A sleeper that cached the reply and died after all: the next delivery finds it."""

    def meanwhile() -> None:
        clock.pass_(DEAD)
        assert deliver(shared).status == "needs_review"

    assert Process(shared, {4: meanwhile, 7: None}).run() is None

    assert deliver(shared).status == "done"
    assert len(shared.service.asked) == 1


def test_a_person_lets_it_be_asked_again(shared: Shared, clock: Clock) -> None:
    """After `retry` the next delivery asks and pays, once."""
    killed(shared, clock, "leaves")
    deliver(shared)

    opened = retry(shared.job_store, "order-17")
    results = [deliver(shared), deliver(shared)]

    assert opened.state == "open"
    assert [each.status for each in results] == ["done", "done"]
    assert len(shared.service.asked) == 1  # the dead worker's never arrived


def test_a_retry_takes_what_turned_up(shared: Shared, clock: Clock) -> None:
    """When the images are in the store by then, nothing is paid a second time."""
    shared.replies = None
    killed(shared, clock, "saved")
    entry = entry_of(shared)
    assert shared.job_store.compare_and_swap(
        entry, evolve(entry, revision=entry.revision + 1, state="needs_review")
    )

    retry(shared.job_store, "order-17")

    assert deliver(shared).status == "done"
    assert len(shared.service.asked) == 1


def test_a_late_worker_may_not_send(shared: Shared, clock: Clock) -> None:
    """A person let it be asked again, and then the first reply came: the second is not sent."""
    steps: list[list[str]] = []

    def asked_again() -> None:
        clock.pass_(DEAD)
        assert deliver(shared).status == "needs_review"
        retry(shared.job_store, "order-17")
        second = Process(shared, {1: finish})
        assert second.run() == deliver(shared)
        steps.append(second.steps)

    def finish() -> None:
        entry = entry_of(shared)
        late = JobOutput(images=("img_late",), cost=None)
        assert change(
            shared.job_store, "order-17", lambda found: state_machine.done(found, late, entry.at)
        )

    Process(shared, {4: asked_again, 5: None}).run()

    assert "leaves" not in steps[0]
    assert deliver(shared).images == ("img_late",)


def test_a_person_gives_it_up(shared: Shared, clock: Clock) -> None:
    """After `discard` it is not asked, however often it is delivered."""
    killed(shared, clock, "leaves")
    deliver(shared)

    discard(shared.job_store, "order-17")

    assert deliver(shared).status == "discarded"
    assert list(shared.job_store.records()) == []


def test_another_request_needs_another_id(shared: Shared) -> None:
    """An id names one request for good."""
    deliver(shared)

    with pytest.raises(InvalidRequestError, match="order-17") as caught:
        Process(shared).run({**JOB, "quality": "high"})
    assert caught.value.field == "id"


@pytest.mark.parametrize(
    ("says", "status", "retryable", "waits"),
    [
        (refused(429), "failed", True, True),
        (refused(503, code="slow_down"), "failed", True, True),
        (refused(503), "needs_review", False, False),
        (TransportError("no route"), "failed", True, True),
        (TransportError("wrong address", retryable=False), "failed", True, False),
        (refused(401), "failed", True, False),
        (refused(429, code="insufficient_quota"), "failed", True, False),
        (refused(400), "failed", False, False),
        (refused(500), "needs_review", False, False),
        (OutcomeUnknownError("read timeout"), "needs_review", False, False),
        (
            refused(
                400,
                code="moderation_blocked",
                moderation_details={"moderation_stage": "output", "categories": []},
            ),
            "needs_review",
            False,
            False,
        ),
    ],
)
def test_an_error_is_judged(
    shared: Shared, says: Any, status: str, retryable: bool, waits: bool
) -> None:
    """What cannot have been billed may be tried again; what may have been, needs review."""
    shared.service.says = lambda: says
    result = deliver(shared)
    shared.service.says = answer
    again = deliver(shared)

    assert (result.status, result.retryable) == (status, retryable)
    assert (result.retry_after is not None) == waits
    assert (result.possible_cost == 0) == (status == "failed")
    assert (result.reason or "").count("may have been billed") == (status == "needs_review")
    assert again.status == ("done" if retryable else status)
    assert len(shared.service.asked) == 1 + retryable


def test_a_failure_says_when_to_come_back(shared: Shared) -> None:
    """Pauses grow with the attempts, and the service's own word counts."""
    shared.service.says = lambda: refused(503, code="slow_down")
    pauses = [deliver(shared).retry_after for _ in range(7)]
    reply = refused(429)
    shared.service.says = lambda: evolve(reply, headers={"retry-after": "900"})

    assert pauses == [30, 60, 120, 240, 480, 600, 600]
    assert deliver(shared).retry_after == 900


def test_killed_while_it_waits_to_try_again_it_is_begun_anew(shared: Shared, clock: Clock) -> None:
    """Between two tries the first one is known not to be billed."""
    shared.service.says = lambda: refused(429)
    process = Process(shared, {7: None}, retry=Retry(attempts=2, first_delay=0.0))
    assert process.run() is None
    assert process.steps[-1] == "wrote claimed"
    shared.service.says = answer
    clock.pass_(DEAD)

    assert deliver(shared).status == "done"


def test_a_job_that_kills_its_workers_is_not_given_to_another(shared: Shared, clock: Clock) -> None:
    """After five crashes before anything was sent it failed for good, until a person says so."""
    for _ in range(5):
        killed(shared, clock, "wrote claimed")

    results = [deliver(shared), deliver(shared)]
    retry(shared.job_store, "order-17")

    assert [(each.status, each.retryable) for each in results] == [("failed", False)] * 2
    assert "5 workers" in str(results[0].reason)
    assert deliver(shared).status == "done"


def test_paid_but_not_saved_is_not_lost(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a full disk the job comes back later, takes the reply and pays nothing more."""
    shared.replies = None
    monkeypatch.setattr("gptimage.store.local_blobs.FileBlobs.create", full_disk)
    first = deliver(shared)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_STATE_HOME", str(shared.folder.parent / "state"))
    second = deliver(shared)

    assert (first.status, first.retryable, first.retry_after) == ("busy", True, 30)
    assert "not saved" in str(first.reason)
    assert second.status == "done"
    assert len(shared.service.asked) == 1


def full_disk(*_: Any, **__: Any) -> Any:
    """No file can be written."""
    raise OSError(28, "No space left on device")


def test_a_cache_that_cannot_answer_is_waited_for(
    shared: Shared, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the reply is in the cache cannot be told, so nothing needs review yet."""
    killed(shared, clock, "cached")

    def down(self: Memory, key: str) -> CacheEntry | None:
        raise CacheError("Redis does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(Memory, "get", down)
        first = deliver(shared)

    assert first.status == "busy"
    assert "does not answer" in str(first.reason)
    assert deliver(shared).status == "done"
    assert len(shared.service.asked) == 1


class Broken:
    """A job store that cannot be written from some change on."""

    def __init__(self, job_store: JobStore, states: set[str]) -> None:
        self.job_store, self.states = job_store, states

    def __getattr__(self, name: str) -> Any:
        return getattr(self.job_store, name)

    def compare_and_swap(self, before: JobRecord | None, after: JobRecord) -> bool:
        if after.state in self.states:
            raise JobStoreError("the job store is on fire")
        return self.job_store.compare_and_swap(before, after)


def test_nothing_leaves_that_cannot_be_noted(shared: Shared) -> None:
    """A job store that cannot be written keeps the request here, and the job may come back."""
    job_store = shared.job_store
    shared.job_store = Broken(job_store, {"sending"})  # type: ignore[assignment]  # it passes the rest on
    result = deliver(shared)
    shared.job_store = job_store

    assert (result.status, result.retryable, result.retry_after) == ("failed", True, 30)
    assert shared.service.asked == []
    assert deliver(shared).status == "done"


def test_a_job_store_that_is_down_is_raised(shared: Shared) -> None:
    """When nothing can be noted, the caller is told to deliver the job again."""
    shared.job_store = Broken(shared.job_store, {"claimed", "sending", "failed"})  # type: ignore[assignment]  # it passes the rest on

    with pytest.raises(JobStoreError, match="on fire"):
        Process(shared).run()
    assert shared.service.asked == []


def test_a_job_store_lost_at_the_end_costs_nothing(shared: Shared, clock: Clock) -> None:
    """Images that are saved and cannot be noted are handed over, and found next time."""
    job_store = shared.job_store
    shared.job_store = Broken(job_store, {"done"})  # type: ignore[assignment]  # it passes the rest on
    first = deliver(shared)
    shared.job_store = job_store
    clock.pass_(DEAD)
    second = deliver(shared)

    assert first.status == second.status == "done"
    assert first.images == second.images
    assert "on fire" in first.warnings[-1]
    assert len(shared.service.asked) == 1


@pytest.mark.parametrize(("step", "status"), [(2, "failed"), (5, "needs_review")])
@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), RuntimeError("a bug")])
def test_an_interruption_is_noted_and_goes_on(
    shared: Shared, error: BaseException, step: int, status: str
) -> None:
    """Whatever stops a worker is raised, and the job store has what that may have cost."""

    def stop() -> None:
        raise error

    with pytest.raises(type(error)):
        Process(shared, {step: stop}).run()
    assert entry_of(shared).state == status
    assert deliver(shared).status == ("done" if status == "failed" else "needs_review")


def test_a_budget_that_is_spent_costs_nothing(shared: Shared) -> None:
    """A job the budget does not allow is tried again when it is delivered again."""
    budget = Budget("0.001", per="total", ledger=Ledger(shared.folder.parent / "spend.sqlite"))
    with Store(shared.folder) as store:
        client = ImageClient(transport=shared.service, base_url=URL, store=store, budget=budget)
        result = run_job(JOB, client=client, job_store=shared.job_store, lease=LEASE)

    assert (result.status, result.possible_cost, result.retryable) == ("failed", 0, True)
    assert BudgetExceededError.__name__ in str(result.reason)
    assert shared.service.asked == []


def test_nobody_pays_unasked_for_a_request_like_this(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that shared another's call needs review with it, though it sent nothing itself."""

    def joined(*_: Any, **__: Any) -> Any:
        raise OutcomeUnknownError("the same request, sent by somebody else, was broken off")

    with monkeypatch.context() as patch:
        patch.setattr("gptimage.cache.single_flight.single_flight", joined)
        first = deliver(shared)
    again = deliver(shared)

    assert (first.status, first.possible_cost, again) == ("needs_review", 0, first)
    assert shared.service.asked == []


def test_a_store_that_cannot_be_read_is_waited_for(shared: Shared) -> None:
    """An image that is not there is no passing trouble, a store that fails is."""
    job = {**JOB, "images": ["img_20261120T114205123456_9f86d081884c7d659a2feaa0c55ad015"]}
    gone = Process(shared).run(job)

    assert gone is not None
    assert (gone.status, gone.retryable, gone.retry_after) == ("failed", True, None)
    assert "ImageNotFoundError" in str(gone.reason)


def test_a_client_without_a_store_is_refused(shared: Shared) -> None:
    """Images that are nowhere when the worker is gone are no result."""
    client = ImageClient(transport=shared.service, base_url=URL)

    with pytest.raises(ConfigurationError, match="store"):
        run_job(JOB, client=client, job_store=shared.job_store)
    assert shared.job_store.read("order-17") is None


@pytest.mark.parametrize("allow", [True, False])
def test_paths_are_the_workers_to_allow(shared: Shared, tmp_path: Path, allow: bool) -> None:
    """A path in a message is read only by a worker that was told so."""
    path = tmp_path / "fox.png"
    path.write_bytes(picture())
    job = Job.of("path", "Night", [str(path)], paths=True)

    run: Callable[[], Any] = lambda: Process(shared).run(job.to_dict(), paths=allow)  # noqa: E731  # called once

    if allow:
        assert run().status == "done"
    else:
        with pytest.raises(InvalidRequestError, match=r"images\[0\]"):
            run()


def test_previews_are_shown_and_cannot_stop_a_paid_image(tmp_path: Path) -> None:
    """Partial images reach whoever looks on; an error there changes nothing of the job."""
    seen: list[int] = []

    def show(partial: PartialImage) -> None:
        seen.append(partial.index)
        raise RuntimeError("the screen is gone")

    with ImageClient.sandbox(Sandbox(draw="plain"), store=tmp_path / "store") as client:
        job_store = SqliteJobStore(tmp_path / "jobs.sqlite")
        result = run_job(JOB, client=client, job_store=job_store, previews=Previews(2, show))
        job_store.close()

    assert (result.status, seen) == ("done", [0, 1])
