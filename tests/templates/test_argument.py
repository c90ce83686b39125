"""What one argument accepts: its type, text for any type, and helpful refusals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage.errors import TemplateError
from gptimage.templates import TemplateArgument


CHOICE = TemplateArgument(name="layout", type="choice", choices=("left-aligned", "split"))
BOOLEAN = TemplateArgument(name="framed", type="boolean")
INTEGER = TemplateArgument(name="count", type="integer")
STRING = TemplateArgument(name="style", suggestions=("oil painting",), max_length=20)
BUTTON = TemplateArgument(name="button", if_true="Learn more")


@pytest.mark.parametrize(
    ("argument", "value", "expected"),
    [
        (BOOLEAN, True, True),
        (BOOLEAN, "true", True),
        (BOOLEAN, " Yes ", True),
        (BOOLEAN, 1, True),
        (BOOLEAN, "off", False),
        (BOOLEAN, 0, False),
        (BOOLEAN, "", None),
        (BOOLEAN, None, None),
        (INTEGER, 3, 3),
        (INTEGER, "3", 3),
        (INTEGER, 3.0, 3),
        (INTEGER, "-3", -3),
        (CHOICE, "split", "split"),
        (CHOICE, "Left Aligned", "left-aligned"),
        (CHOICE, "left_aligned", "left-aligned"),
        (STRING, "  a  fox ", "a  fox"),
        (STRING, "Oil-Painting", "oil painting"),
        (STRING, 2026, "2026"),
        (STRING, "one\r\ntwo", "one\ntwo"),
        (STRING, "   ", None),
        (BUTTON, True, "Learn more"),
        (BUTTON, "true", "Learn more"),
        (BUTTON, "False", None),
        (BUTTON, "Buy", "Buy"),
    ],
)
def test_accepted(argument: TemplateArgument, value: object, expected: object) -> None:
    """Values come in their own type or as text, and white space alone is nothing."""
    found = argument.read(value)

    assert (type(expected), expected) == (type(found), found)


@pytest.mark.parametrize(
    ("argument", "value", "problem"),
    [
        (BOOLEAN, "maybe", "framed: 'maybe' is neither true nor false"),
        (BOOLEAN, 2, "framed: 2 is neither true nor false"),
        (BOOLEAN, [True], "framed: a list is neither true nor false"),
        (INTEGER, "three", "count: 'three' is not a whole number"),
        (INTEGER, 2.5, "count: 2.5 is not a whole number"),
        (INTEGER, True, "count: True is not a whole number"),
        pytest.param(INTEGER, 10**5000, "count: the number is too large", id="huge count"),
        (INTEGER, "9" * 5000, "is not a whole number"),
        (CHOICE, "spilt", "layout: 'spilt' is not allowed (did you mean 'split'?); use one of"),
        (STRING, True, "style: it takes text, not True"),
        (STRING, ["a"], "style: it takes text, not a list"),
        (STRING, b"a", "style: it takes text, not a bytes"),
        (STRING, "x" * 21, "style: it has 21 characters and at most 20 are allowed"),
        pytest.param(STRING, 10**5000, "style: the number is too large", id="huge style"),
    ],
)
def test_refused(argument: TemplateArgument, value: object, problem: str) -> None:
    """A wrong value is refused with what would be right."""
    with pytest.raises(TemplateError) as caught:
        argument.read(value)

    assert problem in str(caught.value)
    assert caught.value.argument == argument.name
    assert caught.value.allowed


@given(
    st.one_of(st.none(), st.text(), st.integers(), st.floats(), st.binary(), st.lists(st.text())),
    st.sampled_from([BOOLEAN, INTEGER, CHOICE, STRING, BUTTON]),
)
def test_anything_is_accepted_or_refused(value: object, argument: TemplateArgument) -> None:
    """No value ends in anything but a checked value or a TemplateError."""
    try:
        found = argument.read(value)
    except TemplateError:
        return
    assert found is None or argument.read(found) == found


@pytest.mark.parametrize(
    ("argument", "schema"),
    [
        (BOOLEAN, {"type": "boolean"}),
        (INTEGER, {"type": "integer"}),
        (CHOICE, {"type": "string", "enum": ["left-aligned", "split"]}),
        (STRING, {"type": "string", "maxLength": 20, "examples": ["oil painting"]}),
        (BUTTON, {"type": ["string", "boolean"]}),
    ],
)
def test_schema(argument: TemplateArgument, schema: dict[str, object]) -> None:
    """Each type has the JSON Schema of what it accepts."""
    assert schema == argument.schema()
