"""Every command runs for a person without any settings, images or ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.store.conftest import bucket, clock, make, s3, store


__all__ = ["bucket", "clock", "home", "make", "s3", "store"]


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder of that person."""
    folder = tmp_path_factory.mktemp("home")
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_PICTURES_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(folder))
    return folder
