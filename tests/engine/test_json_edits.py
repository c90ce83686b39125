"""Edits that need the JSON form: said where it is not read, avoided where a form will do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gptimage import BadRequestError, ImageClient
from gptimage.sandbox import Sandbox, SandboxTransport
from gptimage.transport.http import HttpReply, HttpRequest
from tests.sandbox.pictures import photo


LOW: dict[str, Any] = {"size": "1024x640", "quality": "low"}
AZURE = "https://me.openai.azure.com/openai/v1/"


class FormsOnly(SandboxTransport):
    """A gateway that reads edits as forms alone, and refuses the rest in its own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(Sandbox())
        self._refusal = HttpReply(
            status=status, body=json.dumps({"error": {"message": message, "code": "400"}}).encode()
        )
        self.requests: list[HttpRequest] = []

    def send(self, request: HttpRequest) -> HttpReply:
        """Refuse an edit without files."""
        self.requests.append(request)
        is_json = request.path == "/images/edits" and not request.files
        return self._refusal if is_json else super().send(request)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "litellm.BadRequestError: We could not parse the JSON body of your request."),
        (400, "Missing required parameter: 'prompt'."),
        (422, "image: field required"),
        (415, "what is this"),
        (400, "Expected multipart/form-data"),
    ],
)
@pytest.mark.parametrize(
    ("images", "options", "cause"),
    [
        (photo(), {"moderation": "low"}, "moderation= made"),
        ("file-abcdefgh1", {}, "file ids made"),
        ("file-abcdefgh1", {"moderation": "low"}, "moderation= and file ids made"),
    ],
)
def test_the_cause_of_the_json_form_is_named(
    status: int, message: str, images: Any, options: dict[str, Any], cause: str
) -> None:
    """The message of the server is kept, and what to leave out is added."""
    client = ImageClient(transport=FormsOnly(status, message))

    with pytest.raises(BadRequestError) as caught:
        client.edit("At night", images, **options, **LOW)
    assert message.rpartition(": ")[2] in str(caught.value)
    assert f"{cause} this edit go as JSON" in str(caught.value)


def test_other_refusals_stay_as_they_are() -> None:
    """A server that read the JSON and refuses a value has nothing to do with its form."""
    client = ImageClient(transport=FormsOnly(400, "Invalid size '7x7'."))

    with pytest.raises(BadRequestError) as caught:
        client.edit("At night", photo(), moderation="low", **LOW)
    assert "JSON" not in str(caught.value)


def test_azure_reads_moderation_in_a_form() -> None:
    """Its edits are forms, so an edit stays one; elsewhere it goes as JSON."""
    azure, other = FormsOnly(400, "no JSON body"), SandboxTransport(Sandbox())
    result = ImageClient(transport=azure, base_url=AZURE).edit(
        "At night", photo(), moderation="low", **LOW
    )
    ImageClient(transport=other).edit("At night", photo(), moderation="low", **LOW)

    assert result.image.size == (1024, 640)
    assert azure.requests[0].body["moderation"] == "low"
    assert [part.name for part in azure.requests[0].files] == ["image"]
