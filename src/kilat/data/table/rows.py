"""The rows of a table as text: CSV with any usual delimiter, lines of words, JSON Lines.

Parquet has a module of its own. Nothing is known yet about what the columns mean, nor whether the first line names
them.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from kilat.data.bounds import DEEPEST_JSON
from kilat.data.image_file import PICTURE_SUFFIXES
from kilat.data.table.cells import Cells, cell_text
from kilat.data.table.column import Column, names_picture
from kilat.data.table.csv_rows import CsvRows
from kilat.data.table.parquet import read_parquet
from kilat.data.table.text_columns import TextColumns
from kilat.data.table.text_file import TextFile
from kilat.errors import SourceError
from kilat.locale import _
from kilat.locale.excerpt import excerpt
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

_LONGEST_PAIR = 10_000
"""Characters of such a line, above which it is none."""

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
    sample = list(islice(text, _SAMPLE))
    given = (
        re.fullmatch(r"sep=([^\w\"\s]|\t)\r?\n", sample[0]) if sample else None
    )  # Excel's own way to name the delimiter
    skipped = 1 if given else 0
    sample = sample[skipped:]
    delimiter = given[1] if given else _delimiter(sample, words=file.suffix.lower() in (".txt", ".lst"))
    if delimiter == " " and (pairs := _names_and_labels(text)):
        return _of_rows(text, pairs, delimiter)
    _require_no_pixels(file, sample[0].split(delimiter) if sample else [])
    return _of_rows(text, CsvRows(file, islice(text, skipped, None), delimiter, 1 + skipped), delimiter)


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


def _of_rows(text: TextFile, rows: Iterable[list[str]], delimiter: str) -> Cells:
    """Return rows as a table of which the first may hold the names; a row that is short gets empty cells."""
    blank = Counter[bool]()
    filled = _filled(rows, blank)
    first = list(islice(filled, 2))
    head = _without_title(first)
    names = [name.strip() for name in head[0]] if head else []
    columns, width = TextColumns(text.file, names), len(names)
    overfull = {}
    for row in chain(head[1:], filled):
        if len(row) > width and any(map(str.strip, row[width:])):
            overfull[columns.rows] = len(row)
        columns.append(row)
    if 2 * len(overfull) > columns.rows:
        raise SourceError(
            _("Most rows of {file} have more cells than its first line: {count} instead of {width}.").format(
                file=text.file, count=next(iter(overfull.values())), width=width
            ),
            hint=_("Put quotes around cells that hold the delimiter '{delimiter}', and name every column.").format(
                delimiter=delimiter
            ),
        )
    cells = columns.cells
    if is_own(names):
        cells = [[unquoted(cell) for cell in column] for column in cells]
    return Cells(
        names,
        cells,
        may_lack_header=True,
        overfull=overfull,
        encoding=text.encoding,
        has_title=len(head) < len(first),
        blank_rows=blank[True],
    )


def _filled(rows: Iterable[list[str]], blank: Counter[bool]) -> Iterator[list[str]]:
    """Yield the rows in which something stands, and count those that have cells but nothing in them."""
    for row in rows:
        if any(map(str.strip, row)):
            yield row
        else:
            blank[len(row) > 1] += 1


def _without_title(rows: list[list[str]]) -> list[list[str]]:
    """Return the first rows without a title or a comment above the line with the names of columns."""
    if len(rows) < 2 or not rows[0][0].strip() or any(cell.strip() for cell in rows[0][1:]):
        return rows
    title, names = Column(0, rows[0][0], ()), [Column(i, name, ()) for i, name in enumerate(rows[1])]
    is_header = len(names) > 1 and any(one.is_called_path or one.is_called_label for one in names)
    return rows[1:] if is_header and not title.is_called_path else rows


def _names_and_labels(lines: Iterable[str]) -> list[list[str]]:
    """Return lines of a picture's name and a label, where blanks may stand in both; nothing where they are not such."""
    pairs = []
    for line in filter(None, map(str.strip, lines)):
        found = _NAME_AND_LABEL.fullmatch(line) if len(line) <= _LONGEST_PAIR else None
        if found is None:
            return []
        pairs.append([found[1], found[2]])
    return pairs


def _delimiter(lines: Sequence[str], *, words: bool) -> str:
    """Return the delimiter that gives the most lines the same number of cells, of more than one; then the most cells.

    Args:
        lines: the first of the text.
        words: whether blanks may delimit, as in lists of paths with a number behind.
    """

    def regularity(delimiter: str) -> tuple[float, int]:
        widths = Counter[int]()
        try:
            for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=delimiter == " "):
                widths[len(row)] += any(map(str.strip, row))
        except csv.Error:  # a cell that is too long, perhaps since this delimits nothing
            return 0.0, 0
        width, count = max(widths.items(), key=lambda item: (item[0] > 1, item[1], item[0]), default=(0, 0))
        return (count / widths.total(), width) if width > 1 and count else (0.0, 0)

    return max(",;\t|" + " " * words, key=regularity)


def _read_json_lines(file: Path) -> Cells:
    """Return JSON Lines as a table; what stands in an object inside an object gets a name with a full stop."""
    columns = TextColumns(file)
    for number, line in enumerate(TextFile(file), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line, object_pairs_hook=_object)
            cells = list(_flatten(record)) if isinstance(record, dict) else []
        except (ValueError, RecursionError) as error:
            reason = _("it is nested too deeply") if isinstance(error, RecursionError) else error
            raise SourceError(
                _("Line {line} of {file} is not JSON: {error}.").format(line=number, file=file, error=reason),
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
        columns.append_named(cells)
    return Cells(columns.names, columns.cells)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON.

    Raises:
        ValueError: it has a key twice, so that one of two values would be lost.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _value in pairs).items() if count > 1)
        raise ValueError(_("the key {key} stands in it twice").format(key=excerpt(twice)))
    return found


def _flatten(record: dict[str, Any], prefix: str = "", depth: int = 1) -> Iterator[tuple[str, str]]:
    if depth > DEEPEST_JSON:
        raise RecursionError
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.", depth + 1)
        else:
            yield prefix + name, cell_text(value)
