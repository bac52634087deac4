"""A table of paths and labels as a source: CSV with any usual delimiter, or Parquet."""

import csv
import importlib.util
import io
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from kilat.data.catalog import Entry
from kilat.data.image_file import is_encodable, read_file
from kilat.data.labels import normalize_label
from kilat.data.layout import sorted_order
from kilat.errors import SourceError
from kilat.locale import _
from kilat.locale.notes import Note
from kilat.locale.refusals import Refusal

PATHS = ("path", "file", "filename", "image", "image_path", "filepath")
LABELS = ("label", "class", "category", "target")
SPLIT_VALUES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}

_Row = tuple[str, str, str]


class TableSource:
    """Pictures listed in a table with the columns ``path,label[,split]``.

    Args:
        path: a ``.csv``, ``.tsv`` or ``.parquet`` file. Paths in it are relative to its folder, or absolute.
        name: what to call it; the file's name without its ending if empty.

    Attributes:
        skipped: always empty: every row is an entry.
    """

    def __init__(self, path: str | Path, name: str = "") -> None:
        file = Path(path)
        self.name = name or file.stem
        self._folder = os.path.abspath(file.parent)
        rows = _parquet_rows(file) if file.suffix.lower() == ".parquet" else _csv_rows(file)
        # Where some rows have a split, those without one belong to "train".
        default = "train" if any(split.strip() for _path, _label, split in rows) else ""
        entries = self._refuse_repeated([self._entry(number, row, default) for number, row in enumerate(rows, 1)])
        self.entries = [entries[i] for i in sorted_order(entries)]
        self.skipped: dict[str, int] = {}
        self.notes: list[Note] = []

    def read(self, index: int) -> bytes:
        """Return the bytes of the picture."""
        return read_file(self._path(self.entries[index].path))

    def link(self, index: int) -> str | None:
        """Return the picture's absolute path, or None where its name is not text that can be written."""
        path = self._path(self.entries[index].path)
        return path if is_encodable(path) else None

    def _path(self, path: str) -> str:
        return os.path.normpath(os.path.join(self._folder, path))

    def _entry(self, number: int, row: _Row, default: str) -> Entry:
        path, label, written = row[0], normalize_label(row[1]) if row[1].strip() else "", row[2].strip()
        split = SPLIT_VALUES.get(written.lower(), "") if written else default
        if not path.strip():
            return Entry(f"row {number}", label, split, Refusal("no_path"))
        if not label:
            return Entry(path, "", split, Refusal("no_label"))
        if written and not split:
            return Entry(path, label, "", Refusal("unknown_split", written))
        return Entry(path, label, split, None if os.path.exists(self._path(path)) else Refusal("file_not_found"))

    def _refuse_repeated(self, entries: list[Entry]) -> list[Entry]:
        """Refuse what is listed again, and all rows of a picture that is listed under several labels."""
        listed: dict[str, list[int]] = defaultdict(list)
        for index, entry in enumerate(entries):
            if not entry.refused:
                listed[os.path.normcase(self._path(entry.path))].append(index)
        for same in listed.values():
            labels = sorted({entries[i].label for i in same})
            refusal = Refusal("listed_twice") if len(labels) == 1 else Refusal("several_labels", ", ".join(labels))
            for i in same[1:] if len(labels) == 1 else same:
                entries[i] = replace(entries[i], refused=refusal)
        return entries


def _csv_rows(file: Path) -> list[_Row]:
    lines = io.StringIO(read_text(file), newline="")
    delimiter = _delimiter(next(lines, ""))
    lines.seek(0)
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        header = next(reader, [])
        columns = _columns(file, header)
        rows = []
        for cells in reader:
            if any(cell.strip() for cell in cells):
                path, label, split = (cells[i] if i is not None and i < len(cells) else "" for i in columns)
                rows.append((path, label, split))
        return rows
    except csv.Error as error:
        raise SourceError(
            _("{file} cannot be read as a table: {error} (line {line}).").format(
                file=file, error=error, line=reader.line_num
            ),
            hint=_("Save it again as CSV in UTF-8, with quotes around cells that hold delimiters."),
        ) from error


def read_text(file: Path) -> str:
    """Return the text of a table.

    Raises:
        SourceError: it cannot be read, or is not UTF-8.
    """
    try:
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SourceError(
            _("The table {file} cannot be read: {reason}.").format(file=file, reason=error.strerror)
        ) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SourceError(
            _("The table {file} is not UTF-8: byte 0x{byte:02x} in line {line}.").format(
                file=file, byte=error.object[error.start], line=line
            ),
            hint=_(
                "Save it as UTF-8 (in a spreadsheet: 'CSV UTF-8'), so that no letter in a path or label is guessed."
            ),
        ) from error


def _delimiter(header: str) -> str:
    """Return the delimiter that gives the header the most known columns; on a tie, the most columns."""

    def columns(delimiter: str) -> tuple[int, int]:
        names = [name.strip().lower() for name in next(csv.reader([header], delimiter=delimiter), [])]
        return sum(name in PATHS + LABELS for name in names), len(names)

    return max(",;\t", key=columns)


def _columns(file: Path, header: Sequence[str]) -> tuple[int, int, int | None]:
    """Return the columns of path, label and split; the header may name them in any case and order."""
    names = [name.strip().lower() for name in header]
    split = names.index("split") if "split" in names else None
    return _column(file, header, names, PATHS), _column(file, header, names, LABELS), split


def _column(file: Path, header: Sequence[str], names: list[str], wanted: tuple[str, ...]) -> int:
    hits = [i for i, name in enumerate(names) if name == wanted[0]] or [i for i, n in enumerate(names) if n in wanted]
    if len(hits) == 1:
        return hits[0]
    found = ", ".join(map(repr, header))
    if hits:
        several = ", ".join(repr(header[i]) for i in hits)
        raise SourceError(
            _("{file} has more than one column for the {column}: {several}. Its columns: {names}.").format(
                file=file, column=wanted[0], several=several, names=found
            ),
            hint=_("Name one of them '{column}'.").format(column=wanted[0]),
        )
    message = _("{file} has no column '{column}': it is empty.")
    if header:
        message = _("{file} has no column '{column}'. Its columns: {names}.")
    message = message.format(file=file, column=wanted[0], names=found)
    if near := [name for name in header if get_close_matches(name.strip().lower(), wanted, n=1, cutoff=0.5)]:
        message += " " + _("Did you mean {names}?").format(names=repr(near[0]))
    raise SourceError(
        message,
        hint=_(
            "The first line names the columns: path,label or path,label,split (for '{column}' also {others})."
        ).format(column=wanted[0], others=", ".join(wanted[1:])),
    )


def _parquet_rows(file: Path) -> list[_Row]:
    if importlib.util.find_spec("pyarrow") is None:
        raise SourceError(
            _("Reading {file} needs pyarrow, which is not installed.").format(file=file), hint=_("pip install pyarrow")
        )
    try:
        # Nullable types: with NumPy's, a column of whole numbers with one gap would turn 1 into 1.0.
        table = pd.read_parquet(file, dtype_backend="pyarrow")
    except (OSError, ValueError) as error:
        raise SourceError(_("{file} cannot be read as Parquet: {error}.").format(file=file, error=error)) from error
    columns = _columns(file, [str(name) for name in table.columns])
    cells = [[] if i is None else ["" if pd.isna(v) else str(v) for v in table.iloc[:, i]] for i in columns]
    splits = cells[2] or [""] * len(table)
    return list(zip(cells[0], cells[1], splits, strict=True))
