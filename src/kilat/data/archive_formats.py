"""What archives of any format give: their members and the bytes of these."""

import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from kilat.data.bounds import LONGEST_PATH
from kilat.locale.refusals import Refusal


class DamagedArchiveError(Exception):
    """What an archive says of its members cannot be; the message is shown behind the archive's name."""


READ_ERRORS = (
    DamagedArchiveError, EOFError, OSError, ValueError, OverflowError, struct.error, zlib.error, lzma.LZMAError,
)  # fmt: skip
"""What reading a damaged or hostile archive raises."""


def beginning_of_path(path: bytes) -> bytes:
    """Return a path up to its end (a zero byte), of one that is too long for any picture a beginning that is, too.

    What is cut off was perhaps the name of a file, so that the rest does not look like that of a folder.
    """
    path = path.partition(b"\0")[0]
    most = 4 * LONGEST_PATH  # bytes that as many characters take in UTF-8
    return path if len(path) <= most else path[:most] + b"..."


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive.

    Args:
        name: its path as the archive writes it; of an endless one the beginning.
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
        """Yield the files, and the folders as plain names, in the order of the archive.

        Raises:
            READ_ERRORS: the archive is damaged.
        """
        ...

    def read(self, position: int, size: int) -> bytes:
        """Return the bytes of one file, never more than it says to have.

        Raises:
            READ_ERRORS: they are damaged.
        """
        ...

    def close(self) -> None:
        """Close the file."""
        ...
