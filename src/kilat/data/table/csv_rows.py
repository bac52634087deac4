"""The rows of a text with delimiters, each line of it in one row, unless quotes put several lines into a cell.

A quote too many, or one too few, would make one row of many: all lines to the next quote, which may be far below. By
the rules of CSV that is a cell like any other. What tells it from one is that the lines in it are rows themselves.
"""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from kilat.data.table.column import names_picture
from kilat.errors import SourceError
from kilat.locale import _
from kilat.locale.excerpt import shortened
from kilat.runtime.csv_tables import is_own


class CsvRows:
    """The rows of a text with delimiters.

    Args:
        file: that the text is of.
        lines: of the text, with their line ends.
        delimiter: a sign; where it is a blank, several are one.
        line: the number of the first of the lines.

    Attributes:
        line: the number of the line that the last row begins in.
        lines: how many lines it takes.
    """

    def __init__(self, file: Path, lines: Iterable[str], delimiter: str, line: int = 1) -> None:
        self.line, self.lines = line, 0
        self._file, self._delimiter = file, delimiter
        self._text: list[str] = []  # the lines of the row that is read
        self._rows = self._reader(self._remembered(lines))
        self._width, self._is_own = 0, False  # known from the first row

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        self.line += len(self._text)
        self._text.clear()
        try:
            row = next(self._rows)
        except csv.Error as error:  # a cell of more than csv.field_size_limit() characters
            raise (self._stray_quote() if len(self._text) > 1 else self._broken(error)) from error
        self.lines = len(self._text)
        if not self._width:
            self._width, self._is_own = len(row), is_own(row)
        if self.lines > 1 and self._swallows_rows(row):
            raise self._stray_quote()
        return row

    def _remembered(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            self._text.append(line)
            yield line

    def _reader(self, lines: Iterable[str], *, quoted: bool = True, strict: bool = False) -> Iterator[list[str]]:
        return csv.reader(
            lines,
            delimiter=self._delimiter,
            skipinitialspace=self._delimiter == " ",
            quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
            strict=strict,
        )

    def _swallows_rows(self, row: list[str]) -> bool:
        """Return whether a row of several lines is several rows: by its quotes, or since the lines look like rows."""
        try:
            list(self._reader(self._text, strict=True))
            parted = list(self._reader(self._text, quoted=False))
        except csv.Error:  # something stands behind a closing quote, or there is none
            return True
        if self._is_own:  # kilat writes names with line breaks as they are
            return False
        inside = [cells for cells in parted if any(map(str.strip, cells))]
        full = [len(cells) == self._width > 1 for cells in inside]
        own = {cell.strip() for cell in row}
        named = {cell.strip().strip('"') for cells in inside for cell in cells if names_picture(cell)}
        # The line with the stray quote is a row of the table, too; that of a text that goes on seldom is.
        return (full[0] and 2 * sum(full) > len(full)) or not named <= own

    def _stray_quote(self) -> SourceError:
        start = next((line for line in self._text if '"' in line), self._text[0])
        return SourceError(
            _(
                "{file}: a quote in line {line} ({text}) makes one row of {count:,} lines, up to line {last}; there is "
                "one too many, or one is missing."
            ).format(
                file=self._file,
                line=self.line,
                text=shortened(start[max(0, start.find('"') - 20) :].strip(), 40),
                count=len(self._text),
                last=self.line + len(self._text) - 1,
            ),
            hint=_(
                "Delete it, or add the one that closes the cell. A quote inside a cell is written twice, and the cell "
                "stands in quotes."
            ),
        )

    def _broken(self, error: csv.Error) -> SourceError:
        return SourceError(
            _("{file} cannot be read as a table: {error} (line {line}).").format(
                file=self._file, error=error, line=self.line
            ),
            hint=_("Save it again as CSV in UTF-8, with quotes around cells that hold delimiters."),
        )
