"""What frozen stages make of pictures, computed once and held: another way for training to get at its pictures."""

import contextlib
import functools
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kilat.fit.distributed.group import SingleProcess
from kilat.fit.loader import InMemory, Rows
from kilat.fit.microbatch import Portions
from kilat.fit.train_state import TrainSpec
from kilat.locale import _
from kilat.runtime.deadline import TooSlowError, watched
from kilat.runtime.memory import has_room
from kilat.runtime.progress import Advance

_BATCH = 64
_SHARE = 0.5
"""Of the time that is left, the most that this may take: else there is none for the epochs that would gain by it."""


@runtime_checkable
class SplitNetwork(Protocol):
    """A network that can be run in two steps, of which only the second one changes; see ``kilat.model.finetuned``."""

    size: int
    flip_average: bool

    @property
    def is_split(self) -> bool:
        """Whether it can, by what is frozen now."""
        ...

    def forward_lower(self, planes: Tensor) -> Tensor:
        """What float planes come to in the first step: float32 rows ``[n, width]``."""
        ...

    def logits_upper(self, rows: Tensor) -> Tensor:
        """The logits that it is trained by, from rows."""
        ...

    def forward_upper(self, rows: Tensor) -> Tensor:
        """The logits that it answers with, from the rows of all sides of pictures, ``[n, sides, width]``."""
        ...


class GivenUpError(Exception):
    """Nothing is computed beforehand; the message tells the user why."""


class CachedActivations:
    """What frozen stages make of some pictures: ``Pictures`` that are of float32 instead of pixels.

    Args:
        rows: the pictures, rising.
        values: theirs, float32 ``[n, ...]``.
        device: where the network is.
    """

    def __init__(self, rows: Rows, values: NDArray[np.float32], device: str) -> None:
        self._rows, self._held = rows, InMemory(values, device)

    def holds(self, rows: Rows) -> bool:
        """Whether these pictures are among them."""
        return bool(np.isin(rows, self._rows).all())

    def batches(self, order: Sequence[Rows]) -> Generator[Tensor, None, None]:
        """For each array of rows their values."""
        return self._held.batches([np.searchsorted(self._rows, rows) for rows in order])


@dataclass(frozen=True)
class Prepared:
    """What is computed once for all epochs in which the same stages are frozen.

    Args:
        network: that goes on from there.
        training: of the pictures to learn from, ``[n, width]``.
        validation: of those to be measured on, ``[n, sides, width]``.
        seconds_each: how long a picture took that is answered; one that is not held takes so much longer.
    """

    network: SplitNetwork
    training: CachedActivations
    validation: CachedActivations
    seconds_each: float


def prepare(
    task: TrainSpec,
    network: SplitNetwork,
    group: SingleProcess,
    advance: Advance,
    seconds: float | None = None,
) -> Prepared:
    """Runs the first step of a network, which is in inference mode, on all pictures of a training.

    Args:
        task: which pictures.
        network: where it is trained.
        group: who trains it together: each process does its share, and all of them hold everything.
        advance: told how many pictures of how many are done.
        seconds: that are left for this and for training, or None.

    Raises:
        GivenUpError: memory or time do not suffice.
    """
    told = advance if seconds is None else watched(advance, _SHARE * seconds)
    sides = 2 if network.flip_average else 1
    training, validation = np.sort(task.training.rows), np.sort(task.validation.rows)
    maker = _Maker(task, network, group, len(training) + len(validation), told, is_timed=seconds is not None)
    numbers = maker.width() * (len(training) + sides * len(validation))
    if not group.once(lambda: has_room(4 * numbers * group.size)):
        raise GivenUpError(
            _("What the frozen stages give is computed in every epoch: it does not fit in a quarter of the memory.")
        )
    learnt = maker.make(training, 1)
    began = time.perf_counter()
    asked = maker.make(validation, sides)
    each = (time.perf_counter() - began) / len(validation)
    return Prepared(
        network,
        CachedActivations(training, learnt[:, 0], task.device),
        CachedActivations(validation, asked, task.device),
        each,
    )


class _Maker:
    """One pass over pictures."""

    def __init__(
        self,
        task: TrainSpec,
        network: SplitNetwork,
        group: SingleProcess,
        total: int,
        advance: Advance,
        *,
        is_timed: bool,
    ) -> None:
        self.task, self.network, self.group, self.advance, self.is_timed = task, network, group, advance, is_timed
        self.done, self.total = 0, total
        self.portions = Portions()

    def width(self) -> int:
        """How many numbers are held of one side of a picture."""
        size = self.network.size
        return self.network.forward_lower(torch.zeros(1, 3, size, size, device=self.task.device)).shape[1]

    def make(self, rows: Rows, sides: int) -> NDArray[np.float32]:
        """Float32 ``[n, sides, width]``."""
        values = np.empty((len(rows), sides, self.width()), np.float32)
        chunks = [slice(start, start + _BATCH) for start in range(0, len(rows), _BATCH)]
        order = [rows[chunk] for chunk in chunks]
        with torch.no_grad(), contextlib.closing(self.group.batches(self.task.pictures, order)) as arriving:
            for chunk, pixels in zip(chunks, arriving, strict=True):
                own = pixels[self.group.share(len(pixels)).where]
                found = self.portions.compute(functools.partial(self._lower, own, sides), len(own))
                values[chunk] = self.group.joined(found, len(pixels)).cpu().numpy()
                self._tell(len(pixels))
        return values

    def _lower(self, pixels: Tensor, sides: int, at_once: int) -> Tensor:
        parts = (part.permute(0, 3, 1, 2).float() for part in torch.split(pixels, at_once))
        return torch.cat([torch.stack([self._side(planes, side) for side in range(sides)], 1) for planes in parts])

    def _side(self, planes: Tensor, side: int) -> Tensor:
        return self.network.forward_lower(planes.flip(3) if side else planes)

    def _tell(self, pictures: int) -> None:
        self.done += pictures
        is_slow = False
        try:
            self.advance(self.done, self.total)
        except TooSlowError:
            is_slow = True
        if self.is_timed and self.group.largest(int(is_slow)):
            raise GivenUpError(
                _("What the frozen stages give is computed in every epoch: there is no time to do it beforehand.")
            )
