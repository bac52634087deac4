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

from kilat.model.window import Window

_FAST = 3
"""Side of the largest kernels that oneDNN has a fast gradient for."""

_GROUP = 16
"""Channels that a matrix unit takes together."""

_SMALLEST_BY_GROUPS = 14
"""Side of the smallest maps where a matrix unit is faster than parts of a kernel, though it does 16 times the work."""


def pays(planes: Tensor, weight: Tensor, window: Window) -> bool:
    """Return whether ``depthwise`` can compute this convolution, in the layout that it is fast in."""
    return (
        planes.device.type == "cpu"
        and not is_traced()
        and weight.shape[:2] == (planes.shape[1], 1)
        and window.dilation == (1, 1)
        and min(window.kernel) >= _FAST
        and planes.is_contiguous(memory_format=torch.channels_last)
    )


def is_traced() -> bool:
    """Return whether an export or a compiler records the computation, which should then consist of plain modules."""
    tracing: Any = torch.jit.is_tracing  # type: ignore[attr-defined]
    return bool(tracing()) or torch.compiler.is_compiling()


def depthwise(planes: Tensor, weight: Tensor, bias: Tensor | None, window: Window) -> Tensor:
    """Return a convolution of every channel with a kernel of its own, under autocast as PyTorch's own.

    Args:
        planes: ``[n, channels, height, width]`` in channels-last memory.
        weight: ``[channels, 1, *window.kernel]``.
        bias: ``[channels]``.
        window: how it slides.

    Returns:
        Planes ``[n, channels, *window.output_size]``.
    """
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        planes, weight, bias = planes.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    convolved: Tensor = _Depthwise.apply(planes, weight, bias, window)
    return convolved


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, planes: Tensor, weight: Tensor, bias: Tensor | None, window: Window) -> Tensor:
        padded = window.pad(planes)
        context.window, context.grid = window, planes.shape[2:]
        context.save_for_backward(padded, weight)
        return F.conv2d(padded, weight, bias, window.stride, window.padding, 1, len(weight))

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        padded, weight = context.saved_tensors
        needs_planes, needs_weight, needs_bias, _ = context.needs_input_grad
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        return (
            input_gradient(gradient, weight, context.window, context.grid) if needs_planes else None,
            weight_gradient(gradient, padded, context.window) if needs_weight else None,
            gradient.sum((0, 2, 3)) if needs_bias else None,
            None,
        )


def input_gradient(gradient: Tensor, weight: Tensor, window: Window, grid: tuple[int, int]) -> Tensor:
    """Return the gradient of the planes.

    Args:
        gradient: of the output.
        weight: the kernels.
        window: how they slid.
        grid: height and width of the planes.
    """
    flipped_padding = tuple(side - 1 - before for side, before in zip(window.kernel, window.before, strict=True))
    if window.stride == (1, 1) and window.before == window.after == flipped_padding:
        return F.conv2d(gradient, weight.flip(2, 3), None, 1, flipped_padding, 1, len(weight))
    if gradient.dtype == torch.bfloat16 and window.stride == (2, 2) and not any(side % 2 for side in grid):
        return _input_gradient_of_stride_2(gradient, weight, window, grid)
    # By oneDNN itself, which is fast in float32; of the padded planes, whose padding is then cut off.
    full = torch.promote_types(gradient.dtype, torch.float32)
    added = (0, 0)
    if not window.is_symmetric:
        added = (window.before[0] + window.after[0], window.before[1] + window.after[1])
    shape = (len(gradient), len(weight), grid[0] + added[0], grid[1] + added[1])
    planes = torch.empty(shape, dtype=full, memory_format=torch.channels_last)  # only its shape is read
    needed = [True, False, False]
    padded = _backward(gradient.to(full), planes, weight.to(full), window.stride, window.padding, needed)[0]
    top, left = (0, 0) if window.is_symmetric else window.before
    return padded[:, :, top : top + grid[0], left : left + grid[1]].to(gradient.dtype)


def weight_gradient(gradient: Tensor, padded: Tensor, window: Window) -> Tensor:
    """Return the gradient of the kernels, by the fastest way on this machine.

    Args:
        gradient: of the output.
        padded: the planes with what ``window.pad`` adds.
        window: how the kernels slid.
    """
    if window.kernel == (_FAST, _FAST):
        return _weight_gradient_3x3(gradient, padded, window.stride, window.padding)
    if (
        gradient.dtype == torch.bfloat16
        and _has_matrix_unit()
        and min(gradient.shape[2:]) >= _SMALLEST_BY_GROUPS
        and len(padded[0]) % _GROUP == 0
    ):
        return weight_gradient_by_groups(gradient, padded, window)
    return weight_gradient_by_parts(gradient, padded, window)


def weight_gradient_by_groups(gradient: Tensor, padded: Tensor, window: Window) -> Tensor:
    """Return the gradient of the kernels as if every channel had a group of 16 as input, of which its own is taken.

    The arguments are those of ``weight_gradient``; the number of channels is a multiple of 16.
    """
    channels = padded.shape[1]
    weight = padded.new_empty(channels, _GROUP, *window.kernel)  # only its shape is read
    needed = [False, True, False]
    groups = _backward(gradient, padded, weight, window.stride, window.padding, needed, channels // _GROUP)[1]
    own = groups.view(-1, _GROUP, _GROUP, *window.kernel).diagonal(0, 1, 2).permute(0, 3, 1, 2)
    return own.reshape(channels, 1, *window.kernel)


def weight_gradient_by_parts(gradient: Tensor, padded: Tensor, window: Window) -> Tensor:
    """Return the gradient of kernels of at least 3×3, nine entries at a time.

    The arguments are those of ``weight_gradient``. Every part reads the same planes further on. Rows and pictures lie
    in one long memory with just so many zeros between them that one picture's margin is the next one's, too: so a part
    is a view that begins later, not a copy.
    """
    count, channels, *grid = padded.shape
    before = window.padding
    height, width = (
        max(size + margin, (positions - 1) * stride + max(side - margin, _FAST))
        for size, margin, positions, stride, side in zip(
            grid, before, gradient.shape[2:], window.stride, window.kernel, strict=True
        )
    )
    positions = [(size - _FAST) // stride + 1 for size, stride in zip((height, width), window.stride, strict=True)]
    gradient = F.pad(gradient, (0, positions[1] - gradient.shape[3], 0, positions[0] - gradient.shape[2]))
    strides = (height * width * channels, 1, width * channels, channels)
    # Where parts of three begin that cover a side; the last two may overlap.
    starts = [sorted({min(start, side - _FAST) for start in range(0, side, _FAST)}) for side in window.kernel]
    begin = before[0] * width + before[1]
    extra = max(begin, starts[0][-1] * width + starts[1][-1])
    memory = padded.new_zeros((count * height * width + extra) * channels)
    memory.as_strided(padded.shape, strides, begin * channels).copy_(padded)
    result = padded.new_empty(channels, 1, *window.kernel)
    for row, column in itertools.product(*starts):
        shifted = memory.as_strided((count, channels, height, width), strides, (row * width + column) * channels)
        part = _weight_gradient_3x3(gradient, shifted, window.stride, (0, 0))
        result[:, :, row : row + _FAST, column : column + _FAST] = part
    return result


def _input_gradient_of_stride_2(gradient: Tensor, weight: Tensor, window: Window, grid: tuple[int, int]) -> Tensor:
    """Return the gradient of planes that were read with stride 2.

    Even and odd rows and columns each met entries of a kernel of their own, so that each parity is a convolution of the
    output's gradient without stride. Even and odd columns are two halves of the channels of one convolution, as a pair
    of columns lies side by side in memory; rows are computed apart and interleaved.
    """
    count, channels, *positions = gradient.shape
    rows, columns = (
        _entries_by_offset(side, before) for side, before in zip(window.kernel, window.before, strict=True)
    )
    left, right = min(map(min, columns)), max(map(max, columns))
    twice = torch.cat((gradient, gradient), 1)
    result = gradient.new_empty(count, grid[0] // 2, 2, grid[1] // 2, 2 * channels)
    for parity, down_entries in enumerate(rows):
        top, bottom = min(down_entries), max(down_entries)
        kernel = weight.new_zeros(2, channels, bottom - top + 1, right - left + 1)
        for half, across_entries in enumerate(columns):
            for (down, row), (across, column) in itertools.product(down_entries.items(), across_entries.items()):
                kernel[half, :, down - top, across - left] = weight[:, 0, row, column]
        margins = _margin(top, bottom, grid[0], positions[0]), _margin(left, right, grid[1], positions[1])
        convolved = F.conv2d(twice, kernel.flatten(0, 1).unsqueeze(1), None, 1, margins, 1, 2 * channels)
        convolved = convolved[:, :, top + margins[0] :, left + margins[1] :].permute(0, 2, 3, 1)
        result[:, :, parity] = convolved[:, : grid[0] // 2, : grid[1] // 2]
    return result.view(count, *grid, channels).permute(0, 3, 1, 2)


def _entries_by_offset(side: int, before: int) -> list[dict[int, int]]:
    """Return which entries of a kernel met even and odd positions, by their offset in the output's gradient."""
    return [
        {(odd + before - entry) // 2: entry for entry in range(side) if (odd + before - entry) % 2 == 0}
        for odd in (0, 1)
    ]


def _margin(first: int, last: int, size: int, positions: int) -> int:
    """Return how many zeros the gradient needs on both sides to be read at offsets ``first`` to ``last``."""
    return max(-first, size // 2 + last - positions, 0)


@functools.cache
def _has_matrix_unit() -> bool:
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


def _weight_gradient_3x3(gradient: Tensor, planes: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    weight = planes.new_empty(planes.shape[1], 1, _FAST, _FAST)  # only its shape is read
    return _backward(gradient, planes, weight, stride, padding, [False, True, False])[1]


def _backward(
    gradient: Tensor,
    planes: Tensor,
    weight: Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    needed: list[bool],
    groups: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return PyTorch's own gradients: of the planes, the kernels and the biases."""
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gradient, planes, weight, None, stride, padding, (1, 1), False, (0, 0), groups or len(weight), needed
    )
    return gradients
