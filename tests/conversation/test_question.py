"""Questions about images: one turn of the chat model, paid, entered and never sent twice."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gptimage import (
    BudgetExceededError,
    Image,
    ImageClient,
    InvalidRequestError,
    MalformedReplyError,
    ModerationError,
    OutcomeUnknownError,
)
from gptimage._internal.coroutines import run_blocking
from gptimage.budget.budget import Budget
from gptimage.budget.ledger import Ledger
from gptimage.conversation.question import ChatResponse, plan_question, send_question
from gptimage.conversation.turns import ClientParts
from gptimage.sandbox import Sandbox
from gptimage.transport.http import HttpReply
from tests.conversation.helpers import reply, response, words
from tests.factories import image, picture


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(draw="plain")


@pytest.fixture
def client(sandbox: Sandbox, tmp_path: Path) -> Iterator[ImageClient]:
    with ImageClient.sandbox(sandbox, ledger=Ledger(tmp_path / "ledger.sqlite")) as client:
        yield client


def ask(client: ImageClient, text: str = "A fox?", of: Image | None = None) -> ChatResponse:
    """The response to a question about an image."""
    plan = plan_question(client._config, text, [of or image()])
    parts = ClientParts(saver=client._saver, sender=client._sender, accounting=client._accounting)
    return run_blocking(send_question(parts, plan))


def test_a_question_sends_the_image_and_no_tool(client: ImageClient, sandbox: Sandbox) -> None:
    """The chat model gets the words and the image, draws nothing, and nothing is stored."""
    sandbox.answer_next("No, a cat.")

    assert ask(client).text == "No, a cat."
    (request,) = sandbox.requests
    (message,) = request.body["input"]  # type: ignore[misc]  # the body is JSON
    kinds = [part["type"] for part in message["content"]]
    assert kinds == ["input_text", "input_image"]
    assert {"tools", "previous_response_id"} & {*request.body} == set()
    assert request.body["store"] is False


def test_a_question_is_entered_with_its_cost(client: ImageClient) -> None:
    """The ledger has one row of its own kind, with what the chat model's tokens cost."""
    answer = ask(client)

    assert client.ledger is not None
    (group,) = client.ledger.summary(by="operation")
    assert group.name == "question"
    assert answer.cost is not None
    assert group.cost == answer.cost.usd == Decimal("0.0000957")


def test_a_question_waits_for_room_in_the_budget(sandbox: Sandbox) -> None:
    """What it may cost is reserved first, so a budget that is too small sends nothing."""
    client = ImageClient.sandbox(sandbox, budget=Budget("0.001", per="total"))

    with client, pytest.raises(BudgetExceededError):
        ask(client)

    assert sandbox.requests == []


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        ("timeout", OutcomeUnknownError),
        (reply({}, 504), OutcomeUnknownError),
        (reply(response()), MalformedReplyError),
        ("unavailable", OutcomeUnknownError),
    ],
    ids=["timeout", "gateway", "no words", "bare 503"],
)  # fmt: skip
def test_a_question_that_fails_is_not_sent_again(
    client: ImageClient, sandbox: Sandbox, failure: Any, kind: type[Exception]
) -> None:
    """Each failure has its own error, and none that may be billed is sent twice."""
    sandbox.fail_next(failure)

    with pytest.raises(kind):
        ask(client)
    assert len(sandbox.requests) == 1


def test_a_refusal_of_the_model_is_none_of_its_words(client: ImageClient, sandbox: Sandbox) -> None:
    """A model that refuses to look is an error, not an answer."""
    refusal = {**words(""), "content": [{"type": "refusal", "refusal": "I cannot look at that."}]}
    sandbox.fail_next(reply(response(refusal)))

    with pytest.raises(ModerationError, match="I cannot look at that"):
        ask(client)


def test_a_gif_is_shown_as_its_first_frame(client: ImageClient, sandbox: Sandbox) -> None:
    """What the service does not take is sent as a png, and nothing is larger than 2048 pixels."""
    ask(client, of=Image.from_bytes(picture(2100, 30, "gif")))

    (request,) = sandbox.requests
    (message,) = request.body["input"]  # type: ignore[misc]  # the body is JSON
    sent = Image.open(message["content"][1]["image_url"])
    assert (sent.format, sent.width) == ("png", 2048)


def test_a_provider_without_a_responses_api_is_named() -> None:
    """Nothing is sent where nobody would read it."""
    client = ImageClient.sandbox(Sandbox(provider="together"), provider="together")

    with client, pytest.raises(InvalidRequestError, match="Responses API"):
        plan_question(client._config, "A fox?", [])


def test_what_is_no_json_is_an_error(client: ImageClient, sandbox: Sandbox) -> None:
    """A web page with status 200 is said to be one."""
    sandbox.fail_next(HttpReply(status=200, body=b"<html></html>"))

    with pytest.raises(MalformedReplyError):
        ask(client)
