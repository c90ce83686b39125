"""Make the preview image of a blog post at exactly 1200x630, small enough for every network."""

from __future__ import annotations

import sys

import gptimage


def main(title: str) -> None:
    """Render the prompt, make the image, and save a JPEG of at most 300 kB."""
    with gptimage.ImageClient() as client:
        prompt = client.render("og_image", title=title, brand_name="Acme", color_scheme="vibrant")
        result = client.generate(prompt, quality="low")
    image = result.image.shrink(300_000)
    print(image.save("preview"), image.size, f"{image.nbytes:,} bytes, cost {result.cost}")


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or "Launch day")
