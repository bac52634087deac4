"""What is done with a picture once it is read: decode, fit into the square, measure, run the network.

It is the same in a thread and in a worker process, so it is all plain data with functions.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kilat.data.catalog import Picture
from kilat.data.decode import decode, without_warnings
from kilat.data.image_stats import IMAGE_STATS, image_stats
from kilat.errors import PictureError
from kilat.features.backbone import Backbone
from kilat.features.resize_graph import Resizer
from kilat.locale.refusals import Refusal
from kilat.recipe import Resize
from kilat.runtime.array_types import Floats, Pixels
from kilat.runtime.onnx_session import make_session

_PIXELS_PER_BATCH = 224 * 224


class Transform(Protocol):
    """What a pass makes of pixels uint8 ``[n, size, size, 3]``: a vector for each, ``[n, width]``. Thread-safe.

    Attributes:
        batch: how many pictures it takes at a time.
        portable: whether it can be pickled, so that worker processes can do it.
    """

    batch: int
    portable: bool

    def __call__(self, pixels: Pixels) -> NDArray[Any]:
        """Return the vectors of a batch."""
        ...


def batch_size(size: int) -> int:
    """Return how many pictures of this side a worker takes at a time: as many as make one of 224 pixels."""
    return max(1, _PIXELS_PER_BATCH // size**2)


class Runner(Protocol):
    """A backbone ready to run: pixels uint8 ``[n, size, size, 3]`` to features float32 ``[n, width]``. Thread-safe."""

    batch: int
    portable: bool

    def __call__(self, pixels: Pixels) -> Floats:
        """Return the features of a batch."""
        ...


class OnnxRunner:
    """A backbone on the CPU in ONNX Runtime, one core a call."""

    portable = True

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.session = make_session(backbone.model)
        self.batch = batch_size(backbone.size)

    def __reduce__(self) -> tuple[type["OnnxRunner"], tuple[Backbone]]:
        return OnnxRunner, (self.backbone,)

    def __call__(self, pixels: Pixels) -> Floats:
        """Return the features of a batch."""
        (features,) = self.session.run(["features"], {"pixels": pixels})
        return np.asarray(features, np.float32)


@dataclass(frozen=True)
class Preprocessed:
    """Pictures that are ready for a network.

    Args:
        pixels: uint8 ``[n, size, size, 3]``, zeros where a picture was refused.
        stats: records of ``IMAGE_STATS``, ``[n]``; none where they were not asked for.
        refusals: why pictures cannot be decoded, by position.
    """

    pixels: Pixels
    stats: NDArray[np.void]
    refusals: dict[int, Refusal]


class Preprocessor:
    """Decodes pictures and fits them into the network's square, in several threads or processes."""

    def __init__(self, size: int, resize: Resize) -> None:
        self.size, self.way, self.resize = size, resize, Resizer(size, resize)

    def __reduce__(self) -> tuple[type["Preprocessor"], tuple[int, Resize]]:
        return Preprocessor, (self.size, self.way)

    def __call__(self, picture: Picture) -> Pixels:
        """Return a picture as ``[size, size, 3]``.

        Raises:
            PictureError: it cannot be decoded.
        """
        return self.resize(np.asarray(decode(picture, shrink_to=self.size)[0]))

    def batch(self, pictures: Sequence[Picture], *, measure: bool) -> Preprocessed:
        """Return several pictures, as much of the work as possible done for all those of one size together."""
        done = Preprocessed(
            np.zeros((len(pictures), self.size, self.size, 3), np.uint8),
            np.zeros(len(pictures) if measure else 0, IMAGE_STATS),
            {},
        )
        sizes: dict[tuple[tuple[int, int], tuple[int, int]], list[tuple[int, Image.Image]]] = defaultdict(list)
        for position, picture in enumerate(pictures):
            try:
                image, full = decode(picture, shrink_to=self.size)
                sizes[image.size, full].append((position, image))
            except PictureError as error:
                done.refusals[position] = error.refusal
        for (_, full), members in sizes.items():
            at, images = [position for position, _ in members], [image for _, image in members]
            done.pixels[at] = self.resize.batch(np.stack([np.asarray(image) for image in images]))
            if measure:
                done.stats[at] = image_stats([pictures[position] for position in at], images, full)
        return done


@dataclass(frozen=True)
class Processed:
    """What was made of some pictures.

    Args:
        vectors: ``[decoded, width]``, of those that could be decoded, in their order.
        stats: records of ``IMAGE_STATS``, ``[n]``; none where they were not asked for.
        refusals: why the others cannot be decoded, by position.
    """

    vectors: NDArray[Any]
    stats: NDArray[np.void]
    refusals: dict[int, Refusal]


@dataclass(frozen=True)
class Processing:
    """What is done with pictures once they are read.

    Args:
        preprocessor: how they come into the square.
        transform: what is made of their pixels.
        measure: whether image stats are measured.
    """

    preprocessor: Preprocessor
    transform: Transform
    measure: bool = True

    def __call__(self, pictures: Sequence[Picture]) -> Processed:
        """Decode, measure and transform some pictures."""
        with without_warnings():
            ready = self.preprocessor.batch(pictures, measure=self.measure)
        decoded = [position for position in range(len(pictures)) if position not in ready.refusals]
        return Processed(self._transformed(ready.pixels[decoded]), ready.stats, ready.refusals)

    @property
    def portable(self) -> "Processing":
        """What of it a worker process can do: all, or all but a transform that is bound to this process."""
        return self if self.transform.portable else replace(self, transform=Untransformed())

    def finish(self, done: Processed) -> Processed:
        """Return the whole result, where ``portable`` did its part."""
        return done if self.transform.portable else replace(done, vectors=self._transformed(done.vectors))

    def _transformed(self, pixels: Pixels) -> NDArray[Any]:
        if not len(pixels):
            return np.zeros(0)
        starts = range(0, len(pixels), self.transform.batch)
        return np.concatenate([self.transform(pixels[start : start + self.transform.batch]) for start in starts])


class Untransformed:
    """The pixels as they are."""

    batch, portable = 1 << 20, True

    def __call__(self, pixels: Pixels) -> Pixels:
        """Return the pixels."""
        return pixels
