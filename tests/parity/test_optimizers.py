"""Every optimizer against ``keras.optimizers`` over 20 steps of given gradients, rates that change, weight decay on."""

import math
import os

import numpy as np
import pytest

os.environ["KERAS_BACKEND"] = "torch"
torch = pytest.importorskip("torch", reason="the extra torch is not installed")
keras = pytest.importorskip("keras", reason="Keras is not installed")

from kilat.fit import clipping, optimizers  # noqa: E402
from kilat.recipe.fit import Clip  # noqa: E402
from kilat.recipe.optimizer import Optimizer  # noqa: E402

SHAPES = {"conv": (4, 3, 2, 2), "bias": (4,), "dense": (6, 5), "shift": (1,), "last": (3, 6)}
STEPS = 20
RATES = [0.02 * (1 + math.cos(step)) / 2 + 0.001 for step in range(STEPS)]

KERAS = {
    "sgd": keras.optimizers.SGD,
    "momentum": lambda **k: keras.optimizers.SGD(momentum=0.9, **k),
    "nesterov": lambda **k: keras.optimizers.SGD(momentum=0.9, nesterov=True, **k),
    "adagrad": keras.optimizers.Adagrad,
    "rmsprop": keras.optimizers.RMSprop,
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "nadam": keras.optimizers.Nadam,
    "adamax": keras.optimizers.Adamax,
    "lion": keras.optimizers.Lion,
}


def values(seed: int, scale: float = 1.0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {name: (scale * random.normal(size=shape)).astype(np.float32) for name, shape in SHAPES.items()}


def gradients(step: int) -> dict[str, np.ndarray]:
    return values(100 + step, scale=10.0 ** (step % 5 - 3))


def fitted(choices: Optimizer, rates: list[float], clip: Clip) -> dict[str, np.ndarray]:
    parameters = {name: torch.nn.Parameter(torch.from_numpy(value)) for name, value in values(0).items()}
    optimizer = optimizers.create(choices, parameters)
    for step, rate in enumerate(rates):
        for name, gradient in gradients(step).items():
            parameters[name].grad = torch.from_numpy(gradient)
        clipping.clip(parameters.values(), clip)
        optimizer.step(rate)
    return {name: parameter.detach().numpy() for name, parameter in parameters.items()}


def by_keras(optimizer, rates: list[float]) -> dict[str, np.ndarray]:
    variables = {name: keras.Variable(value, name=name) for name, value in values(0).items()}
    optimizer.build(list(variables.values()))
    for step, rate in enumerate(rates):
        optimizer.learning_rate = rate
        optimizer.apply([torch.from_numpy(g) for g in gradients(step).values()], list(variables.values()))
    return {name: variable.numpy() for name, variable in variables.items()}


def assert_same(found, wanted, tolerance=1e-6):
    start = values(0)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=tolerance, atol=tolerance, err_msg=name)
        assert np.abs(value - start[name]).max() > 20 * tolerance, "nothing moved"


@pytest.mark.parametrize("decay", [None, 0.1])
@pytest.mark.parametrize("rates", [[0.01] * STEPS, RATES], ids=["constant", "changing"])
@pytest.mark.parametrize("name", KERAS)
def test_updates(name, rates, decay):
    options = {} if decay is None else {"weight_decay": decay}
    wanted = by_keras(KERAS[name](learning_rate=0.01, **options), rates)
    found = fitted(Optimizer(name=name, weight_decay=decay), rates, Clip())
    assert_same(found, wanted)


@pytest.mark.parametrize(
    ("choices", "optimizer"),
    [
        ({"name": "rmsprop", "momentum": 0.8, "rho": 0.7}, lambda: keras.optimizers.RMSprop(rho=0.7, momentum=0.8)),
        (
            {"name": "adam", "beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.1},
            lambda: keras.optimizers.Adam(beta_1=0.5, beta_2=0.9, epsilon=0.1),
        ),
        (
            {"name": "nadam", "beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.1},
            lambda: keras.optimizers.Nadam(beta_1=0.5, beta_2=0.9, epsilon=0.1),
        ),
        (
            {"name": "adagrad", "initial_accumulator": 0.0, "epsilon": 0.01},
            lambda: keras.optimizers.Adagrad(initial_accumulator_value=0.0, epsilon=0.01),
        ),
        ({"name": "nesterov", "momentum": 0.3}, lambda: keras.optimizers.SGD(momentum=0.3, nesterov=True)),
        ({"name": "lion", "beta_1": 0.5, "beta_2": 0.7}, lambda: keras.optimizers.Lion(beta_1=0.5, beta_2=0.7)),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else "",
)
def test_settings_of_optimizers(choices, optimizer):
    assert_same(fitted(Optimizer(**choices), RATES, Clip()), by_keras(optimizer(), RATES))


@pytest.mark.parametrize(
    ("clip", "options"),
    [
        ({"value": 0.05}, {"clipvalue": 0.05}),
        ({"norm": 0.5}, {"clipnorm": 0.5}),
        ({"global_norm": 0.5}, {"global_clipnorm": 0.5}),
    ],
    ids=["value", "norm", "global norm"],
)
def test_clipping(clip, options):
    wanted = by_keras(keras.optimizers.SGD(**options), [0.1] * STEPS)
    assert_same(fitted(Optimizer(name="sgd"), [0.1] * STEPS, Clip(**clip)), wanted)


def test_rates_of_their_own():
    """As parameter groups of torch's AdamW, whose weight decay goes by each group's rate, too."""
    factors = {"conv": 0.25, "bias": 0.25, "dense": 0.5, "shift": 0.5, "last": 1.0}
    found, wanted = ({name: torch.nn.Parameter(torch.from_numpy(v)) for name, v in values(0).items()} for _ in "ab")
    optimizer = optimizers.create(Optimizer(name="adamw", weight_decay=0.1, epsilon=1e-30), found, factors)
    groups = [{"params": [wanted[name]], "factor": factor} for name, factor in factors.items()]
    theirs = torch.optim.AdamW(groups, weight_decay=0.1, eps=1e-30)
    for step, rate in enumerate(RATES):
        for name, gradient in gradients(step).items():
            found[name].grad, wanted[name].grad = torch.from_numpy(gradient), torch.from_numpy(gradient.copy())
        for group in theirs.param_groups:
            group["lr"] = rate * group["factor"]
        optimizer.step(rate)
        theirs.step()
    assert_same(*({name: weight.detach().numpy() for name, weight in some.items()} for some in (found, wanted)))


def test_muon():
    """Keras takes matrices only, scales by another rule (off here), and lets Adam's weights decay at Muon's rate."""
    ratio, decay = 0.05, 0.1
    optimizer = keras.optimizers.Muon(
        weight_decay=decay, adam_weight_decay=decay * ratio, adam_lr_ratio=ratio, rms_rate=None, exclude_layers=["last"]
    )
    wanted = by_keras(optimizer, RATES)
    choices = Optimizer(name="muon", adam_learning_rate=0.02 * ratio, weight_decay=decay)
    found = fitted(choices, RATES, Clip())
    rows, columns = SHAPES["dense"]
    decayed = values(0)["dense"] * np.prod([1 - decay * rate for rate in RATES])
    # Only the turned gradients are scaled; what decayed of the first weights is not.
    wanted["dense"] = decayed + math.sqrt(rows / columns) * (wanted["dense"] - decayed)
    assert_same({"dense": found["dense"]}, {"dense": wanted.pop("dense")}, 1e-4)
    assert_same(found, wanted)
