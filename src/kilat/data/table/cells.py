"""A table as text, before anyone knows what its columns mean."""

import json
import math
from dataclasses import dataclass, field, replace
from typing import Any, Protocol


class Embedded(Protocol):
    """Pictures whose bytes stand in a column of a table."""

    def read(self, row: int) -> bytes | None:
        """Return the bytes in a row; None where there are none."""
        ...


@dataclass(frozen=True)
class Cells:
    """A table as text.

    Args:
        names: of the columns, as they are written.
        columns: the cells of each, ``[columns][rows]``; empty where there is no value.
        may_lack_header: whether ``names`` may be the first row of data.
        has_header: whether ``names`` came with the table.
        overfull: rows that have more cells than there are columns, each with how many.
        embedded: the columns that hold pictures, by number.
        unread: names of columns of more values than names and labels have, such as those of embeddings.
        encoding: how the text was encoded, where that is not UTF-8.
        has_title: whether a line above the names of the columns was left out.
        blank_rows: how many rows were left out since nothing stands in their cells.
        shards: how many files were read as one table, and how many there should be; None where it is one file.
    """

    names: list[str]
    columns: list[list[str]]
    may_lack_header: bool = False
    has_header: bool = True
    overfull: dict[int, int] = field(default_factory=dict)
    embedded: dict[int, Embedded] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    encoding: str = ""
    has_title: bool = False
    blank_rows: int = 0
    shards: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0

    def without_header(self) -> "Cells":
        """Return the same table with its first line as a row; columns are then called by their number."""
        columns = [[name, *cells] for name, cells in zip(self.names, self.columns, strict=True)]
        overfull = {row + 1: count for row, count in self.overfull.items()}
        names = [str(number) for number in range(1, len(columns) + 1)]
        return replace(self, names=names, columns=columns, has_header=False, may_lack_header=False, overfull=overfull)


def cell_text(value: Any) -> str:
    """Return a value as the text of a cell: empty where there is none (None, NaN), JSON for a list."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
