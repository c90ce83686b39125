"""The rest of the surface: lists and deletions, Azure's dialect, chance failures, what was seen."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from typing import Any

import openai
import pytest

from gptimage.errors import InvalidRequestError
from gptimage.sandbox import Sandbox, SandboxServer
from gptimage.transport.http import HttpReply, HttpRequest
from tests.sandbox.pictures import (
    MODEL,
    SMALL,
    edit,
    error,
    generate,
    json_edit,
    part,
    photo,
)
from tests.sandbox.sdk_models import strict, strict_event


QUICK: dict[str, Any] = {"size": SMALL, "quality": "low"}
SVG = {"model": "gpt-image-2.6-flare", "output_format": "svg"}
GIF = {"model": "gpt-image-2.6-flare", "output_format": "gif", "size": "512x512"}


def call(sandbox: Sandbox, method: str, path: str, **body: Any) -> HttpReply:
    """The reply to a request with a JSON body, or none."""
    return sandbox.answer(HttpRequest(method=method, path=path, body=body))


def upload(sandbox: Sandbox, name: str = "a.png", purpose: str = "vision") -> HttpReply:
    """The reply to an upload."""
    files = (part("file", photo(), filename=name),)
    body = {"purpose": purpose}
    return sandbox.answer(HttpRequest(method="POST", path="/files", body=body, files=files))


def value(reply: HttpReply) -> Any:
    """The JSON of a reply that is no error."""
    assert reply.status == 200, bytes(reply.body)
    return json.loads(bytes(reply.body))


IMAGE_REQUESTS = {
    "one image": generate(**QUICK),
    "two images": generate(n=2, safety_identifier="u", **QUICK),
    "svg": generate(**SVG),
    "gif": generate(**GIF),
    "edit": edit(**QUICK),
    "webp": edit(output_format="webp", **QUICK),
}


@pytest.mark.parametrize("name", IMAGE_REQUESTS)
def test_image_replies_are_valid_to_the_letter(name: str) -> None:
    """The SDK's own model, read strictly."""
    strict("images", Sandbox(previews=True).answer(IMAGE_REQUESTS[name]).body)


@pytest.mark.parametrize("request_", [generate, edit])
def test_image_events_are_valid_to_the_letter(request_: Any) -> None:
    """Previews and finished images of both operations."""
    reply = Sandbox().answer(request_(stream=True, partial_images=1, n=2, **QUICK))
    blocks = bytes(reply.body).split(b"\n\n")[:-1]
    found = [strict_event(block.partition(b"\ndata: ")[2]) for block in blocks]

    assert [event.type.partition(".")[2] for event in found] == ["partial_image", "completed"] * 2


def test_look_ups_are_valid_to_the_letter() -> None:
    """Models, files, batches and checks of provenance."""
    sandbox = Sandbox()
    checked = HttpRequest(
        method="POST", path="/content_provenance_checks", files=(part("file", photo()),)
    )
    line = {"custom_id": "a", "method": "POST", "url": "/v1/images/generations", "body": {}}
    files = (part("file", json.dumps(line).encode(), "application/jsonl", "a.jsonl"),)
    lines = sandbox.answer(
        HttpRequest(method="POST", path="/files", body={"purpose": "batch"}, files=files)
    )
    batch = call(
        sandbox, "POST", "/batches", input_file_id=value(lines)["id"],
        endpoint="/v1/images/generations", completion_window="24h",
    )  # fmt: skip

    strict("model", call(sandbox, "GET", f"/models/{MODEL}").body)
    strict("content_provenance_check", sandbox.answer(checked).body)
    strict("file", lines.body)
    for _ in range(2):
        strict("batch", batch.body)
        batch = call(sandbox, "GET", f"/batches/{value(batch)['id']}")


@pytest.mark.parametrize(
    "neutral",
    [
        {"partial_images": 0}, {"partial_images": None}, {"svg": None}, {"stream": None},
        {"frame_count": None}, {"frame_duration_ms": None}, {"output_compression": None},
        {"size": None}, {"n": None}, {"complexity": None}, {"moderation": None},
        {**GIF, "partial_images": 0}, {**SVG, "partial_images": 0},
    ],
    ids=str,
)  # fmt: skip
def test_neutral_values_are_not_given(neutral: dict[str, Any]) -> None:
    """0 and null ask for nothing, so nothing is refused."""
    reply = Sandbox().answer(generate(**{"quality": "low", **neutral}))

    assert len(value(reply)["data"]) == 1


@pytest.mark.parametrize("request_", [generate, edit])
def test_an_empty_size_is_no_size(request_: Any) -> None:
    """The service names the parameter; only leaving it out means ``auto``."""
    reply = Sandbox().handle(request_(size="", quality="low")).reply

    assert (reply.status, error(reply)["param"]) == (400, "size")


def test_files_are_listed_and_deleted() -> None:
    """Newest first, by purpose, page by page; a deleted file is gone for edits, too."""
    sandbox = Sandbox()
    made = [value(upload(sandbox, name))["id"] for name in ("a.png", "b.png", "c.png")]
    value(upload(sandbox, "d.png", "user_data"))
    page = value(call(sandbox, "GET", "/files?purpose=vision&limit=2"))
    rest = value(call(sandbox, "GET", f"/files?purpose=vision&after={page['last_id']}"))
    oldest = value(call(sandbox, "GET", "/files?order=asc"))
    gone = call(sandbox, "DELETE", f"/files/{made[0]}")
    strict("file_deleted", gone.body)
    used = sandbox.answer(json_edit(images=[{"file_id": made[0]}], **QUICK))

    assert [each["id"] for each in page["data"]] == [made[2], made[1]]
    assert (page["has_more"], rest["has_more"]) == (True, False)
    assert [each["id"] for each in rest["data"]] == [made[0]]
    assert [each["filename"] for each in oldest["data"]] == ["a.png", "b.png", "c.png", "d.png"]
    assert used.status == 404
    assert call(sandbox, "GET", f"/files/{made[0]}").status == 404
    assert call(sandbox, "DELETE", f"/files/{made[0]}").status == 404
    assert error(call(sandbox, "GET", "/files?limit=0"))["param"] == "limit"


def test_the_sdk_lists_and_deletes_files() -> None:
    """Its own pages and models."""
    with (
        SandboxServer() as server,
        openai.OpenAI(api_key="k", base_url=server.base_url, max_retries=0) as client,
    ):
        made = client.files.create(file=("a.png", photo()), purpose="vision")
        listed = [each.id for each in client.files.list(limit=1)]
        deleted = client.files.delete(made.id)

    assert (listed, deleted.deleted) == ([made.id], True)


def test_an_azure_client_works() -> None:
    """Key in its own header, the model as a deployment in the path, and both kinds of path."""
    with SandboxServer() as server:
        azure: Any = openai.AzureOpenAI(
            api_key="k", azure_endpoint=server.azure_endpoint, api_version="2026-02-01",
            max_retries=0,
        )  # fmt: skip
        with azure:
            made = azure.images.generate(model=MODEL, prompt="A fox", **QUICK)
            changed = azure.images.edit(
                model=MODEL, prompt="Night", image=("a.png", photo(), "image/png"), **QUICK
            )
            turn = azure.responses.create(
                model="gpt-5.6-sol", input="A fox",
                tools=[{"type": "image_generation", "quality": "low"}],
                extra_headers={"x-ms-oai-image-generation-deployment": MODEL},
            )  # fmt: skip
            with pytest.raises(openai.NotFoundError, match="API deployment") as missing:
                azure.images.generate(model="my-images", prompt="A fox")
        newer = openai.OpenAI(
            api_key="k", base_url=f"{server.azure_endpoint}/openai/v1/", max_retries=0
        )
        with newer:
            again = newer.images.generate(model=MODEL, prompt="A fox", **QUICK)
        paths = [request.path for request in server.sandbox.requests]

    images = [base64.b64decode(each.data[0].b64_json) for each in (made, changed, again)]
    assert all(image.startswith(b"\x89PNG") for image in images)
    assert turn.output[0].type == "image_generation_call"
    assert missing.value.code == "DeploymentNotFound"
    assert paths == [
        "/images/generations", "/images/edits", "/responses", "/images/generations",
        "/images/generations",
    ]  # fmt: skip


def test_azure_wants_a_key_and_a_version() -> None:
    """In its own words."""
    path = f"/openai/deployments/{MODEL}/images/generations"
    unversioned = call(Sandbox(), "POST", path, prompt="A fox")
    with SandboxServer() as server:
        request = urllib.request.Request(
            f"{server.azure_endpoint}{path}?api-version=1", data=b"{}", method="POST"
        )
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        body = json.loads(caught.value.read())

    assert (unversioned.status, error(unversioned)["code"]) == (404, "404")
    assert caught.value.code == 401
    assert body["error"]["message"].startswith("Access denied due to invalid subscription key")


def test_variations_are_gone_before_a_key_is_asked_for() -> None:
    """404 and nothing else, over HTTP, too."""
    with SandboxServer() as server:
        request = urllib.request.Request(
            f"{server.base_url}/images/variations", data=b"x", method="POST"
        )
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        headers = {name.lower() for name in caught.value.headers}

    assert (caught.value.code, caught.value.read()) == (404, b"")
    assert not headers & {"content-type", "x-request-id"}


def statuses(sandbox: Sandbox, count: int = 60) -> list[int]:
    """The statuses of a number of equal requests."""
    return [sandbox.handle(generate(size="")).reply.status for _ in range(count)]


def test_a_share_of_the_requests_fails() -> None:
    """At about its rate, the same requests for the same seed, and look-ups never."""
    rates: Any = {"overloaded": 0.2, "quota": 0.1}
    first = statuses(Sandbox(failures=rates, seed=7), 300)
    again = Sandbox(failures=rates, seed=7)
    again.answer(HttpRequest(method="GET", path="/models"))
    other = statuses(Sandbox(failures=rates, seed=8), 300)

    assert first == statuses(again, 300)
    assert first != other
    assert 40 <= first.count(503) <= 80
    assert 15 <= first.count(429) <= 45
    assert set(statuses(Sandbox(failures={}))) == {400}


def test_one_request_has_rates_of_its_own() -> None:
    """The header that requests a failure takes rates as well."""
    sandbox = Sandbox(seed=1)
    always, never = ({"x-sandbox-fail": f"quota={rate}"} for rate in (1, 0))
    found = [
        sandbox.handle(
            HttpRequest(method="POST", path="/images/generations", headers=headers)
        ).reply.status
        for headers in (always, never)
    ]
    wrong = HttpRequest(method="GET", path="/models", headers={"x-sandbox-fail": "quota=2"})

    assert found == [429, 400]
    assert error(sandbox.answer(wrong))["param"] == "x-sandbox-fail"


@pytest.mark.parametrize(
    "rates", [{"nothing": 0.1}, {"cut": 2}, {"cut": -0.1}, {"cut": 0.6, "html": 0.6}, {"cut": True}]
)
def test_rates_that_are_none_are_refused(rates: Any) -> None:
    """When the sandbox is made, not when a request comes."""
    with pytest.raises(InvalidRequestError) as caught:
        Sandbox(failures=rates)
    assert caught.value.field in {"failures", "failure"}


def test_what_was_seen_has_no_keys() -> None:
    """``/__sandbox/requests`` shows bodies and files, and neither keys nor megabytes."""
    secret = "sk-proj-" + "a1B2" * 12
    with (
        SandboxServer() as server,
        openai.OpenAI(api_key=secret, base_url=server.base_url, max_retries=0) as client,
    ):
        client.images.edit(
            image=("a.png", photo(), "image/png"), model=MODEL, prompt=f"Night {secret}",
            size="auto", quality="low",
            extra_headers={"x-api-key": secret, "x-note": secret, "Cookie": secret},
        )  # fmt: skip
        address = f"{server.azure_endpoint}/__sandbox/requests"
        with urllib.request.urlopen(address) as reply:
            text = reply.read().decode()
        with urllib.request.urlopen(urllib.request.Request(address, method="DELETE")) as reply:
            reply.read()
        left = server.sandbox.requests
    (seen,) = json.loads(text)["data"]

    assert secret not in text
    assert (seen["method"], seen["path"]) == ("POST", "/images/edits")
    assert seen["body"]["model"] == MODEL
    assert (seen["files"][0]["filename"], seen["files"][0]["bytes"]) == ("a.png", len(photo()))
    assert "x-stainless-lang" in seen["headers"]
    assert left == []


def test_long_texts_of_what_was_seen_are_cut() -> None:
    """An image in a body is shown by its length."""
    sandbox = Sandbox()
    call(sandbox, "POST", "/images/edits", images=[{"image_url": "data:," + "A" * 40_000}])
    (seen,) = value(call(sandbox, "GET", "/__sandbox/requests"))["data"]

    assert seen["body"]["images"][0]["image_url"].endswith("(40006 characters)")
