"""The one pass over the pictures: read, hash, find in the cache or decode and run the network; every picture counts.

Pictures are read in order on the calling thread, some ahead; worker threads decode them and run the network, each
on one core: one photo at a time, or some dozens of small pictures, of which the network takes a few at once. That
keeps all cores busy without large batches: activations stay in the core's own cache, and decoding overlaps with
inference by itself. Where there are many cores, the threads hand their pictures to worker processes, which no lock
holds up.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from kilat.data.catalog import Picture, PictureRecords, Source, content_digest
from kilat.data.decode import picture_size, without_warnings
from kilat.data.guarded_process import interrupt
from kilat.data.image_stats import IMAGE_STATS
from kilat.data.image_stats import VERSION as IMAGE_STATS_VERSION
from kilat.data.picture_failure import picture_failure
from kilat.data.picture_header import read_header
from kilat.errors import PictureError
from kilat.features.backbone import Backbone
from kilat.features.cache import CachedFeatures, FeatureCache
from kilat.features.processing import OnnxRunner, Preprocessor, Processed, Processing, Runner
from kilat.locale.notes import Note
from kilat.locale.refusals import Refusal
from kilat.recipe import Resize
from kilat.runtime.array_types import Flags, Ints
from kilat.runtime.byte_budget import bytes_of, decoded_bytes
from kilat.runtime.cores import available_cores
from kilat.runtime.ordered_map import ordered_map
from kilat.runtime.progress import Advance, ignore
from kilat.runtime.worker_processes import WorkerProcesses, worthwhile_processes

PREPROCESSING = f"decode 1, resize 2, image stats {IMAGE_STATS_VERSION}"
"""Part of every cache key: a number is raised when decoding or resizing changes the pixels that the network gets."""

_ENLARGEMENT = 4
_SMALLEST = 32
_SAMPLE = 64
_PUT_EVERY = 128
_READ_AHEAD = 32
_SMALL_PICTURES = 48
_BYTES_TOGETHER = 16 << 20
"""Bytes of files that are looked up, handed to a thread, or sent to a worker process together, unless it is one."""
_SURELY_DECODED = 1 << 22
"""Pixels of a picture for which there is memory in any case."""
_PATIENCE = 60.0
"""Seconds that a worker process may take for a batch. What is known to be slow is not decoded there."""


@dataclass(frozen=True, kw_only=True)
class Extraction(PictureRecords):
    """What one pass made of every picture, and what it found out about each.

    Args:
        features: ``[rows, width]``, zeros where a picture was refused or not wanted.
    """

    features: NDArray[Any]


@dataclass(frozen=True)
class PassLimit:
    """A pass over the pictures that ends in time: rows that it does not come to are refused as ``time_limit``.

    Args:
        order: all rows in the order in which they are read, such that the first ones stand for all, ``[entries]``.
        least: how many of them are read in any case.
        is_over: whether time is over.
    """

    order: Ints
    least: int
    is_over: Callable[[], bool]


def suggested_size(source: Source, largest: int = 224, stride: int = 32) -> int:
    """Return the side in pixels at which a backbone does well: four times the pictures' own, in the network's stride.

    Small pictures are enlarged because the network halves the resolution five times. Beyond fourfold, cross-validation
    gains little (CIFAR-10) or nothing (digits, Fashion-MNIST), and the time grows with the square.

    Args:
        source: the pictures.
        largest: the side for photos.
        stride: of the network; ``largest`` is a multiple of it.
    """
    side = median_side(source)
    size = largest if side is None else _ENLARGEMENT * side
    return int(np.clip(round(size / stride) * stride, _SMALLEST, largest))


def median_side(source: Source) -> float | None:
    """Return the median shorter side in pixels of a sample from all over the source; None where none can be read."""
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
    used: Flags,
    backbone: Backbone,
    *,
    resize: Resize,
    cache: FeatureCache | None,
    runner: Runner | None = None,
    advance: Advance = ignore,
    limit: PassLimit | None = None,
) -> Extraction:
    """Extract the features of every picture once.

    Args:
        source: where the pictures come from.
        used: which of them, a mask over its entries; the others are not read.
        backbone: the network.
        resize: how pictures that are not square are fitted into the network's square.
        cache: where known vectors are, and new ones go; None for neither.
        runner: what runs the network; by default ONNX Runtime on the CPU.
        advance: called as pictures are done.
        limit: when the pass must be over; None for as long as it takes.

    Returns:
        features float32 ``[entries, width]``, with digests, refusals and image stats.
    """
    features = np.zeros((len(source.entries), backbone.width), np.float32)
    processing = Processing(Preprocessor(backbone.size, resize), runner or OnnxRunner(backbone))
    return Extractor(source, used, processing, features, advance, cache=cache, limit=limit).run()


def cache_namespace(backbone: Backbone, resize: Resize, device: str = "cpu") -> bytes:
    """Return the key under which vectors of this backbone with this preprocessing are kept."""
    what = f"{backbone.digest} {backbone.size} {resize} {device} {PREPROCESSING} {ort.__version__}"
    return hashlib.sha256(what.encode()).digest()[:16]


@dataclass
class _Job:
    """A picture on its way: its row, its digest, and what was read; then its vector, or why it was refused."""

    row: int
    digest: bytes
    picture: Picture | None
    stats: np.void | None = None
    vector: NDArray[Any] | None = None
    refusal: Refusal | None = None


class Extractor:
    """Reads and hashes every wanted picture, and has each content processed once.

    Args:
        source: where the pictures come from.
        used: which of them are wanted, a mask over its entries; the others are not read.
        processing: what is done with a picture.
        vectors: where what the transform makes of them goes, zeros ``[entries, width]`` of its type.
        advance: called as pictures are done.
        cache: where known vectors are, and new ones go; None for neither. It holds float32 only, and image stats.
        processes: how many worker processes there are from the start; None where that follows from the cores, and from
            how much there is to do.
        limit: when the pass must be over; None for as long as it takes.
    """

    def __init__(
        self,
        source: Source,
        used: Flags,
        processing: Processing,
        vectors: NDArray[Any],
        advance: Advance,
        *,
        cache: FeatureCache | None = None,
        processes: int | None = None,
        limit: PassLimit | None = None,
    ) -> None:
        self.source, self.used, self.processing, self.processes = source, used, processing, processes
        self.vectors, self.advance, self.cache = vectors, advance, cache
        self.total, self.limit = len(source.entries), limit
        self.digests = [""] * self.total
        self.stats = np.zeros(self.total if processing.measure else 0, IMAGE_STATS)
        self.refusals: dict[int, Refusal] = {}
        self.first: dict[bytes, int] = {}
        self.duplicates: list[tuple[int, int]] = []
        self.fresh: list[tuple[bytes, CachedFeatures]] = []
        self.done = 0
        self.started = time.perf_counter()
        self.is_stopped = False
        self.workers: WorkerProcesses[list[Picture], Processed] | None = None
        # Small pictures are decoded and measured many at a time, which takes far less of the interpreter's time.
        batch = processing.transform.batch
        self.chunk = 1 if batch == 1 else batch * max(1, _SMALL_PICTURES // batch)

    def run(self) -> Extraction:
        """Go over all pictures; what was extracted before an error or an interruption is in the cache."""
        workers = available_cores()
        ahead = workers + max(1, 2 * workers // self.chunk)  # large chunks hold enough pictures as it is
        with without_warnings(), ThreadPoolExecutor(workers, thread_name_prefix="kilat-extract") as pool:
            try:
                for batch in ordered_map(pool, self._process, self._batches(), _bytes_of, ahead):
                    self._collect(batch)
            except BaseException:
                self.is_stopped = True
                pool.shutdown(wait=False, cancel_futures=True)
                interrupt()
                raise
            finally:
                self._save()
                if self.workers:
                    self.workers.close()
        for row, first in self.duplicates:
            if first in self.refusals:
                self.refusals[row] = self.refusals[first]
            else:
                self._keep(row, self.vectors[first], self.stats[first] if self.processing.measure else None)
        notes = [Note("worker_died")] if self.workers and self.workers.died else []
        return Extraction(
            digests=self.digests, refusals=self.refusals, image_stats=self.stats, notes=notes, features=self.vectors
        )

    def _batches(self) -> Iterator[list[_Job]]:
        """Yield the pictures that the network must be run on, in order, a batch at a time."""
        batch: list[_Job] = []
        size = 0
        for job in self._unknown():
            batch.append(job)
            size += _bytes_of([job])
            if len(batch) == self.chunk or size > _BYTES_TOGETHER:
                self._start_processes()
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _unknown(self) -> Iterator[_Job]:
        """Read the pictures, in order, and yield those that neither the cache nor this pass knows yet."""
        limit = self.limit or PassLimit(np.arange(self.total), self.total, lambda: False)
        start = 0
        while start < self.total:
            if start >= limit.least and limit.is_over():
                late = limit.order[start:]
                self.refusals |= {int(row): Refusal("time_limit") for row in late[self.used[late]]}
                return
            pictures, size, end = list[tuple[int, Picture]](), 0, min(start + _READ_AHEAD, self.total)
            while start < end and size <= _BYTES_TOGETHER:
                row = int(limit.order[start])
                start += 1
                if not self.used[row]:
                    self._count()
                    continue
                try:
                    picture = self.source.read(row)
                except Exception as error:  # noqa: BLE001 - whatever a reader raises is that picture's refusal
                    self.refusals[row] = picture_failure(error).refusal
                    self._count()
                    continue
                pictures.append((row, picture))
                size += bytes_of(picture)
            yield from self._look_up(pictures)

    def _look_up(self, pictures: list[tuple[int, Picture]]) -> Iterator[_Job]:
        """Yield those of some pictures that neither the cache nor this pass knows; they are taken out of the list."""
        digests = [content_digest(picture) for _, picture in pictures]
        known = self.cache.get(digests) if self.cache else {}
        expected = self.vectors.shape[1], IMAGE_STATS.itemsize
        pictures.reverse()
        for digest in digests:
            row, picture = pictures.pop()
            self.digests[row] = digest.hex()
            cached = known.get(digest)
            if digest in self.first:
                self.duplicates.append((row, self.first[digest]))
            elif (
                cached is not None
                and (len(cached.vector), len(cached.image_stats)) == expected
                and self._has_room(picture, cached)
            ):
                self.first[digest] = row
                self._keep(row, cached.vector, np.frombuffer(cached.image_stats, IMAGE_STATS)[0])
            else:
                self.first[digest] = row
                job = _Job(row, digest, picture)
                del picture
                yield job
                continue
            self._count()

    def _has_room(self, picture: Picture, cached: CachedFeatures) -> bool:
        """Return whether a picture could be decoded: the limit may be lower than when its features were cached."""
        if not isinstance(picture, bytes) or cached.width * cached.height <= _SURELY_DECODED:
            return True
        try:
            return read_header(picture).needed_bytes(self.processing.preprocessor.size) <= decoded_bytes.limit
        except PictureError:
            return False

    def _start_processes(self) -> None:
        """Start worker processes where they are wanted, or worth it by now."""
        if self.workers is not None:
            return
        count = self.processes
        if count is None:
            count = worthwhile_processes(time.perf_counter() - self.started, self.done, self.total)
        if count:
            self.workers = WorkerProcesses(self.processing.portable, count, patience=_PATIENCE, leaves_large=True)
            if self.processes is not None:
                self.workers.wait()

    def _process(self, batch: list[_Job]) -> list[_Job]:
        """Have a batch processed, by this thread or by a worker process that it waits for."""
        if self.workers and self.workers.ready and _bytes_of(batch) <= _BYTES_TOGETHER:
            try:
                done = self.processing.finish(self.workers(_pictures(batch)))
            except BrokenProcessPool:  # one of the pictures may have ended the worker, so none is decoded here
                for job in batch:
                    if not self.is_stopped:
                        self._fill([job], self._do([job], guarded=True))
                return batch
            left = [batch[position] for position in done.left]
            self._fill(batch, done)
            for job in left:
                self._fill([job], self._do([job]))
        elif not self.is_stopped:
            self._fill(batch, self._do(batch))
        return batch

    def _do(self, batch: list[_Job], *, guarded: bool = False) -> Processed:
        """Have a batch processed by this thread."""
        return self.processing(_pictures(batch), guarded=guarded, is_over=lambda: self.is_stopped)

    def _fill(self, batch: list[_Job], done: Processed) -> None:
        """Give pictures what was made of them; their files are not kept any longer."""
        vectors = iter(done.vectors)
        for position, job in enumerate(batch):
            if position in done.left:
                continue
            job.picture, job.refusal = None, done.refusals.get(position)
            if job.refusal is None:
                job.vector = next(vectors)
            if self.processing.measure:
                job.stats = done.stats[position]

    def _collect(self, batch: list[_Job]) -> None:
        for job in batch:
            if job.refusal is not None:
                self.refusals[job.row] = job.refusal
            elif job.vector is not None:
                self._keep(job.row, job.vector, job.stats)
                if self.cache and job.stats is not None:
                    size = int(job.stats["width"]), int(job.stats["height"])
                    self.fresh.append((job.digest, CachedFeatures(*size, job.vector, job.stats.tobytes())))
            self._count()
        if len(self.fresh) >= _PUT_EVERY:
            self._save()

    def _keep(self, row: int, vector: NDArray[Any], stats: np.void | None) -> None:
        self.vectors[row] = vector
        if self.processing.measure:
            self.stats[row] = stats

    def _save(self) -> None:
        if self.cache:
            self.cache.put(self.fresh)
        self.fresh = []

    def _count(self) -> None:
        self.done += 1
        self.advance(self.done, self.total)


def _pictures(batch: Sequence[_Job]) -> list[Picture]:
    return [job.picture for job in batch if job.picture is not None]


def _bytes_of(batch: Sequence[_Job]) -> int:
    """Return how many bytes of files a batch holds."""
    return sum(map(bytes_of, _pictures(batch)))
