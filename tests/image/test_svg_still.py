"""An svg becomes pixels where a service takes nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptimage import Image, ImageDecodeError
from gptimage.image.svg_still import still_of


def svg(body: str, *, width: int = 200, height: int = 100) -> Image:
    """An svg of that size."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
    return Image.from_bytes(
        f"{head} xmlns:xlink='http://www.w3.org/1999/xlink'>{body}</svg>".encode()
    )


@pytest.mark.parametrize(
    ("size", "drawn"),
    [((200, 100), (1024, 512)), ((100, 200), (512, 1024)), ((9, 9), (1024, 1024))],
)
def test_its_longest_edge_is_1024_pixels(size: tuple[int, int], drawn: tuple[int, int]) -> None:
    """Whatever it says of its size; what is drawn is what stands in it."""
    given = svg('<rect width="500" height="500" fill="#ff0000"/>', width=size[0], height=size[1])
    still = still_of(given)

    assert (still.format, still.size, still.original) == ("png", drawn, given)
    assert still.to_pil().convert("RGB").getpixel((5, 5)) == (255, 0, 0)


@pytest.mark.parametrize("attribute", ["href", "xlink:href", "HREF"])
@pytest.mark.parametrize("quote", ['"', "'"])
def test_files_beside_it_are_not_read(attribute: str, quote: str, tmp_path: Path) -> None:
    """An svg of a stranger could show what lies on this machine."""
    file = tmp_path / "secret.png"
    body = f"<image {attribute}={quote}{file}{quote} width='9' height='9'/>"
    with pytest.raises(ImageDecodeError, match="other files"):
        still_of(svg(body))


def test_references_within_it_are_fine() -> None:
    """Gradients and embedded images are part of the file."""
    body = '<defs><rect id="a" width="9" height="9"/></defs><use href="#a"/>'

    assert still_of(svg(body)).format == "png"


@pytest.mark.parametrize("body", ["<rect", "<g>"])
def test_a_broken_one_is_refused(body: str) -> None:
    """In words, as any broken image."""
    with pytest.raises(ImageDecodeError, match="cannot be drawn"):
        still_of(svg(body))
