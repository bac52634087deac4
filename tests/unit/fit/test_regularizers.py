"""Penalties on kernels, and bounds of their norms."""

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from torch import nn  # noqa: E402

from kilat.fit.regularizers import Regularizer  # noqa: E402
from kilat.recipe import Network  # noqa: E402


def choices(**given) -> Network:
    return Network(layers=["flatten"], **given)


class Regularized(nn.Linear):
    """A layer with penalties of its own."""

    l1, l2, max_norm = 0.0, 0.5, None


def network() -> nn.Sequential:
    torch.random.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.Flatten(), Regularized(3, 2), nn.Linear(2, 2))


def test_gradients_are_those_of_the_penalty():
    layers = network()
    kernels = [layers[0].weight, layers[3].weight, layers[4].weight]
    regularizer = Regularizer(layers, choices(l1=0.01, l2=0.1))
    penalty = sum(0.01 * w.abs().sum() + 0.1 * w.square().sum() for w in (kernels[0], kernels[2]))
    penalty = penalty + 0.5 * kernels[1].square().sum()
    assert regularizer.penalty().item() == pytest.approx(penalty.item(), rel=1e-6)
    wanted = torch.autograd.grad(penalty, kernels)
    kernels[0].grad = torch.ones_like(kernels[0])
    regularizer.add_gradients()
    torch.testing.assert_close(kernels[0].grad, wanted[0] + 1)
    torch.testing.assert_close(kernels[1].grad, wanted[1])
    assert [name for name, p in layers.named_parameters() if p.grad is not None] == ["0.weight", "3.weight", "4.weight"]


def test_what_is_frozen_is_left_out_until_it_is_unfrozen():
    layers = network().requires_grad_(False)
    regularizer = Regularizer(layers, choices(l2=0.1, max_norm=0.1))
    before = layers[4].weight.clone()
    regularizer.add_gradients()
    regularizer.constrain()
    assert regularizer.penalty().item() == 0
    assert layers[0].weight.grad is None
    assert torch.equal(layers[4].weight, before)
    layers[4].requires_grad_(True)
    assert regularizer.penalty().item() == pytest.approx(0.1 * before.square().sum().item(), rel=1e-6)


def test_max_norm_shortens_every_unit_that_is_too_long():
    layers = nn.Sequential(nn.Linear(2, 2), nn.Conv2d(1, 2, 2))
    with torch.no_grad():
        layers[0].weight.copy_(torch.tensor([[3.0, 4.0], [0.3, 0.4]]))
        layers[1].weight.copy_(torch.tensor([[1.0] * 4, [0.0] * 4]).view(2, 1, 2, 2))
    regularizer = Regularizer(layers, choices(max_norm=1.0))
    regularizer.constrain()
    torch.testing.assert_close(layers[0].weight.detach(), torch.tensor([[0.6, 0.8], [0.3, 0.4]]))
    torch.testing.assert_close(layers[1].weight.detach().flatten(1), torch.tensor([[0.5] * 4, [0.0] * 4]))


def test_nothing_chosen_changes_nothing():
    layers = network()[:3]
    regularizer = Regularizer(layers, choices())
    before = layers[0].weight.clone()
    regularizer.add_gradients()
    regularizer.constrain()
    assert regularizer.penalty().item() == 0
    assert layers[0].weight.grad is None
    assert torch.equal(layers[0].weight, before)


def test_slopes_and_tokens_are_not_kernels():
    module = nn.Module()
    module.alpha, module.cls_token = nn.Parameter(torch.ones(1, 1, 4)), nn.Parameter(torch.ones(1, 1, 4))
    assert Regularizer(module, choices(l2=1.0)).penalty() == 0


def test_a_shared_kernel_counts_once():
    one = nn.Linear(2, 2)
    other = nn.Linear(2, 2)
    other.weight = one.weight
    found = Regularizer(nn.Sequential(one, other), choices(l2=1.0)).penalty()
    assert found == pytest.approx(one.weight.square().sum().item(), rel=1e-6)
