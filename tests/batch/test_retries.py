"""What is sent again and what never is, and waits that outlast a bad network."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from gptimage import ConfigurationError, GptImageError, InvalidRequestError, OutcomeUnknownError
from gptimage.batch import Batch, BatchPart, BatchStatus
from gptimage.batch.status import OUTAGE, StatusPoller
from gptimage.errors import (
    AuthenticationError,
    NotFoundError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    TransportError,
)
from gptimage.sandbox import Sandbox
from gptimage.transport.http import HttpReply, HttpRequest
from tests.batch.helpers import (
    BreakingOff,
    Clock,
    Losing,
    Meddler,
    Meddling,
    fox,
    line,
    made,
    uploaded,
)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between looks for a lost batch take no time."""
    monkeypatch.setattr("gptimage.batch.submit._SEARCH_DELAYS", (0.0, 0.0))


@pytest.fixture
def sandbox() -> Sandbox:
    """The service."""
    return Sandbox()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A state file."""
    return tmp_path / "batch.json"


def instead(
    answers: list[HttpReply | Exception], method: str, path: str, *, prefix: bool = False
) -> Meddler:
    """Give these answers, one after the other, to requests of this kind; then let them through."""

    def meddle(request: HttpRequest) -> HttpReply | Exception | None:
        same = request.path.startswith(path) if prefix else request.path == path
        return answers.pop(0) if answers and request.method == method and same else None

    return meddle


def reply(status: int, code: str = "", **headers: str) -> HttpReply:
    """A refusal."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = f'{{"error": {{"message": "No.", "code": "{code}"}}}}'.encode()
    return HttpReply(status=status, headers=named, body=body if code else b"")


@pytest.mark.parametrize(
    "trouble",
    [
        OutcomeUnknownError("the answer did not arrive"),
        TransportError("not reached"),
        reply(429, "rate_limit_exceeded", retry_after_ms="1"),
        reply(503),
        reply(502),
        reply(504),
        reply(408),
    ],
    ids=["lost", "not reached", "429", "503", "502", "504", "408"],
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/files"), ("GET", "/batches/"), ("GET", "/files/")]
)
def test_what_costs_nothing_is_sent_again(
    sandbox: Sandbox, trouble: HttpReply | Exception, method: str, path: str
) -> None:
    """Uploads, looks and downloads are tried again after trouble of every kind that passes."""
    troubles = [trouble, trouble]
    way = Meddling(sandbox, instead(troubles, method, path, prefix=True))
    batch = Batch.submit(line(sandbox, transport=way), [fox(0)])
    batch.wait(poll=0)

    assert [item.error for item in batch.results()] == [None]
    assert troubles == []
    assert len(made(sandbox)) == 1


@pytest.mark.parametrize(
    "trouble",
    [TransportError("not reached"), reply(429, "rate_limit_exceeded"), reply(503, "slow_down")],
    ids=["not reached", "429", "503"],
)
def test_a_batch_that_was_surely_not_made_is_asked_for_again(
    sandbox: Sandbox, trouble: HttpReply | Exception
) -> None:
    """What was never sent, came too fast or was turned away is asked for again."""
    troubles = [trouble, trouble]
    way = Meddling(sandbox, instead(troubles, "POST", "/batches"))
    batch = Batch.submit(line(sandbox, transport=way), [fox(0)])

    assert troubles == []
    assert len(made(sandbox)) == len(batch.ids) == 1


@pytest.mark.parametrize("status", [200, 303, 307, 408, 499, 500, 502, 503, 504, 524])
def test_a_batch_that_was_made_behind_an_error_is_found(sandbox: Sandbox, status: int) -> None:
    """Whatever came back instead of the batch, it is looked for before anything is sent again."""

    def meddle(request: HttpRequest) -> HttpReply | None:
        if (request.method, request.path) != ("POST", "/batches"):
            return None
        sandbox.send(request)
        return HttpReply(status=status, body=b"<html>gateway</html>")

    batch = Batch.submit(line(sandbox, transport=Meddling(sandbox, meddle)), [fox(0)])

    assert len(made(sandbox)) == len(batch.ids) == 1


def test_a_batch_in_doubt_is_counted_from_when_its_answer_was_lost(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """A process that was killed while it asked may have waited ten minutes for the answer."""
    file, clock = tmp_path / "b.json", Clock()
    asked: list[HttpRequest] = []

    def killed(request: HttpRequest) -> BaseException | None:
        if (request.method, request.path) != ("POST", "/batches"):
            return None
        asked.append(request)
        return KeyboardInterrupt() if len(asked) == 1 else None

    client = line(sandbox, transport=Meddling(sandbox, killed), clock=clock)
    with pytest.raises(KeyboardInterrupt):
        Batch.submit(client, [fox(0)], state=file)
    clock.now += timedelta(minutes=19)
    with pytest.raises(OutcomeUnknownError, match=r"in 1 minutes"):
        Batch.open(client, file).status()
    clock.now += timedelta(minutes=1)
    Batch.open(client, file).status()

    assert len(asked) == 2
    assert len(made(sandbox)) == 1


def test_a_batch_in_doubt_without_a_state_file_is_kept(sandbox: Sandbox) -> None:
    """The error names a file to go on with even when nobody asked for one."""
    way = Losing(sandbox, path="/batches", served=False)
    with pytest.raises(OutcomeUnknownError) as caught:
        Batch.submit(line(sandbox, transport=way), [fox(0)])
    name = str(caught.value).partition("go on with ")[2].partition(" in ")[0]
    del caught
    gc.collect()  # nothing of the process that was told remembers the job
    clock = Clock()
    clock.now += timedelta(minutes=11)

    status = Batch.open(line(sandbox, clock=clock), name).status()

    assert status.total == 1
    for path in Path(name).parent.iterdir():
        path.unlink()
    Path(name).parent.rmdir()


def test_a_refusal_in_the_middle_says_what_is_submitted(sandbox: Sandbox, tmp_path: Path) -> None:
    """When the second of three batches is refused, the first one is not forgotten."""
    file = tmp_path / "b.json"
    refusals: list[HttpReply | Exception] = [reply(429, "insufficient_quota")]

    def meddle(request: HttpRequest) -> HttpReply | Exception | None:
        second = (request.method, request.path) == ("POST", "/batches") and made(sandbox)
        return refusals.pop() if second and refusals else None

    client = line(sandbox, transport=Meddling(sandbox, meddle))
    asked = [fox(n) for n in range(3)]
    with pytest.raises(QuotaExceededError, match=r"1 of 3 batches are submitted.*b\.json"):
        Batch.submit(client, asked, state=file, max_lines=1)
    batch = Batch.submit(client, asked, state=file, max_lines=1)

    assert len(made(sandbox)) == len(batch.ids) == 3
    assert len(uploaded(sandbox, "batch")) == 3


def test_a_wait_outlasts_a_bad_network(
    sandbox: Sandbox, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Looks that fail in the middle of a wait are shown, and the wait goes on."""
    Batch.submit(line(sandbox), [fox(0)], state=file)
    troubles: list[HttpReply | Exception] = [TransportError("no network")] * 12
    troubles += [reply(500, "server_error"), HttpReply(status=200, body=b"<html>sign in</html>")]
    looked: list[HttpRequest] = []

    def meddle(request: HttpRequest) -> HttpReply | Exception | None:
        if not request.path.startswith("/batches/"):
            return None
        looked.append(request)
        return troubles.pop(0) if troubles and len(looked) > 1 else None

    batch = Batch.open(line(sandbox, transport=Meddling(sandbox, meddle)), file)
    status = batch.wait(poll=0, progress=True)

    assert (status.state, troubles) == ("completed", [])
    assert "not reached, looking again every 0 s: no network" in capsys.readouterr().err


def test_a_wait_decides_what_was_in_doubt(sandbox: Sandbox, tmp_path: Path) -> None:
    """Waiting for a batch that may not have been made goes on until that is known, and then."""
    clock = Clock()
    way = Losing(sandbox, path="/batches", served=False)
    client = line(sandbox, transport=way, clock=clock)
    with pytest.raises(OutcomeUnknownError):
        Batch.submit(client, [fox(0)], state=tmp_path / "b.json")

    def minutes_pass(request: HttpRequest) -> None:
        clock.now += timedelta(minutes=1)

    patient = line(sandbox, transport=Meddling(sandbox, minutes_pass), clock=clock)
    status = Batch.open(patient, tmp_path / "b.json").wait(poll=0)

    assert status.state == "completed"
    assert len(made(sandbox)) == 1


def test_a_wait_that_never_reached_anything_ends(sandbox: Sandbox, file: Path) -> None:
    """A wrong address ends the wait at once, with the reason."""
    Batch.submit(line(sandbox), [fox(0)], state=file)
    troubles: list[HttpReply | Exception] = [TransportError("no such host")] * 4
    way = Meddling(sandbox, instead(troubles, "GET", "/batches/", prefix=True))

    with pytest.raises(TransportError, match="no such host"):
        Batch.open(line(sandbox, transport=way), file).wait(poll=0)


UNENDED = BatchStatus(parts=(BatchPart(id="batch_1", status="in_progress", total=2),), total=2)


def ticking() -> tuple[list[float], Callable[[], float]]:
    """A clock of seconds, and the list whose only entry is the time."""
    now = [0.0]
    return now, lambda: now[0]


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("the key is wrong", status=401),
        ConfigurationError("no"),
        TransportError("a wrong address", retryable=False),
        QuotaExceededError("no credit", status=429),
    ],
)
def test_what_does_not_pass_ends_the_wait(error: GptImageError) -> None:
    """An error that waiting does not mend is raised, also after looks that worked."""
    waiting = StatusPoller(False, 1.0, None)
    waiting.saw(UNENDED)

    with pytest.raises(type(error)):
        waiting.failed(error)


@pytest.mark.parametrize(
    "error",
    [TransportError("x"), ServerError("x", status=500), RateLimitError("x", status=429)],
)
def test_an_outage_of_an_hour_ends_the_wait(error: GptImageError) -> None:
    """Failures pass by for an hour after the last answer, not longer."""
    now, clock = ticking()
    waiting = StatusPoller(False, 30.0, None, clock=clock)
    waiting.saw(UNENDED)
    now[0] = OUTAGE
    assert waiting.failed(error) == 30.0
    waiting.saw(UNENDED)
    now[0] += OUTAGE + 1

    with pytest.raises(type(error)):
        waiting.failed(error)


def test_a_timeout_holds_while_looks_fail() -> None:
    """The longest wait is kept although nothing is heard, and the last pause is no longer."""
    now, clock = ticking()
    waiting = StatusPoller(False, 30.0, 100.0, clock=clock)
    waiting.saw(UNENDED)
    now[0] = 90.0

    assert waiting.failed(TransportError("x")) == 10.0
    now[0] = 100.0
    with pytest.raises(TimeoutError, match="in_progress: 0 of 2 done"):
        waiting.failed(TransportError("x"))


def test_results_go_on_as_long_as_they_get_further(file: Path) -> None:
    """A file that breaks off again and again is read to its end, when each try brings more."""
    sandbox = Sandbox(draw="scene")  # large: its file comes in many pieces
    batch = Batch.submit(line(sandbox), [fox(n) for n in range(3)], state=file)
    batch.wait(poll=0)
    whole = sum(1 for _ in _pieces(sandbox, batch))
    way = BreakingOff(sandbox, *range(1, whole))

    items = list(Batch.open(line(sandbox, transport=way), file).results())

    assert whole > 6  # more than the tries Retry allows
    assert sorted(item.index or 0 for item in items) == [0, 1, 2]
    assert all(item.result for item in items)


def test_results_that_get_nowhere_end(file: Path) -> None:
    """A file that always breaks off at the same place is given up, to be read another day."""
    sandbox = Sandbox(draw="scene")  # large: its file comes in many pieces
    batch = Batch.submit(line(sandbox), [fox(0)], state=file)
    batch.wait(poll=0)
    way = BreakingOff(sandbox, *([1] * 9))

    with pytest.raises(TransportError, match="again and again"):
        list(Batch.open(line(sandbox, transport=way), file).results())
    assert [item.error for item in batch.results()] == [None]


def test_cancelling_is_sent_again(sandbox: Sandbox, file: Path) -> None:
    """Cancelling twice does no harm, so a lost answer is no reason to give up."""
    batch = Batch.submit(line(sandbox), [fox(0)], state=file)
    lost: list[HttpReply | Exception] = [OutcomeUnknownError("lost")]
    path = f"/batches/{batch.ids[0]}/cancel"
    way = Meddling(sandbox, instead(lost, "POST", path))

    status = Batch.open(line(sandbox, transport=way), file).cancel()

    assert (status.state, lost) == ("cancelled", [])


def test_an_unknown_batch_is_said_so(sandbox: Sandbox) -> None:
    """A 404 for a batch speaks of the batch, not of models."""
    with pytest.raises(NotFoundError, match="no batch batch_nope: a sandbox forgets") as caught:
        Batch.open(line(sandbox), "batch_nope")

    assert caught.value.request_id


@pytest.mark.parametrize(
    "metadata",
    [
        {"gptimage": "mine"},
        {f"name{n}": "x" for n in range(16)},
        {"n" * 65: "x"},
        {"n": "x" * 513},
        {"n": 3},
    ],
    ids=["ours", "too many", "long name", "long text", "a number"],
)
def test_metadata_is_refused_before_anything_is_uploaded(
    sandbox: Sandbox, metadata: dict[str, str]
) -> None:
    """What the service would refuse at the end is refused at the beginning."""
    with pytest.raises(InvalidRequestError, match="metadata"):
        Batch.submit(line(sandbox), [fox(0)], metadata=metadata)

    assert sandbox.requests == []


def _pieces(sandbox: Sandbox, batch: Batch) -> Iterator[bytes]:
    """The pieces the results of a batch arrive in."""
    client = line(sandbox)
    output = batch.status().parts[0].output_file_id
    return iter(client.download(HttpRequest(method="GET", path=f"/files/{output}/content")))
