"""Prompts in the client's hands: recommendations are used, explicit arguments win."""

from __future__ import annotations

from gptimage import ImageClient
from gptimage.templates import Brand, PromptTemplates


def test_recommendations_reach_the_picture() -> None:
    """The image has the size and format its template recommends."""
    prompt = PromptTemplates.builtin().render("og_image", title="Launch day")
    with ImageClient.sandbox() as client:
        result = client.generate(prompt)

    assert (result.image.size, result.image.format) == ((1200, 630), "jpeg")
    assert (result.request.prompt, result.request.quality) == (prompt.text, "medium")


def test_explicit_arguments_win() -> None:
    """What the caller says outranks the recommendation; the rest stays."""
    prompt = PromptTemplates.builtin().render("og_image", title="Launch day")
    with ImageClient.sandbox() as client:
        result = client.generate(prompt, size="1024x1024", quality="low")

    assert (result.image.size, result.image.format) == ((1024, 1024), "jpeg")
    assert result.request.quality == "low"


def test_client_renders_its_own_templates() -> None:
    """A client given templates renders those, and without any the built-in ones."""
    branded = PromptTemplates.builtin().with_brand(Brand(name="Acme"))
    with ImageClient.sandbox(templates=branded) as client:
        assert '"Acme"' in client.render("og_image", title="Hi").text
    with ImageClient.sandbox() as client:
        assert '"Acme"' not in client.render("og_image", title="Hi").text
