"""A form with Gradio: previews while an image is drawn, and edits inside a painted mask.

``python gradio_app.py`` serves it on this machine (`pip install gptimage gradio`). Behind a public
address it needs a login: ``demo.launch(auth=...)``. Who draws spends your money.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

import gptimage
from gptimage import Budget, Completed, ImageClient


def create(client: ImageClient) -> gr.Blocks:
    """Make the page."""

    def draw(prompt: str, quality: Any) -> Iterator[tuple[Any, str]]:
        """Show the previews, then the image and its cost."""
        try:
            for event in client.stream(prompt, partial_images=2, size="1024x1024", quality=quality):
                done = isinstance(event, Completed)
                text = f"cost: {event.result.cost}" if done else "drawing"
                yield event.image.to_pil(), text
        except gptimage.GptImageError as error:
            # Gradio would show the bare word "Error"; the text says what it may have cost.
            raise gr.Error(str(error)) from error

    def edit(prompt: str, painted: dict[str, Any], quality: Any) -> tuple[Any, str]:
        """Change what is painted over: Gradio gives the strokes as layers with transparency."""
        layers = [layer.getchannel("A") for layer in painted["layers"] if layer is not None]
        mask = layers[0] if layers and layers[0].getbbox() else None
        try:
            result = client.edit(
                prompt, painted["background"].convert("RGB"), mask=mask, quality=quality
            )
        except gptimage.GptImageError as error:
            raise gr.Error(str(error)) from error
        return result.image.to_pil(), f"cost: {result.cost}"

    with gr.Blocks(title="gptimage") as demo:
        prompt = gr.Textbox(label="Prompt", lines=3)
        quality = gr.Radio(["low", "medium", "high"], value="low", label="Quality")
        with gr.Row():
            shown = gr.Image(label="Image", type="pil", format="png", interactive=False)
            painted = gr.ImageEditor(label="Paint what may change", type="pil")
        cost = gr.Textbox(label="Cost", interactive=False)
        gr.Button("Draw").click(draw, [prompt, quality], [shown, cost], api_name="draw")
        gr.Button("Edit").click(edit, [prompt, painted, quality], [shown, cost], api_name="edit")
    # One call at a time for each person who waits: each is paid.
    return demo.queue(default_concurrency_limit=2)


if __name__ == "__main__":
    create(ImageClient(store="images", budget=Budget(5, per="day"))).launch()
