"""Tar archives, plain or compressed, read forwards header by header.

Headers are those of POSIX (ustar and pax) and of GNU tar, as the manual page tar(5) of libarchive describes them.
Python's tarfile keeps maps of sparse files, chains of headers and global headers in memory, however long they are, and
steps back by a byte before every header, for which a compressed archive is unpacked again from its start.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from kilat.data.archive_formats import DamagedArchiveError, Member, beginning_of_path
from kilat.data.bounds import FREE_HEADERS, LONGEST_HEADER, MOST_HEADERS
from kilat.data.image_file import LIMIT, MAX_BYTES, SIGNATURE_BYTES
from kilat.data.unpacking import UnpackedFile, decompressor_of
from kilat.locale import _
from kilat.locale.refusals import Refusal
from kilat.runtime.progress import Advance, ignore
from kilat.runtime.regular_file import open_regular_file

_BLOCK = 512
_END = bytes(_BLOCK)

_REGULAR, _LINKS, _FOLDER, _SPARSE = b"0\x007", b"12", b"5", b"S"
_WITHOUT_CONTENT = b"123456"
"""Types of members: files, links, folders, sparse files as GNU writes them; those that have no content behind them."""

_LONG_NAME, _PAX = b"L", b"xX"
_EXTENDED = b"LKgxX"
"""Types of headers that say something of the member behind them: its name, that of a link (K), or any attribute. What
holds for all members (g) is never their name or size."""

_RECORD = re.compile(rb"(\d{1,9}) ")
_SEVEN_BITS = bytes(range(128))
_MOST_BYTES = 1 << 60


@dataclass(slots=True)
class _Attributes:
    """What extended headers say of the member behind them."""

    name: str = ""
    size: int | None = None
    is_sparse: bool = False

    def take(self, kind: bytes, content: bytes) -> None:
        """Take what a header says."""
        if kind == _LONG_NAME:
            self.name = _text(content)
        elif kind in _PAX:
            self._take_records(content)

    def _take_records(self, content: bytes) -> None:
        """Take the records of pax, each ``length key=value`` and a line break, where the length is that of all this."""
        position, sparse_name = 0, ""
        while found := _RECORD.match(content, position):
            end = position + int(found[1])
            if end <= found.end():
                raise DamagedArchiveError(_("a header of impossible size"))
            key, _sign, value = content[found.end() : end - 1].partition(b"=")
            if key == b"path":
                self.name = _text(value)
            elif key == b"size":
                self.size = _size(value, 10)
            elif key == b"GNU.sparse.name":
                sparse_name = _text(value)
            self.is_sparse |= key.startswith(b"GNU.sparse.")
            position = end
        self.name = sparse_name or self.name


class TarArchive:
    """A tar archive, plain or compressed; a compressed one is unpacked as it is read, forwards.

    Args:
        path: of the archive.
        advance: called with the bytes of a compressed archive that were searched for members, and with all its bytes.

    Raises:
        READ_ERRORS: it is none.
    """

    def __init__(self, path: Path, advance: Advance = ignore) -> None:
        file = open_regular_file(path)
        try:
            begin = decompressor_of(file.read(6))
            self.sequential = begin is not None
            self._stream: IO[bytes] | UnpackedFile = (
                UnpackedFile(file, begin, str(path), advance) if begin is not None else file
            )
            self._require_tar()
        except BaseException:
            file.close()
            raise

    def _require_tar(self) -> None:
        block = self._read_block(0)
        if not block:
            raise DamagedArchiveError(_("it is empty"))
        if block != _END and not _is_header(block):
            raise DamagedArchiveError(_("it does not begin with the header of a member"))

    def members(self) -> Iterator[Member | str]:
        """Yield the members; a position is where the content starts in the unpacked bytes."""
        position, attributes, headers, read = 0, _Attributes(), 0, 0
        while (block := self._read_block(position)) != _END:
            if not _is_header(block):
                raise DamagedArchiveError(_("the end of the archive is missing"))
            position += _BLOCK
            read += _BLOCK
            if isinstance(self._stream, UnpackedFile):
                self._stream.require_packed(read, FREE_HEADERS)
            kind, size = block[156:157], _size(block[124:136], 8)
            if kind in _EXTENDED:
                headers += 1
                if size > LONGEST_HEADER or headers > MOST_HEADERS:
                    raise DamagedArchiveError(_("a header of impossible size"))
                attributes.take(kind, self.read(position, size))
                position += _padded(size)
                continue
            size = size if attributes.size is None else attributes.size
            if kind == _SPARSE:
                position = self._behind_map(block, position)
            yield self._member(block, kind, attributes, position, size)
            position += 0 if kind in _WITHOUT_CONTENT else _padded(size)
            attributes, headers = _Attributes(), 0
        if isinstance(self._stream, UnpackedFile):
            self._stream.stop_reporting()

    def read(self, position: int, size: int) -> bytes:
        """Return the bytes from that position on."""
        self._stream.seek(position)
        return self._stream.read(size)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _read_block(self, position: int) -> bytes:
        return self.read(position, _BLOCK)

    def _behind_map(self, block: bytes, position: int) -> int:
        """Return where the content of a sparse member stands: behind the blocks that continue the map in its header."""
        is_continued = block[482]
        while is_continued:
            more = self._read_block(position)
            if len(more) < _BLOCK:
                raise DamagedArchiveError(_("the end of the archive is missing"))
            is_continued = more[504]
            position += _BLOCK
        return position

    def _member(self, block: bytes, kind: bytes, attributes: _Attributes, position: int, size: int) -> Member | str:
        name = attributes.name or _name(block)
        if kind == _FOLDER or (kind == b"\0" and name.endswith("/")):
            return name
        head = partial(self.read, position, min(size, SIGNATURE_BYTES))
        return Member(name, position, size, _refusal(kind, size, is_sparse=attributes.is_sparse), head)


def _refusal(kind: bytes, size: int, *, is_sparse: bool) -> Refusal | None:
    if kind in _LINKS:
        return Refusal("archive_link")
    if kind == _SPARSE or (kind in _REGULAR and is_sparse):
        return Refusal("sparse_file")
    if kind not in _REGULAR:
        return Refusal("not_a_regular_file")
    return Refusal("too_large", LIMIT) if size > MAX_BYTES else None


def _is_header(block: bytes) -> bool:
    """Return whether the checksum of a header is right: the sum of its bytes, which some programs take for signed."""
    if len(block) < _BLOCK:
        return False
    rest = block[:148] + b" " * 8 + block[156:]
    total = sum(rest)
    signed = total - 256 * len(rest.translate(None, _SEVEN_BITS))
    return _octal(block[148:156]) in (total, signed)


def _octal(field: bytes) -> int | None:
    """Return the number that octal digits write; None where there are others."""
    digits = field.partition(b"\0")[0].strip(b" ") or b"0"
    return int(digits, 8) if digits.isdigit() and not digits.strip(b"01234567") else None


def _size(field: bytes, base: int) -> int:
    """Return a number of bytes: digits of the base, or in a header the bytes of the number behind a mark (GNU)."""
    if base == 8 and field[0] in (0x80, 0xFF):
        size = int.from_bytes(field, "big", signed=True) if field[0] == 0xFF else int.from_bytes(field[1:], "big")
    elif base == 8:
        size = -1 if (read := _octal(field)) is None else read
    else:
        size = int(field) if re.fullmatch(rb"\d{1,18}", field) else -1
    if not 0 <= size < _MOST_BYTES:
        raise DamagedArchiveError(_("a header of impossible size"))
    return size


def _padded(size: int) -> int:
    """Return how many bytes content of this size takes: whole blocks."""
    return -(-size // _BLOCK) * _BLOCK


def _name(block: bytes) -> str:
    """Return the name in a header; the rest of a long one stands in another field, where GNU keeps times."""
    name, before, is_gnu = _text(block[:100]), _text(block[345:500]), block[257:265] == b"ustar  \0"
    return f"{before}/{name}" if before and not is_gnu else name


def _text(field: bytes) -> str:
    """Return a name, of an endless one the beginning; bytes that are not UTF-8 as Python does in names of files."""
    return beginning_of_path(field).decode("utf-8", "surrogateescape")
