"""Optimizers: resuming exactly, memory layouts, frozen parameters, rates of their own."""

import math

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from torch import nn  # noqa: E402

from kilat.fit import optimizers  # noqa: E402
from kilat.recipe.optimizer import OPTIMIZERS, Optimizer  # noqa: E402

SHAPES = {"first": (4, 3, 2, 2), "bias": (4,), "hidden": (6, 4, 2, 2), "dense": (3, 6), "last": (2, 3)}


def parameters() -> dict[str, nn.Parameter]:
    random = torch.Generator().manual_seed(0)
    return {name: nn.Parameter(torch.randn(shape, generator=random)) for name, shape in SHAPES.items()}


def advance(optimizer: optimizers.Optimizer, steps: range, factor: float = 1.0) -> None:
    for step in steps:
        random = torch.Generator().manual_seed(step)
        for parameter in optimizer.parameters.values():
            parameter.grad = torch.randn(parameter.shape, generator=random)
        optimizer.step(factor * (0.01 / (step + 1)))


def assert_equal(some: dict[str, nn.Parameter], others: dict[str, nn.Parameter]) -> None:
    assert all(torch.equal(some[name], others[name]) for name in SHAPES)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_resuming_from_a_state_is_exact(name):
    whole, interrupted = parameters(), parameters()
    advance(optimizers.create(Optimizer(name=name), whole), range(8))
    first = optimizers.create(Optimizer(name=name), interrupted)
    advance(first, range(5))
    state = first.state()
    weights = {key: value.detach().clone() for key, value in interrupted.items()}
    advance(first, range(5, 7))  # what was saved does not change with it
    second = optimizers.create(Optimizer(name=name), {key: nn.Parameter(value) for key, value in weights.items()})
    second.restore(state)
    advance(second, range(5, 8))
    assert_equal(second.parameters, whole)
    assert state["steps"].dtype == torch.int64
    assert state["steps"].item() == 5
    assert {key.partition("/")[2] for key in state} <= {"", *SHAPES}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_numbers_in_tensors_do_what_numbers_do(name, decay):
    choices, factors = Optimizer(name=name, weight_decay=decay), {key: 0.5 if key == "bias" else 1.0 for key in SHAPES}
    plain, static = parameters(), parameters()
    one, other = (optimizers.create(choices, given, factors) for given in (plain, static))
    numbers = None
    for step in range(4):
        for key, shape in SHAPES.items():
            plain[key].grad = static[key].grad = torch.randn(shape, generator=torch.Generator().manual_seed(step))
        one.step(0.01 / (step + 1))
        prepared = torch.tensor(other.prepare(0.01 / (step + 1)))
        numbers = prepared if numbers is None else numbers.copy_(prepared)  # the same memory for every update
        other.apply(numbers.unbind())
    for key in SHAPES:
        torch.testing.assert_close(static[key], plain[key], rtol=1e-5, atol=1e-6)
    assert one.steps == other.steps == 4


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weights_in_any_layout_become_the_same(name):
    plain, last = parameters(), parameters()
    one, other = optimizers.create(Optimizer(name=name), plain), optimizers.create(Optimizer(name=name), last)
    advance(one, range(2))
    advance(other, range(2))
    for parameter in last.values():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    advance(one, range(2, 4))
    advance(other, range(2, 4))
    for key in SHAPES:
        torch.testing.assert_close(last[key], plain[key], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "adam", "muon"])
def test_a_slice_of_a_tensor_is_updated_and_nothing_else(name):
    whole = torch.arange(12.0).view(3, 4)
    sliced, plain = nn.Parameter(whole[:, :2]), nn.Parameter(whole[:, :2].clone())
    for parameter in (sliced, plain):
        parameter.grad = torch.ones(3, 2)
        optimizers.create(Optimizer(name=name), {"slice": parameter}).step(0.1)
    assert torch.equal(sliced, plain)
    assert torch.equal(whole[:, 2:], torch.arange(12.0).view(3, 4)[:, 2:])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_has_no_gradient_stays_and_takes_no_memory(name):
    given = parameters()
    optimizer = optimizers.create(Optimizer(name=name, weight_decay=0.1), given)
    optimizer.step(0.1)
    assert optimizer.state() == {"steps": torch.tensor(0)}
    given["dense"].grad = torch.ones(3, 6)
    optimizer.step(0.1)
    changed = [key for key, first in parameters().items() if not torch.equal(given[key], first)]
    assert changed == ["dense"]
    assert {key.partition("/")[2] for key in optimizer.state()} <= {"", "dense"}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_finds_the_bottom_of_a_bowl(name):
    weight = nn.Parameter(torch.tensor([1.0, -0.5]))
    optimizer = optimizers.create(Optimizer(name=name), {"weight": weight})
    for step in range(200):
        weight.grad = 2 * weight.detach()
        optimizer.step((1.0 if name in ("adagrad", "muon") else 0.1) * (1 - step / 200))
    assert weight.abs().max() < 0.03


def test_decay_of_kernels_alone():
    given, start = parameters(), parameters()
    optimizer = optimizers.create(Optimizer(name="sgd", weight_decay=0.5, decay="kernels"), given)
    for parameter in given.values():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(0.1)
    for name, parameter in given.items():
        assert torch.equal(parameter, start[name] if name == "bias" else start[name] * 0.95)


def test_muon_makes_orthogonal_steps_in_hidden_kernels():
    given, start = parameters(), parameters()
    optimizer = optimizers.create(Optimizer(name="muon"), given)
    advance(optimizer, range(1))
    for name in ("hidden", "dense"):
        step = (start[name] - given[name]).detach().flatten(1)
        values = torch.linalg.svdvals(step) / 0.01 / max(1, step.shape[0] / step.shape[1]) ** 0.5
        assert 0.6 < values.min() <= values.max() < 1.3
    adam = Optimizer().value("epsilon")
    for name in ("first", "bias", "last"):  # Adam's first step is the sign of the gradient, times its rate
        expected = 0.0005 * torch.sign(given[name].grad) / (1 + adam)
        torch.testing.assert_close(start[name] - given[name], expected, rtol=1e-2, atol=1e-6)


def test_muon_scales_tall_kernels():
    given = {name: nn.Parameter(torch.zeros(shape)) for name, shape in (("a", (2, 2)), ("b", (8, 2)), ("c", (2, 8)))}
    given["b"].grad = torch.eye(8)[:, :2].clone()
    optimizers.create(Optimizer(name="muon"), given).step(1.0)
    size = given["b"].detach().norm().item()
    assert math.sqrt(2) * 2 * 0.6 < size < math.sqrt(2) * 2 * 1.3  # two singular values near sqrt(8 / 2)


def test_a_state_of_another_network_is_not_taken():
    optimizer = optimizers.create(Optimizer(name="adam"), parameters())
    with pytest.raises(AssertionError, match="mean/bias"):
        optimizer.restore({"mean/bias": torch.zeros(5), "steps": torch.tensor(1)})


@pytest.mark.gpu
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_gpu_makes_the_same_steps(name):
    here, there = parameters(), {key: nn.Parameter(value.detach().cuda()) for key, value in parameters().items()}
    one, other = optimizers.create(Optimizer(name=name), here), optimizers.create(Optimizer(name=name), there)
    advance(one, range(3))
    other.restore(one.state())  # resumed on the other device
    for key, parameter in there.items():
        parameter.data.copy_(here[key])
    for step in range(3, 6):
        random = torch.Generator().manual_seed(step)
        for key, parameter in here.items():
            parameter.grad = torch.randn(parameter.shape, generator=random)
            there[key].grad = parameter.grad.cuda()
        one.step(0.01)
        other.step(0.01)
    for key in SHAPES:
        torch.testing.assert_close(there[key].cpu(), here[key], rtol=1e-4, atol=1e-5)


class TestRatesOfTheirOwn:
    FACTORS = {"first": 0.25, "bias": 0.25, "hidden": 0.5, "dense": 0.5, "last": 1.0}  # noqa: RUF012

    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_each_is_stepped_as_if_all_had_its_rate(self, name):
        choices = Optimizer(name=name, weight_decay=0.1)
        given = parameters()
        advance(optimizers.create(choices, given, self.FACTORS), range(6))
        for factor in {*self.FACTORS.values()}:
            alike = parameters()
            advance(optimizers.create(choices, alike), range(6), factor)
            for key in (key for key, own in self.FACTORS.items() if own == factor):
                assert torch.equal(given[key], alike[key]), key

    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_one_for_all_changes_nothing(self, name):
        given, plain = parameters(), parameters()
        advance(optimizers.create(Optimizer(name=name), given, dict.fromkeys(SHAPES, 1.0)), range(4))
        advance(optimizers.create(Optimizer(name=name), plain), range(4))
        assert_equal(given, plain)

    @pytest.mark.parametrize("name", ["nadam", "adam", "muon"])
    def test_resuming_is_exact(self, name):
        whole, given = parameters(), parameters()
        advance(optimizers.create(Optimizer(name=name), whole, self.FACTORS), range(6))
        first = optimizers.create(Optimizer(name=name), given, self.FACTORS)
        advance(first, range(3))
        second = optimizers.create(Optimizer(name=name), given, self.FACTORS)
        second.restore(first.state())
        advance(second, range(3, 6))
        assert_equal(given, whole)
