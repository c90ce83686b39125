"""Texts of messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage._internal.text import closest, shorten


@given(st.text(), st.integers(1, 50))
def test_a_shortened_text_has_at_most_its_limit(text: str, limit: int) -> None:
    """What fits is unchanged; what does not begins as it did and ends in a mark."""
    short = shorten(text, limit)

    assert len(short) <= limit
    assert short == text or (short[-1] == "…" and text.startswith(short[:-1]))


@pytest.mark.parametrize(
    ("name", "found"),
    [("qualty", "quality"), ("QUALITY", "quality"), ("Sise", "size"), ("banana", None), ("", None)],
)
def test_the_closest_name(name: str, found: str | None) -> None:
    """A misspelt name finds the one that was meant, in any case; another word finds none."""
    assert closest(name, ("quality", "size", "N")) == found


def test_the_closest_name_keeps_its_case() -> None:
    """The suggestion is spelt as the name there is."""
    assert closest("gpt-image-2.5-FLAR", ["GPT-image-2.5-flare"], cutoff=0.8) == (
        "GPT-image-2.5-flare"
    )
