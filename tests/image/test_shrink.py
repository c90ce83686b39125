"""Making images fit a limit of bytes."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from typing import Any

import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptimage import Image, InvalidRequestError
from tests.factories import noise


Encode = Callable[..., bytes]


def noisy(size: tuple[int, int]) -> Image:
    """An image that hardly compresses."""
    return Image.from_pil(noise(*size))


@settings(max_examples=60)
@given(data=st.data(), share=st.floats(0.05, 1.2))
def test_result_is_never_too_large(
    samples: Mapping[str, bytes], data: st.DataObject, share: float
) -> None:
    """Whatever the image and the limit, the result fits or the limit is refused."""
    file = samples[data.draw(st.sampled_from(sorted(samples)))]
    limit = max(1, int(len(file) * share))
    with contextlib.suppress(InvalidRequestError):
        small = Image.from_bytes(file).shrink(limit)
        small.verify()
        assert small.nbytes <= limit


def test_what_fits_is_untouched(samples: Mapping[str, bytes]) -> None:
    """Nothing is re-encoded without need."""
    for data in samples.values():
        image = Image.from_bytes(data)
        assert image.shrink(len(data)) is image


def test_quality_goes_before_pixels() -> None:
    """A mild limit is met at full size, a hard one with fewer pixels."""
    image = noisy((400, 300))

    mild, hard = image.shrink(image.nbytes * 2 // 3), image.shrink(image.nbytes // 50)

    assert (mild.format, mild.size) == ("jpeg", (400, 300))
    assert hard.size is not None
    assert hard.size[0] < 200


def test_the_limit_is_used() -> None:
    """The result is not needlessly small: at least half of what is allowed."""
    image = noisy((500, 400))

    for limit in (200_000, 100_000, 50_000, 20_000, 5_000):
        assert limit / 2 < image.shrink(limit).nbytes <= limit


def test_transparency_is_kept(encode: Encode) -> None:
    """A transparent image becomes WebP, which has transparency."""
    image = Image.from_bytes(encode("png", (300, 200), "RGBA"))

    small = image.shrink(2_000)

    assert small.format == "webp"
    levels = PIL.Image.open(io.BytesIO(small.data)).getchannel("A").histogram()
    assert (any(levels[:40]), any(levels[215:])) == (True, True)


def test_opaque_alpha_channel_is_no_transparency() -> None:
    """An alpha channel that hides nothing does not ask for WebP."""
    picture = noise(200, 200).convert("RGBA")

    assert Image.from_pil(picture).shrink(9_000).format == "jpeg"


def test_webp_stays_webp(encode: Encode) -> None:
    """A WebP is not turned into another format."""
    data = encode("webp", (300, 200), lossless=True)

    assert Image.from_bytes(data).shrink(2_000).format == "webp"


def test_animation_stays_an_animation(encode_gif: Encode) -> None:
    """A gif keeps its frames and gets smaller."""
    image = Image.from_bytes(encode_gif(8, (300, 200), loop=0))

    small: Any = image.shrink(image.nbytes // 3)

    assert small.format == "gif"
    assert small.to_pil().n_frames == 8
    assert small.width < 300


def test_pictures_longer_than_webp_allows_are_scaled() -> None:
    """A transparent strip of 20,000 pixels becomes a WebP of at most 16,383."""
    strip = noise(20_000, 4).convert("RGBA")
    strip.putalpha(PIL.Image.linear_gradient("L").resize(strip.size))
    image = Image.from_pil(strip)

    small = image.shrink(image.nbytes // 2)

    assert small.format == "webp"
    assert small.width is not None
    assert small.width <= 16_383


def test_huge_profile_does_not_crowd_out_the_picture() -> None:
    """A colour profile larger than the limit is dropped."""
    buffer = io.BytesIO()
    profile = bytes(16) + b"RGB " + bytes(range(256)) * 400
    noise(200, 200).save(buffer, "png", icc_profile=profile)

    small = Image.from_bytes(buffer.getvalue()).shrink(8_000)

    assert small.width is not None
    assert small.width > 100


@pytest.mark.parametrize("limit", [0, -5, 1.5, "1000", None, True])
def test_bad_limits_are_refused(encode: Encode, limit: Any) -> None:
    """Only whole positive bytes."""
    with pytest.raises(InvalidRequestError, match="max_bytes must be"):
        Image.from_bytes(encode("png")).shrink(limit)


def test_impossible_limit_says_what_is_possible() -> None:
    """Where not even one pixel fits, the error names the least that would."""
    image = noisy((100, 100))

    with pytest.raises(InvalidRequestError) as caught:
        image.shrink(20)

    least = int(str(caught.value.allowed).split()[0])
    assert image.shrink(least).nbytes <= least
