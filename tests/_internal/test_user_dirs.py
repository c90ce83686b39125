"""The user's folders are where 0.1.0 had them, on every system."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest
from platformdirs.macos import MacOS
from platformdirs.unix import Unix

from gptimage._internal.user_dirs import cache_folder, recovery_folder, spool_folder, state_folder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An account whose environment names no folder but its home."""
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("system", "state", "cache"),
    [
        (Unix, ".local/state", ".cache"),
        (MacOS, "Library/Application Support", "Library/Caches"),
    ],
)
def test_the_places_of_0_1_0(
    home: Path, monkeypatch: pytest.MonkeyPatch, system: type, state: str, cache: str
) -> None:
    """What that version wrote is found."""
    monkeypatch.setattr(platformdirs, "PlatformDirs", system)

    assert state_folder() == home / state / "gptimage"
    assert cache_folder() == home / cache / "gptimage"
    assert recovery_folder() == home / state / "gptimage/rescue"
    assert spool_folder() == home / state / "gptimage/spool"


@pytest.mark.parametrize("system", [Unix, MacOS])
def test_the_environment_has_the_first_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: type
) -> None:
    """XDG names count on every system; empty ones do not."""
    monkeypatch.setattr(platformdirs, "PlatformDirs", system)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("XDG_CACHE_HOME", "")

    assert state_folder() == tmp_path / "elsewhere/gptimage"
    assert cache_folder().is_relative_to(tmp_path)


def test_nothing_is_made(home: Path) -> None:
    """Naming a folder does not create it."""
    state_folder()
    cache_folder()

    assert list(home.iterdir()) == []
