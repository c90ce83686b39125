"""Templates of your own: TOML and JSON files, brands, extending, and every problem at once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage.errors import TemplateError
from gptimage.templates import Brand, PromptTemplates
from gptimage.templates.definition import Definition, build
from gptimage.templates.loading import from_json


CARD = """
title = "Card"
description = "A card."
template = 'A card that says "{words}"[, {style}].'
[recommended]
size = "4:3"
[arguments.words]
required = true
max_length = 20
[arguments.style]
suggestions = ["plain"]
"""


def folder(tmp_path: Path, **files: str) -> Path:
    """A folder with these files; ``__`` stands for the dot of the extension."""
    for name, text in files.items():
        (tmp_path / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return tmp_path


def refused(path: Path) -> TemplateError:
    """The error loading a folder ends with."""
    with pytest.raises(TemplateError) as caught:
        PromptTemplates.load(path)
    return caught.value


def test_toml(tmp_path: Path) -> None:
    """A TOML file is a template named after the file."""
    templates = PromptTemplates.load(folder(tmp_path, card__toml=CARD))
    prompt = templates["card"](words="Hello", style="plain")

    assert prompt.text == 'A card that says "Hello", plain.'
    assert prompt.size == "4:3"
    assert templates["card"].file == str(tmp_path / "card.toml")


def test_json(tmp_path: Path) -> None:
    """A JSON file with the documented keys is a template; style becomes a sentence."""
    document = {
        "name": "custom-template-name",
        "description": "Template description",
        "arguments": {"required": ["arg1", "arg2"], "optional": ["arg3"]},
        "template": "Optimized prompt template with {arg1} and {arg2}[, also {arg3}].",
        "metadata": {
            "recommended_size": "1024x1024",
            "quality": "standard",
            "style": "vivid {x} [y].",
        },
    }
    templates = PromptTemplates.load(folder(tmp_path, a__json=json.dumps(document)))
    template = templates["custom-template-name"]
    prompt = template(arg1="one", arg2="two")

    assert prompt.text == (
        "Optimized prompt template with one and two.\n\nThe overall style is vivid {x} [y]."
    )
    assert (prompt.size, prompt.quality) == ("1024x1024", "medium")
    assert [(each.name, each.required) for each in template.arguments] == [
        ("arg1", True),
        ("arg2", True),
        ("arg3", False),
    ]


def test_json_arguments_may_be_defined(tmp_path: Path) -> None:
    """Arguments as a table of definitions take the keys of the TOML files."""
    document = {
        "arguments": {
            "required": {"subject": {"max_length": 5}},
            "optional": {"tint": {"choices": ["red", "blue"], "default": "red"}},
        },
        "template": "A {tint} {subject}.",
    }
    templates = PromptTemplates.load(folder(tmp_path, a__json=json.dumps(document)))

    assert templates.render("a", subject="fox", tint="Blue").text == "A blue fox."
    with pytest.raises(TemplateError, match="at most 5"):
        templates.render("a", subject="foxes and hounds")


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    """Hidden files, folders inside and files of other kinds are not templates."""
    path = folder(tmp_path, card__toml=CARD, readme__md="x", _hidden__toml="", notes__txt="x")
    (path / "_hidden.toml").rename(path / ".hidden.toml")
    (path / "inner").mkdir()

    assert PromptTemplates.load(str(path)).names == ("card",)


def test_extends_a_builtin(tmp_path: Path) -> None:
    """What a template does not say comes from the one it extends; `{base}` is its text."""
    own = """
    extends = "og_image"
    template = "{base} A small rocket stands in the corner."
    [arguments.title]
    max_length = 10
    [arguments.brand_name]
    default = "Acme"
    [recommended]
    quality = "high"
    """
    templates = PromptTemplates.load(folder(tmp_path, launch__toml=own))
    base = PromptTemplates.builtin().render("og_image", title="Hi", brand_name="Acme")
    prompt = templates.render("launch", title="Hi")

    assert prompt.text == f"{base.text} A small rocket stands in the corner."
    assert (prompt.size, prompt.quality, prompt.format) == ("1200x630", "high", "jpeg")
    assert templates["launch"].title == "Launch"
    with pytest.raises(TemplateError, match="at most 10"):
        templates.render("launch", title="Longer than ten")


def test_a_new_text_drops_inherited_arguments_it_does_not_use(tmp_path: Path) -> None:
    """An inherited argument without an effect is gone rather than accepted and ignored."""
    own = """
    extends = "creative_image"
    template = "A postcard of {subject}."
    """
    template = PromptTemplates.load(folder(tmp_path, card__toml=own))["card"]

    assert [argument.name for argument in template.arguments] == ["subject"]
    assert template.render(template.example).text.startswith("A postcard of a red fox")


def test_extends_another_file_and_shadows_a_builtin(tmp_path: Path) -> None:
    """Files of the folder can extend each other, and one named like a built-in extends that."""
    path = folder(
        tmp_path,
        og_image__toml='extends = "og_image"\ntemplate = "{base} One."',
        two__toml='extends = "og_image"\ntemplate = "{base} Two."',
    )
    text = PromptTemplates.load(path).render("two", title="Hi").text

    assert text.endswith("watermarks. One. Two.")


def test_brand(tmp_path: Path) -> None:
    """Every template of the folder can use the folder's brand."""
    path = folder(
        tmp_path,
        brand__toml="""
        name = "Acme"
        palette = ["navy (#0B1F3A)", "coral", "white"]
        tone = "dry"
        avoid = "clip art"
        """,
        og__toml='extends = "og_image"',
        note__toml="""
        template = "A note from {brand.name}[ about {topic}]."
        [arguments.topic]
        """,
    )
    templates = PromptTemplates.load(path)

    assert templates.brand == Brand(
        name="Acme", palette="navy (#0B1F3A), coral and white", tone="dry", avoid="clip art"
    )
    assert templates.render("note").text == "A note from Acme."
    text = templates.render("og", title="Hi").text
    assert 'The name "Acme" appears' in text
    assert "The colours are navy (#0B1F3A), coral and white." in text
    assert text.endswith("Also leave out clip art.")
    assert "Acme" not in templates.render("og", title="Hi", brand_name="Other").text


def test_a_template_that_needs_its_brand_says_so(tmp_path: Path) -> None:
    """Given a brand without the field it relies on, rendering names the field."""
    path = folder(
        tmp_path, brand__toml='name = "Acme"', note__toml='template = "From {brand.name}."'
    )
    other = PromptTemplates.load(path).with_brand(Brand(tone="dry"))

    with pytest.raises(TemplateError, match=r"note: it uses \{brand\.name\} outside of \[brackets"):
        other.render("note")


def test_every_problem_of_every_file_at_once(tmp_path: Path) -> None:
    """One load names each problem with its file; none hides another."""
    path = folder(
        tmp_path,
        brand__toml='nmae = "Acme"\ntone = 3',
        a__toml="template = 'A {fox} and {dog}.'\ntitel = 'x'",
        b__toml="template = 'unclosed",
        c__json='{"template": "x", "metadata": {"recommended_size": "huge", "look": "x"}}',
        d__json="[1]",
        e__toml="""
        extends = "og_imag"
        """,
        good__toml=CARD,
    )
    error = refused(path)

    expected = [
        "brand.toml: unknown key 'nmae'",
        "brand.toml: tone must be text",
        "a.toml: unknown key 'titel'",
        "a.toml: line 1: no argument is called 'fox'",
        "a.toml: line 1: no argument is called 'dog'",
        "b.toml: is not valid TOML",
        "c.json: metadata: unknown key 'look'",
        "c.json: recommended: size 'huge' is not understood",
        "d.json: must hold one JSON object",
        "e.toml: extends 'og_imag', which does not exist (did you mean 'og_image'?)",
    ]
    assert len(error.problems) == len(expected)
    for problem in expected:
        assert [line for line in error.problems if line.startswith(problem)], problem
    assert str(error).count("\n") == 0
    assert f"{len(error.problems)} problems" in str(error)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "key 'template' is missing"),
        ("template = 3", "template must be text"),
        ("template = '  '", "template must be text that is not empty"),
        ("template = 'x'\nname = 'Not A Name'", "the name 'Not A Name' cannot be used"),
        ("template = 'x'\nname = '../up'", "the name '../up' cannot be used"),
        ("template = 'x'\narguments = 3", "arguments must be a table"),
        (
            "template = 'x'\n[arguments]\nfox = 3",
            "arguments.fox must be a table|fox must be a table",
        ),
        ("template = 'x'\n[arguments.fox]", "argument 'fox' is declared and never used"),
        ("template = 'x'\n[arguments.Fox]", "'Fox' cannot be a name"),
        ("template = 'x'\n[arguments.if]", "'if' cannot be a name"),
        ("template = '{x}'\n[arguments.x]\ntype = 'number'", "type 'number' is not one of"),
        ("template = '{x}'\n[arguments.x]\ntype = 'choice'", "type 'choice' needs choices"),
        ("template = '{x}'\n[arguments.x]\nchoices = []", "choices must be a list of different"),
        ("template = '{x}'\n[arguments.x]\nchoices = ['a', 'A']", "differ only in case"),
        (
            "template = '{x}'\n[arguments.x]\nchoices = ['a', 'b']\ndefault = 'c'",
            "arguments.x: default: 'c' is not allowed",
        ),
        (
            "template = '{x}'\n[arguments.x]\nrequired = true\ndefault = 'c'",
            "a required argument is always given, so default would never be used",
        ),
        (
            "template = '{if x}y{end}'\n[arguments.x]\ntype = 'boolean'\nmax_length = 3",
            "max_length belongs to type 'string', not 'boolean'",
        ),
        (
            "template = '{x}'\n[arguments.x]\nrequired = true\nmax_length = 0",
            "max_length must be a whole number above zero",
        ),
        ("template = 'x'\n[recommended]\nsize = 'huge'", "size 'huge' is not understood"),
        ("template = 'x'\n[recommended]\nquality = 'best'", "quality 'best' is not one of low"),
        ("template = 'x'\n[recommended]\nstyle = 'vivid'", "unknown key 'style'"),
        ("template = 'x'\n[recommended.size.x]\na = '1:1'", "no argument 'x' with choices"),
        (
            """template = '{x}'
            recommended = {size = {x = {a = "1:1"}}}
            arguments = {x = {required = true, choices = ["a", "b"]}}""",
            "recommended.size.x: says nothing for b",
        ),
        (
            "template = '{x}'\n[arguments.x]\nrequired = true\n[example]\ny = 'a'",
            "example: unknown key 'y'",
        ),
        (
            """template = '{x}'
            arguments = {x = {required = true, max_length = 2}}
            example = {x = "abc"}""",
            "example: x: it has 3 characters",
        ),
        ("extends = 'one'\n", "extends 'one', which does not exist"),
        ("extends = 3\n", "extends 3, which does not exist"),
        ("template = '{base}'", "{base} is not understood"),
        ("template = 'x\ufeff'\n[[arguments]]\n", "arguments must be a table"),
    ],
)
def test_problems_name_file_and_place(tmp_path: Path, text: str, problem: str) -> None:
    """Each mistake is one sentence that names the file, the place and what would be right."""
    error = refused(folder(tmp_path, one__toml=text))

    assert any(each in error.problems[0] for each in problem.split("|")), error.problems
    assert error.problems[0].startswith("one.toml: ")
    assert error.file == str(tmp_path / "one.toml")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.toml", b"\xff\xfe", "is not UTF-8 text (byte 0)"),
        ("a.toml", b"a = " + b"[" * 100_000, "is nested too deeply"),
        ("a.json", b"[" * 100_000, "is nested too deeply"),
        ("a.json", b"null", "must hold one JSON object"),
        ("a.json", b"{", "is not valid JSON"),
        ("a.json", b'{"template": ' + b"9" * 5_000 + b"}", "is not valid JSON"),
        ("a.toml", b"a." * 20_000 + b"a = 1", "has a key of more than 32 parts"),
        ("a.toml", b"[[" + b"a . " * 9_000 + b"a]]", "has a key of more than 32 parts"),
        ("a.toml", b"x = {'a'." + b'"b".' * 9_000 + b"c = 1}", "has a key of more than 32 parts"),
        ("a.toml", b"#" * 300_000, "is larger than 256 KiB"),
        (
            "a.json",
            b'{"arguments": {"required": ["x", "x"]}, "template": "{x}"}',
            "different names",
        ),
        (
            "a.json",
            b'{"arguments": {"required": ["x"], "optional": ["x"]}, "template": "{x}"}',
            "'x' is declared twice",
        ),
        ("A b.toml", b"template = 'x'", "the name 'A b' cannot be used"),
        ("brand.toml", b"palette = [1, 2]", "palette must be text or a list of texts"),
    ],
)
def test_hostile_files_are_problems(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    """Bytes that are no template end in a problem that names the file, never in a crash."""
    (tmp_path / name).write_bytes(content)
    error = refused(tmp_path)

    assert error.problems[0].startswith(f"{name}: ")
    assert problem in error.problems[0]


def test_extending_in_a_circle(tmp_path: Path) -> None:
    """Templates that extend each other are a problem, not an endless loop."""
    error = refused(
        folder(tmp_path, a__toml='extends = "b"', b__toml='extends = "a"', c__toml='extends = "c"')
    )

    assert [line.partition(" which")[0] for line in error.problems] == [
        "a.toml: extends a template that in the end extends itself",
        "b.toml: extends a template that in the end extends itself",
        "c.toml: extends 'c',",
    ]


def test_one_name_twice(tmp_path: Path) -> None:
    """Two files cannot define the same template."""
    error = refused(folder(tmp_path, card__toml=CARD, card__json='{"template": "x"}'))

    assert error.problems == ("card.toml: the name 'card' is already taken by card.json",)


def test_folder_is_missing(tmp_path: Path) -> None:
    """A folder that cannot be read is named."""
    error = refused(tmp_path / "nowhere")

    assert "cannot read the template folder" in str(error)
    assert error.file == str(tmp_path / "nowhere")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_no_file(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """A folder or a pipe called x.toml is a problem with that name."""
    make(tmp_path / "x.toml")

    assert refused(tmp_path).problems == ("x.toml: cannot be read: it is no file",)


def test_reload(tmp_path: Path) -> None:
    """Files are read again on request; the old set stays as it was."""
    path = folder(tmp_path, card__toml=CARD)
    first = PromptTemplates.builtin() | PromptTemplates.load(path)
    assert not first.changed()

    (path / "card.toml").write_text(CARD.replace("A card", "A postcard"), encoding="utf-8")
    folder(tmp_path, extra__toml="template = 'Extra.'")
    second = first.reloaded()

    assert first.changed()
    assert not second.changed()
    assert first.render("card", words="x").text.startswith("A card")
    assert second.render("card", words="x").text.startswith("A postcard")
    assert set(second) - set(first) == {"extra"}


def test_reload_notices_an_edit_of_the_same_length(tmp_path: Path) -> None:
    """The time of change counts, not only the size."""
    path = folder(tmp_path, card__toml=CARD)
    templates = PromptTemplates.load(path)
    status = (path / "card.toml").stat()
    os.utime(path / "card.toml", ns=(status.st_atime_ns, status.st_mtime_ns + 1))

    assert templates.changed()


def test_reload_keeps_the_brand_and_reports_problems(tmp_path: Path) -> None:
    """A branded set is branded again, and a broken file leaves the old set usable."""
    path = folder(tmp_path, note__toml='template = "A note[ from {brand.name}]."')
    templates = PromptTemplates.load(path).with_brand(Brand(name="Acme"))
    assert templates.reloaded().render("note").text == "A note from Acme."

    (path / "note.toml").write_text("template = '{x}'", encoding="utf-8")
    with pytest.raises(TemplateError, match="no argument is called 'x'"):
        templates.reloaded()
    assert templates.render("note").text == "A note from Acme."


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
keys = st.sampled_from(
    ["name", "title", "template", "arguments", "recommended", "example", "extends", "metadata"]
)
argument_keys = st.sampled_from(
    ["type", "required", "default", "choices", "suggestions", "max_length", "if_true", "from_brand"]
)
tables = st.dictionaries(
    keys,
    values
    | st.sampled_from(["A {x}.", "{if x is a}b{end}", "[{x}]"])
    | st.dictionaries(
        st.sampled_from(["x", "y"]), st.dictionaries(argument_keys, values, max_size=4)
    )
    | st.dictionaries(st.sampled_from(["size", "quality", "required", "optional"]), values),
)


@given(tables)
def test_any_table_is_a_template_or_problems(table: dict[str, Any]) -> None:
    """Whatever a file holds, building it ends in problems or in a template that renders."""
    problems: list[str] = []
    template = build(Definition(name="x", data=table), None, problems)
    if problems:
        return
    required = {each.name: each.values[0] if each.values else "1" for each in template.arguments}
    try:
        assert template.render(required).template == "x"
    except TemplateError as error:
        assert "at most" in str(error)  # noqa: PT017  # the only reason left


@given(tables)
def test_any_json_is_a_table_or_problems(document: dict[str, Any]) -> None:
    """Whatever a JSON file holds, bringing it into the TOML shape never crashes."""
    problems: list[str] = []
    table = from_json(document, problems)
    build(Definition(name="x", data=table), None, problems)


@given(tables)
def test_any_table_can_extend_a_builtin(table: dict[str, Any]) -> None:
    """Merging with a built-in template never crashes either."""
    base = Definition(
        name="base",
        data={"template": "A {x}.", "arguments": {"x": {"required": True}}, "recommended": {}},
    )
    build(Definition(name="x", data=table).over(base), None, [])
