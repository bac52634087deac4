"""The pages of a Parquet file, by their headers: how large each is in memory, known before any is read.

The footer of the file says how large columns are, but whoever reads a page allocates what its own header says. Headers
are structures of Thrift in its compact protocol, with the fields that the specification of Parquet (parquet.thrift)
gives them.
"""

from typing import IO

_UNPACKED, _PACKED = 2, 3
"""Fields of a header: how many bytes the page has in memory, and how many in the file."""

_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY = range(9)
_STRUCTURE = 12
"""Types of fields, those that stand in headers."""

_USUAL, _LONGEST = 1024, 16 * 1024 * 1024
"""Bytes that are read for a header; with statistics of long values it has more than usual."""


def largest_page(file: IO[bytes], position: int, size: int) -> int:
    """Return the bytes that the largest page of a column takes in memory.

    Args:
        file: the open file.
        position: where the first page of the column stands.
        size: the bytes of all its pages in the file.

    Raises:
        ValueError: they do not look like pages.
    """
    end, largest = position + size, 0
    while position < end:
        fields, length = _header(file, position)
        unpacked, packed = fields.get(_UNPACKED, -1), fields.get(_PACKED, -1)
        if unpacked < 0 or packed < 0:
            raise ValueError("a page without a size")
        largest = max(largest, unpacked)
        position += length + packed
    return largest


def _header(file: IO[bytes], position: int) -> tuple[dict[int, int], int]:
    """Return the numbers in the header of a page, and how many bytes it takes."""
    for most in (_USUAL, _LONGEST):
        file.seek(position)
        header = _Structure(file.read(most))
        try:
            return header.read(), header.position
        except IndexError:
            pass
    raise ValueError("a header of a page without an end")


class _Structure:
    """A structure in Thrift's compact protocol.

    Args:
        data: that it begins; reading beyond its end is an IndexError.

    Attributes:
        position: how much of it was read.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self.position = data, 0

    def read(self) -> dict[int, int]:
        """Return the fields of the structure that are integers, by their numbers."""
        found: dict[int, int] = {}
        number = 0
        while (head := self._byte()) & 0xF != _STOP:
            step, kind = head >> 4, head & 0xF
            number = number + step if step else self._integer()
            if kind in (_I16, _I32, _I64):
                found[number] = self._integer()
            elif kind == _STRUCTURE:
                self.read()
            elif kind in (_BYTE, _DOUBLE, _BINARY):
                length = self._unsigned() if kind == _BINARY else 8 if kind == _DOUBLE else 1
                self.position += length
            elif kind not in (_TRUE, _FALSE):
                raise ValueError("a field that headers of pages do not have")
        return found

    def _byte(self) -> int:
        byte = self._data[self.position]
        self.position += 1
        return byte

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a number of too many bytes")

    def _integer(self) -> int:
        value = self._unsigned()
        return value >> 1 ^ -(value & 1)
