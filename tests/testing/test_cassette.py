"""Cassettes: recorded once, replayed without key or network, with nothing private in the files."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import socket
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest
from attrs import evolve
from PIL import Image as pil

import gptimage
from gptimage import AsyncImageClient, Budget, Image, ImageClient
from gptimage.errors import ConfigurationError, ModerationError, RateLimitError
from gptimage.sandbox import Sandbox, SandboxServer
from gptimage.testing import RecordingSandbox, UnrecordedRequestError, cassette
from gptimage.testing.sanitize import shrunk
from gptimage.transport.http import HttpReply, HttpRequest, ServerEvent


LOW: dict[str, Any] = {"size": "1024x640", "quality": "low"}
KEY = "sk-proj-" + "q9Zx" * 12
ACCOUNT = "org-Ab12Cd34Ef56"
HEADER = "trace-77e1c0ffee"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, and no connection that can be made."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("GPTIMAGE_CASSETTE", raising=False)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def work(client: ImageClient) -> list[Any]:
    """Everything a client of its own does: image, edit, stream, conversation, run of many."""
    fox = client.generate("A fox", **LOW)
    night = client.edit("At night", fox.image, **LOW)
    events = list(client.stream("A fox", partial_images=1, **LOW))
    talk = client.conversation(stateless=True)
    first = talk.send("A cabin", **LOW)
    second = talk.send("Add snow", **LOW)
    many = [item.result for item in client.generate_many([{"prompt": "A", **LOW}] * 2)]
    results = [fox, night, events[-1].result, first.result, second.result, *many]
    return [(each.image.size, each.image.format, each.usage, each.cost) for each in results]


def test_a_run_is_replayed_without_key_or_network(tmp_path: Path, no_network: None) -> None:
    """Sizes, formats, usage and costs are those of the recording, and nothing is sent."""
    sandbox = Sandbox()
    with cassette(tmp_path / "run"):
        recorded = work(ImageClient.sandbox(sandbox))
    with gptimage.testing.cassette(tmp_path / "run"), ImageClient() as client:
        replayed = work(client)

    assert replayed == recorded
    assert len(sandbox.requests) == 7
    assert all(cost.usd > 0 for *_, cost in replayed)


def test_both_clients_share_a_recording(tmp_path: Path, no_network: None) -> None:
    """What one recorded the other replays: whole, as a stream and as an edit."""

    async def awaited() -> list[Any]:
        async with AsyncImageClient() as client:
            fox = await client.generate("A fox", **LOW)
            night = await client.edit("At night", fox.image, **LOW)
            events = [each async for each in client.stream("A fox", partial_images=1, **LOW)]
            return [fox.image.data, night.image.data, len(events)]

    async def recorded() -> None:
        async with AsyncImageClient.sandbox() as client:
            fox = await client.generate("A fox", **LOW)
            await client.edit("At night", fox.image, **LOW)
            assert [each async for each in client.stream("A fox", partial_images=1, **LOW)]

    with cassette(tmp_path / "run"):
        asyncio.run(recorded())
    with cassette(tmp_path / "run"), ImageClient() as client:
        fox = client.generate("A fox", **LOW)
        night = client.edit("At night", fox.image, **LOW)
        events = list(client.stream("A fox", partial_images=1, **LOW))
    with cassette(tmp_path / "run"):
        found = asyncio.run(awaited())

    assert found == [fox.image.data, night.image.data, len(events)]


def test_a_client_made_before_takes_part(tmp_path: Path, no_network: None) -> None:
    """A module may make its client when it is imported."""
    sandbox = Sandbox()
    client = ImageClient.sandbox(sandbox)
    for _ in range(2):
        with cassette(tmp_path):
            client.generate("A fox", **LOW)
    client.generate("A fox", **LOW)

    assert len(sandbox.requests) == 2


class PlantedStream(list[ServerEvent]):
    """Events that were read, after the head of their reply."""

    def __init__(self, reply: HttpReply, events: list[ServerEvent]) -> None:
        super().__init__(events)
        self.reply = reply

    def close(self) -> None:
        """Nothing to release."""


class Planted:
    """A service whose replies hold a key, a header and an account id, in headers and bodies."""

    def __init__(self) -> None:
        self._sandbox = Sandbox()

    def send(self, request: HttpRequest) -> HttpReply:
        """Reply as the sandbox does, and plant."""
        reply = self._sandbox.send(request)
        return evolve(self._head(reply), body=self._planted(bytes(reply.body)))

    def stream(self, request: HttpRequest) -> PlantedStream:
        """Reply as the sandbox does, and plant in every event."""
        found = self._sandbox.respond(request)
        events = [
            evolve(event, data=self._planted(bytes(event.data))) for event in found.events or ()
        ]
        return PlantedStream(self._head(found.reply), events)

    def _planted(self, data: bytes) -> bytes:
        body = json.loads(data)
        body |= {
            "note": f"key {KEY} of {ACCOUNT}, user-{'9' * 12}",
            "organization": "acme-inc-7",
            "safety_identifier": "somebody@example.com",
        }
        return json.dumps(body).encode()

    def _head(self, reply: HttpReply) -> HttpReply:
        planted = {
            "x-trace": HEADER,
            "openai-organization": ACCOUNT,
            "authorization": f"Bearer {KEY}",
            "set-cookie": HEADER,
        }
        return evolve(reply, headers={**reply.headers, **planted})

    def close(self) -> None:
        """Nothing to release."""


def texts(folder: Path) -> str:
    """All files of a cassette."""
    return "\n".join(path.read_text() for path in folder.iterdir())


@pytest.mark.parametrize(
    "call",
    [
        lambda c, prompt: c.generate(prompt, safety_identifier="somebody@example.com", **LOW),
        lambda c, prompt: list(c.stream(prompt, partial_images=1, **LOW)),
        lambda c, prompt: c.conversation().send(prompt, **LOW),
        lambda c, prompt: list(c.conversation().stream(prompt, **LOW)),
        lambda c, prompt: c.edit(prompt, pil.new("RGB", (64, 64), "teal"), **LOW),
    ],
    ids=["generate", "stream", "turn", "turn stream", "edit"],
)
def test_files_hold_no_key_no_header_and_no_account(call: Any, tmp_path: Path) -> None:
    """Planted in requests, in the headers and the bodies of replies, none of them is found."""
    client = ImageClient(transport=Planted(), base_url=f"https://u:{KEY}@gateway.test/v1")
    with cassette(tmp_path):
        call(client, f"A fox, {KEY}, {ACCOUNT}")
    found = texts(tmp_path)

    for planted in (KEY, ACCOUNT, HEADER, "9" * 12, "acme-inc-7", "somebody@", "gateway.test"):
        assert planted not in found
    assert "req_" not in found
    assert "A fox" in found


def test_errors_are_recorded_as_well(tmp_path: Path, no_network: None) -> None:
    """A refusal is replayed as one, and no account id of its message is kept."""
    sandbox = Sandbox()
    for _ in range(2):
        sandbox.fail_next("moderation")
        with cassette(tmp_path), pytest.raises(ModerationError):
            ImageClient.sandbox(sandbox).generate("A fox", **LOW)
    assert len(sandbox.requests) == 1


def test_tries_that_were_repeated_are_not_kept(tmp_path: Path, no_network: None) -> None:
    """A replay does not wait for what failed on the way; what failed at last fails again."""
    sandbox = Sandbox()
    sandbox.fail_next("rate_limit", retry_after=0.01)
    sandbox.fail_next("rate_limit", times=0)
    with cassette(tmp_path / "a"):
        ImageClient.sandbox(sandbox).generate("A fox", **LOW)
    sandbox.fail_next("rate_limit", retry_after=0.01)
    with cassette(tmp_path / "b"), pytest.raises(RateLimitError):
        ImageClient.sandbox(sandbox, retry=0).generate("A fox", **LOW)
    with cassette(tmp_path / "a"), ImageClient() as client:
        assert client.generate("A fox", **LOW).image.size == (1024, 640)
    with cassette(tmp_path / "b"), ImageClient(retry=0) as client, pytest.raises(RateLimitError):
        client.generate("A fox", **LOW)

    (entry,) = [json.loads(path.read_text()) for path in (tmp_path / "a").iterdir()]
    assert [reply["status"] for reply in entry["replies"]] == [200]


def test_the_same_request_has_its_replies_in_order(tmp_path: Path, no_network: None) -> None:
    """Two replies were recorded: the first, the second, and the second again."""
    sandbox = Sandbox()
    sandbox.fail_next("moderation")
    with cassette(tmp_path):
        client = ImageClient.sandbox(sandbox)
        with pytest.raises(ModerationError):
            client.generate("A fox", **LOW)
        client.generate("A fox", **LOW)
    with cassette(tmp_path), ImageClient() as client:
        with pytest.raises(ModerationError):
            client.generate("A fox", **LOW)
        assert client.generate("A fox", **LOW) == client.generate("A fox", **LOW)


def test_a_strict_cassette_says_what_differs(tmp_path: Path, no_network: None) -> None:
    """The nearest recording is compared line by line; nothing is sent and nothing reserved."""
    with cassette(tmp_path):
        client = ImageClient.sandbox()
        client.generate("A fox", **LOW)
        client.generate("A lighthouse at dusk, in oil", model="gpt-image-2", **LOW)
    budget = Budget("1.00", per="total")
    with cassette(tmp_path, mode="strict"), ImageClient(budget=budget) as client:
        with pytest.raises(UnrecordedRequestError) as caught:
            client.generate("A lighthouse at dawn, in oil", model="gpt-image-2", **LOW)
        left = budget.remaining()

    lines = str(caught.value).splitlines()
    assert '-  "prompt": "A lighthouse at dusk, in oil",' in lines
    assert '+  "prompt": "A lighthouse at dawn, in oil",' in lines
    assert sum(line.startswith(("+", "-")) for line in lines) == 4  # two of them are the names
    assert "nothing was sent" in lines[0]
    assert left == Decimal("1.00")


def test_strict_is_without_exception(tmp_path: Path, no_network: None) -> None:
    """An empty folder, a stream, a conversation, the async client: each is refused."""
    with cassette(tmp_path, mode="strict"), ImageClient() as client:
        for call in (
            lambda: client.generate("A fox"),
            lambda: list(client.stream("A fox")),
            lambda: client.conversation().send("A fox"),
        ):
            with pytest.raises(UnrecordedRequestError, match="no recordings"):
                call()

    async def awaited() -> None:
        async with AsyncImageClient() as client:
            with pytest.raises(UnrecordedRequestError):
                await client.generate("A fox")

    with cassette(tmp_path, mode="strict"):
        asyncio.run(awaited())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("mode", "sent", "replies"),
    [("once", None, None), ("strict", None, None), ("add", 1, 1), ("rewrite", 2, 1)],
)
def test_modes(
    tmp_path: Path, no_network: None, mode: Any, sent: int | None, replies: int | None
) -> None:
    """How many of a known and a new request are sent; None: the new one is refused."""
    sandbox = Sandbox()
    client = ImageClient.sandbox(sandbox)
    with cassette(tmp_path):
        client.generate("A fox", **LOW)
    before = len(sandbox.requests)
    with cassette(tmp_path, mode=mode):
        client.generate("A fox", **LOW)
        if sent is None:
            with pytest.raises(UnrecordedRequestError):
                client.generate("A whale", **LOW)
        else:
            client.generate("A whale", **LOW)

    assert len(sandbox.requests) - before == (sent or 0)
    assert len(list(tmp_path.iterdir())) == (1 if sent is None else 2)
    for path in tmp_path.iterdir():
        assert len(json.loads(path.read_text())["replies"]) == (replies or 1)


def test_the_mode_may_come_from_the_environment(
    tmp_path: Path, no_network: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CI sets it to strict; an argument wins; another word is refused by name."""
    monkeypatch.setenv("GPTIMAGE_CASSETTE", "strict")
    client = ImageClient.sandbox()
    with cassette(tmp_path), pytest.raises(UnrecordedRequestError):
        client.generate("A fox", **LOW)
    with cassette(tmp_path, mode="add"):
        client.generate("A fox", **LOW)
    monkeypatch.setenv("GPTIMAGE_CASSETTE", "always")
    with pytest.raises(ConfigurationError, match="GPTIMAGE_CASSETTE='always'"):
        cassette(tmp_path).__enter__()


def test_what_is_not_recorded_needs_a_key(tmp_path: Path, no_network: None) -> None:
    """A client without one is made inside a cassette, and says so when it has to send."""
    with (
        cassette(tmp_path, mode="add"),
        ImageClient() as client,
        pytest.raises(ConfigurationError, match="no API key"),
    ):
        client.generate("A fox")
    with pytest.raises(ConfigurationError, match="no API key"):
        ImageClient()


def test_batches_are_refused_by_name(tmp_path: Path, no_network: None) -> None:
    """Their names are new each time, so a recording would never be found."""
    with cassette(tmp_path), pytest.raises(ConfigurationError, match="batches"):
        ImageClient.sandbox().submit_batch([{"prompt": "A fox", **LOW}])


def test_a_stream_that_was_left_is_not_recorded(tmp_path: Path, no_network: None) -> None:
    """Half of one would be replayed as if the service had broken off."""
    with cassette(tmp_path):
        stream = ImageClient.sandbox().stream("A fox", partial_images=2, **LOW)
        next(stream)
        stream.close()

    assert list(tmp_path.iterdir()) == []


FORMATS = {
    "png": {}, "jpeg": {"output_format": "jpeg"}, "webp": {"output_format": "webp"},
    "gif": {"output_format": "gif", "model": "gpt-image-2.6-flare", "size": "512x512"},
    "svg": {"output_format": "svg", "model": "gpt-image-2.6-flare"},
    "transparent": {"background": "transparent"},
}  # fmt: skip


def drawn(**body: Any) -> bytes:
    """An image of the sandbox."""
    given = {"model": "gpt-image-2.5-flare", "prompt": "A fox", "quality": "low", **body}
    path = "/images/generations"
    reply = Sandbox(previews=True, draw="scene").send(
        HttpRequest(method="POST", path=path, body=given)
    )
    return base64.b64decode(json.loads(bytes(reply.body))["data"][0]["b64_json"])


@pytest.mark.parametrize("kind", FORMATS)
def test_images_are_kept_small(kind: str) -> None:
    """Same format, size, frames and transparency, the same bytes each time, in a few kB."""
    data = drawn(**{"size": "1024x1024", **FORMATS[kind]})
    small = shrunk(data)
    before, after = Image.from_bytes(data), Image.from_bytes(small)
    after.verify()

    assert small == shrunk(data)
    assert small != shrunk(drawn(**{"size": "1024x1024", "prompt": "Sea", **FORMATS[kind]}))
    assert len(small) < 9_000
    assert (after.format, after.size) == (before.format, before.size)
    if kind != "svg":
        first, second = pil.open(io.BytesIO(data)), pil.open(io.BytesIO(small))
        assert getattr(first, "n_frames", 1) == getattr(second, "n_frames", 1)
        assert first.has_transparency_data <= second.has_transparency_data


@pytest.mark.parametrize("data", [b"", b"no image", b"\x89PNG\r\n\x1a\nbroken"])
def test_what_is_no_image_is_kept(data: bytes) -> None:
    """Whatever the service sent instead is part of the recording."""
    assert shrunk(data) == data


def test_images_are_kept_whole_on_request(tmp_path: Path, no_network: None) -> None:
    """The bytes are those of the recording."""
    with cassette(tmp_path / "whole", whole=True):
        recorded = ImageClient.sandbox().generate("A fox", **LOW)
    with cassette(tmp_path / "small"):
        ImageClient.sandbox().generate("A fox", **LOW)
    with cassette(tmp_path / "whole"), ImageClient() as client:
        assert client.generate("A fox", **LOW).image.data == recorded.image.data
    (small,) = (tmp_path / "small").iterdir()

    assert small.stat().st_size < 9_000


def test_a_recording_is_the_same_each_time(tmp_path: Path, no_network: None) -> None:
    """Recorded again, a file changes only where the reply did."""
    names = []
    for folder in ("a", "b"):
        with cassette(tmp_path / folder):
            ImageClient.sandbox().edit("At night", drawn(size="1024x640"), **LOW)
        (path,) = (tmp_path / folder).iterdir()
        entry = json.loads(path.read_text())
        entry["replies"][0]["body"].pop("created")
        names.append((path.name, entry))

    assert names[0] == names[1]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    """When the cassette is opened, not when a request comes."""
    (tmp_path / "post-1.json").write_text("{}")
    with pytest.raises(ConfigurationError, match=r"post-1\.json"):
        cassette(tmp_path).__enter__()


@pytest.mark.parametrize("arguments", [{"path": ""}, {"path": 7}, {"mode": "x"}, {"whole": "yes"}])
def test_arguments_are_checked(tmp_path: Path, arguments: dict[str, Any]) -> None:
    """Each is refused by name."""
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        cassette(**{"path": tmp_path, **arguments}).__enter__()


def test_a_sandbox_records_in_any_dialect(tmp_path: Path, no_network: None) -> None:
    """What it draws as Gemini is replayed to a client of Gemini: a mosaic, of some kB."""
    sandbox = RecordingSandbox(tmp_path, provider="gemini")
    drawn = ImageClient.sandbox(sandbox).generate("A fox")

    with cassette(tmp_path, mode="strict"):
        replayed = ImageClient.sandbox(provider="gemini").generate("A fox")

    assert (replayed.image.size, replayed.usage) == (drawn.image.size, drawn.usage)
    assert replayed.image.data == shrunk(drawn.image.data)


def test_other_clients_record_through_the_sandbox(tmp_path: Path, no_network: None) -> None:
    """A sandbox that records replies to a form and to JSON; a client of ours replays both."""
    sandbox = RecordingSandbox(tmp_path)
    with cassette(tmp_path / "unused"):
        pass
    ours = ImageClient.sandbox(sandbox)
    photo = drawn(size="1024x640")
    ours.edit("At night", photo, n=2, **LOW)
    list(ours.stream("A fox", partial_images=1, **LOW))
    with cassette(tmp_path, mode="strict"), ImageClient() as client:
        night = client.edit("At night", photo, n=2, **LOW)
        events = list(client.stream("A fox", partial_images=1, **LOW))

    assert (len(night.images), len(events)) == (2, 2)


def test_the_official_sdk_records_over_http(tmp_path: Path) -> None:
    """Form values arrive as text over HTTP and have the same key."""
    photo = drawn(size="1024x640")
    with (
        SandboxServer(sandbox=RecordingSandbox(tmp_path)) as server,
        openai.OpenAI(api_key="k", base_url=server.base_url, max_retries=0) as sdk,
        ImageClient(openai=sdk) as recording,
    ):
        recording.edit("At night", photo, n=2, **LOW)
        recording.generate("A fox", **LOW)
    with cassette(tmp_path, mode="strict"):
        client = ImageClient.sandbox()
        night = client.edit("At night", photo, n=2, **LOW)
        fox = client.generate("A fox", **LOW)

    assert (len(night.images), len(fox.images)) == (2, 1)


def test_nothing_is_left_behind(tmp_path: Path, no_network: None) -> None:
    """Outside of the block requests are sent again, also after an error in it."""
    sandbox = Sandbox()

    def fail() -> None:
        with cassette(tmp_path):
            ImageClient.sandbox(sandbox).generate("A fox", **LOW)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    ImageClient.sandbox(sandbox).generate("A fox", **LOW)

    assert len(sandbox.requests) == 2
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]
    assert os.environ.get("OPENAI_API_KEY") is None
