"""Layers watched in training: nothing that is trained changes, and the numbers are those of PyTorch's own hooks."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from torch import nn  # noqa: E402

from kilat.fit.layer_notes import layer_notes  # noqa: E402
from kilat.fit.layer_watch import watched_updates  # noqa: E402

SIDE = 8
EVERYTHING = [
    {"conv": {"filters": 4, "normalisation": "batch_norm"}},
    {"residual": {"layers": [{"conv": {"filters": 4, "padding": "same", "activation": "tanh"}}]}},
    {"dropout": 0.3},
    "flatten",
    {"dense": "classes"},
]
WATCH = {"watch": "layers"}


def kept(trainer):
    return {name: value.numpy().tobytes() for name, value in trainer.network.state_dict().items()}


def last_epoch(trainer):
    rows = trainer.state.layers
    return {row["layer"]: row for row in rows if row["epoch"] == rows[-1]["epoch"]}


class TestNothingElseChanges:
    @pytest.mark.parametrize(
        "fit",
        [
            {"ema": 0.9, "optimizer": "adam", "clip": {"global_norm": 0.5}},
            {"precision": "bf16"},
            {"optimizer": "muon", "batch": 7, "resolution": [0.75, 1.0], "epochs": 2},
        ],
        ids=["averages", "bf16", "muon"],
    )
    def test_weights_are_the_same_to_the_byte(self, make_trainer, fit):
        layers = [*EVERYTHING[:3], "global_avg_pool", EVERYTHING[-1]]
        choices = {"layers": layers, "model": {"activation": "relu", "l2": 0.01}, "augment": {"rotation": 10}}
        trainers = [make_trainer(fit={**fit, **more}, folder=str(len(more)), **choices) for more in ({}, WATCH)]
        for trainer in trainers:
            trainer.run()
        plain, watched = trainers
        assert kept(plain) == kept(watched)
        assert not plain.state.layers
        assert len(watched.state.layers) == len(watched.state.history) * len(last_epoch(watched))

    def test_a_training_that_was_killed_ends_as_one_that_was_not(self, make_trainer, require_exact):
        fit = {"checkpoint": 0, "epochs": 2, "batch": 9, **WATCH}
        whole = require_exact(make_trainer, (4,), layers=EVERYTHING, model={"activation": "relu"}, fit=fit)
        assert len(whole.state.layers) == 2 * 5


class TestGradients:
    @pytest.fixture(scope="class")
    def dense(self):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, 6), nn.Tanh(), nn.Linear(6, 3))

    def test_are_those_of_the_loss_and_updates_what_they_change(self, make_trainer, dense):
        """In a single update of stochastic gradient descent, whatever is added to the gradient or cut off it."""
        fit = {"batch": 100, "epochs": 1, "optimizer": {"name": "sgd", "learning_rate": 0.1}, **WATCH}
        trainer = make_trainer(network=dense, fit=fit | {"clip": {"global_norm": 0.01}}, model={"l2": 0.5})
        first = {name: value.clone() for name, value in dense.named_parameters()}
        pixels = next(trainer.spec.pictures.batches([trainer.spec.train.rows])).permute(0, 3, 1, 2).float()
        truth = torch.from_numpy(trainer.spec.train.truth)
        loss = nn.functional.cross_entropy(trainer.network.logits(pixels), truth)
        gradients = dict(zip(first, torch.autograd.grad(loss, list(dense.parameters())), strict=True))
        trainer.run()
        after = dict(dense.named_parameters())
        for layer, row in last_epoch(trainer).items():
            own = [name for name in first if name.startswith(f"{layer}.")]
            norms = [
                float(torch.cat([values[name].detach().double().flatten() for name in own]).norm())
                for values in (gradients, first, {name: after[name] - first[name] for name in own})
            ] if own else [np.nan] * 3  # fmt: skip
            if not own:
                assert row["gradient_norm"] is None
                continue
            assert row["gradient_norm"] == pytest.approx(norms[0], rel=1e-4)
            assert row["weight_norm"] == pytest.approx(norms[1], rel=1e-4)
            assert row["relative_gradient"] == pytest.approx(norms[0] / norms[1], rel=1e-4)
            assert row["relative_update"] == pytest.approx(norms[2] / norms[1], rel=1e-3)
        assert list(last_epoch(trainer)) == ["1", "2", "3"]

    def test_of_updates_spread_over_the_epoch(self):
        assert watched_updates(3) == {0, 1, 2}
        assert watched_updates(1000) == {0, 143, 285, 428, 571, 714, 856, 999}

    def test_of_a_backbone_that_is_unfrozen_from_the_top(self, make_backbone_trainer):
        trainer = make_backbone_trainer(epochs=1, unfreeze=1, watch="layers")
        trainer.run()
        rows = last_epoch(trainer)
        trained = [name for name, row in rows.items() if row["gradient_norm"] is not None]
        assert trained[-1] == "dense"
        assert trained[0].startswith("backbone.")
        assert next(iter(rows)) == trained[0], "nothing changes below the first layer that is trained"
        silent = [
            {**row, "relative_gradient": 0.0, "dead_share": 1.0} for row in rows.values() if row["layer"] != "dense"
        ]
        assert trainer.train_step.watch.notes([*silent, rows["dense"]]) == [], "of somebody else's network"


class TestActivations:
    def test_are_those_of_hooks(self, make_trainer):
        trainer = make_trainer(layers=EVERYTHING, model={"activation": "relu"}, fit=WATCH)
        trainer.run()
        layers = trainer.network.network.layers
        modules = {module.label: module for module in layers.modules() if getattr(module, "label", "")}
        outputs = {}
        for label, module in modules.items():
            module.register_forward_hook(lambda _m, _i, output, label=label: outputs.update({label: output}))
        with torch.inference_mode():
            trainer.network(next(trainer.spec.pictures.batches([trainer.spec.validation.rows])))
        rows = last_epoch(trainer)
        assert list(rows) == ["conv", "batch_norm", "activation", "conv_1", "dense"]
        for label, row in rows.items():
            values = outputs[label].double()
            is_zero = values == 0
            assert row["activation_mean"] == pytest.approx(float(values.mean()), rel=1e-4, abs=1e-6)
            assert row["activation_std"] == pytest.approx(float(values.std(correction=0)), rel=1e-4)
            assert row["zero_share"] == pytest.approx(float(is_zero.double().mean()))
            dead = is_zero.transpose(0, 1).flatten(1).all(1)
            assert row["dead_share"] == pytest.approx(float(dead.double().mean()))
            flat = float((values.abs() > 0.99).double().mean()) if label == "conv_1" else None
            assert row["saturated_share"] == (flat if flat is None else pytest.approx(flat))

    def test_dead_and_saturated_units_are_found(self, make_trainer):
        """Of eight ReLUs five have a bias that nothing overcomes; of as many tanh all are far out."""
        relu, tanh = nn.Linear(3 * SIDE**2, 8), nn.Linear(8, 8)
        for layer, bias in ((relu, torch.tensor([-1e6] * 5 + [1.0] * 3)), (tanh, torch.full((8,), 50.0))):
            nn.init.constant_(layer.weight, 1e-3)
            layer.bias.data = bias
        network = nn.Sequential(nn.Flatten(), relu, nn.ReLU(), tanh, nn.Tanh(), nn.Linear(8, 3))
        trainer = make_trainer(network=network, fit=WATCH | {"epochs": 1}, count=80, held_out=20)
        trainer.run()
        rows = last_epoch(trainer)
        assert rows["2"]["dead_share"] == 5 / 8
        assert rows["4"]["saturated_share"] == 1.0
        assert rows["2"]["saturated_share"] is None
        notes = {note.code: note for note in layer_notes(trainer.state.layers, 20)}
        assert notes["units_dead"].values["layer"] == "2"
        assert notes["units_saturated"].values["layer"] == "4"
        assert all(note.sentence() for note in notes.values())


class TestNotes:
    """What a chain of ten layers is said to suffer from follows from its activation and its first weights."""

    @pytest.fixture
    def codes(self, make_trainer):
        def train(scale=None, rate=1e-3, **model):
            chain = {"repeat": {"times": 9, "layers": [{"dense": 16}]}}
            if model.pop("residual", False):
                chain["repeat"]["layers"] = [{"residual": {"layers": [{"dense": 16}]}}]
            layers = ["flatten", {"dense": 16}, chain, {"dense": "classes"}]
            optimizer = {"name": "sgd", "learning_rate": rate}
            trainer = make_trainer(layers=layers, model=model, fit=WATCH | {"optimizer": optimizer, "epochs": 2})
            if scale:
                for module in trainer.network.modules():
                    if isinstance(module, nn.Linear):
                        module.weight.data *= scale
            trainer.run()
            return {note.code for note in layer_notes(trainer.state.layers, 15)}

        return train

    def test_sigmoids_vanish(self, codes):
        """Each passes at most a quarter of a gradient on."""
        assert codes(activation="sigmoid") == {"gradients_vanish"}

    def test_small_weights_vanish_too(self, codes):
        assert codes(activation="tanh", scale=0.3) == {"gradients_vanish"}

    @pytest.mark.parametrize("model", [
        {"activation": "relu", "init": "he_normal"}, {"activation": "tanh"},
        {"activation": "sigmoid", "normalisation": "batch_norm"},
        {"activation": "tanh", "scale": 0.3, "residual": True},
    ], ids=lambda model: "-".join(map(str, model.values())))  # fmt: skip
    def test_nothing_is_wrong_with_others(self, codes, model):
        assert codes(**model) == set()

    def test_large_weights_explode(self, codes):
        assert "gradients_explode" in codes(activation="relu", init="he_normal", scale=4.0, rate=1e-12)

    def test_a_layer_that_is_zero_lets_nothing_through(self, make_trainer):
        blocked = nn.Linear(6, 6)
        nn.init.constant_(blocked.bias, -1e3)
        network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, 6), blocked, nn.ReLU(), nn.Linear(6, 3))
        trainer = make_trainer(network=network, fit=WATCH | {"epochs": 1})
        trainer.run()
        (note,) = layer_notes(trainer.state.layers, 15)
        assert note.code == "gradients_absent"
        assert note.values == {"first": "1", "last": "4"}

    def test_an_update_larger_than_the_weights(self, make_trainer):
        fit = WATCH | {"epochs": 1, "optimizer": {"name": "sgd", "learning_rate": 50.0}}
        trainer = make_trainer(layers=["flatten", {"dense": "classes"}], fit=fit)
        trainer.run()
        assert "updates_too_large" in {note.code for note in layer_notes(trainer.state.layers, 15)}
