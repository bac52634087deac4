"""Training in fp16: its scaled gradients, and where it is refused."""

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from torch import nn  # noqa: E402

from kilat.errors import RecipeError  # noqa: E402
from kilat.fit import optimizers  # noqa: E402
from kilat.fit.scaler import Scaler  # noqa: E402
from kilat.fit.training_run import training_metrics  # noqa: E402
from kilat.recipe.optimizer import Optimizer  # noqa: E402

FIRST_SCALE = 2.0**16


def start(dtype=torch.float16):
    """A weight, its optimizer (plain gradient descent) and its scaler."""
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    return weight, optimizers.create(Optimizer(name="sgd"), {"weight": weight}), Scaler("cpu", dtype)


def update(weight, optimizer, scaler, factor=1.0):
    """Make one step down ``factor × sum(w²)``; return the gradient before and after it was unscaled."""
    weight.grad = None
    torch.autograd.backward(scaler.scale(factor * (weight**2).sum()))
    scaled = weight.grad.clone()
    scaler.unscale(optimizer)
    found = weight.grad.clone()
    scaler.step(optimizer, 0.1)
    return scaled, found


def test_gradients_are_scaled_and_unscaled():
    weight, optimizer, scaler = start()
    scaled, found = update(weight, optimizer, scaler)
    assert scaled.tolist() == [2 * FIRST_SCALE, 4 * FIRST_SCALE]
    assert found.tolist() == [2.0, 4.0]
    assert weight.tolist() == pytest.approx([0.8, 1.6])
    assert scaler.state()["scale"] == FIRST_SCALE


def test_where_they_overflow_nothing_is_updated_and_the_scale_falls():
    weight, optimizer, scaler = start()
    update(weight, optimizer, scaler, factor=3e34)
    assert weight.tolist() == [1.0, 2.0]
    assert optimizer.steps == 0
    assert scaler.state()["scale"] == FIRST_SCALE / 2
    update(weight, optimizer, scaler)
    assert weight.tolist() == pytest.approx([0.8, 1.6])


def test_resuming_from_a_state_is_exact():
    whole, broken = start(), start()
    for parts in (whole, broken):
        update(*parts, factor=3e34)
        update(*parts)
    state = broken[2].state()
    fresh = Scaler("cpu", torch.float16)
    fresh.restore(state)
    assert fresh.state() == state == {"scale": torch.tensor(FIRST_SCALE / 2), "_growth_tracker": torch.tensor(1)}
    again = (broken[0], broken[1], fresh)
    for _ in range(3):
        assert all(torch.equal(a, b) for a, b in zip(update(*whole), update(*again), strict=True))
    assert fresh.state() == whole[2].state()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_precisions_need_none(dtype):
    weight, optimizer, scaler = start(dtype)
    scaled, found = update(weight, optimizer, scaler)
    assert scaled.tolist() == found.tolist() == [2.0, 4.0]
    assert weight.tolist() == pytest.approx([0.8, 1.6])
    assert scaler.state() == {}
    scaler.restore({})


def test_a_cpu_is_refused(make_trainer):
    with pytest.raises(RecipeError, match=r"fit\.precision: fp16 is for GPUs") as refused:
        make_trainer(fit={"precision": "fp16"})
    assert "bf16" in refused.value.hint


@pytest.mark.gpu
def test_a_gpu_trains_in_it(make_trainer):
    fit = {"precision": "fp16", "epochs": 12, "optimizer": {"name": "adam", "learning_rate": 0.01}, "checkpoint": 0}
    trainer = make_trainer(fit=fit, device="cuda")
    trainer.run()
    assert training_metrics(trainer)["precision"] == "fp16"
    assert trainer.state.history[-1]["loss"] < 0.5 * trainer.state.history[0]["loss"]
    assert trainer.saver.checkpoints.newest()[1].tensors["scaler/scale"] > 0
