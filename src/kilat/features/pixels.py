"""The one pass over the pictures for a network that is trained on their pixels: nothing is viewed, pixels are kept."""

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kilat.data.catalog import Catalog, Source
from kilat.data.split import Part
from kilat.features.extract import Extractor, Preprocessor, batch_size, median_side
from kilat.recipe import Resize
from kilat.runtime.progress import Advance, ignore

Pixels = NDArray[np.uint8]

MAX_OOD_REFERENCE = 2048
"""At so many of the training pictures at most a finished network looks once more, to notice what is unlike them."""

_SIZES = (16, 224)
_SHARE = 4
_UNKNOWN_MEMORY = 8 << 30


@dataclass(frozen=True)
class PixelDataset:
    """The pictures as a network that learns by gradient gets to see them, and who is asked what.

    Args:
        catalog: every picture that came in, with its split.
        size: side in pixels at which they are looked at.
        pixels: all of them, uint8 ``[rows, size, size, 3]``; None where they are streamed.
        classes: their names.
        training: to learn from.
        validation: to measure on between epochs.
        calibration: that nothing sees until the network is finished.
        asked: the test pictures.
        notes: sentences worth saying.
    """

    catalog: Catalog
    size: int
    pixels: Pixels | None
    classes: list[str]
    train: Part
    validation: Part
    calibration: Part
    test: Part
    notes: list[str]


def natural_size(source: Source) -> int:
    """The pictures' own side in pixels: the median shorter side of a sample, 16 to 224; 224 where none can be read."""
    low, high = _SIZES
    side = median_side(source)
    return high if side is None else int(np.clip(round(side), low, high))


def read_pixels(
    source: Source,
    catalog: Catalog,
    *,
    size: int,
    resize: Resize,
    keep: bool,
    advance: Advance = ignore,
) -> Pixels | None:
    """Decodes every picture once and fills in the catalog's digests, sizes and refusals.

    Args:
        source: where the pictures come from.
        catalog: its entries; rows that are already refused are passed over.
        size: side of the square in pixels.
        resize: how pictures that are not square are fitted.
        keep: whether the pixels are kept; without, the pass only finds out which pictures cannot be used.
        advance: called as pictures are done.

    Returns:
        uint8 ``[rows of the catalog, size, size, 3]``, zeros where a picture was refused; None where none are kept.
    """
    width = size * size * 3 if keep else 0
    rows = np.zeros((len(source.entries), width), np.uint8)
    Extractor(source, catalog, Preprocessor(size, resize), _Kept(size, width), rows, advance).run()
    return rows.reshape(-1, size, size, 3) if keep else None


def fits_in_memory(pictures: int, size: int) -> bool:
    """Whether so many pictures of this side, decoded, take at most a quarter of the memory that is free to take."""
    return has_room(pictures * size * size * 3)


def has_room(size: int) -> bool:
    """Whether so many bytes take at most a quarter of the memory that is free to take."""
    return size <= _memory() // _SHARE


class _Kept:
    """The pixels themselves, as far as they are kept."""

    def __init__(self, size: int, width: int) -> None:
        self.batch, self.width = batch_size(size), width

    def __call__(self, pixels: Pixels) -> Pixels:
        return pixels.reshape(len(pixels), -1)[:, : self.width]


def _memory() -> int:
    """Bytes of memory that this process can have: what is free, and no more than its control group may use."""
    return min([_free(), *_group_limits()])


def _free() -> int:
    with contextlib.suppress(OSError):
        if found := re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text("ascii"), re.MULTILINE):
            return int(found[1]) * 1024
    with contextlib.suppress(AttributeError, OSError, ValueError):  # macOS tells what is built in
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return _UNKNOWN_MEMORY


def _group_limits() -> list[int]:
    """The limits of the control groups that this process is in: those of a container or of a cluster's job."""
    limits = []
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text("utf-8").splitlines():
            _, kinds, inner = line.split(":", 2)
            if kinds not in ("", "memory"):
                continue
            root, name = ("", "memory.max") if not kinds else ("memory", "memory.limit_in_bytes")
            group = Path("/sys/fs/cgroup") / root / inner.lstrip("/")
            for folder in (group, *group.parents):
                with contextlib.suppress(OSError, ValueError):  # "max" is no limit
                    limits.append(int((folder / name).read_text("ascii")))
    return limits
