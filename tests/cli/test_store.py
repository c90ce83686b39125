"""The command line of the store: what people see, and what scripts read."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pil

from gptimage import Image, ImageClient, ImageNotFoundError, InvalidRequestError
from gptimage.cli.parser import build_parser
from gptimage.cli.values import moment, size
from gptimage.sandbox import Sandbox
from gptimage.store import PendingReplies, Store, reader
from tests.processes import run_python


Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's state folder."""
    for name in ("XDG_STATE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "state"))


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    return build_parser()


@pytest.fixture
def run(parser: argparse.ArgumentParser, store: Store, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command on the store; its exit code and what it printed, read as JSON if asked for."""

    def run_(*words: str, as_json: bool = True) -> tuple[int, Any]:
        extra = ["--json"] if as_json else []
        args = parser.parse_args([*words, "--store", store.location, *extra])
        code = args.func(args)
        printed = capsys.readouterr().out
        return code, json.loads(printed) if as_json else printed

    return run_


def test_history_for_people_and_scripts(run: Run, store: Store, make: Any) -> None:
    """One line each, newest first; JSON has the whole record and the next page."""
    saved = [store.save(make.result(f"A fox {number}"))[0] for number in range(3)]
    store.tag(saved[2].id, "hero")
    store.pin(saved[2].id)
    _, text = run("history", "-n", "2", as_json=False)
    _, document = run("history", "-n", "2")
    _, rest = run("history", "--cursor", document["next"])

    lines = text.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(saved[2].id)
    assert "16x12 png" in lines[0]
    assert "$0.0131  A fox 2  pinned #hero" in lines[0]
    assert [each["id"] for each in document["records"]] == [saved[2].id, saved[1].id]
    assert document["records"][0]["path"] == str(saved[2].path)
    assert [each["id"] for each in rest["records"]] == [saved[0].id]
    assert rest["next"] is None


def test_history_takes_every_filter(run: Run, store: Store, make: Any) -> None:
    """Each filter reaches the store."""
    edit = store.save(make.edit(make.image("webp")), tags=["a"])[0].id
    store.pin(edit)
    other = store.save(make.result("x", make.image("webp")))[0].id
    for words, expected in [
        (["--tag", "a"], [edit]),
        (["--operation", "edit"], [edit]),
        (["--pinned"], [edit]),
        (["--format", "webp"], [other]),
        (["--model", "none"], []),
        (["--since", "2026-11-20"], [other, edit]),
        (["--until", "2026-11-01T12:00"], []),
    ]:
        _, document = run("history", *words)
        assert [each["id"] for each in document["records"]] == expected, words


def test_a_prompt_cannot_play_with_the_terminal(run: Run, store: Store, make: Any) -> None:
    """Control characters of a hostile prompt are not printed."""
    store.save(make.result("evil \x1b[2J\x07\r\n prompt " + "x" * 500))
    _, text = run("history", as_json=False)

    assert "\x1b" not in text
    assert "\x07" not in text
    assert len(text.splitlines()) == 1
    assert len(text) < 250


def test_search(run: Run, store: Store, make: Any) -> None:
    """Words, phrases and ranks."""
    fox = store.save(make.result("A red fox"))[0].id
    store.save(make.result("A blue sea"))

    assert [each["id"] for each in run("search", "fox")[1]["records"]] == [fox]
    assert run("search", '"fox red"', "--rank", "relevance")[1]["records"] == []


def test_show(run: Run, store: Store, make: Any) -> None:
    """Everything known, with what it comes from."""
    image = make.image()
    first = store.save(make.result("A fox", image))[0].id
    edit = store.save(make.edit(image))[0].id
    code, document = run("show", edit)
    _, text = run("show", first, as_json=False)

    assert code == 0
    assert document["ancestors"] == [first]
    assert document["request"]["prompt"] == "Make it night"
    assert edit in text
    assert "descendants" in text
    with pytest.raises(ImageNotFoundError):
        run("show", "img_1")


def test_show_has_requested_and_effective_side_by_side(run: Run, store: Store) -> None:
    """What was left open, and what the service made of it, stand on one line."""
    client = ImageClient.sandbox(Sandbox(draw="plain"), store=store)
    record = client.generate("A fox", size="500x300", quality="low").stored[0]
    lines = [line.split() for line in run("show", record.id, as_json=False)[1].splitlines()]

    assert ["requested", "effective"] in lines
    assert ["size", "500x300", "500x300"] in lines
    assert ["quality", "low", "low"] in lines
    assert ["background", "-", "opaque"] in lines
    assert dict(record.requested) == {
        "model": record.model,
        "n": 1,
        "size": "500x300",
        "format": None,
        "quality": "low",
        "background": None,
    }


def test_open_prints_the_path(run: Run, store: Store, make: Any) -> None:
    """Scripts get the path; no window is opened for them."""
    record = store.save(make.result())[0]

    assert run("open", record.id, "--print", as_json=False)[1] == f"{record.path}\n"
    assert run("open", record.id, "--print")[1] == {"ids": [record.id], "path": str(record.path)}


@pytest.mark.skipif(sys.platform != "linux", reason="the viewer has another name there")
def test_open_starts_the_viewer(
    run: Run, store: Store, make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's own program gets the file; without one, the path is still printed."""
    record = store.save(make.result())[0]
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert run("open", record.id, as_json=False)[1] == f"{record.path}\n"

    (tmp_path / "bin").mkdir()
    viewer, seen = tmp_path / "bin/xdg-open", tmp_path / "seen"
    viewer.write_text(f'#!/bin/sh\necho "$1" > "{seen}.new"; /bin/mv "{seen}.new" "{seen}"\n')
    viewer.chmod(0o755)
    run("open", record.id)
    for _ in range(500):
        if seen.exists():
            break
        subprocess.run([sys.executable, "-c", "import time; time.sleep(0.01)"], check=True)
    assert seen.read_text() == f"{record.path}\n"


def test_tag_and_pin(run: Run, store: Store, make: Any) -> None:
    """Both ways."""
    id = store.save(make.result())[0].id

    assert run("tag", id, "hero", "a b")[1]["tags"] == ["a b", "hero"]
    assert run("tag", id, "hero", "--remove")[1]["tags"] == ["a b"]
    assert run("pin", id)[1]["pinned"] is True
    assert run("pin", id, "--remove")[1]["pinned"] is False
    assert "#a b" in run("tag", id, "a b", as_json=False)[1]


def test_prune(run: Run, store: Store, make: Any) -> None:
    """First what would go, then what went."""
    old = store.save(make.result())[0].id
    new = store.save(make.result())[0].id

    assert run("prune", "--max-count", "1", "--dry-run")[1]["removed"] == [old]
    assert (
        "would remove 1 images" in run("prune", "--max-count", "1", "--dry-run", as_json=False)[1]
    )
    code, document = run("prune", "--max-count", "1", "--max-age", "30000d", "--max-bytes", "1GB")
    assert (code, document["removed"], document["kept"]) == (0, [old], 1)
    assert [record.id for record in store.history()] == [new]
    with pytest.raises(InvalidRequestError):
        run("prune")


def test_prune_tells_what_it_could_not_remove(run: Run, store: Store, make: Any) -> None:
    """A damaged sidecar protects its image, and the exit code says so."""
    record = store.save(make.result())[0]
    assert record.path is not None
    record.path.with_suffix(".json").write_bytes(b"{}")
    code, document = run("prune", "--max-count", "0")

    assert code == 1
    assert document["skipped"][0][0] == record.id


def test_verify_and_reindex(run: Run, store: Store, make: Any) -> None:
    """Problems are listed, and the exit code is that of a check."""
    record = store.save(make.result())[0]
    assert run("verify")[1]["clean"] is True
    assert record.path is not None
    record.path.unlink()
    (record.path.parent / "notes.txt").touch()
    code, document = run("verify", "--quick", "--repair")
    _, text = run("verify", as_json=False)

    assert code == 1
    assert {each["kind"] for each in document["problems"]} == {"missing", "foreign"}
    assert "missing: images/" in text
    assert "images: 1; not clean" in text
    assert run("reindex") == (0, {"images": 1, "unhashed": 1})
    assert run("reindex", as_json=False)[1] == "1 images\n"


def test_stats(run: Run, store: Store, make: Any) -> None:
    """Numbers for scripts and people."""
    store.save(make.result("x", make.image(), make.image()))
    _, document = run("stats")

    assert (document["images"], document["cost_usd"]) == (2, "0.0131")
    assert document["by_operation"] == {"generate": 2}
    assert "images        2" in run("stats", as_json=False)[1]


def test_export(run: Run, store: Store, make: Any, tmp_path: Path) -> None:
    """The paths of the copies are printed."""
    one, two = (store.save(make.result("A fox"), tags=[tag])[0] for tag in "ab")
    _, text = run("export", str(tmp_path / "out"), "--tag", "a", as_json=False)
    assert two.path is not None
    two.path.unlink()
    code, document = run("export", str(tmp_path / "all"), "--naming", "{id}", "--no-sidecars")

    assert Path(text.strip()).name == f"2026-11-20-a-fox-{one.id}.png"
    assert (code, document["missing"]) == (1, [two.id])
    assert document["paths"] == [str(tmp_path / "all" / f"{one.id}.png")]


def test_recovery(run: Run, store: Store, make: Any) -> None:
    """What a killed process left is saved and listed; what cannot be read is named."""
    import pybase64

    from gptimage.store import note_of

    result = make.result("A recovered fox")
    body = {"data": [{"b64_json": pybase64.b64encode_as_string(result.image.data)}]}
    PendingReplies().put("key", json.dumps(body).encode(), note_of(result.request))
    PendingReplies().put("key", b"garbage", note_of(result.request))
    assert run("recover")[1] == {"saved": [], "known": 0, "failed": [], "others": {}}
    code, document = run("recover", "--older-than", "0s")

    assert code == 1
    assert [each["request"]["prompt"] for each in document["saved"]] == ["A recovered fox"]
    assert len(document["failed"]) == 1
    assert "saved 0 images" in run("recover", as_json=False)[1]


def test_where_the_store_is(
    parser: argparse.ArgumentParser,
    store: Store,
    make: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """The environment names it, else it is in the user's images folder."""
    id = store.save(make.result())[0].id
    monkeypatch.setenv("GPTIMAGE_STORE", store.location)
    args = parser.parse_args(["history"])
    assert args.func(args) == 0
    assert id in capsys.readouterr().out

    monkeypatch.delenv("GPTIMAGE_STORE")
    monkeypatch.setenv("XDG_PICTURES_DIR", str(tmp_path / "mine"))
    Store(tmp_path / "mine/gptimage").close()
    args = parser.parse_args(["stats", "--json"])
    args.func(args)
    assert json.loads(capsys.readouterr().out)["store"] == str(tmp_path / "mine/gptimage")


def test_a_bucket_can_be_named(
    parser: argparse.ArgumentParser,
    s3: str,
    bucket: Any,
    make: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """``s3://...`` works wherever a folder does; an image is fetched to be opened."""
    for name, value in {
        "AWS_ENDPOINT": s3,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "TMPDIR": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tempfile.tempdir", None)
    blobs = bucket()
    with Store(blobs, index=tmp_path / "i.sqlite") as store:
        image = make.image("jpeg")
        id = store.save(make.result("x", image))[0].id
    args = parser.parse_args(["open", id, "--print", "--json", "--store", blobs.name])

    assert args.func(args) == 0
    path = Path(json.loads(capsys.readouterr().out)["path"])
    assert (path.name, path.read_bytes()) == (f"{id}.jpg", image.data)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("12345", 12345), ("10GB", 10**10), ("1.5 mb", 1_500_000), ("2TB", 2 * 10**12)],
)
def test_sizes(text: str, expected: int) -> None:
    """Sizes as people write them."""
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "x", "-1", "10 apples", "1e9", "٣"])
def test_bad_sizes(text: str) -> None:
    """Anything else is a usage error that shows how to write one."""
    with pytest.raises(argparse.ArgumentTypeError, match="10GB"):
        size(text)


def test_moments() -> None:
    """Days, times and ages."""
    assert moment("2026-11-20").utcoffset() is not None
    assert moment("2026-11-20T12:00+00:00") == datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert moment("7d") - moment("8d") - timedelta(days=1) < timedelta(seconds=5)
    for text in ("yesterday", "", "0001-01-01", "999999999w"):
        with pytest.raises(argparse.ArgumentTypeError, match="write a time"):
            moment(text)


def test_looking_into_a_store_is_light(store: Store, make: Any) -> None:
    """A search waits for no package, and no part of the library, that it does not need."""
    saved = store.save(make.result("A red fox"))[0]
    code = (
        "import sys; from gptimage.cli.main import main; main(sys.argv[1:]);"
        "print({'PIL', 'cattrs', 'httpx2', 'openai', 'gptimage.providers',"
        "'gptimage.store.prune', 'gptimage.types.result'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, "store", "search", "fox", "--store", store.location]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    found, loaded = done.stdout.splitlines()
    assert found.startswith(saved.id)
    assert loaded == "set()"


def test_similar_and_duplicates(
    run: Run, store: Store, make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file or an id; the nearest first, and what was not compared is counted."""
    pixels = Pil.linear_gradient("L").resize((64, 64))
    pixels.paste(200, (8, 30, 40, 50))
    image = Image.from_pil(pixels)
    monkeypatch.setattr(reader, "HASHED_AT_ONCE", 2)
    store.save(make.result("A fox", make.image()))
    one, two = store.save(make.result("A fox", image, image.convert("jpeg", 60)))
    image.save(tmp_path / "fox.png")

    _, found = run("store", "similar", str(tmp_path / "fox.png"))
    _, others = run("store", "similar", one.id, "--distance", "4", "-n", "5")
    _, groups = run("store", "duplicates", "--distance", "4")
    _, text = run("store", "duplicates", as_json=False)
    _, hashed = run("store", "reindex", "--hashes")
    _, near = run("store", "similar", one.id, as_json=False)

    assert sorted(each["id"] for each in found["records"]) == [one.id, two.id]
    assert found["records"][0]["distance"] == 0
    assert ([each["id"] for each in others["records"]], found["unhashed"]) == ([two.id], 1)
    assert [[each["id"] for each in group] for group in groups["groups"]] == [[one.id, two.id]]
    assert [each.split()[0] for each in text.splitlines()] == [one.id, two.id]
    assert hashed == {"images": 3, "unhashed": 0}
    assert near.split()[1] == two.id


def test_a_warning_is_a_sentence(store: Store, make: Any, tmp_path: Path) -> None:
    """Who runs a command sees what happened to the index, and no file and line of the library."""
    path = store.save(make.result())[0].path
    store.close()
    for file in tmp_path.rglob("index.sqlite*"):
        file.unlink()
    assert path is not None
    folder = next(each for each in path.parents if each.parent == tmp_path)
    done = run_python(["-m", "gptimage", "history", "--store", folder], text=True)

    assert done.returncode == 0
    (note,) = done.stderr.splitlines()
    assert note.startswith("note: the index ")
    assert note.endswith(" rebuilt from 1 sidecars")
