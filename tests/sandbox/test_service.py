"""The service around the images: replies, usage, headers, lists, files, failures on request."""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptimage.errors import InvalidRequestError, OutcomeUnknownError
from gptimage.sandbox import Sandbox
from gptimage.sandbox.failures import SCENARIOS
from gptimage.transport.http import HttpReply, HttpRequest
from tests.sandbox.pictures import (
    EDITS,
    GENERATIONS,
    SMALL,
    TODAY,
    edit,
    error,
    generate,
    opened,
    part,
    photo,
)


USER = "image_generation_user_error"
QUICK = {"size": SMALL, "quality": "low"}


def get(path: str) -> HttpRequest:
    """A request that only asks."""
    return HttpRequest(method="GET", path=path)


def body(reply: HttpReply) -> Any:
    """The JSON of an answer that is no error."""
    assert reply.status == 200
    return json.loads(reply.body)


def events(reply: HttpReply) -> list[tuple[str, Any]]:
    """Names and data of the events of a stream, by the letter of its format."""
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    *blocks, rest = bytes(reply.body).split(b"\n\n")
    assert rest == b""
    found = []
    for block in blocks:
        name, data = block.split(b"\n")
        assert name.startswith(b"event: ")
        assert data.startswith(b"data: ")
        found.append((name[7:].decode(), json.loads(data[6:])))
    return found


def test_a_reply_has_the_documented_fields(sandbox: Sandbox) -> None:
    """Images in base64, the defaults resolved, and usage in its exact shape."""
    answer = body(sandbox.send(generate(n=2, safety_identifier="u1", **QUICK)))
    tokens = 2 * 107

    assert list(answer["data"][0]) == ["b64_json"]
    assert [opened(base64.b64decode(one["b64_json"])).size for one in answer["data"]] == [
        (1024, 640)
    ] * 2
    del answer["data"], answer["created"]
    assert {
        "background": "opaque",
        "output_format": "png",
        "quality": "low",
        "size": SMALL,
        "safety_identifier": "u1",
        "usage": {
            "total_tokens": 6 + tokens,
            "input_tokens": 6,
            "output_tokens": tokens,
            "input_tokens_details": {"text_tokens": 6, "image_tokens": 0},
            "output_tokens_details": {"image_tokens": tokens, "text_tokens": 0},
        },
    } == answer


@pytest.mark.parametrize(
    ("quality", "size", "tokens"),
    [("low", "1024x1024", 196), ("medium", "1536x1024", 343), ("auto", "1024x1024", 439)],
)
def test_usage_follows_the_published_formula(
    sandbox: Sandbox, quality: str, size: str, tokens: int
) -> None:
    """The figures of OpenAI's calculator, to the token."""
    answer = body(sandbox.send(generate(quality=quality, size=size)))

    assert tokens == answer["usage"]["output_tokens"]


def test_an_svg_counts_its_author_apart(sandbox: Sandbox) -> None:
    """`svg_usage` names the author and adds up."""
    answer = body(sandbox.send(generate(model="gpt-image-2.6-flare", output_format="svg")))
    used = answer["svg_usage"]

    assert {"model", "input_tokens", "output_tokens", "reasoning_tokens", "total_tokens"} == set(
        used
    )
    assert used["total_tokens"] == used["input_tokens"] + used["output_tokens"]


@pytest.mark.parametrize(
    ("request_", "operation"),
    [(generate, "generation"), (edit, "edit")],
)
def test_a_stream_has_the_documented_events(
    sandbox: Sandbox, request_: Any, operation: str
) -> None:
    """Partial images with an index, then one completed event with the usage."""
    found = events(sandbox.send(request_(stream=True, partial_images=2, **QUICK)))
    names = [name for name, _ in found]
    partial, final = found[0][1], found[-1][1]

    kind = f"image_{operation}"
    assert [f"{kind}.partial_image"] * 2 + [f"{kind}.completed"] == names
    assert names == [data["type"] for _, data in found]
    assert [data["partial_image_index"] for _, data in found[:-1]] == [0, 1]
    common = {"type", "b64_json", "created_at", "background", "output_format", "quality", "size"}
    assert common | {"partial_image_index"} == partial.keys()
    assert common | {"usage"} == final.keys()
    assert final["usage"]["output_tokens"] == 107 + 200


def test_streamed_usages_add_up(sandbox: Sandbox) -> None:
    """Several images in one stream cost what they cost together."""
    asked = {"n": 3, "stream": True, **QUICK}
    found = events(sandbox.send(generate(**asked)))
    whole = body(sandbox.send(generate(n=3, **QUICK)))["usage"]

    assert whole["total_tokens"] == sum(data["usage"]["total_tokens"] for _, data in found)


def test_every_reply_has_the_services_headers(sandbox: Sandbox) -> None:
    """Success or not, a reply names its request, its time and the limits."""
    for request in (get("/models"), get("/nowhere"), generate(n=0)):
        headers = sandbox.send(request).headers
        assert headers["content-type"] == "application/json"
        assert headers["openai-version"] == "2020-10-01"
        assert headers["openai-processing-ms"].isdecimal()
        assert headers["x-request-id"].startswith("req_")
        assert len(headers["x-request-id"]) == 36
        for limit in ("requests", "tokens", "input-images"):
            assert headers[f"x-ratelimit-remaining-{limit}"].isdecimal()


def test_models_are_listed_with_their_end(sandbox: Sandbox) -> None:
    """Living models with their shutdown date; the dead are gone."""
    listed = {one["id"]: one for one in body(sandbox.send(get("/v1/models")))["data"]}

    assert listed["gpt-image-2.5-flare"]["shutdown_date"] is None
    assert listed["gpt-image-1.5"]["shutdown_date"] == "2026-12-01"
    assert {"dall-e-3", "gpt-image-1"}.isdisjoint(listed)
    assert listed["gpt-image-2"] == body(sandbox.send(get("/models/gpt-image-2")))
    assert {"id", "object", "created", "owned_by", "shutdown_date"} == listed["gpt-image-2"].keys()


def test_unknown_models_are_not_found(sandbox: Sandbox) -> None:
    """Asking for a model that is gone is a 404 of its own kind."""
    reply = sandbox.send(get("/models/dall-e-2"))

    assert (reply.status, error(reply)["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/", "/images", "/v1/images/generations/x"]
)
def test_other_addresses_are_not_found(sandbox: Sandbox, path: str) -> None:
    """The sandbox is the image surface, and says so for everything else."""
    reply = sandbox.send(HttpRequest(method="POST", path=path))
    shown = "/v1" + path.removeprefix("/v1")

    assert reply.status == 404
    assert {
        "message": f"Invalid URL (POST {shown})",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    } == error(reply)


def test_wrong_methods_are_told_the_right_one(sandbox: Sandbox) -> None:
    """GET on an endpoint that draws is a 405."""
    reply = sandbox.send(get(GENERATIONS))

    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    assert error(reply)["message"].startswith("Not allowed to GET on /v1/images/generations.")


def test_variations_are_retired(sandbox: Sandbox) -> None:
    """As observed: 404, no body, no headers of the service."""
    form = HttpRequest(method="POST", path="/images/variations", files=(part("image", photo()),))
    reply = sandbox.send(form)

    assert (reply.status, bytes(reply.body), dict(reply.headers)) == (404, b"", {})


def test_files_are_kept_and_found(sandbox: Sandbox) -> None:
    """An uploaded file can be asked for; an unknown one is a 404."""
    form = HttpRequest(
        method="POST", path="/files", body={"purpose": "vision"}, files=(part("file", b"abc"),)
    )
    made = body(sandbox.send(form))

    assert (
        made["object"], made["bytes"], made["purpose"], made["filename"],
    ) == ("file", 3, "vision", "x.png")  # fmt: skip
    assert made == body(sandbox.send(get(f"/files/{made['id']}")))
    assert sandbox.send(get("/files/file-unknown")).status == 404


@pytest.mark.parametrize(
    ("given", "files", "code"),
    [
        ({}, ("file",), "missing_required_parameter"),
        ({"purpose": "fun"}, ("file",), "invalid_value"),
        ({"purpose": "vision"}, (), "missing_required_parameter"),
        ({"purpose": "vision"}, ("file", "file"), "duplicate_parameter"),
        ({"purpose": "vision"}, ("image",), "unknown_parameter"),
        ({"purpose": "vision", "name": "x"}, ("file",), "unknown_parameter"),
    ],
)
def test_bad_uploads_are_refused(
    sandbox: Sandbox, given: dict[str, str], files: tuple[str, ...], code: str
) -> None:
    """One file, a purpose, and nothing else."""
    parts = tuple(part(name, b"abc") for name in files)
    reply = sandbox.send(HttpRequest(method="POST", path="/files", body=given, files=parts))

    assert (400, code) == (reply.status, error(reply)["code"])


def with_manifest(data: bytes, says: bytes) -> bytes:
    """A PNG with a C2PA chunk behind its header."""
    chunk = len(says).to_bytes(4, "big") + b"caBX" + says + b"\0\0\0\0"
    return data[:33] + chunk + data[33:]


@pytest.mark.parametrize(
    ("data", "outcome", "state"),
    [
        (photo(), "not_detected", "not_present"),
        (with_manifest(photo(), b"jumb c2pa OpenAI"), "detected", "valid"),
        (with_manifest(photo(), b"jumb c2pa Camera"), "not_detected", "valid"),
    ],
)
def test_provenance_is_really_looked_for(
    sandbox: Sandbox, data: bytes, outcome: str, state: str
) -> None:
    """A manifest is found in the bytes; the watermark never is."""
    path = "/content_provenance_checks"
    found = body(sandbox.send(HttpRequest(method="POST", path=path, files=(part("file", data),))))
    c2pa, synthid = found["results"]

    assert ("content_provenance_check", "c2pa", outcome, state) == (
        found["object"], c2pa["type"], c2pa["outcome"], c2pa["validation_state"],
    )  # fmt: skip
    assert (synthid["type"], synthid["outcome"]) == ("synthid", "not_detected")


def test_provenance_of_audio_and_of_anything_else(sandbox: Sandbox) -> None:
    """Audio has only a watermark to look for; other files are refused."""
    path = "/content_provenance_checks"
    audio = HttpRequest(method="POST", path=path, files=(part("file", b"ID3\x04rest"),))
    other = HttpRequest(method="POST", path=path, files=(part("file", b"%PDF-1.7"),))

    assert [one["type"] for one in body(sandbox.send(audio))["results"]] == ["synthid"]
    assert sandbox.send(other).status == 400


FAILURES: list[tuple[str, int, str | None, str | None]] = [
    ("moderation", 400, USER, "moderation_blocked"),
    ("moderation_output", 400, USER, "moderation_blocked"),
    ("quota", 429, "insufficient_quota", "insufficient_quota"),
    ("rate_limit", 429, "input-images", "rate_limit_exceeded"),
    ("billing", 400, "invalid_request_error", "billing_hard_limit_reached"),
    ("unverified", 403, "invalid_request_error", None),
    ("unauthorized", 401, "invalid_request_error", "invalid_api_key"),
    ("server", 500, "image_generation_server_error", "image_generation_failed"),
    ("stream_error", 500, "image_generation_server_error", "image_generation_failed"),
]


@pytest.mark.parametrize(("scenario", "status", "type_", "code"), FAILURES)
@pytest.mark.parametrize("way", ["method", "header", "prompt"])
def test_failures_on_request(
    sandbox: Sandbox, scenario: Any, status: int, type_: str, code: str, way: str
) -> None:
    """Each scenario fails one call the way the service does, however it is asked for."""
    request = generate(**QUICK)
    if way == "method":
        sandbox.fail_next(scenario)
    elif way == "prompt":
        request = generate(**{**QUICK, "prompt": f"A fox [sandbox:{scenario}]"})
    else:
        request = HttpRequest(
            method="POST", path=GENERATIONS, body=request.body, headers={"x-sandbox-fail": scenario}
        )
    reply = sandbox.send(request)
    found = error(reply)

    assert (status, type_, code) == (reply.status, found["type"], found["code"])
    assert sandbox.send(generate(**QUICK)).status == 200


def test_moderation_says_where_and_what(sandbox: Sandbox) -> None:
    """The details name the stage and the categories, the message the request."""
    for scenario, stage in (("moderation", "input"), ("moderation_output", "output")):
        sandbox.fail_next(scenario)  # type: ignore[arg-type]  # a name from a table
        reply = sandbox.send(generate(**QUICK))
        found = error(reply)
        assert {"moderation_stage": stage, "categories": ["sexual"]} == found["moderation_details"]
        assert f"include the request ID {reply.request_id}." in found["message"]


def test_rate_limits_say_how_long(sandbox: Sandbox) -> None:
    """Headers and message agree on the time to wait."""
    sandbox.fail_next("rate_limit", times=2, retry_after=12)
    reply = sandbox.send(generate(**QUICK))

    assert (reply.headers["retry-after"], reply.headers["retry-after-ms"]) == ("12", "12000")
    assert "Please try again in 12s." in error(reply)["message"]
    assert sandbox.send(generate(**QUICK)).status == 429
    assert sandbox.send(generate(**QUICK)).status == 200


def test_replies_that_lie(sandbox: Sandbox) -> None:
    """A web page, no data, no body, and whatever a test wants to see."""
    own = HttpReply(status=418, headers={"content-type": "text/plain"}, body=b"tea")
    for failure in ("html", "empty", "unavailable", own):
        sandbox.fail_next(failure)  # type: ignore[arg-type]  # names from a list
    html, empty, unavailable, given = (sandbox.send(generate(**QUICK)) for _ in range(4))

    assert (html.status, html.content_type) == (200, "text/html")
    assert body(empty)["data"] is None
    assert (unavailable.status, unavailable.body) == (503, b"")
    assert (given.status, given.body) == (418, b"tea")


@pytest.mark.parametrize(("scenario", "code"), [
    ("moderation_output", "moderation_blocked"), ("stream_error", "image_generation_failed"),
])  # fmt: skip
@pytest.mark.parametrize("partials", [0, 2])
def test_streams_can_fail_after_their_first_picture(
    sandbox: Sandbox, scenario: Any, code: str, partials: int
) -> None:
    """The first partial arrives, then an error event ends the stream."""
    sandbox.fail_next(scenario)
    found = events(sandbox.send(generate(stream=True, partial_images=partials, **QUICK)))
    name, data = found[-1]

    assert min(1, partials) + 1 == len(found)
    assert (name, data["type"], data["sequence_number"]) == ("error", "error", 0)
    assert code == data["error"]["code"]


@pytest.mark.parametrize("scenario", ["timeout", "cut"])
@pytest.mark.parametrize("stream", [True, False])
def test_broken_connections_leave_the_outcome_unknown(
    sandbox: Sandbox, scenario: Any, stream: bool
) -> None:
    """In process, a connection that breaks is the error a client would raise."""
    sandbox.fail_next(scenario)

    with pytest.raises(OutcomeUnknownError):
        sandbox.send(generate(stream=stream, **QUICK))


def test_unknown_failures_are_named(sandbox: Sandbox) -> None:
    """A misspelt scenario is an error that lists the right ones."""
    with pytest.raises(InvalidRequestError, match="moderation") as caught:
        sandbox.fail_next("modertion")  # type: ignore[arg-type]  # the mistake under test

    assert caught.value.allowed == SCENARIOS
    reply = sandbox.send(generate(prompt="x [sandbox:nonsense]"))
    assert (reply.status, error(reply)["param"]) == (400, "prompt")


def test_requests_are_kept_as_they_arrived(sandbox: Sandbox) -> None:
    """The log holds every request, forms as text, whatever became of it."""
    sandbox.send(get("/v1/models?limit=1"))
    sandbox.send(generate(n=0))
    sandbox.send(edit(n=1, stream=False, svg={"model": "a"}, mask=None))
    listed, refused, form = sandbox.requests

    assert (listed.method, listed.path) == ("GET", "/models")
    assert refused.body["n"] == 0
    assert (
        form.path, form.body["n"], form.body["stream"], form.body["svg[model]"],
    ) == (EDITS, "1", "false", "a")  # fmt: skip
    assert "mask" not in form.body
    assert photo() == form.files[0].data


def test_the_log_and_the_files_are_bounded(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sandbox that runs for days forgets its oldest requests and files."""
    monkeypatch.setattr("gptimage.sandbox.service._REMEMBERED_BYTES", 2500)
    monkeypatch.setattr("gptimage.sandbox.models_files_api._MOST_BYTES", 2500)
    ids = []
    for _ in range(4):
        form = HttpRequest(
            method="POST",
            path="/files",
            body={"purpose": "vision"},
            files=(part("file", bytes(1000)),),
        )
        ids.append(body(sandbox.send(form))["id"])

    assert len(sandbox.requests) == 2
    assert [sandbox.send(get(f"/files/{name}")).status for name in ids] == [404, 404, 200, 200]


def test_values_that_are_no_json_fail_as_on_the_wire(sandbox: Sandbox) -> None:
    """What could not be sent is not answered either."""
    with pytest.raises(TypeError):
        sandbox.send(generate(prompt=b"bytes"))
    with pytest.raises(ValueError, match="JSON"):
        sandbox.send(generate(n=float("nan")))


def test_latency_is_spread_over_a_stream() -> None:
    """The whole answer takes the latency; each event waits its share."""
    sandbox = Sandbox(today=lambda: TODAY, latency=0.3)

    assert sandbox.respond(generate(**QUICK)).pause == 0.3
    assert pytest.approx(0.1) == sandbox.respond(
        generate(stream=True, partial_images=2, **QUICK)
    ).pause  # fmt: skip
    assert sandbox.respond(get("/models")).pause == 0


def test_threads_share_a_sandbox(sandbox: Sandbox) -> None:
    """Scheduled failures are each used once, and no request is lost from the log."""
    sandbox.fail_next("server", times=5)
    statuses: list[int] = []

    def ask() -> None:
        statuses.extend(sandbox.send(generate(**QUICK)).status for _ in range(3))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [200] * 7 + [500] * 5
    assert len(sandbox.requests) == 12


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = st.text(max_size=12) | st.sampled_from(
    (
        "prompt", "model", "n", "size", "quality", "background", "output_format",
        "output_compression", "moderation", "complexity", "safety_identifier", "user",
        "frame_count", "frame_duration_ms", "svg", "stream", "partial_images", "images", "image",
        "mask", "markup", "input_fidelity",
    )
)  # fmt: skip


@settings(max_examples=150)
@given(
    path=st.sampled_from([GENERATIONS, EDITS, "/files", "/content_provenance_checks", "/models"]),
    given_=st.dictionaries(NAMES, JSON, max_size=5),
    form=st.booleans(),
    data=st.binary(max_size=60),
)
def test_garbage_is_always_refused(
    path: str, given_: dict[str, Any], form: bool, data: bytes
) -> None:
    """Whatever arrives, the answer is a refusal with OpenAI's body, never a crash."""
    files = (part("image", data),) if form else ()
    given_ = {"model": "gpt-image-2.5-flare", "n": 0, **given_}
    reply = Sandbox(today=lambda: TODAY).send(
        HttpRequest(method="POST", path=path, body=given_, files=files)
    )

    assert 400 <= reply.status < 500
    assert error(reply)["message"]
