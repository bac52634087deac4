"""The pass over the pictures for a network that is trained on pixels: decoded, and kept in memory where they fit."""

from dataclasses import dataclass

import numpy as np

from kilat.data.catalog import Catalog, PictureRecords, Source
from kilat.data.split import Part
from kilat.errors import RunError
from kilat.features.extract import Extractor, PassLimit, median_side
from kilat.features.processing import Preprocessor, Processing, batch_size
from kilat.locale import _
from kilat.locale.notes import Note
from kilat.locale.refusals import Refusal
from kilat.recipe import Resize
from kilat.runtime.array_types import Flags, Pixels
from kilat.runtime.memory import has_room
from kilat.runtime.progress import Advance, ignore

MAX_OOD_REFERENCE = 2048
"""A trained network gives embeddings of this many training pictures at most, to find what is unlike them."""

_SIZES = (16, 224)


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
    limit: PassLimit | None = None,
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
        limit: when the pass must be over; None for as long as it takes.
    """
    transform = _Flattened(size, size * size * 3 if keep else 0)
    pixels = np.zeros((len(source.entries), transform.width), np.uint8)
    processing = Processing(Preprocessor(size, resize), transform, measure=image_stats)
    found = Extractor(source, used, processing, pixels, advance, limit=limit).run()
    return DecodedPictures(
        digests=found.digests,
        refusals=found.refusals,
        image_stats=found.image_stats,
        notes=found.notes,
        pixels=pixels.reshape(-1, size, size, 3) if keep else None,
    )


def no_longer_readable(source: Source, row: int, refusal: Refusal) -> RunError:
    """Return the error of a picture that was used in an earlier pass of the run, and is refused in a later one."""
    message = _("{path} could be read when the run began, but no longer can: {reason}.")
    return RunError(
        message.format(path=source.entries[row].path, reason=refusal.sentence()),
        hint=_("Leave the pictures as they are until training has ended, or keep them in memory."),
    )


def fits_in_memory(pictures: int, size: int) -> bool:
    """Return whether so many decoded pictures of this side take at most a quarter of the available memory."""
    return has_room(pictures * size * size * 3)


class _Flattened:
    """The pixels themselves as vectors, cut to a width."""

    portable = True

    def __init__(self, size: int, width: int) -> None:
        self.batch, self.width = batch_size(size), width

    def __call__(self, pixels: Pixels) -> Pixels:
        return pixels.reshape(len(pixels), -1)[:, : self.width]
