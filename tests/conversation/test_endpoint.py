"""The sandbox's ``POST /responses``: as strict as the service, and readable by OpenAI's own SDK."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import openai
import pytest

from gptimage import AsyncImageClient, Image, ImageClient
from gptimage.sandbox import Sandbox, SandboxServer
from gptimage.transport.http import HttpReply, HttpRequest
from gptimage.transport.openai_sdk import AsyncOpenAITransport, OpenAITransport
from tests.conversation.helpers import encoded, picture


TOOL = {
    "type": "image_generation",
    "model": "gpt-image-2.5-flare",
    "quality": "low",
    "size": "1024x1024",
}
TURN: dict[str, Any] = {"model": "gpt-6-luna", "input": "A cabin", "tools": [TOOL]}


def ask(sandbox: Sandbox, body: dict[str, Any]) -> tuple[HttpReply, Any]:
    """The answer to a request, and its JSON."""
    reply = sandbox.send(HttpRequest(method="POST", path="/responses", body=body))
    return reply, json.loads(bytes(reply.body))


def refused(body: dict[str, Any], sandbox: Sandbox | None = None) -> tuple[int, Any, Any]:
    """Status, parameter and code of a refusal."""
    reply, value = ask(sandbox or Sandbox(), body)
    error = value["error"]
    return reply.status, error["param"], error["code"]


def calls(value: Any) -> list[Any]:
    """The image calls of a response."""
    return [item for item in value["output"] if item["type"] == "image_generation_call"]


def shows(url: str) -> list[dict[str, object]]:
    """An input of words and one image."""
    parts = [
        {"type": "input_text", "text": "Change it"},
        {"type": "input_image", "image_url": url, "detail": "auto"},
    ]
    return [{"role": "user", "content": parts}]


def url(data: bytes) -> str:
    """An image as a data URL."""
    return f"data:image/png;base64,{encoded(data)}"


def test_a_turn_is_answered_in_full() -> None:
    """An image, words, and usage of both models."""
    _, value = ask(Sandbox(), TURN)
    (call,) = calls(value)

    assert Image.from_bytes(base64.b64decode(call["result"])).size == (1024, 1024)
    assert (call["status"], call["action"]) == ("completed", "generate")
    assert value["status"] == "completed"
    assert value["usage"]["total_tokens"] > 0
    assert value["tool_usage"]["image_gen"]["output_tokens"] == 196


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"model": "gpt-image-2"}, (400, "model", "model_not_found")),
        ({"model": "gpt-nothing"}, (400, "model", "model_not_found")),
        ({"model": None}, (400, "model", "invalid_type")),
        ({"n": 2}, (400, "n", "unknown_parameter")),
        ({"stream": "yes"}, (400, "stream", "invalid_type")),
        ({"store": "yes"}, (400, "store", "invalid_type")),
        ({"input": None}, (400, "input", "missing_required_parameter")),
        ({"input": 7}, (400, "input", "invalid_type")),
        ({"input": ""}, (400, "input", "empty_string")),
        ({"input": [7]}, (400, "input[0]", "invalid_type")),
        ({"input": [{"content": "x"}]}, (400, "input[0].role", "missing_required_parameter")),
        ({"input": [{"role": "bot", "content": "x"}]}, (400, "input[0].role", "invalid_value")),
        ({"tools": [{"type": "teleport"}]}, (400, "tools[0].type", "invalid_value")),
        ({"tools": [TOOL, TOOL]}, (400, "tools", "invalid_value")),
        ({"tools": [{**TOOL, "n": 2}]}, (400, "tools[0].n", "unknown_parameter")),
        ({"tools": [{**TOOL, "markup": {}}]}, (400, "tools[0].markup", "unknown_parameter")),
        ({"tools": [{**TOOL, "size": "512x512"}]}, (400, "tools[0].size", "invalid_value")),
        ({"tools": [{**TOOL, "quality": "best"}]}, (400, "tools[0].quality", "invalid_value")),
        ({"tools": [{**TOOL, "model": "dall-e-3"}]}, (400, "tools[0].model", "invalid_value")),
        ({"tools": [{**TOOL, "action": "edit"}]}, (400, "tools[0].action", "invalid_value")),
        ({"tool_choice": "maybe"}, (400, "tool_choice", "invalid_value")),
        ({"max_tool_calls": 0}, (400, "max_tool_calls", "integer_below_min_value")),
        (
            {"tools": [{**TOOL, "partial_images": 2}]},
            (400, "tools[0].partial_images", "invalid_value"),
        ),
        (
            {"tools": [{**TOOL, "input_image_mask": {"image_url": "data:,"}}]},
            (400, "tools[0].input_image_mask", "invalid_value"),
        ),
        (
            {"previous_response_id": "resp_nope"},
            (400, "previous_response_id", "previous_response_not_found"),
        ),
        ({"input": shows("data:image/png;base64,AAAA")}, (400, "input", "invalid_image_file")),
    ],
    ids=str,
)
def test_what_the_service_refuses_is_refused(
    change: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    """With the service's status, parameter and code."""
    assert refused({**TURN, **change}) == expected


def test_auto_edits_when_there_is_a_picture() -> None:
    """From the words' own images, or from the turn before."""
    sandbox = Sandbox()
    _, first = ask(sandbox, TURN)
    _, second = ask(sandbox, {**TURN, "previous_response_id": first["id"]})
    _, third = ask(sandbox, {**TURN, "input": shows(url(picture()))})
    fresh = {**TURN, "tools": [{**TOOL, "action": "generate"}], "previous_response_id": first["id"]}
    _, fourth = ask(sandbox, fresh)

    actions = [calls(each)[0]["action"] for each in (first, second, third, fourth)]
    assert actions == ["generate", "edit", "edit", "generate"]
    assert second["previous_response_id"] == first["id"]


def test_a_picture_is_named_by_its_call() -> None:
    """An earlier image call may stand in the input; an unknown one is not found."""
    sandbox = Sandbox()
    _, first = ask(sandbox, TURN)
    said = {"role": "user", "content": "Add snow"}
    named = [said, {"type": "image_generation_call", "id": calls(first)[0]["id"]}]
    _, second = ask(sandbox, {**TURN, "input": named})

    assert calls(second)[0]["action"] == "edit"
    unknown = [said, {"type": "image_generation_call", "id": "ig_nope"}]
    assert refused({**TURN, "input": unknown}, sandbox)[0] == 404


def test_what_is_not_stored_cannot_be_continued() -> None:
    """``store: false`` leaves nothing behind."""
    sandbox = Sandbox()
    _, first = ask(sandbox, {**TURN, "store": False})
    later = {**TURN, "previous_response_id": first["id"]}

    assert refused(later, sandbox)[2] == "previous_response_not_found"


@pytest.mark.parametrize("change", [{"tools": []}, {"tool_choice": "none"}])
def test_without_the_tool_it_only_speaks(change: dict[str, Any]) -> None:
    """Words, and no image tokens."""
    _, value = ask(Sandbox(), {**TURN, **change})

    assert calls(value) == []
    assert value["output"][0]["content"][0]["text"]
    assert value["tool_usage"]["image_gen"]["total_tokens"] == 0


def test_a_refused_picture_is_a_failed_call() -> None:
    """The response is complete; the call in it has failed and says why."""
    _, value = ask(Sandbox(), {**TURN, "input": "[sandbox:moderation] A cabin"})
    (call,) = calls(value)

    assert (call["status"], call["result"]) == ("failed", None)
    assert call["error"]["moderation_details"]["moderation_stage"] == "input"


def test_openais_own_client_reads_it() -> None:
    """Over HTTP, whole and as a stream, with every event of a known type."""
    with SandboxServer() as server:
        client = openai.OpenAI(api_key="sk-test", base_url=server.base_url, max_retries=0)
        first = client.responses.create(**TURN)
        tool = {**TOOL, "partial_images": 1}
        stream = client.responses.create(
            model="gpt-6-luna",
            input="Add snow",
            tools=[tool],  # type: ignore[list-item]  # a plain dict, as users write it
            previous_response_id=first.id,
            stream=True,
        )
        events = list(stream)
        with pytest.raises(openai.BadRequestError, match="resp_nope"):
            client.responses.create(**TURN, previous_response_id="resp_nope")
        client.close()

    assert first.output_text == "Here is the image."
    assert [item.type for item in first.output] == ["image_generation_call", "message"]
    assert first.tool_usage is not None
    assert first.tool_usage.image_gen.output_tokens == 196
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.image_generation_call.in_progress",
        "response.image_generation_call.generating",
        "response.image_generation_call.partial_image",
        "response.image_generation_call.completed",
        "response.output_item.done",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(15))
    assert type(events[-1]).__name__ == "ResponseCompletedEvent"
    assert events[-1].response.output_text == "Here is the changed image."


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_turns_picture_is_decoded_as_it_arrives(kind: str) -> None:
    """What is left of a reply of megabytes is small, and the turn has its image."""
    kept: list[HttpReply] = []

    class Notes:
        """Keeps what a transport hands over."""

        def __init__(self, transport: Any) -> None:
            self._transport = transport

        def __getattr__(self, name: str) -> Any:
            return getattr(self._transport, name)

    class Waiting(Notes):
        def send(self, request: HttpRequest) -> HttpReply:
            kept.append(self._transport.send(request))
            return kept[0]

    class Awaited(Notes):
        async def send(self, request: HttpRequest) -> HttpReply:
            kept.append(await self._transport.send(request))
            return kept[0]

    asked: dict[str, Any] = {"size": "1024x1024", "quality": "low"}
    with SandboxServer() as server:
        if kind == "sync":
            with openai.OpenAI(api_key="sk-test", base_url=server.base_url) as sdk:
                way: Any = Waiting(OpenAITransport(lambda: sdk, owned=False))
                client = ImageClient(transport=way, base_url=server.base_url)
                turn = client.conversation().send("A cabin", **asked)
        else:

            async def main() -> Any:
                async with openai.AsyncOpenAI(api_key="sk", base_url=server.base_url) as sdk:
                    way: Any = Awaited(AsyncOpenAITransport(lambda: sdk, owned=False))
                    client = AsyncImageClient(transport=way, base_url=server.base_url)
                    return await client.conversation().send("A cabin", **asked)

            turn = asyncio.run(main())

    assert kept[0].images == (turn.image.data,)
    assert len(kept[0].body) < 5_000
