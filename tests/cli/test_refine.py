"""``gptimage refine``: images appear turn by turn, and the output says how to go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from gptimage import Image
from gptimage.cli.main import main
from gptimage.sandbox import Sandbox, SandboxServer
from gptimage.store import Store


FAST = ("--quality", "low", "--size", "1024x1024")


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A service over HTTP that outlives each command, and an empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    sandbox = Sandbox()
    with SandboxServer(sandbox=sandbox) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        yield sandbox


def test_each_prompt_is_a_turn(service: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """Two prompts, two images, one conversation."""
    code = main(["refine", "A cabin", "Add snow", "-o", "out/cabin.jpg", "--json", *FAST])
    first, second = map(json.loads, capsys.readouterr().out.splitlines())

    assert code == 0
    assert [each["files"][0]["path"] for each in (first, second)] == [
        "out/cabin-1.jpg",
        "out/cabin-2.jpg",
    ]
    assert Image.from_path("out/cabin-2.jpg").format == "jpeg"
    assert service.requests[-1].body["previous_response_id"] == first["response_id"]
    assert Decimal(second["cost_usd"]) > 0
    assert Decimal(second["chat_cost_usd"]) > 0


def test_a_later_command_goes_on(service: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """The id it printed is enough."""
    main(["refine", "A cabin", "-o", "one.png", *FAST])
    said = capsys.readouterr().out
    code = main(["refine", "Add snow", "--resume", said.split()[-1], "-o", "two.png", *FAST])

    assert "Here is the image." in said
    assert code == 0
    assert "Here is the changed image." in capsys.readouterr().out


def test_a_store_keeps_the_thread(service: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """With a store, the id is the image's, and the new image is its child."""
    main(["refine", "A cabin", "--store", "pictures", *FAST])
    start = capsys.readouterr().out.split()[-1]
    main(["refine", "Add snow", "--store", "pictures", "--resume", start, *FAST])
    end = capsys.readouterr().out.split()[-1]

    assert start.startswith("img_")
    assert Store("pictures").get(end).parent == start


def test_previews_are_kept(service: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is saved as it arrives."""
    code = main(["refine", "A cabin", "-o", "cabin.png", "--partial-images", "2", *FAST])

    assert code == 0
    assert sorted(path.name for path in Path().glob("cabin*.png")) == [
        "cabin-partial-1.png",
        "cabin-partial-2.png",
        "cabin.png",
    ]
    assert "a preview is in" in capsys.readouterr().err


def test_it_works_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Several turns need nothing but the sandbox, and each says that it was not billed."""
    monkeypatch.chdir(tmp_path)

    assert main(["refine", "A cabin", "Add snow", "--sandbox", "-o", "x.png", *FAST]) == 0
    assert len(list(tmp_path.glob("x-*.png"))) == 2
    assert capsys.readouterr().out.count(" (sandbox: nothing was billed)") == 2


def test_refusals_are_one_line(service: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is sent, and the exit code says whose mistake it was."""
    assert main(["refine", "A cabin", "-o", "x.png", "--format", "webp"]) == 2
    assert main(["refine", "A cabin", "--action", "edit"]) == 2
    assert main(["refine", "A cabin", "--resume", "img_nope", "--store", "off"]) == 3
    assert service.requests == []
    assert len(capsys.readouterr().err.strip().splitlines()) <= 4


def test_another_service_is_gone_on_with_from_its_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Gemini remembers nothing: the next command sends the turns again; no store, no going on."""
    monkeypatch.chdir(tmp_path)
    sandbox = Sandbox(provider="gemini", draw="plain")
    with SandboxServer(sandbox=sandbox) as server:
        monkeypatch.setenv("GEMINI_API_KEY", "k")
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.azure_endpoint)
        gemini = ["--provider", "gemini", "--store", "pictures"]
        main(["refine", "A cabin", "-o", "one.jpg", *gemini])
        (record,) = Store("pictures").history()
        said = capsys.readouterr().out
        code = main(["refine", "Add snow", "--resume", record.id, "-o", "two.jpg", *gemini])
        main(["refine", "A cabin", "-o", "three.jpg", *gemini[:2], "--store", "off"])

    assert (code, said.split()[-1]) == (0, record.id)
    assert len(sandbox.requests[1].body["contents"]) == 3  # type: ignore[arg-type]  # a list
    assert "draw with a store" in capsys.readouterr().out
