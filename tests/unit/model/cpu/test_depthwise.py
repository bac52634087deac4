"""Depthwise convolutions on a CPU: the same outputs and gradients as PyTorch's own, whatever the window."""

import itertools

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from torch.nn import functional  # noqa: E402 - comes with the extra

from kilat.model.cpu import depthwise  # noqa: E402
from kilat.model.window import Window, sliding_window  # noqa: E402

CHANNELS = 16
GRIDS = [(16, 16), (9, 8), (7, 7), (30, 28)]


def windows(grid: tuple[int, int]):
    for side, stride in itertools.product((3, 4, 5, 7, 9), (1, 2, 3)):
        for padding in {0, 1, side // 2}:
            if side <= min(grid) + 2 * padding:
                both = (padding, padding)
                yield Window((side, side), (stride, stride), (1, 1), both, both, (0, 0))
        yield sliding_window(grid, (side, side), (stride, stride), "same")
    yield sliding_window(grid, (3, 5), (2, 1), "same")
    yield sliding_window(grid, (5, 3), (2, 2), "valid")


def drawn(grid: tuple[int, int], window: Window, dtype=torch.float32):
    draws = torch.Generator().manual_seed(0)
    planes = torch.randn(2, CHANNELS, *grid, generator=draws, dtype=dtype).to(memory_format=torch.channels_last)
    weight = torch.randn(CHANNELS, 1, *window.kernel, generator=draws, dtype=dtype)
    return planes, weight, torch.randn(CHANNELS, generator=draws, dtype=dtype)


def own(planes, weight, bias, window: Window):
    return functional.conv2d(window.pad(planes), weight, bias, window.stride, window.padding, 1, CHANNELS)


def output_and_gradients(function, values, window, dtype):
    """Return the output, and the gradients of a weighted sum of it; numbers are rounded to half precision first."""
    leaves = [value.bfloat16().to(dtype).requires_grad_() for value in values]
    output = function(*leaves, window)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).bfloat16().to(dtype)
    return [value.detach().double() for value in (output, *torch.autograd.grad(output, leaves, weights))]


def distance(found, expected) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_outputs_and_gradients_are_those_of_pytorch(grid, dtype):
    """Up to 1,680 products (pictures times positions) are summed, which rounds by that many half epsilons at most.

    In half precision products and sums are float32, and only the result is rounded.
    """
    eps = torch.finfo(dtype).eps
    tolerance = eps if dtype == torch.bfloat16 else 840 * eps
    for window in windows(grid):
        values = drawn(grid, window)
        expected = output_and_gradients(own, values, window, torch.float64)
        found = output_and_gradients(depthwise.depthwise, values, window, dtype)
        assert max(map(distance, found, expected)) < tolerance, window


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("gradient_of", [depthwise.weight_gradient_by_groups, depthwise.weight_gradient_by_parts])
def test_every_way_to_the_gradient_of_kernels_gives_it(grid, gradient_of):
    """Which one is taken depends on the processor."""
    for window in windows(grid):
        values = drawn(grid, window)
        _output, _planes, expected, _bias = output_and_gradients(own, values, window, torch.float64)
        planes = window.pad(values[0].bfloat16().double())
        shape = (len(planes), CHANNELS, *own(*values, window).shape[2:])
        weights = torch.randn(shape, generator=torch.Generator().manual_seed(1)).bfloat16().double()
        found = gradient_of(
            *(value.contiguous(memory_format=torch.channels_last) for value in (weights, planes)), window
        )
        assert distance(found, expected) < 840 * torch.finfo(torch.float64).eps, window


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equal_numbers_give_equal_bits(dtype):
    window = Window((5, 5), (2, 2), (1, 1), (2, 2), (2, 2), (0, 0))
    values = drawn((28, 28), window)
    first, second = (output_and_gradients(depthwise.depthwise, values, window, dtype) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_only_the_gradients_that_are_needed_are_computed():
    window = sliding_window((8, 8), (3, 3), (1, 1), "same")
    planes, weight, bias = drawn((8, 8), window)
    output = depthwise.depthwise(planes, weight.requires_grad_(), bias, window)
    output.sum().backward()
    assert weight.grad is not None
    assert planes.grad is None
    assert bias.grad is None


def test_under_autocast_the_parameters_keep_their_precision():
    window = sliding_window((8, 8), (3, 3), (2, 2), "same")
    planes, weight, bias = (value.requires_grad_() for value in drawn((8, 8), window, torch.float32))
    with torch.autocast("cpu", torch.bfloat16):
        output = depthwise.depthwise(planes, weight, bias, window)
    output.float().sum().backward()
    assert output.dtype == torch.bfloat16
    assert planes.grad.dtype == weight.grad.dtype == bias.grad.dtype == torch.float32


def test_what_it_cannot_compute_is_left_to_pytorch():
    window = sliding_window((8, 8), (3, 3), (1, 1), "same")
    planes, weight, _ = drawn((8, 8), window, torch.float32)
    assert depthwise.pays(planes, weight, window)
    assert not depthwise.pays(planes.contiguous(), weight, window)
    assert not depthwise.pays(planes, weight.expand(-1, 2, -1, -1), window)
    assert not depthwise.pays(planes, weight, window._replace(dilation=(2, 2)))
    assert not depthwise.pays(planes, weight, window._replace(kernel=(1, 1)))
