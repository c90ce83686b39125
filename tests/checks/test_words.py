"""Whether words are in an image: what was read is compared, whoever reads it."""

from __future__ import annotations

import sys

import pytest

from gptimage import ConfigurationError, Image, ImageClient, InvalidRequestError
from gptimage.checks import Line, Words
from gptimage.sandbox import Sandbox
from tests.factories import image


def reading(*texts: str, confidence: float = 0.9) -> list[Line]:
    """Lines as a reader returns them."""
    return [Line(text=each, confidence=confidence) for each in texts]


@pytest.mark.parametrize(
    "texts",
    [("GRAND OPENING",), ("GRAND", "OPENING"), ("GRANDOPENING",), ("GRAND", "OPEN ING", "today!")],
)
def test_words_are_found_however_they_are_split(texts: tuple[str, ...]) -> None:
    """Readers join words and part them, and lines break anywhere."""
    found = Words("Grand Opening!", read=lambda _: reading(*texts))(image())

    assert (found.passed, found.reason, found.score) == (True, 'it reads "Grand Opening!"', 1.0)


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (("GRAND OPENNING",), 'it reads "openning" instead of "opening"'),
        (("GRAND OPENINGS",), 'it reads "openings" instead of "opening"'),
        (("GRAND",), '"opening" is not there'),
        ((), '"grand" is not there; "opening" is not there'),
    ],
)
def test_what_is_misspelt_or_missing_is_named(texts: tuple[str, ...], reason: str) -> None:
    """The nearest word that was read stands beside the one that was wanted."""
    found = Words("Grand Opening", read=lambda _: reading(*texts))(image())

    assert not found.passed
    assert found.reason.endswith(reason)


def test_words_that_are_hard_to_read_fail() -> None:
    """A reader that only guesses says that people cannot read it either."""
    found = Words("OPEN", read=lambda _: reading("open", confidence=0.3))(image())

    assert (found.passed, found.reason) == (False, '"open" is hard to read')


def test_several_texts_are_all_wanted() -> None:
    """They may stand anywhere, in any order."""
    found = Words(["Open", "Since 1902"], read=lambda _: reading("SINCE 1902", "OPEN"))(image())

    assert found.passed


@pytest.mark.parametrize("texts", ["", [], ["OPEN", "!"]])
def test_no_words_are_refused(texts: str | list[str]) -> None:
    """A check that could only pass is a mistake."""
    with pytest.raises(InvalidRequestError):
        Words(texts)


def test_a_missing_reader_is_noticed_before_anything_is_paid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The message has the command that installs it, and nothing was sent."""
    from gptimage.checks import words

    words._engine.cache_clear()
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    sandbox = Sandbox()

    with (
        ImageClient.sandbox(sandbox) as client,
        pytest.raises(ConfigurationError, match=r"pip install 'gptimage\[checks\]'"),
    ):
        client.until("A sign", checks=[Words("OPEN")])
    assert sandbox.requests == []


@pytest.mark.slow  # loads a model of 30 MB and reads for seconds
def test_the_words_that_the_sandbox_draws_are_read() -> None:
    """What a prompt quotes is drawn, and read back; a misspelling is not."""
    pytest.importorskip("rapidocr", reason="the extra checks is not installed")
    with ImageClient.sandbox() as client:
        drawn = client.generate('A sign that reads "GRAND OPENING"', size="1024x1024").image
        right, wrong = client.check(drawn, [Words("Grand opening"), Words("Grand openning")])

    assert (right.passed, wrong.passed) == (True, False)
    assert isinstance(drawn, Image)
