"""A compressed file as the bytes in it, read forwards: gzip, bzip2 or xz, with a bound on how much comes out."""

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from typing import IO, Protocol

from kilat.data.bounds import DICTIONARY, FREE_ARCHIVE, MIB, MOST_TIMES
from kilat.errors import SourceError
from kilat.locale import _
from kilat.runtime.progress import Advance, ignore

_PACKED = 16 * 1024
_UNPACKED = 256 * 1024
"""Bytes that are read, and that are unpacked, at a time."""


class Decompressor(Protocol):
    """What bz2 and lzma give, and ``_Gzip`` as they do."""

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""
        ...

    @property
    def needs_input(self) -> bool:
        """Whether nothing comes out before something is put in."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What was put in behind the end of the stream."""
        ...

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Return at most so many of the next bytes."""
        ...


class _Gzip:
    """A stream of gzip, its checksum compared at its end."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        unpacked = self._stream.decompress(self._stream.unconsumed_tail + data, max_length)
        self.needs_input = len(unpacked) < max_length and not self._stream.unconsumed_tail
        return unpacked


def decompressor_of(head: bytes) -> Callable[[], Decompressor] | None:
    """Return what unpacks a file that begins with these bytes; None where it is not compressed."""
    if head.startswith(b"\x1f\x8b"):
        return _Gzip
    if head.startswith(b"BZh"):
        return bz2.BZ2Decompressor
    if head.startswith(b"\xfd7zXZ\0"):
        return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=DICTIONARY)
    return None


class UnpackedFile:
    """The bytes in a compressed file. Going back begins anew, so whoever reads goes forwards.

    Args:
        file: the compressed file, which is closed with this one.
        begin: returns what unpacks a stream; there may be several behind each other.
        name: of the file, for messages.
        advance: called with the bytes read of the file and its size.
    """

    def __init__(
        self, file: IO[bytes], begin: Callable[[], Decompressor], name: str, advance: Advance = ignore
    ) -> None:
        self._file, self._begin, self._name, self._advance = file, begin, name, advance
        self._size = file.seek(0, io.SEEK_END)
        self._restart()

    def _restart(self) -> None:
        self._file.seek(0)
        self._stream = self._begin()
        self._packed, self._end = 0, 0  # bytes read of the file, and unpacked so far
        self._ahead, self._used = b"", 0  # what was unpacked last, and how much of it was read

    def seek(self, position: int) -> None:
        """Go to a place in the unpacked bytes, or to their end."""
        if position < self._end - len(self._ahead):
            self._restart()
        while position > self._end and self._unpack():
            pass
        self._used = min(position, self._end) - (self._end - len(self._ahead))

    def read(self, size: int) -> bytes:
        """Return the next bytes, fewer at the end."""
        part = self._ahead[self._used : self._used + size]
        self._used += len(part)
        if len(part) == size:
            return part
        content = io.BytesIO(part)  # its value is not copied
        content.seek(len(part))
        while content.tell() < size and self._unpack():
            self._used = content.write(self._ahead[: size - content.tell()])
        return content.getvalue()

    def require_packed(self, size: int, free: int) -> None:
        """Raise where so many unpacked bytes are more than what was read of the file can hold of pictures.

        Args:
            size: how many.
            free: how many may be, whatever was read.

        Raises:
            SourceError: there are more.
        """
        if size > max(free, MOST_TIMES * self._packed):
            raise SourceError(
                _("{archive} unpacks to more than {times:,} times its size, as pictures do not.").format(
                    archive=self._name, times=MOST_TIMES
                ),
                hint=_("If you trust it, unpack it yourself and give the folder."),
            )

    def stop_reporting(self) -> None:
        """Report no more progress: what is read from now on belongs to another stage."""
        self._advance = ignore

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _unpack(self) -> bool:
        """Unpack the next bytes; return whether there are any."""
        part = b""
        while not part:
            if self._stream.eof:
                behind = (self._stream.unused_data or self._next_packed()).lstrip(b"\0")
                if not behind:
                    self._ahead, self._used = b"", 0
                    return False
                self._stream = self._begin()
            else:
                behind = self._next_packed() if self._stream.needs_input else b""
                if self._stream.needs_input and not behind:
                    raise EOFError("Compressed file ended before the end-of-stream marker was reached")
            part = self._stream.decompress(behind, _UNPACKED)
        self._ahead, self._used = part, 0
        self._end += len(part)
        self.require_packed(self._end, FREE_ARCHIVE)
        return True

    def _next_packed(self) -> bytes:
        packed = self._file.read(_PACKED)
        self._packed += len(packed)
        if self._packed // MIB > (self._packed - len(packed)) // MIB:
            self._advance(self._packed, self._size)
        return packed
