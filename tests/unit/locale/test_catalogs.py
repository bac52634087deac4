"""The catalogs of all languages: nothing untranslated, and nothing lost of what a sentence holds beside its words."""

import ast
import re
import string
from collections import Counter
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

import kilat
from kilat.cli import app
from kilat.locale import FOLDER, _, languages, ngettext

OTHERS = languages()[1:]
NAMES = {command.name or command.callback.__name__ for command in app.registered_commands}
VERBS = "|".join(sorted(NAMES - {"runs"}))  # "kilat runs none of it" is a sentence

COMMAND = re.compile(rf"\bkilat (?:{VERBS})\b|\bpip install \S+")
OPTION = re.compile(r"(?<![\w-])--?[a-z][\w-]*")
KEY = re.compile(r"\b[a-z_]+(?:\.[a-z_]+)+\b(?!\()")
TAG = re.compile(r"</?(?:a|b|br|code|em|strong)\b[^>]*>|&\w+;")
EDGES = re.compile(r"^\s*|\s*$")


def messages(language):
    with (FOLDER / language / "LC_MESSAGES" / "kilat.po").open("rb") as file:
        return [message for message in read_po(file, language) if message.id]


def translations(message):
    return message.string if message.pluralizable else (message.string,)


def fields(text):
    """The places of a sentence that are filled in, each with its format."""
    try:
        return Counter(field[1:] for field in string.Formatter().parse(text) if field[1] is not None)
    except ValueError:  # it is never filled in
        return Counter(re.findall("[{}]", text))


@pytest.fixture(scope="module", params=OTHERS)
def language(request):
    return request.param


def test_there_is_another_language_than_english():
    assert OTHERS


def test_nothing_is_untranslated_or_in_doubt(language):
    assert [m.id for m in messages(language) if m.fuzzy or not all(translations(m))] == []


def test_there_is_a_form_for_every_plural(language):
    with (FOLDER / language / "LC_MESSAGES" / "kilat.po").open("rb") as file:
        plurals = read_po(file, language).num_plurals
    assert {len(m.string) for m in messages(language) if m.pluralizable} == {plurals}


@pytest.mark.parametrize(
    "found_in",
    [
        pytest.param(fields, id="placeholders"),
        pytest.param(lambda text: Counter(COMMAND.findall(text)), id="commands"),
        pytest.param(lambda text: Counter(OPTION.findall(text)), id="options"),
        pytest.param(lambda text: Counter(KEY.findall(text)), id="keys of recipes and names of files"),
        pytest.param(lambda text: Counter(TAG.findall(text)), id="markup"),
        pytest.param(lambda text: Counter(EDGES.findall(text)), id="blanks at the ends"),
    ],
)
def test_translations_hold_what_the_sentence_holds(language, found_in):
    """Where there are a singular and a plural, what one of them holds or both: a language may have one form alone."""
    changed = []
    for message in messages(language):
        english = [found_in(text) for text in as_tuple(message.id)]
        may_hold = [*english, english[0] | english[-1]]
        changed += [one for one in translations(message) if one and found_in(one) not in may_hold]
    assert changed == []


def as_tuple(texts):
    return texts if isinstance(texts, tuple) else (texts,)


def test_the_compiled_catalog_is_that_of_the_text(language, monkeypatch):
    monkeypatch.setenv("KILAT_LANG", language)
    for message in messages(language):
        if message.pluralizable:
            assert ngettext(*message.id, 2) in message.string
        elif not message.context:
            assert _(message.id) == message.string


@pytest.fixture(scope="module")
def calls():
    """The arguments of every call that marks a sentence, with the place of each."""
    marks = {"_", "N_", "ngettext", "pgettext"}
    found = {}
    for path in sorted(Path(kilat.__file__).parent.rglob("*.py")):
        if "kilat.locale" in (text := path.read_text("utf-8")):
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in marks:
                    found[f"{path.name}:{node.lineno}:{node.col_offset}"] = (node.func.id, node.args)
    return found


def test_the_template_has_every_sentence_of_the_code(calls):
    """By the calls alone; ``make lint`` extracts those of templates and docstrings as well."""
    with (FOLDER / "kilat.pot").open("rb") as file:
        known = {text for message in read_po(file) for text in as_tuple(message.id)}
    counts = {"ngettext": slice(0, 2), "pgettext": slice(1, 2)}
    marked = {
        argument.value
        for name, arguments in calls.values()
        for argument in arguments[counts.get(name, slice(0, 1))]
        if isinstance(argument, ast.Constant)
    }
    assert sorted(marked - known) == []


def test_no_sentence_is_put_together_before_it_is_translated(calls):
    """No catalog has ``_(f"…{name}")``, ``_("…" + name)`` or ``_("…".format(name))``."""
    glued = [
        place
        for place, (_name, arguments) in calls.items()
        for argument in arguments
        for part in ast.walk(argument)
        if isinstance(part, ast.JoinedStr)
        or (isinstance(part, ast.BinOp) and isinstance(part.op, ast.Add) and argument is part)
        or (isinstance(part, ast.Attribute) and part.attr == "format")
    ]
    assert glued == []
