"""Reading the size of an SVG without ever drawing it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage import Image, ImageDecodeError


@pytest.mark.parametrize(
    ("svg", "size"),
    [
        ('<svg width="40" height="30"/>', (40, 30)),
        ("<svg width='40px' height='30px'></svg>", (40, 30)),
        ('<svg viewBox="0 0 400 300">', (400, 300)),
        ('<svg viewBox="-5,-5 400,300">', (400, 300)),
        ('<svg width="100%" height="100%" viewBox="0 0 400 300">', (400, 300)),
        ('<svg width="200" viewBox="0 0 400 300">', (200, 150)),
        ('<svg height="150" viewBox="0 0 400 300">', (200, 150)),
        ('<svg width="1in" height="2.54cm">', (96, 96)),
        ('<svg width="0.2" height="0.2">', (1, 1)),
        ('<svg stroke-width="7" data-x=" width=\'9\'" width="40" height="30">', (40, 30)),
        ('<svg:svg xmlns:svg="http://www.w3.org/2000/svg" width="4" height="3">', (4, 3)),
        (
            '\ufeff<?xml version="1.0"?>\n<!-- <svg width="1"> -->\n<svg width="4" height="3">',
            (4, 3),
        ),
        ('<!DOCTYPE svg PUBLIC "a" "b" [ <!ENTITY x "y>"> ]><svg width="4" height="3">', (4, 3)),
        ("<svg>", None),
        ('<svg width="" height="auto" viewBox="0 0 0 0">', None),
        ('<svg viewBox="0 0 nan inf">', None),
        ('<svg viewBox="0 0 1e300 1e300" width="1">', (1, 1)),
        ('<svg viewBox="0 0 1e-300 1e300" width="9">', None),
    ],
)
def test_size_of_an_svg(svg: str, size: tuple[int, int] | None) -> None:
    """Width, height and viewBox give the size as browsers see it, or none."""
    image = Image.from_bytes(svg.encode())

    assert ("svg", size) == (image.format, image.size)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_of_an_svg(encoding: str) -> None:
    """UTF-8 and, by its mark, UTF-16 are read."""
    assert Image.from_bytes('<svg width="4" height="3"/>'.encode(encoding)).size == (4, 3)


@pytest.mark.parametrize(
    "text",
    ["<svg", '<svg width="4', '<svg width="4" ', "<svgx/>", "<html><svg/></html>", "<!-- <svg>"],
)
def test_no_svg_is_an_error(text: str) -> None:
    """A root tag cut short, or another root, is no svg."""
    with pytest.raises(ImageDecodeError):
        Image.from_bytes(text.encode())


@pytest.mark.parametrize(
    "unit",
    ["<!---->", "<?a?>", "<!a>", "<!a[]>", " ", "<svg ", 'a="b" ', "width=", "width=' ", "a"],
)
@pytest.mark.parametrize("start", ["", "<svg ", "<svg a", "<!--", "<!DOCTYPE ["])
def test_long_repetitions_are_read_once(start: str, unit: str) -> None:
    """No repetition makes reading slow: this test would take hours if it did."""
    try:
        Image.from_bytes((start + unit * 60_000).encode())
    except ImageDecodeError:
        return


@given(st.text(alphabet="<>!-?[]svg/=\"' widtheBox0.9e%", max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Text that looks like an svg is read or refused, nothing else."""
    try:
        image = Image.from_bytes(b"<svg " + text.encode())
    except ImageDecodeError:
        return
    assert image.format == "svg"


def test_whole_svg_is_verified() -> None:
    """A well-formed svg passes."""
    Image.from_bytes(b"<svg><g><path d='M0 0'/></g></svg>").verify()


@pytest.mark.parametrize(
    "svg",
    [
        "<svg><g></svg>",
        "<svg><g>",
        "<?xml version='1.0' encoding='nonsense'?><svg/>",
        "<!DOCTYPE svg [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><svg>&b;</svg>",
        "<!DOCTYPE svg [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><svg>&a;</svg>",
        "<!DOCTYPE svg [<!ENTITY % a SYSTEM 'file:///etc/passwd'> %a;]><svg/>",
    ],
)
def test_broken_or_exploding_svg_fails_verification(svg: str) -> None:
    """Cut, malformed or entity-declaring svgs are refused before anything is expanded."""
    with pytest.raises(ImageDecodeError, match="this svg"):
        Image.from_bytes(svg.encode()).verify()


@pytest.mark.parametrize("work", ["to_pil", "thumbnail", "convert"])
def test_an_svg_is_never_drawn(work: str) -> None:
    """Every operation on pixels refuses an svg and says why."""
    image = Image.from_bytes(b'<svg width="4" height="3"/>')
    arguments = {"to_pil": (), "thumbnail": (5,), "convert": ("png",)}[work]

    with pytest.raises(ImageDecodeError, match="never run"):
        getattr(image, work)(*arguments)
