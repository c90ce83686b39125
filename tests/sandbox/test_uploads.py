"""Files that clients upload in parts."""

from __future__ import annotations

from typing import Any

import pytest

from gptimage.sandbox import Sandbox
from gptimage.transport.http import HttpReply, HttpRequest
from tests.sandbox.pictures import error, part, photo
from tests.sandbox.sdk_models import strict
from tests.sandbox.test_responses import TURN, calls, post, value


IMAGE = {"bytes": len(photo()), "filename": "a.png", "mime_type": "image/png", "purpose": "vision"}


def begin(sandbox: Sandbox, **body: Any) -> str:
    """The path of a new upload."""
    reply = post(sandbox, {**IMAGE, **body}, "/uploads")
    strict("upload", reply.body)
    return f"/uploads/{value(reply)['id']}"


def add(sandbox: Sandbox, upload: str, data: bytes) -> str:
    """The id of a new part."""
    path = f"{upload}/parts"
    reply = sandbox.send(HttpRequest(method="POST", path=path, files=(part("data", data),)))
    strict("upload.part", reply.body)
    return str(value(reply)["id"])


def complete(sandbox: Sandbox, upload: str, *parts: str) -> HttpReply:
    """The reply to the end of an upload."""
    return post(sandbox, {"part_ids": list(parts)}, f"{upload}/complete")


def test_the_parts_become_a_file_that_is_drawn_from() -> None:
    """In the order in which they are named at the end."""
    sandbox = Sandbox()
    upload, data = begin(sandbox), photo()
    second, first = (add(sandbox, upload, piece) for piece in (data[100:], data[:100]))
    done = complete(sandbox, upload, first, second)
    strict("upload", done.body)
    image = {"type": "input_image", "detail": "auto", "file_id": value(done)["file"]["id"]}
    content = [{"type": "input_text", "text": "At night"}, image]
    turn = post(sandbox, {**TURN, "input": [{"role": "user", "content": content}]})

    assert value(done)["status"] == "completed"
    assert calls(value(turn))[0]["action"] == "edit"


def test_a_cancelled_upload_takes_nothing_more() -> None:
    """Neither parts nor its end."""
    sandbox = Sandbox()
    upload = begin(sandbox)
    cancelled = value(post(sandbox, {}, f"{upload}/cancel"))
    again = complete(sandbox, upload)

    assert cancelled["status"] == "cancelled"
    assert "cancelled" in str(error(again)["message"])


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"bytes": 0}, "bytes"),
        ({"bytes": None}, "bytes"),
        ({"filename": ""}, "filename"),
        ({"purpose": "fun"}, "purpose"),
        ({"purpose": None}, "purpose"),
        ({"mime_type": 7}, "mime_type"),
        ({"parts": 2}, "parts"),
        ({"expires_after": {"anchor": "created_at"}}, "expires_after.seconds"),
    ],
)
def test_what_is_wrong_is_named(change: Any, param: str) -> None:
    """What is missing, of the wrong type or unknown."""
    reply = post(Sandbox(), {**IMAGE, **change}, "/uploads")

    assert (reply.status, error(reply)["param"]) == (400, param)


def test_the_bytes_must_be_those_that_were_announced() -> None:
    """A file that is too short, a part of another upload, lines that are none."""
    sandbox = Sandbox()
    upload, lines = begin(sandbox), begin(sandbox, purpose="batch", bytes=3)
    short, text = add(sandbox, upload, b"abc"), add(sandbox, lines, b"abc")
    messages = [
        str(error(complete(sandbox, *given))["message"])
        for given in ((upload, short), (upload, text), (lines, text), ("/uploads/upload_0",))
    ]

    assert "3 bytes" in messages[0]
    assert text in messages[1]
    assert ".jsonl" in messages[2]
    assert "upload_0" in messages[3]
