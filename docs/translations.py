"""Brings the catalogs of translations up to date with the code; with --check only compares.

Sentences are marked in the code by ``_``, ``ngettext``, ``pgettext`` and ``N_``, and in templates by the first two.
Two sentences that are the value of one key of a table, ``(N_("One …"), N_("{count:,} …"))``, are singular and plural.
The help of a verb is its docstring; what a built-in recipe says of itself is its first sentence.

    python docs/translations.py            extract, update every language, compile
    python docs/translations.py de         the same, and begin German
    python docs/translations.py --check    say what is not up to date, and fail
"""

import ast
import datetime as dt
import inspect
import io
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from kilat.recipe.document import first_sentence

PACKAGE = Path(__file__).parents[1] / "src" / "kilat"
LOCALE = PACKAGE / "locale"
TEMPLATE = LOCALE / "kilat.pot"

_KEYWORDS = {"_": None, "ngettext": (1, 2), "pgettext": ((1, "c"), 2)}
_HEADER = "# Translations of kilat. CONTRIBUTING.md says how sentences and languages are added."
_LEFT_OUT = (  # of the header: what would change with every extraction, and what nobody fills in
    "Generated-By", "Language-Team", "Last-Translator", "PO-Revision-Date", "POT-Creation-Date", "Project-Id-Version",
    "Report-Msgid-Bugs-To",
)  # fmt: skip
_NEVER = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)

_Found = tuple[int, str, str | tuple[str, str], list[str]]


def extract_python(file: Any, keywords: object, comment_tags: object, options: object) -> Iterator[_Found]:  # noqa: ARG001
    """Yield the sentences of a Python file as Babel takes them: line, function, sentence or singular and plural."""
    tree = ast.parse(file.read())
    pairs = {id(value) for one in ast.walk(tree) if isinstance(one, ast.Dict) for value in one.values}
    in_pairs = set()
    for one in ast.walk(tree):
        if isinstance(one, ast.Tuple) and id(one) in pairs and len(one.elts) == 2 and all(map(_marked, one.elts)):
            singular, plural = (_argument(call, 0) for call in one.elts)
            in_pairs |= {id(call) for call in one.elts}
            yield one.lineno, "ngettext", (singular, plural), []
        elif isinstance(one, ast.FunctionDef) and any(map(_makes_verb, one.decorator_list)):
            yield one.lineno, "_", inspect.cleandoc(ast.get_docstring(one) or ""), []
        elif isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and id(one) not in in_pairs:
            if one.func.id in ("ngettext", "pgettext") and isinstance(one.args[0], ast.Constant):
                yield one.lineno, one.func.id, (_argument(one, 0), _argument(one, 1)), []
            elif one.func.id in ("_", "N_") and isinstance(one.args[0], ast.Constant):
                yield one.lineno, "_", _argument(one, 0), []


def extract_recipe(file: Any, keywords: object, comment_tags: object, options: object) -> Iterator[_Found]:  # noqa: ARG001
    """Yield what a built-in recipe says of itself."""
    yield 1, "_", first_sentence(file.read().decode("utf-8")), []


def _marked(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "N_"


def _argument(call: ast.expr, index: int) -> str:
    assert isinstance(call, ast.Call)
    argument = call.args[index]
    assert isinstance(argument, ast.Constant), ast.unparse(call)
    assert isinstance(argument.value, str), ast.unparse(call)
    return argument.value


def _makes_verb(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and ast.unparse(decorator.func) in ("verb", "app.callback")


def template() -> Catalog:
    """Return every sentence of the program, in the order of its files."""
    catalog = Catalog(charset="utf-8", header_comment=_HEADER, fuzzy=False)
    methods = [("**.py", extract_python), ("**.j2", "jinja2"), ("recipe/built_in/*.yaml", extract_recipe)]
    options = {"**.j2": {"trim_blocks": "true", "lstrip_blocks": "true", "silent": "false"}}
    found = extract_from_dir(PACKAGE, methods, options, _KEYWORDS)  # type: ignore[arg-type]
    for path, _line, message, _comments, context in sorted(found, key=lambda one: one[:2]):
        catalog.add(message, None, [(f"src/kilat/{path}", None)], context=context)  # type: ignore[list-item]
    return catalog


def updated(file: Path, language: str, sentences: Catalog) -> Catalog:
    """Return a language's catalog with the sentences of today; what is translated stays, what is gone goes."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        catalog = Catalog(language, charset="utf-8", header_comment=_HEADER, fuzzy=False)
    else:
        with file.open("rb") as stream:
            catalog = read_po(stream, language)
    catalog.update(sentences, no_fuzzy_matching=True, update_header_comment=False)
    catalog.obsolete.clear()
    for message in list(catalog):
        if message.id and message.fuzzy:  # it got a plural, or lost it
            message.flags.discard("fuzzy")
            message.string = ("",) * catalog.num_plurals if message.pluralizable else ""
    return catalog


def as_po(catalog: Catalog) -> bytes:
    """Return a catalog as text: one line a sentence, and nothing that would change by itself."""
    buffer = io.BytesIO()
    write_po(buffer, catalog, width=0)
    lines = buffer.getvalue().decode("utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.lstrip('"').startswith(_LEFT_OUT)).encode("utf-8")


def as_mo(catalog: Catalog) -> bytes:
    """Return a catalog as the program reads it."""
    translated = Catalog(catalog.locale, charset="utf-8", creation_date=_NEVER, revision_date=_NEVER, fuzzy=False)
    for message in catalog:
        if message.id and all(message.string if message.pluralizable else [message.string]):
            translated.add(message.id, message.string, context=message.context)
    buffer = io.BytesIO()
    write_mo(buffer, translated)
    return buffer.getvalue()


def files(more: Iterable[str] = ()) -> dict[Path, bytes]:
    """Return what every generated file of the catalogs holds.

    Args:
        more: languages to begin, such as ``de`` or ``pt_BR``.
    """
    sentences = template()
    found = {TEMPLATE: as_po(sentences)}
    for language in sorted({one.parent.parent.name for one in LOCALE.glob("*/LC_MESSAGES/kilat.po")} | set(more)):
        file = LOCALE / language / "LC_MESSAGES" / "kilat.po"
        catalog = updated(file, language, sentences)
        found |= {file: as_po(catalog), file.with_suffix(".mo"): as_mo(catalog)}
    return found


def main() -> None:
    """Write the files, or with --check say which are not up to date."""
    check = "--check" in sys.argv[1:]
    found = files(one for one in sys.argv[1:] if not one.startswith("-"))
    changed = [file for file, content in found.items() if not file.exists() or file.read_bytes() != content]
    for file in changed:
        if not check:
            file.write_bytes(found[file])
        print(f"{'not up to date' if check else 'wrote'}: {file.relative_to(PACKAGE.parents[1])}")
    if check and changed:
        sys.exit("Bring the catalogs up to date with: make translations")


if __name__ == "__main__":
    main()
