"""The billing matrix: every failure through every call of both clients, and the money."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PilImage

import gptimage
from gptimage.batch import submit
from tests.budget.failures import FAILURES, FailingService, Failure
from tests.cache.single_flight_helpers import wait_until
from tests.ports import hold_port


PLAIN: dict[str, Any] = {"size": "1024x1024", "quality": "low"}


def picture() -> bytes:
    """A small input image."""
    file = io.BytesIO()
    PilImage.new("RGB", (64, 64), "teal").save(file, "png")
    return file.getvalue()


def run(client: Any, operation: str, folder: Path) -> None:
    """Make one call of the blocking client."""
    if operation == "generate":
        client.generate("A fox", **PLAIN)
    elif operation == "edit":
        client.edit("At night", picture(), **PLAIN)
    elif operation == "stream":
        list(client.stream("A fox", **PLAIN))
    elif operation == "turn":
        client.conversation().send("A fox", **PLAIN)
    else:
        client.submit_batch([{"prompt": "A fox", **PLAIN}], state=folder / "b.json")


async def arun(client: Any, operation: str, folder: Path) -> None:
    """Make one call of the async client."""
    if operation == "stream":
        async for _ in client.stream("A fox", **PLAIN):
            pass
        return
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "generate": lambda: client.generate("A fox", **PLAIN),
        "edit": lambda: client.edit("At night", picture(), **PLAIN),
        "turn": lambda: client.conversation().send("A fox", **PLAIN),
        "batch": lambda: client.submit_batch(
            [{"prompt": "A fox", **PLAIN}], state=folder / "b.json"
        ),
    }
    await calls[operation]()


def attempt(kind: str, operation: str, folder: Path, **settings: Any) -> Exception:
    """Make the call with a client of this kind; the error it ends with."""
    key = "sk-test-12345678"

    async def waited() -> None:
        async with gptimage.AsyncImageClient(api_key=key, **settings) as client:
            await arun(client, operation, folder)

    def called() -> None:
        with gptimage.ImageClient(api_key=key, **settings) as client:
            run(client, operation, folder)

    with pytest.raises(gptimage.GptImageError) as caught:
        called() if kind == "sync" else asyncio.run(waited())
    return caught.value


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("operation", ["generate", "edit", "stream", "turn", "batch"])
@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.name)
def test_every_failure(
    failure: Failure,
    operation: str,
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only what was not billed is sent again; what may have been stays in ledger and budget."""
    monkeypatch.setattr(submit, "_SEARCH_DELAYS", (0.0,))  # seconds between looks for a lost batch
    ledger = gptimage.Ledger(tmp_path / "ledger.sqlite")
    budget = gptimage.Budget(1, per="total", ledger=ledger)
    service = FailingService(failure)
    try:
        error = attempt(
            kind,
            operation,
            tmp_path,
            base_url=service.url,
            budget=budget,
            retry=gptimage.Retry(first_delay=0.001),
            timeout=1.5 if failure.ending == "hang" else 60.0,
        )
        wait_until(lambda: len(service.posts) >= failure.posts)  # it may be read after a timeout
    finally:
        service.close()
    rows = ledger.rows()

    assert len(service.posts) == failure.posts
    assert len(rows) == 1
    if failure.billing == "not_billed":
        assert (rows[0].billing, budget.remaining()) == ("not_billed", 1)
        assert not isinstance(error, gptimage.OutcomeUnknownError)
        return
    # A batch whose answer was lost is looked for again, so its row stays open until it is known.
    assert rows[0].billing in ("unknown", "sent" if operation == "batch" else "unknown")
    assert rows[0].counted == rows[0].reserved > 0
    assert budget.remaining() == 1 - rows[0].reserved
    assert "billed" in str(error) or operation == "batch"


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("operation", ["generate", "edit", "stream", "turn", "batch"])
def test_what_never_left_costs_nothing(
    operation: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that takes no connection was sent nothing."""
    ledger = gptimage.Ledger(tmp_path / "ledger.sqlite")
    error = attempt(
        kind,
        operation,
        tmp_path,
        base_url=f"http://127.0.0.1:{hold_port()}/v1",
        ledger=ledger,
        retry=gptimage.Retry(first_delay=0.001),
    )

    assert isinstance(error, gptimage.TransportError)
    assert [(row.billing, row.counted) for row in ledger.rows()] == [("not_billed", Decimal(0))]
