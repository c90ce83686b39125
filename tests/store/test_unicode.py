"""Unicode in the store: what looks the same is the same, and any text can be found and named."""

from __future__ import annotations

import sqlite3
import unicodedata
import warnings
from pathlib import Path
from typing import Any, Literal

import pytest

from gptimage.errors import ConfigurationError
from gptimage.store import Store
from gptimage.store.names import Naming, is_part


Form = Literal["NFC", "NFD"]
FORMS = ("NFC", "NFD")
FAMILY = "\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL}"


@pytest.mark.parametrize("written", FORMS)
@pytest.mark.parametrize("asked", FORMS)
@pytest.mark.parametrize("tag", ["café", "Ångström", "한국", "ﬁ"])
def test_a_tag_is_found_in_any_spelling(
    store: Store, make: Any, tag: str, written: Form, asked: Form
) -> None:
    """By history, search and untag alike."""
    (record,) = store.save(make.result(), tags=[unicodedata.normalize(written, tag)])
    spelt = unicodedata.normalize(asked, tag)

    assert record.tags == (unicodedata.normalize("NFC", tag),)
    assert len(store.history(tag=spelt)) == 1
    assert len(store.search("lighthouse", tag=spelt)) == 1
    assert store.tag(record.id, spelt).tags == record.tags
    assert store.untag(record.id, spelt).tags == ()


@pytest.mark.parametrize(
    "emoji",
    ["\N{FOX FACE}", "\N{SNOWMAN}", "\N{HEAVY BLACK HEART}\ufe0f", FAMILY, "\U0001f1eb\U0001f1f7"],
)
def test_emoji_are_found(store: Store, make: Any, emoji: str) -> None:
    """Alone, beside a word, and as a tag; another one is not the same."""
    (record,) = store.save(make.result(f"a drawing {emoji}in snow"), tags=[emoji])
    store.save(make.result("a drawing \N{OWL} in snow"))

    assert [each.id for each in store.search(emoji)] == [record.id]
    assert [each.id for each in store.search(f"snow {emoji}")] == [record.id]
    assert [each.id for each in store.history(tag=emoji)] == [record.id]
    assert record.tags == (emoji,)


def test_an_index_of_0_1_0_learns_emoji_and_tags(tmp_path: Path, make: Any) -> None:
    """It is read again from the sidecars once, whatever spelling those hold."""
    with Store(tmp_path) as store:
        (record,) = store.save(make.result("a \N{FOX FACE}"), tags=["café"])
    assert record.path is not None
    sidecar = record.path.with_suffix(".json")
    sidecar.write_text(
        sidecar.read_text("utf-8").replace("café", unicodedata.normalize("NFD", "café")), "utf-8"
    )
    connection = sqlite3.connect(tmp_path / "index.sqlite")
    connection.execute("DELETE FROM migrations")
    connection.execute("UPDATE tags SET tag = ?", (unicodedata.normalize("NFD", "café"),))
    connection.commit()
    connection.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Store(tmp_path) as store:
            assert len(store.history(tag="café")) == 1
            assert len(store.search("\N{FOX FACE}")) == 1


@pytest.mark.parametrize(
    "name", ["CON", "nul.txt", "com1", "LPT9.png", "COM\xb9", "con .png", "CONIN$", "conout$.json"]
)
def test_names_windows_reserves_are_none_of_ours(name: str) -> None:
    """A store that is copied to Windows keeps every file."""
    assert not is_part(name)
    assert is_part(f"{name.replace('.', '')}x")


def test_a_name_that_could_be_too_long_is_refused_before_anything_is_saved() -> None:
    """Not when a long prompt comes, which is after it is paid."""
    with pytest.raises(ConfigurationError, match="longer than 220 bytes"):
        Naming("{date}/" + "{prompt:slug}-" * 3 + "{id}")
    with pytest.raises(ConfigurationError, match="longer than 220 bytes"):
        Naming("{date}/" + "ä" * 90 + "-{id}")


@pytest.mark.parametrize(
    "prompt", ["x" * 5000, "\N{FOX FACE}" * 500, "é" * 999, "漢" * 999, "con", "\ud800", ""]
)
def test_any_prompt_makes_a_name(tmp_path: Path, make: Any, prompt: str) -> None:
    """The longest template that is allowed, and whatever people write."""
    with Store(tmp_path, naming="{date}/{prompt:slug}-{model:slug}-{template:slug}-{id}") as store:
        (record,) = store.save(make.result(prompt))
        assert store.open(record.id).sha256 == record.sha256
