"""What is done with a picture once it is read: decode, fit into the square, measure, run the network.

It is the same in a thread and in a worker process, so it is all plain data with functions.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kilat.data.catalog import Picture
from kilat.data.decode import decode, decode_guarded, without_warnings
from kilat.data.image_stats import IMAGE_STATS, image_stats
from kilat.data.picture_failure import picture_failure
from kilat.data.pixel_array import pixel_array
from kilat.data.resize_bounds import shortened
from kilat.errors import PictureError
from kilat.features.backbone import Backbone
from kilat.features.resize_graph import Resizer
from kilat.locale.refusals import Refusal
from kilat.recipe import Resize
from kilat.runtime.array_types import Floats, Pixels
from kilat.runtime.byte_budget import LeftToParent, decoded_bytes
from kilat.runtime.onnx_session import make_session

_PIXELS_PER_BATCH = 224 * 224

_MOST_DECODED = 16 << 20
"""Bytes of decoded pictures that a thread holds to resize and measure them together."""

_Decoded = tuple[int, Image.Image]
"""A picture decoded, with its position."""

_Sizes = tuple[tuple[int, int], tuple[int, int]]
"""Width and height of a decoded picture, and those of the full one."""


class Decode(Protocol):
    """What decodes a picture: ``kilat.data.decode.decode``, or the same in a process of its own."""

    def __call__(self, picture: Picture, *, shrink_to: int | None = None) -> tuple[Image.Image, tuple[int, int]]:
        """Return the picture, and its full width and height."""
        ...


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
        left: positions of pictures that were not decoded: a worker process leaves them to its parent.
    """

    pixels: Pixels
    stats: NDArray[np.void]
    refusals: dict[int, Refusal]
    left: list[int]


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
        ready = self.batch([picture], measure=False)
        for refusal in ready.refusals.values():
            raise PictureError(refusal.code, refusal.detail)
        square: Pixels = ready.pixels[0]
        return square

    def batch(
        self,
        pictures: Sequence[Picture],
        *,
        measure: bool,
        guarded: bool = False,
        is_over: Callable[[], bool] = lambda: False,
    ) -> Preprocessed:
        """Return several pictures, as much of the work as possible done for all those of one size together.

        Args:
            pictures: the bytes of their files, or arrays of pixels.
            measure: whether image stats are measured.
            guarded: whether each is decoded in the guarded process.
            is_over: whether the others are left, such as after Ctrl-C.
        """
        done = Preprocessed(
            np.zeros((len(pictures), self.size, self.size, 3), np.uint8),
            np.zeros(len(pictures) if measure else 0, IMAGE_STATS),
            {},
            [],
        )
        decoded = _DecodedPictures(self, pictures, done, decode_guarded if guarded else decode)
        with decoded_bytes.hold():
            for position in range(len(pictures)):
                if is_over():
                    done.left.append(position)
                else:
                    decoded.add(position)
                    decoded_bytes.give_back()  # what was large is finished, what is not is small
            decoded.finish()
        return done


class _DecodedPictures:
    """Some decoded pictures, by their size: few bytes of them, until they are resized and measured.

    Args:
        preprocessor: that resizes them.
        pictures: all that are to be decoded.
        done: where the results go.
        decode: decodes one.
    """

    def __init__(
        self, preprocessor: Preprocessor, pictures: Sequence[Picture], done: Preprocessed, decode: Decode
    ) -> None:
        self._preprocessor, self._pictures, self._done, self._decode = preprocessor, pictures, done, decode
        self._by_size: dict[_Sizes, list[_Decoded]] = defaultdict(list)
        self._bytes = 0

    def add(self, position: int) -> None:
        """Decode one more; a large one is finished at once."""
        try:
            self._decode_one(position)
        except LeftToParent:
            self._done.left.append(position)
        except Exception as error:  # noqa: BLE001 - whatever comes of one picture is that picture's refusal
            self._done.refusals[position] = picture_failure(error).refusal
        if self._bytes > _MOST_DECODED:
            self.finish()

    def _decode_one(self, position: int) -> None:
        size = self._preprocessor.size
        image, full = self._decode(self._pictures[position], shrink_to=size)
        image = shortened(image, size, self._preprocessor.way)
        self._by_size[image.size, full].append((position, image))
        self._bytes += 4 * image.width * image.height

    def finish(self) -> None:
        """Resize and measure what was decoded; nothing of it is kept."""
        while self._by_size:
            (_size, full), members = self._by_size.popitem()
            self._fit(members, full)
        self._bytes = 0

    def _fit(self, members: list[_Decoded], full: tuple[int, int]) -> None:
        """Resize and measure pictures of one size; where that fails, each by itself, and who is at fault is refused."""
        done, at, images = self._done, [position for position, _ in members], [image for _, image in members]
        try:
            done.pixels[at] = self._preprocessor.resize.batch(_stacked(images))
            if len(done.stats):
                done.stats[at] = image_stats([self._pictures[position] for position in at], images, full)
        except Exception as error:  # noqa: BLE001 - NumPy, Pillow and ONNX Runtime have no common exceptions
            if len(members) > 1:
                for one in members:
                    self._fit([one], full)
            else:
                done.refusals[at[0]] = picture_failure(error).refusal
                done.pixels[at] = 0
                done.stats[at if len(done.stats) else []] = 0


def _stacked(images: Sequence[Image.Image]) -> Pixels:
    """Return the pixels of pictures of one size, ``[n, height, width, 3]``; of a single one without another copy."""
    return pixel_array(images[0])[None] if len(images) == 1 else np.stack([pixel_array(image) for image in images])


@dataclass(frozen=True)
class Processed:
    """What was made of some pictures.

    Args:
        vectors: ``[decoded, width]``, of those that could be decoded, in their order.
        stats: records of ``IMAGE_STATS``, ``[n]``; none where they were not asked for.
        refusals: why others cannot be decoded, by position.
        left: positions of those that a worker process leaves to its parent.
    """

    vectors: NDArray[Any]
    stats: NDArray[np.void]
    refusals: dict[int, Refusal]
    left: list[int]


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

    def __call__(
        self, pictures: Sequence[Picture], *, guarded: bool = False, is_over: Callable[[], bool] = lambda: False
    ) -> Processed:
        """Decode, measure and transform some pictures; arguments as of ``Preprocessor.batch``."""
        with without_warnings():
            ready = self.preprocessor.batch(pictures, measure=self.measure, guarded=guarded, is_over=is_over)
        others = {*ready.refusals, *ready.left}
        decoded = [position for position in range(len(pictures)) if position not in others]
        return Processed(self._transformed(ready.pixels[decoded]), ready.stats, ready.refusals, ready.left)

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
