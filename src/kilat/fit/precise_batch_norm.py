"""Batch norm's running statistics, estimated anew on training pictures (Wu and Johnson, arXiv 2105.07576).

Running statistics follow the batches of the last updates: with Keras's momentum of 0.99, of a few hundred. Where there
were fewer, they are in part what they began with, or those of weights that are long gone.
"""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kilat.fit.distributed.group import SingleProcess
from kilat.fit.microbatch import MicroBatch
from kilat.model.modules import BatchNorm

PICTURES = 1024
"""How many training pictures are enough.

`small-cnn` on 4,790 pictures of CIFAR-10, six draws: validation accuracies within 0.2%, with 512 within 0.6%.
"""

_UNSETTLED = 0.05
"""The share of running statistics that may be older than the updates that they should be of."""


def training_batch_norms(network: nn.Module) -> list[Any]:
    """Return the batch norms whose running statistics training changes; the network is then in inference mode."""
    network.train()
    found = [
        module
        for module in network.modules()
        if isinstance(module, BatchNorm | _BatchNorm) and module.training and module.running_mean is not None
    ]
    network.eval()
    return found


def old_share(norms: Sequence[Any], updates: int) -> float:
    """Return the largest share of running statistics that is older than the last ``updates``."""
    return max((_momentum(norm) ** updates for norm in norms), default=0.0)


def are_settled(norms: Sequence[Any], updates: int) -> bool:
    """Return whether running statistics are, but for a twentieth, those of the last ``updates``."""
    return old_share(norms, updates) <= _UNSETTLED


def _momentum(norm: Any) -> float:
    """Return the share of running statistics that an update leaves as it is."""
    if isinstance(norm, BatchNorm):
        return norm.momentum
    return 1.0 if norm.momentum is None else 1 - float(norm.momentum)  # None: the mean of everything so far


def estimate_statistics(
    norms: Sequence[Any], forward: Callable[[Tensor], object], batches: Iterable[Tensor], group: SingleProcess
) -> None:
    """Set running statistics to the mean and variance of what batch norms get of some pictures.

    The network is in inference mode, so without dropout, but for these batch norms, which normalise each batch by its
    own statistics. The variance is that over all batches: the mean of their variances plus the variance of their means.

    Args:
        norms: of the network.
        forward: runs the network on a batch.
        batches: this process's part of the batches.
        group: the processes that train together.
    """
    moments, micro_batch = _Moments(norms), MicroBatch()

    def compute(batch: Tensor, at_once: int) -> Tensor:
        moments.reset()
        for part in torch.split(batch, at_once):
            forward(part)
        return moments.sums

    total = torch.zeros_like(moments.sums)
    with torch.no_grad(), moments.counting():
        for batch in batches:
            total += micro_batch.compute(functools.partial(compute, batch), len(batch))
    group.all_reduce([total])
    for norm, columns in moments.columns.items():
        count, sums, squares = total[:, columns]
        if not count.any():  # the network has it, and does not use it
            continue
        mean = sums / count
        variance = (squares / count - mean.square()).clamp(min=0)
        # Keras's running variance is of the values themselves; PyTorch's estimates that of more values.
        unbiased = count / (count - 1).clamp(min=1)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance if isinstance(norm, BatchNorm) else variance * unbiased)


class _Moments:
    """Counts the values that batch norms get: how many in each channel, their sum, and that of their squares.

    Args:
        norms: the batch norms; their channels lie side by side in ``sums``, float64 ``[3, channels]``.
    """

    def __init__(self, norms: Sequence[Any]) -> None:
        self.columns: dict[Any, slice] = {}
        end = 0
        for norm in norms:
            self.columns[norm] = slice(end, end + len(norm.running_mean))
            end += len(norm.running_mean)
        self.sums = torch.zeros(3, end, dtype=torch.float64)

    def reset(self) -> None:
        """Begin anew."""
        self.sums = torch.zeros_like(self.sums)

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        """Inside the block, the batch norms normalise over each batch, and what they get is counted."""
        before = [
            (norm, {name: value.clone() for name, value in norm.named_buffers(recurse=False)}) for norm in self.columns
        ]
        hooks = [norm.register_forward_pre_hook(self._count) for norm in self.columns]
        try:
            for norm in self.columns:
                norm.training = True
            yield
        finally:
            for hook in hooks:
                hook.remove()
            for norm, buffers in before:
                norm.training = False
                norm.load_state_dict(buffers, strict=False)

    def _count(self, norm: Any, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].float()
        # In float32 around the batch's own mean, in float64 from there on: squares of large means are not lost.
        variance, mean = torch.var_mean(values, [0, *range(2, values.ndim)], correction=0)
        variance, mean = variance.cpu().double(), mean.cpu().double()
        count = torch.full_like(mean, values.numel() // len(mean))
        columns = self.columns[norm]
        self.sums[:, columns] += torch.stack([count, count * mean, count * (variance + mean.square())])
