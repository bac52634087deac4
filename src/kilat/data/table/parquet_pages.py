"""The footer and the pages of a Parquet file, by themselves: what stands where, and how large it is in memory.

Both are structures of Thrift in its compact protocol, with the fields that the specification (parquet.thrift) gives
them. They are read here, since pyarrow allocates what the header of a page says, whatever the footer does, and ends the
process where it is asked for a part of a damaged footer.
"""

from dataclasses import dataclass
from typing import IO, Any

from kilat.data.bounds import FOOTER_BYTES
from kilat.locale import _

_ROW_GROUPS = 4
_COLUMNS, _ROWS = 1, 3
_COLUMN = 3
_PATH, _VALUES, _PACKED_SIZE, _FIRST_PAGE, _DICTIONARY = 3, 5, 7, 9, 11
"""Fields of the footer, of a group of rows, of a column in it, and of what is said of that column."""

_UNPACKED, _PACKED = 2, 3
"""Fields of a page's header: how many bytes the page has in memory, and how many in the file."""

_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCTURE = range(13)
_DEEPEST = 16
"""Structures within each other; footers have seven."""

_USUAL, _LONGEST = 1024, 16 * 1024 * 1024
"""Bytes that are read for the header of a page; with statistics of long values it has more than usual."""

_TAIL = 8
"""Bytes at the end of a file that say how long its footer is."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A column in a group of rows.

    Args:
        path: the names of the column and of what it is inside of, with full stops between them.
        values: how many it has, those in lists one by one.
        position: where its first page stands.
        size: the bytes of its pages in the file.
    """

    path: str
    values: int
    position: int
    size: int


def read_footer(file: IO[bytes]) -> list[tuple[int, list[Chunk]]]:
    """Return how many rows each group of a Parquet file has, with its columns.

    Raises:
        ValueError: the footer is damaged, or longer than those of tables.
    """
    end = file.seek(0, 2)
    file.seek(max(0, end - _TAIL))
    tail = file.read()
    length = int.from_bytes(tail[:4], "little")
    if len(tail) < _TAIL or tail[4:] != b"PAR1" or length > end - _TAIL:
        raise ValueError(_("its footer is missing"))
    if length > FOOTER_BYTES:
        raise ValueError(_("its footer has {size:,} bytes").format(size=length))
    file.seek(end - _TAIL - length)
    try:
        footer = _Compact(file.read(length)).structure()
        return [
            (int(group[_ROWS]), [_chunk(column[_COLUMN]) for column in group[_COLUMNS]])
            for group in footer.get(_ROW_GROUPS, [])
        ]
    except (IndexError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(_("its footer is damaged")) from error


def _chunk(column: dict[int, Any]) -> Chunk:
    path = ".".join(name.decode("utf-8", "replace") for name in column[_PATH])
    starts = [start for start in (column[_FIRST_PAGE], column.get(_DICTIONARY, 0)) if start > 0]
    return Chunk(path, int(column[_VALUES]), min(starts, default=0), int(column[_PACKED_SIZE]))


def largest_page(file: IO[bytes], chunk: Chunk) -> int:
    """Return the bytes that the largest page of a column takes in memory.

    Raises:
        ValueError: they do not look like pages.
    """
    position, largest = chunk.position, 0
    while position < chunk.position + chunk.size:
        header, length = _header(file, position)
        unpacked, packed = header.get(_UNPACKED, -1), header.get(_PACKED, -1)
        if not isinstance(unpacked, int) or not isinstance(packed, int) or min(unpacked, packed) < 0:
            raise ValueError(_("the header of a page is damaged"))
        largest = max(largest, unpacked)
        position += length + packed
    return largest


def _header(file: IO[bytes], position: int) -> tuple[dict[int, Any], int]:
    """Return the header of a page, and how many bytes it takes."""
    for most in (_USUAL, _LONGEST):
        file.seek(position)
        header = _Compact(file.read(most))
        try:
            return header.structure(), header.position
        except IndexError:
            pass
    raise ValueError(_("the header of a page is damaged"))


class _Compact:
    """What stands in bytes in Thrift's compact protocol; whatever goes beyond their end is an IndexError.

    Args:
        data: the bytes.

    Attributes:
        position: how many of them were read.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self.position = data, 0

    def structure(self, depth: int = 0) -> dict[int, Any]:
        """Return the fields of a structure by their numbers."""
        if depth > _DEEPEST:
            raise ValueError(_("it is nested too deeply"))
        found: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) & 0xF != _STOP:
            number = number + (head >> 4) if head >> 4 else self._integer()
            found[number] = self._value(head & 0xF, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (_TRUE, _FALSE):
            return kind == _TRUE
        if kind in (_I16, _I32, _I64):
            return self._integer()
        if kind in (_BYTE, _DOUBLE):
            return self._bytes(1 if kind == _BYTE else 8)
        if kind == _BINARY:
            return self._bytes(self._unsigned())
        if kind in (_LIST, _SET):
            head = self._byte()
            count = head >> 4 if head >> 4 < 0xF else self._unsigned()
            is_flag = head & 0xF in (_TRUE, _FALSE)  # in lists they take a byte each
            return [self._bytes(1) if is_flag else self._value(head & 0xF, depth) for _item in range(count)]
        if kind == _STRUCTURE:
            return self.structure(depth + 1)
        raise ValueError(_("its footer is damaged"))

    def _byte(self) -> int:
        byte = self._data[self.position]
        self.position += 1
        return byte

    def _bytes(self, count: int) -> bytes:
        if count > len(self._data) - self.position:
            raise IndexError
        self.position += count
        return self._data[self.position - count : self.position]

    def _unsigned(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 0x80:
            value |= (byte & 0x7F) << shift
            shift += 7
            if shift > 63:
                raise ValueError(_("its footer is damaged"))
        return value | byte << shift

    def _integer(self) -> int:
        value = self._unsigned()
        return value >> 1 ^ -(value & 1)
