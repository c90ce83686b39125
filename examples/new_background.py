"""Give a product a new background: everything may change except the box the product is in."""

from __future__ import annotations

import sys

import gptimage


def main(photo: str | None) -> None:
    """Edit a photograph, or a drawn bottle when none is named."""
    with gptimage.ImageClient() as client:
        if photo is None:
            drawn = client.generate("A glass bottle on a table", size="1024x1024", quality="low")
            photo = str(drawn.image.save("bottle.png"))
        width, height = gptimage.Image.from_path(photo).size or (0, 0)
        sides = gptimage.Mask.from_boxes(
            [(0, 0, width // 4, height), (width * 3 // 4, 0, width, height)]
        )
        result = client.edit(
            "A beach at sunset behind it", images=[photo], mask=sides, quality="low"
        )
    print(result.image.save("new-background.png"), result.cost)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
