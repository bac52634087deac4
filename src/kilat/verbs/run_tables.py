"""The tables of a run folder, read back: each with the columns that it has, and the kinds of values in them."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kilat.errors import RunError
from kilat.locale import _
from kilat.locale.excerpt import excerpt, shortened
from kilat.locale.system_errors import system_reason
from kilat.runtime.csv_tables import from_csv
from kilat.runtime.regular_file import read_regular_file

if TYPE_CHECKING:
    import pandas as pd

CATALOG, PREDICTIONS, ANSWERS = "catalog.csv", "predictions.csv", "answers.csv"
HISTORY, LAYERS = "history.csv", "layers.csv"

MAX_BYTES = 1 << 28
MAX_ROWS = 5_000_000
"""Of pictures; so many bytes and rows take about a gigabyte of memory."""


class _Columns(NamedTuple):
    """What the columns of a table hold; those that stand in none of these are left as they are."""

    text: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
    shares: tuple[str, ...] = ()
    rest_is_numbers: bool = False


_COLUMNS = {
    CATALOG: _Columns(("path", "label", "split", "status", "code", "detail", "digest"), ("width", "height", "group")),
    PREDICTIONS: _Columns(("path", "split", "label", "predicted"), ("row",), ("probability",)),
    ANSWERS: _Columns(("predicted",), ("picture", "fold"), ("probability", "label_probability")),
    HISTORY: _Columns(rest_is_numbers=True),
    LAYERS: _Columns(("layer", "kind")),
}


def read_table(path: Path) -> "pd.DataFrame":
    """Return a table of the run; what is text in it stays text, and numbers are what was written, bit for bit.

    Args:
        path: of a table that is called as kilat calls it.

    Raises:
        RunError: it cannot be read, or a column is missing or holds something else.
    """
    columns = _COLUMNS[path.name]
    try:
        table = _parse(read_regular_file(path, MAX_BYTES), columns)
    except OSError as error:
        raise _unreadable(path, system_reason(error)) from None
    except (ValueError, OverflowError) as error:  # which pandas raises as well
        raise _unreadable(path, shortened(str(error), 200)) from None
    return from_csv(table, columns.text)


def _parse(content: bytes, columns: _Columns) -> "pd.DataFrame":
    """Return the table that CSV holds.

    Raises:
        ValueError: it holds no such table; says why.
    """
    import pandas as pd

    if content.count(b"\n") > MAX_ROWS:
        raise ValueError(_("it has more than {most:,} rows").format(most=MAX_ROWS))
    # What makes pandas read numbers bit for bit; from 3.1 on it does so by itself, and warns of the choice.
    exact: dict[str, Any] = {} if pd.__version__ >= "3.1" else {"float_precision": "round_trip"}
    text = dict.fromkeys(columns.text, str)
    table: pd.DataFrame = pd.read_csv(io.BytesIO(content), dtype=text, keep_default_na=False, low_memory=False, **exact)
    if not isinstance(table.index, pd.RangeIndex):
        raise ValueError(_("its rows have more cells than its first line has names"))  # noqa: TRY004 - of the file
    for name in (*columns.text, *columns.counts, *columns.shares):
        if name not in table:
            raise ValueError(_("it has no column '{column}'").format(column=name))
    for name in columns.text:
        _require(name, table[name], table[name].notna())
    for name in columns.counts:
        _require(name, table[name], _numbers(table[name]).ge(-1) & (table[name].dtype.kind == "i"))
    for name in columns.shares:
        _require(name, table[name], _numbers(table[name]).between(0, 1))
    if columns.rest_is_numbers:
        for column in table.columns:
            numbers = _numbers(table[column])
            _require(str(column), table[column], numbers.notna() | (table[column] == ""))
            table[column] = numbers
    return table


def _numbers(column: "pd.Series[Any]") -> "pd.Series[Any]":
    import pandas as pd

    return column if column.dtype.kind in "if" else pd.to_numeric(column, errors="coerce")


def _require(name: str, cells: "pd.Series[Any]", is_valid: "pd.Series[bool]") -> None:
    """Raise where a cell of a column holds what it cannot."""
    if not is_valid.all():
        row = int((~is_valid).to_numpy().argmax())
        sentence = _("its column '{column}' has an invalid value in row {row:,}: {value}")
        raise ValueError(sentence.format(column=shortened(name), row=row + 1, value=excerpt(cells.iloc[row])))


def _unreadable(path: Path, reason: str) -> RunError:
    return RunError(_("{path} cannot be read: {reason}.").format(path=path, reason=reason))
