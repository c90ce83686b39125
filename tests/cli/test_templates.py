"""``gptimage templates``: what a shell sees of prompt templates."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gptimage import Image
from gptimage.cli.main import main
from gptimage.sandbox import Sandbox, SandboxServer
from gptimage.templates import PromptTemplates


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A service over HTTP, and the settings that lead there."""
    sandbox = Sandbox()
    with SandboxServer(sandbox=sandbox) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        yield sandbox


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command that works prints."""
    code = main(["templates", *words])
    printed = capsys.readouterr()
    assert (code, printed.err) == (0, "")
    return printed.out


def fails(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command that is refused says."""
    assert main(["templates", *words]) == 2
    return capsys.readouterr().err


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    """Every template is a line, or an object with ``--json``."""
    lines = run(capsys, "list").splitlines()
    documents = json.loads(run(capsys, "list", "--json"))

    assert [line.split()[0] for line in lines] == list(PromptTemplates.builtin())
    assert [each["name"] for each in documents] == list(PromptTemplates.builtin())


def test_show(capsys: pytest.CaptureFixture[str]) -> None:
    """One template's arguments, with types, limits and values."""
    shown = run(capsys, "show", "og_image")
    document = json.loads(run(capsys, "show", "og_image", "--json"))

    assert "title               (string, required, at most 60 characters)" in shown
    assert "text_layout         (choice, centered by default)" in shown
    assert "recommended: 1200x630 medium opaque jpeg" in shown
    assert document["schema"]["required"] == ["title"]


def test_render(capsys: pytest.CaptureFixture[str]) -> None:
    """The prompt is printed; with ``--json`` it comes with its settings."""
    words = ("render", "og_image", "title=Now = then", "include_logo=yes")
    expected = PromptTemplates.builtin().render("og_image", title="Now = then", include_logo=True)
    document = json.loads(run(capsys, *words, "--json"))

    assert run(capsys, *words) == f"{expected.text}\n"
    assert (document["text"], document["size"]) == (expected.text, "1200x630")
    assert document["arguments"] == dict(expected.arguments)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["render", "og_imag"], "there is no template 'og_imag' (did you mean 'og_image'?)"),
        (["render", "og_image"], "title is required"),
        (["render", "og_image", "title"], "'title' is not KEY=VALUE"),
        (["render", "og_image", "title=a", "title=b"], "'title' is given twice"),
        (["show", "og_image", "--folder", "nowhere"], "cannot read the template folder nowhere"),
        (["new", "Not A Name"], "cannot be a template's name"),
        (["new", "../up"], "cannot be a template's name"),
        (["new", "mine", "--extends", "nothing"], "there is no template 'nothing'"),
    ],
)
def test_refused(capsys: pytest.CaptureFixture[str], words: list[str], problem: str) -> None:
    """Mistakes end with exit code 2 and one line that says what would be right."""
    said = fails(capsys, *words)

    assert problem in said
    assert said.count("\n") == 1
    assert list(Path().iterdir()) == []


def test_new_loads_and_renders(capsys: pytest.CaptureFixture[str]) -> None:
    """A started template works as it stands."""
    path = run(capsys, "new", "my-own", "--folder", "mine").strip()
    own = PromptTemplates.load("mine")["my-own"]

    assert Path(path) == Path("mine/my-own.toml")
    assert own.title == "My own"
    assert own.render(own.example).text == (
        "A finished image of a lighthouse in a storm. The style is watercolour. "
        "Leave out lettering, logos and watermarks."
    )
    assert "is there already" in fails(capsys, "new", "my-own", "--folder", "mine")


def test_new_extends_any_template(capsys: pytest.CaptureFixture[str]) -> None:
    """A template can be started from each of the ten, and from one's own."""
    for name in PromptTemplates.builtin():
        run(capsys, "new", f"my_{name}", "--extends", name, "--folder", "mine")
    run(capsys, "new", "second", "--extends", "my_og_image", "--folder", "mine")
    own = PromptTemplates.load("mine")

    assert len(own) == 11
    for template in own.values():
        assert "Say here what is special" in template.render(template.example).text


def test_folder_with_a_brand(capsys: pytest.CaptureFixture[str]) -> None:
    """A folder adds its templates, and its brand reaches the built-in ones as well."""
    Path("brand.toml").write_text('name = "Acme"', encoding="utf-8")
    Path("own.toml").write_text('template = "From {brand.name}."', encoding="utf-8")

    assert run(capsys, "render", "own", "--folder", ".") == "From Acme.\n"
    assert '"Acme"' in run(capsys, "render", "og_image", "title=Hi", "--folder", ".")


def test_gallery(capsys: pytest.CaptureFixture[str]) -> None:
    """All ten are drawn in their recommended size and format, with a sheet of them all."""
    printed = run(capsys, "gallery", "--sandbox", "--json", "-o", "out")
    paths = [json.loads(line)["files"][0]["path"] for line in printed.splitlines()]
    pictures = {Path(path).stem: Image.from_path(path) for path in paths}

    assert list(pictures) == [*PromptTemplates.builtin(), "contact-sheet"]
    for name, template in PromptTemplates.builtin().items():
        prompt = template.render(template.example)
        width, height = pictures[name].size or (0, 0)
        assert f"{width}x{height}" == prompt.size
        assert pictures[name].format == (prompt.format or "png")


def test_gallery_never_bills_by_surprise(
    service: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a key, the gallery names the cost and sends nothing without ``--yes``."""
    assert "draws 10 images for about $" in fails(capsys, "gallery")
    assert len(service.requests) == 0
