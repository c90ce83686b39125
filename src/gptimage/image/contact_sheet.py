"""`contact_sheet`: many images side by side on one, to look at them together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from attrs import frozen

from gptimage.errors import InvalidRequestError
from gptimage.image.codecs import XMP, decode, encode, has_transparency
from gptimage.image.formats import MAX_PIXELS
from gptimage.image.image import Image
from gptimage.image.label import combined


if TYPE_CHECKING:
    from PIL.Image import Image as Pil
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont
    from PIL.ImageFont import ImageFont as BitmapFont

_BACKGROUND: Final = (244, 243, 240)
_CARD: Final = (255, 255, 255)
_EDGE: Final = (221, 219, 214)
_INK: Final = (62, 60, 56)
_FAINT: Final = (140, 137, 130)
_CHECKERS: Final = ((255, 255, 255), (226, 226, 226))

_MAX_LABEL: Final = 300
"""Characters; no cell holds more, and whole prompts are passed as labels."""


@frozen(kw_only=True)
class _Style:
    """Measures of a sheet, in pixels."""

    columns: int
    cell: int
    gap: int
    label: int
    font_size: int

    @property
    def step(self) -> int:
        """From the left edge of one cell to the next."""
        return self.cell + self.gap


def contact_sheet(
    images: Iterable[Image],
    *,
    columns: int | None = None,
    labels: Sequence[str] | None = None,
    cell: int = 384,
) -> Image:
    """Draw images in a grid, each whole and in its own proportions.

    Transparent ones lie on a checkerboard. An svg is never drawn here: it gets a tile that
    says what it is.

    Args:
        images: One image or more; of an animation the first frame is shown.
        columns: Images per row; about a square when left out.
        labels: A line of text below each image, one for every image; none when left out.
        cell: Edge in pixels of the square each image is fitted into, 32 to 2048.

    Returns:
        A PNG.

    Raises:
        InvalidRequestError: There are no images, labels do not match them in number, or the
            sheet would be too large.
        ImageDecodeError: An image is broken.
    """
    all_images = list(images)
    style = _style(len(all_images), columns, cell, labelled=labels is not None)
    _check(all_images, columns, labels, style)
    sheet = _draw(all_images, labels, style)
    if label := combined(image.ai_label for image in all_images):
        sheet.info[XMP] = label.to_xmp()
    return Image.from_bytes(encode(sheet, "png"))


def _style(count: int, columns: int | None, cell: int, *, labelled: bool) -> _Style:
    font_size = max(10, cell // 22)
    return _Style(
        columns=max(1, min(columns or math.ceil(math.sqrt(count)), count)),
        cell=cell,
        gap=max(8, cell // 16),
        label=font_size * 2 if labelled else 0,
        font_size=font_size,
    )


def _check(
    images: Sequence[Image], columns: int | None, labels: Sequence[str] | None, style: _Style
) -> None:
    count, cell = len(images), style.cell
    if not images:
        raise _refused("a contact sheet needs at least one image", "images", 0, "one or more")
    if columns is not None and columns < 1:
        raise _refused(
            f"columns must be at least 1, not {columns}", "columns", columns, "1 or more"
        )
    if not 32 <= cell <= 2048:
        raise _refused(f"cell must be 32 to 2048 pixels, not {cell}", "cell", cell, "32 to 2048")
    if labels is not None and len(labels) != count:
        message = f"{count} images need {count} labels, not {len(labels)}"
        raise _refused(message, "labels", len(labels), count)
    rows = math.ceil(count / style.columns)
    if style.columns * style.step * rows * (style.step + style.label) > MAX_PIXELS:
        message = f"{count} images in cells of {cell} pixels make too large a sheet"
        raise _refused(message, "cell", cell, f"at most {MAX_PIXELS:,} pixels in all")


def _draw(images: Sequence[Image], labels: Sequence[str] | None, style: _Style) -> Pil:
    import PIL.Image
    from PIL import ImageDraw, ImageFont

    font = ImageFont.load_default(style.font_size)
    tiles = [_tile(image, style.cell, font) for image in images]
    rows = [tiles[at : at + style.columns] for at in range(0, len(tiles), style.columns)]
    heights = [max(tile.height for tile in row) for row in rows]
    size = (
        style.columns * style.step + style.gap,
        sum(heights) + len(rows) * (style.label + style.gap) + style.gap,
    )
    sheet = PIL.Image.new("RGB", size, _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    top = style.gap
    for number, (row, height) in enumerate(zip(rows, heights, strict=True)):
        for column, tile in enumerate(row):
            left = style.gap + column * style.step
            x, y = left + (style.cell - tile.width) // 2, top + (height - tile.height) // 2
            sheet.paste(tile, (x, y))
            draw.rectangle((x - 1, y - 1, x + tile.width, y + tile.height), outline=_EDGE)
            if labels is not None:
                text = _line(labels[number * style.columns + column], style.cell, draw, font)
                below = (left + style.cell / 2, top + height + style.label * 0.55)
                draw.text(below, text, fill=_INK, font=font, anchor="mm")
        top += height + style.label + style.gap
    return sheet


def _tile(image: Image, cell: int, font: FreeTypeFont | BitmapFont) -> Pil:
    """Return the image scaled into the cell, without transparency."""
    if image.format == "svg":
        return _placeholder(image, cell, font)
    pixels = decode(image.data, image.format, at_least=cell)
    pixels.thumbnail((cell, cell))
    if not has_transparency(pixels):
        return pixels.convert("RGB")
    board = _checkerboard(pixels.size, max(4, cell // 32))
    board.paste(pixels, mask=pixels.getchannel("A"))
    return board


def _placeholder(image: Image, cell: int, font: FreeTypeFont | BitmapFont) -> Pil:
    """Return a tile with the words SVG and its size, in the svg's proportions."""
    import PIL.Image
    from PIL import ImageDraw

    across, down = image.size or (1, 1)
    scale = cell / max(across, down)
    size = (max(1, round(across * scale)), max(1, round(down * scale)))
    tile = PIL.Image.new("RGB", size, _CARD)
    words = "SVG" if image.size is None else f"SVG\n{across} x {down}"
    middle = (size[0] / 2, size[1] / 2)
    ImageDraw.Draw(tile).text(middle, words, fill=_FAINT, font=font, anchor="mm", align="center")
    return tile


def _checkerboard(size: tuple[int, int], square: int) -> Pil:
    import PIL.Image
    from PIL import ImageDraw

    light, dark = _CHECKERS
    board = PIL.Image.new("RGB", size, light)
    draw = ImageDraw.Draw(board)
    for y in range(0, size[1], square):
        for x in range((y // square % 2) * square, size[0], 2 * square):
            draw.rectangle((x, y, x + square - 1, y + square - 1), fill=dark)
    return board


def _line(text: str, width: int, draw: ImageDraw, font: FreeTypeFont | BitmapFont) -> str:
    """Return one line that fits, cut with an ellipsis, in letters the built-in font has."""
    line = " ".join(text.split())[:_MAX_LABEL].encode("utf-8", "replace").decode()
    line = line.replace("×", "x")
    if draw.textlength(line, font=font) <= width:
        return line
    while line and draw.textlength(f"{line}…", font=font) > width:
        line = line[:-1]
    return f"{line.rstrip()}…"


def _refused(message: str, field: str, value: object, allowed: object) -> InvalidRequestError:
    return InvalidRequestError(message, field=field, value=value, allowed=allowed)
