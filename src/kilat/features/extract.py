"""The one pass over the pictures: read, hash, look up or decode and look through, every picture accounted for.

Reading happens in order on the calling thread, some pictures ahead; worker threads decode and run the network, one
picture (or a few small ones) at a time, each on one core. That keeps all cores busy without batches: its activations
stay in the core's own cache, and decoding overlaps with inference by itself.
"""

import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from kilat.data.catalog import Catalog, Picture, Source, content_digest
from kilat.data.decode import Pixels, decode, picture_size
from kilat.data.image_stats import IMAGE_STATS, image_stats
from kilat.data.image_stats import VERSION as FACTS_VERSION
from kilat.errors import PictureError
from kilat.features.backbone import Backbone
from kilat.features.cache import CachedFeatures, FeatureCache
from kilat.features.resize_graph import Resizer
from kilat.recipe import Resize
from kilat.runtime.cores import threads
from kilat.runtime.onnx_session import make_session
from kilat.runtime.progress import Advance, ignore

Floats = NDArray[np.float32]

PREPROCESSING = f"decode 1, fitting 2, facts {FACTS_VERSION}"
"""Part of every cache key: raised when decoding or fitting changes what the network gets to see."""

_NATURAL = 4
_SMALLEST = 32
_SAMPLE = 64
_PIXELS_PER_BATCH = 224 * 224
_PUT_EVERY = 128
_READ_AHEAD = 32


class Runner(Protocol):
    """A backbone ready to run: pixels uint8 ``[n, size, size, 3]`` to features float32 ``[n, width]``. Thread-safe."""

    batch: int

    def __call__(self, pixels: Pixels) -> Floats:
        """The features of a batch."""
        ...


class OnnxRunner:
    """A backbone on the CPU in ONNX Runtime, one core a call."""

    def __init__(self, backbone: Backbone) -> None:
        self.session = make_session(backbone.model)
        self.batch = batch_size(backbone.size)

    def __call__(self, pixels: Pixels) -> Floats:
        """The features of a batch."""
        (features,) = self.session.run(["features"], {"pixels": pixels})
        return np.asarray(features, np.float32)


def suggested_size(source: Source, largest: int = 224, stride: int = 32) -> int:
    """The side in pixels at which to look at these pictures: four times their own, in the network's stride.

    Small pictures are enlarged because the network halves the resolution five times. Beyond fourfold cross-validation
    gains little (CIFAR-10) or nothing (digits, Fashion-MNIST), and the time grows with the square.

    Args:
        source: the pictures.
        largest: the side at which the network looks at photos.
        stride: of the network; ``largest`` is a multiple of it.
    """
    side = median_side(source)
    natural = largest if side is None else _NATURAL * side
    return int(np.clip(round(natural / stride) * stride, _SMALLEST, largest))


def median_side(source: Source) -> float | None:
    """The median shorter side in pixels of a sample from all over the source; None where none could be read."""
    step = max(1, len(source.entries) // _SAMPLE)
    sides = []
    for index in range(0, len(source.entries), step):
        if not source.entries[index].refused:
            try:
                size = picture_size(source.read(index))
            except PictureError:
                size = None
            if size:
                sides.append(min(size))
    return float(np.median(sides)) if sides else None


def extract_features(
    source: Source,
    catalog: Catalog,
    backbone: Backbone,
    *,
    resize: Resize,
    cache: FeatureCache | None,
    runner: Runner | None = None,
    advance: Advance = ignore,
) -> Floats:
    """Looks at every picture once and fills in the catalog's digests, sizes and refusals.

    Args:
        source: where the pictures come from.
        catalog: its entries; rows that are already refused are passed over.
        backbone: the network.
        resize: how pictures that are not square are fitted.
        cache: where known vectors are, and new ones go; None for neither.
        runner: what runs the network; by default ONNX Runtime on the CPU.
        advance: called as pictures are done.

    Returns:
        float32 ``[rows of the catalog, features]``; zeros where a picture was refused.
    """
    runner = runner or OnnxRunner(backbone)
    features = np.zeros((len(source.entries), backbone.width), np.float32)
    Extractor(source, catalog, Preprocessor(backbone.size, resize), runner, features, advance, cache).run()
    return features


def cache_namespace(backbone: Backbone, resize: Resize, device: str = "cpu") -> bytes:
    """The key under which vectors of this backbone with this preprocessing are kept."""
    what = f"{backbone.digest} {backbone.size} {resize} {device} {PREPROCESSING} {ort.__version__}"
    return hashlib.sha256(what.encode()).digest()[:16]


class Preprocessor:
    """Decodes pictures and fits them into the network's square; safe to use from several threads."""

    def __init__(self, size: int, resize: Resize) -> None:
        self.size, self.fit = size, Resizer(size, resize)

    def __call__(self, picture: Picture) -> Pixels:
        """A picture as ``[size, size, 3]``.

        Raises:
            PictureError: it cannot be decoded; the message is the reason.
        """
        return self.fit(np.asarray(decode(picture, shrink_to=self.size)[0]))

    def study(self, picture: Picture) -> tuple[Pixels, np.void]:
        """A picture as ``[size, size, 3]``, and the facts of it, a record of ``IMAGE_STATS``.

        Raises:
            PictureError: it cannot be decoded; the message is the reason.
        """
        image, full = decode(picture, shrink_to=self.size)
        return self.fit(np.asarray(image)), image_stats(picture, image, full)


class Transform(Protocol):
    """What a pass makes of pixels uint8 ``[n, size, size, 3]``: a row for each, ``[n, width]``. Thread-safe."""

    batch: int

    def __call__(self, pixels: Pixels) -> NDArray[Any]:
        """The rows of a batch."""
        ...


def batch_size(size: int) -> int:
    """How many pictures of this side a worker takes at a time: as many as make one of 224 pixels."""
    return max(1, _PIXELS_PER_BATCH // size**2)


@dataclass
class _Job:
    """A picture on its way: where it stands in the catalog, its digest, and what was read."""

    row: int
    digest: bytes
    picture: Picture


@dataclass
class _Outcome:
    """What became of a picture: its row and the facts of it, or why it was refused."""

    job: _Job
    facts: np.void | None = None
    row: NDArray[Any] | None = None
    reason: str = ""


class Extractor:
    """Reads, hashes, decodes and views every picture once, and fills in the catalog.

    Args:
        source: where the pictures come from.
        catalog: its entries; gets their digests, sizes and refusals.
        frame: how pictures come into the square.
        view: what is made of their pixels.
        rows: where that goes, zeros ``[rows of the catalog, width]`` of the view's type.
        advance: called as pictures are done.
        cache: where known rows are, and new ones go; None for neither. It holds float32 only.
    """

    def __init__(
        self,
        source: Source,
        catalog: Catalog,
        frame: Preprocessor,
        view: Transform,
        rows: NDArray[Any],
        advance: Advance,
        cache: FeatureCache | None = None,
    ) -> None:
        self.source, self.catalog, self.frame, self.view = source, catalog, frame, view
        self.rows, self.advance, self.cache = rows, advance, cache
        self.total = len(source.entries)
        self.wanted = catalog.used
        self.digests = [""] * self.total
        self.facts = np.zeros(self.total, IMAGE_STATS)
        self.reasons: dict[int, str] = {}
        self.first: dict[bytes, int] = {}
        self.twins: list[tuple[int, int]] = []
        self.fresh: list[tuple[bytes, CachedFeatures]] = []
        self.done = 0

    def run(self) -> None:
        """Goes over all pictures; what was seen before an error or an interruption is in the cache."""
        workers = threads()
        ahead = workers + max(1, 2 * workers // self.view.batch)  # large batches hold enough pictures as it is
        with ThreadPoolExecutor(workers, thread_name_prefix="kilat-look") as pool:
            waiting: deque[Future[list[_Outcome]]] = deque()
            try:
                for batch in self._batches():
                    waiting.append(pool.submit(self._look, batch))
                    while len(waiting) > ahead:
                        self._settle(waiting.popleft().result())
                while waiting:
                    self._settle(waiting.popleft().result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            finally:
                self._save()
        self._fill_catalog()

    def _batches(self) -> Iterator[list[_Job]]:
        """The pictures that must be looked at, in order, a batch at a time; the others are settled on the way."""
        batch: list[_Job] = []
        for start in range(0, self.total, _READ_AHEAD):
            for job in self._unknown(range(start, min(start + _READ_AHEAD, self.total))):
                batch.append(job)
                if len(batch) == self.view.batch:
                    yield batch
                    batch = []
        if batch:
            yield batch

    def _unknown(self, rows: range) -> list[_Job]:
        """Reads some pictures, in order, and keeps those that neither the cache nor this pass has seen yet."""
        pictures = [(row, picture) for row in rows if (picture := self._read(row)) is not None]
        digests = [content_digest(picture) for _, picture in pictures]
        known = self.cache.get(digests) if self.cache else {}
        jobs = []
        for (row, picture), digest in zip(pictures, digests, strict=True):
            self.digests[row] = digest.hex()
            seen = known.get(digest)
            if digest in self.first:
                self.twins.append((row, self.first[digest]))
            elif seen is not None and (len(seen.vector), len(seen.facts)) == (self.rows.shape[1], IMAGE_STATS.itemsize):
                self.first[digest] = row
                self._note(row, np.frombuffer(seen.facts, IMAGE_STATS)[0], seen.vector)
            else:
                self.first[digest] = row
                jobs.append(_Job(row, digest, picture))
        for _ in range(len(rows) - len(jobs)):
            self._advance()
        return jobs

    def _read(self, row: int) -> Picture | None:
        if not self.wanted[row]:
            return None
        try:
            return self.source.read(row)
        except PictureError as error:
            self.reasons[row] = error.message
            return None

    def _look(self, batch: list[_Job]) -> list[_Outcome]:
        """Runs on a worker: decodes a batch and views what could be decoded."""
        outcomes, decoded, pixels = [], [], []
        for job in batch:
            try:
                square, facts = self.frame.study(job.picture)
                pixels.append(square)
                outcomes.append(_Outcome(job, facts))
                decoded.append(outcomes[-1])
            except PictureError as error:
                outcomes.append(_Outcome(job, reason=error.message))
        if pixels:
            for outcome, row in zip(decoded, self.view(np.stack(pixels)), strict=True):
                outcome.row = row
        return outcomes

    def _settle(self, outcomes: list[_Outcome]) -> None:
        for outcome in outcomes:
            if outcome.row is None or outcome.facts is None:
                self.reasons[outcome.job.row] = outcome.reason
            else:
                self._note(outcome.job.row, outcome.facts, outcome.row)
                if self.cache:
                    size = int(outcome.facts["width"]), int(outcome.facts["height"])
                    self.fresh.append((outcome.job.digest, CachedFeatures(*size, outcome.row, outcome.facts.tobytes())))
            self._advance()
        if len(self.fresh) >= _PUT_EVERY:
            self._save()

    def _note(self, at: int, facts: np.void, row: NDArray[Any]) -> None:
        self.rows[at], self.facts[at] = row, facts

    def _save(self) -> None:
        if self.cache:
            self.cache.put(self.fresh)
        self.fresh = []

    def _advance(self) -> None:
        self.done += 1
        self.advance(self.done, self.total)

    def _fill_catalog(self) -> None:
        for row, first in self.twins:
            self.rows[row], self.facts[row] = self.rows[first], self.facts[first]
            if first in self.reasons:
                self.reasons[row] = self.reasons[first]
        table = self.catalog.table
        table["digest"] = self.digests
        table["width"], table["height"] = (self.facts[side].astype(np.int64) for side in ("width", "height"))
        self.catalog.image_stats = self.facts
        for row, reason in self.reasons.items():
            self.catalog.refuse(row, reason)
