"""Writes the pages of docs/reference/ that follow from the code; with --check only compares."""

import difflib
import gettext
import inspect
import json
import os
import re
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer
import yaml
from pydantic import BaseModel

from kilat import cli
from kilat import recipe as recipes
from kilat.cli import verb
from kilat.errors import RecipeError
from kilat.learn.metrics import Evaluation, Metrics
from kilat.locale import FOLDER, language_name, languages
from kilat.locale.glossary import GLOSSARY
from kilat.recipe import activation_function, fit, network, optimizer
from kilat.recipe.augment import Augment
from kilat.recipe.normalisation import Normalisation
from kilat.recipe.sections import Input, Trust
from kilat.recipe.words.instead import as_yaml
from kilat.report.lab_results import LabResults

HERE = Path(__file__).parent
SOURCE = HERE / "reference" / "techniques.yaml"

_OTHERWHERE = {"epochs", "batch", "optimizer", "schedule", "loss", "clip"}
_TELLING = ("layers", "optimizers", "schedules")  # the chapters whose entries have options of their own
_BASE = ["flatten", {"dense": "classes"}]
_INTRODUCTION = """\
# Techniques: what a recipe can say

Every line below goes into a recipe, under the section that stands above its table; options are shown with their
defaults. Lines, names and defaults are checked against the code when this page is written. They mean what they mean in
Keras 3 unless it is said otherwise.
[Networks](../guide/networks.md) shows how a recipe is trained.
"""


_WORDS = """\
# Words of other libraries

A recipe that is written in the words of Keras, PyTorch, fastai, Ultralytics and the like is refused with the very line
to write instead; so are `--set` and options of the command line (`--lr 0.1`). Layers may be given as in Python. Nothing
is translated silently, since defaults differ: kilat's are those of Keras 3.

The tables show what the messages say of some words; there are many more.
"""

_METRICS = """\
# metrics.json

Every run writes what it measured into `metrics.json`; `kilat train --json` prints the same, and `run.metrics` in Python
is it as an object with these names. A section or key that does not apply is absent, and what cannot be measured is
`null`. Keys are added, never renamed. Two equal runs differ in `timing` alone. `kilat eval --json` prints an
[Evaluation](#evaluation), which `kilat.evaluate` returns.
The schema for programs is [metrics.schema.json](metrics.schema.json).
"""


_LAB = """\
# lab.json

Every lab writes what it came to into `lab.json` of its folder; `kilat lab --json` prints the same. Keys are added,
never renamed. Two equal labs differ in `timing` and `machine` alone.
The schema for programs is [lab.schema.json](lab.schema.json).
"""


def commands() -> str:
    """Return the command reference as Markdown: what ``kilat --help`` says of every verb."""
    group = typer.main.get_command(cli.app)
    assert isinstance(group, verb.Verbs)
    top = typer.Context(group, info_name="kilat", **group.context_settings)
    parts = [f"{_notice('src/kilat/cli')}\n\n# Commands", _command(top)]
    for family, verbs in verb.families(group).items():
        parts += [f"## {family}", *(_command(typer.Context(one, parent=top, info_name=one.name)) for one in verbs)]
    return "\n\n".join(parts) + "\n"


def _command(context: typer.Context) -> str:
    """Return what the help of a command says, under a heading where it is a verb."""
    command: Any = context.command
    name = context.command_path
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    examples = [f"$ {line}" for line in (command.epilog or "").splitlines()]
    parts = [inspect.cleandoc(command.help), "\n".join(["```console", *(examples or [f"$ {usage}"]), "```"])]
    if examples:
        parts = [f"### {name}", *parts, f"Usage: `{usage}`"]
    records = [one.get_help_record(context) for one in command.get_params(context)]
    parts.append("\n".join(f"- `{names}`: {' '.join(text.split())}" for names, text in filter(None, records)))
    return "\n\n".join(parts)


def techniques() -> str:
    """The reference of techniques: the code's own sentences and defaults, and what reference/techniques.yaml adds."""
    chapters = yaml.safe_load(SOURCE.read_text("utf-8"))
    _require_all("a chapter", known(), [chapter["of"] for chapter in chapters])
    notice = _notice("src/kilat/recipe and docs/reference/techniques.yaml")
    return "\n".join([notice, "", _INTRODUCTION, *map(_chapter, chapters)])


def known() -> dict[str, dict[str, str]]:
    """What must be listed, by chapter: every name, with what the code says of it (empty where it says nothing)."""
    silent = dict.fromkeys
    fields = {name: _arguments(fit.Fit).get(name, "") for name in fit.Fit.model_fields if name not in _OTHERWHERE}
    weights = _arguments(network.Network)
    names, smoothing = get_args(fit.Loss.model_fields["name"].annotation), _arguments(fit.Loss)["label_smoothing"]
    return {
        "layers": {kind: _summary(layer) for kind, layer in network.KINDS.items()},
        "functions": silent(activation_function.ACTIVATIONS, ""),
        "inits": silent(network.INITS, ""),
        "norms": silent(("none", *Normalisation.model_fields), ""),
        "penalties": {name: weights[name] for name in ("l1", "l2", "max_norm")},
        "optimizers": silent(optimizer.OPTIMIZERS, ""),
        "schedules": {name: _summary(schedule) for name, schedule in fit.SCHEDULES.items()},
        "clips": _arguments(fit.Clip),
        "losses": silent(names, "") | {"label_smoothing": smoothing},
        "fit": fields,
        "augment": {name: _arguments(Augment).get(name, "") for name in Augment.model_fields},
        "normalise": silent(get_args(Input.model_fields["normalise"].annotation), ""),
        "trust": {name: _arguments(Trust).get(name, "") for name in Trust.model_fields},
    }


def _chapter(chapter: dict[str, Any]) -> str:
    said, entries = known()[chapter["of"]], chapter["entries"]
    _require_all(chapter["title"], said, entries)
    rows = [_row(chapter, name, entry, said[name]) for name, entry in entries.items()]
    heads = ["in a recipe", "what it does", "when", *(["options"] if chapter["of"] in _TELLING else []), "from"]
    table = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}", *rows]
    return "\n".join([f"## {chapter['title']}", "", f"Under `{chapter['under']}`. {chapter['about']}", "", *table, ""])


def _row(chapter: dict[str, Any], name: str, entry: dict[str, Any], said: str) -> str:
    line, what = entry["recipe"], entry.get("what", said)
    if name not in line or not what:
        sys.exit(f"{SOURCE.name}: {name}: the line does not name it, or nobody says what it does.")
    _require_valid(chapter["under"], line, entry.get("layers", _BASE))
    what = re.sub(r" \([^()]*arXiv[^()]*\)", "", what)  # the paper has a column of its own
    what = what[:1].upper() + what[1:].rstrip(".") + "."
    cells = [f"`{line}`", what, entry["when"], *_options(chapter["of"], name), entry["source"]]
    return f"| {' | '.join(cells)} |"


def _require_valid(under: str, line: str, layers: list[Any]) -> None:
    """A line of the page must be one that a recipe takes."""
    given = yaml.safe_load(line)
    document: dict[str, Any] = {"model": {"layers": layers}}
    if under == "model.layers":
        document["model"]["layers"] = [given, *layers]
    else:
        document.setdefault(under, {}).update(given)
    recipes.load(document)


def _require_all(where: str, expected: Iterable[str], listed: Iterable[str]) -> None:
    if problem := ", ".join(sorted(set(expected) ^ set(listed))):
        sys.exit(f"{SOURCE.name}: {where}: missing, or unknown to the recipe: {problem}.")


def _options(chapter: str, name: str) -> list[str]:
    """Return names and defaults of further options as a cell; none where the chapter has no such column."""
    if chapter not in _TELLING:
        return []
    defaults: dict[str, Any] = dict(optimizer.OPTIMIZER_DEFAULTS.get(name, {}))
    if chapter != "optimizers":
        section = {**network.KINDS, **fit.SCHEDULES}[name]
        shared = network.Weighted.model_fields if issubclass(section, network.Weighted) else {}
        fields = {key: one for key, one in section.model_fields.items() if key not in shared}
        defaults = {key: one.get_default() for key, one in fields.items() if not one.is_required()}
    options = [f"`{key}: {_written(value)}`" for key, value in defaults.items() if value is not None]
    return [", ".join(options) or "—"]


def _written(value: Any) -> str:
    if isinstance(value, tuple) and len(set(value)) == 1:
        return str(value[0])
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _summary(section: type[BaseModel]) -> str:
    """The first sentence that a section says of itself."""
    return _plain((inspect.getdoc(section) or "").partition("\n\n")[0])


def _arguments(section: type[BaseModel]) -> dict[str, str]:
    """Return what a section's docstring says of each option."""
    _start, _mark, text = (inspect.getdoc(section) or "").partition("Args:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    return {name: _plain(said) for name, said in found}


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")


def _notice(source: str) -> str:
    return f"<!-- Written by docs/generate.py from {source}: change it there, then run `make docs`. -->"


def words() -> str:
    """Return the page of other libraries' words: what a recipe's own messages say of each."""
    chapters = yaml.safe_load((HERE / "reference" / "words.yaml").read_text("utf-8"))
    parts = [_notice("src/kilat/recipe/words and docs/reference/words.yaml"), _WORDS]
    for chapter in chapters:
        rows = [f"| {_code(_foreign(word))} | {_instead(chapter['in'], word)} |" for word in chapter["words"]]
        place = f" under `{chapter['in']}`" if chapter["in"] not in ("", "layers") else ""
        parts += [f"## {chapter['title']}", "\n".join([f"| written{place} | in a recipe |", "| --- | --- |", *rows])]
    return "\n\n".join(parts) + "\n"


def _foreign(word: Any) -> str:
    return word if isinstance(word, str) else as_yaml(word)[1:-1]


def _instead(section: str, word: Any) -> str:
    """Return what a recipe that is refused for a word says: the lines to write, and what is to be known of them."""
    if section == "layers":
        document: dict[str, Any] = {"model": {"layers": [word, *_BASE]}}
    else:
        document = {"model": {"layers": _BASE}, **({section: word} if section else word)}
    try:
        recipes.load(document)
    except RecipeError as error:
        _heading, *lines = error.message.split("\n")
    else:
        return _code(_foreign(word))  # it is one of kilat's own
    return "; ".join(_as_code(line.strip().partition(": ")[2]) for line in lines)


def _as_code(sentence: str) -> str:
    """Return a sentence with the lines to write in it as code."""
    said, bracket, note = sentence.partition(" (")
    said = re.sub(r"write (.+?)(?=$|; under |; write )", lambda found: _lines_as_code(found[1]), said)
    return f"{said}{bracket}{note}"


def _lines_as_code(lines: str) -> str:
    return " and ".join(map(_code, lines.split(" and ")))


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def metrics() -> str:
    """Return the reference of what is measured: every section with its keys, their types, and what the code says."""
    sections = [*_sections(Metrics), Evaluation]
    return _document(_notice("src/kilat/learn/metrics.py and measures.py"), _METRICS, sections)


def metrics_schema() -> str:
    """Return the JSON schema of ``metrics.json``."""
    return _schema(Metrics)


def lab() -> str:
    """Return the reference of what a lab comes to."""
    return _document(_notice("src/kilat/report/lab_results.py"), _LAB, _sections(LabResults))


def lab_schema() -> str:
    """Return the JSON schema of ``lab.json``."""
    return _schema(LabResults)


def _schema(section: type[BaseModel]) -> str:
    return json.dumps(section.model_json_schema(by_alias=True), indent=1) + "\n"


def _document(notice: str, introduction: str, sections: Iterable[type[BaseModel]]) -> str:
    """Return the reference of a JSON document: a table for each of its sections."""
    parts = [notice, introduction]
    for section in sections:
        text = (inspect.getdoc(section) or "").partition("\n\nArgs:")[0]
        said = {name: words for base in reversed(section.__mro__) for name, words in _arguments(base).items()}
        rows = [
            f"| `{field.alias or name}` | {_type(field.annotation)} | {_sentence(said.get(field.alias or name, ''))} |"
            for name, field in section.model_fields.items()
        ]
        parts += [f"## {section.__name__}", _plain(text), "\n".join(["| key | type | |", "| --- | --- | --- |", *rows])]
    return "\n\n".join(parts) + "\n"


def _sections(section: type[BaseModel]) -> list[type[BaseModel]]:
    """A model and all models in its fields, each once, in the order in which they are first named."""
    found = [section]
    for one in found:
        for field in one.model_fields.values():
            found += [kind for kind in _models(field.annotation) if kind not in found]
    return found


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [kind for inner in get_args(annotation) for kind in _models(inner)]


def _type(annotation: Any) -> str:
    """A type as a reader of JSON calls it, models with a link to their section."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    inner = get_args(annotation)
    match get_origin(annotation):
        case None:
            names = {int: "integer", float: "number", str: "string", bool: "true or false", type(None): "null"}
            text = names.get(annotation, "anything")
        case origin if origin is list:
            text = f"list of {_type(inner[0])}"
        case origin if origin is dict:
            text = f"{_type(inner[1])} by name"
        case origin if origin is tuple:
            text = "[low, high]"
        case origin if origin is Literal:
            text = " or ".join(f"`{json.dumps(value)}`" for value in inner)
        case _:
            text = " or ".join(_type(one) for one in inner)
    return text


def glossary(code: str) -> str:
    """Return the page of the glossary in a language: each word, what others call it, and what it means.

    The words are those of kilat's catalogs; what else stands on the page is in the course's words.yaml.
    """
    others = [other for other in languages() if other != code]
    rows = []
    for key, term in GLOSSARY.items():
        name, meaning = (said(text, code) for text in (term.name, term.meaning))
        names = [f'<span id="{key}">{name}</span>', *(said(term.name, other) for other in others)]
        rows.append((name.casefold(), f"| {' | '.join([*names, meaning])} |"))
    words = HERE / code / "course" / "words.yaml"
    own = yaml.safe_load(words.read_text("utf-8")) if words.exists() else {}
    heading, terminal, word, meaning = (
        own.get(text, text) for text in ("Glossary", "In a terminal: `kilat glossary dropout`.", "word", "meaning")
    )
    titles = [word, *map(language_name, others), meaning]
    table = [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}", *(row for _name, row in sorted(rows))]
    return "\n".join([f"# {heading}", "", terminal, "", *table, ""])


def said(text: str, code: str) -> str:
    """Return a sentence of kilat in a language; as it is in English."""
    return gettext.translation("kilat", FOLDER, [code], fallback=True).gettext(text)


PAGES = {
    "reference/cli.md": commands,
    "reference/techniques.md": techniques,
    "reference/words.md": words,
    "reference/metrics.md": metrics,
    "reference/metrics.schema.json": metrics_schema,
    "reference/lab.md": lab,
    "reference/lab.schema.json": lab_schema,
    **{f"{'' if code == 'en' else f'{code}/'}course/glossary.md": partial(glossary, code) for code in languages()},
}


def main() -> int:
    """Writes the pages, or with --check compares them; 1 if one is stale."""
    os.environ["KILAT_LANG"] = "en"  # whatever language the developer's system has
    stale = False
    for name, write in PAGES.items():
        page, new = HERE / name, write()
        old = page.read_text("utf-8") if page.exists() else ""
        if "--check" not in sys.argv[1:]:
            page.write_text(new, "utf-8")
        elif new != old:
            stale = True
            sys.stderr.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True), name, "the code"))
            print(f"{page} is stale: run `make docs`.", file=sys.stderr)
    return int(stale)


if __name__ == "__main__":
    sys.exit(main())
