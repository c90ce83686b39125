"""Results: what a reply becomes, however it lies, and that nothing paid for is lost."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gptimage import (
    ApiError,
    GptImageError,
    Image,
    MalformedReplyError,
    Models,
    ModerationError,
    OutcomeUnknownError,
    RateLimitError,
    ServerError,
)
from gptimage.engine.parse import image_urls, inline_images, parse_response
from gptimage.transport.http import HttpReply
from tests.factories import (
    NOW,
    TODAY,
    USAGE,
    answer,
    cutout,
    finished,
    generate,
    noise,
    picture,
    planned,
    reply,
    text,
)


def test_a_reply_becomes_a_result() -> None:
    """Everything the service said, with the cost of its usage."""
    found = finished(
        answer(picture(), size="8x8", quality="low", output_format="png", new_field=1),
        generate(quality="low"),
    )

    assert picture() == found.image.data
    assert found.image.original is None
    assert datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC) == found.created
    assert found.cost == Decimal("0.00593")  # (10*5 + 196*30) / 1e6
    assert found.usage is not None
    assert found.usage.output_tokens == 196
    assert (found.request_id, found.cached, found.warnings) == ("req_1", False, ())
    assert found.reported_by_service == {"size": "8x8", "quality": "low", "output_format": "png"}


def test_the_pixels_asked_for_are_returned() -> None:
    """Cut from the legal size, which stays reachable, with a note."""
    drawn = picture(1920, 1088)
    found = finished(answer(drawn), size="1920x1080")

    assert found.image.size == (1920, 1080)
    assert found.image.original is not None
    assert drawn == found.image.original.data
    assert "drawn at 1920x1088 and cropped to 1920x1080" in found.warnings[0]


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("compression", [None, 0, 60])
def test_a_crop_keeps_its_format(form: str, compression: int | None) -> None:
    """Whatever the quality asked for, zero included."""
    asked = generate(size="100x50", format=form, compression=None if form == "png" else compression)
    found = finished(answer(picture(120, 60, form)), asked)

    assert (form, (100, 50)) == (found.image.format, found.image.size)


def test_a_crop_keeps_the_compression_asked_for() -> None:
    """Less quality makes a smaller file, down to zero."""
    file = io.BytesIO()
    noise(200, 120, "L").save(file, "jpeg", quality=95)
    sizes = [
        finished(
            answer(file.getvalue()),
            generate(size="100x50", format="jpeg", compression=level),
        ).image.nbytes
        for level in (0, 30, 60, 90)
    ]

    assert sizes == sorted(set(sizes))


@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 64), st.integers(1, 64))
def test_any_size_that_comes_is_cut_to_the_size_asked(
    w: int, h: int, came_w: int, came_h: int
) -> None:
    """Even where the service draws something else, smaller images included."""
    asked = generate(model="gpt-image-9", size=(w, h))
    found = finished(answer(picture(came_w, came_h)), asked)

    assert (w, h) == found.image.size
    assert ((w, h) == (came_w, came_h)) == (found.image.data == picture(came_w, came_h))


def test_nothing_is_touched_that_fits() -> None:
    """Bytes of the right size are returned as they came, signature and all."""
    found = finished(answer(picture(1024, 1024)), size="1024x1024")

    assert picture(1024, 1024) == found.image.data
    assert found.image.original is None
    assert found.warnings == ()


def test_what_cannot_be_cut_is_returned_whole() -> None:
    """A paid image is not dropped because its pixels are broken."""
    broken = picture(1920, 1088)[:200]
    found = finished(answer(broken), size="1920x1080")

    assert broken == found.image.data
    told = " ".join(found.warnings)
    assert [words in told for words in ("arrived cut short", "could not be fitted")] == [True, True]


def test_not_even_a_bug_drops_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor because the memory ran out while it was cut."""

    def fail(*_: object, **__: object) -> Image:
        raise MemoryError

    monkeypatch.setattr(Image, "fit", fail)
    found = finished(answer(picture(1920, 1088)), size="1920x1080")

    assert picture(1920, 1088) == found.image.data
    assert "could not be fitted" in found.warnings[0]


@pytest.mark.parametrize(
    ("given", "size", "done", "box"),
    [
        ('width="10" height="10"', "1024x1024", "enlarged", "0 0 10 10"),
        ('width="1200" height="640"', "1200x630", "cropped", "0 5 1200 630"),
        ('viewBox="-50 -50 100 100"', "64x32", "scaled down and cropped", "-50 -25 100 50"),
        ("", "64x32", "set", "0 0 64 32"),
        ('width="64" height="32"', "64x32", None, None),
    ],
)
def test_an_svg_has_exactly_the_size(
    given: str, size: str, done: str | None, box: str | None
) -> None:
    """Its size and viewBox are those asked for; nothing is drawn for it."""
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {given}><g/></svg>'.encode()
    asked = generate(model="gpt-image-2.6-flare", format="svg", size=size)
    image, *rest = finished(answer(svg), asked).images
    told = finished(answer(svg), asked).warnings

    assert rest == []
    assert "x".join(map(str, image.size or ())) == size
    assert ((f'viewBox="{box}"'.encode() in image.data) if box else image.data == svg) is True
    assert [f" and {done} to {size};" in each for each in told] == ([True] if done else [])
    assert (image.original.data if image.original else image.data) == svg


@pytest.mark.parametrize(
    ("came", "done"),
    [
        ((1200, 640), "cropped"),
        ((2400, 1260), "scaled down"),
        ((600, 315), "enlarged"),
        ((2400, 1600), "scaled down and cropped"),
    ],
)
def test_what_was_done_to_the_size_is_told(came: tuple[int, int], done: str) -> None:
    """Cutting, scaling down and enlarging are different things to do to an image."""
    found = finished(answer(picture(*came)), size="1200x630")

    assert found.image.size == (1200, 630)
    assert f" and {done} to 1200x630;" in found.warnings[0]


@pytest.mark.parametrize("form", ["png", "webp", "gif"])
def test_an_opaque_image_where_a_transparent_one_was_asked(form: str) -> None:
    """It is told; a transparent one, and one nobody asked to be, is not."""
    told = [
        [note for note in finished(answer(data), background=background).warnings if "pixel" in note]
        for data, background in (
            (picture(form=form), "transparent"),
            (cutout(), "transparent"),
            (picture(form=form), None),
        )
    ]

    assert list(map(len, told)) == [1, 0, 0]


def test_an_image_that_cannot_be_decoded_is_not_called_opaque() -> None:
    """It is returned as it came, with the warning that its end is missing, and that alone."""
    cut = picture(64, 64)[:60]
    found = finished(answer(cut), background="transparent")

    assert found.image.data == cut
    assert [each.split(":")[0] for each in found.warnings] == ["image 1 arrived cut short"]


def test_the_author_of_an_svg_has_no_known_price() -> None:
    """So an svg has no known cost, with and without a count of the author's tokens."""
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"/>'
    asked = generate(model="gpt-image-2.6-flare", format="svg")

    assert finished(answer(svg), asked).cost is None
    assert finished(answer(svg, svg_usage={"total_tokens": 5}), asked).cost is None


def test_prices_are_those_of_the_day_it_was_sent() -> None:
    """A cost names its price row."""
    found = finished(answer(picture()))

    assert found.cost is not None
    assert found.cost.price == Models.load()["gpt-image-2.5-flare"].price(TODAY)


# Replies that lie.


def kept(found: Any, *words: str) -> None:
    """The image is there and the result says what is odd."""
    assert picture() == found.image.data
    assert all(any(word in text for text in found.warnings) for word in words)


def test_fewer_than_asked_for() -> None:
    """Three were asked for, two came."""
    found = finished(answer(picture(), picture()), n=3)

    kept(found, "3 images were requested, 2 arrived")


def test_more_than_asked_for() -> None:
    """None is thrown away."""
    found = finished(answer(picture(), picture()))

    assert len(found.images) == 2
    kept(found, "1 image was requested, 2 arrived")


@pytest.mark.parametrize(("form", "missing"), [("png", 12), ("png", 30), ("jpeg", 2), ("webp", 4)])
def test_an_image_without_its_end(form: str, missing: int) -> None:
    """What arrived is paid and kept as it is; that the rest is missing is told, by its number."""
    whole = picture(form=form)
    found = finished(answer(whole, whole[:-missing], whole + b"more"), n=3, format=form)

    assert [image.data for image in found.images] == [whole, whole[:-missing], whole + b"more"]
    told = [each for each in found.warnings if "cut short" in each]
    assert [each.partition(" arrived")[0] for each in told] == ["image 2"]


def test_another_format_than_asked_for() -> None:
    """The bytes decide, not the echo."""
    found = finished(answer(picture(), output_format="webp"), format="webp")

    assert found.image.format == "png"
    kept(found, "webp was requested, the bytes are png")


@pytest.mark.parametrize(
    "broken", ["!!!!", "QUJD", "", "Q", None, 5, [], {"x": 1}, text(b"<html></html>")], ids=range(9)
)
def test_one_broken_of_three(broken: object) -> None:
    """The others are kept, and the loss is told."""
    good = {"b64_json": text(picture())}
    found = finished(reply({"data": [good, {"b64_json": broken}, good]}), n=3)

    assert len(found.images) == 2
    kept(found, "image 2 of the reply could not be read", "3 images were requested, 2 arrived")


def test_unknown_fields_are_no_problem() -> None:
    """Nor are missing ones: without usage there is no cost, without a date it is now."""
    body = {
        "object": "x",
        "data": [{"b64_json": text(picture()), "generation_id": "g", "url": None}],
    }
    found = finished(reply(body))

    kept(found)
    assert (found.usage, found.cost, found.created) == (None, None, NOW)


@pytest.mark.parametrize(
    "created", [None, "yesterday", [], {}, 10**30, -(10**30), 1e300, True, "1700000000"], ids=str
)
def test_any_date(created: object) -> None:
    """A date that is none does not lose the image."""
    found = finished(answer(picture(), created=created))

    kept(found)
    assert found.created.tzinfo is UTC


@pytest.mark.parametrize("usage", [None, [], "x", {}, {**USAGE, "input_tokens": 5}], ids=str)
def test_any_usage(usage: object) -> None:
    """Counts that are none, or contradict each other, give no cost."""
    found = finished(answer(picture(), usage=usage))

    kept(found)
    assert found.cost is None


def test_an_error_beside_pictures() -> None:
    """Images count more than an error that came with them."""
    kept(finished(answer(picture(), error={"message": "something"})))


@pytest.mark.parametrize("data", [None, [], [{}], [{"b64_json": None}]], ids=str)
def test_an_error_with_status_200(data: object) -> None:
    """It is an error like any other."""
    body = {"error": {"code": "moderation_blocked", "message": "no"}, "data": data}
    with pytest.raises(ModerationError) as caught:
        finished(reply(body))

    assert (caught.value.status, caught.value.request_id) == (200, "req_1")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'"x"',
        b"<html><body>Log in</body></html>",
        b'{"data":null}',
        b'{"data":[]}',
        b'{"data":{}}',
        b'{"data":[null,1,"x",[]]}',
        b'{"data":[{"b64_json":"!!!"}]}',
        b'{"data":[{"b64_json":"QUJD"}]}',
        b'{"data":[{"url":"https://example.com/a.png"}]}',
        b'{"data":[{"url":["x"],"b64_json":{"a":[]}}]}',
        b'{"data":[{"b64_json":"iVBOR',
        b'{"data":[{"b64_json":0},{"b64_json":-1}]}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
    ],
    ids=range(18),
)
def test_a_reply_without_a_picture(body: bytes) -> None:
    """It may have been billed: the error says up to how much, and carries the raw reply."""
    with pytest.raises(MalformedReplyError) as caught:
        finished(reply(body), size="1024x1024", quality="low")

    assert (body, 200, "req_1") == (
        caught.value.reply,
        caught.value.status,
        caught.value.request_id,
    )
    assert caught.value.possible_cost == Decimal("0.005905")
    assert "up to $0.0059" in str(caught.value)


def test_a_web_page_is_called_one() -> None:
    """A proxy or a wrong address is the likely reason."""
    page = reply(b"<html></html>", content_type="text/html; charset=utf-8")
    with pytest.raises(MalformedReplyError, match="base_url"):
        finished(page)


@pytest.mark.parametrize(("packed", "package"), [("br", "brotli"), ("zstd", "zstandard")])
def test_a_packed_reply_names_what_reads_it(packed: str, package: str) -> None:
    """Nobody asked for such a reply: a proxy packed it, and its packages are not installed."""
    with pytest.raises(MalformedReplyError, match=f"without the package {package}"):
        finished(reply(b"\x1b\x00", **{"content-encoding": packed}))


def test_a_cut_reply_keeps_what_is_whole() -> None:
    """Two images of three arrived before the connection broke without a word."""
    whole = answer(picture(), picture(), picture(64, 64)).body
    end = whole.index(text(picture(64, 64)).encode()) + 20
    found = finished(reply(bytes(whole[:end])), n=3)

    assert len(found.images) == 2
    assert (found.usage, found.cost) == (None, None)
    kept(found, "cut short", "3 images were requested, 2 arrived")


def test_a_stream_nobody_asked_for_is_not_mistaken() -> None:
    """Its previews are no images; the reply is kept in the error."""
    body = b'data: {"type":"image_generation.partial_image","b64_json":"%b"}\n\n' % (
        text(picture()).encode()
    )
    with pytest.raises(MalformedReplyError) as caught:
        finished(reply(body, content_type="text/event-stream"))

    assert body == caught.value.reply


@pytest.mark.parametrize("status", [504, 524])
def test_a_gateway_that_gave_up(status: int) -> None:
    """The service may have gone on: unknown outcome, never a plain error."""
    with pytest.raises(OutcomeUnknownError) as caught:
        finished(reply(b"<html></html>", status=status), size="1024x1024", quality="low")

    assert not isinstance(caught.value, ApiError)
    assert caught.value.possible_cost == Decimal("0.005905")


def test_a_refusal_with_the_status_of_a_gateway() -> None:
    """A proxy that says 502 for everything: the text tells that nothing was drawn."""
    error = {"error": {"message": "rejected by the safety system", "code": "moderation_blocked"}}
    with pytest.raises(ModerationError):
        finished(reply(error, status=502))


@pytest.mark.parametrize(("status", "kind"), [(500, ServerError), (429, RateLimitError)])
def test_a_failed_request(status: int, kind: type[ApiError]) -> None:
    """The wait the service names is in the error."""
    with pytest.raises(kind) as caught:
        finished(reply({"error": {"message": "no"}}, status=status, retry_after="7"))

    assert caught.value.retry_after == 7


# Addresses instead of bytes.


def test_addresses_are_found() -> None:
    """Only of images that did not come with their bytes."""
    body = {
        "data": [
            {"url": "https://example.com/a.png"},
            {"url": "https://example.com/b.png", "b64_json": text(picture())},
            {"url": "http://example.com/c.png", "b64_json": ""},
            {"url": "https://example.com/d.png", "b64_json": "!!"},
            {"url": "ftp://example.com/e.png"},
            {"url": "data:image/png;base64,QUJD"},
            {"url": ["https://example.com/f.png"]},
            {"url": None},
        ]
    }

    assert image_urls(reply(body)) == (
        "https://example.com/a.png",
        "http://example.com/c.png",
        "https://example.com/d.png",
    )


@pytest.mark.parametrize(
    "answered",
    [
        reply({"data": [{"url": "https://example.com/a.png"}]}, status=400),
        reply(b'{"data":[{"url":"https://example.com/a.png"}'),
        reply({"data": "url"}),
        reply({"data": [{"url": "https://[::1/a.png"}]}),
        reply(b""),
        answer(picture()),
    ],
    ids=range(6),
)
def test_no_addresses(answered: HttpReply) -> None:
    """Errors and broken replies name none."""
    assert image_urls(answered) == ()


def test_downloads_take_the_place_of_addresses() -> None:
    """The reply is complete then, and can be kept after the address has expired."""
    named = reply({"data": [{"url": "https://example.com/a.png"}, {"b64_json": text(picture())}]})
    whole = inline_images(named, {"https://example.com/a.png": picture(16, 16)})
    found = finished(whole, n=2)

    assert [each.size for each in found.images] == [(16, 16), (8, 8)]
    assert image_urls(whole) == ()
    assert found.warnings == ()


@given(st.recursive(st.none() | st.text() | st.integers(), st.lists, max_leaves=4))
def test_embedding_takes_any_address(url: object) -> None:
    """An address that is none is left alone."""
    body = reply({"data": [{"url": url}, {"url": "https://x.y/z"}, 1]})

    assert (picture(),) == inline_images(body, {"https://x.y/z": picture()}).images


def test_a_failed_download_is_told() -> None:
    """The others are kept; when there are none, the error says why."""
    unreachable: Mapping[str, str] = {"https://example.com/a.png": "it is gone"}
    one = {"url": "https://example.com/a.png"}
    both = reply({"data": [one, {"b64_json": text(picture())}]})
    found = parse_response(planned(n=2), both, unreachable, now=NOW)

    kept(found, "image 1 of the reply could not be read: it is gone")
    with pytest.raises(MalformedReplyError, match="it is gone"):
        parse_response(planned(), reply({"data": [one]}), unreachable, now=NOW)


def test_a_data_url_is_a_picture() -> None:
    """Some servers send images so."""
    url = "data:image/png;base64," + base64.b64encode(picture()).decode()

    kept(finished(reply({"data": [{"url": url}]})))


# Garbage.

NAMES = st.sampled_from(["data", "b64_json", "url", "error", "usage", "created", "svg_usage", "x"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([text(picture()), text(picture())[:40], "https://example.com/a.png"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
)


@given(st.binary() | VALUES.map(lambda value: json.dumps(value).encode()), st.integers(200, 599))
@example(b'{"data":[{"b64_json":"%b"}],"created":1e999}' % text(picture()).encode(), 200)
def test_garbage_is_a_result_or_a_gptimage_error(body: bytes, status: int) -> None:
    """Whatever comes back, nothing else is raised, and addresses are found or not."""
    answered = reply(body, status=status)
    image_urls(answered)
    try:
        found = finished(answered, size="64x64", model="gpt-image-9")
    except GptImageError as error:
        sizes, said = {(64, 64)}, str(error)
    else:
        sizes, said = {each.size or (0, 0) for each in found.images}, "a result"

    assert {(64, 64)} == sizes
    assert said


@given(VALUES)
def test_pictures_among_garbage_are_found(value: object) -> None:
    """Whatever else a reply holds, an image in its data is returned."""
    body = {"x": value, "created": value, "usage": value, "error": value, "svg_usage": value}
    found = finished(reply({**body, "data": [value, {"b64_json": text(picture()), "url": value}]}))

    assert picture() in [each.data for each in found.images]
    assert abs(found.created - NOW) >= timedelta(0)
