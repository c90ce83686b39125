"""Makes the images of the README and the pages with the offline sandbox.

``python docs/generate_images.py`` runs ``gptimage demo`` in a new folder, makes two edits more, and
writes contact sheets into ``docs/images``. Without a key and without the network.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Final

import gptimage
from gptimage.cli.main import main as gptimage_command


IMAGES: Final = Path(__file__).with_name("images")
DEMO: Final = ("lighthouse.png", "coffee.png", "coffee-edited.png", "fox.png", "leaf.webp")


def main() -> None:
    """Make all images anew."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        if gptimage_command(["demo", "--sandbox"]):
            message = "gptimage demo failed"
            raise SystemExit(message)
        made = [gptimage.Image.open(Path("gptimage-demo", name)) for name in DEMO]
        sheet(
            "demo",
            made,
            ["exact size", "photograph", "edited in a mask", "streamed", "transparent"],
        )
        with gptimage.ImageClient.sandbox() as client:
            masks(client)


def masks(client: gptimage.ImageClient) -> None:
    """Make the images of the page about masks."""
    dusk = client.generate("A lighthouse at dusk", size="1024x1024", quality="low").image
    box = gptimage.Mask.from_box((100, 150, 500, 550))
    edited = client.edit("Add a hot air balloon", images=[dusk], mask=box, quality="low").image
    sheet("masks", [dusk, edited], ["before", "after: a balloon in the box"])


def sheet(name: str, made: list[gptimage.Image], labels: list[str]) -> None:
    """Write a row of images with their labels."""
    row = gptimage.contact_sheet(made, labels=labels, columns=len(made), cell=300)
    written = row.convert("webp", quality=80).save(IMAGES / name, overwrite=True)
    print(os.path.relpath(written), row.size)


if __name__ == "__main__":
    main()
