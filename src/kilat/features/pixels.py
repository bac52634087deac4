"""The pass over the pictures for a network that is trained on pixels: decoded, and kept in memory where they fit."""

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kilat.data.catalog import Catalog, PictureRecords, Source
from kilat.data.split import Part
from kilat.features.extract import Extractor, Preprocessor, batch_size, median_side
from kilat.locale.notes import Note
from kilat.recipe import Resize
from kilat.runtime.array_types import Flags, Pixels
from kilat.runtime.progress import Advance, ignore

MAX_OOD_REFERENCE = 2048
"""A trained network gives embeddings of this many training pictures at most, to find what is unlike them."""

_SIZES = (16, 224)
_SHARE = 4
_UNKNOWN_MEMORY = 8 << 30


@dataclass(frozen=True)
class PixelDataset:
    """The pictures for a network that is trained by gradient, and how they are split.

    Args:
        catalog: every picture that came in, with its split.
        size: side in pixels at which the network gets them.
        pixels: all of them, uint8 ``[rows, size, size, 3]``; None where they are streamed.
        classes: their names.
        train: the training pictures.
        validation: to measure on between epochs.
        calibration: that nothing is decided on before the network is finished.
        test: the test pictures.
        notes: what the user should know.
    """

    catalog: Catalog
    size: int
    pixels: Pixels | None
    classes: list[str]
    train: Part
    validation: Part
    calibration: Part
    test: Part
    notes: list[Note]


@dataclass(frozen=True, kw_only=True)
class DecodedPictures(PictureRecords):
    """What one pass decoded, and what it found out about each picture.

    Args:
        pixels: uint8 ``[rows, size, size, 3]``, zeros where a picture was refused or not wanted; None where none are
            kept.
    """

    pixels: Pixels | None


def natural_size(source: Source) -> int:
    """Return the pictures' own side in pixels: the median shorter side of a sample, 16 to 224 (224 if none is read)."""
    low, high = _SIZES
    side = median_side(source)
    return high if side is None else int(np.clip(round(side), low, high))


def read_pixels(
    source: Source,
    used: Flags,
    *,
    size: int,
    resize: Resize,
    keep: bool,
    image_stats: bool = True,
    advance: Advance = ignore,
) -> DecodedPictures:
    """Decode every picture once.

    Args:
        source: where the pictures come from.
        used: which of them, a mask over its entries; the others are not read.
        size: side of the square in pixels.
        resize: how pictures that are not square are fitted into it.
        keep: whether the pixels are kept; without, the pass only finds out which pictures cannot be used.
        image_stats: whether image stats are measured; a second pass over the same pictures needs none.
        advance: called as pictures are done.
    """
    transform = _Flattened(size, size * size * 3 if keep else 0)
    pixels = np.zeros((len(source.entries), transform.width), np.uint8)
    found = Extractor(source, used, Preprocessor(size, resize), transform, pixels, advance, measure=image_stats).run()
    return DecodedPictures(
        digests=found.digests,
        refusals=found.refusals,
        image_stats=found.image_stats,
        pixels=pixels.reshape(-1, size, size, 3) if keep else None,
    )


def fits_in_memory(pictures: int, size: int) -> bool:
    """Return whether so many decoded pictures of this side take at most a quarter of the available memory."""
    return has_room(pictures * size * size * 3)


def has_room(size: int) -> bool:
    """Return whether so many bytes take at most a quarter of the memory that this process can still have."""
    return size <= min([_free(), *_group_limits()]) // _SHARE


class _Flattened:
    """The pixels themselves as vectors, cut to a width."""

    def __init__(self, size: int, width: int) -> None:
        self.batch, self.width = batch_size(size), width

    def __call__(self, pixels: Pixels) -> Pixels:
        return pixels.reshape(len(pixels), -1)[:, : self.width]


def _free() -> int:
    with contextlib.suppress(OSError):
        if found := re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text("ascii"), re.MULTILINE):
            return int(found[1]) * 1024
    with contextlib.suppress(AttributeError, OSError, ValueError):  # macOS tells what is built in
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return _UNKNOWN_MEMORY


def _group_limits() -> list[int]:
    """Return the limits of the control groups of this process: those of a container or of a cluster's job."""
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
