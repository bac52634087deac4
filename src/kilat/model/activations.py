"""Activation functions of recipes as modules, on maps ``[n, c, h, w]`` and on units ``[n, units]`` alike."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's own name for it

from kilat.recipe.network import Function

_PLAIN: dict[str, type[nn.Module]] = {
    "none": nn.Identity, "relu": nn.ReLU, "elu": nn.ELU, "selu": nn.SELU, "gelu": nn.GELU, "silu": nn.SiLU,
    "mish": nn.Mish, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid,
}  # fmt: skip


class PReLU(nn.Module):
    """A rectifier that learns its slope for negative values, from 0 on, as Keras's does (He et al., arXiv 1502.01852).

    Args:
        shape: ``(height, width, channels)`` or ``(units,)`` of what comes in.
        shared: learns one slope a channel, instead of one for every place of every channel.
    """

    def __init__(self, shape: tuple[int, ...], shared: bool) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros((1, 1, shape[-1]) if shared and len(shape) == 3 else shape))

    def forward(self, values: Tensor) -> Tensor:
        """Values of the same shape."""
        alpha = self.alpha if self.alpha.ndim == 1 else self.alpha.permute(2, 0, 1)
        return F.relu(values) - alpha.to(values.dtype) * F.relu(-values)


def create(function: Function, shape: tuple[int, ...]) -> nn.Module:
    """The module of a function for values of a shape, ``(height, width, channels)`` or ``(units,)``."""
    if function.name == "leaky_relu":
        return nn.LeakyReLU(function.slope)
    if function.name == "prelu":
        return PReLU(shape, function.shared)
    if function.name == "softmax":
        return nn.Softmax(dim=1)
    return _PLAIN[function.name]()
