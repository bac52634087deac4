"""Depthwise convolutions on a CPU: the same answers and gradients as PyTorch's own, whatever the window."""

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


def learnt(function, values, window, dtype):
    """The answer, and the gradients of a weighted sum of it; numbers are rounded to half precision first."""
    leaves = [value.bfloat16().to(dtype).requires_grad_() for value in values]
    answer = function(*leaves, window)
    slope = torch.randn(answer.shape, generator=torch.Generator().manual_seed(1)).bfloat16().to(dtype)
    return [value.detach().double() for value in (answer, *torch.autograd.grad(answer, leaves, slope))]


def distance(found, wanted) -> float:
    return float((found - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.01)])
def test_answers_and_gradients_are_those_of_pytorch(grid, dtype, tolerance):
    for window in windows(grid):
        values = drawn(grid, window)
        wanted = learnt(own, values, window, torch.float32)
        found = learnt(depthwise.depthwise, values, window, dtype)
        assert max(map(distance, found, wanted)) < tolerance, window


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equal_numbers_give_equal_bits(dtype):
    window = Window((5, 5), (2, 2), (1, 1), (2, 2), (2, 2), (0, 0))
    values = drawn((28, 28), window)
    first, second = (learnt(depthwise.depthwise, values, window, dtype) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_only_the_gradients_that_are_asked_for_are_given():
    window = sliding_window((8, 8), (3, 3), (1, 1), "same")
    planes, weight, bias = drawn((8, 8), window)
    answer = depthwise.depthwise(planes, weight.requires_grad_(), bias, window)
    answer.sum().backward()
    assert weight.grad is not None
    assert planes.grad is None
    assert bias.grad is None


def test_under_autocast_the_parameters_keep_their_precision():
    window = sliding_window((8, 8), (3, 3), (2, 2), "same")
    planes, weight, bias = (value.requires_grad_() for value in drawn((8, 8), window, torch.float32))
    with torch.autocast("cpu", torch.bfloat16):
        answer = depthwise.depthwise(planes, weight, bias, window)
    answer.float().sum().backward()
    assert answer.dtype == torch.bfloat16
    assert planes.grad.dtype == weight.grad.dtype == bias.grad.dtype == torch.float32


def test_what_it_cannot_compute_is_left_to_pytorch():
    window = sliding_window((8, 8), (3, 3), (1, 1), "same")
    planes, weight, _ = drawn((8, 8), window, torch.float32)
    assert depthwise.pays(planes, weight, window)
    assert not depthwise.pays(planes.contiguous(), weight, window)
    assert not depthwise.pays(planes, weight.expand(-1, 2, -1, -1), window)
    assert not depthwise.pays(planes, weight, window._replace(dilation=(2, 2)))
    assert not depthwise.pays(planes, weight, window._replace(kernel=(1, 1)))
