"""The rows of a table as text: CSV with any usual delimiter, lines of words, JSON Lines.

Parquet has a module of its own. Nothing is known yet about what the columns mean, nor whether the first line names
them.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kilat.data.image_file import PICTURE_SUFFIXES
from kilat.data.table.cells import Cells, cell_text
from kilat.data.table.column import Column, names_picture
from kilat.data.table.parquet import read_parquet
from kilat.errors import SourceError
from kilat.locale import _
from kilat.locale.system_errors import system_reason
from kilat.runtime.csv_tables import is_own, unquoted

DELIMITED = (".csv", ".tsv", ".tab", ".psv", ".txt", ".lst")
LINES_OF_JSON = (".jsonl", ".ndjson", ".manifest")
TABLES = (*DELIMITED, *LINES_OF_JSON, ".parquet")
"""Endings of the files that are read as tables."""

_NAME_AND_LABEL = re.compile(rf"(.+?\.(?:{'|'.join(sorted(PICTURE_SUFFIXES))}))\s+(\S+|[^\d\s].*)", re.IGNORECASE)
"""A line of a list of pictures: a name, and a label, which is one word or does not begin with a number."""

_PIXEL = re.compile(r"\s*(?:(?:pixel|pix|px|x|f)?[\W_]*\d+|\d+x\d+)(?:\.\d+)?\s*", re.IGNORECASE)
"""How columns of pixels are called, and what stands in them where there is no header."""

_MIN_PIXELS = 64
"""Columns from which on they are taken for pixels: those of scikit-learn's digits."""

_SAMPLE = 50
"""Lines that decide which delimiter a file has."""


def hint_for_other_table(name: str) -> str:
    """Return how a table of another kind becomes one that is read; nothing where the name is not that of a table."""
    suffix = Path(name.lower()).suffix
    if suffix in (".xlsx", ".xls", ".xlsm", ".ods", ".numbers"):
        return _("Save it as 'CSV UTF-8' from the spreadsheet, and give that file.")
    if suffix == ".json":
        return _("Write it as a table with one row and one label a picture: CSV, or JSON Lines with one object a line.")
    if suffix in (".gz", ".bz2", ".xz"):
        return _("Unpack it first, and give the table itself.")
    if suffix in (".feather", ".arrow", ".orc", ".pkl", ".pickle", ".h5", ".hdf5", ".sqlite", ".db"):
        return _("Save it as CSV or Parquet, such as with pandas: table.to_csv('table.csv', index=False)")
    return ""


def read_cells(file: Path) -> Cells:
    """Return the cells of a table.

    Raises:
        SourceError: it cannot be read, or is not what its name says.
    """
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        return read_parquet(file)
    if suffix in LINES_OF_JSON:
        return _read_json_lines(file)
    return _read_delimited(file)


def _read_delimited(file: Path) -> Cells:
    text = TextFile(file)
    sample = list(islice(text, _SAMPLE + 1))
    given = re.fullmatch(r"sep=(.)\r?\n", sample[0]) if sample else None  # Excel's own way to name the delimiter
    skipped = 1 if given else 0
    sample = sample[skipped:]
    delimiter = given[1] if given else _delimiter(sample, words=file.suffix.lower() in (".txt", ".lst"))
    if delimiter == " " and (pairs := _names_and_labels(text)):
        return _of_rows(file, iter(pairs), delimiter, text.encoding)
    _require_no_pixels(file, sample[0].split(delimiter) if sample else [])
    rows = CsvRows(file, islice(text, skipped, None), delimiter, 1 + skipped)
    return _of_rows(file, rows, delimiter, text.encoding)


def _require_no_pixels(file: Path, names: list[str]) -> None:
    """Raise where the first line is that of pixels, before millions of them are read."""
    pixels = sum(_PIXEL.fullmatch(name) is not None for name in names)
    if any(Column(0, name, ()).is_called_path or names_picture(name) for name in names):  # then numbers may be classes
        pixels = sum("p" in name.casefold() and _PIXEL.fullmatch(name) is not None for name in names)
    if pixels >= _MIN_PIXELS and 2 * pixels > len(names):
        raise SourceError(
            _("{file} holds pixels, not the names of pictures: {count:,} columns such as '{name}'.").format(
                file=file, count=pixels, name=names[-1].strip()
            ),
            hint=_("Save them as pictures, a folder for each class, or give uint8 arrays from Python."),
        )


@@OF@@def _names_and_labels(lines: list[str]) -> list[list[str]]:
    """Return lines of a picture's name and a label, where blanks may stand in both; nothing where they are not such."""
    found = [_NAME_AND_LABEL.fullmatch(line.strip()) for line in lines if line.strip()]
    return [[match[1], match[2]] for match in found if match] if all(found) else []


def _delimiter(lines: io.StringIO, *, words: bool) -> str:
    """Return the delimiter that gives the most lines the same number of cells, of more than one; then the most cells.

    Args:
        lines: the text.
        words: whether blanks may delimit, as in lists of paths with a number behind.
    """
    sample = [line for _number, line in zip(range(_SAMPLE), lines, strict=False)]

    def regularity(delimiter: str) -> tuple[float, int]:
        rows = csv.reader(sample, delimiter=delimiter, skipinitialspace=delimiter == " ")
        widths = Counter(len(row) for row in rows if any(cell.strip() for cell in row))
        width, count = max(widths.items(), key=lambda item: (item[0] > 1, item[1], item[0]), default=(0, 0))
        return (count / widths.total(), width) if width > 1 else (0.0, 0)

    return max(",;\t|" + " " * words, key=regularity)


def _read_json_lines(file: Path) -> Cells:
    """Return JSON Lines as a table; what stands in an object inside an object gets a name with a full stop."""
    rows: list[dict[str, str]] = []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise SourceError(
                _("Line {line} of {file} is not JSON: {error}.").format(line=number, file=file, error=error),
                hint=_("JSON Lines have one object a line: {example}").format(
                    example='{"file_name": "1.jpg", "label": "daisy"}'
                ),
            ) from error
        if not isinstance(record, dict):
            raise SourceError(
                _("Line {line} of {file} is not an object: {found}.").format(
                    line=number, file=file, found=line.strip()[:40]
                ),
                hint=_("JSON Lines have one object a line: {example}").format(
                    example='{"file_name": "1.jpg", "label": "daisy"}'
                ),
            )
        rows.append(dict(_flatten(record)))
    names = list(dict.fromkeys(name for row in rows for name in row))
    return Cells(names, [[row.get(name, "") for row in rows] for name in names])


def _flatten(record: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, cell_text(value)
