"""Batch norms of several processes that train together: they normalise over the batch of all of them.

This is what PyTorch's ``SyncBatchNorm`` does on GPUs, for any device and every kind of batch norm, without changing the
network: inside the block, the functions that normalise over a batch are replaced.
"""

from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from kilat.model import modules


class SyncBatchNorm(TorchFunctionMode):
    """Inside the block, mean and variance in training are those of all processes' values.

    Args:
        counts: whether this process's values count.
    """

    def __init__(self, *, counts: bool) -> None:
        super().__init__()
        self.counts = counts

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch, or what replaces it."""
        kwargs = kwargs or {}
        if func is modules.normalise_over_batch:
            return self._normalise(*args, **kwargs)[:3]
        if func is functional.batch_norm and kwargs.get("training"):
            return self._batch_norm(*args, **kwargs)
        return func(*args, **kwargs)

    def _batch_norm(
        self,
        values: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = True,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        """``functional.batch_norm`` in training, whose running variance follows the unbiased one."""
        output, mean, variance, count = self._normalise(values, weight, bias, eps)
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(variance * (count / max(count - 1, 1)), momentum)
        return output

    def _normalise(
        self, values: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float
    ) -> tuple[Tensor, Tensor, Tensor, int]:
        """Return normalised values, mean and (biased) variance of every channel, and the number of values a channel."""
        axes, shape = [0, *range(2, values.ndim)], [1, -1] + [1] * (values.ndim - 2)
        full, factor = values.float(), float(self.counts)
        own = full.new_tensor([factor * full.numel() / full.shape[1]])
        sums = _Sum.apply(torch.cat([factor * full.sum(axes), own]))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = full - mean.view(shape)
        variance = _Sum.apply(factor * centred.square().sum(axes)) / count
        output = centred * (variance + epsilon).rsqrt().view(shape)
        if weight is not None:
            output = output * weight.view(shape)
        if bias is not None:
            output = output + bias.view(shape)
        return output.to(values.dtype), mean.detach(), variance.detach(), int(count)


class _Sum(torch.autograd.Function):
    """The sum over all processes; every loss depends on it, so its gradient is the sum of all of theirs."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # noqa: ARG004 - as autograd calls it
        return _all_reduced(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        return _all_reduced(gradients[0])


def _all_reduced(values: Tensor) -> Tensor:
    total = values.contiguous().clone()
    distributed.all_reduce(total)
    return total
