"""The columns of a table while its rows are read, within bounds."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from kilat.data.bounds import MOST_CELLS, MOST_COLUMNS, MOST_ROWS
from kilat.errors import SourceError
from kilat.locale import _

_SHARED = 10_000
"""Different cells that are kept once, however often they come: labels and splits do, paths do not."""


class TextColumns:
    """The columns of a table, filled row by row.

    Args:
        file: the table.
        names: of the columns that are known from the start.

    Attributes:
        names: of the columns.
        rows: how many there are.
    """

    def __init__(self, file: Path, names: Iterable[str] = ()) -> None:
        self.names = list(names)
        self.rows = 0
        self._file = file
        self._cells: list[list[str]] = [[] for _name in self.names]
        self._number = {name: number for number, name in enumerate(self.names)}
        self._shared: dict[str, str] = {}

    @property
    def cells(self) -> list[list[str]]:
        """The cells of each column, ``[columns][rows]``; empty where a row has none."""
        for column in self._cells:
            column.extend([""] * (self.rows - len(column)))
        return self._cells

    def append(self, row: Sequence[str]) -> None:
        """Take a row with a cell for each column, or fewer."""
        self.rows += 1
        require_bounds(self._file, self.rows, len(self.names))
        for column, cell in zip(self._cells, row, strict=False):
            column.append(self._once(cell))
        for column in self._cells[len(row) :]:
            column.append("")

    def append_named(self, row: Iterable[tuple[str, str]]) -> None:
        """Take a row of cells with the names of their columns; of a name that comes twice, the last one."""
        self.rows += 1
        for name, cell in row:
            if name not in self._number:
                self._number[name] = len(self.names)
                self.names.append(name)
                self._cells.append([])
            column = self._cells[self._number[name]]
            column.extend([""] * (self.rows - len(column)))
            column[-1] = self._once(cell)
        require_bounds(self._file, self.rows, len(self.names))

    def _once(self, cell: str) -> str:
        if len(self._shared) < _SHARED:
            return self._shared.setdefault(cell, cell)
        return self._shared.get(cell, cell)


def require_bounds(file: Path, rows: int, columns: int) -> None:
    """Raise where a table has more rows, columns or cells than are read.

    Raises:
        SourceError: it has.
    """
    if rows <= MOST_ROWS and columns <= MOST_COLUMNS and rows * columns <= MOST_CELLS:
        return
    raise SourceError(
        _(
            "{file} is too large: {rows:,} rows or more of {columns:,} columns. kilat reads tables of up to "
            "{most_rows:,} rows, {most_columns:,} columns and {most_cells:,} cells."
        ).format(
            file=file, rows=rows, columns=columns, most_rows=MOST_ROWS, most_columns=MOST_COLUMNS, most_cells=MOST_CELLS
        ),
        hint=_("Leave out the columns that are neither paths nor labels nor splits, or give class folders."),
    )
