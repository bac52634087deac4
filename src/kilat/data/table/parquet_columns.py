"""The columns of a Parquet file, as text or as pictures, within bounds that its footer and the headers of pages allow.

Whoever reads Parquet allocates what pages say to hold, and a page that says one value a million times is short. So what
a page holds is known before it is read, and few rows are read at a time.
"""

import weakref
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

from kilat.data.bounds import LONGEST_CELL, MIB, PAGE_BYTES, TABLE_BYTES
from kilat.data.image_file import SIGNATURE_BYTES, has_image_signature
from kilat.data.table.parquet_pages import Chunk, largest_page, read_footer
from kilat.data.table.text_columns import require_bounds
from kilat.errors import PictureError
from kilat.locale import _
from kilat.locale.excerpt import shortened
from kilat.runtime.regular_file import open_regular_file

_BUFFER = MIB
"""Bytes of a file that are read at a time, rather than all that stand in a group of rows."""

_BATCH = 64 * MIB
_MOST_ROWS = 65_536
"""Bytes that a batch of rows may take where each holds all that its page does, and its rows where that is little."""

_SHARED = 10_000
"""Different cells that are kept once, however often they come."""

_ROWS_TRIED = 32
"""First rows in which a picture is looked for."""

_MOST_VALUES = 10_000_000
"""Values of a column with several a row, such as of embeddings; columns of more are not read."""


class ParquetColumns:
    """The columns of a Parquet file.

    Args:
        file: that is read.

    Attributes:
        schema: of pyarrow.
        rows: how many there are.
        ends: the row behind each group of rows.

    Raises:
        SourceError: it has more rows, columns or cells than are read.
        Exception: of any kind, where it is damaged.
    """

    def __init__(self, file: Path) -> None:
        import pyarrow.parquet as pq

        self._file = open_regular_file(file)
        weakref.finalize(self, self._file.close)
        groups = read_footer(self._file)
        self._path = file
        with pq.ParquetFile(file) as parquet:
            self._metadata, self.schema = parquet.metadata, parquet.schema_arrow
        self.rows = self._metadata.num_rows
        if min((rows for rows, _chunks in groups), default=0) < 0 or sum(rows for rows, _chunks in groups) != self.rows:
            raise ValueError(_("its number of rows is not that of its parts"))
        require_bounds(file, self.rows, len(self.schema))
        self.ends = list(accumulate(rows for rows, _chunks in groups))
        self._characters = TABLE_BYTES  # that may still become text
        self._chunks: list[dict[str, list[Chunk]]] = []  # by group, those of a column and of what is inside of it
        for _rows, chunks in groups:
            self._chunks.append(defaultdict(list))
            for chunk in chunks:
                for name in accumulate(chunk.path.split("."), "{}.{}".format):
                    self._chunks[-1][name].append(chunk)

    def texts(self, name: str, text: Callable[[Any], str]) -> list[str] | None:
        """Return a column as text; None where there are more values or characters in it than names and labels have.

        Args:
            name: of the column, or of one inside of it.
            text: returns a value as text.
        """
        if self._count(name) > max(self.rows, _MOST_VALUES):
            return None
        largest = max((self.largest_page(name, group) for group in range(len(self.ends))), default=0)
        if largest > PAGE_BYTES:
            return None
        cells: list[str] = []
        shared: dict[str, str] = {}
        left = self._characters
        for column in self.batches(name, max(1, min(_MOST_ROWS, _BATCH // max(1, largest)))):
            for value in column.to_pylist():
                cell = text(value)
                if cell not in shared:
                    left -= len(cell)
                    if left < 0 or len(cell) > LONGEST_CELL:
                        return None
                    if len(shared) < _SHARED:
                        shared[cell] = cell
                cells.append(shared.get(cell, cell))
        if len(cells) != self.rows:
            raise ValueError(_("its number of rows is not that of its parts"))
        self._characters = left
        return cells

    def batches(self, name: str, rows: int, group: int | None = None) -> Iterator[Any]:
        """Yield a column, of all groups of rows or of one, a few rows at a time as arrays of pyarrow."""
        import pyarrow.parquet as pq

        groups = None if group is None else [group]
        # An opened file has one place where it is read, which iterators would share.
        with pq.ParquetFile(self._path, metadata=self._metadata, pre_buffer=False, buffer_size=_BUFFER) as parquet:
            for batch in parquet.iter_batches(rows, row_groups=groups, columns=[name], use_threads=False):
                yield batch.column(0)

    def largest_page(self, name: str, group: int) -> int:
        """Return the bytes that the largest page of a column takes in memory, in a group of rows."""
        return max((largest_page(self._file, chunk) for chunk in self._chunks[group].get(name, ())), default=0)

    def _count(self, name: str) -> int:
        """Return how many values a column has, those in lists one by one."""
        return sum(chunk.values for chunks in self._chunks for chunk in chunks.get(name, ()))


class EmbeddedPictures:
    """The pictures in a column of bytes, or of bytes with a path, read row by row.

    Rows are best read in their order; whoever goes back reads the rows of a group again.

    Args:
        table: that has the column.
        column: its name.
        in_struct: whether the bytes stand in a structure with a path.
    """

    def __init__(self, table: ParquetColumns, column: str, *, in_struct: bool) -> None:
        self._table, self._in_struct = table, in_struct
        self._name = f"{column}.bytes" if in_struct else column
        self._group, self._next = -1, 0
        self._column: Iterator[Any] = iter(())
        self._read: tuple[int, bytes | None] = (-1, None)  # the last row, and the bytes in it
        self._failure: PictureError | None = None  # of the next row and all behind it in the group

    @property
    def are_pictures(self) -> bool:
        """Whether the first bytes in the column are those of a picture."""
        head = next((found for row in range(min(self._table.rows, _ROWS_TRIED)) if (found := self.read(row))), None)
        return head is not None and has_image_signature(head[:SIGNATURE_BYTES])

    def read(self, row: int) -> bytes | None:
        """Return the bytes in a row; None where there are none.

        Raises:
            PictureError: they cannot be read.
        """
        if row != self._read[0]:
            group = bisect_right(self._table.ends, row)
            if group != self._group or row < self._next:
                self._open(group)
            while self._next <= row:
                self._read = self._next, self._read_next()
                self._next += 1
        return self._read[1]

    def _open(self, group: int) -> None:
        """Begin with a group of rows."""
        self._group, self._next = group, self._table.ends[group - 1] if group else 0
        self._column, self._read, self._failure = iter(()), (-1, None), None
        try:
            if self._table.largest_page(self._name, group) > PAGE_BYTES:
                self._failure = PictureError("page_too_large", f"{PAGE_BYTES // MIB} MiB")
            else:
                self._column = self._table.batches(self._name, 1, group)
        except Exception as error:  # noqa: BLE001 - the library may raise anything on hostile bytes
            self._failure = _damaged(error)

    def _read_next(self) -> bytes | None:
        if self._failure is None:
            try:
                column = next(self._column)
                value: bytes | None = (column.field(0) if self._in_struct else column)[0].as_py()
            except Exception as error:  # noqa: BLE001 - as above
                self._failure = _damaged(error)
            else:
                return value
        raise PictureError(self._failure.refusal.code, self._failure.refusal.detail)


def _damaged(error: Exception) -> PictureError:
    if isinstance(error, MemoryError):
        return PictureError("out_of_memory")
    return PictureError("damaged_in_table", shortened(str(error) or type(error).__name__))
