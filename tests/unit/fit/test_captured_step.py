"""Training steps that are recorded as a graph: here by a recorder of operators on the CPU, as it has no other."""

import logging

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from torch import nn  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

SIDE = 8
TIMINGS = ("seconds", "pictures_per_second")
WAITING = ("_local_scalar_dense", "nonzero", "is_nonzero", "masked_select", "lift_fresh", "equal")
"""Operators that make a GPU's caller wait, or that copy numbers of Python to it: no CUDA graph can hold them."""

LAYERS = [
    {"conv": {"filters": 4, "l2": 0.01, "activation": "relu"}}, "batch_norm", "max_pool", "flatten", {"dropout": 0.3},
    {"dense": "classes"},
]  # fmt: skip
MOVES = {"rotation": 10, "horizontal_flip": True, "brightness": [0.8, 1.2], "channel_shift": 0.1}
RECIPES = {
    "adam": {"augment": MOVES, "fit": {"ema": 0.9, "schedule": "one_cycle"}},
    "momentum": {
        "augment": {"crop": 2, "fill": "reflect", "cutout": 3, "horizontal_flip": True},
        "fit": {"optimizer": "nesterov", "clip": {"global_norm": 0.5}, "schedule": "cosine"},
    },
    "nadam": {"augment": {"cutmix": 1.0, "resized_crop": [0.5, 1]}, "fit": {"optimizer": "nadam"}},
    "muon": {
        "augment": {"mixup": 0.3, "erasing": 0.5, "shear": 5, "fill": "wrap"},
        "fit": {"optimizer": "muon", "clip": {"norm": 1}, "loss": {"name": "focal", "label_smoothing": 0.1}},
    },
    "rmsprop": {"fit": {"optimizer": {"name": "rmsprop", "momentum": 0.5, "weight_decay": 0.01}, "epochs": 6}},
    "resolution": {
        "fit": {"resolution": [0.75, 1.0], "clip": {"value": 0.1}, "class_weight": "balanced", "epochs": 6},
        "layers": [{"conv": {"filters": 4, "max_norm": 0.5}}, "global_avg_pool", {"dense": "classes"}],
    },
    "randaugment": {"augment": {"randaugment": {"operations": 1}, "horizontal_flip": True}},
    "either": {"augment": {"mixup": 0.2, "cutmix": 1.0}},
    "watch": {"fit": {"watch": "layers", "batch": 3}},
}  # fmt: skip
DIVERGING = {
    "fit": {"optimizer": {"name": "sgd", "learning_rate": 7}, "schedule": "constant"},
    "layers": ["flatten", {"dense": {"units": "classes", "l2": 0.5}}],
}  # by the penalty alone, weights become 6 times as large in every step


class Again:
    """Makes every step as it is, from the tensors that a graph would work on."""

    made = 0

    def run(self, work):
        return work()

    def record(self, work):
        type(self).made += 1
        self.work, self.result = work, torch.zeros(3)
        return self.result

    def replay(self):
        self.result.copy_(self.work())


class Recorded(Again):
    """Repeats the operators of one step on the memory of that step, as a CUDA graph does, and refuses what it would."""

    made = 0

    def record(self, work):
        type(self).made += 1
        with torch.random.fork_rng([]), Operators() as recorded:
            result = work()
        self.calls = recorded.calls
        recorded.undo()
        return result

    @torch.no_grad()
    def replay(self):
        for operator, args, kwargs, outputs in self.calls:
            for old, new in zip(tree_leaves(outputs), tree_leaves(operator(*args, **kwargs)), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class Operators(TorchDispatchMode):
    """Keeps every operator with its arguments and outputs, and what was in the memory that it wrote to."""

    def __init__(self):
        super().__init__()
        self.calls, self.before = [], []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        assert operator._schema.name.removeprefix("aten::") not in WAITING, operator
        for index, argument in enumerate(operator._schema.arguments):
            if argument.alias_info and argument.alias_info.is_write and index < len(args):
                tensors = [value for value in tree_leaves(args[index]) if isinstance(value, torch.Tensor)]
                self.before += [(value, value.clone()) for value in tensors]
        outputs = operator(*args, **kwargs)
        self.calls.append((operator, args, kwargs, outputs))
        return outputs

    @torch.no_grad()
    def undo(self):
        for tensor, value in reversed(self.before):
            tensor.copy_(value)


@pytest.fixture
def trained(make_trainer):
    def run(make_graph=None, *, interval=0.0, fit=None, layers=LAYERS, **choices):
        fit = {"batch": 5, "epochs": 3, **(fit or {})}
        trainer = make_trainer(fit=fit, layers=layers, make_graph=make_graph, **choices)
        trainer.results.interval = interval
        trainer.run()
        return trainer

    return run


def weights(trainer):
    return {name: value.clone() for name, value in trainer.network.state_dict().items()}


def history(trainer):
    return [{key: row[key] for key in row if key not in TIMINGS} for row in trainer.state.history]


def assert_same(one, other):
    assert history(one) == history(other)
    first, second = weights(one), weights(other)
    assert all(torch.equal(first[name], second[name]) for name in first)


def assert_close(one, other):
    """Numbers in tensors are rounded to float32."""
    first, second = weights(one), weights(other)
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=2e-3, atol=2e-5)
    for row, expected in zip(history(one), history(other), strict=True):
        assert row == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_is_recorded_repeats_the_step_and_not_its_numbers(trained, recipe):
    Recorded.made = 0
    recorded = trained(Recorded, folder="recorded", **RECIPES[recipe])
    again = trained(Again, folder="again", **RECIPES[recipe])
    assert Recorded.made == (2 if recipe == "resolution" else 1)  # one a size
    assert_same(recorded, again)
    assert_close(again, trained(folder="plain", **RECIPES[recipe]))


class TestReadingLater:
    def test_the_history_is_that_of_results_read_at_once(self, trained):
        seldom = trained(interval=1e9, folder="seldom", **RECIPES["adam"])
        assert_same(seldom, trained(folder="always", **RECIPES["adam"]))

    def test_the_running_loss_is_the_mean_of_all_losses(self, make_trainer, trained):
        choices = {"layers": LAYERS, **RECIPES["adam"]}
        fit = {"batch": 7, "epochs": 1, "optimizer": "sgd", "schedule": "constant"}
        losses = list(make_trainer(**{**choices, "fit": fit}, folder="each").losses_at([0.01] * 7))
        row = trained(interval=1e9, **{**choices, "fit": fit}).state.history[0]
        assert row["loss"] == pytest.approx((7 * sum(losses[:6]) + 3 * losses[6]) / 45, rel=1e-6)

    @pytest.mark.parametrize("interval", [0.0, 1e9])
    def test_a_loss_that_is_not_finite_sends_it_back(self, trained, interval):
        at_once = trained(folder="at-once", **DIVERGING)
        found = trained(Recorded, interval=interval, folder="found", **DIVERGING)
        assert at_once.state.rollbacks == found.state.rollbacks > 0
        assert found.state.notes == at_once.state.notes
        assert found.state.notes[0].code == "loss_not_finite"
        assert found.state.lr_scale == at_once.state.lr_scale
        # Updates after the one whose loss was not finite do not count, however many were made in vain.
        assert found.state.global_step == at_once.state.global_step


def test_a_training_that_was_killed_ends_as_one_that_was_not(make_trainer, trained):
    whole = trained(Recorded, folder="whole", interval=1e9, **RECIPES["adam"])
    choices = {**RECIPES["adam"], "fit": {**RECIPES["adam"]["fit"], "batch": 5, "epochs": 3, "checkpoint": 0}}
    remaining = iter(range(14))

    def advance(done, total, note=""):
        if next(remaining, None) is None:
            raise KeyboardInterrupt

    killed = make_trainer(layers=LAYERS, make_graph=Recorded, advance=advance, folder="killed", **choices)
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    assert killed.saver.checkpoints.newest()[0] == 14
    resumed = make_trainer(layers=LAYERS, make_graph=Recorded, folder="killed", **choices)
    resumed.run()
    assert_close(resumed, whole)


class TestWithoutAGraph:
    def reason(self, caplog):
        return [record.message for record in caplog.records if "CUDA graph" in record.message]

    @pytest.fixture(autouse=True)
    def debug(self, caplog):
        caplog.set_level(logging.DEBUG, "kilat")
        Recorded.made = 0

    def test_a_graph_that_fails_costs_nothing(self, trained, caplog):
        class Failing(Recorded):
            def record(self, work):
                super().record(work)
                raise torch.OutOfMemoryError("no room")

        failed = trained(Failing, folder="failed", **RECIPES["adam"])
        plain = trained(folder="plain", **RECIPES["adam"])
        assert_close(failed, plain)
        assert self.reason(caplog) == ["training steps are not recorded as a CUDA graph: no room"]

    def test_a_module_of_somebody_else(self, trained, caplog):
        class Doubling(nn.Module):
            def forward(self, planes):
                return 2 * planes

        network = nn.Sequential(nn.Flatten(), Doubling(), nn.Linear(3 * SIDE**2, 3))
        trained(Recorded, network=network)
        assert not Recorded.made
        assert len(self.reason(caplog)) == 1
        assert "Doubling" in self.reason(caplog)[0]

    def test_modules_of_pytorch_without_hooks(self, trained):
        def network():
            return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, 3))

        trained(Recorded, network=network())
        assert Recorded.made == 1
        watched = network()
        watched.register_forward_hook(lambda *_: None)
        trained(Recorded, network=watched, folder="watched")
        assert Recorded.made == 1

    def test_trainings_that_are_soon_over(self, trained):
        trained(Recorded, fit={"epochs": 1})
        assert not Recorded.made
