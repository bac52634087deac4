"""Clipping of gradients by value and by norms."""

import math

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from torch import nn  # noqa: E402

from kilat.fit.clipping import clip  # noqa: E402
from kilat.recipe.fit import Clip  # noqa: E402


def clipped(choices: Clip, *grads: list[float]) -> list[list[float]]:
    parameters = [nn.Parameter(torch.zeros(len(grad))) for grad in grads]
    for parameter, grad in zip(parameters, grads, strict=True):
        parameter.grad = torch.tensor(grad)
    clip([*parameters, nn.Parameter(torch.zeros(2))], choices)
    return [parameter.grad.tolist() for parameter in parameters]


def test_by_value():
    assert clipped(Clip(value=2), [3, -4.0], [0.5, -2.5]) == [[2, -2], [0.5, -2]]


def test_by_the_norm_of_each():
    first, second, third = clipped(Clip(norm=1), [3, 4.0], [0.3, 0.4], [0.0])
    assert first == pytest.approx([0.6, 0.8])
    assert second == torch.tensor([0.3, 0.4]).tolist()
    assert third == [0]


def test_by_the_norm_of_all():
    assert clipped(Clip(global_norm=1.3), [3.0, 4.0], [12.0]) == [pytest.approx([0.3, 0.4]), pytest.approx([1.2])]
    assert clipped(Clip(global_norm=14), [3, 4.0], [12.0]) == [[3, 4], [12]]


def test_nothing_chosen():
    assert clipped(Clip(), [3e9, -4.0]) == [[3e9, -4]]


def test_nothing_to_clip():
    parameter = nn.Parameter(torch.ones(1))
    clip([parameter], Clip(norm=1.0))
    assert parameter.grad is None


def test_a_norm_that_is_not_finite_is_not_hidden():
    first, second = clipped(Clip(global_norm=1), [math.inf], [1.0])
    assert math.isnan(first[0])
    assert math.isnan(second[0])
