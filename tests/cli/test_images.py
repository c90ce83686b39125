"""``gptimage inspect``, ``diff`` and ``web``: a file's origin, two files, files for a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from gptimage import ConfigurationError, Image, ImageClient
from gptimage.cli.main import main
from gptimage.cli.parser import build_parser
from gptimage.image import Label
from gptimage.sandbox import Sandbox
from gptimage.store import Store
from tests.factories import image as plain
from tests.image.test_provenance import JUMBF, with_png_chunk


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command that succeeds prints."""
    capsys.readouterr()
    assert main([*words]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def put(folder: Path, name: str, image: Image) -> str:
    """A file with the bytes of an image."""
    path = folder / name
    path.write_bytes(image.data)
    return str(path)


def test_inspect_tells_what_a_file_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For people and for programs; a photograph says nothing, and a broken signature is none."""
    labelled = evolve(plain(64, 64), made_by=Label(model="some-model", id="img_1")).thumbnail(32)
    made = put(tmp_path, "made.png", labelled)
    photo = put(tmp_path, "photo.png", plain(64, 64))
    broken = with_png_chunk(plain(64, 64).data, b"caBX", JUMBF)
    (tmp_path / "broken.png").write_bytes(broken)

    text = printed(capsys, "inspect", made)
    document: Any = json.loads(printed(capsys, "inspect", made, "--json"))
    assert "trainedAlgorithmicMedia" in text
    assert "some-model" in text
    assert document["provenance"]["ai_made"] is True
    assert (document["format"], document["provenance"]["id"]) == ("png", "img_1")
    assert "it does not say" in printed(capsys, "inspect", photo)
    assert "cannot be read" in printed(capsys, "inspect", str(tmp_path / "broken.png"))


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x30\x82\x01\xff"])
def test_a_list_without_certificates_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    """No signer is called a stranger, and no manifest broken, for a file that is no PEM."""
    (tmp_path / "list.der").write_bytes(content)
    photo = put(tmp_path, "photo.png", plain(64, 64))

    assert main(["inspect", photo, "--trust", str(tmp_path / "list.der")]) == 2
    assert "no certificate as PEM" in capsys.readouterr().err


def test_diff_tells_where_images_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The share, the place and a map; images of different sizes are refused."""
    pixels = plain(64, 64).to_pil()
    pixels.paste("red", (8, 8, 24, 24))
    one = put(tmp_path, "one.png", plain(64, 64))
    other = put(tmp_path, "other.png", Image.from_pil(pixels))
    small = put(tmp_path, "small.png", plain(32, 32))
    heat = str(tmp_path / "heat.png")

    document: Any = json.loads(printed(capsys, "diff", one, other, "-o", heat, "--json"))
    assert (document["changed"], document["box"]) == (1 / 16, [8, 8, 24, 24])
    assert Image.from_path(document["heat_map"]).size == (64, 64)
    assert "6.25%" in printed(capsys, "diff", one, other)
    assert main(["diff", one, small]) == 2
    assert "differ in size" in capsys.readouterr().err


def test_the_sandbox_can_be_told_to_drift() -> None:
    """Each kind with its amount; what is no kind is refused by the sandbox, by name."""
    args = build_parser().parse_args(["sandbox", "--drift", "repaint=12", "--drift", "shift=3"])
    assert dict(args.drift) == {"repaint": 12.0, "shift": 3.0}
    for wrong in ({"zoom": 1}, {"shift": True}, {"tint": 2}, {"repaint": 0}, [("shift", 3)]):
        with pytest.raises(ConfigurationError, match="drift"):
            Sandbox(drift=wrong)  # type: ignore[arg-type]  # what untyped callers pass


def test_web_writes_files_and_prints_html(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The names begin as the file does; programs get the manifest, and an id its store's image."""
    path = put(tmp_path, "a fox.png", plain(64, 48))
    out = str(tmp_path / "static")
    words = ["--widths", "16,32", "--alt", "A <fox>", "--prefix", "/s/", "--eager"]
    html = printed(capsys, "web", path, "-o", out, *words)
    more = ["--formats", "webp,jpeg", "--name", "hero", "--sizes", "50vw", "--json"]
    manifest = json.loads(printed(capsys, "web", path, "-o", out, *more))
    with Store(tmp_path / "store") as store:
        client = ImageClient.sandbox(store=store)
        record = client.generate("A fox", size="512x512", quality="low").stored[0]
    shown = printed(capsys, "web", record.id, "-o", out, "--store", str(tmp_path / "store"))

    assert '<img src="/s/a-fox-32.jpg"' in html
    assert 'alt="A &lt;fox&gt;" loading="eager"' in html
    assert [Path(each).name for each in manifest["paths"]] == [
        "hero-64.webp",
        "hero-64.jpg",
        "hero.json",
    ]
    assert all(Path(each).is_file() for each in manifest["paths"])
    assert f"{record.id}-512.avif 512w" in shown


def test_alt_writes_the_text_of_an_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One paid turn for a stored image; `store alt` prints, edits and removes its text."""
    monkeypatch.setenv("GPTIMAGE_SANDBOX", "1")
    place = ["--store", str(tmp_path / "store")]
    with Store(tmp_path / "store") as store:
        client = ImageClient.sandbox(Sandbox(draw="plain"), store=store)
        id = client.generate("A fox", size="256x256", quality="low").stored[0].id
    off = ["--ledger", "off"]
    document = json.loads(printed(capsys, "alt", id, *place, *off, "--json"))
    text = printed(capsys, "alt", id, "--purpose", "decorative", *place, *off)
    path = put(tmp_path, "fox.png", plain(64, 48))
    other = printed(capsys, "alt", path, *off, "--context", "A page", "--language", "German")

    assert (document["id"], document["purpose"]) == (id, "informative")
    assert (text, other) == ("\n", f"{document['alt']}\n")
    assert 0 < len(document["alt"]) <= 125
    assert printed(capsys, "store", "alt", id, *place) == "\n"
    assert printed(capsys, "store", "alt", id, "A fox", *place) == "A fox\n"
    assert json.loads(printed(capsys, "store", "alt", id, *place, "--json"))["alt"] == "A fox"
    assert main(["store", "alt", id, "A cat", "--remove", *place]) == 2
    assert printed(capsys, "store", "alt", id, "--remove", *place) == "(none)\n"
