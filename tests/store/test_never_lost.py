"""A paid image is never lost: whatever fails, the caller holds it, and a copy is tried."""

from __future__ import annotations

import errno
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pybase64
import pytest

from gptimage import Generate, Image, Size, StoreError
from gptimage.store import FileBlobs, PendingReplies, Store, note_of
from gptimage.store.blobs import BlobInfo


NOW = timedelta(0)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's state folder."""
    for name in ("XDG_STATE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "state"))
    return tmp_path / "state"


class Failing:
    """A folder whose n-th write fails, as a full disk or a lost permission would."""

    def __init__(self, folder: Path, error: OSError, *, after: int) -> None:
        self._blobs = FileBlobs(folder)
        self._error, self._left = error, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)

    def _may(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise self._error

    def create(self, key: str, data: bytes, *, fsync_dir: bool = True) -> str:
        """Write, or fail."""
        self._may()
        return self._blobs.create(key, data, fsync_dir=fsync_dir)

    def touch_or_create(self, key: str, data: bytes) -> None:
        """Write, or fail."""
        self._may()
        self._blobs.touch_or_create(key, data)

    def stat(self, key: str) -> BlobInfo | None:
        """Looking still works."""
        return self._blobs.stat(key)


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
DENIED = PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def failing(tmp_path: Path, error: OSError, *, after: int) -> Store:
    """A store whose disk fails after some writes."""
    blobs: Any = Failing(tmp_path / "pictures", error, after=after)
    return Store(blobs)


@pytest.mark.parametrize("after", range(4))
@pytest.mark.parametrize("error", [FULL, DENIED], ids=["full", "denied"])
def test_a_failed_save_loses_nothing(
    tmp_path: Path, make: Any, state: Path, error: OSError, after: int
) -> None:
    """At the input, the original, the image or the sidecar: nothing half is left."""
    image = make.image(original=make.image())
    result = make.result("A fox", image, request=make.edit(make.image()).request)
    with failing(tmp_path, error, after=after) as store:
        with pytest.raises(StoreError) as caught:
            store.save(result, tags=["hero"])

        assert caught.value.result is not None
        assert caught.value.result.images == (image,)
        assert error.strerror in str(caught.value)
        assert "gptimage recover" in str(caught.value)
        (copy,) = caught.value.recovery_copies
        assert Path(copy).read_bytes() == image.data
        assert Path(copy).is_relative_to(state)
        assert os.name == "nt" or not (state / "gptimage/rescue").stat().st_mode & 0o077
        assert list(store.history()) == []

    with Store(tmp_path / "pictures") as store:
        left = {problem.kind for problem in store.verify(grace=NOW).problems}
        assert left <= {"unused input"}
        report = store.recover()
        (record,) = report.saved
        assert (record.prompt, record.tags) == ("Make it night", ("hero",))
        assert store.request(record.id) == result.request
        assert store.open(record.id, original=True) == image.original
        assert [path for path in state.rglob("*") if path.suffix in {".png", ".json"}] == []
        assert store.recover() == type(report)()
        assert store.verify(grace=NOW).clean


def test_what_could_be_saved_is_saved(tmp_path: Path, make: Any) -> None:
    """Of three images one is on disk, and the error tells which."""
    images = [make.image() for _ in range(3)]
    with failing(tmp_path, FULL, after=3) as store:
        with pytest.raises(StoreError, match="2 of 3 images") as caught:
            store.save(make.result("x", *images))

        assert caught.value.result is not None
        assert caught.value.result.images == tuple(images)
        assert [record.sha256 for record in store.history()] == [images[0].sha256]
        assert caught.value.result.stored == tuple(store.history())
        assert len(caught.value.recovery_copies) == 2


def test_a_recovery_copy_that_fails_as_well(tmp_path: Path, make: Any, state: Path) -> None:
    """The last word is the exception itself: it holds the images and says so."""
    state.write_text("a file where the folder should be")
    result = make.result()
    words = r"save \.result\.images yourself"
    with (
        failing(tmp_path, FULL, after=0) as store,
        pytest.raises(StoreError, match=words) as caught,
    ):
        store.save(result)

    assert caught.value.recovery_copies == ()
    assert caught.value.result is not None
    assert caught.value.result.images == result.images


def test_the_error_crosses_processes_whole(tmp_path: Path, make: Any) -> None:
    """A task queue that pickles the error does not lose the image."""
    result = make.result()
    with failing(tmp_path, FULL, after=0) as store, pytest.raises(StoreError) as caught:
        store.save(result)
    arrived = pickle.loads(pickle.dumps(caught.value))

    assert arrived.result.images == result.images
    assert (arrived.recovery_copies, str(arrived)) == (
        caught.value.recovery_copies,
        str(caught.value),
    )


def test_a_result_nobody_can_describe(store: Store, make: Any) -> None:
    """Even a broken request does not cost the images."""
    circle: dict[str, object] = {}
    circle["self"] = circle
    result = make.result("x", extra_body=circle)

    with pytest.raises(StoreError, match="cannot be described") as caught:
        store.save(result)
    assert caught.value.result is result


def test_a_warning_that_is_an_error_comes_after_the_save(store: Store, make: Any) -> None:
    """With ``-W error`` the image is saved before anything is raised."""

    def strict(sentence: str) -> None:
        raise RuntimeError(sentence)

    store._context.index.add = raising  # type: ignore[method-assign]  # as if the disk were full
    with pytest.raises(RuntimeError):
        store.save(make.result(), warn=strict)

    assert store.folder is not None
    assert len(list(store.folder.glob("images/*/*/*/*.json"))) == 1


def raising(entries: Any) -> None:
    """The index cannot be written."""
    raise StoreError("full")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file size limit")
def test_a_file_size_limit_of_the_system(tmp_path: Path) -> None:
    """A real refusal of the operating system, in the middle of writing an image."""
    code = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from gptimage import Generate, Image, Result, StoreError
from gptimage.store import Store
svg = '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8">' + " " * 3_000_000 + "</svg>"
image = Image.from_bytes(svg.encode())
request = Generate(prompt="x", model="m")
result = Result(images=(image,), request=request, model="m", created=datetime.now(UTC))
store = Store(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
try:
    store.save(result)
except StoreError as error:
    print(error.result.images == (image,), error.recovery_copies)
files = [path for path in Path(sys.argv[1]).rglob("*") if path.is_file()]
print([path.name for path in files if "index" not in path.name])
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path / "pictures")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.splitlines() == ["True ()", "[]"], done.stderr


def reply(*images: Image) -> bytes:
    """A reply of the service."""
    data = [{"b64_json": pybase64.b64encode_as_string(image.data)} for image in images]
    usage = {
        "input_tokens": 10,
        "output_tokens": 196,
        "total_tokens": 206,
        "input_tokens_details": {"text_tokens": 10, "image_tokens": 0},
    }
    return json.dumps({"created": 1, "data": data, "usage": usage}).encode()


@pytest.fixture
def spool(tmp_path: Path) -> PendingReplies:
    """An empty spool."""
    return PendingReplies(tmp_path / "spool")


def of_the_dead(spool: PendingReplies, body: bytes, request: Generate) -> Path:
    """A reply whose process is gone."""
    path = spool.put("g1:abc", body, note_of(request)).path
    assert path is not None
    head, _, rest = path.read_bytes().partition(b"\n")
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    path.write_bytes(
        json.dumps({**json.loads(head), "pid": int(ended.stdout)}).encode() + b"\n" + rest
    )
    return path


def test_a_spooled_reply_is_there_until_it_is_done(spool: PendingReplies) -> None:
    """The bytes are kept as they came, in any kind of buffer, and go when they are saved."""
    for body in (b"a\nb", bytearray(b"a\nb"), memoryview(b"a\nb")):
        entry = spool.put("g1:abc", body, {"operation": "generate"})
        (left,) = spool.abandoned(NOW)
        assert (left.read(), left.key, left.note) == (b"a\nb", "g1:abc", {"operation": "generate"})
        assert abs(datetime.now(UTC) - left.at) < timedelta(minutes=1)
        assert entry.warning is None
        entry.discard()
        entry.discard()
        assert spool.abandoned(NOW) == ()


def test_a_reply_in_work_is_not_recovered(spool: PendingReplies) -> None:
    """Its process is alive and it is young: nobody takes it away."""
    spool.put("g1:abc", b"x", {})

    assert spool.abandoned() == ()


def test_a_spool_that_cannot_write_only_warns(tmp_path: Path) -> None:
    """A full disk must not stand between the user and the image."""
    (tmp_path / "file").touch()
    entry = PendingReplies(tmp_path / "file").put("g1:abc", b"x", {})

    assert entry.path is None
    assert entry.warning is not None
    assert "could not be saved" in entry.warning
    entry.discard()


def test_the_reply_of_a_killed_process_is_recovered(
    store: Store, make: Any, spool: PendingReplies
) -> None:
    """What was asked, used and paid comes back with the images."""
    images = [make.image(), make.image()]
    request = Generate(prompt="A red fox", model="gpt-image-2", quality="low", template="product")
    path = of_the_dead(spool, reply(*images), request)
    report = store.recover(spool)

    assert [store.open(record.id) for record in report.saved] == images
    assert report.failed == ()
    record = report.saved[0]
    assert (record.prompt, record.batch_count, record.template) == ("A red fox", 2, "product")
    assert record.usage is not None
    assert record.usage.total_tokens == 206
    assert record.cost is not None
    assert record.cost > 0
    assert "recovered" in record.warnings[0]
    assert store.request(record.id) == request
    assert not path.exists()


def test_a_recovery_gives_the_pixels_that_were_asked_for(
    store: Store, make: Any, spool: PendingReplies
) -> None:
    """The client would have cropped the image; so does `recover`, keeping the original."""
    image = make.image()
    of_the_dead(spool, reply(image), Generate(prompt="x", model="m", size=Size(10, 10)))
    (record,) = store.recover(spool).saved

    assert record.size == (10, 10)
    assert store.open(record.id, original=True) == image


def test_what_is_saved_already_is_not_saved_twice(
    store: Store, make: Any, spool: PendingReplies
) -> None:
    """The process was killed after the save and before the spool was emptied."""
    result = make.result()
    store.save(result)
    path = of_the_dead(spool, reply(result.image), result.request)
    report = store.recover(spool)

    assert (report.saved, report.known) == ((), 1)
    assert len(store.history()) == 1
    assert not path.exists()


def test_a_recovery_after_a_repair_knows_more(
    store: Store, make: Any, spool: PendingReplies
) -> None:
    """An image the repair adopted without its story gets the story."""
    result = make.result("A fox")
    orphan = store.save(result)[0]
    assert orphan.path is not None
    orphan.path.with_suffix(".json").unlink()
    store._context.index.forget(orphan.key.replace(".png", ".json"))
    store.verify(repair=True, grace=NOW)
    of_the_dead(spool, reply(result.image), result.request)
    store.recover(spool)

    assert [record.prompt for record in store.history()] == ["A fox"]
    assert store.verify(grace=NOW).clean


def test_a_recovered_edit_names_its_inputs(store: Store, make: Any, spool: PendingReplies) -> None:
    """Its inputs were not kept, which verify says; the image is there all the same."""
    request = make.edit(make.image()).request
    of_the_dead(spool, reply(make.image()), request)
    (record,) = store.recover(spool).saved

    assert record.operation == "edit"
    assert [problem.kind for problem in store.verify(grace=NOW).problems] == ["lost input"]


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"data": []}', b'{"data": [{"b64_json": "AAAA"}]}']
)
def test_a_reply_without_a_picture_is_left_alone(
    store: Store, spool: PendingReplies, body: bytes
) -> None:
    """Perhaps somebody can still read something out of it."""
    path = of_the_dead(spool, body, Generate(prompt="x", model="m"))
    report = store.recover(spool)

    assert [name for name, _ in report.failed] == [str(path)]
    assert path.exists()


def test_files_that_are_no_replies_are_passed_over(store: Store, spool: PendingReplies) -> None:
    """Garbage in the spool is not a crash."""
    spool.folder.mkdir()
    for number, content in enumerate([b"", b"garbage", b"{}\nx", b"[]\n", b'{"at": 7}\n', b"\xff"]):
        (spool.folder / f"{number}.reply").write_bytes(content)

    assert spool.abandoned(NOW) == ()
    assert store.recover(spool, older_than=NOW).saved == ()


def test_a_damaged_recovery_copy_is_reported(
    tmp_path: Path, make: Any, state: Path, store: Store
) -> None:
    """One that cannot be read does not stop the others."""
    for _ in range(2):
        with failing(tmp_path, FULL, after=0) as broken, pytest.raises(StoreError):
            broken.save(make.result())
    sidecar = min(state.rglob("*.json"))
    sidecar.write_bytes(b"{")
    report = store.recover()

    assert len(report.saved) == 1
    assert [name for name, _ in report.failed] == [str(sidecar)]
    assert sidecar.exists()


def test_a_recovery_that_fails_leaves_everything(
    tmp_path: Path, make: Any, state: Path, spool: PendingReplies
) -> None:
    """The disk is still full: copies and replies stay where they are for the next try."""
    with failing(tmp_path, FULL, after=0) as store:
        with pytest.raises(StoreError):
            store.save(make.result())
        path = of_the_dead(spool, reply(make.image()), Generate(prompt="x", model="m"))
        before = sorted(each for each in state.rglob("[!.]*") if each.is_file())
        report = store.recover(spool)

        assert report.saved == ()
        assert len(report.failed) == 2
        assert all("left alone" in why for _, why in report.failed)
        assert path.exists()
        assert sorted(each for each in state.rglob("[!.]*") if each.is_file()) == before

    with Store(tmp_path / "pictures") as store:
        assert len(store.recover(spool).saved) == 2


@pytest.fixture
def killed(tmp_path: Path, make: Any) -> Iterator[Store]:
    """A store one of whose saves was killed between image and sidecar."""
    with Store(tmp_path / "pictures") as store:
        record = store.save(make.result("A fox"))[0]
        assert record.path is not None
        record.path.with_suffix(".json").unlink()
        store._context.index.forget(record.key.replace(".png", ".json"))
        yield store


def test_an_unfinished_save_is_not_shown(killed: Store) -> None:
    """An image without its sidecar is no part of the store until a repair."""
    assert list(killed.history()) == []
    assert killed.verify(grace=NOW).of("unclaimed") != ()
    assert killed.verify(grace=NOW, repair=True).clean
    assert len(killed.history()) == 1
