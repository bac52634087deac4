"""Depthwise convolutions whose gradients are as fast as their forward pass on a CPU.

oneDNN, which PyTorch computes with there, has fast kernels for depthwise convolutions forward, and for the gradient of
3×3 kernels. It computes the gradient of larger kernels 2 to 3 times (in bfloat16 10 times) slower than it could, and
that of bfloat16 inputs with a stride 10 to 100 times. Each gradient here is put together from the fast ones.
"""

import functools
import itertools
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812 - the field's own name for it

from kilat.model.modules import Window

_FAST = 3
"""Side of the largest kernels that oneDNN has a fast gradient for."""

_GROUP = 16
"""Channels that a matrix unit takes together."""

_SPREAD = 14
"""Side of the smallest maps where a matrix unit is faster than parts of a kernel, though it does 16 times the work."""


def pays(planes: Tensor, weight: Tensor, window: Window) -> bool:
    """Whether ``depthwise`` can compute this convolution, and in the layout that it is fast in."""
    return (
        planes.device.type == "cpu"
        and not is_recorded()
        and weight.shape[:2] == (planes.shape[1], 1)
        and window.dilation == (1, 1)
        and min(window.kernel) >= _FAST
        and planes.is_contiguous(memory_format=torch.channels_last)
    )


def is_recorded() -> bool:
    """Whether someone writes down what is computed (an export, a compiler), which should then be the plain parts."""
    tracing: Any = torch.jit.is_tracing  # type: ignore[attr-defined]
    return bool(tracing()) or torch.compiler.is_compiling()


def depthwise(planes: Tensor, weight: Tensor, bias: Tensor | None, window: Window) -> Tensor:
    """The convolution of every channel with a kernel of its own, under autocast as PyTorch's own.

    Args:
        planes: ``[n, channels, height, width]`` in channels-last memory.
        weight: ``[channels, 1, *window.kernel]``.
        bias: ``[channels]``.
        window: how it slides.

    Returns:
        Planes ``[n, channels, *window.places]``.
    """
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        planes, weight, bias = planes.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    answer: Tensor = _Depthwise.apply(planes, weight, bias, window)
    return answer


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, planes: Tensor, weight: Tensor, bias: Tensor | None, window: Window) -> Tensor:
        padded = window.pad(planes)
        context.window, context.grid = window, planes.shape[2:]
        context.save_for_backward(padded, weight)
        return F.conv2d(padded, weight, bias, window.stride, window.padding, 1, len(weight))

    @staticmethod
    @once_differentiable
    def backward(context: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        padded, weight = context.saved_tensors
        wants_planes, wants_weight, wants_bias, _ = context.needs_input_grad
        slope = slope.contiguous(memory_format=torch.channels_last)
        return (
            input_gradient(slope, weight, context.window, context.grid) if wants_planes else None,
            weight_gradient(slope, padded, context.window) if wants_weight else None,
            slope.sum((0, 2, 3)) if wants_bias else None,
            None,
        )


def input_gradient(slope: Tensor, weight: Tensor, window: Window, grid: tuple[int, int]) -> Tensor:
    """The gradient for the planes.

    Args:
        slope: that for the answer.
        weight: the kernels.
        window: how they slid.
        grid: height and width of the planes.
    """
    reach = tuple(side - 1 - before for side, before in zip(window.kernel, window.before, strict=True))
    if window.stride == (1, 1) and window.before == window.after == reach:
        return F.conv2d(slope, weight.flip(2, 3), None, 1, reach, 1, len(weight))
    if slope.dtype == torch.bfloat16 and window.stride == (2, 2) and not any(side % 2 for side in grid):
        return _halves(slope, weight, window, grid)
    full = torch.promote_types(slope.dtype, torch.float32)
    wide = _wide_gradient(slope.to(full), weight.to(full), window, grid)
    top, left = (0, 0) if window.is_even else window.before
    return wide[:, :, top : top + grid[0], left : left + grid[1]].to(slope.dtype)


def weight_gradient(slope: Tensor, padded: Tensor, window: Window) -> Tensor:
    """The gradient for the kernels.

    Args:
        slope: that for the answer.
        padded: the planes with what ``window.pad`` adds.
        window: how the kernels slid.
    """
    before = window.padding
    if window.kernel == (_FAST, _FAST):
        return _small_gradient(slope, padded, window.stride, before)
    if (
        slope.dtype == torch.bfloat16
        and _has_matrices()
        and min(slope.shape[2:]) >= _SPREAD
        and len(padded[0]) % _GROUP == 0
    ):
        return _grouped(slope, padded, window, before)
    return _in_parts(slope, padded, window, before)


def _wide_gradient(slope: Tensor, weight: Tensor, window: Window, grid: tuple[int, int]) -> Tensor:
    """The gradient for the padded planes by oneDNN itself, which is fast in float32."""
    added = (
        (0, 0)
        if window.is_even
        else [before + after for before, after in zip(window.before, window.after, strict=True)]
    )
    height, width = (side + more for side, more in zip(grid, added, strict=True))
    planes = torch.empty(
        (len(slope), len(weight), height, width), dtype=slope.dtype, memory_format=torch.channels_last
    )  # only its shape is read
    return _backward(slope, planes, weight, window.stride, window.padding, [True, False, False])[0]


def _halves(slope: Tensor, weight: Tensor, window: Window, grid: tuple[int, int]) -> Tensor:
    """The gradient for planes seen with stride 2: even and odd rows and columns each had taps of their own.

    So each parity is a convolution of the slope without stride. Even and odd columns are two halves of the channels
    of one convolution, as a pair of columns lies side by side in memory; rows are computed apart and interleaved.
    """
    count, channels, *places = slope.shape
    rows, columns = (_taps(side, before) for side, before in zip(window.kernel, window.before, strict=True))
    left, right = min(map(min, columns)), max(map(max, columns))
    twice = torch.cat((slope, slope), 1)
    answer = slope.new_empty(count, grid[0] // 2, 2, grid[1] // 2, 2 * channels)
    for parity, taps in enumerate(rows):
        top, bottom = min(taps), max(taps)
        kernel = weight.new_zeros(2, channels, bottom - top + 1, right - left + 1)
        for half, others in enumerate(columns):
            for (down, row), (across, column) in itertools.product(taps.items(), others.items()):
                kernel[half, :, down - top, across - left] = weight[:, 0, row, column]
        margins = _margin(top, bottom, grid[0], places[0]), _margin(left, right, grid[1], places[1])
        found = F.conv2d(twice, kernel.flatten(0, 1).unsqueeze(1), None, 1, margins, 1, 2 * channels)
        found = found[:, :, top + margins[0] :, left + margins[1] :].permute(0, 2, 3, 1)
        answer[:, :, parity] = found[:, : grid[0] // 2, : grid[1] // 2]
    return answer.view(count, *grid, channels).permute(0, 3, 1, 2)


def _taps(side: int, before: int) -> list[dict[int, int]]:
    """For even places and for odd ones: which tap of a kernel met them, by how far on the slope is taken from."""
    return [{(odd + before - tap) // 2: tap for tap in range(side) if (odd + before - tap) % 2 == 0} for odd in (0, 1)]


def _margin(first: int, last: int, size: int, places: int) -> int:
    """How many zeros the slope needs on both sides, to be taken from ``first`` to ``last`` places further on."""
    return max(-first, size // 2 + last - places, 0)


@functools.cache
def _has_matrices() -> bool:
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


def _grouped(slope: Tensor, planes: Tensor, window: Window, before: tuple[int, int]) -> Tensor:
    """The gradient for large kernels as if every channel saw a group of them, of which its own is then taken."""
    channels = planes.shape[1]
    weight = planes.new_empty(channels, _GROUP, *window.kernel)  # only its shape is read
    wide = _backward(slope, planes, weight, window.stride, before, [False, True, False], channels // _GROUP)[1]
    own = wide.view(-1, _GROUP, _GROUP, *window.kernel).diagonal(0, 1, 2).permute(0, 3, 1, 2)
    return own.reshape(channels, 1, *window.kernel)


def _in_parts(slope: Tensor, planes: Tensor, window: Window, before: tuple[int, int]) -> Tensor:
    """The gradient for large kernels, nine taps at a time.

    Every part sees the same planes further on. Rows and pictures lie in one long memory with just so many zeros
    between them that one picture's margin is the next one's, too: so a part is a view that begins later, not a copy.
    """
    count, channels, *grid = planes.shape
    height, width = (
        max(size + margin, (places - 1) * step + max(side - margin, _FAST))
        for size, margin, places, step, side in zip(
            grid, before, slope.shape[2:], window.stride, window.kernel, strict=True
        )
    )
    places = [(size - _FAST) // step + 1 for size, step in zip((height, width), window.stride, strict=True)]
    slope = F.pad(slope, (0, places[1] - slope.shape[3], 0, places[0] - slope.shape[2]))
    strides = (height * width * channels, 1, width * channels, channels)
    starts, begin = [_starts(side) for side in window.kernel], before[0] * width + before[1]
    extra = max(begin, starts[0][-1] * width + starts[1][-1])
    memory = planes.new_zeros((count * height * width + extra) * channels)
    memory.as_strided(planes.shape, strides, begin * channels).copy_(planes)
    answer = planes.new_empty(channels, 1, *window.kernel)
    for row, column in itertools.product(*starts):
        shifted = memory.as_strided((count, channels, height, width), strides, (row * width + column) * channels)
        part = _small_gradient(slope, shifted, window.stride, (0, 0))
        answer[:, :, row : row + _FAST, column : column + _FAST] = part
    return answer


def _starts(side: int) -> list[int]:
    """Where parts of three begin that cover a side; the last two may overlap."""
    return sorted({min(start, side - _FAST) for start in range(0, side, _FAST)})


def _small_gradient(slope: Tensor, planes: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    weight = planes.new_empty(planes.shape[1], 1, _FAST, _FAST)  # only its shape is read
    return _backward(slope, planes, weight, stride, padding, [False, True, False])[1]


def _backward(
    slope: Tensor,
    planes: Tensor,
    weight: Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    wanted: list[bool],
    groups: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """PyTorch's own gradients: for the planes, the kernels and the biases."""
    answer: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        slope, planes, weight, None, stride, padding, (1, 1), False, (0, 0), groups or len(weight), wanted
    )
    return answer
