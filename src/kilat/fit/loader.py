"""How training loads its pictures: all in memory, or decoded as they are needed; in a new order every epoch."""

import threading
import time
import weakref
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kilat.data.catalog import Picture, Source
from kilat.errors import PictureError
from kilat.features.pixels import no_longer_readable
from kilat.features.processing import Preprocessor, Processed, Processing, Untransformed, batch_size
from kilat.locale.notes import Note
from kilat.recipe import Resize
from kilat.runtime.byte_budget import ByteBudget, bytes_of
from kilat.runtime.cores import available_cores
from kilat.runtime.worker_processes import WorkerProcesses, worthwhile_processes

Rows = NDArray[np.int64]

_ORDER = 1
"""Makes the order of pictures independent of what else is drawn from the same seed and epoch."""

_MAX_CHUNK = 16
_GPU_DIVISOR = 4
"""Pictures in memory may take this part of the free memory of a GPU, as a divisor."""

_BATCHES_AHEAD = 2

_BYTES_TOGETHER = 16 << 20
"""Bytes of files that a thread decodes together, unless it is one."""
_PATIENCE = 60.0
"""Seconds that a worker process may take for some pictures. What is known to be slow is not decoded there."""

_encoded_bytes = ByteBudget(lambda: available_cores() * 2 * _BYTES_TOGETHER)
"""The budget of files that were read and are being decoded."""


class Pictures(Protocol):
    """Pictures by their rows in the catalog. Every implementation gives the same bytes in the same order."""

    def batches(self, order: Sequence[Rows]) -> Generator[Tensor, None, None]:
        """Yield the pixels of each array of rows, uint8 ``[rows, size, size, 3]``, on the network's device."""
        ...


class InMemory:
    """All pictures decoded, in one tensor: where the network is, or on the CPU where they would take too much of a GPU.

    Args:
        pixels: uint8 ``[rows of the catalog, size, size, 3]``.
        device: where the network is.
    """

    def __init__(self, pixels: NDArray[Any], device: torch.device | str) -> None:
        self.device = torch.device(device)
        home = self.device
        if home.type == "cuda" and pixels.nbytes > torch.cuda.mem_get_info(home)[0] // _GPU_DIVISOR:
            home = torch.device("cpu")  # the network and all that it computes need the GPU's memory
        self.pixels = torch.from_numpy(pixels).to(home)

    def batches(self, order: Sequence[Rows]) -> Generator[Tensor, None, None]:
        """Yield the pixels of each array of rows."""
        if self.pixels.device.type != self.device.type:
            yield from self._moved(order)
            return
        # All rows in one transfer: a GPU would be waited for at each.
        every = torch.from_numpy(np.concatenate([*order, np.zeros(0, np.int64)])).to(self.pixels.device)
        for rows in torch.split(every, [len(rows) for rows in order]):
            yield self.pixels.index_select(0, rows)

    def _moved(self, order: Sequence[Rows]) -> Generator[Tensor, None, None]:
        """Yield batches by way of pinned memory, gathered there while the GPU computes on the batch before."""
        with ThreadPoolExecutor(1, thread_name_prefix="kilat-gather") as pool:
            waiting: deque[Future[Tensor]] = deque()
            for rows in order:
                waiting.append(pool.submit(self._gather, rows))
                if len(waiting) > 1:
                    yield waiting.popleft().result().to(self.device, non_blocking=True)
            while waiting:
                yield waiting.popleft().result().to(self.device, non_blocking=True)

    def _gather(self, rows: Rows) -> Tensor:
        shape, pinned = (len(rows), *self.pixels.shape[1:]), self.device.type == "cuda"
        out = torch.empty(shape, dtype=self.pixels.dtype, pin_memory=pinned)
        return torch.index_select(self.pixels, 0, torch.from_numpy(rows), out=out)


class Streaming:
    """Pictures decoded each time, some batches ahead, by threads that end with the iterator.

    Where training waits for them and there are cores, the threads hand the pictures to worker processes, which last as
    long as this object. Sources are read by one thread at a time, and nothing else may read this one meanwhile.

    Args:
        source: where the pictures come from.
        size: side of the square in pixels.
        resize: how pictures that are not square are fitted.
        device: where the network is.
        workers: how many threads decode; by default as many as there are cores.
        processes: how many worker processes there are from the start; None where that follows from the cores, and from
            how long training waits.
    """

    def __init__(
        self,
        source: Source,
        size: int,
        resize: Resize,
        device: torch.device | str,
        workers: int | None = None,
        processes: int | None = None,
    ) -> None:
        self.source, self.size, self.resize = source, size, resize
        self.processing = Processing(Preprocessor(size, resize), Untransformed(), measure=False)
        self.device, self.workers = torch.device(device), workers or available_cores()
        self.chunk = min(batch_size(size), _MAX_CHUNK)
        self.lock = threading.Lock()
        self.processes: WorkerProcesses[list[Picture], Processed] | None = None
        self._wanted, self._waited, self._collected = processes, 0.0, 0

    def __reduce__(self) -> tuple[type["Streaming"], tuple[Any, ...]]:
        # For processes that train together: each has its share of the cores already.
        return Streaming, (self.source, self.size, self.resize, self.device.type, self.workers, 0)

    @property
    def notes(self) -> list[Note]:
        """What the user should know."""
        return [Note("worker_died")] if self.processes and self.processes.died else []

    def batches(self, order: Sequence[Rows]) -> Generator[Tensor, None, None]:
        """Yield the pixels of each array of rows.

        Raises:
            RunError: a picture can no longer be read or decoded.
        """
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="kilat-stream")
        waiting: deque[_Batch] = deque()
        end = self._collected + sum(map(len, order))
        try:
            for rows in order:
                self._start_processes(end)
                waiting.append(self._submit(pool, rows))
                while len(waiting) > _BATCHES_AHEAD and self._are_busy(waiting):
                    yield self._collect(waiting.popleft())
            while waiting:
                yield self._collect(waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _start_processes(self, end: int) -> None:
        """Start worker processes where what training would wait for up to that many pictures is worth it."""
        if self.processes is not None:
            return
        count = self._wanted
        if count is None:
            count = worthwhile_processes(self._waited, self._collected, end)
        if count:
            self.processes = WorkerProcesses(self.processing, count, patience=_PATIENCE, leaves_large=True)
            weakref.finalize(self, self.processes.close)
            if self._wanted is not None:
                self.processes.wait()

    def _are_busy(self, waiting: deque["_Batch"]) -> bool:
        """Return whether every worker has work besides the oldest batch, even where batches are tiny."""
        return sum(len(batch.tasks) for batch in waiting) - len(waiting[0].tasks) >= self.workers

    def _submit(self, pool: ThreadPoolExecutor, rows: Rows) -> "_Batch":
        shape = (len(rows), self.size, self.size, 3)
        pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        # A compressed archive is only read forwards: in the order of the rows, at worst once a batch.
        positions = np.argsort(rows, kind="stable")
        chunks = [positions[start : start + self.chunk] for start in range(0, len(rows), self.chunk)]
        return _Batch(pixels, [pool.submit(self._load, rows, chunk, pixels.numpy()) for chunk in chunks])

    def _collect(self, batch: "_Batch") -> Tensor:
        began = time.perf_counter()
        for task in batch.tasks:
            task.result()
        self._waited += time.perf_counter() - began
        self._collected += len(batch.pixels)
        return batch.pixels.to(self.device, non_blocking=True)

    def _load(self, rows: Rows, positions: NDArray[np.intp], out: NDArray[np.uint8]) -> None:
        """Decode some of a batch's pictures, in a thread; few bytes of their files are in memory at a time."""
        start = 0
        while start < len(positions):
            with _encoded_bytes.hold():
                pictures, size = self._read(rows[positions[start:]])
                self._decode(rows, positions[start : start + len(pictures)], pictures, size, out)
                start += len(pictures)

    def _decode(
        self, rows: Rows, positions: NDArray[np.intp], pictures: list[Picture], size: int, out: NDArray[np.uint8]
    ) -> None:
        """Decode pictures that were read, by this thread or by a worker process that it waits for."""
        left = list(range(len(pictures)))
        if self.processes and self.processes.ready and size <= _BYTES_TOGETHER:
            try:
                done = self.processes(pictures)
            except BrokenProcessPool:  # one of the pictures may have ended the worker, so none is decoded here
                for at in left:
                    self._take(rows, positions[[at]], self.processing([pictures[at]], guarded=True), out)
                return
            self._take(rows, positions, done, out)
            left = done.left
        if left:
            self._take(rows, positions[left], self.processing([pictures[at] for at in left]), out)

    def _take(self, rows: Rows, positions: NDArray[np.intp], done: Processed, out: NDArray[np.uint8]) -> None:
        if done.refusals:
            first = min(done.refusals)
            raise no_longer_readable(self.source, int(rows[positions[first]]), done.refusals[first])
        out[np.delete(positions, done.left)] = done.vectors

    def _read(self, rows: Rows) -> tuple[list[Picture], int]:
        """Read the first of some pictures, and return them with the bytes of their files, once there is room for more.

        The lock is held until then, so that no other thread reads meanwhile; those that decode need no lock.
        """
        pictures, size = list[Picture](), 0
        with self.lock:
            while len(pictures) < len(rows) and size <= _BYTES_TOGETHER:
                row = int(rows[len(pictures)])
                try:
                    picture = self.source.read(row)
                except PictureError as error:
                    raise no_longer_readable(self.source, row, error.refusal) from error
                pictures.append(picture)
                size += bytes_of(picture)
            _encoded_bytes.take(size)
        return pictures, size


@dataclass
class _Batch:
    """A batch that is being decoded: its pixels, and the tasks that fill them in."""

    pixels: Tensor
    tasks: list[Future[None]]


def epoch_batches(rows: Rows, batch: int, *, seed: int, epoch: int) -> list[Rows]:
    """Return the batches of an epoch: every picture once, in an order that follows from seed and epoch alone.

    The last batch may be shorter. A single picture left over joins the batch before, because batch normalisation cannot
    train on one.

    Args:
        rows: the pictures, ``[n]``.
        batch: pictures a batch.
        seed: of the run.
        epoch: which one, from 0.
    """
    generator = np.random.Philox(np.random.SeedSequence([seed, epoch, _ORDER]))
    # Sorted by raw draws: NumPy may change its shuffling one day, but keeps what its bit generators give.
    shuffled = rows[np.argsort(generator.random_raw(len(rows)), kind="stable")]
    batches = [shuffled[start : start + batch] for start in range(0, len(rows), batch)]
    if len(batches) > 1 and len(batches[-1]) == 1 < batch:
        batches[-2:] = [np.concatenate(batches[-2:])]
    return batches
