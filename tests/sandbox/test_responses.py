"""The Responses API of the sandbox, as foreign clients use it."""

from __future__ import annotations

import base64
import json
from typing import Any

import openai
import pytest

from gptimage.image.image import Image
from gptimage.sandbox import Sandbox, SandboxServer
from gptimage.transport.http import HttpReply, HttpRequest
from tests.sandbox.framework_bodies import (
    CALL,
    CALLED,
    FIRST_TURNS,
    FUNCTION,
    LITELLM,
    OPENAI_AGENTS,
    PYDANTIC_AI,
    Body,
    second_turns,
)
from tests.sandbox.pictures import error, photo
from tests.sandbox.sdk_models import strict, strict_event


TOOL: Body = {
    "type": "image_generation", "model": "gpt-image-2.5-flare", "quality": "low",
    "size": "1024x640",
}  # fmt: skip
TURN: Body = {"model": "gpt-6-luna", "input": "A red fox", "tools": [TOOL]}


def post(sandbox: Sandbox, body: Body, path: str = "/responses", **headers: str) -> HttpReply:
    """The reply to a body."""
    return sandbox.send(HttpRequest(method="POST", path=path, body=body, headers=headers))


def get(sandbox: Sandbox, path: str, method: str = "GET") -> HttpReply:
    """The reply to a request without a body."""
    return sandbox.send(HttpRequest(method=method, path=path))


def value(reply: HttpReply) -> Any:
    """The JSON of a reply that is no error."""
    assert reply.status == 200, bytes(reply.body)
    return json.loads(bytes(reply.body))


def events(reply: HttpReply) -> list[Any]:
    """The events of a stream, each of them strictly valid."""
    blocks = bytes(reply.body).split(b"\n\n")[:-1]
    datas = [block.partition(b"\ndata: ")[2] for block in blocks]
    for data in datas:
        strict_event(data)
    return [json.loads(data) for data in datas]


def calls(response: Any) -> list[Any]:
    """The image calls of a response."""
    return [item for item in response["output"] if item["type"] == "image_generation_call"]


@pytest.mark.parametrize("name", FIRST_TURNS)
def test_the_bodies_of_frameworks_are_served(name: str) -> None:
    """Each gets an image, in a response that is valid to the letter."""
    reply = post(Sandbox(), FIRST_TURNS[name])
    strict("response", reply.body)
    (call,) = calls(value(reply))

    assert (call["status"], call["action"]) == ("completed", "generate")
    assert Image.from_bytes(base64.b64decode(call["result"])).format in {"png", "webp"}


@pytest.mark.parametrize("name", FIRST_TURNS)
def test_the_streams_of_frameworks_are_valid(name: str) -> None:
    """Every event is one the SDK knows, and the text of the deltas is that of the message."""
    tools = [
        {**tool, "partial_images": 1} if tool["type"] == "image_generation" else tool
        for tool in FIRST_TURNS[name]["tools"]
    ]
    found = events(post(Sandbox(), {**FIRST_TURNS[name], "tools": tools, "stream": True}))
    kinds = [event["type"] for event in found]
    deltas = [event["delta"] for event in found if event["type"].endswith("text.delta")]

    assert kinds.count("response.image_generation_call.partial_image") == 1
    assert kinds[-1] == "response.completed"
    assert "".join(deltas) == found[-1]["response"]["output"][-1]["content"][0]["text"]
    assert list(range(len(found))) == [event["sequence_number"] for event in found]


@pytest.mark.parametrize("way", second_turns({}, {"id": "", "output": []}))
def test_a_conversation_goes_on_in_every_way(way: str) -> None:
    """The image of the first turn is found by id or in the input, and changed."""
    sandbox = Sandbox()
    first = value(post(sandbox, TURN))
    reply = post(sandbox, second_turns(TURN, first)[way])
    strict("response", reply.body)

    assert [call["action"] for call in calls(value(reply))] == ["edit"]


@pytest.mark.parametrize("first", [PYDANTIC_AI, {**TURN, "store": False}])
def test_without_storage_the_items_are_sent_back(first: Body) -> None:
    """``store: false``: the call in the input has its image; by id alone it is not found."""
    sandbox = Sandbox()
    response = value(post(sandbox, first))
    turns = second_turns(first, response)
    whole = value(post(sandbox, turns["openai-agents: whole items"]))

    assert calls(whole)[0]["action"] == "edit"
    assert get(sandbox, f"/responses/{response['id']}").status == 404
    for way in ("AI SDK: item_reference", "LangChain: calls by id"):
        assert post(sandbox, turns[way]).status == 404


def test_the_last_image_is_the_one_that_changes() -> None:
    """Of several calls in the input, the latest goes on."""
    sandbox = Sandbox()
    first = value(post(sandbox, TURN))
    second = value(post(sandbox, {**TURN, "input": "A blue whale"}))
    items = [*first["output"], *second["output"], {"role": "user", "content": "At night"}]
    by_items = value(post(sandbox, {**TURN, "input": items}))
    only_last = value(post(sandbox, {**TURN, "input": [*second["output"], items[-1]]}))

    assert calls(by_items)[0]["result"] == calls(only_last)[0]["result"]


def test_the_output_of_a_tool_is_drawn() -> None:
    """Words and images a function returned belong to the turn."""
    url = f"data:image/png;base64,{base64.b64encode(photo()).decode()}"
    output = [{"type": "input_text", "text": "a photo"}, {"type": "input_image", "image_url": url}]
    shown = [CALL, {"type": "function_call_output", "call_id": "call_1", "output": output}]
    words = value(post(Sandbox(), {**TURN, "input": CALLED}))
    image = value(post(Sandbox(), {**TURN, "input": shown}))

    assert calls(words)[0]["revised_prompt"] == "axolotl (drawn by the sandbox)"
    assert calls(image)[0]["action"] == "edit"


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([CALLED[2]], "No tool call found for function call output with call_id call_1."),
        ([CALL], "No tool output found for function call call_1."),
        ([{"type": "item_reference", "id": "msg_x"}], "Item with id 'msg_x' not found."),
    ],
)
def test_items_that_do_not_fit_are_refused(items: list[Any], message: str) -> None:
    """In the service's words."""
    reply = post(Sandbox(), {**TURN, "input": [{"role": "user", "content": "x"}, *items]})

    assert (error(reply)["message"], error(reply)["param"]) == (message, "input")


@pytest.mark.parametrize(
    ("choice", "images"),
    [
        ("auto", 1),
        ("none", 0),
        ({"type": "image_generation"}, 1),
        ({"type": "function", "name": "get_animal"}, 0),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "image_generation"}]}, 1),
        (
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "get_animal"}],
            },
            0,
        ),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_other_tools_are_taken_and_never_called(choice: Any, images: int, order: int) -> None:
    """Whichever comes first; ``tool_choice`` decides whether there is an image."""
    tools = [TOOL, FUNCTION, {"type": "web_search"}][::order]
    reply = post(Sandbox(), {**TURN, "tools": tools, "tool_choice": choice})
    strict("response", reply.body)

    assert len(calls(value(reply))) == images
    assert [tool["type"] for tool in tools] == [tool["type"] for tool in value(reply)["tools"]]


def test_an_error_names_the_image_tool_where_it_stands() -> None:
    """The second of two tools is ``tools[1]``."""
    reply = post(Sandbox(), {**TURN, "tools": [FUNCTION, {**TOOL, "quality": "best"}]})

    assert error(reply)["param"] == "tools[1].quality"


@pytest.mark.parametrize(
    "neutral",
    [
        {"background": False}, {"background": None}, {"stream_options": None}, {"metadata": None},
        {"include": None}, {"max_tool_calls": None}, {"tool_choice": None}, {"store": None},
        {"temperature": None}, {"top_logprobs": 0}, {"reasoning": None}, {"text": None},
        {"tools": [{**TOOL, "partial_images": 0}]}, {"tools": [{**TOOL, "partial_images": None}]},
        {"tools": [{**TOOL, "svg": None, "frame_count": None, "input_image_mask": None}]},
        {"tools": [{**TOOL, "n": 1, "output_compression": 100}]},
        {"tools": [{**TOOL, "input_fidelity": None}]},
        {"tools": [{**TOOL, "input_fidelity": "high"}]},  # there is no image to be true to
    ],
    ids=str,
)  # fmt: skip
def test_neutral_values_are_not_given(neutral: Body) -> None:
    """0, null and the defaults the service itself echoes change nothing."""
    reply = post(Sandbox(), {**TURN, **neutral})
    strict("response", reply.body)

    assert len(calls(value(reply))) == 1


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"top_p": "high"}, "top_p"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"metadata": {str(number): "x" for number in range(17)}}, "metadata"),
        ({"include": ["everything"]}, "include[0]"),
        ({"stream_options": {"include_obfuscation": True}}, "stream_options"),
        ({"stream_options": {"include_usage": True}, "stream": True}, None),
        ({"background": True, "store": False}, "background"),
        ({"background_options": {"completion_window": "2h"}}, "background_options"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{**TOOL, "model": ""}]}, "tools[0].model"),
        ({"tools": [{**TOOL, "size": ""}]}, "tools[0].size"),
        ({"tools": [{**TOOL, "input_fidelity": "huge"}]}, "tools[0].input_fidelity"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(change: Body, param: str | None) -> None:
    """Each is refused with the name of its parameter."""
    found = error(post(Sandbox(), {**TURN, **change}))

    assert found["param"] == (param or "stream_options.include_usage")


def test_a_response_repeats_its_request() -> None:
    """What was set comes back, and the rest with its defaults."""
    given = {
        **OPENAI_AGENTS, "metadata": {"job": "7"}, "truncation": "auto", "top_p": 0.5,
        "max_output_tokens": 100, "prompt_cache_key": "k", "safety_identifier": "u",
    }  # fmt: skip
    found = value(post(Sandbox(), given))

    for name in ("instructions", "metadata", "truncation", "top_p", "max_output_tokens"):
        assert found[name] == given[name]
    assert found["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    assert found["reasoning"] == {"effort": "low", "summary": "auto"}
    assert (found["parallel_tool_calls"], found["temperature"]) == (True, 1.0)
    assert found["tools"][1] == {
        "type": "image_generation", "background": "auto", "moderation": "auto", "n": 1,
        "output_compression": 100, "output_format": "png", "quality": "low",
        "size": "1024x1024", "model": "gpt-image-2.6-sunburst",
    }  # fmt: skip


def test_stored_responses_are_found_listed_and_deleted() -> None:
    """GET gives the same response, input_items its input, DELETE forgets both."""
    sandbox = Sandbox()
    made = value(post(sandbox, {**TURN, "input": [{"role": "user", "content": "A fox"}, *CALLED]}))
    path = f"/responses/{made['id']}"
    found = get(sandbox, path)
    items = get(sandbox, f"{path}/input_items?limit=2&order=asc")
    strict("input_items", items.body)
    rest = value(get(sandbox, f"{path}/input_items?order=asc&after={value(items)['last_id']}"))
    gone = value(get(sandbox, path, "DELETE"))

    assert strict("response", found.body).id == made["id"]
    assert value(found) == made
    assert [item["type"] for item in value(items)["data"]] == ["message", "reasoning"]
    assert value(items)["has_more"] is True
    assert [item["type"] for item in rest["data"]] == ["function_call", "function_call_output"]
    assert gone == {"id": made["id"], "object": "response", "deleted": True}
    for later in (get(sandbox, path), get(sandbox, f"{path}/input_items")):
        assert (later.status, error(later)["message"]) == (
            404,
            f"Response with id '{made['id']}' not found.",
        )
    assert post(sandbox, {**TURN, "previous_response_id": made["id"]}).status == 400


def test_the_background_is_polled() -> None:
    """Queued, in progress, completed: one step for each time it is looked at."""
    sandbox = Sandbox()
    made = value(post(sandbox, {**TURN, "background": True}))
    looks = [get(sandbox, f"/responses/{made['id']}") for _ in range(3)]
    for look in looks:
        strict("response", look.body)
    statuses = [value(look)["status"] for look in looks]

    assert (made["status"], made["output"], made["usage"]) == ("queued", [], None)
    assert statuses == ["in_progress", "completed", "completed"]
    assert len(calls(value(looks[-1]))) == 1
    assert value(looks[1]) == value(looks[2])


def test_the_background_takes_as_long_as_a_drawing() -> None:
    """A sandbox with latency is not done at the second look."""
    sandbox = Sandbox(latency=3600)
    made = value(post(sandbox, {**TURN, "background": True}))
    statuses = [value(get(sandbox, f"/responses/{made['id']}"))["status"] for _ in range(3)]

    assert statuses == ["in_progress"] * 3


def test_the_background_is_cancelled() -> None:
    """Once or twice; what is done stays done, and what was not in it cannot be."""
    sandbox = Sandbox()
    made = value(post(sandbox, {**TURN, "background": True}))
    path = f"/responses/{made['id']}"
    twice = [value(post(sandbox, {}, f"{path}/cancel"))["status"] for _ in range(2)]
    plain = value(post(sandbox, TURN))
    refusal = error(post(sandbox, {}, f"/responses/{plain['id']}/cancel"))

    assert twice == ["cancelled", "cancelled"]
    assert value(get(sandbox, path))["status"] == "cancelled"
    assert refusal["message"] == "Cannot cancel a synchronous response."


def test_a_background_stream_is_taken_up_again() -> None:
    """A client that was cut off asks for the events after the last one it has."""
    sandbox = Sandbox()
    made = events(post(sandbox, {**TURN, "background": True, "stream": True}))
    response_id = made[0]["response"]["id"]
    rest = events(get(sandbox, f"/responses/{response_id}?stream=true&starting_after=5"))

    assert [event["type"] for event in made[:3]] == [
        "response.created", "response.queued", "response.in_progress"
    ]  # fmt: skip
    assert rest == made[6:]


def test_a_failed_background_response_says_so() -> None:
    """The status and the error are in the response."""
    sandbox = Sandbox()
    marked = {**TURN, "input": "[sandbox:stream_error] A fox", "background": True}
    made = value(post(sandbox, marked))
    looks = [get(sandbox, f"/responses/{made['id']}") for _ in range(2)]
    strict("response", looks[1].body)

    assert value(looks[1])["status"] == "failed"
    assert value(looks[1])["error"]["code"] == "server_error"


@pytest.mark.parametrize("wanted", [True, False, None])
def test_deltas_are_padded_unless_they_are_not_to_be(wanted: bool | None) -> None:
    """``stream_options.include_obfuscation`` has its effect."""
    options = {} if wanted is None else {"stream_options": {"include_obfuscation": wanted}}
    found = events(post(Sandbox(), {**TURN, "stream": True, **options}))
    deltas = [event for event in found if event["type"].endswith(".delta")]

    assert ["obfuscation" in delta for delta in deltas] == [wanted is not False]


@pytest.mark.parametrize("scenario", ["moderation", "moderation_output", "empty"])
def test_failures_inside_a_response_are_valid(scenario: str) -> None:
    """A refused image is a failed call in a response that is valid to the letter."""
    reply = post(Sandbox(), {**TURN, "input": f"[sandbox:{scenario}] A fox"})

    assert strict("response", reply.body).tool_usage.image_gen.total_tokens == 0


@pytest.mark.parametrize("scenario", ["moderation", "moderation_output", "stream_error"])
def test_failures_inside_a_stream_are_valid(scenario: str) -> None:
    """So are the events, with the error among them."""
    tool = {**TOOL, "partial_images": 2}
    body = {**TURN, "tools": [tool], "input": f"[sandbox:{scenario}] A fox", "stream": True}
    found = events(post(Sandbox(), body))

    assert found[-1]["type"] == ("error" if scenario == "stream_error" else "response.completed")


def test_azure_names_the_image_deployment_in_a_header() -> None:
    """Its tool has no model; without the header it is the default one."""
    tool = {"type": "image_generation", "quality": "low"}
    headers = {"x-ms-oai-image-generation-deployment": "gpt-image-2"}
    named = value(post(Sandbox(), {**LITELLM, "tools": [tool]}, "/openai/v1/responses", **headers))

    assert named["tools"][0]["model"] == "gpt-image-2"


def test_the_sdk_reads_all_of_it() -> None:
    """OpenAI's client: retrieve, input items, cancel, delete, and the text of a stream once."""
    with (
        SandboxServer() as server,
        openai.OpenAI(api_key="k", base_url=server.base_url, max_retries=0) as client,
    ):
        made: Any = client.responses.create(**TURN, background=True)
        cancelled: Any = client.responses.cancel(made.id)
        items = list(client.responses.input_items.list(made.id))
        again: Any = client.responses.retrieve(made.id)
        client.responses.delete(made.id)
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(made.id)
        with client.responses.stream(**TURN) as stream:
            final: Any = stream.get_final_response()

    assert (made.status, cancelled.status, again.status) == ("queued", "cancelled", "cancelled")
    assert [item.type for item in items] == ["message"]
    assert final.output_text == "Here is the image."
