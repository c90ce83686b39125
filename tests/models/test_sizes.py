"""Sizes: what people say, what models draw, and the legal size that covers each wish."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gptimage import InvalidRequestError, Models, Size
from gptimage.models.sizes import PRESETS, SizeRule


FLEXIBLE = Models.load()["gpt-image-2"].sizes
FIXED = Models.load()["gpt-image-1.5"].sizes
EDGES = st.integers(1, 5000)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("auto", None),
        (" AUTO ", None),
        ("1024x1024", (1024, 1024)),
        ("1920X1080", (1920, 1080)),
        ("1920 × 1080", (1920, 1080)),
        ("1920*1080", (1920, 1080)),
        ((1200, 400), (1200, 400)),
        (Size(10, 20), (10, 20)),
        ("1:1", (1024, 1024)),
        ("16:9", (1536, 864)),
        ("9:16", (864, 1536)),
        ("16/9", (1536, 864)),
        ("4:3", (1536, 1152)),
        ("3:2", (1536, 1024)),
        ("21:9", (1568, 672)),
        ("3:1", (1536, 512)),
        ("2.35:1", (1536, 654)),
        ("1:2.35", (654, 1536)),
        ("square", (1024, 1024)),
        ("portrait", (1024, 1536)),
        ("landscape", (1536, 1024)),
        ("OG image", (1200, 630)),
        ("og-image", (1200, 630)),
        ("blog_header", (1200, 400)),
        ("4K", (3840, 2160)),
    ],
)
def test_parse(said: str | tuple[int, int] | Size, meant: tuple[int, int] | None) -> None:
    """Pixels, ratios, orientation words, presets and auto are understood."""
    assert meant == Size.parse(said).dimensions


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_gives_its_pixels(name: str) -> None:
    """Every named size is found under its own name, with spaces and hyphens, too."""
    assert (
        PRESETS[name]
        == Size.parse(name).dimensions
        == Size.parse(name.replace("_", " ")).dimensions
    )


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("rule", [FLEXIBLE, FIXED], ids=["flexible", "fixed"])
def test_a_preset_can_be_drawn_or_says_what_can(name: str, rule: SizeRule) -> None:
    """Models that draw any size draw every preset; for the others the error names sizes."""
    width, height = PRESETS[name]
    if rule is FIXED and (width > 1536 or height > 1536 or min(width, height) > 1024):
        with pytest.raises(InvalidRequestError, match="1024x1024"):
            rule.covering(width, height)
    else:
        assert rule.problem(*rule.covering(width, height)) is None


NONSENSE: list[object] = [
    "",
    "big",
    "1024",
    "1024x",
    "x1024",
    "1024x1024x3",
    "-16x16",
    "0x16",
    "16x0",
    "1e3x1e3",
    "1.5x2",
    "1234567x16",
    "0:1",
    "1:0",
    "0.0:1",
    "100:1",
    "1:100",
    "nan:1",
    "16:9:4",
    "1024x1024\n; rm",
    "\x00",
    "\ud800",
    "x" * 100_000,
    None,
    7,
    7.0,
    True,
    b"1024x1024",
    [1024, 1024, 3],
    (),
    (1024,),
    (1, 2, 3),
    (0, 16),
    (-1, 16),
    (16.0, 16),
    (True, 16),
    (None, None),
    ("16", "16"),
    (10**400, 16),
    (10**5000, 16),
]


@pytest.mark.parametrize("said", NONSENSE, ids=range(len(NONSENSE)))
def test_nonsense_is_refused_with_advice(said: object) -> None:
    """Whatever is no size is an InvalidRequestError that says what would be one."""
    with pytest.raises(InvalidRequestError, match="1920x1080") as caught:
        Size.parse(said)  # type: ignore[arg-type]  # that is the point

    assert caught.value.field == "size"
    assert "auto" in caught.value.allowed  # type: ignore[operator]  # it is a tuple
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("edges", [(16, None), (None, 16), (0, 0), (10**9, 16), ("16", 16)])
def test_half_a_size_cannot_be_made(edges: tuple[int, int]) -> None:
    """A size that names one edge would silently mean auto."""
    with pytest.raises(InvalidRequestError):
        Size(*edges)


@given(st.text())
@example("٣x٣")
def test_parse_takes_any_text(said: str) -> None:
    """Hostile text is a size or an InvalidRequestError, never a crash."""
    try:
        found = Size.parse(said)
    except InvalidRequestError:
        return

    assert found == Size.parse(str(found))


@given(st.integers(1, 99_999), st.integers(1, 99_999), st.sampled_from([":", "/", " : "]))
def test_a_ratio_is_kept(across: int, down: int, mark: str) -> None:
    """A ratio becomes pixels of that ratio, near the usual size."""
    said = f"{across}{mark}{down}"
    if not 1 / 50 <= across / down <= 50:
        with pytest.raises(InvalidRequestError):
            Size.parse(said)
        return

    width, height = Size.parse(said).dimensions or (0, 0)

    # The short edge is rounded to whole pixels, which on 30 of them is at most half of one.
    assert math.isclose(math.log(across / down), math.log(width / height), abs_tol=0.02)
    assert 1024 <= max(width, height) <= 1728


@given(EDGES, EDGES)
def test_text_and_tuple_agree(width: int, height: int) -> None:
    """The wire form is understood and means the same pixels."""
    assert Size(width, height) == Size.parse(f"{width}x{height}") == Size.parse((width, height))


# What a model draws.


@pytest.mark.parametrize(
    ("size", "problem"),
    [
        ((816, 816), None),
        ((800, 800), "655,360"),
        ((1920, 1088), None),
        ((1920, 1080), "multiples of 16"),
        ((1536, 512), None),
        ((1552, 512), "3:1"),
        ((512, 1536), None),
        ((512, 1552), "3:1"),
        ((3840, 2160), None),
        ((2160, 3840), None),
        ((3840, 2176), "8,294,400"),
        ((3856, 2000), "3840"),
    ],
)
def test_the_published_rule(size: tuple[int, int], problem: str | None) -> None:
    """Multiples of 16, 1:3 to 3:1, edges to 3840, 655,360 to 8,294,400 pixels."""
    found = FLEXIBLE.problem(*size)

    assert (problem is None) == (found is None)
    assert (problem or "") in (found or "")


@pytest.mark.parametrize(
    ("asked", "drawn"),
    [
        ((1920, 1080), (1920, 1088)),
        ((1080, 1920), (1088, 1920)),
        ((1200, 630), (1200, 640)),
        ((1024, 1024), (1024, 1024)),
        ((3840, 2160), (3840, 2160)),
        ((1200, 400), (1440, 480)),
        ((600, 200), (1440, 480)),
        ((1584, 396), (1584, 528)),
        ((1, 1), (816, 816)),
    ],
)
def test_covering(asked: tuple[int, int], drawn: tuple[int, int]) -> None:
    """The least waste: rounded up where that is legal, else the ratio that was asked for."""
    assert drawn == FLEXIBLE.covering(*asked)


@pytest.mark.parametrize(
    ("asked", "drawn"),
    [
        ((1024, 1024), (1024, 1024)),
        ((512, 512), (1024, 1024)),
        ((1536, 864), (1536, 1024)),
        ((1200, 400), (1536, 1024)),
        ((800, 1200), (1024, 1536)),
    ],
)
def test_covering_with_fixed_sizes(asked: tuple[int, int], drawn: tuple[int, int]) -> None:
    """A model of three sizes draws the one that fits best."""
    assert drawn == FIXED.covering(*asked)


@given(EDGES, EDGES)
@example(3840, 1)
@example(1, 3840)
@example(3839, 2159)
def test_what_covers_is_legal_and_large_enough(width: int, height: int) -> None:
    """Whatever can be covered is, legally; whatever is refused could not have been."""
    grid = range(16, 3841, 16)
    # The least legal height at or above the asked one decides; ratios only push it up.
    possible = any(
        FLEXIBLE.problem(w, h) is None
        for w in grid
        if w >= width
        for h in (max(math.ceil(height / 16), math.ceil(w / 48), math.ceil(655_360 / w / 16)) * 16,)
    )
    if not possible:
        with pytest.raises(InvalidRequestError) as caught:
            FLEXIBLE.covering(width, height)
        sizes = [Size.parse(name).dimensions for name in caught.value.allowed]  # type: ignore[attr-defined]  # a tuple of names
        assert [FLEXIBLE.problem(*size) for size in sizes if size] == [None, None, None]
        return

    drawn = FLEXIBLE.covering(width, height)

    assert FLEXIBLE.problem(*drawn) is None
    assert drawn[0] >= width
    assert drawn[1] >= height


@given(EDGES, EDGES)
def test_a_legal_size_covers_itself(width: int, height: int) -> None:
    """Nothing is cropped from a size the model draws."""
    legal = (width * 16, height * 16)
    if FLEXIBLE.problem(*legal) is None:
        assert legal == FLEXIBLE.covering(*legal)


@given(EDGES, EDGES)
def test_fixed_sizes_cover_or_refuse(width: int, height: int) -> None:
    """A fixed list is never left, and every size that fits into it is covered."""
    fits = [size for size in FIXED.values if size[0] >= width and size[1] >= height]
    if fits:
        assert FIXED.covering(width, height) in fits
    else:
        with pytest.raises(InvalidRequestError, match="1536x1024"):
            FIXED.covering(width, height)


def test_too_large_names_the_nearest() -> None:
    """The error says what could be drawn instead, nearest first."""
    with pytest.raises(InvalidRequestError) as caught:
        FLEXIBLE.covering(4096, 2304)

    assert caught.value.field == "size"
    assert caught.value.value == "4096x2304"
    assert caught.value.allowed == FLEXIBLE.nearest(4096, 2304)
    assert "3840x2160" in FLEXIBLE.nearest(4096, 2304)


@pytest.mark.parametrize("rule", [FLEXIBLE, FIXED], ids=["flexible", "fixed"])
def test_nearest_is_legal(rule: SizeRule) -> None:
    """Only legal sizes are recommended."""
    nearest = [Size.parse(name).dimensions or (0, 0) for name in rule.nearest(50_000, 3)]

    assert [rule.problem(*size) for size in nearest] == [None, None, None]


@pytest.mark.parametrize(
    ("frames", "cap"), [(2, 960), (8, 960), (9, 960), (10, 816), (12, 816), (13, 720), (16, 720)]
)
def test_the_largest_square_of_a_gif(frames: int, cap: int) -> None:
    """The sheet of all frames obeys the rule, as measured at the service."""
    spec = Models.load().get("gpt-image-2.6-flare")
    assert spec is not None
    rule = spec.sizes.for_frames(frames)

    assert (rule.problem(cap, cap), bool(rule.problem(cap + 16, cap + 16))) == (None, True)
    assert (cap, cap) == rule.covering(cap, cap)


@pytest.mark.parametrize(
    ("frames", "asked", "drawn"),
    [
        (9, (512, 512), (512, 512)),
        (16, (512, 512), (512, 512)),
        (4, (384, 384), (384, 384)),
        (9, (512, 288), (512, 288)),
        (4, (256, 256), (288, 288)),
    ],
)
def test_small_frames_go_out_as_asked(
    frames: int, asked: tuple[int, int], drawn: tuple[int, int]
) -> None:
    """Only the sheet must be large enough, so few frames are drawn larger than asked."""
    spec = Models.load().get("gpt-image-2.6-flare")
    assert spec is not None

    assert drawn == spec.sizes.for_frames(frames).covering(*asked)


def test_messages_about_a_gif_name_what_was_asked() -> None:
    """The size asked for, not that of a sheet nobody has heard of, and what is possible."""
    spec = Models.load().get("gpt-image-2.6-flare")
    assert spec is not None
    with pytest.raises(InvalidRequestError, match="size 1024x1024 is larger") as caught:
        spec.sizes.for_frames(16).covering(1024, 1024)

    assert "720x720" in str(caught.value)
