"""Class names in the order of a model's outputs, as people have them: in a row, or in a file that a tool wrote."""

import csv
import os
import re
from pathlib import Path
from typing import Any

from kilat.errors import RecipeError
from kilat.locale import _
from kilat.locale.excerpt import shortened
from kilat.locale.system_errors import system_reason
from kilat.runtime.json_document import parse_json
from kilat.runtime.regular_file import read_regular_file

_ENDINGS = (".txt", ".json", ".csv", ".tsv", ".names", ".labels", ".pbtxt", ".yaml", ".yml")
_KEYS = ("labels", "classes", "class_names", "class_indices", "names")
"""Under which documents keep their names; Teachable Machine's metadata.json has ``labels``."""

_MAX_BYTES = 1 << 22
_LONGEST_LINE = 1_000
"""Characters of a line with a name and its number."""

_NUMBERED = re.compile(
    r"(?P<number>\d{1,9})(?:\s*[,;:=]\s*|\s+)(?P<name>\S.*)|(?P<before>.*\S)\s*[,;:=\t]\s*(?P<last>\d{1,9})"
)


def parse_class_names(text: str) -> list[str]:
    """Return the class names that an option gives: a row with commas, or a file of names.

    A row follows the rules of CSV: a name with a comma stands in double quotes. A file is a list or a mapping in JSON
    (``class_indices.json``, either way round), or text with a name on each line, with or without its number before it
    (``labels.txt`` of Teachable Machine).

    Raises:
        RecipeError: the file cannot be read, or its numbers are not those of outputs.
    """
    path = Path(text)
    if os.path.isfile(path):
        return _read_file(path)
    if "," not in text and path.suffix.lower() in _ENDINGS:
        raise RecipeError(
            _("The file of class names {path} does not exist.").format(path=path),
            hint=_("Give a file with a name on each line, or the names themselves: daisy,rose,tulip"),
        )
    return _row(text)


def _row(text: str) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader([text], skipinitialspace=True), [])]
    except csv.Error as error:
        raise RecipeError(
            _("The class names '{names}' cannot be read: {reason}.").format(names=shortened(text), reason=error)
        ) from None


def _read_file(path: Path) -> list[str]:
    try:
        content = read_regular_file(path, _MAX_BYTES)
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = system_reason(error) if isinstance(error, OSError) else error
        raise RecipeError(
            _("The file of class names {path} cannot be read as text: {reason}.").format(path=path, reason=reason)
        ) from None
    if path.suffix.lower() == ".json" or text.lstrip().startswith(("{", "[")):
        try:
            return _from_json(parse_json(content), path)
        except ValueError as error:
            raise RecipeError(
                _("The file of class names {path} is not valid JSON: {reason}.").format(path=path, reason=error)
            ) from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) == 1:
        return _row(lines[0])
    return _numbered(lines) or _numbered(lines[1:]) or [_unquoted(line) for line in lines]


def _numbered(lines: list[str]) -> list[str]:
    """Return the names of lines that each hold the number of an output too, in its order; nothing of other lines."""
    if any(len(line) > _LONGEST_LINE for line in lines):
        return []
    found = [_NUMBERED.fullmatch(line) for line in lines]
    names = {int(one["number"] or one["last"]): _unquoted(one["name"] or one["before"]) for one in found if one}
    first = min(names, default=0)
    if len(names) < len(lines) or first > 1 or set(names) != set(range(first, first + len(names))):
        return []
    return [names[number] for number in sorted(names)]


def _unquoted(name: str) -> str:
    """Return a name without the double quotes that CSV puts around it."""
    row = _row(name) if name.startswith('"') else []
    return row[0] if len(row) == 1 else name.strip()


def _from_json(document: Any, path: Path) -> list[str]:
    if isinstance(document, dict):
        inside = [document[key] for key in _KEYS if isinstance(document.get(key), list | dict)]
        if inside:
            return _from_json(inside[0], path)
        by_number = _by_number(document)
        if by_number and set(by_number) == set(range(len(document))):
            return [by_number[number] for number in sorted(by_number)]
    elif isinstance(document, list) and document and all(isinstance(name, str | int) for name in document):
        return [str(name).strip() for name in document]
    raise RecipeError(
        _("{path} does not give a name to each output from 0.").format(path=path),
        hint=_('It may be a list ["daisy", "rose"], or a mapping such as {{"daisy": 0, "rose": 1}}.').format(),
    )


def _by_number(document: dict[str, Any]) -> dict[int, str]:
    """Return the name of each number of a mapping, from names to numbers or from numbers to names."""
    values = list(document.values())
    if values and all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return {value: name.strip() for name, value in document.items()}
    are_numbers = all(re.fullmatch(r"[0-9]{1,9}", key) for key in document)
    if are_numbers and all(isinstance(value, str | list) for value in values):
        # ImageNet's index gives each number two names, the second for people: {"0": ["n01440764", "tench"]}
        return {
            int(key): str(value[-1] if isinstance(value, list) and value else value).strip()
            for key, value in document.items()
        }
    return {}
