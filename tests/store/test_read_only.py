"""A store in a folder that may only be read: it is browsed, and nothing is drawn for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gptimage import ImageClient, Ledger, Record, StoreError
from gptimage.cli.main import main
from gptimage.sandbox import Sandbox
from gptimage.store import Store
from gptimage.store.names import INDEX
from gptimage_mcp.config.loading import check_optional_paths, check_required_paths
from gptimage_mcp.config.settings import Settings


LOW: dict[str, Any] = {"size": "1024x1024", "quality": "low"}


def set_rights(folder: Path, writable: bool) -> None:
    """Let nobody, or its owner, write in a folder and all it holds."""
    for path in (folder, *folder.rglob("*")):
        path.chmod((0o755 if writable else 0o555) if path.is_dir() else 0o644)


@pytest.fixture(params=["with its index", "without an index"])
def read_only(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The folder of a store with one image."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "store"
    with (
        Store(folder) as store,
        ImageClient.sandbox(Sandbox(draw="plain"), store=store) as client,
    ):
        client.generate("A red fox", **LOW)
    if request.param == "without an index":
        (folder / INDEX).unlink()
    set_rights(folder, writable=False)
    if os.access(folder, os.W_OK):
        set_rights(folder, writable=True)
        pytest.skip("this user may write in any folder; `nox -s ordinary` runs it as another one")
    yield folder
    set_rights(folder, writable=True)


def test_a_store_that_may_only_be_read_is_browsed(
    read_only: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The index is in the cache folder of the user, and nothing is written beside the files."""
    before = sorted(read_only.rglob("*"))
    with Store(read_only) as store:
        (record,) = store.search("fox").records
        assert store.open(record).size == (1024, 1024)
        assert (store.verify().problems, store.stats().images) == ((), 1)
    for words in (["history"], ["search", "fox"], ["show", record.id], ["stats"]):
        assert main([*words, "--store", str(read_only)]) == 0
        assert capsys.readouterr().err == ""
    assert sorted(read_only.rglob("*")) == before


def test_nothing_is_drawn_for_a_store_that_cannot_have_it(read_only: Path, tmp_path: Path) -> None:
    """Whatever draws is refused before it is sent; nothing is entered as spent."""
    sandbox = Sandbox(draw="plain")
    ledger = Ledger(tmp_path / "ledger.sqlite")
    with ImageClient.sandbox(sandbox, store=Store(read_only), ledger=ledger) as client:
        assert client.store is not None
        (record,) = client.store.history().records
        calls: list[Callable[[], object]] = [
            lambda: client.generate("A cup", **LOW),
            lambda: client.edit("A hat", record, **LOW),
            lambda: list(client.stream("A cup", **LOW)),
            lambda: client.conversation().send("A cup", **LOW),
            lambda: client.until("A cup", checks=[lambda _: True], **LOW),
            lambda: list(client.generate_many(["A cup"], **LOW)),
            lambda: client.submit_batch(["A cup"], state=tmp_path / "batch.json"),
            lambda: client.alt_text(record),
        ]
        for call in calls:
            with pytest.raises(StoreError, match=r"cannot be written to.*nothing was sent"):
                call()
        changes: list[Callable[[Record], object]] = [
            client.store.pin,
            client.store.delete,
            lambda each: client.store.tag(each, "zoo") if client.store else None,
        ]
        for change in changes:
            with pytest.raises(StoreError, match="Permission denied"):
                change(record)
    assert sandbox.requests == []
    assert ledger.summary().total.calls == 0


def test_a_server_starts_with_a_store_that_may_only_be_read(
    read_only: Path, tmp_path: Path
) -> None:
    """It says what it cannot do; a folder that cannot even be made is still refused."""
    settings = Settings(store=read_only, ledger=tmp_path / "ledger.sqlite")
    missing = Settings(store=read_only / "new", ledger=tmp_path / "ledger.sqlite")

    assert list(check_required_paths(settings)) == []
    assert any("calls that would draw others" in each for each in check_optional_paths(settings))
    assert any("images cannot be saved in" in each for each in check_required_paths(missing))


def test_a_folder_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    """As before the first image: what is not there is not read-only."""
    with (
        Store(tmp_path / "store") as store,
        ImageClient.sandbox(Sandbox(draw="plain"), store=store) as client,
    ):
        client.generate("A red fox", **LOW)
        shutil.rmtree(tmp_path / "store")
        (record,) = client.generate("A blue fox", **LOW).stored

        assert (tmp_path / "store" / record.key).is_file()
