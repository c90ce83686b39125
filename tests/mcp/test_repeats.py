"""The same call after a kill: it is joined while it runs, and told before it is paid once more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from mcp import Client
from mcp_types import ElicitResult

import gptimage
from gptimage_mcp.jobs.journal import Entry, Journal
from gptimage_mcp.tools.generate import GenerateTools
from gptimage_mcp.tools.submit import JobSubmitter
from tests.mcp.harness import JOBS, PROTOCOLS, ServerFixture, result_json, server_fixture, text


CHEAP = {"prompt": "A fox", "size": "1024x1024", "quality": "low"}
BEGUN = datetime(2026, 11, 20, 12, tzinfo=UTC)


def generating(counter: GenerateTools) -> Any:
    """What the tests ask for."""
    return counter.generate_image(**CHEAP)  # type: ignore[arg-type]  # a plain dict


def refining(counter: GenerateTools) -> Any:
    """A turn about a picture of the store."""
    (record,) = counter.submitter.app.store.history().records
    return counter.refine_image("Warmer light", image=record.id)


def killed(
    where: ServerFixture,
    ask: Callable[[GenerateTools], Any] = generating,
    *,
    sent: bool = True,
    begun: datetime = BEGUN,
) -> str:
    """A call that was made by a server which was then killed; its handle."""
    order = asyncio.run(_awaited(ask(GenerateTools(JobSubmitter(where.app)))))
    journal = Journal(where.folder / JOBS)
    entry = journal.begin(
        Entry(
            operation=order.request.operation,
            started=begun,
            digest=order.digest,
            dedup_key=order.dedup_key,
        )
    )
    journal.put(evolve(entry, sent=sent, most=Decimal("0.25") if sent else None))
    journal.close()
    return entry.handle


async def _awaited(order: Any) -> Any:
    return await order


def status(where: ServerFixture) -> Any:
    """The calls of which the server says that they need a decision."""
    answer = where.call("get_server_status")
    assert answer.structured_content
    return answer.structured_content["undecided"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_same_call_is_told_before_it_is_paid(tmp_path: Path, protocol: str) -> None:
    """It gets the earlier handle and the most it may have cost, and nothing is sent."""
    where = server_fixture(tmp_path)
    handle = killed(where)

    answer = where.call("generate_image", protocol, **CHEAP)

    assert answer.is_error
    told = text(answer)
    assert handle in told
    assert "$0.2500" in told
    assert "refresh=true" in told
    assert len(where.sandbox.requests) == 0


def test_who_agrees_pays_once_more(tmp_path: Path) -> None:
    """With refresh the call goes out, and what was open before is decided by it."""
    where = server_fixture(tmp_path)
    killed(where)

    first = result_json(where.call("generate_image", refresh=True, **CHEAP))
    again = result_json(where.call("generate_image", **CHEAP))

    assert [first["cached"], again["cached"]] == [False, True]
    assert len(where.sandbox.requests) == 1
    assert status(where) == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("agrees", "sent"), [(True, 1), (False, 0)])
def test_a_person_confirms_it(tmp_path: Path, protocol: str, agrees: bool, sent: int) -> None:
    """Where the client can ask, refresh alone is not enough: a person is asked, at any cost."""
    where = server_fixture(tmp_path)
    killed(where)
    asked: list[str] = []

    async def person(_: Any, params: Any) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content={"draw": agrees})

    answer = where.ask(
        lambda client: client.call_tool("generate_image", {**CHEAP, "refresh": True}),
        protocol,
        elicitation_callback=person,
    )

    assert answer.is_error == (not agrees)
    assert len(where.sandbox.requests) == sent
    assert "2026-11-20 12:00 UTC" in asked[0]
    assert "up to $0.2500" in asked[0]


def test_another_call_is_not_held_up(tmp_path: Path) -> None:
    """What asks for something else, or belongs to somebody else, goes out as ever."""
    where = server_fixture(tmp_path)
    killed(where)

    assert (
        result_json(where.call("generate_image", **{**CHEAP, "prompt": "A cat"}))["status"]
        == "done"
    )


def test_other_tags_do_not_make_it_another_call(tmp_path: Path) -> None:
    """The service is asked for the same whatever the pictures are called here."""
    where = server_fixture(tmp_path)
    killed(where)

    assert where.call("generate_image", tags=["logo"], **CHEAP).is_error


def test_what_was_never_sent_is_listed_and_asked_again(tmp_path: Path) -> None:
    """Nothing was billed: the same call goes out without a question, and nothing stays open."""
    where = server_fixture(tmp_path)
    handle = killed(where, sent=False)

    before = status(where)
    answer = result_json(where.call("generate_image", **CHEAP))

    assert [(each["handle"], each["state"]) for each in before] == [(handle, "not_sent")]
    assert answer["status"] == "done"
    assert status(where) == []


def test_a_repeated_turn_is_told_in_the_same_way(tmp_path: Path) -> None:
    """refine_image, which no cache answers, warns too and takes refresh."""
    where = server_fixture(tmp_path)
    picture = result_json(where.call("generate_image", **CHEAP))["images"][0]["id"]
    handle = killed(where, refining)
    sent = len(where.sandbox.requests)

    answer = where.call("refine_image", prompt="Warmer light", image=picture)
    assert answer.is_error
    assert handle in text(answer)
    assert len(where.sandbox.requests) == sent

    again = where.call("refine_image", prompt="Warmer light", image=picture, refresh=True)
    assert result_json(again)["status"] == "done"


def test_the_status_lists_what_may_have_been_billed(tmp_path: Path) -> None:
    """Time, handle and the most it may have cost, newest first."""
    where = server_fixture(tmp_path)
    first = killed(where)
    second = killed(where, begun=BEGUN + timedelta(hours=1))

    assert status(where) == [
        {
            "handle": handle,
            "operation": "generate",
            "started": started,
            "state": "unknown",
            "most_usd": "0.25",
        }
        for handle, started in (
            (second, "2026-11-20T13:00:00+00:00"),
            (first, "2026-11-20T12:00:00+00:00"),
        )
    ]


def test_a_picture_that_came_after_all_settles_it(tmp_path: Path) -> None:
    """Once the picture is in the store under the handle, the same call is no surprise."""
    where = server_fixture(tmp_path)
    handle = killed(where)
    saved = result_json(where.call("generate_image", refresh=True, **CHEAP))["images"][0]["id"]
    where.store.tag(saved, handle)

    assert result_json(where.call("view_image", id=handle))["images"][0]["id"] == saved
    assert not where.call("generate_image", **CHEAP).is_error


def test_a_call_that_another_server_makes_is_joined(tmp_path: Path) -> None:
    """A client that was started again repeats its call: both get the one picture that is paid."""
    here = server_fixture(tmp_path, hold=True, cache=False)
    (tmp_path / "b").mkdir()
    there = server_fixture(
        tmp_path / "b",
        here.sandbox,
        cache=False,
        store=tmp_path / "store",
        ledger=tmp_path / "spend.sqlite",
    )

    async def question(first: Client) -> list[Any]:
        async with Client(there.server) as second:
            call = asyncio.ensure_future(first.call_tool("generate_image", CHEAP))
            await here.held.arrived.wait()

            async def hear(progress: float, total: float | None, message: str | None) -> None:
                assert "another process" in str((progress, total, message))
                here.held.go.set()

            joined = await second.call_tool("generate_image", CHEAP, progress_callback=hear)
            return [result_json(each) for each in (await call, joined)]

    one, other = here.ask(question)

    assert one["handle"] == other["handle"]
    assert one["images"][0]["id"] == other["images"][0]["id"]
    assert len(here.sandbox.requests) == 1


def test_a_repeated_turn_is_joined_while_it_runs(tmp_path: Path) -> None:
    """refine_image, called again by a client that gave up, waits for the turn that is paid."""
    where = server_fixture(tmp_path, hold=True, cache=False)
    with gptimage.ImageClient.sandbox(store=where.store) as client:
        (record,) = client.generate(**CHEAP).stored

    async def question(client: Client) -> list[Any]:
        turn = {"prompt": "Warmer light", "image": record.id}
        first = asyncio.ensure_future(client.call_tool("refine_image", turn))
        await where.held.arrived.wait()

        async def joined(*_: object) -> None:
            where.held.go.set()

        again = await client.call_tool("refine_image", turn, progress_callback=joined)
        return [result_json(each) for each in (await first, again)]

    one, other = where.ask(question)

    assert one["handle"] == other["handle"]
    assert one["images"] == other["images"]
    assert len(where.sandbox.requests) == 1


def test_the_journal_holds_a_digest_and_no_prompt(tmp_path: Path) -> None:
    """What is asked for is known by a digest alone, in the file and in every name."""
    where = server_fixture(tmp_path)
    killed(where)
    names = [each.name for each in (tmp_path / JOBS).iterdir()]
    (entry,) = (json.loads(each.read_text()) for each in (tmp_path / JOBS).glob("*.json"))

    assert len(entry["digest"]) == 64
    assert "fox" not in " ".join([*names, json.dumps(entry)]).lower()
