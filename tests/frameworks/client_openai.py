"""openai-python against the sandbox: the whole image surface, with both of its clients."""

from __future__ import annotations

import io
import json
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import openai
from harness import (
    BASE_URL,
    CHAT_MODEL,
    FIRST,
    KEY,
    MODEL,
    NEXT,
    TRANSPARENT_MODEL,
    case,
    check,
    done,
    each,
    is_png,
    png,
    run,
)


DRAW: dict[str, Any] = {"model": MODEL, "size": "1024x1024", "quality": "low"}
TOOL: dict[str, Any] = {"type": "image_generation", "quality": "low", "size": "1024x1024"}
TURN: dict[str, Any] = {"model": CHAT_MODEL, "tools": [TOOL]}
FUNCTION: dict[str, Any] = {
    "type": "function", "name": "get_animal", "strict": False,
    "parameters": {"type": "object", "properties": {}},
}  # fmt: skip
URL = "data:image/png;base64," + b64encode(png()).decode()
CLIENTS = {
    "sync": openai.OpenAI(api_key=KEY, base_url=BASE_URL, max_retries=0),
    "async": openai.AsyncOpenAI(api_key=KEY, base_url=BASE_URL, max_retries=0),
}
Both = Callable[[Any], Awaitable[object]]


def both(name: str) -> Callable[[Both], Both]:
    """Register a case for the client and for its async twin."""

    def register(function: Both) -> Both:
        for kind in CLIENTS:
            # Made when its turn comes: an async client belongs to one event loop.
            case(f"{name} ({kind})")(lambda kind=kind: function(CLIENTS[kind]))
        return function

    return register


def image(reply: Any) -> bytes:
    """Return the first image of a reply of the Images API."""
    return b64decode(reply.data[0].b64_json)


def call(response: Any) -> Any:
    """Return the image call of a response."""
    found = [item for item in response.output if item.type == "image_generation_call"]
    check(found and found[0].result, f"no image: {[item.type for item in response.output]}")
    return found[0]


async def refused(value: Callable[[], Any], error: type[Exception], words: str) -> None:
    """Expect a call to be refused as the service refuses it."""
    try:
        await done(value())
    except error as caught:
        check(words in str(caught), caught)
    else:
        raise AssertionError("it was not refused")


@both("generate")
async def _(c: Any) -> None:
    reply = await done(c.images.generate(prompt=FIRST, **DRAW))
    check(is_png(image(reply)))
    check(reply.usage.output_tokens == 196, reply.usage)


@both("generate two as webp")
async def _(c: Any) -> None:
    reply = await done(c.images.generate(prompt=FIRST, n=2, output_format="webp", **DRAW))
    check([b64decode(each.b64_json)[8:12] for each in reply.data] == [b"WEBP"] * 2)


@both("generate, transparent")
async def _(c: Any) -> None:
    given = {**DRAW, "model": TRANSPARENT_MODEL}
    reply = await done(c.images.generate(prompt=FIRST, background="transparent", **given))
    check(reply.background == "transparent", reply.background)


@both("generate a transparent gif")
async def _(c: Any) -> None:
    given = {**DRAW, "model": TRANSPARENT_MODEL, "size": "512x512"}
    reply = await done(
        c.images.generate(prompt=FIRST, background="transparent", output_format="gif", **given)
    )
    check(image(reply).startswith(b"GIF8"))


@both("generate an svg")
async def _(c: Any) -> None:
    given = {**DRAW, "model": TRANSPARENT_MODEL}
    reply = await done(c.images.generate(prompt=FIRST, output_format="svg", **given))
    check(b"<svg" in image(reply))


@both("stream of a generation")
async def _(c: Any) -> None:
    stream = await done(c.images.generate(prompt=FIRST, stream=True, partial_images=2, **DRAW))
    kinds = [event.type async for event in each(stream)]
    check(kinds == ["image_generation.partial_image"] * 2 + ["image_generation.completed"], kinds)


@both("edit a file")
async def _(c: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "fox.png")
        path.write_bytes(png())
        with path.open("rb") as file:
            check(is_png(image(await done(c.images.edit(image=file, prompt=NEXT, **DRAW)))))
        check(is_png(image(await done(c.images.edit(image=path, prompt=NEXT, **DRAW)))))


@both("edit tuples of name, bytes and type")
async def _(c: Any) -> None:
    for given in (("fox.png", png()), ("fox.png", png(), "image/png"), ("x", png(), "image/png")):
        check(is_png(image(await done(c.images.edit(image=given, prompt=NEXT, **DRAW)))))


@both("edit several with a mask")
async def _(c: Any) -> None:
    several = [("a.png", png(), "image/png"), ("b.png", png(), "image/png")]
    mask = ("mask.png", png(clear=True), "image/png")
    reply = await done(c.images.edit(image=several, mask=mask, prompt=NEXT, **DRAW))
    check(reply.usage.input_tokens_details.image_tokens > 0, reply.usage)


@both("edit with a markup")
async def _(c: Any) -> None:
    marks = "data:image/png;base64," + b64encode(png(clear=True)).decode()
    body = {
        "images": [{"image_url": URL}], "markup": {"image_url": marks}, "prompt": NEXT, **DRAW
    }  # fmt: skip
    reply = await done(c.post("/images/edits", body=body, cast_to=openai.types.ImagesResponse))
    check(is_png(image(reply)))


@both("edit as JSON, by address and by file id")
async def _(c: Any) -> None:
    file = await done(c.files.create(file=("fox.png", png(), "image/png"), purpose="vision"))
    for given in ({"image_url": URL}, {"file_id": file.id}):
        body = {"images": [given], "prompt": NEXT, "moderation": "low", **DRAW}
        reply = await done(c.post("/images/edits", body=body, cast_to=openai.types.ImagesResponse))
        check(is_png(image(reply)))


@both("stream of an edit")
async def _(c: Any) -> None:
    stream = await done(
        c.images.edit(
            image=("a.png", png(), "image/png"), prompt=NEXT, stream=True, partial_images=1, **DRAW
        )
    )
    kinds = [event.type async for event in each(stream)]
    check(kinds == ["image_edit.partial_image", "image_edit.completed"], kinds)


@both("bytes without a type are refused, as by the service")
async def _(c: Any) -> None:
    await refused(
        lambda: c.images.edit(image=io.BytesIO(png()), prompt=NEXT, **DRAW),
        openai.BadRequestError,
        "application/octet-stream",
    )


@both("raw response with its request id")
async def _(c: Any) -> None:
    raw = await done(c.images.with_raw_response.generate(prompt=FIRST, **DRAW))
    check(raw.headers["x-request-id"].startswith("req_"))
    check(is_png(image(raw.parse())))


@both("errors have code, parameter and request id")
async def _(c: Any) -> None:
    try:
        await done(c.images.generate(prompt=FIRST, **{**DRAW, "size": "7x7"}))
    except openai.BadRequestError as error:
        check((error.param, error.type) == ("size", "image_generation_user_error"), error.body)
        check(str(error.request_id).startswith("req_"))
    else:
        raise AssertionError("it was not refused")


@both("moderation and rate limits by header")
async def _(c: Any) -> None:
    for name, error, code in (
        ("moderation", openai.BadRequestError, "moderation_blocked"),
        ("rate_limit", openai.RateLimitError, "rate_limit_exceeded"),
    ):
        try:
            await done(
                c.images.generate(prompt=FIRST, extra_headers={"x-sandbox-fail": name}, **DRAW)
            )
        except error as caught:
            check(caught.code == code, caught.body)
        else:
            raise AssertionError(f"{name} was not played")


@both("variations are gone")
async def _(c: Any) -> None:
    await refused(
        lambda: c.images.create_variation(image=("a.png", png(), "image/png")),
        openai.NotFoundError,
        "404",
    )


@both("models")
async def _(c: Any) -> None:
    names = [model.id async for model in each(await done(c.models.list()))]
    check(MODEL in names, names)
    check((await done(c.models.retrieve(MODEL))).id == MODEL)
    await refused(lambda: c.models.retrieve("dall-e-9"), openai.NotFoundError, "dall-e-9")


@both("files: create, list, retrieve, delete")
async def _(c: Any) -> None:
    file = await done(c.files.create(file=("a.png", png(), "image/png"), purpose="vision"))
    listed = [found.id async for found in each(await done(c.files.list(purpose="vision")))]
    check(file.id in listed)
    check((await done(c.files.retrieve(file.id))).filename == "a.png")
    await refused(lambda: c.files.content(file.id), openai.BadRequestError, "vision")
    check((await done(c.files.delete(file.id))).deleted)
    await refused(lambda: c.files.retrieve(file.id), openai.NotFoundError, file.id)


@both("an upload in parts")
async def _(c: Any) -> None:
    data = png()
    upload = await done(
        c.uploads.create(bytes=len(data), filename="a.png", mime_type="image/png", purpose="vision")
    )
    half = len(data) // 2
    parts = [
        (await done(c.uploads.parts.create(upload.id, data=piece))).id
        for piece in (data[:half], data[half:])
    ]
    complete = await done(c.uploads.complete(upload.id, part_ids=parts))
    check((complete.status, complete.file.bytes) == ("completed", len(data)), complete)
    response = await done(
        c.responses.create(
            input=[{"role": "user", "content": [
                {"type": "input_text", "text": NEXT},
                {"type": "input_image", "detail": "auto", "file_id": complete.file.id},
            ]}],
            **TURN,
        )
    )  # fmt: skip
    call(response)


@both("an upload is cancelled")
async def _(c: Any) -> None:
    upload = await done(
        c.uploads.create(bytes=9, filename="a.jsonl", mime_type="text/jsonl", purpose="batch")
    )
    check((await done(c.uploads.cancel(upload.id))).status == "cancelled")
    await refused(
        lambda: c.uploads.complete(upload.id, part_ids=[]), openai.BadRequestError, "cancelled"
    )


@both("provenance")
async def _(c: Any) -> None:
    drawn = image(await done(c.images.generate(prompt=FIRST, **DRAW)))
    checks = await done(c.content_provenance_checks.create(file=("a.png", drawn, "image/png")))
    check([each.type for each in checks.results] == ["c2pa", "synthid"], checks)


@both("a batch from upload to results")
async def _(c: Any) -> None:
    lines = [
        {"custom_id": str(number), "method": "POST", "url": "/v1/images/generations",
         "body": {"prompt": FIRST, **DRAW}}
        for number in range(2)
    ]  # fmt: skip
    text = "\n".join(json.dumps(line) for line in lines).encode()
    file = await done(c.files.create(file=("b.jsonl", text), purpose="batch"))
    batch = await done(
        c.batches.create(
            input_file_id=file.id, endpoint="/v1/images/generations", completion_window="24h"
        )
    )
    for _ in range(50):
        batch = await done(c.batches.retrieve(batch.id))
        if batch.status == "completed":
            break
    check(batch.status == "completed", batch.status)
    check(batch.id in [found.id async for found in each(await done(c.batches.list()))])
    content = await done(c.files.content(batch.output_file_id))
    check(len(content.text.splitlines()) == 2)


@both("a batch is cancelled")
async def _(c: Any) -> None:
    line = {"custom_id": "1", "method": "POST", "url": "/v1/images/generations",
            "body": {"prompt": FIRST, **DRAW}}  # fmt: skip
    file = await done(c.files.create(file=("b.jsonl", json.dumps(line).encode()), purpose="batch"))
    batch = await done(
        c.batches.create(
            input_file_id=file.id, endpoint="/v1/images/generations", completion_window="24h"
        )
    )
    check((await done(c.batches.cancel(batch.id))).status in {"cancelling", "cancelled"})


@both("a response with an image")
async def _(c: Any) -> None:
    response = await done(c.responses.create(input=FIRST, **TURN))
    check(is_png(b64decode(call(response).result)))
    check(response.tools[0].type == "image_generation")


@both("two turns by previous_response_id")
async def _(c: Any) -> None:
    first = await done(c.responses.create(input=FIRST, **TURN))
    second = await done(c.responses.create(input=NEXT, previous_response_id=first.id, **TURN))
    check(call(second).action == "edit", call(second).action)


@both("two turns by call id")
async def _(c: Any) -> None:
    first = await done(c.responses.create(input=FIRST, **TURN))
    items = [
        {"role": "user", "content": FIRST},
        {"type": "image_generation_call", "id": call(first).id},
        {"role": "user", "content": NEXT},
    ]
    call(await done(c.responses.create(input=items, **TURN)))


@both("two turns without storage")
async def _(c: Any) -> None:
    first = await done(c.responses.create(input=FIRST, store=False, **TURN))
    output = [item.to_dict() for item in first.output]
    items = [{"role": "user", "content": FIRST}, *output, {"role": "user", "content": NEXT}]
    call(await done(c.responses.create(input=items, store=False, **TURN)))


@both("two turns by item reference")
async def _(c: Any) -> None:
    first = await done(c.responses.create(input=FIRST, **TURN))
    output = [{"type": "item_reference", "id": item.id} for item in first.output]
    items = [{"role": "user", "content": FIRST}, *output, {"role": "user", "content": NEXT}]
    call(await done(c.responses.create(input=items, **TURN)))


@both("two turns of a conversation")
async def _(c: Any) -> None:
    talk = await done(c.conversations.create(metadata={"topic": "fox"}))
    await done(c.responses.create(input=FIRST, conversation=talk.id, **TURN))
    second = await done(c.responses.create(input=NEXT, conversation={"id": talk.id}, **TURN))
    check(call(second).action == "edit", call(second).action)
    check(second.conversation.id == talk.id)
    items = [item.type async for item in each(await done(c.conversations.items.list(talk.id)))]
    check(items.count("image_generation_call") == 2, items)
    check((await done(c.conversations.retrieve(talk.id))).metadata == {"topic": "fox"})
    check((await done(c.conversations.update(talk.id, metadata={"a": "b"}))).metadata == {"a": "b"})
    check((await done(c.conversations.delete(talk.id))).deleted)
    await refused(lambda: c.conversations.retrieve(talk.id), openai.NotFoundError, talk.id)


@both("items of a conversation")
async def _(c: Any) -> None:
    message = {"type": "message", "role": "user", "content": FIRST}
    talk = await done(c.conversations.create(items=[message]))
    added = await done(c.conversations.items.create(talk.id, items=[{**message, "content": NEXT}]))
    item = added.data[0]
    found = await done(c.conversations.items.retrieve(item.id, conversation_id=talk.id))
    check(found.content[0].text == NEXT, found)
    await done(c.conversations.items.delete(item.id, conversation_id=talk.id))
    left = [found async for found in each(await done(c.conversations.items.list(talk.id)))]
    check(len(left) == 1, left)


@both("a function beside the image tool")
async def _(c: Any) -> None:
    given = {**TURN, "tools": [FUNCTION, TOOL]}
    call(await done(c.responses.create(input=FIRST, **given)))


@both("the output of a function")
async def _(c: Any) -> None:
    items = [
        {"role": "user", "content": "Draw the animal."},
        {"type": "function_call", "call_id": "c1", "name": "get_animal", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "a fox"},
    ]
    given = {**TURN, "tools": [FUNCTION, TOOL]}
    call(await done(c.responses.create(input=items, **given)))


@both("stream of a response, event by event")
async def _(c: Any) -> None:
    given = {**TURN, "tools": [{**TOOL, "partial_images": 2}]}
    stream = await done(
        c.responses.create(
            input=FIRST, stream=True, stream_options={"include_obfuscation": False}, **given
        )
    )
    kinds = [event.type async for event in each(stream)]
    check(kinds.count("response.image_generation_call.partial_image") == 2, kinds)
    check(kinds[-1] == "response.completed", kinds)


@both("the SDK's own stream helper puts the text together once")
async def _(c: Any) -> None:
    manager = c.responses.stream(input=FIRST, **TURN)
    snapshot = ""
    if hasattr(manager, "__aenter__"):
        async with manager as stream:
            async for event in stream:
                snapshot = getattr(event, "snapshot", snapshot)
            final = await stream.get_final_response()
    else:
        with manager as stream:
            for event in stream:
                snapshot = getattr(event, "snapshot", snapshot)
            final = stream.get_final_response()
    check(final.output_text == snapshot, (final.output_text, snapshot))


@both("parse of a response")
async def _(c: Any) -> None:
    response = await done(c.responses.parse(input=FIRST, **TURN))
    check(response.output_parsed is None)
    call(response)


@both("background with polling")
async def _(c: Any) -> None:
    response = await done(c.responses.create(input=FIRST, background=True, **TURN))
    seen = [response.status]
    while response.status in {"queued", "in_progress"}:
        response = await done(c.responses.retrieve(response.id))
        seen.append(response.status)
    check(seen == ["queued", "in_progress", "completed"], seen)
    call(response)


@both("a background stream is taken up again")
async def _(c: Any) -> None:
    stream = await done(c.responses.create(input=FIRST, background=True, stream=True, **TURN))
    events = [event async for event in each(stream)]
    again = await done(c.responses.retrieve(events[0].response.id, stream=True, starting_after=3))
    numbers = [event.sequence_number async for event in each(again)]
    check(numbers[0] == 4, numbers)


@both("a background response is cancelled")
async def _(c: Any) -> None:
    response = await done(c.responses.create(input=FIRST, background=True, **TURN))
    check((await done(c.responses.cancel(response.id))).status == "cancelled")


@both("retrieve, input items, delete")
async def _(c: Any) -> None:
    response = await done(c.responses.create(input=FIRST, **TURN))
    check((await done(c.responses.retrieve(response.id))).id == response.id)
    items = [found async for found in each(await done(c.responses.input_items.list(response.id)))]
    check(items[0].content[0].text == FIRST, items)
    await done(c.responses.delete(response.id))
    await refused(lambda: c.responses.retrieve(response.id), openai.NotFoundError, response.id)


@both("log probabilities, metadata and a verbosity")
async def _(c: Any) -> None:
    response = await done(
        c.responses.create(
            input=FIRST,
            metadata={"a": "b"},
            top_logprobs=2,
            include=["message.output_text.logprobs"],
            text={"verbosity": "low"},
            reasoning={"effort": "low", "summary": "auto"},
            instructions="Draw.",
            **TURN,
        )
    )
    check(response.metadata == {"a": "b"})


@both("the tool's model, mask and neutral values")
async def _(c: Any) -> None:
    tool = {
        **TOOL, "model": MODEL, "partial_images": 0, "moderation": "auto", "background": "auto",
        "output_compression": 100, "output_format": "png", "input_image_mask": {"image_url": URL},
    }  # fmt: skip
    content = [{"type": "input_text", "text": NEXT}, {"type": "input_image", "image_url": URL}]
    call(
        await done(
            c.responses.create(
                model=CHAT_MODEL, tools=[tool], input=[{"role": "user", "content": content}]
            )
        )
    )


@both("input tokens are counted")
async def _(c: Any) -> None:
    counted = await done(c.responses.input_tokens.count(input=FIRST, **TURN))
    check(counted.input_tokens > 0, counted)


@both("connection that breaks")
async def _(c: Any) -> None:
    await refused(
        lambda: c.images.generate(prompt=FIRST, extra_headers={"x-sandbox-fail": "cut"}, **DRAW),
        openai.APIConnectionError,
        "onnection",
    )


@both("a wrong key")
async def _(c: Any) -> None:
    wrong = c.with_options(api_key="sk-invalid")
    await refused(
        lambda: wrong.images.generate(prompt=FIRST, **DRAW), openai.AuthenticationError, "sk-inv"
    )


@both("Azure's client")
async def _(c: Any) -> None:
    kind = openai.AzureOpenAI if c is CLIENTS["sync"] else openai.AsyncAzureOpenAI
    endpoint = BASE_URL.removesuffix("/v1")
    azure = kind(api_key=KEY, azure_endpoint=endpoint, api_version="2025-04-01-preview")
    reply = await done(azure.images.generate(prompt=FIRST, **DRAW))
    check(is_png(image(reply)))


run("openai")
