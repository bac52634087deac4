"""Data sets in binary formats: the batches of CIFAR-10, and the IDX files of MNIST and similar sets."""

import gzip
import math
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kilat.data.bounds import SET_BYTES
from kilat.data.catalog import Entry
from kilat.data.image_file import unreadable
from kilat.errors import PictureError, SourceError
from kilat.locale import _
from kilat.locale.notes import Note
from kilat.locale.system_errors import system_reason
from kilat.runtime.array_types import Pixels
from kilat.runtime.regular_file import open_regular_file, read_regular_file


class CifarSource:
    """The binary version of CIFAR-10: records of one label byte and 3,072 pixel bytes, red, green, then blue.

    Args:
        folder: where the batch files are.
        name: what to call the source.
        classes: the name of each label.
    """

    BATCHES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
    RECORD = 1 + 3 * 32 * 32

    def __init__(self, folder: Path, name: str, classes: Sequence[str]) -> None:
        self.name = name
        self.skipped: dict[str, int] = {}
        self.notes: list[Note] = []
        self.entries: list[Entry] = []
        self._records: list[tuple[str, int]] = []
        self._folder = folder
        for batch in self.BATCHES:
            file = folder / batch
            content = _read_whole(file)
            if content.size == 0 or content.size % self.RECORD:
                message = _("{file} is cut off: {size:,} bytes are not a whole number of records of {record:,} bytes.")
                raise SourceError(message.format(file=file, size=content.size, record=self.RECORD))
            labels = content[:: self.RECORD]
            if labels.max() >= len(classes):
                message = _("{file} is damaged: it has label {label}, but there are {classes} classes.")
                raise SourceError(message.format(file=file, label=labels.max(), classes=len(classes)))
            split = "test" if batch.startswith("test") else "train"
            self.entries += [Entry(f"{batch}[{i}]", classes[label], split) for i, label in enumerate(labels)]
            self._records += [(batch, i) for i in range(len(labels))]

    def read(self, index: int) -> Pixels:
        """Return the pixels of the picture."""
        batch, record = self._records[index]
        try:
            with (self._folder / batch).open("rb", buffering=0) as file:
                file.seek(record * self.RECORD + 1)
                content = file.read(self.RECORD - 1)
        except OSError as error:
            raise unreadable(error) from error
        if len(content) != self.RECORD - 1:
            raise PictureError("truncated", f"{len(content)}/{self.RECORD - 1} bytes")
        planes = np.frombuffer(content, np.uint8)
        return np.ascontiguousarray(planes.reshape(3, 32, 32).transpose(1, 2, 0))

    def link(self, index: int) -> str | None:
        """Return None: a record has no file of its own."""
        return None


def _read_whole(file: Path) -> Pixels:
    try:
        return np.frombuffer(read_regular_file(file, SET_BYTES), np.uint8)
    except OSError as error:
        raise _damaged(file, system_reason(error)) from error


def _damaged(file: Path, reason: object) -> SourceError:
    return SourceError(
        _("{file} is cut off or damaged: {error}.").format(file=file, error=reason),
        hint=_("Copy or download it again."),
    )


def read_idx(file: Path, dimensions: int) -> Pixels:
    """Return the array in a gzipped IDX file of unsigned bytes.

    Raises:
        SourceError: it is cut off, damaged, or of another kind.
    """
    try:
        with open_regular_file(file, SET_BYTES) as opened, gzip.open(opened) as stream:
            magic, sizes = stream.read(4), stream.read(4 * dimensions)
            if magic != bytes((0, 0, 8, dimensions)) or len(sizes) != 4 * dimensions:
                raise SourceError(
                    _("{file} is not an IDX file of bytes in {dimensions} dimensions.").format(
                        file=file, dimensions=dimensions
                    )
                )
            shape = tuple(int(n) for n in np.frombuffer(sizes, ">u4"))
            content = stream.read(min(math.prod(shape), SET_BYTES))
            beyond = stream.read(1)  # reaching the end is what makes gzip compare its checksum
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(file, system_reason(error) if isinstance(error, OSError) else error) from error
    if len(content) != math.prod(shape) or beyond:
        message = _("{file} is damaged: it should have {size:,} bytes, and has {found:,}.")
        if beyond:
            message = _("{file} is damaged: it should have {size:,} bytes, and has more.")
        raise SourceError(message.format(file=file, size=math.prod(shape), found=len(content)))
    return np.frombuffer(content, np.uint8).reshape(shape)
