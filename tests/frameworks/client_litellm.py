"""LiteLLM against the sandbox: images, responses, files and batches, blocking and async."""

from __future__ import annotations

import io
import json
import os
from base64 import b64decode
from typing import Any


# Its prices are read from the package: nothing is fetched.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
from harness import BASE_URL, CHAT_MODEL, FIRST, KEY, MODEL, NEXT, case, check, is_png, png, run


litellm.suppress_debug_info = True
AT: dict[str, Any] = {"api_base": BASE_URL, "api_key": KEY}
DRAW: dict[str, Any] = {"model": f"openai/{MODEL}", "size": "1024x1024", "quality": "low", **AT}
TOOL: dict[str, Any] = {"type": "image_generation", "quality": "low", "size": "1024x1024"}
TURN: dict[str, Any] = {"model": f"openai/{CHAT_MODEL}", "tools": [TOOL], **AT}
PROVIDER: dict[str, Any] = {"custom_llm_provider": "openai", **AT}


def image(reply: Any) -> bytes:
    """Return the first image of a reply."""
    return b64decode(reply.data[0].b64_json)


def call(response: Any) -> Any:
    """Return the image call of a response."""
    for item in response.output:
        kind = item["type"] if isinstance(item, dict) else item.type
        if kind == "image_generation_call":
            return item if isinstance(item, dict) else item.model_dump()
    raise AssertionError("no image")


def named(data: bytes, name: str = "fox.png") -> io.BytesIO:
    """Return a file with a name."""
    file = io.BytesIO(data)
    file.name = name
    return file


@case("image_generation")
async def _() -> None:
    check(is_png(image(litellm.image_generation(prompt=FIRST, **DRAW))))


@case("aimage_generation of two")
async def _() -> None:
    reply = await litellm.aimage_generation(prompt=FIRST, n=2, **DRAW)
    check(len(reply.data) == 2)


@case("image_edit")
async def _() -> None:
    check(is_png(image(litellm.image_edit(image=named(png()), prompt=NEXT, **DRAW))))


@case("aimage_edit of several with a mask")
async def _() -> None:
    reply = await litellm.aimage_edit(
        image=[named(png()), named(png(), "b.png")],
        mask=named(png(clear=True), "mask.png"),
        prompt=NEXT,
        **DRAW,
    )
    check(is_png(image(reply)))


@case("image stream", not_ours="LiteLLM's image call has no streams")
async def _() -> None:
    stream = litellm.image_generation(prompt=FIRST, stream=True, partial_images=1, **DRAW)
    check([event.type for event in stream])


@case("cost of 2.5 and 2.6")
async def _() -> None:
    for model in (MODEL, "gpt-image-2.6-flare"):
        reply = litellm.image_generation(prompt=FIRST, **{**DRAW, "model": f"openai/{model}"})
        cost = litellm.completion_cost(completion_response=reply, model=f"openai/{model}")
        check(cost > 0, cost)


@case("responses")
async def _() -> None:
    check(is_png(b64decode(call(litellm.responses(input=FIRST, **TURN))["result"])))


@case("aresponses, streamed")
async def _() -> None:
    stream = await litellm.aresponses(input=FIRST, stream=True, **TURN)
    kinds = [str(getattr(event.type, "value", event.type)) async for event in stream]
    check("response.completed" in kinds, kinds)


@case("two turns by previous_response_id")
async def _() -> None:
    first = await litellm.aresponses(input=FIRST, **TURN)
    second = await litellm.aresponses(input=NEXT, previous_response_id=first.id, **TURN)
    check(call(second)["result"])


@case("retrieve and delete a response")
async def _() -> None:
    first = await litellm.aresponses(input=FIRST, **TURN)
    found = await litellm.aget_responses(response_id=first.id, **PROVIDER)
    check(found.status == "completed", found.status)
    items = await litellm.alist_input_items(response_id=first.id, **PROVIDER)
    check(items["data"] if isinstance(items, dict) else items.data)
    await litellm.adelete_responses(response_id=first.id, **PROVIDER)


@case("files: create, list, retrieve, delete")
async def _() -> None:
    file = litellm.create_file(file=("fox.png", png(), "image/png"), purpose="vision", **PROVIDER)
    listed = litellm.file_list(purpose="vision", **PROVIDER)
    check(file.id in [each.id for each in getattr(listed, "data", listed)])
    check(litellm.file_retrieve(file.id, **PROVIDER).id == file.id)
    check(litellm.file_delete(file.id, **PROVIDER).deleted)


@case("a batch from upload to results")
async def _() -> None:
    line = {"custom_id": "1", "method": "POST", "url": "/v1/images/generations",
            "body": {"prompt": FIRST, "model": MODEL, "quality": "low"}}  # fmt: skip
    given = ("b.jsonl", json.dumps(line).encode())
    file = await litellm.acreate_file(file=given, purpose="batch", **PROVIDER)
    batch = await litellm.acreate_batch(
        input_file_id=file.id,
        endpoint="/v1/images/generations",
        completion_window="24h",
        **PROVIDER,
    )
    for _ in range(50):
        batch = await litellm.aretrieve_batch(batch_id=batch.id, **PROVIDER)
        if batch.status == "completed":
            break
    content = await litellm.afile_content(file_id=batch.output_file_id, **PROVIDER)
    check(json.loads(content.content)["response"]["status_code"] == 200)


@case("batches are listed")
async def _() -> None:
    check((await litellm.alist_batches(limit=5, **PROVIDER)).data is not None)


@case("moderation keeps its class")
async def _() -> None:
    try:
        litellm.image_generation(prompt=f"{FIRST} [sandbox:moderation]", num_retries=0, **DRAW)
    except litellm.BadRequestError as error:
        check("safety system" in str(error), error)
    else:
        raise AssertionError("it was not refused")


run("litellm", "openai")
