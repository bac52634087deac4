"""The activations of frozen stages, computed once for all epochs: training then loads these instead of pixels."""

import contextlib
import functools
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kilat.fit.distributed.group import SingleProcess
from kilat.fit.loader import InMemory, Rows
from kilat.fit.microbatch import MicroBatch
from kilat.fit.train_state import TrainSpec
from kilat.locale.notes import Note
from kilat.runtime.deadline import TooSlowError, stop_if_too_slow
from kilat.runtime.memory import has_room
from kilat.runtime.progress import Advance

_BATCH = 64


@runtime_checkable
class SplitNetwork(Protocol):
    """A network that can be run in two parts, of which training changes only the upper one.

    ``kilat.model.finetuned`` has one.
    """

    size: int
    flip_average: bool

    @property
    def is_split(self) -> bool:
        """Whether there are two parts, with what is frozen now."""
        ...

    def forward_lower(self, planes: Tensor) -> Tensor:
        """Return the activations float32 ``[n, width]`` between the parts, of float planes."""
        ...

    def logits_upper(self, rows: Tensor) -> Tensor:
        """Return the logits that training minimises the loss of, from activations."""
        ...

    def forward_upper(self, rows: Tensor) -> Tensor:
        """Return the logits of pictures, from the activations of all their views, ``[n, views, width]``."""
        ...


class NotCachedError(Exception):
    """Activations are computed in every epoch; ``note`` tells the user why."""

    def __init__(self, note: Note) -> None:
        super().__init__(note.code)
        self.note = note


class CachedActivations:
    """The activations of some pictures: ``Pictures`` of float32 instead of pixels.

    Args:
        rows: the pictures, rising.
        values: theirs, float32 ``[n, ...]``.
        device: where the network is.
    """

    def __init__(self, rows: Rows, values: NDArray[np.float32], device: str) -> None:
        self._rows, self._values = rows, InMemory(values, device)

    def holds(self, rows: Rows) -> bool:
        """Return whether these pictures are among them."""
        return bool(np.isin(rows, self._rows).all())

    def batches(self, order: Sequence[Rows]) -> Generator[Tensor, None, None]:
        """Return the activations of each array of rows."""
        return self._values.batches([np.searchsorted(self._rows, rows) for rows in order])


@dataclass(frozen=True)
class ActivationCache:
    """The activations of all pictures of a training, for the epochs in which the same stages are frozen.

    Args:
        network: that goes on from them.
        train: of the training pictures, ``[n, width]``.
        validation: of the validation pictures, ``[n, views, width]``.
        seconds_per_picture: how much longer the logits of a picture take that is not in the cache.
    """

    network: SplitNetwork
    train: CachedActivations
    validation: CachedActivations
    seconds_per_picture: float


def compute_activations(
    spec: TrainSpec,
    network: SplitNetwork,
    group: SingleProcess,
    advance: Advance,
    seconds: float | None = None,
    now: Callable[[], float] = time.perf_counter,
) -> ActivationCache:
    """Run the lower part of a network, which is in inference mode, on all pictures of a training.

    Args:
        spec: the training.
        network: where it is trained.
        group: the processes that train together: each computes its share, and all of them keep everything.
        advance: called with how many pictures of how many are done.
        seconds: that this may take, or None for as long as it takes.
        now: the clock.

    Raises:
        NotCachedError: there is not enough memory or time.
    """
    views = 2 if network.flip_average else 1
    train, validation = np.sort(spec.train.rows), np.sort(spec.validation.rows)
    with torch.no_grad():
        width = network.forward_lower(torch.zeros(1, 3, network.size, network.size, device=spec.device)).shape[1]
    size = 4 * width * (len(train) + views * len(validation))  # bytes
    if not group.on_first(lambda: has_room(size * group.size)):
        raise NotCachedError(Note("no_memory_for_activations"))
    progress = _Progress(group, len(train) + len(validation), advance, seconds, now)
    pass_over = functools.partial(_activations, spec, network, group, width, MicroBatch(), progress)
    train_values = pass_over(train, 1)[:, 0]
    began = now()
    validation_values = pass_over(validation, views)
    return ActivationCache(
        network,
        CachedActivations(train, train_values, spec.device),
        CachedActivations(validation, validation_values, spec.device),
        (now() - began) / len(validation),
    )


def _activations(
    spec: TrainSpec,
    network: SplitNetwork,
    group: SingleProcess,
    width: int,
    micro_batch: MicroBatch,
    progress: "_Progress",
    rows: Rows,
    views: int,
) -> NDArray[np.float32]:
    """Return the activations of some pictures, float32 ``[n, views, width]``: the picture, and its mirror image."""

    def compute(pixels: Tensor, at_once: int) -> Tensor:
        found = []
        for part in torch.split(pixels, at_once):
            planes = part.permute(0, 3, 1, 2).float()
            sides = [network.forward_lower(planes.flip(3) if view else planes) for view in range(views)]
            found.append(torch.stack(sides, 1))
        return torch.cat(found)

    values = np.empty((len(rows), views, width), np.float32)
    chunks = [slice(start, start + _BATCH) for start in range(0, len(rows), _BATCH)]
    batches = group.batches(spec.pictures, [rows[chunk] for chunk in chunks])
    with torch.no_grad(), contextlib.closing(batches) as arriving:
        for chunk, pixels in zip(chunks, arriving, strict=True):
            own = pixels[group.share(len(pixels)).rows]
            found = micro_batch.compute(functools.partial(compute, own), len(own))
            values[chunk] = group.all_gather(found, len(pixels)).cpu().numpy()
            progress.add(len(pixels))
    return values


class _Progress:
    """Counts pictures, and stops all processes of a group where one of them would take too long.

    Args:
        group: the processes.
        total: how many pictures there are.
        advance: called with how many are done.
        seconds: that all of them may take, or None.
        now: the clock.
    """

    def __init__(
        self, group: SingleProcess, total: int, advance: Advance, seconds: float | None, now: Callable[[], float]
    ) -> None:
        self.group, self.total, self.done = group, total, 0
        self.is_timed = seconds is not None
        self.advance = advance if seconds is None else stop_if_too_slow(advance, seconds, now)

    def add(self, pictures: int) -> None:
        """Count some more pictures.

        Raises:
            NotCachedError: all of them would take too long.
        """
        self.done += pictures
        is_slow = False
        try:
            self.advance(self.done, self.total)
        except TooSlowError:
            is_slow = True
        if self.is_timed and self.group.max(int(is_slow)):
            raise NotCachedError(Note("no_time_for_activations"))
