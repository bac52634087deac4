"""First weights of kernels, by the formulas of ``keras.initializers``, from a generator that the caller gives."""

import math

import torch
from torch import Tensor, nn

from kilat.recipe.network import InitName

_SCALES = {"glorot": 1.0, "he": 2.0, "lecun": 1.0}
_TRUNCATED_STD = 0.87962566103423978
"""Standard deviation of a standard normal distribution that is truncated at two standard deviations."""


def draw(name: InitName, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return a kernel in Keras's layout: ``(inputs, units)`` or ``(height, width, inputs, filters)``.

    Args:
        name: of the distribution: ``glorot`` (Glorot and Bengio 2010), ``he`` (He et al., arXiv 1502.01852) or
            ``lecun`` (LeCun et al. 1998), ``uniform`` or ``normal`` (truncated at two standard deviations);
            ``orthogonal`` (Saxe et al., arXiv 1312.6120).
        shape: of the kernel.
        generator: of all random numbers.

    Returns:
        float32 of this shape.
    """
    if name == "orthogonal":
        return _orthogonal(shape, generator)
    family, _, form = name.partition("_")
    inputs, outputs = fans(shape)
    variance = _SCALES[family] / ((inputs + outputs) / 2 if family == "glorot" else inputs)
    kernel = torch.empty(shape)
    if form == "uniform":
        limit = math.sqrt(3 * variance)
        return kernel.uniform_(-limit, limit, generator=generator)
    deviation = math.sqrt(variance) / _TRUNCATED_STD
    return nn.init.trunc_normal_(kernel, 0, deviation, -2 * deviation, 2 * deviation, generator=generator)


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return fan-in and fan-out of a kernel, as Keras counts them."""
    field = math.prod(shape[:-2])
    return field * shape[-2], field * shape[-1]


def _orthogonal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    rows, columns = math.prod(shape[:-1]), shape[-1]
    noise = torch.empty(max(rows, columns), min(rows, columns)).normal_(generator=generator)
    factor, triangle = torch.linalg.qr(noise)
    basis: Tensor = factor * triangle.diagonal().sign()  # makes it uniform (Mezzadri, math-ph/0609050)
    return (basis.T if rows < columns else basis).reshape(shape).contiguous()
