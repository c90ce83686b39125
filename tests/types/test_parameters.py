"""The table of parameters: what is built from it agrees with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from attrs import fields

from gptimage import Edit, EditOptions, Generate, InvalidRequestError, Options
from gptimage.conversation.turns import TurnOptions
from gptimage.types import request as values
from gptimage.types.parameters import PARAMETERS, Parameter, option_names
from gptimage.types.request import generate_request


CHOICES = [row for row in PARAMETERS.values() if row.choices]
OF_EDITS = [row for row in PARAMETERS.values() if row.operations == ("edit",)]


def hints(kind: type) -> dict[str, Any]:
    """The types of a TypedDict's keys."""
    names = {**vars(values), "PilImage": object}
    return get_type_hints(kind, globalns=names)


def literals(hint: Any) -> tuple[str, ...]:
    """The values a type allows, if it lists any."""
    return next((get_args(each) for each in get_args(hint) if get_origin(each) is Literal), ())


def test_options_are_the_rows() -> None:
    """A checker accepts the same names as the table."""
    assert set(option_names("generate")) == set(Options.__annotations__)
    assert set(option_names("edit")) == set(EditOptions.__annotations__)


def test_turns_take_no_parameter_of_another_name() -> None:
    """A conversation calls a parameter what a call calls it."""
    assert set(TurnOptions.__annotations__) - set(PARAMETERS) == {"max_images"}


@pytest.mark.parametrize("row", CHOICES, ids=lambda row: row.name)
def test_choices_are_those_of_the_types(row: Parameter) -> None:
    """A checker accepts the same values as the table."""
    assert row.choices == literals(hints(EditOptions)[row.name])


def test_requests_hold_every_parameter() -> None:
    """Each row is a field of the value that is sent."""
    own = {"stream", "template"}

    assert {each.name for each in fields(Edit)} == {*PARAMETERS} | own
    assert {each.name for each in fields(Generate)} == own | {
        row.name for row in PARAMETERS.values() if row.operations != ("edit",)
    }


@pytest.mark.parametrize("row", OF_EDITS, ids=lambda row: row.name)
def test_what_belongs_to_edit_is_refused_elsewhere(row: Parameter) -> None:
    """A parameter of one operation is refused by name in the other."""
    with pytest.raises(InvalidRequestError, match=r"belongs? to edit") as caught:
        generate_request("A fox", {row.name: "low"}, default_model="m")

    assert row.name == caught.value.field


@pytest.mark.parametrize("row", PARAMETERS.values(), ids=lambda row: row.name)
def test_help_is_one_line(row: Parameter) -> None:
    """Help fits where a command and a table show it, and says something of its own."""
    assert row.help[0].isupper()
    assert "\n" not in row.help
    assert not row.help.endswith(".")
    assert 10 < len(row.help) < 200
    assert row.help.encode("ascii")


@pytest.mark.parametrize(
    ("name", "said"),
    [("compression", "0 to 100"), ("quality", "low, medium, high, xhigh, max, auto"), ("size", "")],
)
def test_limits_in_words(name: str, said: str) -> None:
    """Messages and tables say limits and choices alike."""
    assert said == PARAMETERS[name].allowed


def test_the_page_is_fresh() -> None:
    """The table of the docs is the table of the code."""
    program = Path(__file__).parents[2] / "docs" / "generate_parameters.py"
    done = subprocess.run([sys.executable, program, "--check"], check=False)

    assert done.returncode == 0, "run docs/generate_parameters.py"
