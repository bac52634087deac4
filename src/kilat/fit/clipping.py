"""Clipping of gradients, as in ``keras.optimizers``: by value, by the norm of each parameter, or by that of all."""
# ruff: noqa: SLF001 - torch's kernels over lists of tensors bear an underscore; its own optimizers are made of them.

from collections.abc import Iterable

import torch
from torch import nn

from kilat.recipe.fit import Clip


def clip(parameters: Iterable[nn.Parameter], choices: Clip) -> None:
    """Clip gradients in place; parameters without one are left out.

    A global norm that is not finite makes all gradients NaN, as in Keras, so that it is noticed.

    Args:
        parameters: whose gradients.
        choices: how; where nothing is chosen, nothing happens.
    """
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not grads:
        return
    if choices.value is not None:
        torch._foreach_clamp_min_(grads, -choices.value)
        torch._foreach_clamp_max_(grads, choices.value)
    elif choices.norm is not None:
        norms = torch.stack(torch._foreach_norm(grads))
        torch._foreach_mul_(grads, list((choices.norm / norms.clamp_min(choices.norm)).unbind()))
    elif choices.global_norm is not None:
        norm = torch.stack(torch._foreach_norm(grads)).norm()
        torch._foreach_mul_(grads, choices.global_norm / norm.clamp_min(choices.global_norm) + (norm - norm))
