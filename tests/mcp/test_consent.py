"""Before a call that may cost more than they said, the person is asked, if the client can ask."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitResult

import gptimage
from tests.mcp.harness import PROTOCOLS, ServerFixture, picture, result_json, server_fixture, text


DEAR = {"prompt": "A fox", "size": "1024x1024", "quality": "high", "n": 2}
CHEAP = {"prompt": "A fox", "size": "1024x1024", "quality": "low"}
UNPRICED = "gpt-image-2.6-flare"
YES = ElicitResult(action="accept", content={"draw": True})


class Person:
    """Answers questions, and remembers them."""

    def __init__(self, action: str = "accept", content: dict[str, Any] | None = None) -> None:
        self.asked: list[str] = []
        self._answer = ElicitResult(action=action, content=content)  # type: ignore[arg-type]  # a word of the protocol

    async def __call__(self, context: Any, params: Any) -> ElicitResult:
        """The answer."""
        assert context is not None
        self.asked.append(params.message)
        return self._answer


def ask(where: ServerFixture, protocol: str, person: Person | None, tool: str, **wish: Any) -> Any:
    """Call a tool as a client that can ask this person, or nobody."""
    options = {} if person is None else {"elicitation_callback": person}
    return where.ask(lambda client: client.call_tool(tool, wish), protocol, **options)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_dear_call_is_drawn_once_the_person_agrees(tmp_path: Path, protocol: str) -> None:
    """The question says how many pictures, the most they cost, and the words."""
    where, person = (
        server_fixture(tmp_path, confirm_above=Decimal("0.05")),
        Person(content={"draw": True}),
    )
    answer = ask(where, protocol, person, "generate_image", **DEAR)

    assert result_json(answer)["status"] == "done"
    (question,) = person.asked
    max_cost = gptimage.ImageClient.sandbox().max_cost(**DEAR)  # type: ignore[arg-type]  # a plain dict
    assert question == f"Draw 2 images (generate)? It may cost up to ${max_cost:.4f}.\n\nA fox"
    assert len(where.sandbox.requests) == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "person",
    [
        Person("decline"),
        Person("cancel"),
        Person(content={"draw": False}),
    ],
    ids=["declines", "cancels", "unticks"],
)
def test_a_call_the_person_does_not_want_is_not_made(
    tmp_path: Path, protocol: str, person: Person
) -> None:
    """No is no: nothing is sent, and the answer says what could be asked for instead."""
    where = server_fixture(tmp_path, confirm_above=Decimal("0.05"))
    answer = ask(where, protocol, person, "generate_image", **DEAR)

    assert answer.is_error
    assert "did not agree" in text(answer)
    assert "estimate_cost" in text(answer)
    assert where.sandbox.requests == []
    assert where.app.jobs.running == ()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_client_that_cannot_ask_goes_on_within_the_limits(tmp_path: Path, protocol: str) -> None:
    """Where nobody can be asked the call is made, as the instructions say."""
    where = server_fixture(tmp_path, confirm_above=Decimal("0.05"))

    assert result_json(ask(where, protocol, None, "generate_image", **DEAR))["status"] == "done"
    assert "if it cannot" in (where.server.instructions or "")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_cheap_call_asks_nobody(tmp_path: Path, protocol: str) -> None:
    """Below the threshold there is no question."""
    where, person = server_fixture(tmp_path, confirm_above=Decimal("0.05")), Person()

    assert result_json(ask(where, protocol, person, "generate_image", **CHEAP))["status"] == "done"
    assert person.asked == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_without_a_threshold_nobody_is_asked(tmp_path: Path, protocol: str) -> None:
    """Asking is switched on by the setting alone."""
    where, person = server_fixture(tmp_path), Person()

    assert result_json(ask(where, protocol, person, "generate_image", **DEAR))["status"] == "done"
    assert person.asked == []


@pytest.mark.parametrize(
    ("unknown", "asks"), [(None, True), (Decimal("0.04"), False), (Decimal("0.06"), True)]
)
def test_a_cost_that_cannot_be_foreseen_counts_as_was_said(
    tmp_path: Path, unknown: Decimal | None, asks: bool
) -> None:
    """Without published figures the cost counts as the setting says, or is asked about."""
    where = server_fixture(tmp_path, confirm_above=Decimal("0.05"), unknown_cost=unknown)
    person = Person(content={"draw": True})
    answer = ask(where, "auto", person, "generate_image", prompt="A fox", model=UNPRICED)

    assert result_json(answer)["status"] == "done"
    assert bool(person.asked) is asks
    if unknown is None:
        assert "cannot be foreseen" in person.asked[0]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("tool", ["edit_image", "create_variations", "refine_image"])
def test_every_tool_that_draws_asks(tmp_path: Path, protocol: str, tool: str) -> None:
    """Edits, variations and turns cost money, too."""
    where = server_fixture(tmp_path, confirm_above=Decimal("0.001"))
    where.put("fox.png", picture())
    person = Person("decline")
    image = {"images": ["fox.png"]} if tool == "edit_image" else {"image": "fox.png"}
    answer = ask(where, protocol, person, tool, **{**CHEAP, **image})

    assert answer.is_error
    assert len(person.asked) == 1
    assert "up to $0.0" in person.asked[0]
    assert where.sandbox.requests == []


def test_a_call_that_breaks_a_rule_is_refused_before_anybody_is_asked(tmp_path: Path) -> None:
    """Nobody is bothered with a call that cannot be made."""
    where, person = server_fixture(tmp_path, confirm_above=Decimal("0.001")), Person()
    wish = {**DEAR, "background": "transparent", "format": "jpeg"}
    answer = ask(where, "auto", person, "generate_image", **wish)

    assert answer.is_error
    assert person.asked == []
    assert where.sandbox.requests == []


def test_an_answer_to_another_question_does_not_count(tmp_path: Path) -> None:
    """Agreeing to a cheap call is not agreeing to a dear one: that is asked anew."""
    where = server_fixture(tmp_path, confirm_above=Decimal("0.001"))

    async def question(client: Client) -> None:
        first: Any = await client.session.call_tool(
            "generate_image", CHEAP, allow_input_required=True
        )
        with pytest.raises(MCPError):
            await client.session.call_tool(
                "generate_image",
                DEAR,
                input_responses=dict.fromkeys(first.input_requests, YES),
                request_state=first.request_state,
                allow_input_required=True,
            )

    where.ask(question, elicitation_callback=Person())

    assert where.sandbox.requests == []


def test_an_answer_nobody_asked_for_does_not_count(tmp_path: Path) -> None:
    """A client cannot agree in advance: without the question's seal it is asked again."""
    where = server_fixture(tmp_path, confirm_above=Decimal("0.001"))

    async def question(client: Client) -> tuple[Any, Any]:
        first: Any = await client.session.call_tool(
            "generate_image", CHEAP, allow_input_required=True
        )
        again = await client.session.call_tool(
            "generate_image",
            CHEAP,
            input_responses=dict.fromkeys(first.input_requests, YES),
            allow_input_required=True,
        )
        return first, again

    first, again = where.ask(question, elicitation_callback=Person())

    assert again.input_requests == first.input_requests
    assert where.sandbox.requests == []
