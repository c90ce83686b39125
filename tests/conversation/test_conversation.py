"""Conversations with the sandbox: turns, branches, streams, and going on elsewhere."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import pytest

import gptimage
from gptimage import (
    BadRequestError,
    ImageClient,
    InvalidRequestError,
    Mask,
    ModerationError,
    PartialImage,
)
from gptimage.conversation import AsyncConversation, Conversation, TurnCompleted
from gptimage.errors import ConfigurationError, ImageNotFoundError
from gptimage.sandbox import Sandbox
from gptimage.store import Store
from tests.conversation.helpers import LOW, Talks, picture


def test_a_turn_says_all_about_itself(talks: Talks) -> None:
    """Image, words, revised prompt, ids, and the money of both models apart."""
    turn = talks.sandbox(Sandbox()).send("A cabin by a lake", **LOW)

    assert turn.image.size == (1024, 1024)
    assert turn.text == "Here is the image."
    assert turn.revised_prompt == "A cabin by a lake (drawn by the sandbox)"
    assert turn.response_id is not None
    assert turn.response_id.startswith("resp_")
    assert len(turn.call_ids) == len(turn.images) == 1
    assert turn.result.usage is not None
    assert turn.result.cost is not None
    assert turn.chat_usage is not None
    assert turn.chat_cost is not None
    assert turn.total_cost == turn.result.cost.usd + turn.chat_cost.usd
    assert turn.failed == ()


def test_a_second_turn_changes_the_first_picture(talks: Talks) -> None:
    """The service has the image: only the id of the response goes along."""
    sandbox = Sandbox()
    talk = talks.sandbox(sandbox)
    first = talk.send("A cabin by a lake", **LOW)
    second = talk.send("Add snow", **LOW)

    body = sandbox.requests[-1].body
    assert body["previous_response_id"] == first.response_id
    assert [part["type"] for part in body["input"][0]["content"]] == ["input_text"]
    assert second.text == "Here is the changed image."
    assert second.result.request.inputs == (first.image,)
    assert talk.chat.turns == (first, second)
    assert talk.chat.response_id == second.response_id


def test_pictures_are_sent_with_the_words(talks: Talks) -> None:
    """A reference image of a later turn joins the one the service has."""
    sandbox = Sandbox()
    talk = talks.sandbox(sandbox)
    talk.send("A cabin", **LOW)
    talk.send("Add this hat", images=[picture()], **LOW)

    content = sandbox.requests[-1].body["input"][0]["content"]
    assert [part["type"] for part in content] == ["input_text", "input_image"]
    assert content[1]["image_url"].startswith("data:image/png;base64,")


def test_a_mask_goes_with_the_picture_it_belongs_to(talks: Talks) -> None:
    """The last image is sent again beside its mask, so that neither is guessed."""
    sandbox = Sandbox()
    talk = talks.sandbox(sandbox)
    talk.send("A cabin", **LOW)
    talk.send("Open the door", mask=Mask.from_box((0, 0, 300, 300)), **LOW)

    body = sandbox.requests[-1].body
    assert body["tools"][0]["input_image_mask"]["image_url"].startswith("data:image/png;base64,")
    assert [part["type"] for part in body["input"][0]["content"]] == ["input_text", "input_image"]


@pytest.mark.parametrize("stateless", [False, True])
def test_a_mask_belongs_to_the_first_picture_given(talks: Talks, stateless: bool) -> None:
    """The conversation's own image, of another size, does not come between them."""
    sandbox = Sandbox()
    talk = talks.sandbox(sandbox, stateless=stateless)
    talk.send("A cabin", **LOW)
    wide = picture(1536, 1024)
    turn = talk.send("A sky", [wide], mask=Mask.from_box((0, 0, 1536, 300)), quality="low")

    assert turn.result.request.inputs[0].data == wide
    assert turn.warnings == ()


def test_a_branch_goes_on_from_an_earlier_turn(talks: Talks) -> None:
    """Both ways stay open, and neither knows of the other's turns."""
    sandbox = Sandbox()
    talk = talks.sandbox(sandbox)
    first = talk.send("A cabin", **LOW)
    second = talk.send("Add snow", **LOW)
    other = talk.branch(first)
    autumn = other.send("In autumn instead", **LOW)

    assert sandbox.requests[-1].body["previous_response_id"] == first.response_id
    assert other.chat.turns == (first, autumn)
    assert talk.chat.turns == (first, second)
    assert talk.chat.response_id == second.response_id


def test_a_stream_gives_previews_and_then_the_turn(talks: Talks) -> None:
    """The turn at the end is the one `send` would have returned, and is gone on from."""
    talk = talks.sandbox(Sandbox())
    *previews, end = talk.stream("A cabin", partial_images=2, **LOW)

    assert [each.index for each in previews if isinstance(each, PartialImage)] == [0, 1]
    assert isinstance(end, TurnCompleted)
    assert end.image.size == (1024, 1024)
    assert end.turn.text == "Here is the image."
    assert end.turn.result.cost is not None
    assert talk.chat.response_id == end.turn.response_id
    assert talk.send("Add snow", **LOW).text == "Here is the changed image."


def test_you_get_exactly_the_pixels_asked_for(talks: Talks) -> None:
    """A turn crops like every other call, and says so."""
    turn = talks.sandbox(Sandbox()).send("A banner", quality="low", size="1920x1080")

    assert turn.image.size == (1920, 1080)
    assert turn.image.original is not None
    assert "cropped to 1920x1080" in turn.warnings[0]


def test_a_response_id_is_enough_elsewhere(talks: Talks) -> None:
    """Another process goes on with nothing but the id."""
    sandbox = Sandbox()
    first = talks.sandbox(sandbox).send("A cabin", **LOW)
    again = talks.sandbox(sandbox, resume=first.response_id).send("Add snow", **LOW)

    assert again.text == "Here is the changed image."
    assert again.warnings == ()


@pytest.mark.parametrize("way", ["id", "record"])
def test_any_stored_picture_is_gone_on_from(talks: Talks, tmp_path: Path, way: str) -> None:
    """The store keeps the ids; the new image knows its parent."""
    sandbox, store = Sandbox(), Store(tmp_path)
    first = talks.sandbox(sandbox, store=store).send("A cabin", tags=["lake"], **LOW)
    record = store.get(first.result.stored[0].id)
    start = record.id if way == "id" else record
    later = talks.sandbox(sandbox, store=store, resume=start).send("Add snow", **LOW)

    assert record.response_id == first.response_id
    assert record.call_id == first.call_ids[0]
    assert record.tags == ("lake",)
    assert sandbox.requests[-1].body["previous_response_id"] == first.response_id
    assert later.result.stored[0].parent == record.id


def test_turns_of_one_conversation_are_parent_and_child(talks: Talks, tmp_path: Path) -> None:
    """The store shows what was made from what."""
    talk = talks.sandbox(Sandbox(), store=Store(tmp_path))
    first, second = talk.send("A cabin", **LOW), talk.send("Add snow", **LOW)

    assert second.result.stored[0].parent == first.result.stored[0].id


@pytest.mark.parametrize("streamed", [False, True])
def test_a_forgotten_response_is_replaced_by_the_picture(
    talks: Talks, tmp_path: Path, streamed: bool
) -> None:
    """A service that never heard of the response gets the image itself, and you are told."""
    store = Store(tmp_path)
    first = talks.sandbox(Sandbox(), store=store).send("A cabin", **LOW)
    elsewhere = Sandbox()
    talk = talks.sandbox(elsewhere, store=store, resume=first.result.stored[0].id)
    turn = talk.stream("Snow", **LOW)[-1].turn if streamed else talk.send("Snow", **LOW)

    refused, taken = [request.body for request in elsewhere.requests]
    assert refused["previous_response_id"] == first.response_id
    assert "previous_response_id" not in taken
    assert taken["input"][0]["content"][1]["type"] == "input_image"
    assert turn.text == "Here is the changed image."
    assert [note for note in turn.warnings if str(first.response_id) in note] != []
    assert turn.result.stored[0].parent == first.result.stored[0].id


def test_a_forgotten_response_without_its_picture_is_an_error(talks: Talks) -> None:
    """A bare id names no image to send instead; the error says what helps."""
    sandbox = Sandbox()

    with pytest.raises(BadRequestError, match="resume from the stored image") as caught:
        talks.sandbox(sandbox, resume="resp_unknown").send("Add snow", **LOW)

    assert caught.value.code == "previous_response_not_found"
    assert len(sandbox.requests) == 1


def test_a_picture_without_a_conversation_starts_one(talks: Talks, tmp_path: Path) -> None:
    """An image the Images API made is sent, as there is no response to continue."""
    sandbox, store = Sandbox(), Store(tmp_path)
    with gptimage.ImageClient.sandbox(sandbox, store=store) as client:
        made = client.generate("A cabin", quality="low", size="1024x1024")
    turn = talks.sandbox(sandbox, store=store, resume=made.stored[0]).send("Add snow", **LOW)

    body = sandbox.requests[-1].body
    assert "previous_response_id" not in body
    assert body["input"][0]["content"][1]["type"] == "input_image"
    assert turn.text == "Here is the changed image."


def test_stored_pictures_are_inputs(talks: Talks, tmp_path: Path) -> None:
    """By id or by record, as in every other call."""
    sandbox, store = Sandbox(), Store(tmp_path)
    first = talks.sandbox(sandbox, store=store).send("A hat", **LOW)
    record = first.result.stored[0]
    later = talks.sandbox(sandbox, store=store).send("Wear both", [record, record.id], **LOW)

    assert [image.sha256 for image in later.result.request.inputs] == [record.sha256] * 2


def test_a_stateless_conversation_leaves_nothing_behind(talks: Talks) -> None:
    """Each turn carries the last image, and the service is told to keep nothing."""
    sandbox = Sandbox()
    talk = talks.sandbox(sandbox, stateless=True)
    talk.send("A cabin", **LOW)
    talk.send("Add snow", images=[picture()], **LOW)

    first, second = [request.body for request in sandbox.requests]
    assert (first["store"], second["store"]) == (False, False)
    assert "previous_response_id" not in second
    types = [part["type"] for part in second["input"][0]["content"]]
    assert types == ["input_text", "input_image", "input_image"]


def test_a_refused_picture_is_a_moderation_error(talks: Talks) -> None:
    """The failed call says at which stage and why; the conversation stays where it was."""
    talk = talks.sandbox(Sandbox())
    first = talk.send("A cabin", **LOW)

    with pytest.raises(ModerationError) as caught:
        talk.send("Something else [sandbox:moderation_output]", **LOW)

    assert caught.value.stage == "output"
    assert caught.value.categories == ("sexual",)
    assert talk.chat.turns == (first,)
    assert talk.chat.response_id == first.response_id


def test_what_cannot_be_resumed_is_refused(talks: Talks, tmp_path: Path) -> None:
    """Before anything is sent, with the reason."""
    sandbox = Sandbox()

    with pytest.raises(ConfigurationError, match="no store"):
        talks.sandbox(sandbox, resume="img_20261120T120000000000_" + "0" * 32)
    with pytest.raises(InvalidRequestError, match="stateless"):
        talks.sandbox(sandbox, resume="resp_1", stateless=True)
    with pytest.raises(InvalidRequestError, match="resume"):
        talks.sandbox(sandbox, resume=7)
    unknown = talks.sandbox(
        sandbox, store=Store(tmp_path), resume="img_20261120T120000000000_" + "0" * 32
    )
    with pytest.raises(ImageNotFoundError):
        unknown.send("Add snow")
    assert sandbox.requests == []


def test_both_kinds_have_the_same_signatures() -> None:
    """Whoever knows one knows the other."""
    for name in ("__init__", "send", "stream", "branch", "turns", "response_id", "chat_model"):
        twins = [getattr(kind, name) for kind in (Conversation, AsyncConversation)]
        if callable(twins[0]):
            names = [list(inspect.signature(each).parameters) for each in twins]
            assert names[0] == names[1], name
    plain, awaited = [
        list(inspect.signature(kind.conversation).parameters)
        for kind in (gptimage.ImageClient, gptimage.AsyncImageClient)
    ]
    assert plain == awaited


@pytest.mark.parametrize("stateless", [False, True])
def test_a_conversation_goes_on_after_a_gif(stateless: bool) -> None:  # a column
    """The service takes no gif as input, so a still of it is sent, which is told."""
    model = "gpt-image-2.6-flare"
    with gptimage.ImageClient.sandbox() as client:
        talk = client.conversation(image_model=model, stateless=stateless)
        talk.send("A fox", format="gif", size="512x512")
        turn = talk.send("At night", **LOW)

    assert turn.image.format == "png"
    assert turn.result.warnings[0] == (
        "input image 1 is a gif, which the service does not take: the first frame of it was sent "
        "as png"
    )


def test_a_conversation_goes_on_after_an_svg() -> None:
    """From the service's memory; without one, from a still of it, with a warning."""
    model = "gpt-image-2.6-flare"
    with gptimage.ImageClient.sandbox() as client:
        talk = client.conversation(image_model=model)
        talk.send("A fox", format="svg", size="1024x1024")
        turn = talk.send("At night", **LOW)
        alone = client.conversation(image_model=model, stateless=True)
        alone.send("A fox", format="svg", size="1024x1024")
        other = alone.send("At night", **LOW)

    assert (turn.image.format, other.image.format) == ("png", "png")
    assert other.warnings[0] == (
        "input image 1 is an svg, which the service does not take: it was sent as png"
    )


def test_the_same_size_is_that_of_the_image_it_goes_on_from() -> None:
    """Of the one given, then of the last one; unknown where only the service has the image."""
    with gptimage.ImageClient.sandbox() as client:
        talk = client.conversation()
        first = talk.send("A hat", picture(1200, 630), size="same", quality="low")
        second = talk.send("At night", size="same", quality="low")
        alone = client.conversation(resume=second.response_id)
        with pytest.raises(InvalidRequestError, match="it is not at hand") as caught:
            alone.send("At noon", size="same")

    assert first.image.size == second.image.size == (1200, 630)
    assert caught.value.field == "size"


def test_a_mask_on_an_svg_of_another_size_is_refused() -> None:
    """It would be painted in another place of the still that is sent."""
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"/>'
    mask = gptimage.Mask.from_box((8, 8, 16, 16))
    with gptimage.ImageClient.sandbox() as client:
        for call in (client.edit, client.conversation().send):
            with pytest.raises(InvalidRequestError, match=r"mask.*svg saved as png"):
                call("A hat", svg, mask=mask)
        assert client.edit("A hat", svg, size="same", quality="low").image.size == (64, 64)


def test_an_svg_that_cannot_be_drawn_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without resvg the extra is named before anything is sent."""
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with gptimage.ImageClient.sandbox() as client:
        alone = client.conversation(image_model="gpt-image-2.6-flare", stateless=True)
        alone.send("A fox", format="svg", size="1024x1024")
        with pytest.raises(gptimage.InvalidRequestError, match=r"gptimage\[svg\]"):
            alone.send("At night", **LOW)


@pytest.mark.parametrize("resume", ["", " ", 3, "resp_\ud83d", "resp_1\n"])
def test_a_resume_that_is_no_id_is_refused(resume: Any) -> None:
    """An empty variable of a script must not begin a new conversation, and pay for it."""
    with ImageClient.sandbox() as client, pytest.raises(InvalidRequestError) as caught:
        client.conversation(resume=resume)
    assert caught.value.field == "resume"
