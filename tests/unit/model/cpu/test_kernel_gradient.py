"""Kernels' gradients from independent threads are the gradients, and nothing else changes."""

from collections.abc import Iterator
from contextlib import nullcontext

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from torch import nn  # noqa: E402

from kilat.model.cpu.kernel_gradient import IndependentKernelGradients  # noqa: E402

CASES = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "padding": (0, 2), "stride": (2, 1), "bias": False},
    {"kernel_size": (1, 5), "dilation": 2},
    {"kernel_size": 1},
    {"kernel_size": 3, "padding": "same"},
    {"kernel_size": 3, "padding": 1, "groups": 2},
]


@pytest.fixture(params=[2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def gradients(convolution: nn.Conv2d, planes, *, dtype, independent: bool):
    convolution.zero_grad()
    planes = planes.clone().requires_grad_()
    block = IndependentKernelGradients() if independent else nullcontext()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32), block:
        output = convolution(planes)
    output.float().square().sum().backward()
    found = [output.detach(), planes.grad, *(value.grad for value in convolution.parameters())]
    return [value.clone() for value in found]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("count", [1, 2, 7])
def test_they_are_as_exact_as_pytorchs_own(case, count, threads) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(4, 6, **case)
    planes = torch.randn(count, 4, 9, 11).contiguous(memory_format=torch.channels_last)
    found = gradients(convolution, planes, dtype=torch.bfloat16, independent=True)
    own = gradients(convolution, planes, dtype=torch.bfloat16, independent=False)
    exact = gradients(convolution, planes, dtype=torch.float32, independent=False)
    assert torch.equal(found[0], own[0])
    for value, other, reference in zip(found, own, exact, strict=True):
        assert (value.dtype, value.shape) == (other.dtype, other.shape)
        # bfloat16 has 8 bits: products and sums are off by some multiples of 2⁻⁸ of the largest.
        assert (value.float() - reference).abs().max() < 0.04 * reference.abs().max()
    again = gradients(convolution, planes, dtype=torch.bfloat16, independent=True)
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("case", CASES)
def test_float32_is_left_to_pytorch(case, threads) -> None:
    torch.manual_seed(0)
    convolution, planes = nn.Conv2d(4, 6, **case), torch.randn(4, 4, 9, 11)
    found, own = (gradients(convolution, planes, dtype=torch.float32, independent=one) for one in (True, False))
    assert all(torch.equal(a, b) for a, b in zip(found, own, strict=True))


def test_what_is_frozen_gets_no_gradient(threads) -> None:
    convolution = nn.Conv2d(4, 6, 3)
    convolution.bias.requires_grad_(False)
    planes = torch.randn(4, 4, 9, 11)
    with torch.autocast("cpu", torch.bfloat16), IndependentKernelGradients():
        convolution(planes).float().sum().backward()
    assert convolution.weight.grad is not None
    assert convolution.bias.grad is None
    convolution.weight.requires_grad_(False)
    with torch.autocast("cpu", torch.bfloat16), IndependentKernelGradients():
        assert not convolution(planes).requires_grad
