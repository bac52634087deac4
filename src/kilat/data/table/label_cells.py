"""From the cells of a table to labels: one a row, whether they stand in one column or in a column for each label."""

import json
import re
from ast import literal_eval
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kilat.data.labels import normalize_label
from kilat.data.table.column import NOT_A_NUMBER, TRUE, Column

_SEPARATORS = ("|", ";", ",", " ")
"""What stands between several labels in one cell; a blank counts only where each part is a label of its own."""


_LONGEST_LIST = 10_000
"""Characters of a cell with a list of labels; what is longer is a label as it is."""


@dataclass(frozen=True)
class RowLabels:
    """The labels of the rows of a table.

    Args:
        labels: of each row; empty where it has none.
        combined: labels that are several in the table, and one class of its own here.
        trimmed: whether whole numbers were written as fractions (``3.0``).
    """

    labels: list[str]
    combined: list[str]
    trimmed: bool = False


def read_labels(columns: Sequence[Column], rows: int) -> RowLabels:
    """Return the label of every row: of one column its value, of several the names of those that say yes."""
    if not columns:
        return RowLabels([""] * rows, [])
    if len(columns) > 1:
        return _one_hot(columns)
    cells = columns[0].cells
    trimmed = any(re.fullmatch(r"\d+\.0+", value) for value in columns[0].counts) and not columns[0].is_fraction
    trimmed = trimmed and columns[0].is_number
    read = {value: _parts(value) for value in columns[0].counts}
    separator = _separator([parts[0] for parts in read.values() if len(parts) == 1])
    first: dict[frozenset[str], str] = {}  # combinations in one order, whatever the order in the cell
    labels: dict[str, str] = {}
    combined: dict[str, None] = {}
    for value, parts in read.items():
        several = parts
        if len(parts) == 1 and separator:
            several = [part for piece in parts[0].split(separator) if (part := normalize_label(piece))]
        if len(parts) > 1 or len(several) > 1:
            name = (" + ".join(several)) if len(parts) > 1 else parts[0]
            label = first.setdefault(frozenset(several), name)
            combined[label] = None
        else:
            label = (several or [""])[0]
        labels[value] = label.partition(".")[0] if trimmed else label
    return RowLabels([labels.get(cell.strip(), "") for cell in cells], list(combined), trimmed)


def _parts(value: str) -> list[str]:
    """Return the labels in a cell that is written as a list; of any other cell its text, nothing where that is NaN."""
    items: list[object] = [value]
    if value[:1] in "[({" and value[-1:] in "])}":
        items = _listed(value) or [value]
    names = [normalize_label(str(item)) for item in items]
    return [name for name in names if name and name.casefold() not in NOT_A_NUMBER]


def _listed(value: str) -> list[object]:
    """Return the items of a list as JSON or Python writes it, or of the choices that Label Studio writes."""
    for read in (json.loads, literal_eval) if len(value) <= _LONGEST_LIST else ():
        try:
            found = read(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, dict):
            found = found.get("choices")
        if isinstance(found, list | tuple | set):
            return sorted(found, key=str) if isinstance(found, set) else list(found)
    return []


def _separator(values: Sequence[str]) -> str:
    """Return what separates several labels in the cells of a column; nothing where each cell is one label."""
    known = set(values)
    for separator in _SEPARATORS:
        several = [value.split(separator) for value in known if separator in value]
        parts = [{part.strip() for part in pieces} - {""} for pieces in several]
        parts = [pieces for pieces in parts if len(pieces) > 1]
        if not parts:
            continue
        counts = Counter(piece for pieces in parts for piece in pieces)
        if separator == " ":
            if any(pieces <= known for pieces in parts):
                return separator
        elif any(piece in known or count > 1 for piece, count in counts.items()):
            return separator
    return ""


def _one_hot(columns: Sequence[Column]) -> RowLabels:
    labels = []
    combined: dict[str, None] = {}
    names = [normalize_label(column.name) for column in columns]
    for cells in zip(*(column.cells for column in columns), strict=True):
        yes = [name for name, cell in zip(names, cells, strict=True) if cell.strip().casefold() in TRUE]
        labels.append(" + ".join(yes))
        if len(yes) > 1:
            combined[labels[-1]] = None
    return RowLabels(labels, list(combined))
