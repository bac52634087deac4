"""Activation functions of recipes as modules, on maps ``[n, c, h, w]`` and on units ``[n, units]`` alike."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's own name for it

from kilat.recipe.activation_function import ActivationFunction

_WITHOUT_OPTIONS: dict[str, type[nn.Module]] = {
    "none": nn.Identity, "relu": nn.ReLU, "elu": nn.ELU, "selu": nn.SELU, "gelu": nn.GELU, "silu": nn.SiLU,
    "mish": nn.Mish, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid,
}  # fmt: skip


class PReLU(nn.Module):
    """A rectifier with a learned slope for negative values, 0 at first as in Keras (He et al., arXiv 1502.01852).

    Args:
        shape: ``(height, width, channels)`` or ``(units,)`` of the input.
        shared: whether a channel has one slope, instead of one at every position.
    """

    def __init__(self, shape: tuple[int, ...], shared: bool) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros((1, 1, shape[-1]) if shared and len(shape) == 3 else shape))

    def forward(self, values: Tensor) -> Tensor:
        """Return values of the same shape."""
        alpha = self.alpha if self.alpha.ndim == 1 else self.alpha.permute(2, 0, 1)
        return F.relu(values) - alpha.to(values.dtype) * F.relu(-values)


def create(function: ActivationFunction, shape: tuple[int, ...]) -> nn.Module:
    """Return the module of a function for inputs of a shape, ``(height, width, channels)`` or ``(units,)``."""
    if function.name == "leaky_relu":
        return nn.LeakyReLU(function.slope)
    if function.name == "prelu":
        return PReLU(shape, function.shared)
    if function.name == "softmax":
        return nn.Softmax(dim=1)
    return _WITHOUT_OPTIONS[function.name]()
