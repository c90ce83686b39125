"""Conversations that the service stores, as foreign clients use them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from gptimage.sandbox import Sandbox
from gptimage.transport.http import HttpReply, HttpRequest
from tests.sandbox.pictures import error, photo
from tests.sandbox.sdk_models import strict, strict_event
from tests.sandbox.test_responses import TURN, calls, events, get, post, value


MESSAGE = {"type": "message", "role": "user", "content": "A red fox"}


def valid(kind: str, reply: HttpReply) -> Any:
    """The JSON of a reply that the SDK's own model takes."""
    strict(kind, reply.body)
    return value(reply)


def begin(sandbox: Sandbox, **body: Any) -> str:
    """The id of a new conversation."""
    return str(valid("conversation", post(sandbox, body, "/conversations"))["id"])


def items(sandbox: Sandbox, talk: str, **query: str) -> list[Any]:
    """The items of a conversation, oldest first unless asked otherwise."""
    body = {"order": "asc", **query}
    path = f"/conversations/{talk}/items"
    reply = sandbox.send(HttpRequest(method="GET", path=path, body=body))
    return list(valid("conversation_items", reply)["data"])


@pytest.mark.parametrize("named", [str, lambda talk: {"id": talk}], ids=["id", "object"])
def test_the_second_turn_changes_the_image_of_the_first(named: Any) -> None:
    """Input and output of each turn become items, in order and with their images."""
    sandbox = Sandbox()
    talk = begin(sandbox)
    first = valid("response", post(sandbox, {**TURN, "conversation": named(talk)}))
    second = valid("response", post(sandbox, {**TURN, "input": "At night", "conversation": talk}))
    stored = items(sandbox, talk)

    assert [call["action"] for call in [*calls(first), *calls(second)]] == ["generate", "edit"]
    assert second["conversation"] == {"id": talk}
    assert [item["type"] for item in stored] == ["message", "image_generation_call", "message"] * 2
    assert stored[1]["result"] == calls(first)[0]["result"]


@pytest.mark.parametrize("given", [{"stream": True}, {"background": True}, {"store": False}])
def test_however_a_turn_comes_its_items_are_added_once(given: Any) -> None:
    """A stream, a polled response and one that is stored nowhere else."""
    sandbox = Sandbox()
    talk = begin(sandbox)
    reply = post(sandbox, {**TURN, "conversation": talk, **given})
    if "stream" in given:
        events(reply)
    if "background" in given:
        for _ in range(4):
            get(sandbox, f"/responses/{value(reply)['id']}")

    assert [item["type"] for item in items(sandbox, talk)] == [
        "message",
        "image_generation_call",
        "message",
    ]


def test_a_turn_that_failed_adds_nothing() -> None:
    """A stream that ends in an error leaves the conversation as it was."""
    sandbox = Sandbox()
    talk = begin(sandbox, items=[MESSAGE])
    sandbox.fail_next("stream_error")
    reply = post(sandbox, {**TURN, "conversation": talk, "stream": True})
    blocks = bytes(reply.body).split(b"\n\n")[:-1]

    assert strict_event(blocks[-1].partition(b"\ndata: ")[2]).type == "error"
    assert len(items(sandbox, talk)) == 1


def test_items_are_added_found_listed_and_deleted() -> None:
    """A message and an image of one's own, which the next turn changes."""
    sandbox = Sandbox()
    talk = begin(sandbox, items=[MESSAGE], metadata={"a": "b"})
    image = base64.b64encode(photo()).decode()
    call = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": image}
    path = f"/conversations/{talk}/items"
    added = valid("conversation_items", post(sandbox, {"items": [call]}, path))["data"]
    found = valid("conversation_item", get(sandbox, f"{path}/ig_1"))
    turn = value(post(sandbox, {**TURN, "conversation": talk}))
    newest = items(sandbox, talk, order="desc", limit="1")
    valid("conversation", get(sandbox, f"{path}/ig_1", "DELETE"))

    assert added == [found]
    assert calls(turn)[0]["action"] == "edit"
    assert newest[0]["type"] == "message"
    assert "ig_1" not in [item["id"] for item in items(sandbox, talk)]
    assert get(sandbox, f"{path}/ig_1").status == 404


def test_a_conversation_is_changed_and_deleted() -> None:
    """Its metadata is replaced; once deleted it is not found, and a turn that names it neither."""
    sandbox = Sandbox()
    talk = begin(sandbox, metadata={"a": "b"})
    path = f"/conversations/{talk}"
    changed = valid("conversation", post(sandbox, {"metadata": {"c": "d"}}, path))
    found = valid("conversation", get(sandbox, path))
    valid("conversation.deleted", get(sandbox, path, "DELETE"))

    assert changed == found
    assert found["metadata"] == {"c": "d"}
    assert get(sandbox, path).status == 404
    assert post(sandbox, {**TURN, "conversation": talk}).status == 404


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/responses", {**TURN, "previous_response_id": "resp_1"}, 400, "Mutually exclusive"),
        ("/responses", {**TURN, "conversation": 7}, 400, "conversation"),
        ("/conversations", {"items": "a fox"}, 400, "items"),
        ("/conversations", {"items": [MESSAGE] * 21}, 400, "at most 20"),
        ("/conversations", {"metadata": {"a": 1}}, 400, "metadata.a"),
        ("/conversations", {"metadata": {"a": "x" * 513}}, 400, "metadata.a"),
        ("/conversations", {"name": "x"}, 400, "name"),
        ("/conversations/conv_0", {"metadata": {}}, 404, "conv_0"),
    ],
)
def test_what_is_wrong_is_named(path: str, body: Any, status: int, message: str) -> None:
    """Both ways to go on at once, wrong types, too many items, an unknown conversation."""
    sandbox = Sandbox()
    if path == "/responses":
        body = {"conversation": begin(sandbox), **body}
    reply = post(sandbox, body, path)

    assert reply.status == status
    assert message in str(error(reply)["message"]), bytes(reply.body)


def test_the_tokens_of_an_input_are_counted() -> None:
    """An image in the history counts; nothing is drawn or stored."""
    sandbox = Sandbox()
    path = "/responses/input_tokens"
    talk = begin(sandbox)
    post(sandbox, {**TURN, "conversation": talk})
    plain = valid("input_tokens", post(sandbox, TURN, path))
    longer = valid("input_tokens", post(sandbox, {**TURN, "conversation": talk}, path))

    assert longer["input_tokens"] - plain["input_tokens"] == 765
    assert len(items(sandbox, talk)) == 3


def test_many_conversations_are_bounded() -> None:
    """The oldest are forgotten."""
    sandbox = Sandbox()
    talks = [json.loads(bytes(post(sandbox, {}, "/conversations").body))["id"] for _ in range(257)]

    assert get(sandbox, f"/conversations/{talks[0]}").status == 404
    assert get(sandbox, f"/conversations/{talks[1]}").status == 200
