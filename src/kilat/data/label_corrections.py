"""Label corrections from a table that a person filled in, applied to a source; nothing on disk changes.

| cell of `correct_label` | the picture |
| --- | --- |
| empty | stays as it is |
| a class name | gets that label |
| `-` | is refused: left out by the table |
"""

import csv
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

from kilat.data.catalog import Entry, Picture, Source
from kilat.data.labels import normalize_label
from kilat.data.table.csv_rows import CsvRows
from kilat.data.table.text_file import TextFile
from kilat.errors import SourceError, nearest
from kilat.locale import _, ngettext
from kilat.locale.lists import listed
from kilat.locale.refusals import Refusal
from kilat.runtime.csv_tables import unquoted

PATH, CORRECT = "path", "correct_label"
LEAVE_OUT = "-"
_MIN_ROWS_OF_NEW_CLASS = 2
_LEAVE_OUT_SPELLINGS = (LEAVE_OUT, "–", "—", "−")
"""Spreadsheets turn a hyphen into a dash, or into a minus."""

_ALIKE = 0.8
"""The similarity from which on one of two names is taken for a misspelling of the other."""
_MAX_TO_COMPARE = 100_000


@dataclass
class CorrectedSource:
    """A source with corrected labels.

    Args:
        source: where the pictures come from.
        entries: its entries, in its order, corrected.
        table: name of the table that the corrections came from.
        changed: rows of the entries that differ from the source's.
        relabelled: how many pictures got another label.
        left_out: how many pictures the table leaves out.
        unchanged: how many rows only confirm the label that a picture had.
    """

    source: Source
    entries: list[Entry]
    table: str
    changed: frozenset[int]
    relabelled: int
    left_out: int
    unchanged: int

    def __post_init__(self) -> None:
        self.name, self.skipped, self.notes = self.source.name, self.source.skipped, self.source.notes

    def read(self, index: int) -> Picture:
        """Return the picture of ``entries[index]``."""
        return self.source.read(index)

    def link(self, index: int) -> str | None:
        """Return the absolute path of the picture's own file, or None where it has none."""
        return self.source.link(index)

    @property
    def counts(self) -> dict[str, Any]:
        """How many labels were corrected and confirmed, and by which table, as JSON can hold it."""
        return {
            "table": self.table,
            "relabelled": self.relabelled,
            "left_out": self.left_out,
            "unchanged": self.unchanged,
        }


def apply_corrections(source: Source, path: str | Path) -> CorrectedSource:
    """Return the same pictures with the labels of a table.

    Args:
        source: labelled pictures.
        path: a CSV file in UTF-8 with the columns ``path`` and ``correct_label``, such as ``suspects.csv``; other
            columns are ignored, and so are rows without a correct label. Commas, semicolons and tabs are understood.

    Raises:
        SourceError: it cannot be read, lacks a column, names a picture that the source does not have, gives two labels
            to one picture, or gives a class that no picture has. A new class needs at least two rows, and a name that
            is not a misspelling of another class.
    """
    file = Path(path)
    given = _read_labels(file)
    rows = _rows_of(source.entries, given, file)
    classes = {entry.label for entry in source.entries if entry.label and not entry.refused}
    labels = _checked_labels(given, classes, file)
    entries = list(source.entries)
    unchanged = 0
    for row, path_given in rows.items():
        label = labels[path_given]
        if entries[row].refused:  # a picture that was refused before stays refused, for its own reason
            pass
        elif label == LEAVE_OUT:
            entries[row] = replace(entries[row], refused=Refusal("left_out_by_table", file.name))
        else:
            entries[row] = replace(entries[row], label=label)
        unchanged += entries[row] == source.entries[row]
    changed = [row for row in rows if entries[row] != source.entries[row]]
    left_out = sum(labels[rows[row]] == LEAVE_OUT for row in changed)
    return CorrectedSource(source, entries, file.name, frozenset(changed), len(changed) - left_out, left_out, unchanged)


def _read_labels(file: Path) -> dict[str, str]:
    """Return the label that the table gives to every path that has one in it."""
    given: dict[str, str] = {}
    for written, cell in _cells(file):
        path = unquoted(written)
        label = LEAVE_OUT if cell in _LEAVE_OUT_SPELLINGS else normalize_label(unquoted(cell))
        if path and label and given.setdefault(path, label) != label:
            raise SourceError(
                _("{file} corrects {path!r} twice, to {first!r} and to {second!r}.").format(
                    file=file, path=path, first=given[path], second=label
                ),
                hint=_("Keep one of the two rows."),
            )
    return given


def _cells(file: Path) -> Iterable[tuple[str, str]]:
    """Yield path and correct label of every row, without the spaces around them."""
    text = TextFile(file)
    header = next(iter(text), "").rstrip("\r\n")
    delimiter = max(",;\t", key=lambda mark: sum(name in (PATH, CORRECT) for name in _names(header, mark)))
    names = _names(header, delimiter)
    for wanted in (PATH, CORRECT):
        if wanted not in names:
            message = _("{file} has no column '{column}': it is empty.")
            if names:
                message = _("{file} has no column '{column}'. Its columns: {names}.")
            raise SourceError(
                message.format(file=file, column=wanted, names=listed([repr(name) for name in names], 12)),
                hint=_(
                    "It needs the columns '{path}' and '{correct}', as in the suspects.csv that kilat writes."
                ).format(path=PATH, correct=CORRECT),
            )
    columns = names.index(PATH), names.index(CORRECT)
    for cells in islice(CsvRows(file, text, delimiter), 1, None):
        path, label = (cells[column].strip() if column < len(cells) else "" for column in columns)
        yield path, label


def _names(header: str, delimiter: str) -> list[str]:
    return [name.strip().lower() for name in next(csv.reader([header.strip("\r")], delimiter=delimiter), [])]


def _rows_of(entries: Sequence[Entry], given: Mapping[str, str], file: Path) -> dict[int, str]:
    """Return the rows of the entries that the table names, each with its path in the table."""
    known: dict[str, list[int]] = {}
    for row, entry in enumerate(entries):
        known.setdefault(_plain(entry.path), []).append(row)
    missing = [path for path in given if _plain(path) not in known]
    if missing:
        raise SourceError(
            _("{file} corrects pictures that the data does not have (moved, renamed or removed?): {paths}.").format(
                file=file, paths=listed([repr(path) for path in missing])
            ),
            hint=nearest(missing[0], known)
            if len(known) <= _MAX_TO_COMPARE
            else _("Paths are written as in catalog.csv."),
        )
    return {row: path for path in given for row in known[_plain(path)]}


def _plain(path: str) -> str:
    """Return a path in one spelling of Unicode and of slashes, so that paths can be compared."""
    return unicodedata.normalize("NFC", path.replace("\\", "/").removeprefix("./"))


def _checked_labels(given: Mapping[str, str], classes: set[str], file: Path) -> dict[str, str]:
    """Return the label for every path: a class of the data, or a new one."""
    labels = {}
    for path, label in given.items():
        integer = label.removesuffix(".0")  # spreadsheets and pandas write the class 3 as 3.0
        labels[path] = integer if label not in classes and integer in classes else label
    folded = sorted(label.casefold() for label in classes)
    counts = Counter(label for label in labels.values() if label not in classes and label != LEAVE_OUT)
    alike = [label for label in counts if get_close_matches(label.casefold(), folded, cutoff=_ALIKE)]
    wrong = [label for label, count in counts.items() if label in alike or count < _MIN_ROWS_OF_NEW_CLASS]
    if wrong:
        raise SourceError(
            ngettext(
                "{file} gives a correct label that no picture of the data has: {labels}.",
                "{file} gives correct labels that no picture of the data has: {labels}.",
                len(wrong),
            ).format(file=file, labels=listed([repr(label) for label in wrong])),
            hint=_(
                "{suggestion} A new class needs at least {rows} rows, and a name that is unlike the others; "
                "'{mark}' leaves a picture out."
            ).format(
                suggestion=nearest(wrong[0], sorted(classes)),
                rows=_MIN_ROWS_OF_NEW_CLASS,
                mark=LEAVE_OUT,
            ),
        )
    return labels
