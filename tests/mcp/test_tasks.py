"""The Tasks extension: a call that goes on is a task, for clients that know tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from mcp import Client
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.shared.exceptions import MCPError
from mcp_types import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolResult,
    Request,
    RequestParams,
    Result,
)
from pydantic import ConfigDict

from gptimage_mcp.tasks import TASKS
from tests.mcp.harness import result_json, server_fixture
from tests.mcp.http_helpers import serving


CHEAP = {"size": "1024x1024", "quality": "low"}


class TaskParams(RequestParams):
    """The id of a task."""

    task_id: str


class TaskRequest(Request[TaskParams, str]):
    """``tasks/get`` and its like."""

    method: str
    params: TaskParams


class Task(Result):
    """A task as it travels."""

    model_config = ConfigDict(extra="allow")

    result_type: Literal["task"] = "task"
    task_id: str
    status: str


class TaskState(Result):
    """The answer to ``tasks/get``."""

    model_config = ConfigDict(extra="allow")

    status: str | None = None
    result: dict[str, Any] | None = None


async def ask(session: Any, method: str, task_id: str) -> TaskState:
    """Ask about a task."""
    request = TaskRequest(method=method, params=TaskParams(task_id=task_id))
    state: TaskState = await session.send_request(request, TaskState)
    return state


class KnowsTasks(ClientExtension):
    """A client that resolves tasks.

    Attributes:
        seen: The tasks it was given.
    """

    identifier = TASKS

    def __init__(self, before: Any = None) -> None:
        self.seen: list[Task] = []
        self._before = before

    def claims(self) -> Sequence[ResultClaim[Any]]:
        """Return the shape of a task, and how it is resolved."""
        return (ResultClaim(result_type="task", model=Task, resolve=self._resolve),)

    async def _resolve(self, task: Task, ctx: ClaimContext) -> CallToolResult:
        self.seen.append(task)
        if self._before is not None:
            await self._before(ctx.session, task)
        while (state := await ask(ctx.session, "tasks/get", task.task_id)).status == "working":  # noqa: ASYNC110  # the protocol has clients ask again
            await asyncio.sleep(0.01)
        assert state.result is not None, state.status
        return CallToolResult.model_validate(state.result)


def test_a_call_that_goes_on_is_a_task(tmp_path: Path) -> None:
    """The client is given a task, asks until it is completed, and has the image."""
    here = server_fixture(tmp_path, hold=True, wait=0)

    async def release(session: Any, task: Task) -> None:
        assert task.status == "working"
        assert (await ask(session, "tasks/get", task.task_id)).status == "working"
        assert (await ask(session, "tasks/update", task.task_id)).status is None
        here.held.go.set()

    knows = KnowsTasks(release)

    async def story() -> CallToolResult:
        async with Client(here.server, mode="auto", extensions=[knows]) as client:
            return await client.call_tool("generate_image", {"prompt": "A fox", **CHEAP})

    result = asyncio.run(story())

    assert result_json(result)["handle"] == knows.seen[0].task_id
    assert [block.type for block in result.content] == ["text", "image"]
    assert len(here.sandbox.requests) == 1


@pytest.mark.parametrize("protocol", ["auto", "legacy"])
def test_other_clients_get_the_handle(tmp_path: Path, protocol: str) -> None:
    """Who did not declare the extension is never given a task."""
    here = server_fixture(tmp_path, hold=True, wait=0)

    async def story() -> CallToolResult:
        async with Client(here.server, mode=protocol) as client:
            result = await client.call_tool("generate_image", {"prompt": "A fox", **CHEAP})
            here.held.go.set()
            return result

    assert result_json(asyncio.run(story()))["status"] == "running"


def test_a_quick_call_is_no_task(tmp_path: Path) -> None:
    """What is done in time is answered at once."""
    here = server_fixture(tmp_path)
    knows = KnowsTasks()

    async def story() -> CallToolResult:
        async with Client(here.server, mode="auto", extensions=[knows]) as client:
            return await client.call_tool("generate_image", {"prompt": "A fox", **CHEAP})

    assert result_json(asyncio.run(story()))["status"] == "done"
    assert knows.seen == []


def test_an_error_of_the_service_is_the_result_of_the_task(tmp_path: Path) -> None:
    """A refusal completes the task with isError; only errors of the protocol fail it."""
    here = server_fixture(tmp_path, hold=True, wait=0)
    here.sandbox.fail_next("moderation")

    async def release(session: Any, task: Task) -> None:
        here.held.go.set()

    async def story() -> CallToolResult:
        knows = KnowsTasks(release)
        async with Client(here.server, mode="auto", extensions=[knows]) as client:
            return await client.call_tool("generate_image", {"prompt": "A fox", **CHEAP})

    result = asyncio.run(story())

    assert result.is_error
    assert "ModerationError" in str(result.content)


def test_the_size_of_previews_reaches_the_task(tmp_path: Path) -> None:
    """``max_px`` of the call holds for the result of its task."""
    here = server_fixture(tmp_path, hold=True, wait=0)

    async def release(session: Any, task: Task) -> None:
        here.held.go.set()

    async def story() -> CallToolResult:
        knows = KnowsTasks(release)
        async with Client(here.server, mode="auto", extensions=[knows]) as client:
            arguments = {"prompt": "A fox", "advanced": {"max_px": 0}, **CHEAP}
            return await client.call_tool("generate_image", arguments)

    assert [block.type for block in asyncio.run(story()).content] == ["text"]


def test_a_task_that_was_sent_is_finished(tmp_path: Path) -> None:
    """Cancelling is acknowledged; what was sent is paid, so its image still comes."""
    here = server_fixture(tmp_path, hold=True, wait=0)

    async def cancel(session: Any, task: Task) -> None:
        await here.held.arrived.wait()
        assert (await ask(session, "tasks/cancel", task.task_id)).status is None
        here.held.go.set()

    async def story() -> CallToolResult:
        async with Client(here.server, mode="auto", extensions=[KnowsTasks(cancel)]) as client:
            return await client.call_tool("generate_image", {"prompt": "A fox", **CHEAP})

    assert result_json(asyncio.run(story()))["status"] == "done"
    assert len(here.sandbox.requests) == 1


def test_nobody_elses_task_is_found(tmp_path: Path) -> None:
    """An unknown id is refused with the code of the specification."""
    here = server_fixture(tmp_path)

    async def story() -> int:
        async with Client(here.server, mode="auto", extensions=[KnowsTasks()]) as client:
            with pytest.raises(MCPError) as caught:
                await ask(client.session, "tasks/get", "job_" + "0" * 32)
            return caught.value.error.code

    assert asyncio.run(story()) == INVALID_PARAMS


def test_a_mistake_of_the_server_fails_the_task(tmp_path: Path) -> None:
    """What no other call could put right is an error of the protocol, without a result."""
    here = server_fixture(tmp_path, wait=0)

    async def work(_: Any) -> Any:
        raise RuntimeError("a mistake of the server")

    async def story() -> TaskState:
        async with Client(here.server, mode="auto", extensions=[KnowsTasks()]) as client:
            job = here.app.jobs.start("generate", work)
            await job.wait(60)
            return await ask(client.session, "tasks/get", job.handle)

    state = asyncio.run(story())

    assert (state.status, state.result) == ("failed", None)
    error = (state.model_extra or {})["error"]
    assert error["code"] == INTERNAL_ERROR
    assert "RuntimeError" in error["message"]


@pytest.mark.parametrize(
    ("named", "status", "code"),
    [("", 400, HEADER_MISMATCH), ("job_1", 400, HEADER_MISMATCH), ("job_2", 400, INVALID_PARAMS)],
)
def test_the_header_a_proxy_routes_by_names_the_task(
    tmp_path: Path, named: str, status: int, code: int
) -> None:
    """Over HTTP ``Mcp-Name`` is the id of the task, and missing or another is refused."""
    here = server_fixture(tmp_path, transport="http")
    envelope = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {"extensions": {TASKS: {}}},
    }
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tasks/get",
        "params": {"taskId": "job_2", "_meta": envelope},
    }
    headers = {
        "accept": "application/json, text/event-stream",
        "mcp_protocol_version": "2026-07-28",
        "mcp_method": "tasks/get",
    }

    with serving(here.server, here.app.settings) as site:
        response = site.post("/mcp", body, **headers, **({"mcp_name": named} if named else {}))

    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
