"""The formats of archives, zip and tar, with one small interface: the members and their bytes."""

import bz2
import gzip
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Protocol, cast

from kilat.data.image_file import LIMIT, MAX_BYTES, SIGNATURE_BYTES
from kilat.locale import _
from kilat.locale.refusals import Refusal

_MAX_HEADER = 1024 * 1024

READ_ERRORS = (
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    RecursionError,
    NotImplementedError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
)
"""What the readers of archives raise for damaged or hostile ones."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive.

    Args:
        name: its path as the archive writes it.
        position: where its archive finds it again.
        size: its bytes, as its header says.
        refused: why it is refused before it is read; None where it is not.
        head: returns its first bytes; to be called before the next member is read.
    """

    name: str
    position: int
    size: int
    refused: Refusal | None
    head: Callable[[], bytes]


class ArchiveFile(Protocol):
    """An open archive of any format."""

    sequential: bool
    """Whether going back costs reading everything again."""

    def members(self) -> Iterator[Member | str]:
        """Yield the files, and the folders as plain names, in the order of the archive."""
        ...

    def read(self, position: int, size: int) -> bytes:
        """Return the bytes of one file."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class ZipArchive:
    """A zip archive: any member can be read at any time."""

    sequential = False

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path)
        self._infos = self._zip.infolist()

    def members(self) -> Iterator[Member | str]:
        """Yield the members; a position is the number of the member."""
        for number, info in enumerate(self._infos):
            name = _zip_name(info)
            if info.is_dir():
                yield name
            else:
                yield Member(name, number, info.file_size, _zip_refusal(info), partial(self._head, number))

    def read(self, position: int, size: int) -> bytes:
        """Return the bytes of that member, never more than its header says."""
        with self._zip.open(self._infos[position]) as file:
            return file.read(size)

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def _head(self, number: int) -> bytes:
        try:
            with self._zip.open(self._infos[number]) as file:
                return file.read(SIGNATURE_BYTES)
        except READ_ERRORS:
            return b""


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Return the name, decoded as UTF-8 where it can be: many programs write UTF-8 without setting the flag."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _zip_refusal(info: zipfile.ZipInfo) -> Refusal | None:
    if info.flag_bits & 0x1:
        return Refusal("encrypted")
    if (info.external_attr >> 16) & 0o170000 == 0o120000:
        return Refusal("archive_link")
    if info.file_size > MAX_BYTES:
        return Refusal("too_large", LIMIT)
    # The other methods unpack without a limit on what comes out.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return Refusal("compression_method")
    return None


class TarArchive:
    """A tar archive, plain or compressed; a compressed one is unpacked as it is read, forwards."""

    def __init__(self, path: Path) -> None:
        self._stream, self.sequential = _tar_stream(path)
        try:
            self._tar = tarfile.TarFile(fileobj=cast(IO[bytes], _Headers(self._stream)))
        except READ_ERRORS:
            self._stream.close()
            raise

    def members(self) -> Iterator[Member | str]:
        """Yield the members; a position is where the content starts in the unpacked bytes."""
        tar, before = self._tar, -1
        while (info := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # else every member stays in memory
            if info.size < 0 or tar.offset <= before:
                raise tarfile.ReadError(_("a member of negative size"))
            before = tar.offset
            if info.isdir():
                yield info.name
            else:
                head = partial(self.read, info.offset_data, min(info.size, SIGNATURE_BYTES))
                yield Member(info.name, info.offset_data, info.size, _tar_refusal(info), head)
        # tarfile takes a damaged header for the end; the real end is a block of zeros.
        self._stream.seek(tar.offset)
        if self._stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError(_("the end of the archive is missing"))

    def read(self, position: int, size: int) -> bytes:
        """Return the bytes from that position on."""
        self._stream.seek(position)
        return self._stream.read(size)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


class _Headers:
    """The stream for tarfile, which reads headers only: one that claims to be huge is not read into memory."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek, self.tell, self.close = stream.seek, stream.tell, stream.close

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        if not 0 <= size <= _MAX_HEADER:
            raise tarfile.ReadError(_("a header of impossible size"))
        return self._stream.read(size)


def _tar_stream(path: Path) -> tuple[IO[bytes], bool]:
    """Return the unpacked bytes, by the first bytes of the file, and whether they can only be read forwards."""
    with path.open("rb") as file:
        head = file.read(6)
    if head.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(path)), True
    if head.startswith(b"BZh"):
        return cast(IO[bytes], bz2.open(path)), True
    if head.startswith(b"\xfd7zXZ\0"):
        return cast(IO[bytes], lzma.open(path)), True
    return path.open("rb"), False


def _tar_refusal(info: tarfile.TarInfo) -> Refusal | None:
    if info.issym() or info.islnk():
        return Refusal("archive_link")
    if not info.isreg():
        return Refusal("not_a_regular_file")
    if info.issparse():
        return Refusal("sparse_file")
    return Refusal("too_large", LIMIT) if info.size > MAX_BYTES else None
