"""The files of a batch, for any requests and any results: nothing is mixed up, nothing is lost."""

from __future__ import annotations

import base64
import functools
import io
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PilImage

from gptimage._internal.coroutines import run_blocking
from gptimage.batch.driver import LineSplitter, ResultLine, drive
from gptimage.batch.events import BatchEvents
from gptimage.batch.prepare import FileLimits, place_of, prepare
from gptimage.batch.results import BatchItem, Collector
from gptimage.batch.state import Part, State
from gptimage.batch.status import BatchStatus
from gptimage.batch.uploads import InputFiles, RequestLine, Uploads, input_file, writing
from gptimage.errors import ApiError, ConfigurationError, MalformedReplyError
from gptimage.providers.openai.batches import BatchPart, compact, read_line
from gptimage.sandbox import Sandbox
from gptimage.transport.base64_body import split
from gptimage.transport.billing import Billing
from tests.batch.helpers import NOW, line


GENERATE, EDIT = "/images/generations", "/images/edits"


# ---- from requests to files -------------------------------------------------------------------


@given(
    asked=st.lists(
        st.tuples(st.sampled_from([GENERATE, EDIT]), st.sampled_from("ab"), st.integers(1, 40))
    ),
    lines=st.integers(1, 5),
    size=st.integers(40, 100),
)
def test_parts_hold_what_the_service_allows(
    asked: list[tuple[str, str, int]], lines: int, size: int
) -> None:
    """Each part has one endpoint, one model, and neither too many lines nor too many bytes."""
    limits, parts = FileLimits(lines=lines, size=size), list[Part]()
    placed: list[int] = []
    for path, model, length in asked:
        number = place_of(parts, path, model, length, limits)
        if number == len(parts):
            parts.append(Part(path=path, model=model))
        parts[number].add(length, 1, None, None)
        placed.append(number)

    assert all(part.lines <= lines and part.size <= size for part in parts)
    assert sum(part.lines for part in parts) == len(asked)
    for (path, model, _), number in zip(asked, placed, strict=True):
        assert (parts[number].path, parts[number].model) == (path, model)
    for pair in {(path, model) for path, model, _ in asked}:
        mine = [
            n for (path, model, _), n in zip(asked, placed, strict=True) if (path, model) == pair
        ]
        assert mine == sorted(mine)  # a part that is full stays closed


CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0")  # that one is refused
PROMPTS = st.text(CHARACTERS, min_size=1, max_size=40).filter(str.strip)


@settings(max_examples=60)
@given(
    asked=st.lists(
        st.tuples(PROMPTS, st.sampled_from(["gpt-image-2", "gpt-image-2.5-flare"])),
        min_size=1,
        max_size=12,
    ),
    lines=st.integers(1, 5),
    size=st.integers(700, 2000),
)
def test_files_hold_every_request_once(asked: list[tuple[str, str]], lines: int, size: int) -> None:
    """What is uploaded is JSONL with each request in one file, as it was asked for."""
    core = line(Sandbox()).saver.core
    requests = [{"prompt": prompt, "model": model, "quality": "low"} for prompt, model in asked]
    with tempfile.TemporaryDirectory() as folder:
        state = State.new(Path(folder, "b.json"), NOW, core.endpoint, {})
        steps = prepare(core, state, requests, FileLimits(lines=lines, size=size))
        run_blocking(drive(steps, line(Sandbox())))
        found: dict[int, tuple[str, str]] = {}
        for number, part in enumerate(State.load(state.path).parts):
            with input_file(state, number) as path:
                data = path.read_bytes()
            assert (len(data), data.count(b"\n"), data[-1:]) == (part.size, part.lines, b"\n")
            for text in data.splitlines():
                value = json.loads(text)
                assert (value["method"], value["url"]) == ("POST", "/v1/images/generations")
                assert value["body"]["model"] == part.model
                assert int(value["custom_id"]) not in found
                body = value["body"]
                found[int(value["custom_id"])] = (body["prompt"], body["model"])
        places = InputFiles(state.requests)

        assert [found[number] for number in range(len(asked))] == asked
        assert [places.number(str(n)) for n in range(len(asked) + 1)] == [*range(len(asked)), None]


@given(value=st.recursive(st.none() | st.text(), lambda inner: st.lists(inner, max_size=3)))
def test_a_value_is_one_line(value: object) -> None:
    """Whatever a prompt holds, line breaks and half surrogates too, it stays on its line."""
    text = compact(value)

    assert text.count(b"\n") == 1
    assert text.endswith(b"\n")
    assert json.loads(text) == value


NAMES = ["0", "1", "2", "a", "01", "\u0661", "-1", "9" * 30]


@given(names=st.lists(st.sampled_from(NAMES), unique=True))
def test_requests_are_found_by_any_name(names: list[str]) -> None:
    """Names somebody else gave are found as well as ours, and no other is."""
    with tempfile.TemporaryDirectory() as folder:
        state = State.new(Path(folder, "b.json"), NOW, "x", {})
        with writing(state) as file:
            file.writelines(RequestLine(custom_id=name, part=0, body={}).line() for name in names)
        places = InputFiles(state.requests)
        with state.requests.open("rb") as file:
            read = [places.read(file, number).custom_id for number in range(len(places))]

    assert read == names
    for name in [*NAMES, "3", ""]:
        assert places.number(name) == (names.index(name) if name in names else None)


def test_uploads_are_remembered_by_a_torn_file(tmp_path: Path) -> None:
    """A list of uploads that a kill cut short is good for all but its last line."""
    state = State.new(tmp_path / "b.json", NOW, "https://one", {})
    uploads = Uploads(state)
    uploads.add("aa", "file-1")
    uploads.add("bb", "file-2")
    path = tmp_path / "b.json.uploads.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    other = State.new(tmp_path / "b.json", NOW, "https://two", {})

    assert [Uploads(state).get(name) for name in ("aa", "bb")] == ["file-1", None]
    assert Uploads(other).get("aa") is None  # another service has other files


# ---- from results to items --------------------------------------------------------------------


@functools.cache
def png(number: int) -> bytes:
    """One of many small images."""
    file = io.BytesIO()
    PilImage.new("RGB", (1, 1), (number % 256, number // 256, 7)).save(file, "png")
    return file.getvalue()


def pieces_of(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    """The bytes in pieces of these lengths, over and over."""
    at, number = 0, 0
    while at < len(data):
        step = cuts[number % len(cuts)]
        yield data[at : at + step]
        at, number = at + step, number + 1


TEXTS = st.one_of(
    st.binary(max_size=30).map(lambda data: data.replace(b"\n", b"") or b"x"),
    st.integers(0, 3).map(lambda n: b'{"b64_json": "' + base64.b64encode(png(n)) + b'"}'),
    st.just(b'{"b64_json": "no base64!"}'),
    st.just(b'{"b64_json": "iVBOR'),
    st.just(b'{"prompt": "a \\"b64_json\\": \\"AAAA\\" b"}'),
)


@given(
    texts=st.lists(TEXTS, max_size=8),
    cuts=st.lists(st.integers(1, 50), min_size=1, max_size=5),
    last=st.booleans(),
)
def test_lines_come_whole_however_the_file_arrives(
    texts: list[bytes], cuts: list[int], last: bool
) -> None:
    """Every line that is not empty comes out as it is, whatever the pieces are."""
    data = b"\n".join(texts) + (b"\n" if last else b"")
    lines, found = LineSplitter(), list[ResultLine]()
    for piece in pieces_of(data, cuts):
        found += lines.feed(piece)
    found += lines.close()

    assert [each.raw for each in found] == [text for text in texts if text.strip()]
    assert [each.images for each in found] == [split(text)[1] for text in texts if text.strip()]


@frozen
class Answer:
    """A line of results.

    Attributes:
        kind: What it is.
        number: Which request it is for.
        image: Which image it has.
    """

    kind: str
    number: int
    image: int
    cut: int = field(default=0)

    @property
    def custom_id(self) -> str:
        return "who?" if self.kind == "stray" else str(self.number)

    @property
    def images(self) -> bool:
        return self.kind in ("good", "stray", "torn")

    def text(self) -> bytes:
        """The line."""
        if self.kind == "noise":
            return [b"", b"   ", b"\r", b"null", b"[1]", b"{", b'{"custom_id": 3}'][self.cut % 7]
        body: dict[str, Any] = {"error": {"message": "No.", "code": "moderation_blocked"}}
        if self.images:
            body = {"data": [{"b64_json": base64.b64encode(png(self.image)).decode()}]}
        status = 200 if self.images else 400
        response = {"status_code": status, "request_id": f"r{self.image}", "body": body}
        error = None
        if self.kind == "expired":
            response, error = {}, {"code": "batch_expired", "message": "Too late."}
        value = {"custom_id": self.custom_id, "response": response or None, "error": error}
        text = json.dumps(value).encode()
        if self.kind == "torn":  # behind the image, and before the end
            after = text.index(b'"', text.index(b"b64_json") + 13) + 1
            return text[: after + self.cut % (len(text) - after)]
        return text


REQUESTS = 4
ANSWERS = st.builds(
    Answer,
    st.sampled_from(["good", "good", "error", "expired", "torn", "stray", "noise"]),
    st.integers(0, REQUESTS - 1),
    st.integers(0, 5),
    st.integers(0, 200),
)


@settings(max_examples=100)
@given(
    answers=st.lists(ANSWERS, max_size=10),
    cuts=st.lists(st.integers(20, 400), min_size=1, max_size=4),
    again=st.integers(0, 3),
    status=st.sampled_from(["completed", "expired", "cancelled", "failed"]),
)
def test_no_picture_is_lost_and_every_request_answered(
    answers: list[Answer], cuts: list[int], again: int, status: str
) -> None:
    """In any order, twice, torn, with strangers between: each image reaches the caller, once."""
    with tempfile.TemporaryDirectory() as folder:
        items = list(_collected(Path(folder), answers, cuts, again, status))

    of = {n: [item for item in items if item.index == n] for n in range(REQUESTS)}
    for number, mine in of.items():
        answered = [each for each in answers if each.number == number and each.kind != "stray"]
        paid = {each.image for each in answered if each.images}
        shown = Counter(_image(item) for item in mine if item.result)
        assert shown == Counter(png(each) for each in paid)
        assert mine, "a request nobody hears of"
        if not paid:
            (item,) = mine
            assert isinstance(item.error, ApiError | MalformedReplyError)
    strays = {each.text() for each in answers if each.kind == "stray"}
    replies = [item.error.reply for item in items if isinstance(item.error, MalformedReplyError)]
    assert strays <= set(replies)
    assert len(items) == len({_identity(item) for item in items}), "something comes twice"


def _collected(
    folder: Path, answers: list[Answer], cuts: list[int], again: int, status: str
) -> Iterator[BatchItem]:
    """The items of a file of results, of which a part was read before the connection broke."""
    saver = line(Sandbox()).saver
    state = State.new(folder / "b.json", NOW, "x", {})
    with writing(state) as file:
        for number in range(REQUESTS):
            body = {"model": "gpt-image-2", "prompt": f"Fox {number}"}
            file.write(RequestLine(custom_id=str(number), part=0, body=body).line())
    state.parts = [Part(path=GENERATE, model="gpt-image-2", lines=REQUESTS)]
    end = BatchStatus(parts=(BatchPart(id="batch_1", status=status),), total=REQUESTS)
    collector = Collector(saver, state, end, BatchEvents(line(Sandbox()).accounting, state))
    data = b"\n".join(answer.text() for answer in answers)
    for known in (data[: len(data) * again // 4], data):
        lines = LineSplitter()
        for piece in pieces_of(known, cuts):
            yield from filter(None, map(collector.take, lines.feed(piece)))
    yield from filter(None, map(collector.take, lines.close()))
    yield from collector.missing()
    collector.close()


def _image(item: BatchItem) -> bytes:
    assert item.result is not None
    (image,) = item.result.images
    return image.data


def _identity(item: BatchItem) -> object:
    """What makes an item new: its images, or being the error of its request."""
    if item.result is not None:
        return item.index, _image(item)
    if item.index is None:
        assert isinstance(item.error, MalformedReplyError)
        return item.error.reply
    return item.index, str(item.error)


def test_a_torn_line_keeps_its_picture(tmp_path: Path) -> None:
    """A file that ends in the middle of a line still gives the image in it, and says so."""
    torn = Answer("torn", 2, 5, 3)
    items = {item.index: item for item in _collected(tmp_path, [torn], [64], 0, "completed")}

    result = items[2].result
    assert result is not None
    assert _image(items[2]) == png(5)
    assert result.request_id == "r5"
    assert "cut short" in result.warnings[0]
    assert all(items[n].error for n in (0, 1, 3))


def test_a_line_of_a_request_without_a_prompt_keeps_its_answer(tmp_path: Path) -> None:
    """A line that was paid but asks for no image we know of carries the answer as it is."""
    state = State.new(tmp_path / "b.json", NOW, "x", {})
    with writing(state) as file:
        file.write(RequestLine(custom_id="0", part=0, body={"prompt": "no model"}).line())
    state.parts = [Part(path=GENERATE, model="x", lines=1)]
    end = BatchStatus(parts=(BatchPart(id="batch_1", status="completed"),), total=1)
    client = line(Sandbox())
    collector = Collector(client.saver, state, end, BatchEvents(client.accounting, state))
    text = Answer("good", 0, 1).text()
    item = collector.take(ResultLine(*split(text)))
    collector.close()

    assert item is not None
    assert isinstance(item.error, MalformedReplyError)
    assert item.error.reply == text


@given(data=st.binary(max_size=200))
def test_any_line_is_read_or_refused(data: bytes) -> None:
    """Reading a line raises ValueError or gives a name, whatever is in it."""
    try:
        found = read_line(data)
    except ValueError:
        return
    assert isinstance(found.custom_id, str)


STATE_0_1 = """{
 "version": 1,
 "name": "6f1ed002ab5595859014ebf0951522d9",
 "created": "2026-11-20T12:00:00+00:00",
 "endpoint": "https://api.openai.com/v1",
 "ready": true,
 "digest": "ab",
 "metadata": {"job": "spring"},
 "temporary": false,
 "parts": [{"path": "/images/generations", "model": "gpt-image-2", "lines": 2, "size": 400,
  "images": 2, "start": 0, "estimate": "0.0065", "reserved": null, "file_id": "file-1",
  "intended": "2026-11-20T12:10:00+00:00", "batch_id": null, "entered": true, "settled": false}]
}"""


def test_a_state_of_0_1_is_read(tmp_path: Path) -> None:
    """A job that 0.1.0 began goes on with a newer version, and the other way round."""
    path = tmp_path / "batch.json"
    path.write_text(STATE_0_1)

    state = State.load(path)
    state.save()

    (part,) = state.parts
    assert part.unconfirmed_since == datetime(2026, 11, 20, 12, 10, tzinfo=UTC)
    assert part.billing is Billing.UNKNOWN
    assert (part.estimate, part.reserved) == (Decimal("0.0065"), None)
    assert json.loads(path.read_text()) == json.loads(STATE_0_1)


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        ('"lines": 2', '"lines": "2"', "lines"),
        ('"0.0065"', "0.0065", "estimate"),
        ('"ready": true', '"ready": 1', "ready"),
        ('"model": "gpt-image-2", ', "", "model"),
        ('"version": 1', '"version": 2', "version"),
    ],
)
def test_a_damaged_state_names_the_field(
    tmp_path: Path, before: str, after: str, field: str
) -> None:
    """Nothing is guessed where a wrong guess makes a second batch."""
    path = tmp_path / "batch.json"
    path.write_text(STATE_0_1.replace(before, after))

    with pytest.raises(ConfigurationError, match=field):
        State.load(path)
