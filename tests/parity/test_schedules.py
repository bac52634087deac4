"""Schedules against ``keras.optimizers.schedules`` and PyTorch's ``OneCycleLR``; stopping against callbacks."""

import os
from types import SimpleNamespace

import numpy as np
import pytest

os.environ["KERAS_BACKEND"] = "torch"
torch = pytest.importorskip("torch", reason="the extra torch is not installed")
keras = pytest.importorskip("keras", reason="Keras is not installed")

from kilat.fit import schedules, stopping  # noqa: E402
from kilat.recipe.fit import (  # noqa: E402
    Cosine,
    EarlyStopping,
    Exponential,
    Linear,
    OneCycle,
    Performance,
    Piecewise,
    Power,
)

BASE, PER_EPOCH, TOTAL = 0.05, 7, 70
RANDOM_SEQUENCES = 300

decays = keras.optimizers.schedules


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [
        (Power(steps=20), decays.InverseTimeDecay(BASE, 20, 1.0)),
        (Exponential(epochs=3, factor=0.3), decays.ExponentialDecay(BASE, 21, 0.3)),
        (Exponential(steps=10, staircase=True), decays.ExponentialDecay(BASE, 10, 0.1, staircase=True)),
        (
            Piecewise(boundaries=(2, 5), factors=(1, 0.5, 0.1)),
            decays.PiecewiseConstantDecay([14, 35], [BASE, BASE / 2, BASE / 10]),
        ),
        (Cosine(), decays.CosineDecay(BASE, TOTAL)),
        (
            Cosine(warmup=2, end=0.2),
            decays.CosineDecay(0.0, TOTAL - 14, alpha=0.2, warmup_target=BASE, warmup_steps=14),
        ),
        (Linear(end=0.1), decays.PolynomialDecay(BASE, TOTAL, end_learning_rate=BASE / 10)),
    ],
    ids=["power", "exponential", "staircase", "piecewise", "cosine", "warm-up", "linear"],
)
def test_schedules(schedule, wanted):
    found = [schedules.rate(schedule, BASE, step, per_epoch=PER_EPOCH, total=TOTAL) for step in range(TOTAL + 5)]
    np.testing.assert_allclose(found, [float(wanted(step)) for step in range(TOTAL + 5)], rtol=2e-6, atol=1e-8)


@pytest.mark.parametrize("total", [1, 2, 3, 4, 50])
@pytest.mark.parametrize("schedule", [OneCycle(), OneCycle(rise=0.45, start=0.1, end=0.01)])
def test_one_cycle(schedule, total):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    wanted = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, BASE, total, pct_start=schedule.rise, div_factor=1 / schedule.start,
        final_div_factor=schedule.start / schedule.end,
    )  # fmt: skip
    for step in range(total):
        found = schedules.rate(schedule, BASE, step, per_epoch=5, total=total)
        assert found == pytest.approx(wanted.get_last_lr()[0], rel=1e-6)
        optimizer.step()
        if step < total - 1:
            wanted.step()


class Stub(SimpleNamespace):
    """As much of a model as the callbacks need."""

    def get_weights(self):
        return self.epoch

    def set_weights(self, weights):
        self.restored = weights


def stub() -> Stub:
    return Stub(optimizer=SimpleNamespace(learning_rate=BASE), stop_training=False, epoch=0, restored=None)


def sequence(random: np.random.Generator, monitor: str) -> list[float]:
    """Validation values that get better for a while, with noise, and sometimes on a coarse grid, so that some tie."""
    epochs = int(random.integers(1, 30))
    values = np.exp(-0.2 * np.arange(epochs)) + 0.3 * random.random(epochs)
    if random.random() < 0.4:
        values = values.round(1)
    if random.random() < 0.1:
        values[random.integers(epochs)] = np.nan
    return (values if monitor == "loss" else 1.5 - values).tolist()


def chosen(random: np.random.Generator) -> tuple[str, float, int]:
    return ["loss", "accuracy"][random.integers(2)], [0.0, 1e-4, 0.05, 0.1][random.integers(4)], int(random.integers(6))


def test_performance():
    random = np.random.default_rng(0)
    falls = 0
    for _ in range(RANDOM_SEQUENCES):
        monitor, min_delta, patience = chosen(random)
        cooldown, floor = int(random.integers(4)), [0.0, 0.004, 0.02][random.integers(3)]
        rule = Performance(
            factor=0.5, patience=patience, floor=floor, cooldown=cooldown, min_delta=min_delta, monitor=monitor
        )
        callback = keras.callbacks.ReduceLROnPlateau(
            "value", 0.5, patience, mode="min" if monitor == "loss" else "max", min_delta=min_delta, cooldown=cooldown,
            min_lr=floor,
        )  # fmt: skip
        model = stub()
        callback.set_model(model)
        callback.on_train_begin()
        values = sequence(random, monitor)
        for epoch, value in enumerate(values):
            callback.on_epoch_end(epoch, {"value": value})
            found = schedules.rate(rule, BASE, 7 * epoch, per_epoch=7, total=999, monitored=values[: epoch + 1])
            assert found == pytest.approx(model.optimizer.learning_rate, rel=1e-6), (rule, values[: epoch + 1])
        falls += model.optimizer.learning_rate < BASE
    assert falls > RANDOM_SEQUENCES / 3


def test_early_stopping():
    random = np.random.default_rng(1)
    stops = 0
    for _ in range(RANDOM_SEQUENCES):
        monitor, min_delta, patience = chosen(random)
        rule = EarlyStopping(patience=patience, min_delta=min_delta, monitor=monitor)
        callback = keras.callbacks.EarlyStopping(
            "value", min_delta, patience, mode="min" if monitor == "loss" else "max", restore_best_weights=True
        )
        model = stub()
        callback.set_model(model)
        callback.on_train_begin()
        values = sequence(random, monitor)
        for epoch, value in enumerate(values):
            model.epoch = epoch
            callback.on_epoch_end(epoch, {"value": value})
            so_far = values[: epoch + 1]
            assert stopping.should_stop(so_far, rule) == model.stop_training, (rule, so_far)
            assert stopping.best_epoch(so_far, monitor=monitor, min_delta=min_delta) == callback.best_epoch
            if model.stop_training:
                break
        callback.on_train_end()
        assert model.restored == stopping.best_epoch(so_far, monitor=monitor, min_delta=min_delta)
        stops += model.stop_training
    assert stops > RANDOM_SEQUENCES / 3
