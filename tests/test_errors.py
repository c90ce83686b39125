"""Every error helps, and arrives whole wherever it is sent."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage import Image, PartialImage, errors
from gptimage.errors import (
    ApiError,
    BudgetExceededError,
    FetchError,
    GptImageError,
    ImageNotFoundError,
    InvalidRequestError,
    MalformedReplyError,
    ModelRetiredError,
    ModerationError,
    OutcomeUnknownError,
    StoreError,
    TemplateError,
    TransportError,
    error_to_dict,
    truncated_repr,
)
from tests.factories import answer, finished, picture


def family(kind: type[GptImageError] = GptImageError) -> Iterator[type[GptImageError]]:
    """An error class and all below it."""
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from family(child)


CLASSES = sorted(set(family()), key=lambda kind: kind.__name__)
PARTIAL = PartialImage(image=Image.from_bytes(picture()), index=0)


def sample(kind: type[GptImageError]) -> GptImageError:
    """An error of this class with every attribute filled."""
    if issubclass(kind, ApiError):
        return kind(
            "no",
            status=400,
            code="c",
            type="t",
            param="p",
            request_id="req_1",
            retry_after=1.5,
            body={"moderation_details": {"moderation_stage": "input", "categories": ["x"]}},
            partials=[PARTIAL],
        )
    samples: dict[type[GptImageError], GptImageError] = {
        InvalidRequestError: InvalidRequestError("no", field="n", value=0, allowed=("1",)),
        ModelRetiredError: ModelRetiredError(
            "no", model="old", shutdown_date=date(2026, 1, 1), replacements=["new"]
        ),
        FetchError: FetchError("no", url="https://example.com"),
        TemplateError: TemplateError("no", template="t", argument="a", file="f", allowed=("1",)),
        BudgetExceededError: BudgetExceededError(
            "no", estimate=None, limit=Decimal(1), spent=Decimal(0)
        ),
        TransportError: TransportError("no", retryable=False),
        OutcomeUnknownError: OutcomeUnknownError(
            "no", possible_cost=Decimal("0.1"), partials=[PARTIAL], request_id="req_1"
        ),
        MalformedReplyError: MalformedReplyError("no", reply=b"<html>", status=200),
        StoreError: StoreError("no", result=finished(answer(picture())), recovery_copies=["a.png"]),
        ImageNotFoundError: ImageNotFoundError("no"),
    }
    return samples[kind] if kind in samples else kind("no")


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_can_be_pickled(kind: type[GptImageError]) -> None:
    """Process pools and task queues hand errors over whole."""
    error = sample(kind)

    twin = pickle.loads(pickle.dumps(error))

    assert (type(error), str(error), error.args) == (type(twin), str(twin), twin.args)
    assert vars(error) == vars(twin)


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_can_be_copied(kind: type[GptImageError]) -> None:
    """A copy says the same."""
    error = sample(kind)

    assert (str(error), vars(error)) == (str(copy.copy(error)), vars(copy.copy(error)))


def test_the_docstring_draws_every_error() -> None:
    """The tree a reader sees is the tree there is, with the right parents."""
    drawn: dict[str, str | None] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"^([│ ├└─]*)(\w+Error)\b", line):
            depth = len(match[1]) // 4
            above[depth:] = [match[2]]
            drawn[match[2]] = above[depth - 1] if depth else None
    true = {kind.__name__: None if kind is GptImageError else kind.__bases__[0] for kind in CLASSES}

    assert {name: base.__name__ if base else None for name, base in true.items()} == drawn


def test_builtin_families() -> None:
    """Errors are caught by the builtin class a caller would expect."""
    assert isinstance(sample(InvalidRequestError), ValueError)
    assert isinstance(sample(TransportError), ConnectionError)
    assert isinstance(sample(ImageNotFoundError), KeyError)
    assert isinstance(sample(TemplateError), ValueError)


def test_not_found_shows_the_sentence() -> None:
    """KeyError would show a quoted repr."""
    assert str(ImageNotFoundError("no such picture")) == "no such picture"


def test_moderation_details() -> None:
    """Stage and categories come from the error body."""
    error = sample(ModerationError)

    assert isinstance(error, ModerationError)
    assert (error.stage, error.categories) == ("input", ("x",))


@pytest.mark.parametrize(
    "body",
    [None, "text", [], {}, {"moderation_details": None}, {"moderation_details": {"categories": 1}}],
)
def test_moderation_details_may_be_anything(body: object) -> None:
    """A body of another shape names no stage and no categories."""
    error = ModerationError("no", status=400, body=body)

    assert (error.stage, error.categories) == (None, ())


class Unprintable:
    """Something whose repr fails."""

    def __repr__(self) -> str:
        """Fail."""
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("short", "short"),
        ("x" * 500, "x" * 199 + "…"),
        (b"x" * 500, "<500 bytes>"),
        ((1, "a", None), (1, "a", None)),
        (1.5, 1.5),
        (Unprintable(), "<Unprintable>"),
        (10**5000, "<int>"),
        ((10**5000, 1), "<tuple>"),
        ({"a": {1}}, "{'a': {1}}"),
    ],
    ids=lambda value: truncated_repr(value, 20),
)
def test_the_value_at_fault_is_kept_short_and_plain(value: object, kept: object) -> None:
    """Whatever was passed, the error can be printed, logged and pickled."""
    error = InvalidRequestError("no", field="x", value=value)

    assert kept == error.value
    assert kept == pickle.loads(pickle.dumps(error)).value


def test_a_function_as_value_can_be_pickled() -> None:
    """Only its name is kept."""
    error = InvalidRequestError("no", field="x", value=lambda: 0)

    assert "lambda" in pickle.loads(pickle.dumps(error)).value


@given(st.one_of(st.text(), st.binary(), st.integers(), st.lists(st.text()), st.floats()))
def test_shown_never_fails_and_is_short(value: object) -> None:
    """A message may hold any value in one short piece."""
    assert len(truncated_repr(value)) <= 80


def test_what_a_call_may_have_cost_is_in_its_json() -> None:
    """An amount is text that no program rounds; without one there is no such field."""
    cut = error_to_dict(OutcomeUnknownError("cut", possible_cost=Decimal("0.0000135")))

    assert cut["possible_cost_usd"] == "0.0000135"
    assert "possible_cost_usd" not in error_to_dict(OutcomeUnknownError("cut"))
