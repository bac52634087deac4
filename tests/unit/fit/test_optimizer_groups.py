"""Optimizers of parts of a network: each as torch's own under one schedule, and resumed exactly."""

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from torch import nn  # noqa: E402

from kilat.errors import RecipeError  # noqa: E402
from kilat.fit import optimizer_groups  # noqa: E402
from kilat.recipe import load  # noqa: E402

SHAPES = {
    "first": (4, 3, 2, 2), "bias": (4,), "slopes": (4, 2, 2), "hidden": (6, 4, 2, 2), "dense": (3, 6), "last": (2, 3),
}  # fmt: skip
GROUPS = {
    "first_kernel": {"name": "nesterov", "learning_rate": 0.02, "momentum": 0.8},
    "last_kernel": {"name": "adamw", "learning_rate": 0.003, "weight_decay": 0.1},
    "biases": {"name": "momentum", "learning_rate": 0.05, "momentum": 0.85},
}
RATE = 0.01
STEPS = 8


def fit_of(optimizer="sgd", **groups):
    model = {"layers": ["flatten", {"dense": "classes"}]}
    return load({"model": model, "fit": {"optimizer": optimizer, "optimizer_groups": groups}}).fit


def parameters():
    random = torch.Generator().manual_seed(0)
    return {name: nn.Parameter(torch.randn(shape, generator=random)) for name, shape in SHAPES.items()}


def give_gradients(given, step):
    random = torch.Generator().manual_seed(step)
    for name, shape in SHAPES.items():
        given[name].grad = torch.randn(shape, generator=random)


def advance(optimizer, steps):
    for step in steps:
        give_gradients(optimizer.parameters, step)
        optimizer.step(RATE * (1 - step / STEPS))


def test_parts_of_a_network():
    assert optimizer_groups.parts_of(parameters()) == {
        "first": "first_kernel", "bias": "biases", "slopes": "biases", "hidden": "hidden_kernels",
        "dense": "hidden_kernels", "last": "last_kernel",
    }  # fmt: skip


def test_each_part_is_stepped_as_by_torch():
    found, wanted = parameters(), parameters()
    advance(optimizer_groups.create(fit_of({"name": "sgd", "learning_rate": RATE}, **GROUPS), found), range(STEPS))
    # Keras has the rate inside the velocity: where it changes, torch's differs. So these are torch's at a rate of 1,
    # whose gradients are multiplied by the rate.
    nesterov = torch.optim.SGD([wanted["first"]], lr=1, momentum=0.8, nesterov=True)
    momentum = torch.optim.SGD([wanted["bias"], wanted["slopes"]], lr=1, momentum=0.85)
    sgd = torch.optim.SGD([wanted["hidden"], wanted["dense"]], lr=1)
    adam = torch.optim.AdamW([wanted["last"]], lr=1, weight_decay=0.1, eps=1e-7)
    for step in range(STEPS):
        give_gradients(wanted, step)
        factor = 1 - step / STEPS
        adam.param_groups[0]["lr"] = 0.003 * factor
        for optimizer, rate in ((nesterov, 0.02), (momentum, 0.05), (sgd, RATE)):
            for parameter in optimizer.param_groups[0]["params"]:
                parameter.grad *= rate * factor
            optimizer.step()
        adam.step()
    for name in SHAPES:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-4, atol=1e-5)


def test_without_groups_there_is_one_optimizer():
    found, wanted = parameters(), parameters()
    advance(optimizer_groups.create(fit_of("adam"), found), range(STEPS))
    same = dict.fromkeys(("hidden_kernels", "first_kernel", "last_kernel", "biases"), "adam")
    advance(optimizer_groups.create(fit_of("adam", **same), wanted), range(STEPS))
    assert all(torch.equal(found[name], wanted[name]) for name in SHAPES)


def test_muon_goes_by_where_a_kernel_is_in_the_whole_network():
    """Given to everything but the last kernel, it trains the first one by Adam, as without groups."""
    whole, given = parameters(), parameters()
    advance(optimizer_groups.create(fit_of("muon"), whole), range(STEPS))
    advance(optimizer_groups.create(fit_of("muon", last_kernel="sgd"), given), range(STEPS))
    assert [name for name in SHAPES if not torch.equal(whole[name], given[name])] == ["last"]


def test_muon_turns_whatever_kernel_it_is_given():
    given, start = parameters(), parameters()
    advance(optimizer_groups.create(fit_of("sgd", last_kernel="muon"), given), range(1))
    values = torch.linalg.svdvals((start["last"] - given["last"]).detach()) / 0.02
    assert 0.6 < values.min() <= values.max() < 1.3
    with pytest.raises(RecipeError, match="muon is for kernels"):
        fit_of(biases="muon")


@pytest.mark.parametrize("optimizer", ["muon", "nadam"])
def test_resuming_is_exact(optimizer):
    fit = fit_of(optimizer, **GROUPS)
    whole, given = parameters(), parameters()
    advance(optimizer_groups.create(fit, whole), range(STEPS))
    first = optimizer_groups.create(fit, given)
    advance(first, range(5))
    state = first.state()
    second = optimizer_groups.create(fit, given)
    second.restore(state)
    advance(second, range(5, STEPS))
    assert all(torch.equal(given[name], whole[name]) for name in SHAPES)


def test_rates_of_layers_count_in_every_part():
    """A parameter with the factor 0 stays where it is, whatever trains it."""
    given, start = parameters(), parameters()
    factors = {name: float(name not in ("first", "bias")) for name in SHAPES}
    advance(optimizer_groups.create(fit_of("muon", **GROUPS), given, factors), range(3))
    assert [name for name in SHAPES if torch.equal(given[name], start[name])] == ["first", "bias"]


def test_numbers_in_tensors_do_what_numbers_do():
    plain, static = parameters(), parameters()
    one, other = (optimizer_groups.create(fit_of("muon", **GROUPS), given) for given in (plain, static))
    for step in range(4):
        give_gradients(plain, step)
        give_gradients(static, step)
        one.step(RATE / (step + 1))
        other.apply(torch.tensor(other.prepare(RATE / (step + 1))).unbind())
    for name in SHAPES:
        torch.testing.assert_close(static[name], plain[name], rtol=1e-5, atol=1e-6)


def test_a_training_that_was_killed_ends_with_the_same_bytes(make_trainer, require_exact):
    """With all that a fast recipe consists of: whitening, Muon beside another optimizer, flips, growing pictures."""

    def make(**choices):
        layers = [{"whiten": 2}, {"activation": "gelu"}, {"conv": 6}, "batch_norm", {"conv": 6}, "global_avg_pool"]
        augment = {"crop": 1, "fill": "reflect", "horizontal_flip": True}
        fit = {
            "epochs": 3, "checkpoint": 0, "precision": "auto", "resolution": [0.75, 1.0], "schedule": "linear",
            "optimizer": "muon", "optimizer_groups": {"biases": "nesterov"},
        }  # fmt: skip
        model = {"max_norm": 1.0, "flip_average": "auto"}
        return make_trainer(layers=[*layers, {"dense": "classes"}], model=model, augment=augment, fit=fit, **choices)

    whole = require_exact(make, (4, 5))
    assert whole.state.history[-1]["loss"] < whole.state.history[0]["loss"]
