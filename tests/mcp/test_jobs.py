"""Paid work is finished and found again, whatever happens to the client, or to the server."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import evolve
from mcp import Client
from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.shared.exceptions import MCPError

import gptimage
from gptimage.sandbox import Sandbox
from gptimage.service import Runner
from gptimage.store.local_blobs import FileBlobs
from gptimage_mcp.jobs import job as job_module
from gptimage_mcp.jobs import shared
from gptimage_mcp.jobs.job import Job, Progress
from gptimage_mcp.jobs.jobs import Jobs
from gptimage_mcp.jobs.journal import Entry, Journal, is_handle
from gptimage_mcp.jobs.shared import SharedFolder
from gptimage_mcp.server import server_of
from tests.mcp.harness import (
    JOBS,
    PROTOCOLS,
    ServerFixture,
    Slow,
    result_json,
    server_fixture,
    text,
)
from tests.mcp.http_helpers import serving
from tests.processes import start_python


HANDLE = re.compile(r"job_[0-9a-f]{32}")
CHEAP = {"size": "1024x1024", "quality": "low"}


class ProgressRecorder:
    """Listens to the progress of a call."""

    def __init__(self) -> None:
        self.told: list[tuple[float, str]] = []
        self.first = asyncio.Event()

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        """One more."""
        assert total is None  # nobody knows how long a drawing takes
        self.told.append((progress, message or ""))
        self.first.set()

    @property
    def handle(self) -> str:
        """The handle of the job, as the progress named it."""
        found = HANDLE.search(self.told[0][1])
        assert found
        return found[0]


def draw(client: Client, prompt: str = "A fox", **options: Any) -> Awaitable[Any]:
    """Ask for a picture."""
    received = options.pop("received", None)
    return client.call_tool(
        "generate_image", {"prompt": prompt, **CHEAP, **options}, progress_callback=received
    )


async def view(client: Client, handle: str) -> Any:
    """What there is of a handle."""
    return result_json(await client.call_tool("view_image", {"id": handle}))


def test_a_handle_that_no_tool_takes_is_not_said_to_be_waited_for_with_one(tmp_path: Path) -> None:
    """Without `view_image` the same call is made again, as the instructions say."""
    where = server_fixture(tmp_path, hold=True, wait=0.05, tools=("generate_image",))

    async def question(client: Client) -> tuple[Any, str]:
        first = result_json(await draw(client))
        where.held.go.set()
        return first, str(where.server.instructions)

    first, told = where.ask(question)

    assert "view_image" not in first["next"]
    joins = "he same call made again while it runs joins it, and is paid once."
    assert [joins in each for each in (first["next"], told)] == [True, True]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_call_that_takes_long_answers_with_a_handle(tmp_path: Path, protocol: str) -> None:
    """After the bounded wait there is a handle, and with it the pictures are waited for."""
    where = server_fixture(tmp_path, hold=True, wait=0.05)

    async def question(client: Client) -> tuple[Any, Any]:
        first = result_json(await draw(client))
        where.held.go.set()
        while (later := await view(client, first["handle"]))["status"] == "running":
            pass
        return first, later

    first, later = where.ask(question, protocol)

    assert first["status"] == "running"
    assert HANDLE.fullmatch(first["handle"])
    assert "view_image" in first["next"]
    assert later["status"] == "done"
    assert later["images"][0]["id"] == where.store.history()[0].id
    assert len(where.sandbox.requests) == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_cancelled_call_is_finished_and_found(tmp_path: Path, protocol: str) -> None:
    """Cancelling a call does not cancel the drawing: its handle has the picture."""
    where = server_fixture(tmp_path, hold=True)
    received = ProgressRecorder()

    async def question(client: Client) -> Any:
        call = asyncio.ensure_future(draw(client, received=received))
        await where.held.arrived.wait()
        await received.first.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert len(where.app.jobs.running) == 1
        where.held.go.set()
        return await view(client, received.handle)

    answer = where.ask(question, protocol)

    assert answer["status"] == "done"
    assert where.store.get(answer["images"][0]["id"]).prompt == "A fox"
    assert len(where.sandbox.requests) == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_client_that_times_out_pays_once(tmp_path: Path, protocol: str) -> None:
    """A client gives up and asks again: it joins the same call, and one picture is paid."""
    where = server_fixture(tmp_path, hold=True)

    async def question(client: Client) -> Any:
        arguments = {"prompt": "A fox", **CHEAP}
        patience = 0.05
        while not where.held.arrived.is_set():  # on a busy machine it is cancelled on its way
            with pytest.raises(MCPError, match=r"(?i)timed out"):
                await client.call_tool("generate_image", arguments, read_timeout_seconds=patience)
            patience *= 2
        again = asyncio.ensure_future(client.call_tool("generate_image", arguments))
        where.held.go.set()
        return result_json(await again)

    answer = where.ask(question, protocol)

    assert answer["status"] == "done"
    assert len(where.sandbox.requests) == 1
    assert len(where.store.history()) == 1


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("more", [{}, {"partial_images": 1}])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_two_calls_alike_are_one_payment(
    tmp_path: Path, protocol: str, more: dict[str, Any], cache: bool
) -> None:
    """The same call made twice at once is one request with one handle, cache or not."""
    where = server_fixture(tmp_path, hold=True, cache=cache)

    async def question(client: Client) -> list[Any]:
        begun = [ProgressRecorder(), ProgressRecorder()]
        calls = asyncio.gather(*(draw(client, received=each, **more) for each in begun))
        for each in begun:
            await each.first.wait()
        where.held.go.set()
        return [result_json(each) for each in await calls]

    one, other = where.ask(question, protocol)

    assert one["handle"] == other["handle"]
    assert one["images"] == other["images"]
    assert len(where.sandbox.requests) == 1


def test_alike_for_another_server_is_paid_once_too(tmp_path: Path) -> None:
    """Two servers that share a cache, as two clients over stdio have, ask the service once."""
    sandbox = Sandbox()
    one = server_fixture(tmp_path, sandbox, hold=True)
    (tmp_path / "b").mkdir()
    other = server_fixture(tmp_path / "b", sandbox, hold=True, store=tmp_path / "store", share=one)

    async def question(first: Client) -> list[Any]:
        async with Client(other.server) as second:
            calls = asyncio.gather(draw(first), draw(second))
            arrived = [asyncio.ensure_future(each.held.arrived.wait()) for each in (one, other)]
            await asyncio.wait(arrived, return_when=asyncio.FIRST_COMPLETED)
            one.held.go.set()
            other.held.go.set()
            return [result_json(each) for each in await calls]

    answers = one.ask(question)

    assert len(sandbox.requests) == 1
    assert sorted(each["cached"] for each in answers) == [False, True]


def test_refresh_pays_again(tmp_path: Path) -> None:
    """Without it the same call is answered from the cache and costs nothing; with it, anew."""
    where = server_fixture(tmp_path)

    async def question(client: Client) -> list[Any]:
        return [
            result_json(await draw(client, refresh=refresh)) for refresh in (False, False, True)
        ]

    first, second, third = where.ask(question)

    assert [each["cached"] for each in (first, second, third)] == [False, True, False]
    assert second["cost_usd"] == "0"
    assert len(where.sandbox.requests) == 2


def test_who_wants_a_new_answer_gets_one(tmp_path: Path) -> None:
    """Two calls that both ask for a new answer are not taken for one that was repeated."""
    where = server_fixture(tmp_path, cache=False)

    async def question(client: Client) -> list[Any]:
        calls = asyncio.gather(draw(client, refresh=True), draw(client, refresh=True))
        return [result_json(each)["handle"] for each in await calls]

    assert len(set(where.ask(question))) == 2
    assert len(where.sandbox.requests) == 2


def test_tags_are_added_to_pictures_that_were_there(tmp_path: Path) -> None:
    """An answer from the cache gets the tags of this call, too."""
    where = server_fixture(tmp_path)

    async def question(client: Client) -> tuple[Any, Job | None]:
        result_json(await draw(client, tags=["one"]))
        answer = result_json(await draw(client, tags=["two"]))
        return answer, await where.app.jobs.get(answer["handle"])

    answer, job = where.ask(question)

    assert answer["cached"]
    assert {"one", "two"} <= set(where.store.get(answer["images"][0]["id"]).tags)
    assert job
    assert "two" in job.records[0].tags


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_progress_is_told_at_once_and_at_each_preview(tmp_path: Path, protocol: str) -> None:
    """Progress names the handle, goes up, and tells of previews that were asked for."""
    where, received = server_fixture(tmp_path), ProgressRecorder()

    where.ask(lambda client: draw(client, partial_images=2, received=received), protocol)

    numbers = [number for number, _ in received.told]
    assert numbers == sorted(set(numbers))
    assert any("preview" in message for _, message in received.told)
    assert {HANDLE.search(message)[0] for _, message in received.told} == {received.handle}  # type: ignore[index]  # a message without one fails the test


def test_no_previews_are_paid_unasked(tmp_path: Path) -> None:
    """Partial images cost tokens: a client that listens to progress does not buy them."""
    where = server_fixture(tmp_path)

    where.ask(lambda client: draw(client, received=ProgressRecorder()))

    assert "partial_images" not in where.sandbox.requests[0].body
    assert "stream" not in where.sandbox.requests[0].body


def test_a_silent_call_shows_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is told again and again while nothing happens, at least every 10 s."""
    assert job_module.HEARTBEAT <= 10
    monkeypatch.setattr(job_module, "HEARTBEAT", 0.001)
    where = server_fixture(tmp_path, hold=True)
    several = asyncio.Event()

    class Patient(ProgressRecorder):
        async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
            await super().__call__(progress, total, message)
            if len(self.told) >= 5:
                several.set()

    async def question(client: Client) -> Any:
        call = asyncio.ensure_future(draw(client, received=Patient()))
        await several.wait()
        where.held.go.set()
        return result_json(await call)

    assert where.ask(question)["status"] == "done"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_over_http_a_client_that_left_finds_its_picture(tmp_path: Path, protocol: str) -> None:
    """The connection breaks in the middle of a call; another one gets the picture."""
    slow, received = Slow(), ProgressRecorder()
    where = server_fixture(tmp_path, slow)
    settings = evolve(where.app.settings, transport="http")

    async def leave(url: str) -> None:
        async with Client(url, mode=protocol) as client:
            call = asyncio.ensure_future(draw(client, received=received))
            await asyncio.to_thread(slow.here.wait, 60)
            await received.first.wait()
            call.cancel()

    async def return_(url: str) -> Any:
        async with Client(url, mode=protocol) as client:
            slow.go.set()
            return await view(client, received.handle)

    with serving(where.server, settings) as site:
        asyncio.run(leave(f"{site.url}/mcp"))
        assert len(where.app.jobs.running) == 1
        answer = asyncio.run(return_(f"{site.url}/mcp"))

    assert answer["status"] == "done"
    assert len(slow.requests) == 1


def test_a_server_that_ends_lets_paid_work_end(tmp_path: Path) -> None:
    """When the client hangs up in the middle of a call, the picture is drawn and saved first."""
    where, received = server_fixture(tmp_path, hold=True), ProgressRecorder()

    async def left() -> None:
        async with Client(where.server) as client:
            call = asyncio.ensure_future(draw(client, received=received))
            await where.held.arrived.wait()
            await received.first.wait()
            asyncio.get_running_loop().call_later(0.05, where.held.go.set)
            call.cancel()

    asyncio.run(left())

    assert [record.prompt for record in where.store.history()] == ["A fox"]
    assert received.handle in where.store.history()[0].tags


async def cancelled_by_scope(ending: Callable[[], Awaitable[None]]) -> None:
    """End inside a cancel scope that is cancelled, as the SDK's are."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        await ending()


async def cancelled_by_task(ending: Callable[[], Awaitable[None]]) -> None:
    """End in a task that is cancelled again and again, as by Ctrl-C."""
    task = asyncio.ensure_future(ending())
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("cancelled", [cancelled_by_scope, cancelled_by_task])
def test_being_cancelled_does_not_cut_the_end_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cancelled: Callable[..., Awaitable[None]]
) -> None:
    """Whoever cancels a server that ends, its paid work ends first, and nothing spins meanwhile."""
    store = gptimage.Store(tmp_path / "store", fsync=False)
    jobs = Jobs(store=lambda: store, state=SharedFolder(tmp_path / JOBS))
    ended: list[str] = []
    turns: list[object] = []
    shield = asyncio.shield

    def counted(future: Any) -> Any:
        turns.append(future)
        return shield(future)

    monkeypatch.setattr(asyncio, "shield", counted)

    async def work(job: Job) -> gptimage.Result:
        for _ in range(1000):  # turns of the event loop, in which a loop could spin
            await asyncio.sleep(0)
        ended.append(job.operation)
        raise gptimage.TransportError("no matter")

    async def ending() -> None:
        await jobs.__aexit__(None, None, None)

    async def run() -> None:
        await jobs.__aenter__()
        jobs.start("generate", work)
        await cancelled(ending)
        assert ended == ["generate"]

    asyncio.run(run())

    assert len(turns) < 10


def test_large_outcomes_are_not_kept_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of large pictures only the newest outcome is kept; the store has the others."""
    monkeypatch.setattr("gptimage_mcp.jobs.jobs._MEMORY", 1000)
    where = server_fixture(tmp_path)

    async def question(client: Client) -> list[bool]:
        handles = [
            result_json(await draw(client, f"Fox {number}"))["handle"] for number in range(3)
        ]
        held = [await where.app.jobs.get(handle) for handle in handles]
        return [job.outcome is not None for job in held if job]

    assert where.ask(question) == [False, False, True]


def test_work_that_does_not_end_in_time_is_given_up_and_told(tmp_path: Path) -> None:
    """The time to end is bounded; what was sent may have been billed, and is called unknown."""
    where = server_fixture(tmp_path, hold=True)
    jobs = Jobs(store=lambda: where.store, state=SharedFolder(tmp_path / JOBS), grace=0.01)
    where = evolve(where, app=evolve(where.app, jobs=jobs))
    handles: list[str] = []

    async def work(job: Job) -> gptimage.Result:
        handles.append(job.handle)
        job.before_send("key", Decimal("0.25"))
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    async def run() -> tuple[Any, Any]:
        async with jobs:
            jobs.start("generate", work, owner="me")
            await asyncio.sleep(0)
        later = Jobs(store=lambda: where.store, state=SharedFolder(tmp_path / JOBS))
        return await jobs.get(handles[0], owner="me"), await later.get(handles[0], owner="me")

    for job in asyncio.run(run()):
        assert job.state == "unknown"
        assert "$0.25" in str(job.error)


def test_a_handle_survives_a_restart(tmp_path: Path) -> None:
    """Another server over the same folders gives the pictures of a handle."""
    first = result_json(
        server_fixture(tmp_path).call("generate_image", prompt="A fox", n=2, **CHEAP)
    )
    again = server_fixture(tmp_path).call("view_image", id=first["handle"])

    assert [each["id"] for each in result_json(again)["images"]] == [
        each["id"] for each in first["images"]
    ]


def test_a_failure_survives_a_restart(tmp_path: Path) -> None:
    """What the service refused is told again by a server that was not there."""
    where, received = server_fixture(tmp_path), ProgressRecorder()
    where.sandbox.fail_next("moderation")
    first = where.ask(lambda client: draw(client, received=received))
    again = server_fixture(tmp_path).call("view_image", id=received.handle)

    assert first.is_error
    assert again.is_error
    assert "safety system" in text(again)


def test_a_handle_nobody_knows_is_said_to_be_unknown(tmp_path: Path) -> None:
    """A handle that was made up, or thrown away, has no job."""
    answer = server_fixture(tmp_path).call("view_image", id="job_" + 32 * "0")

    assert answer.is_error
    assert "no call has the handle" in text(answer)


@pytest.mark.parametrize("handle", ["job_../../x", "job_" + 31 * "0", "job_" + 32 * "G", "", "x"])
def test_only_a_handle_becomes_a_file_name(tmp_path: Path, handle: str) -> None:
    """Whatever is no handle is looked up nowhere."""
    (tmp_path / "x.json").write_text("{}")

    assert not is_handle(handle)
    assert Journal(tmp_path / JOBS).find(handle) is None


def test_handles_cannot_be_guessed(tmp_path: Path) -> None:
    """A handle has 128 random bits."""
    where = server_fixture(tmp_path)

    async def question(client: Client) -> set[str]:
        return {result_json(await draw(client, f"Fox {number}"))["handle"] for number in range(5)}

    handles = where.ask(question)

    assert len(handles) == 5
    assert all(HANDLE.fullmatch(each) for each in handles)


def token(subject: str | None, issuer: str = "https://login.example.com") -> AuthenticatedUser:
    """Somebody who proved who they are."""
    return AuthenticatedUser(
        AccessToken(
            token="t",  # nobody checks it here
            client_id="app",
            scopes=[],
            subject=subject,
            claims={"iss": issuer},
        )
    )


def test_a_job_is_its_owner_s(tmp_path: Path) -> None:
    """With tokens, nobody else is told of a job, also after a restart, nor joins it."""
    where, owner = server_fixture(tmp_path), auth_context_var.set(token("ann"))
    try:
        handle = result_json(where.call("generate_image", prompt="A fox", **CHEAP))["handle"]
        assert result_json(where.call("view_image", id=handle))["status"] == "done"
        for stranger in (token("bob"), token("ann", "https://other.example.com"), None):
            auth_context_var.set(stranger)
            for server in (where, server_fixture(tmp_path)):
                assert "no call has the handle" in text(server.call("view_image", id=handle))
    finally:
        auth_context_var.reset(owner)


def test_only_one_s_own_job_is_joined(tmp_path: Path) -> None:
    """The same call of two people is two jobs, each with its own handle; asking twice is one."""
    where = server_fixture(tmp_path, hold=True)

    async def question(client: Client) -> list[str]:
        calls: list[asyncio.Future[Any]] = []
        begun = [ProgressRecorder() for _ in range(3)]
        for name, received in zip(("ann", "bob", "ann"), begun, strict=True):
            auth_context_var.set(token(name))
            calls.append(asyncio.ensure_future(draw(client, received=received)))
        for received in begun:
            await received.first.wait()
        where.held.go.set()
        return [result_json(each)["handle"] for each in await asyncio.gather(*calls)]

    ann, bob, again = where.ask(question)

    assert ann == again
    assert ann != bob
    assert len(where.sandbox.requests) == 1


def test_a_picture_that_could_not_be_saved_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk after payment: the answer has the picture, and its copy is written."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    where = server_fixture(tmp_path, cache=False)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gptimage.store.local_blobs.FileBlobs.create", full)
    answer = where.call("generate_image", prompt="A fox", save_to="fox", **CHEAP)

    assert not answer.is_error
    assert result_json(answer)["status"] == "not_saved"
    assert "image" in [block.type for block in answer.content]
    assert (tmp_path / "out" / "fox.png").is_file()


def test_images_in_memory_are_saved_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no disk took a paid image, its handle or the server's end saves it, with its tags."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "no folder"))
    (tmp_path / "no folder").touch()
    monkeypatch.setattr("gptimage_mcp.jobs.jobs._REMEMBERED", 0)  # of what is saved
    where = server_fixture(tmp_path, cache=False)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    async def question(client: Client) -> list[Any]:
        with monkeypatch.context() as patch:
            patch.setattr("gptimage.store.local_blobs.FileBlobs.create", full)
            drawn = await draw(client, tags=["dusk"])
            handle = {"id": result_json(drawn)["handle"]}
            facts = await client.call_tool("get_image_info", handle)
            other = await draw(client, "A cat")
        found = await asyncio.gather(*(client.call_tool("view_image", handle) for _ in range(2)))
        shown = map(result_json, (drawn, other, *found))
        return [facts.structured_content, *shown, handle["id"]]

    facts, first, other, seen, again, handle = where.ask(question)

    assert [each["status"] for each in (facts, first, other)] == ["not_saved"] * 3
    assert "view_image with their handle saves them" in first["next"]
    cat, record = gptimage.Store(tmp_path / "store").history().records
    assert cat.prompt == "A cat"  # saved as the server ended
    assert set(record.tags) == {"dusk", "sandbox", handle}
    assert [each["images"][0]["id"] for each in (seen, again)] == [record.id] * 2
    assert (seen["status"], seen["cost_usd"]) == ("done", first["cost_usd"])


def test_images_that_are_not_saved_can_be_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their handle stands for them while the server runs, and a turn of a conversation is whole."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    where = server_fixture(tmp_path, cache=False)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    async def question(client: Client) -> list[Any]:
        with monkeypatch.context() as patch:
            patch.setattr("gptimage.store.local_blobs.FileBlobs.create", full)
            handle = result_json(await draw(client))["handle"]
            turn = {"prompt": "At dusk", "image": handle, "quality": "low"}
            refined = result_json(await client.call_tool("refine_image", turn))
            stream = {**turn, "image": refined["response_id"], "advanced": {"partial_images": 1}}
            streamed = result_json(await client.call_tool("refine_image", stream))
        edit = {"prompt": "A hat", "images": [handle], "quality": "low"}
        edited = result_json(await client.call_tool("edit_image", edit))
        return [refined, streamed, edited]

    refined, streamed, edited = where.ask(question)

    assert [each["status"] for each in (refined, streamed, edited)] == ["not_saved"] * 2 + ["done"]
    assert [each["response_id"][:5] for each in (refined, streamed)] == ["resp_"] * 2
    assert [bool(each["text"] and each["chat_cost_usd"]) for each in (refined, streamed)] == [
        True
    ] * 2


def test_a_slow_save_holds_up_no_other_handle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While images that were in memory only are being saved, other handles are answered."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "no folder"))
    (tmp_path / "no folder").touch()
    where = server_fixture(tmp_path, cache=False)
    create, saving, seen = FileBlobs.create, threading.Event(), threading.Event()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    def slow(blobs: FileBlobs, key: str, *args: Any, **options: Any) -> str:
        saving.set()
        if not seen.wait(60):
            raise OSError(28, "No space left on device")
        return create(blobs, key, *args, **options)

    async def question(client: Client) -> list[Any]:
        other = result_json(await draw(client, "A cat"))["handle"]
        with monkeypatch.context() as patch:
            patch.setattr(FileBlobs, "create", full)
            unsaved = result_json(await draw(client))["handle"]
        with monkeypatch.context() as patch:
            patch.setattr(FileBlobs, "create", slow)
            being_saved = asyncio.ensure_future(view(client, unsaved))
            await asyncio.to_thread(saving.wait, 60)
            shown = await view(client, other)
            seen.set()
            return [shown["status"], (await being_saved)["status"]]

    assert where.ask(question) == ["done", "done"]


@pytest.mark.parametrize(("tenants", "saved"), [(False, 1), (True, 0)])
def test_images_of_known_callers_are_saved_as_a_server_ends(
    tmp_path: Path, tenants: bool, saved: int
) -> None:
    """With tokens, too, unless each caller has a store: no request says whose it is by then."""
    store = gptimage.Store(tmp_path / "store", fsync=False)
    jobs = Jobs(store=lambda: store, state=SharedFolder(tmp_path / JOBS), tenants=tenants)
    with gptimage.ImageClient.sandbox() as client:
        drawn = client.generate("A fox", **CHEAP)

    async def work(job: Job) -> gptimage.Result:
        job.tags = (job.handle,)
        raise gptimage.StoreError("there is no room", result=drawn)

    async def run() -> None:
        async with jobs:
            await jobs.start("generate", work, owner="somebody").wait(60)

    asyncio.run(run())

    assert store.stats().images == saved


@pytest.mark.parametrize(("room", "by_runner"), [(2, False), (0, True)])
def test_images_of_which_some_were_saved_are_saved_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, by_runner: bool
) -> None:
    """Where one of two was saved, or a runner saved both as it ended, the store has two later."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "no folder"))
    (tmp_path / "no folder").touch()
    where = server_fixture(tmp_path, cache=False)
    create, written = FileBlobs.create, list[str]()

    def fill(blobs: FileBlobs, key: str, *args: Any, **options: Any) -> str:
        written.append(key)
        if len(written) > room:  # an image and its sidecar are two
            raise OSError(28, "No space left on device")
        return create(blobs, key, *args, **options)

    async def question(client: Client) -> list[Any]:
        with monkeypatch.context() as patch:
            patch.setattr(FileBlobs, "create", fill)
            drawn = result_json(await draw(client, n=2))
        if by_runner:
            outcome = where.app.jobs._here[drawn["handle"]].outcome  # pyright: ignore[reportPrivateUsage]  # `get` would save it
            assert isinstance(outcome, gptimage.Result)
            where.app.store.save(outcome, tags=[drawn["handle"]])
        found = [await client.call_tool("view_image", {"id": drawn["handle"]}) for _ in range(2)]
        return [drawn, *map(result_json, found)]

    drawn, seen, again = where.ask(question)

    ids = [record.id for record in gptimage.Store(tmp_path / "store").history().records]
    assert [len(drawn["images"]), len(ids)] == [2, 2]
    for each in (seen, again):
        assert sorted(image["id"] for image in each["images"]) == sorted(ids)


def test_a_handle_of_images_that_were_never_saved_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server started later does not say that they were deleted: they are paid."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "no folder"))
    (tmp_path / "no folder").touch()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("gptimage.store.local_blobs.FileBlobs.create", full)
        handle = result_json(
            server_fixture(tmp_path, cache=False).call("generate_image", prompt="A fox", **CHEAP)
        )["handle"]

    later = server_fixture(tmp_path)
    assert "images could not be saved" in text(later.call("view_image", id=handle))
    facts = later.call("get_image_info", id=handle).structured_content
    assert facts
    assert facts["status"] == "not_saved"


def test_many_outcomes_do_not_fill_the_memory(tmp_path: Path) -> None:
    """Only the newest outcomes keep their pixels; older ones come from the store."""
    where = server_fixture(tmp_path)

    async def question(client: Client) -> tuple[Any, int]:
        handles = [
            result_json(await draw(client, f"Fox {number}"))["handle"] for number in range(12)
        ]
        held = [await where.app.jobs.get(handle) for handle in handles]
        return await view(client, handles[0]), sum(job.outcome is not None for job in held if job)

    oldest, held = where.ask(question)

    assert oldest["status"] == "done"
    assert held <= 8


def test_a_journal_that_cannot_be_written_costs_no_picture(tmp_path: Path) -> None:
    """Where handles cannot be written down, pictures are drawn all the same."""
    (tmp_path / JOBS).write_text("not a folder")

    assert result_json(server_fixture(tmp_path).call("generate_image", prompt="A fox", **CHEAP))[
        "images"
    ]


def test_old_entries_are_thrown_away(tmp_path: Path) -> None:
    """After a month nobody asks for a handle any more; running servers keep their locks."""
    journal, other = Journal(tmp_path), Journal(tmp_path)
    entry = journal.begin(Entry(operation="generate", started=datetime.now(UTC)))
    long_ago = datetime.now(UTC).timestamp() - shared.KEPT - 60
    for path in tmp_path.iterdir():
        os.utime(path, (long_ago, long_ago))

    other.begin(Entry(operation="generate", started=datetime.now(UTC)))

    assert journal.find(entry.handle) is None
    assert journal.is_alive(entry)
    assert other.is_alive(entry)
    journal.close()
    assert not other.is_alive(entry)


def test_a_job_of_a_running_server_is_waited_for_elsewhere(tmp_path: Path) -> None:
    """Two processes share the folders: one asks for what the other is drawing, and gets it."""
    here = server_fixture(tmp_path, hold=True)
    (tmp_path / "b").mkdir()
    there = server_fixture(
        tmp_path / "b", store=tmp_path / "store", ledger=tmp_path / "spend.sqlite"
    )
    received: list[Progress] = []

    async def tell(progress: Progress) -> None:
        received.append(progress)
        here.held.go.set()

    async def question(client: Client) -> tuple[Any, Any]:
        call = asyncio.ensure_future(draw(client))
        await here.held.arrived.wait()
        handle = here.app.jobs.running[0].handle
        job = await there.app.jobs.get(handle)
        assert job is not None
        assert job.state == "running"
        await job.wait(30, tell)
        return job, result_json(await call)

    job, answer = here.ask(question)

    assert "another process" in received[0].message
    assert job.state == "done"
    assert [record.id for record in job.records] == [answer["images"][0]["id"]]


def test_where_no_other_process_can_draw_the_server_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A runner that cannot work costs no picture: the server draws, writes it down, and says so."""
    where = server_fixture(tmp_path)
    runner = Runner("tests.service.works:open_nothing", tmp_path)
    alone = evolve(where, server=server_of(evolve(where.app, runner=runner)))

    answer = result_json(alone.call("generate_image", prompt="A fox", **CHEAP))

    entry = Journal(tmp_path / JOBS).find(answer["handle"])
    assert entry
    assert (entry.state, entry.images) == ("done", (answer["images"][0]["id"],))
    assert "this process draws by itself" in caplog.text
    assert len(where.sandbox.requests) == 1


KILLED = """
import asyncio, os, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.mcp.harness import server_fixture
from mcp import Client

where = server_fixture(Path({folder!r}), hold=True)

async def main():
    async with Client(where.server) as client:
        async def told(progress, total, message):
            print(message, flush=True)
        call = asyncio.ensure_future(client.call_tool(
            "generate_image", {arguments!r}, progress_callback=told))
        await where.held.arrived.wait()
        if {saved}:
            where.held.go.set()
            where.app.jobs._journal.put = lambda entry: (print("saved", flush=True), input())
        print("sent", flush=True)
        await call

asyncio.run(main())
"""


def killed(folder: Path, *, saved: bool = False, before: Callable[[str], bool]) -> str:
    """Kill a server with -9 in the middle of a call; the handle of that call.

    Args:
        folder: Its files.
        saved: Kill it after the picture was saved, before that was written down.
        before: Kill it when it says this.
    """
    root = str(Path(__file__).parents[2])
    program = KILLED.format(
        root=root, folder=str(folder), arguments={"prompt": "A fox", **CHEAP}, saved=saved
    )
    with start_python(
        ["-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        handle = ""
        for line in process.stdout:
            found = HANDLE.search(line)
            handle = found[0] if found else handle
            if before(line):
                break
        process.send_signal(signal.SIGKILL)
    return handle


def test_a_killed_server_is_owned_up_to(tmp_path: Path) -> None:
    """After kill -9 a later server says when it began, that it may be billed, and up to what."""
    handle = killed(tmp_path, before=lambda line: line == "sent\n")
    answer = server_fixture(tmp_path).call("view_image", id=handle)

    assert answer.is_error
    told = text(answer)
    assert "generate begun at" in told
    assert "the server stopped meanwhile" in told
    assert "up to $0.0" in told
    assert "list_images" in told


def test_a_server_killed_after_saving_has_the_picture(tmp_path: Path) -> None:
    """The picture is in the store, and found by its handle although nobody wrote that down."""
    handle = killed(tmp_path, saved=True, before=lambda line: line == "saved\n")
    answer = result_json(server_fixture(tmp_path).call("view_image", id=handle))

    assert answer["status"] == "done"
    assert len(answer["images"]) == 1


def test_a_picture_that_was_saved_after_all_is_found(tmp_path: Path) -> None:
    """A server that had to stop noted "unknown" while the picture was just being saved."""
    where = server_fixture(tmp_path)
    journal = Journal(tmp_path / JOBS)
    entry = journal.begin(Entry(operation="generate", started=datetime.now(UTC)))
    journal.put(evolve(entry, state="unknown", sent=True, error="the server stopped"))
    journal.close()
    with gptimage.ImageClient.sandbox(store=where.store) as client:
        saved = client.generate("A fox", size="1024x1024", tags=[entry.handle]).stored[0]

    answer = result_json(where.call("view_image", id=entry.handle))
    assert [each["id"] for each in answer["images"]] == [saved.id]


def test_a_server_killed_before_sending_has_cost_nothing(tmp_path: Path) -> None:
    """What never left was not billed, and that is said."""
    journal = Journal(tmp_path / JOBS)
    entry = journal.begin(Entry(operation="edit", started=datetime.now(UTC)))
    journal.close()
    answer = server_fixture(tmp_path).call("view_image", id=entry.handle)

    assert answer.is_error
    assert "before the request was sent; nothing was billed" in text(answer)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"handle": 1}', json.dumps({"most": "x"})])
def test_a_damaged_entry_is_a_handle_nobody_knows(tmp_path: Path, content: str) -> None:
    """A file that was cut short or changed is no reason to fail."""
    handle = "job_" + 32 * "a"
    (tmp_path / JOBS).mkdir()
    (tmp_path / JOBS / f"{handle}.json").write_text(content)

    assert "no call has the handle" in text(server_fixture(tmp_path).call("view_image", id=handle))


def test_the_journal_keeps_no_prompt(tmp_path: Path) -> None:
    """What is written about a call says what, when and how much, not what about."""
    where: ServerFixture = server_fixture(tmp_path)
    result_json(where.call("generate_image", prompt="A secret fox", **CHEAP))
    written = "".join(each.read_text() for each in (tmp_path / JOBS).glob("*.json"))

    assert "generate" in written
    assert "secret" not in written
