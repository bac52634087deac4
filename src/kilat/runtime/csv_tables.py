"""Tables as kilat writes them in CSV: spreadsheets run nothing in them, and every cell is read back exactly.

A spreadsheet takes a cell that begins with ``=``, ``+``, ``-`` or ``@`` for a formula, whoever chose the name that it
holds. Such text gets an apostrophe before it, as OWASP advises (CSV Injection); so does text that would look as if it
had got one, which makes it certain what was written. Numbers stay as they are.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_FIRST_SIGNS = frozenset("'=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)

_OWN_COLUMNS = (
    {"status", "code", "detail", "digest"},  # catalog.csv
    {"predicted", "probability"},  # predictions.csv
    {"answer", "unknown", "set"},  # kilat predict --csv
    {"correct_label"},  # suspects.csv
)


def quoted(cell: str) -> str:
    """Return the text of a cell such that no spreadsheet takes it for a formula."""
    if cell[:1] in _FIRST_SIGNS and _FORMULA.match(cell) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


def unquoted(cell: str) -> str:
    """Return what ``quoted`` was given."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


def is_own(columns: Iterable[str]) -> bool:
    """Return whether kilat writes tables with these columns."""
    names = set(columns)
    return "path" in names and any(own <= names for own in _OWN_COLUMNS)


def to_csv(table: "pd.DataFrame") -> str:
    """Return a table as CSV: a line for every row, without the index."""
    texts = {
        str(name): [cell for cell in set(column.tolist()) if isinstance(cell, str)]
        for name, column in table.items()
        if column.dtype.kind == "O"
    }
    changed = [name for name, cells in texts.items() if any(quoted(cell) != cell for cell in cells)]
    if changed:
        table = table.assign(**{name: [_written(cell) for cell in table[name]] for name in changed})
    return table.to_csv(index=False, quoting=_quoting(texts.values()))


def from_csv(table: "pd.DataFrame", columns: Iterable[str]) -> "pd.DataFrame":
    """Return a table that ``to_csv`` wrote with the cells that it was given.

    Args:
        table: as it was read.
        columns: those of text.
    """
    changed = [name for name in columns if any(unquoted(cell) != cell for cell in set(table[name].tolist()))]
    return table.assign(**{name: [unquoted(cell) for cell in table[name]] for name in changed}) if changed else table


def rows_to_csv(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of text as CSV."""
    cells = [[quoted(cell) for cell in row] for row in rows]
    file = io.StringIO()
    csv.writer(file, lineterminator="\n", quoting=_quoting(cells)).writerows(cells)
    return file.getvalue()


def _written(cell: Any) -> Any:
    return quoted(cell) if isinstance(cell, str) else cell


def _quoting(cells: Iterable[Iterable[str]]) -> Any:
    """Return what stands in quotes: what needs them; where there is a carriage return, all text.

    It needs them too, but Python's writer forgets that before version 3.13.
    """
    has_return = any("\r" in cell for row in cells for cell in row)
    return csv.QUOTE_NONNUMERIC if has_return else csv.QUOTE_MINIMAL
