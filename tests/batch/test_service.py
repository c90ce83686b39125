"""The sandbox's files and batches refuse what the service refuses, in the service's words.

The bodies are those others have recorded from the service; where none was found, only the status
is tested.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from gptimage.sandbox import Sandbox
from gptimage.transport.http import FilePart, HttpReply, HttpRequest
from tests.batch.helpers import CHEAP


GENERATIONS = "/v1/images/generations"
BODY: dict[str, Any] = {"model": "gpt-image-2.5-flare", "prompt": "A fox", **CHEAP}
LINE: dict[str, Any] = {"custom_id": "1", "method": "POST", "url": GENERATIONS, "body": BODY}


@pytest.fixture
def sandbox() -> Sandbox:
    """The service."""
    return Sandbox()


def value(reply: HttpReply) -> dict[str, Any]:
    """The JSON of a reply."""
    found: dict[str, Any] = json.loads(bytes(reply.body))
    return found


def upload(sandbox: Sandbox, data: bytes, name: str = "in.jsonl", **fields: object) -> HttpReply:
    """``POST /files``."""
    part = FilePart(name="file", filename=name, content_type="application/jsonl", data=data)
    body = {"purpose": "batch", **fields}
    return sandbox.send(HttpRequest(method="POST", path="/files", body=body, files=(part,)))


def jsonl(*lines: object) -> bytes:
    """A file of lines."""
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def create(sandbox: Sandbox, file_id: str, **changes: object) -> HttpReply:
    """``POST /batches``; a change to None leaves the parameter out."""
    body: dict[str, object] = {
        "input_file_id": file_id,
        "endpoint": GENERATIONS,
        "completion_window": "24h",
        **changes,
    }
    body = {name: each for name, each in body.items() if each is not None}
    return sandbox.send(HttpRequest(method="POST", path="/batches", body=body))


def look(sandbox: Sandbox, batch_id: str) -> dict[str, Any]:
    """``GET /batches/{id}``."""
    return value(sandbox.send(HttpRequest(method="GET", path=f"/batches/{batch_id}")))


def ended(sandbox: Sandbox, data: bytes, **changes: object) -> dict[str, Any]:
    """A batch of these lines, at its end."""
    batch = value(create(sandbox, value(upload(sandbox, data))["id"], **changes))
    while batch["status"] not in {"completed", "failed"}:
        batch = look(sandbox, batch["id"])
    return batch


def without(name: str) -> dict[str, Any]:
    """A line that lacks something."""
    return {key: each for key, each in LINE.items() if key != name}


ENDPOINTS = (
    "'/v1/chat/completions', '/v1/completions', '/v1/embeddings', '/v1/images/edits', "
    "'/v1/images/generations', '/v1/moderations', '/v1/responses', and '/v1/videos'"
)
MISSING = "missing_required_parameter"
SAID = {
    "invalid_url": "The URL provided for this request does not match the batch endpoint.",
    "invalid_request": "Model parameter is required.",
    "model_not_found": "The provided model 'dall-e-3' is not supported by the Batch API.",
    "streaming_unsupported": "Streaming is not supported in the Batch API.",
    "mismatched_model": (
        "The model 'gpt-image-2' for this request does not match the rest of the batch. "
        "Each batch must contain requests for a single model."
    ),
    "duplicate_custom_id": (
        "The custom_id '1' for this request is a duplicate of another request. "
        "The custom_id parameter must be unique for each request in a batch."
    ),
}


@pytest.mark.parametrize(
    ("line", "code", "param"),
    [
        (without("custom_id"), MISSING, "custom_id"),
        (without("method"), MISSING, "method"),
        (without("url"), MISSING, "url"),
        (without("body"), MISSING, "body"),
        ({**LINE, "url": "/v1/embeddings"}, "invalid_url", "url"),
        ({**LINE, "body": {"prompt": "x"}}, "invalid_request", "body.model"),
        ({**LINE, "body": {**BODY, "model": "dall-e-3"}}, "model_not_found", "body.model"),
        ({**LINE, "body": {**BODY, "stream": True}}, "streaming_unsupported", "body.stream"),
        ({**LINE, "body": {**BODY, "model": "gpt-image-2"}}, "mismatched_model", "body.model"),
        (LINE, "duplicate_custom_id", "custom_id"),
    ],
)
def test_a_wrong_line_fails_the_whole_batch(
    sandbox: Sandbox, line: dict[str, Any], code: str, param: str
) -> None:
    """A batch with one wrong line draws nothing and names the line, reason and parameter."""
    batch = ended(sandbox, jsonl(LINE, line))

    message = SAID.get(code, f"Missing required parameter: '{param}'.")
    problem = {"code": code, "message": message, "param": param, "line": 2}
    assert batch["errors"] == {"object": "list", "data": [problem]}
    assert (batch["status"], batch["output_file_id"]) == ("failed", None)
    assert batch["failed_at"]


def test_every_line_that_is_no_json_is_named(sandbox: Sandbox) -> None:
    """Only the first line is looked at when a file is uploaded; the batch tells of the others."""
    batch = ended(sandbox, jsonl(LINE) + b"{invalid\n" + jsonl({**LINE, "custom_id": "2"}) + b"}\n")

    message = "This line is not parseable as valid JSON."
    found = [(each["code"], each["line"], each["message"]) for each in batch["errors"]["data"]]
    assert found == [("invalid_json_line", 2, message), ("invalid_json_line", 4, message)]


@pytest.mark.parametrize(
    ("data", "name"),
    [(b"", "in.jsonl"), (b"{malformed json", "in.jsonl"), (jsonl(LINE), "notes.txt")],
    ids=["empty", "malformed", "another name"],
)
def test_no_jsonl_no_file_for_a_batch(sandbox: Sandbox, data: bytes, name: str) -> None:
    """A file that is no JSONL is refused when it is uploaded."""
    reply = upload(sandbox, data, name)

    assert reply.status == 400
    assert value(reply)["error"] == {
        "message": "Invalid file format for Batch API. Must be .jsonl",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


def test_files_for_batches_last_a_month(sandbox: Sandbox) -> None:
    """A file says when it expires: after 30 days, or as asked for."""
    policy = {"anchor": "created_at", "seconds": 3600}
    month = value(upload(sandbox, jsonl(LINE)))
    hour = value(upload(sandbox, jsonl(LINE), expires_after=policy))

    assert month["expires_at"] - month["created_at"] == 2_592_000
    assert hour["expires_at"] - hour["created_at"] == 3600


@pytest.mark.parametrize(
    ("policy", "param"),
    [
        ({"anchor": "created_at", "seconds": 3599}, "expires_after.seconds"),
        ({"anchor": "created_at", "seconds": 2_592_001}, "expires_after.seconds"),
        ({"anchor": "last_used_at", "seconds": 3600}, "expires_after.anchor"),
        ({"seconds": 3600}, "expires_after.anchor"),
        ({"anchor": "created_at"}, "expires_after.seconds"),
        ({"anchor": "created_at", "seconds": 3600, "x": 1}, "expires_after.x"),
    ],
)
def test_a_wrong_expiry_is_refused(sandbox: Sandbox, policy: dict[str, object], param: str) -> None:
    """The same rules hold for files and for what batches leave behind."""
    file = upload(sandbox, jsonl(LINE), expires_after=policy)
    batch = create(sandbox, "file-x", output_expires_after=policy)

    assert (file.status, value(file)["error"]["param"]) == (400, param)
    assert (batch.status, value(batch)["error"]["param"]) == (400, f"output_{param}")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        *(
            ({name: None}, (f"Missing required parameter: '{name}'.", name, MISSING))
            for name in ("input_file_id", "endpoint", "completion_window")
        ),
        (
            {"endpoint": "/v1/invalid/endpoint"},
            (
                f"Invalid value: '/v1/invalid/endpoint'. Supported values are: {ENDPOINTS}.",
                "endpoint",
                "invalid_value",
            ),
        ),
        (
            {"metadata": {"tags": ["tag1", "tag2"]}},
            (
                "Invalid type for 'metadata.tags': expected a string, but got an array instead.",
                "metadata.tags",
                "invalid_type",
            ),
        ),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_refused(
    sandbox: Sandbox, changes: dict[str, object], error: tuple[str, str, str]
) -> None:
    """What is wrong with the request itself is refused at once, as the service words it."""
    reply = create(sandbox, "file-x", **changes)

    assert reply.status == 400
    message, param, code = error
    assert value(reply)["error"] == {
        "message": message,
        "type": "invalid_request_error",
        "param": param,
        "code": code,
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"completion_window": "1h"},
        {"metadata": {f"n{n}": "x" for n in range(17)}},
        {"metadata": {"n" * 65: "x"}},
        {"metadata": {"n": "x" * 513}},
        {"model": "gpt-image-2"},
        {"endpoint": "/v1/chat/completions"},
    ],
)
def test_other_wrong_parameters_are_refused(sandbox: Sandbox, changes: dict[str, object]) -> None:
    """So is what nobody has recorded the words for, and what the sandbox cannot draw."""
    assert create(sandbox, "file-x", **changes).status == 400


@pytest.mark.parametrize("purpose", [None, "vision"])
def test_a_file_that_cannot_be_used_fails_the_batch(sandbox: Sandbox, purpose: str | None) -> None:
    """A batch of no file, or of one for something else, is made, and fails when it is checked."""
    file_id = "file-nonexistent-xyz"
    if purpose:
        file_id = value(upload(sandbox, jsonl(LINE), purpose=purpose))["id"]
    made = value(create(sandbox, file_id))
    batch = look(sandbox, made["id"])

    assert (made["status"], batch["status"]) == ("validating", "failed")
    (problem,) = batch["errors"]["data"]
    assert (problem["code"], problem["line"], problem["param"]) == (
        "invalid_request", None, "file_id",
    )  # fmt: skip
    assert problem["message"].startswith(f"Cannot find file {file_id}, or organization ")
    assert problem["message"].endswith(" does not have access to it.")


def test_cancelling_what_has_ended(sandbox: Sandbox) -> None:
    """A completed or failed batch cannot be cancelled; a cancelled one can, again."""
    for data, status in ((jsonl(LINE), "completed"), (jsonl({}), "failed")):
        batch = ended(sandbox, data)
        reply = sandbox.send(HttpRequest(method="POST", path=f"/batches/{batch['id']}/cancel"))
        assert reply.status == 409
        assert value(reply)["error"] == {
            "message": f"Cannot cancel a batch with status '{status}'.",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }
    path = f"/batches/{value(create(sandbox, 'file-x'))['id']}"
    request = HttpRequest(method="POST", path=f"{path}/cancel")

    assert value(sandbox.send(request))["status"] == "cancelling"
    assert value(sandbox.send(HttpRequest(method="GET", path=path)))["status"] == "cancelled"
    assert value(sandbox.send(request))["status"] == "cancelled"


@pytest.mark.parametrize("path", ["/batches/batch_x", "/batches/batch_x/cancel", "/files/file-x"])
def test_what_is_not_there_is_a_404(sandbox: Sandbox, path: str) -> None:
    """Batches and files nobody made are not found."""
    method = "POST" if path.endswith("cancel") else "GET"
    reply = sandbox.send(HttpRequest(method=method, path=path))

    assert reply.status == 404
    assert value(reply)["error"]["type"] == "invalid_request_error"


def test_a_clean_batch_has_an_empty_error_file(sandbox: Sandbox) -> None:
    """As seen at the service: an empty id, not null, names the error file there is none of."""
    batch = ended(sandbox, jsonl(LINE))

    assert batch["error_file_id"] == ""
    assert batch["request_counts"] == {"total": 1, "completed": 1, "failed": 0}


def test_files_are_read_back_by_purpose(sandbox: Sandbox) -> None:
    """Requests and results can be downloaded, images for edits cannot."""
    kept = value(upload(sandbox, jsonl(LINE)))["id"]
    picture = value(upload(sandbox, b"\x89PNG", "a.png", purpose="vision"))["id"]
    replies = [
        sandbox.send(HttpRequest(method="GET", path=f"/files/{name}/content"))
        for name in (kept, picture)
    ]

    assert [reply.status for reply in replies] == [200, 400]
    assert replies[0].body == jsonl(LINE)
    assert (
        value(replies[1])["error"]["message"] == "Not allowed to download files of purpose: vision"
    )
