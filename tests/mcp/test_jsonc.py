"""Edits of JSON with comments: every other byte stays."""

from __future__ import annotations

import json
import re
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage import ConfigurationError
from gptimage_mcp.install.jsonc import parse, rewrite


SETTINGS = """\
// Zed settings
{
  "theme": "One Dark", // the dark one
  /* servers */
  "context_servers": {
    "other": {"command": "x",}, // mine
  },
  "size": 1.50e1 // points
  // the end
}
"""

WITH_A_SERVER = """\
// Zed settings
{
  "theme": "One Dark", // the dark one
  /* servers */
  "context_servers": {
    "other": {"command": "x",}, // mine
    "gptimage": {
      "command": "p"
    },
  },
  "size": 1.50e1, // points
  // the end
  "new": true
}
"""


def test_comments_commas_and_numbers_stay() -> None:
    """What is missing is inserted, in the form of its neighbours; no other byte changes."""
    wanted = parse(SETTINGS).value
    wanted["context_servers"]["gptimage"] = {"command": "p"}
    wanted["new"] = True

    assert rewrite(SETTINGS, wanted) == WITH_A_SERVER


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", '{\n  "b": 1\n}'),
        ("{ // empty\n}", '{ // empty\n  "b": 1\n}'),
        ("{ /* empty */ }", '{ /* empty */\n  "b": 1\n}'),
        ('{"a": 2}', '{"a": 2, "b": 1}'),
        ('{"a": 2 /* two */ }', '{"a": 2, /* two */ "b": 1 }'),
        ('{"a": 2,}', '{"a": 2, "b": 1,}'),
        ('{"b": 2, "c": [1]}', '{"b": 1, "c": [1]}'),
        ('{\n\t"a": 2\n}', '{\n\t"a": 2,\n\t"b": 1\n}'),
        ('{\n    "a": 2 //\u00a0\n}', '{\n    "a": 2, //\u00a0\n    "b": 1\n}'),
        ('{"a": {\n "x": 2\n}}', '{"a": {\n "x": 2\n},\n "b": 1\n}'),
    ],
)
def test_an_insertion_has_the_form_of_the_rest(text: str, expected: str) -> None:
    """Lines, indentation and trailing commas are those of the object."""
    assert rewrite(text, {**parse(text).value, "b": 1}) == expected


def test_lists_grow_and_values_are_replaced() -> None:
    """A list that only grows keeps its comments; another value takes the old one's place."""
    text = '{"inputs": [1, // one\n 2\n], "a": {"k": [1, 2]}}'

    after = rewrite(text, {"inputs": [1, 2, 3], "a": {"k": [2]}})

    assert parse(after).value == {"inputs": [1, 2, 3], "a": {"k": [2]}}
    assert "// one" in after


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[1", '{"a" 1}', '{"a": 1 "b": 2}', "{a: 1}", "{'a': 1}", '{"a": 01}'),
        *('{"a": 1, "a": 2}', '{"a": /* }', "{,}", '{"a": NaN}', '{"a": "\\x"}', "{} {}", '{"a":}'),
        *("{1: 2}", '{"a": "line\nbreak"}', "[" * 100_000),
    ],
)
def test_other_text_is_refused(text: str) -> None:
    """What clients would read differently from us, or not at all, is not edited."""
    with pytest.raises(ConfigurationError, match=r"no JSON|nested too deeply"):
        parse(text)


def test_equal_in_python_is_not_equal_in_json() -> None:
    """1, 1.0 and true are three values."""
    assert rewrite('{"a": 1, "b": true}', {"a": True, "b": 1.0}) == '{"a": true, "b": 1.0}'


# Any document, written with any spaces, comments and trailing commas.
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
DOCUMENTS = st.dictionaries(
    TEXTS,
    st.recursive(
        SCALARS | TEXTS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)
SPACES = st.sampled_from(
    ["", " ", "\n", "\n  ", "\t", "// a, ]\n", "/* } */", " // \u00a0\u2028\n "]
)


@st.composite
def written(draw: st.DrawFn, document: Any) -> str:
    """A document as text, with spaces, comments and trailing commas anywhere."""

    def write(value: Any) -> str:
        parts: list[str]
        if isinstance(value, dict):
            pairs = cast("dict[str, Any]", value).items()
            parts = [
                f"{json.dumps(key)}{draw(SPACES)}:{draw(SPACES)}{write(each)}"
                for key, each in pairs
            ]
        elif isinstance(value, list):
            parts = [write(each) for each in cast("list[Any]", value)]
        else:
            return json.dumps(value, ensure_ascii=draw(st.booleans()))
        inner = ",".join(f"{draw(SPACES)}{part}{draw(SPACES)}" for part in parts)
        last = "," if parts and draw(st.booleans()) else ""
        inner += last + draw(SPACES)
        return f"{{{inner}}}" if isinstance(value, dict) else f"[{inner}]"

    return draw(SPACES) + write(document) + draw(SPACES)


@given(st.data(), DOCUMENTS)
def test_any_text_is_understood(data: st.DataObject, document: dict[str, Any]) -> None:
    """However a document is written, it means the same."""
    text = data.draw(written(document))

    assert parse(text).value == document
    assert rewrite(text, document) == text


@given(st.data(), DOCUMENTS, DOCUMENTS)
def test_any_addition_keeps_the_text(
    data: st.DataObject, document: dict[str, Any], more: dict[str, Any]
) -> None:
    """Without what was inserted and spaces, the outcome is the text that was there."""
    text = data.draw(written(document))
    new = {key: value for key, value in more.items() if key not in document}

    after = rewrite(text, {**document, **new})

    assert parse(after).value == {**document, **new}
    rest = iter(after)
    assert all(character in rest for character in text if not character.isspace())


@given(st.data(), DOCUMENTS, DOCUMENTS)
def test_any_document_can_become_any_other(
    data: st.DataObject, document: dict[str, Any], wanted: dict[str, Any]
) -> None:
    """Whatever differs, the outcome means what is wanted."""
    after = rewrite(data.draw(written(document)), wanted)

    assert json.dumps(parse(after).value, sort_keys=True) == json.dumps(wanted, sort_keys=True)
    assert re.sub(r"\s", "", rewrite(after, wanted)) == re.sub(r"\s", "", after)
