"""What a file of weights claims, looked at before a library makes it real."""

import contextlib
from pathlib import Path

from kilat.data.archive_formats import READ_ERRORS, Member
from kilat.data.zip_archive import ZipArchive
from kilat.locale import _
from kilat.runtime.regular_file import open_regular_file

_MAX_BYTES = 64 << 30
_MAX_HEADER = 16 << 20
"""Of a safetensors file, whose own limit is six times that: a header of so many bytes takes a gigabyte in memory."""

_LENGTH = 8
_ZIP = b"PK\x03\x04"
_MOST_MEMBERS = 100_000


def require_bounded(path: Path) -> None:
    """Look at a file of weights: a regular file, with no more in it than it has bytes.

    Args:
        path: ``.safetensors``, or one of PyTorch.

    Raises:
        OSError: it is no regular file, or cannot be read.
        ValueError: it claims more than it holds.
    """
    with open_regular_file(path, _MAX_BYTES) as file:
        start = file.read(_LENGTH)
    if path.suffix.lower() == ".safetensors":
        if len(start) < _LENGTH or int.from_bytes(start, "little") > _MAX_HEADER:
            raise ValueError(_("its header is missing, or larger than that of any network"))
    elif start.startswith(_ZIP):
        _require_unpacked(path)


def _require_unpacked(path: Path) -> None:
    """Refuse an archive that grows as it is unpacked: PyTorch packs nothing."""
    try:
        with contextlib.closing(ZipArchive(path)) as archive:
            members = [one for one in archive.members() if isinstance(one, Member)]
    except READ_ERRORS as error:
        raise ValueError(_("it is damaged")) from error
    if len(members) > _MOST_MEMBERS or sum(one.size for one in members) > path.stat().st_size:
        raise ValueError(_("more comes of it than it has bytes"))
