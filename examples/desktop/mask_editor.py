"""A desktop tool with Tk: open an image, paint over what may change, say how, and see it changed.

``python mask_editor.py photo.png``. Each result is saved in the store, and is what is edited next.
"""

from __future__ import annotations

import queue
import sys
import threading
import tkinter as tk
from collections.abc import Callable
from tkinter import ttk
from typing import Any

import PIL.Image
import PIL.ImageDraw
import PIL.ImageTk

import gptimage
from gptimage import Budget, Image, ImageClient


LARGEST = 768
"""Pixels of the canvas; the image itself keeps all it has."""

BRUSH = 24
"""Pixels of the brush on the canvas."""


class MaskEditor:
    """A window with an image, a brush, and a line of text.

    Args:
        client: Edits; it has a store.
        image: The first image.
        on_end: Called after each edit, in the window's thread, with the error or None.
    """

    def __init__(
        self,
        root: tk.Tk,
        client: ImageClient,
        image: Image,
        on_end: Callable[[Exception | None], None] = lambda _: None,
    ) -> None:
        self.root, self.client, self.on_end = root, client, on_end
        self.image = image
        self._thread: threading.Thread | None = None
        self._ended: queue.SimpleQueue[gptimage.Result | Exception] = queue.SimpleQueue()
        root.title("gptimage")
        self.canvas: Any = tk.Canvas(root, highlightthickness=0, cursor="circle")
        self.canvas.bind("<Button-1>", self._paint)
        self.canvas.bind("<B1-Motion>", self._paint)
        self.canvas.grid(columnspan=3)
        self.prompt = ttk.Entry(root)
        self.prompt.grid(row=1, column=0, sticky="ew")
        self.button = ttk.Button(root, text="Edit", command=self.edit)
        self.button.grid(row=1, column=1)
        ttk.Button(root, text="Clear", command=self.show).grid(row=1, column=2)
        self.status = ttk.Label(root, text="Paint over what may change.", wraplength=LARGEST)
        self.status.grid(row=2, columnspan=3, sticky="ew")
        root.columnconfigure(0, weight=1)
        self.show()

    def show(self) -> None:
        """Show the image, with nothing painted."""
        pixels = self.image.to_pil()
        self.mask = PIL.Image.new("L", pixels.size)
        self._scale = max(1.0, max(pixels.size) / LARGEST)
        width, height = (round(each / self._scale) for each in pixels.size)
        # Tk does not keep the image that it shows: the attribute does.
        self._shown: Any = PIL.ImageTk.PhotoImage(pixels.resize((width, height)))
        self.canvas.delete("all")
        self.canvas.configure(width=width, height=height)
        self.canvas.create_image(0, 0, anchor="nw", image=self._shown)

    def _paint(self, event: Any) -> None:
        """Paint on the canvas for the eye, and in the mask at the image's own size."""
        x, y, radius = event.x, event.y, BRUSH / 2
        box = (x - radius, y - radius, x + radius, y + radius)
        self.canvas.create_oval(*box, fill="red", stipple="gray50", outline="")
        self._draw_in_mask([each * self._scale for each in box])

    def _draw_in_mask(self, box: list[float]) -> None:
        PIL.ImageDraw.Draw(self.mask).ellipse(box, fill="white")

    def edit(self) -> None:
        """Edit in a thread of its own: the window stays alive for the minute that it takes."""
        if self.mask.getbbox() is None:
            self.status.configure(text="Nothing is painted: that would change the whole image.")
            return
        # One at a time: a second press would be a second payment.
        self.button.state(["disabled"])
        self.status.configure(text="Drawing; this takes a minute.")
        arguments = (self.prompt.get(), self.image, self.mask.copy())
        self._thread = threading.Thread(target=self._work, args=arguments)
        self._thread.start()
        self._look()

    def wait(self) -> None:
        """Wait for an edit under way: it is paid, and closing the client would cut it off."""
        if self._thread is not None:
            self._thread.join()

    def _work(self, prompt: str, image: Image, mask: Any) -> None:
        try:
            self._ended.put(self.client.edit(prompt, image, mask=mask, outside="keep"))
        except (gptimage.GptImageError, OSError) as error:
            self._ended.put(error)

    def _look(self) -> None:
        """Look for the result from the window's thread, the only one that may touch it."""
        try:
            ended = self._ended.get_nowait()
        except queue.Empty:
            self.root.after(50, self._look)
            return
        self.button.state(["!disabled"])
        if isinstance(ended, Exception):
            self.status.configure(text=str(ended))
            self.on_end(ended)
            return
        self.image = ended.image
        self.show()
        self.status.configure(text=f"{ended.stored[0].path} cost {ended.cost}")
        self.on_end(None)


def main(path: str) -> None:
    """Open the window."""
    root = tk.Tk()
    with ImageClient(store="images", budget=Budget(5, per="day")) as client:
        editor = MaskEditor(root, client, Image.open(path))
        root.mainloop()
        editor.wait()  # its image is saved although the window is closed


if __name__ == "__main__":
    main(sys.argv[1])
