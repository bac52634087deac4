"""Zip archives, by their central directory: any member can be read at any time.

As APPNOTE.TXT of PKWARE describes them, zip64 included. Python's zipfile keeps a kilobyte of every entry of the
directory, however many there are, and members that share their bytes (a small file that unpacks to petabytes) are
members like others to it.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple

from kilat.data.archive_formats import READ_ERRORS, DamagedArchiveError, Member, beginning_of_path
from kilat.data.bounds import FREE_MEMBER, MOST_MEMBERS, MOST_TIMES
from kilat.data.image_file import LIMIT, MAX_BYTES, SIGNATURE_BYTES
from kilat.locale import _
from kilat.locale.refusals import Refusal
from kilat.runtime.regular_file import open_regular_file

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
"""The records of the format: of the end of the directory, an entry of it, and what stands before a member."""

_LONGEST_COMMENT = 0xFFFF
_IN_EXTRA = 0xFFFFFFFF
"""What stands for a number that has its place in the extra field (zip64)."""

_ENCRYPTED, _PATCHED, _UTF8 = 0x1, 0x20, 0x800
"""Flags of a member."""

_CHUNK = 1024 * 1024


class _Entry(NamedTuple):
    """An entry of the central directory."""

    name: str
    flags: int
    method: int
    checksum: int
    packed: int
    size: int
    offset: int
    mode: int


class ZipArchive:
    """A zip archive.

    Args:
        path: of the archive.

    Raises:
        READ_ERRORS: it is none.
    """

    sequential = False

    def __init__(self, path: Path) -> None:
        self._file = open_regular_file(path)
        try:
            self._start, self._end, self._shift = _directory(self._file)
        except BaseException:
            self._file.close()
            raise
        self._entries: list[_Entry] = []

    def members(self) -> Iterator[Member | str]:
        """Yield the members; a position is the number of the member."""
        self._entries = list(islice(self._read_entries(), MOST_MEMBERS + 1))
        shared = _sharing_bytes(self._entries, self._start)
        for number, entry in enumerate(self._entries):
            if entry.name.endswith("/"):
                yield entry.name
            else:
                refusal = _refusal(entry) or (Refusal("overlaps_in_archive") if number in shared else None)
                yield Member(entry.name, number, entry.size, refusal, partial(self._head, number))

    def read(self, position: int, size: int) -> bytes:
        """Return the bytes of that member, never more than its header says."""
        entry = self._entries[position]
        content = self._unpack(entry, size)
        if len(content) == entry.size and zlib.crc32(content) != entry.checksum:
            raise DamagedArchiveError("Bad CRC-32")
        return content

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _head(self, number: int) -> bytes:
        try:
            return self._unpack(self._entries[number], SIGNATURE_BYTES)
        except READ_ERRORS:
            return b""

    def _read_entries(self) -> Iterator[_Entry]:
        position = self._start
        self._file.seek(position)
        while position < self._end:
            record = self._file.read(_ENTRY.size)
            if len(record) < _ENTRY.size or record[:4] != b"PK\1\2":
                raise DamagedArchiveError(_("the directory at its end is damaged"))
            fields = _ENTRY.unpack(record)
            flags, method, checksum, packed, size = (*fields[3:5], *fields[7:10])
            lengths, mode, offset = fields[10:13], fields[15] >> 16, fields[16]
            name, more, _comment = (self._file.read(length) for length in lengths)
            position += _ENTRY.size + sum(lengths)
            size, packed, offset = _with_large_numbers((size, packed, offset), more)
            yield _Entry(_text(name, flags), flags, method, checksum, packed, size, offset + self._shift, mode)

    def _unpack(self, entry: _Entry, size: int) -> bytes:
        """Return the first bytes of a member."""
        self._file.seek(entry.offset)
        header = self._file.read(_LOCAL.size)
        if len(header) < _LOCAL.size or header[:4] != b"PK\3\4":
            raise DamagedArchiveError(_("it is not where the directory says"))
        *_fields, name, extra = _LOCAL.unpack(header)
        self._file.seek(name + extra, io.SEEK_CUR)
        if entry.method == zipfile.ZIP_STORED:
            return self._file.read(min(size, entry.packed))
        return self._inflate(entry.packed, size)

    def _inflate(self, packed: int, size: int) -> bytes:
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        content = io.BytesIO()  # its value is not copied
        while content.tell() < size and not stream.eof:
            data = stream.unconsumed_tail or self._file.read(min(packed, _CHUNK))
            packed -= 0 if stream.unconsumed_tail else len(data)
            if not data:
                break
            content.write(stream.decompress(data, size - content.tell()))
        return content.getvalue()


def _directory(file: IO[bytes]) -> tuple[int, int, int]:
    """Return where the central directory begins and ends, and by how much all places in it are to be moved.

    Raises:
        DamagedArchiveError: there is none, or it cannot be where it says.
    """
    size = file.seek(0, io.SEEK_END)
    begin = max(0, size - _END.size - _LONGEST_COMMENT)
    file.seek(begin)
    tail = file.read()
    place = tail.rfind(b"PK\5\6")
    if place < 0 or len(tail) - place < _END.size:
        raise DamagedArchiveError(_("the directory at its end is missing"))
    _sign, disk, _first, _here, _count, length, offset, _comment = _END.unpack_from(tail, place)
    end = begin + place
    large = end - _LOCATOR64.size - _END64.size
    if large >= 0:
        file.seek(large)
        record, locator = file.read(_END64.size), file.read(_LOCATOR64.size)
        if record[:4] == b"PK\6\6" and locator[:4] == b"PK\6\7":
            end = large
            *_fields, disk, _first, _here, _count, length, offset = _END64.unpack(record)
    if disk:
        raise DamagedArchiveError(_("it is one of several parts"))
    if length > end:
        raise DamagedArchiveError(_("the directory at its end is damaged"))
    return end - length, end, end - length - offset


def _sharing_bytes(entries: list[_Entry], end: int) -> set[int]:
    """Return the numbers of the members whose bytes are those of another one too, or of the directory."""
    order = sorted(range(len(entries)), key=lambda number: entries[number].offset)
    starts = [entries[number].offset for number in order[1:]] + [end]
    return {
        number
        for number, next_start in zip(order, starts, strict=True)
        if entries[number].offset + _LOCAL.size + entries[number].packed > next_start
    }


def _with_large_numbers(numbers: tuple[int, int, int], extra: bytes) -> tuple[int, int, int]:
    """Return size, packed size and place of a member, those that do not fit the entry from its extra field (zip64)."""
    if _IN_EXTRA not in numbers:
        return numbers
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        if kind == 1:
            large = [one for (one,) in struct.iter_unpack("<Q", extra[position + 4 : position + 4 + length // 8 * 8])]
            found = [large.pop(0) if one == _IN_EXTRA and large else one for one in numbers]
            return found[0], found[1], found[2]
        position += 4 + length
    return numbers


def _text(name: bytes, flags: int) -> str:
    """Return a name, of an endless one the beginning: UTF-8 where it can be, for many programs do not set its flag."""
    name = beginning_of_path(name)
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("utf-8", "surrogateescape") if flags & _UTF8 else name.decode("cp437")


def _refusal(entry: _Entry) -> Refusal | None:
    if entry.flags & _ENCRYPTED:
        return Refusal("encrypted")
    if entry.mode & 0o170000 == 0o120000:
        return Refusal("archive_link")
    if entry.size > MAX_BYTES:
        return Refusal("too_large", LIMIT)
    # The other methods unpack without a limit on what comes out.
    if entry.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.flags & _PATCHED:
        return Refusal("compression_method")
    if entry.size > max(FREE_MEMBER, MOST_TIMES * entry.packed):
        return Refusal("unpacks_too_far", str(MOST_TIMES))
    return None
