"""How training gets to its pictures: held in memory or decoded as they are needed, in a fresh order every epoch."""

import math
import threading
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kilat.data.catalog import Source
from kilat.errors import PictureError, RunError
from kilat.features.extract import Preprocessor, batch_size
from kilat.locale import _
from kilat.model.image_model import LUMA
from kilat.recipe import Resize
from kilat.runtime.cores import available_cores

Rows = NDArray[np.int64]

_ORDER = 1
"""Keeps the order of pictures apart from whatever else is drawn from the same seed and epoch."""

_LUMA = [round(1000 * weight) for weight in LUMA]

_MOST_A_TASK = 16
_GPU_SHARE = 4
"""Held pictures may take this part of what memory is free on a GPU, as a divisor."""

_BATCHES_AHEAD = 2
_STATISTICS_BATCH = 64


class Pictures(Protocol):
    """Pictures by their rows in the catalog. Every way of getting at them gives the same bytes in the same order."""

    def batches(self, order: Sequence[Rows]) -> Generator[Tensor, None, None]:
        """For each array of rows their pixels, uint8 ``[rows, size, size, 3]``, on the network's device."""
        ...


class InMemory:
    """All pictures decoded, in one tensor: where the network is, or on the CPU where they would crowd a GPU.

    Pickled, it leaves the pixels behind, and only makes room for them.

    Args:
        pixels: uint8 ``[rows of the catalog, size, size, 3]``.
        device: where the network is.
    """

    def __init__(self, pixels: NDArray[Any], device: torch.device | str) -> None:
        self.device = torch.device(device)
        self.pixels = torch.from_numpy(pixels).to(self.device if _has_room(self.device, pixels.nbytes) else "cpu")

    def batches(self, order: Sequence[Rows]) -> Generator[Tensor, None, None]:
        """For each array of rows their pixels."""
        if self.pixels.device.type != self.device.type:
            yield from self._brought(order)
            return
        for rows in order:
            yield self.pixels.index_select(0, torch.from_numpy(rows).to(self.pixels.device))

    def _brought(self, order: Sequence[Rows]) -> Generator[Tensor, None, None]:
        """Through pinned memory, gathered there while the GPU computes on the batch before."""
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
        into = torch.empty(shape, dtype=self.pixels.dtype, pin_memory=pinned)
        return torch.index_select(self.pixels, 0, torch.from_numpy(rows), out=into)

    def __getstate__(self) -> dict[str, object]:
        return {"shape": tuple(self.pixels.shape), "home": self.pixels.device.type, "device": self.device.type}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.device = torch.device(state["device"])
        self.pixels = torch.empty(state["shape"], dtype=torch.uint8, device=state["home"])


class Streaming:
    """Pictures decoded again each time, some batches ahead, by threads that end with the iterator.

    Sources are read by one thread at a time, and nobody else may read this one meanwhile.

    Args:
        source: where the pictures come from.
        size: side of the square in pixels.
        resize: how pictures that are not square are fitted.
        device: where the network is.
        workers: how many threads decode; as many as there are cores by default.
    """

    def __init__(
        self, source: Source, size: int, resize: Resize, device: torch.device | str, workers: int | None = None
    ) -> None:
        self.source, self.resize, self.frame = source, resize, Preprocessor(size, resize)
        self.device, self.workers = torch.device(device), workers or available_cores()
        self.task = min(batch_size(size), _MOST_A_TASK)
        self.reading = threading.Lock()

    def __reduce__(self) -> tuple[type["Streaming"], tuple[Any, ...]]:
        return Streaming, (self.source, self.frame.size, self.resize, self.device.type, self.workers)

    def batches(self, order: Sequence[Rows]) -> Generator[Tensor, None, None]:
        """For each array of rows their pixels.

        Raises:
            RunError: a picture can no longer be read or decoded.
        """
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="kilat-stream")
        waiting: deque[_Batch] = deque()
        try:
            for rows in order:
                waiting.append(self._begin(pool, rows))
                while len(waiting) > _BATCHES_AHEAD and self._has_work(waiting):
                    yield self._end(waiting.popleft())
            while waiting:
                yield self._end(waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _has_work(self, waiting: deque["_Batch"]) -> bool:
        """Whether every worker has something to do besides the oldest batch, even where batches are tiny."""
        return sum(len(batch.tasks) for batch in waiting) - len(waiting[0].tasks) >= self.workers

    def _begin(self, pool: ThreadPoolExecutor, rows: Rows) -> "_Batch":
        shape = (len(rows), self.frame.size, self.frame.size, 3)
        pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        places = np.argsort(rows, kind="stable")  # a compressed archive is only read forwards: once a batch, at worst
        parts = [places[start : start + self.task] for start in range(0, len(rows), self.task)]
        return _Batch(pixels, [pool.submit(self._load, rows, part, pixels.numpy()) for part in parts])

    def _end(self, batch: "_Batch") -> Tensor:
        for task in batch.tasks:
            task.result()
        return batch.pixels.to(self.device, non_blocking=True)

    def _load(self, rows: Rows, places: NDArray[np.intp], into: NDArray[np.uint8]) -> None:
        """Runs on a worker: puts some of a batch's pictures into their places."""
        for place in places:
            row = int(rows[place])
            try:
                with self.reading:
                    picture = self.source.read(row)
                into[place] = self.frame(picture)
            except PictureError as error:
                raise self._gone(row, error.message) from error

    def _gone(self, row: int, reason: str) -> RunError:
        message = _("{path} could be read when the run began, and no longer can: {reason}.")
        return RunError(
            message.format(path=self.source.entries[row].path, reason=reason),
            hint=_("Leave the pictures as they are until training has ended, or hold them in memory."),
        )


def _has_room(device: torch.device, size: int) -> bool:
    """Whether so many bytes may lie on a device beside a network and all that it computes."""
    return device.type != "cuda" or size <= torch.cuda.mem_get_info(device)[0] // _GPU_SHARE


@dataclass
class _Batch:
    """A batch on its way: its pixels, and the tasks that fill them in."""

    pixels: Tensor
    tasks: list[Future[None]]


def order(rows: Rows, batch: int, *, seed: int, epoch: int) -> list[Rows]:
    """The batches of an epoch: every picture once, shuffled afresh by seed and epoch alone.

    The last batch may be shorter. A single picture left over joins the batch before, because batch normalisation cannot
    learn from one.

    Args:
        rows: the pictures, ``[n]``.
        batch: pictures a batch.
        seed: of the run.
        epoch: which one, from 0.
    """
    dice = np.random.Philox(np.random.SeedSequence([seed, epoch, _ORDER]))
    # Sorted by raw draws: NumPy may improve its shuffling one day, but keeps what its bit generators give.
    shuffled = rows[np.argsort(dice.random_raw(len(rows)), kind="stable")]
    batches = [shuffled[start : start + batch] for start in range(0, len(rows), batch)]
    if len(batches) > 1 and len(batches[-1]) == 1 < batch:
        batches[-2:] = [np.concatenate(batches[-2:])]
    return batches


@dataclass(frozen=True)
class Normaliser:
    """What is taken from pixels of 0 to 255, and what they are then divided by: one value, or one a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def fit_normaliser(
    kind: Literal["scale", "zscore", "channel_zscore", "none"],
    pictures: Pictures,
    rows: Rows,
    *,
    colour: Literal["rgb", "grey"],
    batch: int = _STATISTICS_BATCH,
) -> Normaliser:
    """Means and (population) standard deviations of the pixels of some pictures.

    Sums are of whole numbers, so every order and every way to the pictures gives the same result to the bit. A channel
    that is constant has a standard deviation of 1.

    Args:
        kind: ``scale`` to 0..1; ``zscore`` by one mean and standard deviation of all values; ``channel_zscore`` by
            those of each channel; ``none`` for pixels as they are.
        pictures: how to get to them.
        rows: those to train on, ``[n]``.
        colour: ``grey`` for statistics of the one channel that ``kilat.fit.augment.colour.grey`` gives.
        batch: how many pictures are looked at together.
    """
    if kind in ("scale", "none"):
        return Normaliser((0.0,), (255.0 if kind == "scale" else 1.0,))
    moments = _moments(pictures, np.sort(rows), colour == "grey", batch)
    if kind == "zscore":
        moments = [(sum(m[0] for m in moments), sum(m[1] for m in moments), sum(m[2] for m in moments))]
    mean, std = zip(*(_mean_and_std(*moment, 1000 if colour == "grey" else 1) for moment in moments), strict=True)
    return Normaliser(mean, std)


def _moments(pictures: Pictures, rows: Rows, grey: bool, batch: int) -> list[tuple[int, int, int]]:
    """Of each channel the count, the sum and the sum of squares; grey is counted in thousandths."""
    totals = np.zeros((1 if grey else 3, 3), object)  # Python's own integers: 64 bits are enough for a batch only
    for pixels in pictures.batches([rows[start : start + batch] for start in range(0, len(rows), batch)]):
        values = pixels.flatten(0, -2).long()
        if grey:
            values = (values * torch.tensor(_LUMA, device=values.device)).sum(1, keepdim=True)
        sums = torch.stack([torch.full_like(values[0], len(values)), values.sum(0), (values * values).sum(0)], 1)
        totals += sums.cpu().numpy().astype(object)
    return [(int(count), int(first), int(second)) for count, first, second in totals]


def _mean_and_std(count: int, first: int, second: int, unit: int) -> tuple[float, float]:
    variance = (count * second - first * first) / (count * count)
    return first / (count * unit), math.sqrt(variance) / unit if variance else 1.0
