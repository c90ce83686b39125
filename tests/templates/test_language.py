"""The template language: what it means, what it joins cleanly, and what it refuses."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptimage.templates.arguments import TemplateArgument
from gptimage.templates.definition import used, validate
from gptimage.templates.language import parse
from gptimage.templates.render import ArgumentValue, inside_quotes, render, with_article


ARGUMENTS = {
    "subject": TemplateArgument(name="subject", required=True),
    "mood": TemplateArgument(name="mood"),
    "style": TemplateArgument(name="style"),
    "metal": TemplateArgument(name="metal", type="choice", choices=("gold", "rose-gold", "tin")),
    "framed": TemplateArgument(name="framed", type="boolean"),
}


def problems(template: str) -> list[str]:
    """Everything wrong with a template over the arguments above."""
    found: list[str] = []
    parts = parse(template, found)
    return [*found, *validate(parts, ARGUMENTS, frozenset())]


def rendered(template: str, **values: str | bool) -> str:
    """A template's text for these values."""
    found: list[str] = []
    parts = parse(template, found)
    assert found == []
    return render(parts, {name: ArgumentValue(value, str(value)) for name, value in values.items()})


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("A {subject}.", "A fox."),
        ("A picture of {a subject}.", "A picture of a fox."),
        ("{A subject} runs.", "A fox runs."),
        ("A {subject}[ in {mood} light].", "A fox."),
        ("A {subject}[, {style}[ and {mood}]].", "A fox."),
        ("{if mood}Moody.{else}Plain.{end}", "Plain."),
        ("{if not mood}Plain.{end}", "Plain."),
        ("{if framed}Framed.{else if not mood}Bare.{end}", "Bare."),
        ("{if subject is fox or dog}Animal.{end}", "Animal."),
        ("{if subject is not fox}Other.{else}Fox.{end}", "Fox."),
        ('{if subject is "FOX"}Fox.{end}', "Fox."),
        ("Set {{x}} and {[}y{]}.", "Set {x} and [y]."),
        ("A\n  {subject}\nruns.", "A fox runs."),
        ("One.\n\n\n  Two.", "One.\n\nTwo."),
        ("List:\n- {subject}\n- end", "List:\n- fox\n- end"),
    ],
)
def test_meaning(template: str, expected: str) -> None:
    """Each form of the language does what its documentation says."""
    assert expected == rendered(template, subject="fox")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("A fox [ in {mood} light] runs.", "A fox runs."),
        ("A fox [in {mood} light].", "A fox."),
        ("A fox [in {mood} light], red.", "A fox, red."),
        ("[In {mood} light.] A fox runs.", "A fox runs."),
        ("A fox runs. [In {mood} light.]", "A fox runs."),
        ("One.\n\n[{mood}]\n\nTwo.", "One.\n\nTwo."),
        ("One. {if mood}x{end} {if style}y{end} Two.", "One. Two."),
    ],
)
def test_gaps_close(template: str, expected: str) -> None:
    """A section that goes leaves no double space, no space before a comma, no empty paragraph."""
    assert expected == rendered(template)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("A {fox}.", "line 1: no argument is called 'fox'; declared are subject"),
        ("One\ntwo\n{moood}", "line 3: no argument is called 'moood' (did you mean 'mood'?)"),
        ("In {mood} light.", "line 1: {mood} may be missing; put the words"),
        ("[x {mood}] {style}", "line 1: {style} may be missing"),
        ("{if style}{mood}{end}", "line 1: {mood} may be missing"),
        ("{if not mood}{mood}{end}", "line 1: {mood} may be missing"),
        ("{if metal is gold}x{else}{metal}{end}", "line 1: {metal} may be missing"),
        ("Is {framed}.", "line 1: framed is true or false and has no text"),
        ("{if metal is golden}x{end}", "line 1: metal is never 'golden' (did you mean 'gold'?)"),
        ("{if framed is true}x{end}", "line 1: framed has no choices or suggestions"),
        ("{if nothing}x{end}", "line 1: no argument is called 'nothing'"),
        ("{brand.colour}", "line 1: no argument is called 'brand.colour'"),
        ("{brand.name}", "line 1: {brand.name} may be missing"),
        ("[logo]", "line 1: a [section] must name an argument"),
        ("[a {mood}", "line 1: '[' is not closed at all"),
        ("[a {if mood}x] {end}", "line 1: {if} is not closed with {end} before ]"),
        ("{if mood}[x {mood}{end}]", "line 1: '[' is not closed before {end}"),
        ("a ]", "line 1: ] closes nothing that is open"),
        ("a {end}", "line 1: {end} closes nothing that is open"),
        ("a {else}", "line 1: {else} closes nothing that is open"),
        ("{if mood}x{else}y{else}z{end}", "line 1: nothing but {end} can follow {else}"),
        ("{if mood}x", "line 1: {if} is not closed with {end} at all"),
        ("{if}x{end}", "line 1: {if} is not understood"),
        ("{if a b}x{end}", "line 1: {if a b} is not understood"),
        ("a } b", "line 1: a lone } means nothing; write }}"),
        ("a { b", "line 1: a lone { means nothing; write {{"),
        ("{}", "line 1: {} is not understood"),
        ("{subject.__class__}", "line 1: {subject.__class__} is not understood"),
        ("{subject!r}", "line 1: {subject!r} is not understood"),
        ("{not}", "line 1: {not} is not understood"),
        ('A "{subject}.', 'a quotation mark (") is opened and never closed'),
        ('"[{mood}"]', 'line 1: a quotation mark (") inside [ has no partner'),
        ('{if mood}"{end}"', 'line 1: a quotation mark (") inside {if} has no partner'),
    ],
)
def test_problems_are_found_before_rendering(template: str, problem: str) -> None:
    """Whatever is wrong with a template is one sentence with its line."""
    found = problems(template)

    assert len(found) == 1
    assert found[0].startswith(problem)


@pytest.mark.parametrize(
    "template",
    [
        "{if not mood}Plain.{else}{mood}.{end}",
        "{if metal is not gold}Plain.{else}{metal}.{end}",
        "{if metal is gold or tin}{metal}.{end}",
        "{if not mood}Plain.{else if style}{mood}, {style}.{end}",
        "[{mood} and {if style}{mood}, {style}{end}]",
    ],
)
def test_branches_know_what_was_given(template: str) -> None:
    """Where a branch can only be reached with an argument, it needs no section."""
    assert problems(template) == []


def test_all_problems_are_found() -> None:
    """One pass reports every unknown name and every form that is not understood."""
    assert len(problems("{fox} {dog} {!} {mood} {if cat}x{end}")) == 5


@pytest.mark.parametrize("nested", ["[" * 5_000, "{if mood}" * 5_000, "[{mood}" * 30 + "]" * 30])
def test_depth_is_bounded(nested: str) -> None:
    """Absurd nesting is a problem, not a crash."""
    found: list[str] = []
    parse(nested, found)

    assert found == ["line 1: nested deeper than 16 levels"]


@given(st.text(alphabet='{}[]"- \n.,aif mood else end is not or', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Garbage becomes problems; text without problems renders."""
    found: list[str] = []
    parts = parse(text, found)
    if not found and not validate(parts, ARGUMENTS, frozenset()):
        render(parts, {"subject": ArgumentValue("fox", "fox")})


names = st.sampled_from(["subject", "mood", "style", "metal"])
leaves = st.one_of(
    st.sampled_from(["words ", "{subject}, and", " in the snow.", "\n\n"]),
    names.map("{{{}}}".format),
    names.map("{{a {}}}".format),
)
conditions = st.sampled_from(["mood", "not style", "metal is gold or tin", "framed"])
templates = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds("[{} {{{}}}]".format, inner, names),
        st.builds("{{if {}}}{}{{else}}{}{{end}}".format, conditions, inner, inner),
        st.lists(inner, min_size=1, max_size=3).map("".join),
    ),
    max_leaves=8,
)


@given(templates)
def test_checked_templates_render_with_every_subset(template: str) -> None:
    """What passes the check never misses a value, and never leaves a double space."""
    found: list[str] = []
    parts = parse(template, found)
    assert found == []
    if validate(parts, ARGUMENTS, frozenset()):
        return
    values: dict[str, str | bool] = {
        "mood": "calm",
        "style": "flat",
        "metal": "tin",
        "framed": True,
    }
    for chosen in subsets(values):
        known = {name: ArgumentValue(values[name], str(values[name])) for name in chosen}
        text = render(parts, {"subject": ArgumentValue("fox", "fox"), **known})
        assert "  " not in text
        assert " ," not in text
        assert text == text.strip()


def subsets(values: Iterable[str]) -> Iterable[tuple[str, ...]]:
    """Every subset."""
    names = list(values)
    return itertools.chain.from_iterable(
        itertools.combinations(names, size) for size in range(len(names) + 1)
    )


def test_used_names() -> None:
    """Names in variables and conditions are found, however deep."""
    found: list[str] = []
    parts = parse("{subject}[ {mood}{if style is x}{metal}{end}]", found)

    assert set(used(parts)) == {"subject", "mood", "style", "metal"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("fox", "a fox"),
        ("orange fox", "an orange fox"),
        ("hour", "an hour"),
        ("honest look", "an honest look"),
        ("house", "a house"),
        ("unique look", "a unique look"),
        ("unusual look", "an unusual look"),
        ("university", "a university"),
        ("European city", "a European city"),
        ("one-page layout", "a one-page layout"),
        ("SVG drawing", "an SVG drawing"),
        ("LED wall", "an LED wall"),
        ("NASA poster", "a NASA poster"),
        ("UI", "a UI"),
        ("USB stick", "a USB stick"),
        ("AI robot", "an AI robot"),
        ("X-ray", "an X-ray"),
        ("8-bit look", "an 8-bit look"),
        ("80s look", "an 80s look"),
        ("1980s look", "a 1980s look"),
        ("11th hour", "an 11th hour"),
        ("“odd” look", "an “odd” look"),
        ("a bold look", "a bold look"),
        ("the Bauhaus", "the Bauhaus"),
        ("an old look", "an old look"),
    ],
)
def test_article(words: str, expected: str) -> None:
    """The article follows the sound, and is left out where the words bring one."""
    assert expected == with_article(words)
    assert expected[0].upper() + expected[1:] == with_article(words, capital=True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ('"Hi"', "“Hi”"),
        ('Say "hi" now', "Say “hi” now"),
        ('("Hi")', "(“Hi”)"),
        ('a 24" screen', "a 24” screen"),
        ("it's", "it's"),
        ("two\r\n  lines", "two lines"),
    ],
)
def test_inside_quotes(words: str, expected: str) -> None:
    """Between quotation marks, text stays on one line and cannot close them."""
    assert expected == inside_quotes(words)
