"""Paid images in another wrapping: whatever holds a finished image is read."""

from __future__ import annotations

import base64
import gzip
import json
import urllib.parse
from typing import Any

import pytest

from gptimage import ApiError, MalformedReplyError, Result
from gptimage.engine.parse import image_urls
from gptimage.engine.streaming import StreamReader
from gptimage.transport.base64_body import reassemble, split
from gptimage.transport.http import ServerEvent
from tests.factories import (
    NOW,
    USAGE,
    answer,
    finished,
    generate,
    picture,
    planned,
    reply,
    text,
)


RED, TEAL = picture(color="red"), picture(color="teal")
PREVIEW = {
    "type": "image_generation.partial_image",
    "b64_json": text(RED),
    "partial_image_index": 0,
}
FINAL = {"type": "image_generation.completed", "b64_json": text(TEAL), "usage": USAGE}


def stream(*events: dict[str, Any], newline: str = "\n", named: bool = True) -> bytes:
    """The bytes of an event stream."""
    lines: list[str] = []
    for each in events:
        lines += [f"event: {each['type']}"] if named else []
        lines += [f"data: {json.dumps(each)}", ""]
    return newline.join([*lines, ""]).encode()


@pytest.mark.parametrize(
    "body",
    [
        stream(PREVIEW, FINAL),
        stream(PREVIEW, FINAL, newline="\r\n"),
        stream(PREVIEW, FINAL, named=False),
        b"\xef\xbb\xbf" + stream(FINAL),
        b": keep-alive\n\n" + stream(FINAL) + b"data: [DONE]\n\n",
        stream(FINAL)[:-2],
        b"\n".join(json.dumps(each).encode() for each in (PREVIEW, FINAL)),
        b"data: " + json.dumps({"data": [{"b64_json": text(TEAL)}], "usage": USAGE}).encode(),
        b'data: {"b64_json": "' + text(TEAL).encode() + b'"}\n\n',
        stream(FINAL, {"type": "error", "error": {"message": "too late"}}),
    ],
)
def test_a_stream_nobody_asked_for(body: bytes) -> None:
    """The finished image is the result, live and from the cache; a preview never is."""
    rest, images = split(body)

    assert [image.data for image in finished(reply(body)).images] == [TEAL]
    assert reassemble(rest, images) == body


@pytest.mark.parametrize("streamed", [False, True])
def test_answers_one_after_the_other_lose_no_image(*, streamed: bool) -> None:
    """Each may have its own image, or the last one all of them so far; both were paid for."""

    def answered(*images: bytes) -> dict[str, Any]:
        return {"data": [{"b64_json": text(each)} for each in images], "usage": USAGE}

    def read(*answers: dict[str, Any]) -> Result:
        lines = [json.dumps(each).encode() for each in answers]
        if not streamed:
            return finished(reply(b"\n".join(lines)), n=2)
        stream = StreamReader(planned(generate(n=2)), reply(b""))
        for line in lines:
            stream.take(ServerEvent(name="message", data=line))
        return stream.end(now=NOW).result

    red, both = answered(RED), answered(RED, TEAL)
    one, apart, growing = read(both), read(red, answered(TEAL)), read(red, both)
    assert [image.data for image in apart.images] == [RED, TEAL]
    assert [image.data for image in growing.images] == [RED, TEAL]
    assert one.usage is not None
    assert apart.usage is not None
    assert (apart.usage.output_tokens, growing.usage) == (one.usage.output_tokens * 2, one.usage)


def test_the_usage_of_such_a_stream_counts() -> None:
    """Its cost is known as for any other reply."""
    usage = finished(reply(stream(FINAL))).usage

    assert usage is not None
    assert usage.total_tokens == USAGE["total_tokens"]


def test_an_error_inside_such_a_stream() -> None:
    """It is the error the service reports, not a broken reply."""
    failed = {"type": "error", "error": {"message": "overloaded", "code": "server_error"}}

    with pytest.raises(ApiError, match="overloaded"):
        finished(reply(stream(PREVIEW, failed)))


def test_previews_alone_are_no_image() -> None:
    """A preview that numbers itself is never taken for the image."""
    unnamed = {"b64_json": text(RED), "partial_image_index": 1}
    lines = b"\n".join(b"data: " + json.dumps(unnamed).encode() + b"\n" for _ in range(2))

    for body in (stream(PREVIEW), lines):
        with pytest.raises(MalformedReplyError):
            finished(reply(body))


def wrapped(data: bytes) -> list[bytes]:
    """The same image as different servers write it."""
    plain, safe = text(data), base64.urlsafe_b64encode(data).decode()
    url = f"data:image/png;base64,{plain}"
    entries: list[object] = [
        {"data": [{"b64_json": safe.rstrip("=")}]},
        {"data": [{"b64_json": "\n".join(plain[at : at + 76] for at in range(0, len(plain), 76))}]},
        {"data": [{"b64_json": url}]},
        {"data": [{"url": url}]},
        {"data": [{"url": "DATA:image/png," + urllib.parse.quote(data)}]},
        {"data": [{"image_url": {"url": url}}]},
        {"data": [{"b64": plain}]},
        {"data": [plain]},
        {"data": {"b64_json": plain}},
        {"images": [{"b64_json": plain}]},
        {"images": [plain]},
        {"result": {"data": [{"b64_json": plain}]}},
        {"b64_json": plain},
        [{"b64_json": plain}],
        {"artifacts": [{"base64": plain, "finishReason": "SUCCESS"}]},
        {"choices": [{"message": {"images": [{"image_url": {"url": url}}]}}]},
        {"candidates": [{"content": {"parts": [{"inlineData": {"data": plain}}]}}]},
    ]
    return [json.dumps(each).encode() for each in entries]


@pytest.mark.parametrize(
    "body",
    [
        *wrapped(TEAL),
        TEAL,
        b"\xef\xbb\xbf" + wrapped(TEAL)[0],
        gzip.compress(wrapped(TEAL)[0], mtime=0),
        json.dumps(wrapped(TEAL)[0].decode()).encode(),
        *(wrapped(TEAL)[0].decode().encode(code) for code in ("utf-16", "utf-16-be", "utf-32")),
    ],
)
def test_other_names_for_the_same(body: bytes) -> None:
    """The image is found under other keys, in other alphabets, and as the bare file."""
    assert [image.data for image in finished(reply(body)).images] == [TEAL]


def test_pretty_printed_json_under_the_wrong_content_type() -> None:
    """One document over several lines is no stream."""
    body = json.dumps({"data": [{"b64_json": text(TEAL)}]}, indent=2).encode()

    assert finished(reply(body, content_type="text/event-stream")).image.data == TEAL


@pytest.mark.parametrize(
    ("named", "found"),
    [("/files/a.png", True), ("a.png", True), ("//cdn.test/a.png", True), ("", False)],
)
def test_relative_addresses_are_named(named: str, found: bool) -> None:  # a column
    """A reply may leave out the host; whoever downloads completes it."""
    assert image_urls(reply({"data": [{"url": named}]})) == ((named,) if found else ())


def test_an_error_is_not_searched_for_images() -> None:
    """The address of an error's documentation is no image."""
    failed = {
        "error": {"message": "no", "url": "https://docs.test/a.png"},
        "data": "https://x.test",
    }

    assert image_urls(reply(failed)) == ()
    with pytest.raises(ApiError):
        finished(reply(failed))


def test_usual_replies_stay_as_they_are() -> None:
    """What uses OpenAI's names is not searched for others."""
    usual = answer(TEAL, background="opaque", images=[text(RED)])

    assert [image.data for image in finished(usual).images] == [TEAL]
