"""What a person at a prompt sees of the clients."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from gptimage import AsyncImageClient, EditOptions, ImageClient, InvalidRequestError, Options
from gptimage.checks import Pixels
from gptimage.conversation import Conversation
from gptimage.engine.config import Settings
from gptimage.sandbox import Sandbox


CALLS = {
    "generate": Options,
    "edit": EditOptions,
    "variations": EditOptions,
    "stream": EditOptions,
    "estimate": EditOptions,
    "max_cost": EditOptions,
}
CLIENTS = [ImageClient, AsyncImageClient]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(("method", "options"), CALLS.items())
def test_a_call_shows_its_options(client: Any, method: str, options: Any) -> None:
    """Each option is a keyword of the signature that ``help()`` prints, with its type."""
    found = inspect.signature(getattr(client, method)).parameters

    assert set(options.__annotations__) <= set(found)
    assert not [each for each in found.values() if each.kind is each.VAR_KEYWORD]
    assert found["quality"].annotation == "Quality | None"


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_shows_its_settings(client: Any) -> None:
    """So is each setting of a client, with a key or offline."""
    for made in (client, client.sandbox):
        assert {*Settings.__annotations__, "store"} <= set(inspect.signature(made).parameters)


@pytest.mark.parametrize("client", CLIENTS)
def test_each_default_is_of_its_type(client: Any) -> None:
    """What ``help()`` shows as the default can be given: None stands only where it is allowed."""
    shown = [
        each
        for function in (client, client.sandbox, *(getattr(client, name) for name in CALLS))
        for each in inspect.signature(function).parameters.values()
    ]

    assert [each for each in shown if each.default is None and "None" not in each.annotation] == []
    assert inspect.signature(client.generate).parameters["refresh"].default is False
    assert inspect.signature(client.generate).parameters["tags"].default == ()


def test_defaults_of_what_may_be_an_edit_can_be_given() -> None:
    """None is also what a call without images takes for ``mask`` and what else edits have."""
    none: Any = dict.fromkeys(EditOptions.__annotations__)
    with ImageClient.sandbox(Sandbox(draw="plain")) as client:
        drawn: Any = client.until("A fox", checks=[Pixels("1024x1024")], **none)
        completed: Any = [*client.stream("A fox", **none)][-1]

        assert client.max_cost("A fox", **none) == client.max_cost("A fox")
        assert drawn.result.request.prompt == completed.result.request.prompt == "A fox"
        with pytest.raises(InvalidRequestError, match="mask is not a parameter here"):
            client.generate("A fox", **none)


def test_docstrings_say_what_each_is() -> None:
    """The docstring has a line for each option and setting."""
    call, made = inspect.getdoc(ImageClient.edit), inspect.getdoc(ImageClient)

    assert [name for name in EditOptions.__annotations__ if f"    {name}: " not in str(call)] == []
    assert [name for name in Settings.__annotations__ if f"    {name}: " not in str(made)] == []
    assert "See `" not in f"{call}{made}"


@pytest.mark.parametrize(
    ("method", "text"),
    [
        (ImageClient.until, "lets nothing change.\n\nReturns:"),
        (ImageClient.best_of, "lets nothing change.\n\nRaises:"),
        (ImageClient.edit, "lets nothing change.\n\nRaises:"),
        (ImageClient.compare, "lets nothing change.\n\nRaises:"),
        (Conversation.stream, "sent as they are.\n\nRaises:"),
    ],
)
def test_the_list_of_options_ends_with_the_last_one(method: Any, text: str) -> None:
    """No piece of the line in whose place it stands is left below it, and none before it.

    The site's reader of docstrings takes such a line for a parameter that is not there.
    """
    doc = str(inspect.getdoc(method))

    assert text in doc
    assert "**options" not in doc


def test_both_clients_take_the_same() -> None:
    """Whoever changes to the other client changes no argument."""
    plain, awaited = (
        {
            name: [*inspect.signature(getattr(client, name)).parameters]
            for name in dir(ImageClient)
            if not name.startswith("_") and name != "close"
        }
        for client in CLIENTS
    )

    assert plain == awaited
