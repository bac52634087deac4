"""Corrected labels from a table that a person filled in, applied to a source; nothing on disk changes.

| cell of `correct_label` | what becomes of the picture |
| --- | --- |
| empty | it stays as it is |
| a class name | it gets that label |
| `-` | it is refused: left out by the table |
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from kilat.data.catalog import Entry, Picture, Source
from kilat.data.layout import normalize_label
from kilat.data.table import read_text
from kilat.errors import SourceError, nearest
from kilat.locale import _
from kilat.locale.refusals import Refusal

PATH, CORRECT = "path", "correct_label"
LEAVE_OUT = "-"
_LEAST_OF_A_NEW_CLASS = 2
_LEAVE_OUT_SPELLINGS = (LEAVE_OUT, "–", "—", "−")
"""Spreadsheets turn a hyphen into a dash, or into a minus."""

_NAMED_IN_AN_ERROR = 5
_ALIKE = 0.8
"""From here on, two names are taken for one name and a slip of the hand."""
_MOST_TO_COMPARE = 100_000


@dataclass
class CorrectedSource:
    """A source some of whose pictures have other labels than it gave them.

    Args:
        source: where the pictures come from.
        entries: its entries, in its order, corrected.
        table: name of the table that the corrections came from.
        changed: rows of the entries that are not as the source gave them.
        relabelled: how many pictures got another label.
        left_out: how many pictures the table takes out.
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
        self.name, self.skipped = self.source.name, self.source.skipped

    def read(self, index: int) -> Picture:
        """The picture of ``entries[index]``."""
        return self.source.read(index)

    def link(self, index: int) -> str | None:
        """The absolute path of the picture's own file, or None where it has none."""
        return self.source.link(index)

    @property
    def counts(self) -> dict[str, Any]:
        """What was corrected, as numbers that JSON can hold."""
        return {
            "table": self.table,
            "relabelled": self.relabelled,
            "left_out": self.left_out,
            "unchanged": self.unchanged,
        }


def apply_corrections(source: Source, path: str | Path) -> CorrectedSource:
    """The same pictures with the labels that a table says.

    Args:
        source: labelled pictures.
        path: a CSV file in UTF-8 with the columns ``path`` and ``correct_label``, such as ``suspects.csv``; other
            columns are ignored, and so are rows without a correct label. Commas, semicolons and tabs are understood.

    Raises:
        SourceError: it cannot be read, has not those columns, names a picture that the source does not hold,
            contradicts itself, or gives a class that no picture has. A new class is taken where at least two rows give
            it and its name is not all but the same as that of another class.
    """
    file = Path(path)
    given = _given(file)
    rows = _rows_of(source.entries, given, file)
    classes = {entry.label for entry in source.entries if entry.label and not entry.refused}
    labels = _labels(given, classes, file)
    entries = list(source.entries)
    unchanged = 0
    for row, place in rows.items():
        entries[row] = _corrected(entries[row], labels[place], file.name)
        unchanged += entries[row] == source.entries[row]
    changed = [row for row in rows if entries[row] != source.entries[row]]
    left_out = sum(labels[rows[row]] == LEAVE_OUT for row in changed)
    return CorrectedSource(source, entries, file.name, frozenset(changed), len(changed) - left_out, left_out, unchanged)


def _corrected(entry: Entry, label: str, table: str) -> Entry:
    """An entry as the table wants it; one that was refused already stays refused, for its own reason."""
    if entry.refused:
        return entry
    return (
        replace(entry, refused=Refusal("left_out_by_table", table))
        if label == LEAVE_OUT
        else replace(entry, label=label)
    )


def _given(file: Path) -> dict[str, str]:
    """What the table says of every path that it says something of."""
    given: dict[str, str] = {}
    for path, cell in _cells(file):
        label = LEAVE_OUT if cell in _LEAVE_OUT_SPELLINGS else normalize_label(cell)
        if path and label and given.setdefault(path, label) != label:
            raise SourceError(
                _("{file} corrects {path!r} twice, to {given!r} and to {label!r}.").format(
                    file=file, path=path, given=given[path], label=label
                ),
                hint=_("Keep one of the two rows."),
            )
    return given


def _cells(file: Path) -> Iterable[tuple[str, str]]:
    """Path and correct label of every row, without the spaces around them."""
    text = read_text(file)
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=lambda mark: sum(name in (PATH, CORRECT) for name in _names(header, mark)))
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise SourceError(
            _("{file} cannot be read as a table: {error}.").format(file=file, error=error),
            hint=_("Save it again as CSV in UTF-8."),
        ) from error
    names = _names(header, delimiter)
    where = [_column(file, names, wanted) for wanted in (PATH, CORRECT)]
    for cells in rows[1:]:
        path, label = (cells[at].strip() if at < len(cells) else "" for at in where)
        yield path, label


def _names(header: str, delimiter: str) -> list[str]:
    return [name.strip().lower() for name in next(csv.reader([header.strip("\r")], delimiter=delimiter), [])]


def _column(file: Path, names: list[str], wanted: str) -> int:
    if wanted in names:
        return names.index(wanted)
    found = ", ".join(repr(name) for name in names) or "none: the file is empty"
    raise SourceError(
        _("{file} has no column '{wanted}'. Its columns: {found}.").format(file=file, wanted=wanted, found=found),
        hint=_("Give it the columns '{path}' and '{correct}', as in the suspects.csv that kilat writes.").format(
            path=PATH, correct=CORRECT
        ),
    )


def _rows_of(entries: Sequence[Entry], given: Mapping[str, str], file: Path) -> dict[int, str]:
    """The rows of the entries that something is said of, and the path by which it is said."""
    known: dict[str, list[int]] = {}
    for row, entry in enumerate(entries):
        known.setdefault(_plain(entry.path), []).append(row)
    missing = [path for path in given if _plain(path) not in known]
    if missing:
        raise SourceError(
            _("{file} corrects {missing}, which the data does not hold: moved, renamed or removed?").format(
                file=file, missing=_listed(missing)
            ),
            hint=nearest(missing[0], known)
            if len(known) <= _MOST_TO_COMPARE
            else _("Paths are written as in catalog.csv."),
        )
    return {row: path for path in given for row in known[_plain(path)]}


def _plain(path: str) -> str:
    """A path as it is compared: in one spelling of Unicode and of slashes."""
    return normalize_label(path.replace("\\", "/").removeprefix("./"))


def _labels(given: Mapping[str, str], classes: set[str], file: Path) -> dict[str, str]:
    """The label for every path, a class of the data or a new one."""
    labels = {path: _class(label, classes) for path, label in given.items()}
    counts = Counter(label for label in labels.values() if label not in classes and label != LEAVE_OUT)
    alike = [label for label in counts if get_close_matches(label.casefold(), _folded(classes), cutoff=_ALIKE)]
    wrong = [label for label, count in counts.items() if label in alike or count < _LEAST_OF_A_NEW_CLASS]
    if wrong:
        raise SourceError(
            _("{file} gives {wrong} as correct label, which no picture of the data has.").format(
                file=file, wrong=_listed(wrong)
            ),
            hint=_(
                "{suggestion} A new class needs at least {least_of_a_new_class} rows, and a name unlike "
                "the others; '{leave_out}' leaves a picture out."
            ).format(
                suggestion=nearest(wrong[0], sorted(classes)),
                least_of_a_new_class=_LEAST_OF_A_NEW_CLASS,
                leave_out=LEAVE_OUT,
            ),
        )
    return labels


def _class(label: str, classes: set[str]) -> str:
    """The class that a cell means: spreadsheets and pandas write the class 3 as 3.0."""
    whole = label.removesuffix(".0")
    return whole if label not in classes and whole in classes else label


def _folded(classes: set[str]) -> list[str]:
    return sorted(label.casefold() for label in classes)


def _listed(names: Sequence[str]) -> str:
    """The first few of some names, and how many more there are."""
    more = f" and {len(names) - _NAMED_IN_AN_ERROR:,} more" if len(names) > _NAMED_IN_AN_ERROR else ""
    return ", ".join(repr(name) for name in names[:_NAMED_IN_AN_ERROR]) + more
