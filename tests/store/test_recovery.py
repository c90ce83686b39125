"""What waits for recovery belongs to one store, is saved once, and is read by its owner alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pybase64
import pytest

import gptimage
from gptimage import Generate, Image, Mask, StoreError
from gptimage._internal import user_dirs
from gptimage.errors import ConfigurationError
from gptimage.sandbox import Sandbox
from gptimage.store import FileBlobs, PendingReplies, Store, note_of
from tests.factories import image as plain
from tests.processes import start_python


NOW = timedelta(0)
ASKED = Generate(prompt="A fox", model="gpt-image-2")
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no owners in stat")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's state folder."""
    for name in ("XDG_STATE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "state"))
    return tmp_path / "state"


def reply(image: Image, **fields: Any) -> bytes:
    """A reply of the service."""
    data = [{"b64_json": pybase64.b64encode_as_string(image.data)}]
    return json.dumps({"created": 1, "data": data, **fields}).encode()


def failed_save(store: Store, result: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A save on a disk that takes nothing; a recovery copy is left."""

    def full(self: FileBlobs, key: str, data: bytes, *, fsync_dir: bool = True) -> str:
        if self.name == store.location:
            raise OSError(28, "No space left on device")
        return create(self, key, data, fsync_dir=fsync_dir)

    create = FileBlobs.create
    with monkeypatch.context() as patch:
        patch.setattr(FileBlobs, "create", full)
        with pytest.raises(StoreError):
            store.save(result)


def test_a_recovery_takes_its_own_and_counts_the_others(
    tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the replies nor the copies of one project go into another one's store."""
    one, other = Store(tmp_path / "one"), Store(tmp_path / "other")
    PendingReplies().put("g1:abc", reply(make.image()), note_of(ASKED), store=one.location)
    failed_save(one, make.result("A secret"), monkeypatch)

    assert other.recover(older_than=NOW).saved == ()
    assert other.recover(older_than=NOW).others == {one.location: 2}
    report = one.recover(older_than=NOW)
    assert {record.prompt for record in report.saved} == {"A fox", "A secret"}
    assert (report.others, report.failed) == ({}, ())
    assert [dict(record.extra) for record in report.saved] == [{}, {}]
    assert list(other.history()) == []


def test_a_store_that_was_moved_takes_every_one(
    tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old name is nobody's any more; whoever moved it says so."""
    gone = Store(tmp_path / "gone")
    PendingReplies().put("g1:abc", reply(make.image()), note_of(ASKED), store=gone.location)
    failed_save(gone, make.result(), monkeypatch)

    assert len(Store(tmp_path / "here").recover(older_than=NOW, every=True).saved) == 2


def test_what_0_1_0_left_is_anybodys(tmp_path: Path, make: Any) -> None:
    """Its replies name no store, and its recovery copies neither."""
    entry = PendingReplies().put("g1:abc", reply(make.image()), note_of(ASKED))
    assert entry.path is not None
    head, _, body = entry.path.read_bytes().partition(b"\n")
    old = {name: value for name, value in json.loads(head).items() if name != "store"}
    entry.path.write_bytes(json.dumps(old).encode() + b"\n" + body)
    Store(tmp_path / "elsewhere").save(make.result())
    (tmp_path / "elsewhere" / "images").rename(tmp_path / "copies")
    user_dirs.recovery_folder().mkdir(parents=True)
    (tmp_path / "copies").rename(user_dirs.recovery_folder() / "images")

    assert len(Store(tmp_path / "new").recover(older_than=NOW).saved) == 2


def test_a_client_names_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reply of a process that was killed goes into the store it was for."""
    store = Store(tmp_path / "one")
    client = gptimage.ImageClient.sandbox(store=store)

    def killed(*_: object, **__: object) -> None:
        raise StoreError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(store, "save", killed)
        with pytest.raises(StoreError, match="killed"):
            client.generate("A fox", size="1024x640", quality="low")

    assert [each.store for each in PendingReplies().abandoned(NOW)] == [store.location]


@pytest.mark.parametrize("edited", [False, True])
def test_a_cropped_image_comes_home_as_the_client_made_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edited: bool
) -> None:
    """Its label and its bytes are the same, so that it is not saved beside itself."""
    store = Store(tmp_path / "one")
    client = gptimage.ImageClient.sandbox(store=store)

    def killed(*_: object, **__: object) -> None:
        raise StoreError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(store, "save", killed)
        call = partial(client.edit, images=plain(64, 64)) if edited else client.generate
        with pytest.raises(StoreError, match="killed") as caught:
            call("A fox", size="1000x700", quality="low")
    (record,) = store.recover(older_than=NOW).saved

    assert caught.value.result is not None
    assert record.sha256 == caught.value.result.image.sha256
    assert record.request.keys() >= {"prompt", "size"}
    assert "digital_source" not in record.request


@pytest.mark.parametrize(
    "options",
    [
        {"outside": "keep", "mask": Mask.from_box((16, 16, 48, 48))},
        {"outside": "keep", "mask": Mask.from_box((16, 16, 48, 48)), "size": "1000x700"},
        {"format": "jpeg", "compression": 60, "size": "1000x700"},
    ],
    ids=["kept", "kept and cropped", "compressed"],
)
def test_a_changed_image_is_not_saved_beside_itself(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    """A reply left behind by a process that died after saving is made into the same bytes."""
    store = Store(tmp_path / "one")
    sandbox = Sandbox(draw="plain", drift={"repaint": 24})
    with gptimage.ImageClient.sandbox(sandbox, store=store) as client:
        done = client.edit("A hat", plain(64, 64), **options)
    sent = done.image.original
    assert sent is not None
    body = reply(sent, created=int(done.created.timestamp()))
    PendingReplies().put("g1:abc", body, note_of(done.request), store=store.location)
    found = store.recover(older_than=NOW)

    assert (found.failed, found.saved, found.known) == ((), (), 1)


@pytest.mark.parametrize(
    "odd", [10**20, -1, "x", [], {"a": 1}, 1.5], ids=["2**66", "-1", "text", "[]", "{}", "1.5"]
)
def test_an_odd_reply_does_not_block_the_others(store: Store, make: Any, odd: Any) -> None:
    """Its image is saved like theirs; what it used is not known."""
    usage = dict.fromkeys(("input_tokens", "output_tokens", "total_tokens"), odd)
    spool = PendingReplies()
    spool.put("g1:abc", reply(make.image(), usage=usage, created=odd), note_of(ASKED))
    spool.put("g1:abd", reply(make.image()), {**note_of(ASKED), "size": odd, "model": odd})
    spool.put("g1:abe", reply(make.image()), note_of(ASKED))
    report = store.recover(older_than=NOW)

    assert (len(report.saved), report.failed) == (3, ())
    assert store.verify(grace=NOW).clean


def test_whatever_a_reply_raises_the_others_are_saved(
    store: Store, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A surprise nobody thought of stays in the spool, with its reason in the report."""
    bad, good = make.image(), make.image()
    for image in (bad, good):
        PendingReplies().put("g1:abc", reply(image), note_of(ASKED))
    read = Image.from_bytes

    def surprised(data: Any) -> Image:
        if bytes(data) == bad.data:
            raise ZeroDivisionError("a surprise")
        return read(data)

    monkeypatch.setattr(Image, "from_bytes", surprised)
    report = store.recover(older_than=NOW)

    assert [record.sha256 for record in report.saved] == [good.sha256]
    assert [why for _, why in report.failed] == ["a surprise"]
    assert len(PendingReplies().abandoned(NOW)) == 1


RECOVERER = """
import sys
from datetime import timedelta
from functools import partial
from gptimage.store import Store
store = Store(sys.argv[1])
store.history()
print("ready", flush=True)
sys.stdin.readline()
print(len(store.recover(older_than=timedelta(0)).saved))
"""


def test_two_recoveries_at_once_save_each_picture_once(
    tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person and a job of the night start it in the same moment."""
    store = Store(tmp_path / "pictures")
    for number in range(6):
        PendingReplies().put(
            f"g1:{number}", reply(make.image()), note_of(ASKED), store=store.location
        )
        failed_save(store, make.result(), monkeypatch)
    recoverers = [
        start_python(
            ["-c", RECOVERER, store.location],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for each in recoverers:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    counts = [each.communicate("go\n")[0] for each in recoverers]

    assert sum(map(int, counts)) == 12
    digests = [record.sha256 for record in store.history(100)]
    assert (len(digests), len(set(digests))) == (12, 12)


@pytest.fixture
def homeless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shared temporary folder of an account without a home."""
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_PICTURES_DIR", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def nobody(_: int) -> None:
        raise KeyError("no such user")

    monkeypatch.setattr("pwd.getpwuid", nobody)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "shared"))
    (tmp_path / "shared").mkdir()
    return tmp_path / "shared"


@posix
def test_an_account_without_a_home_gets_a_private_folder(homeless: Path) -> None:
    """Everything below it can be read by nobody else, whatever is written there."""
    folder = homeless / f"gptimage-{os.getuid()}"
    found = [user_dirs.state_folder(), user_dirs.cache_folder(), user_dirs.default_folder()]

    assert all(each.is_relative_to(folder) for each in found)
    assert folder.stat().st_mode & 0o077 == 0


@posix
@pytest.mark.parametrize("how", ["link", "open to all", "a file"])
def test_a_folder_somebody_else_made_is_refused(
    homeless: Path, tmp_path: Path, make: Any, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written there; the image is saved all the same, with a warning."""
    folder = homeless / f"gptimage-{os.getuid()}"
    if how == "link":
        (tmp_path / "trap").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "trap")
    elif how == "a file":
        folder.touch(0o600)
    else:
        folder.mkdir()
        folder.chmod(0o777)
    with pytest.raises(ConfigurationError, match="set HOME"):
        user_dirs.state_folder()
    store = Store(tmp_path / "pictures")
    client = gptimage.ImageClient.sandbox(store=store)
    result = client.generate("A fox", size="1024x640", quality="low")

    assert any("could not be saved for recovery" in note for note in result.warnings)
    assert len(result.stored) == 1
    assert [path for path in folder.rglob("*") if folder.is_dir()] == []
    failed_save(store, make.result(), monkeypatch)


@posix
def test_a_spool_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is there, may be written to, and is not ours: prompts do not go there."""
    spool = PendingReplies(tmp_path / "spool")
    spool.folder.mkdir(mode=0o777)
    monkeypatch.setattr(os, "geteuid", lambda: spool.folder.stat().st_uid + 1)
    entry = spool.put("g1:abc", b"x", {})

    assert entry.path is None
    assert "belongs to another user" in (entry.warning or "")
    assert list(spool.folder.iterdir()) == []


FEW = """
import errno, importlib.abc, os, sys
import gptimage
from gptimage.transport.http import HttpReply
from gptimage.cache import Cache
from gptimage.budget.ledger import Ledger
from gptimage.store import Store

class Nothing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        raise OSError(errno.EMFILE, "Too many open files", name)

class Arriving:
    def __init__(self, where):
        self.body = open(where, "rb").read()
    def send(self, request):
        # From here on no module can be read: every descriptor is taken.
        sys.path_importer_cache.clear()
        sys.meta_path.insert(0, Nothing())
        return HttpReply(status=200, headers={"x-request-id": "req_1"}, body=self.body)
    def stream(self, request):
        raise AssertionError("nothing is streamed here")
    def close(self):
        pass

folder = sys.argv[1]
parts = {
    "store": Store(folder + "/store"), "cache": Cache.disk(folder + "/cache"),
    "ledger": Ledger(folder + "/ledger.sqlite"),
}
chosen = {name: parts[name] for name in sys.argv[2].split("+") if name in parts}
client = gptimage.ImageClient(transport=Arriving(folder + "/reply"), **chosen)
result = client.generate("A fox", size=sys.argv[3], quality="low")
print(len(result.images), result.warnings)
"""


@pytest.mark.parametrize(
    ("parts", "size"),
    [
        ("alone", "1024x640"),
        *((parts, "1000x600") for parts in ("alone", "store", "cache", "ledger")),
        ("store+cache+ledger", "1024x640"),
        ("store+cache+ledger", "1000x600"),
    ],
)
def test_an_answer_is_read_without_importing_anything(
    tmp_path: Path, parts: str, size: str
) -> None:
    """What reading needs is there before the request leaves: later no file may be left to open."""
    client = gptimage.ImageClient.sandbox()
    image = client.generate("A fox", size="1024x640", quality="low").image
    (tmp_path / "reply").write_bytes(reply(image))
    done = subprocess.run(
        [sys.executable, "-c", FEW, str(tmp_path), parts, size],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.startswith("1 "), done.stderr
    assert "Too many open files" not in done.stdout
