"""``gptimage-mcp migrate``: the images of four older servers come into the store, once."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

import gptimage
from gptimage_mcp.__main__ import main
from tests.mcp.harness import picture


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> gptimage.Store:
    """The store that the command is configured to use."""
    monkeypatch.setenv("GPTIMAGE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("GPTIMAGE_LEDGER", str(tmp_path / "ledger.sqlite"))
    return gptimage.Store(tmp_path / "store", fsync=False)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """One image of each of the four servers, in the shape it has there."""
    day = tmp_path / "old" / "images" / "2025" / "07" / "08"
    day.mkdir(parents=True)
    (day / "img_20250708111322_9618bc559949.png").write_bytes(picture(color="red"))
    (day / "img_20250708111322_9618bc559949.json").write_text(
        json.dumps(
            {
                "image_id": "img_20250708111322_9618bc559949",
                "created_at": "2025-07-08T11:13:22+00:00",
                "file_info": {"format": "PNG"},
                "prompt": "A red fox",
                "model": "gpt-image-1",
                "parameters": {"quality": "high", "size": "1024x1024"},
            }
        )
    )
    desktop = tmp_path / "old" / "Desktop"
    desktop.mkdir()
    (desktop / "openai-image-2025-07-16T10-00-00-000Z-ab12cd.jpg").write_bytes(
        picture(form="jpeg", color="blue")
    )
    (desktop / "openai-image-2025-07-16T10-00-00-000Z-ab12cd.json").write_text(
        json.dumps({"prompt": "A blue owl", "model": "dall-e-3", "timestamp": 1752660000000})
    )
    (tmp_path / "old" / "a-cat.png").write_bytes(picture(color="green"))
    cache = tmp_path / "old" / ".cache" / "images"
    cache.mkdir(parents=True)
    text = base64.b64encode(picture(color="yellow")).decode()
    (cache / f"{'0' * 64}.json").write_text(
        json.dumps({"images": [text], "revisedPrompt": "A yellow bird"})
    )
    return tmp_path / "old"


def test_images_of_four_servers_are_saved_with_what_is_known(
    old: Path, store: gptimage.Store
) -> None:
    """Prompt, model and time come from the older server's own file; the cost is not known."""
    assert main(["migrate", str(old)]) == 0

    records = {record.prompt: record for record in store.history(10, tag="migrated")}
    assert records.keys() == {"A red fox", "A blue owl", "", "A yellow bird"}
    fox = records["A red fox"]
    assert (fox.model, fox.cost, fox.request["quality"]) == ("gpt-image-1", None, "high")
    assert fox.created_at_service == datetime(2025, 7, 8, 11, 13, 22, tzinfo=UTC)
    assert store.open(fox.id).data == picture(color="red")
    assert records["A blue owl"].created_at_service == datetime(2025, 7, 16, 10, tzinfo=UTC)


def test_it_saves_each_image_once(
    old: Path, store: gptimage.Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run again, it finds nothing new; the older files are as they were."""
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    main(["migrate", str(old)])
    main(["migrate", str(old)])

    assert len(store.history(10).records) == 4
    assert "0 images saved, 4 were in the store already" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in old.rglob("*") if path.is_file()} == before


def test_a_dry_run_only_says_what_would_be_saved(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is saved, nor is a store made; an option names another store."""
    monkeypatch.setenv("GPTIMAGE_LEDGER", str(tmp_path / "ledger.sqlite"))

    assert main(["--store", str(tmp_path / "new"), "migrate", "--dry-run", str(old)]) == 0

    assert "4 images would be saved" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("sidecar", ["not JSON", "[1]", '{"prompt": 7, "created_at": "soon"}'])
def test_what_is_not_understood_is_left_out(
    tmp_path: Path, store: gptimage.Store, sidecar: str
) -> None:
    """A sidecar of another shape keeps no image away."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "a.png").write_bytes(picture())
    (tmp_path / "old" / "a.json").write_text(sidecar)

    assert main(["migrate", str(tmp_path / "old")]) == 0

    assert [record.prompt for record in store.history(10)] == [""]


def test_a_file_that_is_no_image_is_named(
    old: Path, store: gptimage.Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are saved, and the exit code says that one was not."""
    (old / "broken.png").write_bytes(b"nothing")

    assert main(["migrate", str(old)]) == 1

    assert "not saved: broken.png" in capsys.readouterr().err
    assert len(store.history(10).records) == 4


def test_a_file_that_cannot_be_read_is_named(
    old: Path,
    store: gptimage.Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The others are saved all the same; it is told why."""
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "a-cat.png":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)

    assert main(["migrate", str(old)]) == 1

    assert "not saved: a-cat.png: [Errno 13] Permission denied" in capsys.readouterr().err
    assert len(store.history(10).records) == 3


def test_a_folder_that_is_not_there_is_refused(
    tmp_path: Path, store: gptimage.Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said by name, and nothing is done."""
    assert main(["migrate", str(tmp_path / "none")]) == 2

    assert "none is no folder" in capsys.readouterr().err
