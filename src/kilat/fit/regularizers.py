"""Penalties on large kernels and the bound on their norms: Keras's ``L1L2`` and ``MaxNorm``."""
# ruff: noqa: SLF001 - torch's kernels over lists of tensors bear an underscore; its own optimizers are made of them.

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from kilat.recipe import Network

_EPSILON = 1e-7  # Keras's


class _Kernel(NamedTuple):
    weight: nn.Parameter
    l1: float
    l2: float
    max_norm: float | None


class Regularizer:
    """The penalties and bounds of a network. What is frozen at the time is left out.

    A module with ``l1``, ``l2`` and ``max_norm`` sets those of its ``weight``; in any other, those of the whole network
    apply to its own kernels: parameters of two dimensions or more whose name ends with ``weight``, as in torch's
    layers, and not the slopes of activations, class tokens or embedded positions. A shared parameter counts once.

    Args:
        network: whose kernels.
        choices: the penalties and bounds of the whole network.
    """

    def __init__(self, network: nn.Module, choices: Network) -> None:
        found: dict[int, _Kernel] = {}
        for module in network.modules():
            for kernel in _kernels(module, choices):
                found.setdefault(id(kernel.weight), kernel)
        self._kernels = list(found.values())
        self._nothing = torch.zeros((), device=next(network.parameters()).device)

    @torch.no_grad()
    def penalty(self) -> Tensor:
        """Return the sum of ``l1 × |w| + l2 × w²`` over all kernels, which is added to the loss: float32 ``[]``."""
        parts: list[Tensor] = []
        for (l1, l2), weights in self._groups().items():
            if l1:
                parts.append(l1 * torch.stack(torch._foreach_norm(weights, 1)).sum())
            if l2:
                parts.append(l2 * torch.stack(torch._foreach_norm(weights)).square().sum())
        return torch.stack(parts).sum() if parts else self._nothing

    @torch.no_grad()
    def add_gradients(self) -> None:
        """Add the penalty's gradient to those of the weights: after the loss's own, before clipping."""
        for (l1, l2), weights in self._groups().items():
            for weight in weights:
                if weight.grad is None:  # the loss did not reach it, but the penalty does
                    weight.grad = torch.zeros_like(weight)
            grads = [weight.grad for weight in weights if weight.grad is not None]
            if l2:
                torch._foreach_add_(grads, weights, alpha=2 * l2)
            if l1:
                torch._foreach_add_(grads, torch._foreach_sign(weights), alpha=l1)

    @torch.no_grad()
    def constrain(self) -> None:
        """Shorten the weights into a unit (or filter) to their largest norm, after an update.

        Weights within it shrink by ``1e-7 / norm`` of themselves, as in Keras.
        """
        for weight, _, _, max_norm in self._kernels:
            if weight.requires_grad and max_norm is not None:
                norms = torch.linalg.vector_norm(weight, dim=tuple(range(1, weight.ndim)), keepdim=True)
                weight.mul_(norms.clamp_max(max_norm) / (_EPSILON + norms))

    def _groups(self) -> dict[tuple[float, float], list[Tensor]]:
        """Return the penalised kernels by their penalties."""
        groups: dict[tuple[float, float], list[Tensor]] = {}
        for weight, l1, l2, _ in self._kernels:
            if weight.requires_grad and (l1 or l2):
                groups.setdefault((l1, l2), []).append(weight)
        return groups


def _kernels(module: nn.Module, choices: Network) -> Iterator[_Kernel]:
    """Yield the kernels that a module has itself, not those of the modules in it."""
    regularized: Any = module
    if all(hasattr(module, name) for name in ("weight", "l1", "l2", "max_norm")):
        yield _Kernel(regularized.weight, regularized.l1, regularized.l2, regularized.max_norm)
        return
    for name, parameter in module.named_parameters(recurse=False):
        if parameter.ndim >= 2 and name.endswith("weight"):
            yield _Kernel(parameter, choices.l1, choices.l2, choices.max_norm)
