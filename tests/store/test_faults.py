"""The n-th write, fsync, rename, link or open fails, once or for good, for every n.

Whatever fails: the call returns or raises an error of this library that holds the image, nothing
half is ever shown, and when the disk works again everything that was promised is there.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import pytest

from gptimage.budget import Billing
from gptimage.budget.accounts import CallOutcome, CallRecord
from gptimage.budget.ledger import Ledger
from gptimage.cache import Cache
from gptimage.cache.base import CacheEntry
from gptimage.errors import CacheError, ConfigurationError, StoreError
from gptimage.store import PendingReplies, Store


NOW = timedelta(0)
CALLS = ("open", "write", "fsync", "replace", "rename", "link", "mkdir")
MOST = 60
"""No step of these tests makes more calls of one kind."""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's state folder."""
    for name in ("XDG_STATE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "state"))
    warnings.simplefilter("ignore")
    return tmp_path / "state"


class Fault:
    """Makes one kind of system call fail from the n-th on, or only then."""

    def __init__(self, nth: int, *, for_good: bool) -> None:
        self.nth, self.for_good, self.count = nth, for_good, 0

    @property
    def happened(self) -> bool:
        """Whether there was an n-th call."""
        return self.count >= self.nth

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, which may fail."""

        def failing(*arguments: Any, **named: Any) -> Any:
            self.count += 1
            if self.count == self.nth or (self.for_good and self.count > self.nth):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return call(*arguments, **named)

        return failing

    @contextmanager
    def on(self, kind: str) -> Generator[None]:
        """The fault, for as long as the block runs."""
        with pytest.MonkeyPatch.context() as patch:
            if kind == "open":
                patch.setattr(os, "open", self.wrap(os.open))
                patch.setattr(io, "open", self.wrap(io.open))
                patch.setattr(builtins, "open", self.wrap(builtins.open))
            elif kind == "write":
                patch.setattr(os, "write", self.wrap(os.write))
                patch.setattr(os, "fdopen", self._writing(os.fdopen))
            else:
                patch.setattr(os, kind, self.wrap(getattr(os, kind)))
            yield

    def _writing(self, fdopen: Callable[..., Any]) -> Callable[..., Any]:
        def opened(*arguments: Any, **named: Any) -> Any:
            file = fdopen(*arguments, **named)
            if hasattr(file, "write") and file.writable():
                return _Writing(file, self.wrap(file.write))
            return file

        return opened


class _Writing:
    """An open file whose writes may fail."""

    def __init__(self, file: Any, write: Callable[..., Any]) -> None:
        self._file, self.write = file, write

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def points(run: Callable[[Fault, Path], None], tmp_path: Path, kind: str, for_good: bool) -> int:
    """Run with every n until there is no n-th call; how many there were."""
    for nth in range(1, MOST):
        fault = Fault(nth, for_good=for_good)
        folder = tmp_path / f"{kind}-{nth}"
        folder.mkdir()
        run(fault, folder)
        if not fault.happened:
            print(f"{tmp_path.name}: {nth - 1} points, lost 0")  # noqa: T201  # figures
            return nth - 1
    raise AssertionError("more calls than expected")


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("kind", CALLS)
def test_a_save(tmp_path: Path, make: Any, kind: str, for_good: bool) -> None:
    """The caller holds the image or the store does, and afterwards a recovery brings it back."""
    state = tmp_path / "state"

    def run(fault: Fault, folder: Path) -> None:
        image = make.image(original=make.image())
        result = make.result("A fox", image, request=make.edit(make.image()).request)
        store = Store(folder / "store")
        saved: tuple[Any, ...] = ()
        with fault.on(kind):
            held: Any = None
            try:
                saved = store.save(result)
            except StoreError as error:
                held = error.result
        assert saved or held.images == (image,)
        store.close()
        with Store(folder / "store") as store:
            problems = {each.kind for each in store.verify(grace=NOW).problems}
            assert problems <= {"unused input", "unclaimed", "leftover", "unindexed"}
            recovered = store.recover(older_than=NOW)
            assert recovered.failed == ()
            found = list(store.history())
            assert [record.sha256 for record in found] in ([], [image.sha256])
            assert len(found) == 1 or not (saved or any(state.rglob("*.png")))

    points(run, tmp_path, kind, for_good)


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("kind", CALLS)
def test_a_spool(tmp_path: Path, kind: str, for_good: bool) -> None:
    """It never raises: the reply is kept whole, or the caller is warned."""

    def run(fault: Fault, folder: Path) -> None:
        spool = PendingReplies(folder / "spool")
        with fault.on(kind):
            entry = spool.put("g1:abc", b"reply" * 1000, {"operation": "generate"})
        assert (entry.path is None) == (entry.warning is not None)
        left = [each.read() for each in spool.abandoned(NOW)]
        assert left == ([b"reply" * 1000] if entry.path else [])

    points(run, tmp_path, kind, for_good)


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("kind", CALLS)
def test_a_cache(tmp_path: Path, kind: str, for_good: bool) -> None:
    """A failure is a CacheError; what is found is whole, or nothing is found."""

    def run(fault: Fault, folder: Path) -> None:
        cache = Cache.disk(folder / "cache")
        with fault.on(kind):
            try:
                cache.put("g1:abcdef", CacheEntry(body=b"reply" * 1000))
                kept = True
            except CacheError:
                kept = False
        cache.close()
        found = Cache.disk(folder / "cache").get("g1:abcdef")
        assert found is None or bytes(found.body) == b"reply" * 1000
        assert found is not None or not kept

    points(run, tmp_path, kind, for_good)


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("kind", CALLS)
def test_a_ledger(tmp_path: Path, kind: str, for_good: bool) -> None:
    """What was entered is in it, and a call whose end could not be written goes on counting."""

    def run(fault: Fault, folder: Path) -> None:
        ledger = Ledger(folder / "ledger.sqlite")
        at = datetime(2026, 11, 20, tzinfo=UTC)
        entry = CallRecord(
            call_id="c", at=at, operation="generate", model="m", reserved=Decimal("0.05")
        )
        begun = ended = False
        with fault.on(kind):
            try:
                ledger.begin(entry)
                begun = True
                ledger.end(entry, CallOutcome(billing=Billing.BILLED, cost=Decimal("0.01")))
                ended = True
            except ConfigurationError:
                pass
        ledger.close()
        spent = Ledger(folder / "ledger.sqlite").spent()
        assert spent == Decimal("0.01") if ended else spent in (Decimal(0), Decimal("0.05"))
        assert spent or not begun

    points(run, tmp_path, kind, for_good)


def test_opening_a_store_on_a_full_disk(tmp_path: Path, faults: Any) -> None:
    """Whatever fails first, it is an error of the library that names the place, not an OSError."""
    at, told = 0, list[str]()
    while True:
        disk = faults(tmp_path / "pictures", at=at, for_good=True)
        with pytest.MonkeyPatch.context() as inner:
            disk.install(inner)
            try:
                Store(tmp_path / "pictures" / f"{at}").close()
            except StoreError as error:
                told.append(str(error))
        if not disk.happened:
            break
        at += 1
    assert [text for text in told if str(tmp_path / "pictures") not in text] == []
    assert len(told) > 3
