"""How a failure is told to others, as text that anybody could have written."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage.cache.outcomes import COMPLETED, RETRY, Failure, failure_from, failure_of
from gptimage.errors import (
    ApiError,
    BudgetExceededError,
    ConfigurationError,
    GptImageError,
    InvalidRequestError,
    MalformedReplyError,
    ModerationError,
    NotFoundError,
    OrganizationNotVerifiedError,
    OutcomeUnknownError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    TransportError,
)


MODERATION = {"moderation_details": {"moderation_stage": "input", "categories": ["a", "b"]}}
ERRORS = [
    TransportError("refused", retryable=False),
    OutcomeUnknownError("no answer", possible_cost=Decimal("0.123"), request_id="req_1"),
    ModerationError("refused", status=400, code="moderation_blocked", body=MODERATION),
    OrganizationNotVerifiedError("verify", status=403),
    NotFoundError("no such model", status=404, param="model"),
    QuotaExceededError("no credit", status=429, type="insufficient_quota"),
    RateLimitError("too fast", status=429, retry_after=12.5),
    ServerError("broken – sorry", status=500),
    ConfigurationError("no key"),
    InvalidRequestError("bad size", field="size", value="1x1", allowed=("auto", "square")),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_comes_out_as_it_went_in(error: GptImageError) -> None:
    """Class, sentence and every attribute survive."""
    failure = failure_of(error, sent=True)
    found = failure_from(failure.text())

    assert found is not None
    assert found.then == failure.then
    assert type(found.error) is type(error)
    assert str(found.error) == str(error)
    assert vars(found.error) == vars(error)


def test_a_moderation_error_still_tells_its_stage() -> None:
    """What is derived from the attributes is there as well."""
    found = failure_from(failure_of(ERRORS[2], sent=True).text())

    assert found is not None
    assert isinstance(found.error, ModerationError)
    assert (found.error.stage, found.error.categories) == ("input", ("a", "b"))


def test_pictures_stay_with_the_one_who_asked() -> None:
    """The raw reply is the leader's; the others get the same error without it."""
    error = MalformedReplyError("not a picture", reply=b"\xff" * 5_000_000, status=200)
    text = failure_of(error, sent=True).text()
    found = failure_from(text)

    assert len(text) < 1000
    assert found is not None
    assert isinstance(found.error, MalformedReplyError)
    assert (found.error.reply, found.error.partials, found.error.status) == (b"", (), 200)


def test_a_very_long_answer_is_left_out() -> None:
    """A page of HTML does not travel; the sentence does."""
    error = ApiError("x" * 100_000, status=502, body={"page": "y" * 1_000_000})
    text = failure_of(error, sent=True).text()
    found = failure_from(text)

    assert len(text) < 40_000
    assert found is not None
    assert isinstance(found.error, ApiError)
    assert (found.error.status, found.error.body) == (502, None)


@pytest.mark.parametrize(
    ("error", "sent", "then"),
    [
        (TransportError("x"), True, "retry_once"),
        (RateLimitError("x", status=429), True, "retry_once"),
        (QuotaExceededError("x", status=429), True, "raise"),
        (OutcomeUnknownError("x"), True, "raise"),
        (ServerError("x", status=503), True, "raise"),
        (ConfigurationError("x"), True, "retry"),
        (
            BudgetExceededError("x", estimate=None, limit=Decimal(1), spent=Decimal(1)),
            True,
            "retry",
        ),
        (KeyboardInterrupt(), False, "retry"),
        (KeyboardInterrupt(), True, "raise"),
        (ZeroDivisionError(), True, "raise"),
    ],
)
def test_only_what_was_never_billed_is_asked_again(
    error: BaseException, sent: bool, then: str
) -> None:
    """What others do depends on whether asking again could pay twice."""
    assert failure_of(error, sent=sent).then == then


def test_copies_share_no_notes() -> None:
    """A note one waiter adds is nobody else's."""
    error = OutcomeUnknownError("no answer")
    error.add_note("from the leader")
    with pytest.raises(OutcomeUnknownError) as raised:
        Failure("raise", error).retries_left(1)
    raised.value.add_note("from a waiter")

    assert error.__notes__ == ["from the leader"]
    assert raised.value.__notes__ == ["from a waiter"]


@pytest.mark.parametrize("name", ["SystemExit", "Exception", "annotations", "__doc__", "_rebuild"])
def test_only_errors_of_this_library_are_built(name: str) -> None:
    """Text in a shared Redis cannot make a waiter build anything else."""
    text = json.dumps({"then": "raise", "kind": name, "message": "x", "data": {}})

    assert failure_from(text) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    JSON.map(json.dumps)
    | st.text()
    | st.fixed_dictionaries(
        {
            "then": st.sampled_from(["retry", "retry_once", "raise"]) | JSON,
            "kind": st.sampled_from(["ApiError", "StoreError", "ImageNotFoundError"]) | JSON,
            "message": JSON,
            "data": st.dictionaries(
                st.text() | st.sampled_from(["status", "args", "__class__", "body"]),
                JSON | st.fixed_dictionaries({"decimal": JSON | st.just("NaN")}),
            ),
        }
    ).map(json.dumps)
)
def test_no_text_makes_reading_fail(text: str) -> None:
    """Whatever is read is a failure that makes sense, or nothing."""
    found = failure_from(text)

    if found is not None and found.error is not None:
        assert isinstance(found.error, GptImageError)
        assert isinstance(str(found.error), str)
        assert isinstance(repr(found.error), str)


def test_outcomes_without_error() -> None:
    """Landing is no failure, and giving up carries no error."""
    assert failure_from(COMPLETED) is None
    assert failure_from(RETRY.text()) == RETRY
    assert RETRY.retries_left(0) == 0
