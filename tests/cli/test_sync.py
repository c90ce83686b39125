"""``gptimage images sync``: a manifest's images are drawn when they change, and only then."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gptimage import Image
from gptimage.cli.main import main
from gptimage.cli.manifest import ImageIndex
from gptimage.store import Store


INDEX = Path("images/images.index.json")
HEAD = """
folder = "images"
[defaults]
size = "64x64"
quality = "low"
"""
HERO = """
[[image]]
name = "hero"
prompt = "A red fox"
alt = "A fox in the snow."
"""
CARD = """
[[image]]
name = "card"
template = "og_image"
arguments = { title = "Docs" }
alt = ""
output = "cards/card.jpg"
"""


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    write(HEAD, HERO, CARD)


def write(*parts: str) -> None:
    """Write the manifest."""
    Path("images.toml").write_text("".join(parts), encoding="utf-8")


def sync(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[tuple[str, str]]]:
    """Run the command over the sandbox; return the exit code, and each file with its state."""
    capsys.readouterr()
    code = main(["images", "sync", "--sandbox", "--json", *words])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return code, [(line["file"], line["state"]) for line in lines if "file" in line]


def index() -> dict[str, Any]:
    """The files of the index."""
    found: dict[str, Any] = json.loads(INDEX.read_text(encoding="utf-8"))["images"]
    return found


def paid() -> int:
    """How many images were ever drawn."""
    with Store(Path("~/Pictures/gptimage").expanduser()) as store:
        return store.stats().images


def test_only_what_changed_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    """The first run draws all, the second nothing, and a changed prompt one image."""
    assert sync(capsys) == (0, [("hero.png", "drawn"), ("cards/card.jpg", "drawn")])
    assert Image.open("images/cards/card.jpg").format == "jpeg"
    line = index()["hero.png"]
    assert (line["alt"], line["width"], line["sandbox"]) == ("A fox in the snow.", 64, True)
    assert line["sha256"] == Image.open("images/hero.png").sha256
    before = INDEX.read_bytes()

    assert sync(capsys) == (0, [("hero.png", "current"), ("cards/card.jpg", "current")])
    assert INDEX.read_bytes() == before

    write(HEAD, HERO.replace("red", "grey"), CARD)
    assert sync(capsys, "--check")[0] == 1
    assert sync(capsys) == (0, [("hero.png", "drawn"), ("cards/card.jpg", "current")])
    assert (sync(capsys, "--check")[0], paid()) == (0, 3)


@pytest.mark.parametrize(
    ("old", "new", "states"),
    [
        ("A fox in the snow.", "A fox.", ["described", "current"]),  # free: only the index changes
        ('alt = "A', 'output = "a/b.png"\nalt = "A', ["copied", "current"]),  # free: a copy
        ('alt = "A', 'variant = 2\nalt = "A', ["drawn", "current"]),
        ('"low"', '"medium"', ["drawn", "drawn"]),
    ],
    ids=["alt text", "another file", "another variant", "a default"],
)
def test_what_a_change_costs(
    old: str, new: str, states: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Texts and places are free; what shapes the image is not; --check sees each."""
    sync(capsys)
    write(HEAD.replace(old, new), HERO.replace(old, new), CARD)

    assert sync(capsys, "--check")[0] == 1
    code, lines = sync(capsys)
    assert (code, [state for _, state in lines][:2]) == (0, states)
    assert (sync(capsys, "--check")[0], paid()) == (0, 2 + states.count("drawn"))


def test_nothing_is_deleted_unasked(capsys: pytest.CaptureFixture[str]) -> None:
    """A file that left the manifest stays until --prune, and so does one that was changed."""
    sync(capsys)
    write(HEAD, HERO)

    assert sync(capsys)[1][1:] == [("cards/card.jpg", "not in the manifest")]
    assert sync(capsys, "--check")[0] == 0
    assert sync(capsys, "--check", "--prune")[0] == 1
    Path("images/cards/card.jpg").write_bytes(b"mine")
    assert sync(capsys, "--prune")[1][1:] == []
    assert Path("images/cards/card.jpg").read_bytes() == b"mine"

    assert sync(capsys, "--prune", "--overwrite")[1][1:] == [("cards/card.jpg", "deleted")]
    assert not Path("images/cards/card.jpg").exists()
    assert list(index()) == ["hero.png"]


@pytest.mark.parametrize("words", [["--check"], ["--dry-run"], []])
def test_a_foreign_file_is_not_replaced(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that it did not draw is refused before anything is paid."""
    Path("images").mkdir()
    Path("images/hero.png").write_bytes(b"mine")

    code = main(["images", "sync", "--sandbox", *words])

    assert code == {"--check": 1, "--dry-run": 0}.get("".join(words), 2)
    assert Path("images/hero.png").read_bytes() == b"mine"
    assert list(Path("images").rglob("*.jpg")) == []
    if not words:
        assert "was not drawn by this command" in capsys.readouterr().err
        assert sync(capsys, "--overwrite")[0] == 0
        assert Image.open("images/hero.png").size == (64, 64)


def test_a_kill_before_the_index_costs_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image that was paid is found by the next run, whether its file was written or not."""
    from gptimage.cli.manifest import ImageIndex

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ImageIndex, "write", killed)
        assert main(["images", "sync", "--sandbox"]) == 130
    assert (paid(), INDEX.exists()) == (1, False)

    assert sync(capsys)[0] == 0
    assert paid() == 2
    Path("images/hero.png").unlink()
    assert sync(capsys)[1][0] == ("hero.png", "drawn")
    assert paid() == 2


def test_an_unknown_outcome_waits_for_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    """What may have been billed is not sent again; the others are drawn, the exit code is 4."""
    write(HEAD, HERO.replace("A red fox", "A fox [sandbox:cut]"), CARD)

    for _ in range(2):
        assert main(["images", "sync", "--sandbox"]) == 4
    out, err = capsys.readouterr()

    assert "hero.png" not in out
    assert list(index()) == ["cards/card.jpg"]
    assert "decide with `gptimage jobs show sandbox-images:" in err
    id = err.rpartition("`gptimage jobs show ")[2].partition("`")[0]
    where = str(Path("~/.local/state/gptimage/images.sqlite").expanduser())
    assert main(["jobs", "discard", id, "--job-store", where]) == 0
    assert main(["images", "sync", "--sandbox"]) == 1
    assert "variant = 2 in the manifest asks for another image" in capsys.readouterr().err


def test_a_budget_stops_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    """What would go beyond it is not sent, and one message is enough for all."""
    write(HEAD, HERO, HERO.replace("hero", "two").replace("red", "wet"), CARD)

    assert main(["images", "sync", "--sandbox", "--budget", "0.008/total"]) == 1

    assert "the others would fail alike; stopped" in capsys.readouterr().err
    assert (list(index()), paid()) == (["hero.png"], 1)


def test_a_dry_run_says_what_it_would_cost(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a key, and without a file; what the sandbox drew is to be drawn by the service."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    assert main(["images", "sync", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("2 of 2 to draw, about $0.0")
    assert not Path("images").exists()
    assert main(["images", "sync", "--check", "--provider", "gemini"]) == 2
    assert "hero: quality: Gemini takes no quality" in capsys.readouterr().err
    assert main(["images", "sync"]) == 3  # no key

    sync(capsys)
    assert main(["images", "sync", "--check"]) == 1
    assert "hero.png  (the sandbox drew it)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("manifest", "problem"),
    [
        (HEAD, "it has no images"),
        (HEAD + HERO.replace("alt", "alternative"), "hero: it has no alt: say what the image"),
        (HEAD + HERO.replace("alt", "siez = '1x1'\nalt"), "'siez' (did you mean 'size'?)"),
        (HEAD + HERO.replace("alt", "n = 2\nalt"), "unknown key 'n'"),
        (HEAD + HERO.replace("alt", "quality = 3\nalt"), "hero: quality: 3 cannot be used"),
        (HEAD + HERO.replace("alt", "quality = 'ultra'\nalt"), "hero: quality"),
        (HEAD + HERO.replace("alt", "template = 'og_image'\nalt"), "a prompt or a template"),
        (HEAD + CARD.replace("og_image", "og_imag"), "card: "),
        (HEAD + HERO.replace("alt", "output = '../fox.png'\nalt"), "must be a file below"),
        (HEAD + HERO.replace("alt", "output = '/fox.png'\nalt"), "must be a file below"),
        (HEAD + HERO.replace("alt", "output = 'fox.webp'\nformat = 'png'\nalt"), "does not end"),
        (HEAD + HERO + HERO, "two images have the name hero"),
        (HEAD.replace("images", "../images") + HERO, "folder '../images' must be below"),
        ("[[image]", "images.toml: "),
    ],
)
def test_a_wrong_manifest_is_refused_whole(
    manifest: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each mistake is named with its image, before anything is sent."""
    write(manifest)

    assert main(["images", "sync", "--sandbox"]) == 2

    message = capsys.readouterr().err
    assert problem in message
    assert "nothing was sent" in message
    assert not Path("images").exists() or list(Path("images").iterdir()) == []


def test_a_damaged_index_is_not_taken_for_empty(capsys: pytest.CaptureFixture[str]) -> None:
    """Else every image would be paid again."""
    sync(capsys)
    INDEX.write_text("<<<<" + "<<< HEAD\n", encoding="utf-8")

    assert main(["images", "sync", "--sandbox"]) == 2
    assert "restore it from version control" in capsys.readouterr().err


def test_two_images_that_change_places(capsys: pytest.CaptureFixture[str]) -> None:
    """Each file gets the image of its new prompt, and neither is drawn again."""
    red = '[[image]]\nname = "a"\nprompt = "A red fox"\nalt = ""\n'
    blue = '[[image]]\nname = "b"\nprompt = "A blue whale"\nalt = ""\n'
    write(HEAD, red, blue)
    sync(capsys)
    before = [Image.open(f"images/{name}.png").sha256 for name in "ab"]
    write(HEAD, red.replace('"a"', '"b"'), blue.replace('"b"', '"a"'))

    assert sync(capsys) == (0, [("b.png", "copied"), ("a.png", "copied")])
    assert [Image.open(f"images/{name}.png").sha256 for name in "ba"] == before
    assert sync(capsys, "--check") == (0, [("b.png", "current"), ("a.png", "current")])


def test_an_index_names_no_file_outside_its_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Of a stranger's repository: a file elsewhere, whose content is known, is not deleted."""
    sync(capsys)
    other = tmp_path / "other.txt"
    other.write_bytes(b"known")
    line = index()["hero.png"] | {"sha256": hashlib.sha256(b"known").hexdigest(), "request": ""}
    Path("images/link").symlink_to(tmp_path, target_is_directory=True)
    for name in ("../other.txt", str(other), "link/other.txt"):
        entries = {"version": 1, "images": {**index(), name: line}}
        hostile = json.dumps(entries)
        before = INDEX.read_bytes()
        INDEX.write_text(hostile, encoding="utf-8")

        assert main(["images", "sync", "--sandbox", "--prune"]) == 2
        assert f"names files outside its folder ({name!r})" in capsys.readouterr().err
        assert other.read_bytes() == b"known"
        INDEX.write_bytes(before)


@pytest.mark.parametrize("link", ["images", "images/cards"])
def test_links_do_not_lead_out_of_the_project(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, link: str
) -> None:
    """Of a stranger's repository: nothing is written where a link leads to."""
    elsewhere = tmp_path / "elsewhere"
    project = tmp_path / "project"
    Path(project / link).parent.mkdir(parents=True)
    elsewhere.mkdir()
    (project / link).symlink_to(elsewhere, target_is_directory=True)
    (project / "images.toml").write_text(Path("images.toml").read_text("utf-8"), "utf-8")

    assert main(["images", "sync", "--sandbox", str(project / "images.toml")]) == 2
    assert "leads out of its folder through a link" in capsys.readouterr().err
    assert list(elsewhere.iterdir()) == []
    assert paid() == 0


def test_nothing_is_deleted_after_a_run_that_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    """An image that was not reached may be a copy of a file that left the manifest."""
    write(HEAD, HERO)
    sync(capsys)
    first = HERO.replace("A red fox", "A blue whale").replace('"hero"', '"first"')
    write(HEAD, first, HERO.replace('"hero"', '"renamed"'))

    assert sync(capsys, "--prune", "--budget", "0.0001/total")[0] == 1
    assert Path("images/hero.png").exists()
    assert sync(capsys, "--prune") == (
        0,
        [("first.png", "drawn"), ("renamed.png", "copied"), ("hero.png", "deleted")],
    )


def test_what_left_the_manifest_is_shown_in_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """Between the state and the file is a space, however long the state is."""
    sync(capsys)
    write(HEAD, HERO)

    assert main(["images", "sync", "--sandbox"]) == 0

    expected = "current   hero.png\nnot in the manifest cards/card.jpg; --prune deletes it\n"
    assert capsys.readouterr().out == expected


def test_png_is_the_same_job_said_or_not(capsys: pytest.CaptureFixture[str]) -> None:
    """Another project names the file of a request that this machine has paid for already."""
    write(HEAD, HERO)
    sync(capsys)
    Path("images/hero.png").unlink()
    write(HEAD, HERO, 'output = "fox.png"\n')

    assert sync(capsys) == (0, [("fox.png", "drawn"), ("hero.png", "not in the manifest")])
    assert paid() == 1


def test_a_service_that_chooses_the_format(capsys: pytest.CaptureFixture[str]) -> None:
    """The file is what its name says, and is found again."""
    write(HEAD.replace('quality = "low"\n', "").replace("64x64", "1024x1024"), HERO)

    assert sync(capsys, "--provider", "gemini") == (0, [("hero.png", "drawn")])
    assert Image.open("images/hero.png").format == "png"
    assert sync(capsys, "--provider", "gemini", "--check") == (0, [("hero.png", "current")])


def test_an_image_that_the_store_has_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    """The message says which image of the manifest it is and what to do; the others are drawn."""
    write(HEAD, HERO)
    sync(capsys)
    Path("images/hero.png").unlink()
    with Store(Path("~/Pictures/gptimage").expanduser()) as store:
        (record,) = store.history()
        store.delete(record)
    write(HEAD, HERO, CARD)

    assert main(["images", "sync", "--sandbox"]) == 1
    out, err = capsys.readouterr()
    assert "hero: it was drawn and paid before, and the store has it no more" in err
    assert "cards/card.jpg" in out


def test_no_name_moves_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a stranger's manifest: what a terminal would obey is in no message."""
    write(HEAD, HERO.replace('"hero"', '"he\\u001b[31mro"'), 'output = "hero.png"\n')

    assert main(["images", "sync", "--sandbox"]) == 2
    err = capsys.readouterr().err
    assert "image 1: its name has characters that cannot be printed" in err
    assert "\x1b" not in err


def test_two_runs_at_once_keep_each_others_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Each puts its images into the index, and none is lost."""
    write(HEAD, HERO)
    sync(capsys)
    line = ImageIndex.read(INDEX).images["hero.png"]

    def run(name: str) -> None:
        for number in range(20):
            ImageIndex.change(INDEX, f"{name}{number}.png", line)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, "abcd"))

    assert len(index()) == 81
