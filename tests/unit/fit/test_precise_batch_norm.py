"""Running statistics of batch norms, estimated anew on training pictures."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from kilat.fit.distributed.group import ALONE  # noqa: E402
from kilat.fit.precise_batch_norm import are_settled, estimate_statistics, training_batch_norms  # noqa: E402
from kilat.fit.training_run import TrainingRun  # noqa: E402
from kilat.model.modules import BatchNorm  # noqa: E402
from kilat.model.summary import Counts  # noqa: E402

NORM = [{"conv": 4}, "batch_norm", "max_pool", "flatten", {"dropout": 0.5}, {"dense": 8}, "batch_norm",
        {"dense": "classes"}]  # fmt: skip


class OwnNetwork(nn.Module):
    """A user's own, with PyTorch's batch norms."""

    def __init__(self, momentum=0.1):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=momentum)
        self.head = nn.Linear(4, 3)

    def forward(self, planes):
        return self.head(self.norm(self.conv(planes)).relu().mean((2, 3)))


def statistics(network):
    return {name: value.clone() for name, value in network.state_dict().items() if "running" in name}


class TestEstimation:
    @pytest.mark.parametrize(
        ("norm", "correction"), [(BatchNorm(5, 1e-3, 0.99, trainable=True), 0), (nn.BatchNorm2d(5), 1)]
    )
    def test_mean_and_variance_are_those_of_all_values(self, norm, correction):
        """Of batches of different sizes and means, whose means lie far from zero, in which float32 loses squares."""
        values = torch.randn(40, 5, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 3000
        values[20:] += 5
        norm.eval()
        estimate_statistics([norm], norm, [part.float() for part in torch.split(values, (17, 3, 20))], ALONE)
        axes = [0, 2, 3]
        assert norm.running_mean.double() == pytest.approx(values.mean(axes), rel=1e-6)
        assert norm.running_var.double() == pytest.approx(values.var(axes, correction=correction), rel=1e-3)

    def test_deeper_layers_get_what_is_normalised_over_the_batch(self):
        first, second = (BatchNorm(2, 1e-3, 0.99, trainable=True) for _ in range(2))
        network = nn.Sequential(first, second).eval()
        batches = torch.randn(4, 32, 2, generator=torch.Generator().manual_seed(1)).unbind()
        estimate_statistics([first, second], network, [7 * batch - 4 for batch in batches], ALONE)
        assert second.running_mean == pytest.approx(torch.zeros(2), abs=1e-6)
        assert second.running_var == pytest.approx(torch.ones(2), abs=1e-2)

    def test_nothing_else_changes(self):
        norm = nn.BatchNorm1d(3).eval()
        norm(torch.zeros(2, 3))
        estimate_statistics([norm], norm, [torch.randn(8, 3)], ALONE)
        assert not norm.training
        assert norm.num_batches_tracked == 0
        assert not norm._forward_pre_hooks

    def test_one_that_the_network_does_not_use_keeps_its_own(self):
        used, unused = nn.BatchNorm1d(3).eval(), nn.BatchNorm1d(3).eval()
        estimate_statistics([used, unused], used, [torch.randn(8, 3)], ALONE)
        assert unused.running_var.tolist() == [1.0] * 3
        assert used.running_var.tolist() != [1.0] * 3

    def test_a_single_value_has_no_variance(self):
        norm = BatchNorm(2, 1e-3, 0.99, trainable=True).eval()
        estimate_statistics([norm], norm, [torch.tensor([[3.0, 5.0]])], ALONE)
        assert norm.running_mean.tolist() == [3.0, 5.0]
        assert norm.running_var.tolist() == [0.0, 0.0]


class TestWhen:
    @pytest.mark.parametrize(
        ("momentum", "updates", "settled"),
        [(0.99, 240, False), (0.99, 300, True), (0.9, 28, False), (0.9, 29, True), (0.0, 1, True), (0.0, 0, False),
         (1.0, 10**6, False)],
    )  # fmt: skip
    def test_statistics_are_settled_when_a_twentieth_is_older(self, momentum, updates, settled):
        assert are_settled([BatchNorm(2, 1e-3, momentum, trainable=True)], updates) == settled
        assert are_settled([nn.BatchNorm1d(2, momentum=1 - momentum)], updates) == settled

    def test_a_mean_since_the_beginning_is_never_settled(self):
        assert not are_settled([nn.BatchNorm1d(2, momentum=None)], 10**6)

    def test_without_batch_norms_there_is_nothing_to_settle(self):
        assert are_settled([], 0)

    def test_only_those_that_train_count(self):
        frozen = BatchNorm(2, 1e-3, 0.99, trainable=False)
        trained, instance, own = (
            nn.BatchNorm1d(2), nn.InstanceNorm2d(2, track_running_stats=True),
            nn.BatchNorm1d(2, track_running_stats=False),
        )  # fmt: skip
        assert training_batch_norms(nn.Sequential(frozen, trained, instance, own)) == [trained]


def finished(make_trainer, layers=NORM, *, fit=None, **choices):
    trainer = make_trainer(layers=layers, fit=fit or {}, **choices)
    trainer.run()
    return trainer


def assert_precise(trainer):
    """The statistics of a network's first batch norm are those of what it gets of all training pictures."""
    layers = trainer.network.network.layers
    (pixels,) = trainer.spec.pictures.batches([trainer.spec.train.rows])
    with torch.no_grad():
        values = layers[0]((pixels.permute(0, 3, 1, 2).float() - 90) / 60)
    axes = [0, 2, 3]
    assert layers[1].running_mean == pytest.approx(values.mean(axes), abs=1e-4)
    assert layers[1].running_var == pytest.approx(values.var(axes, correction=0), rel=1e-4)


class TestTraining:
    @pytest.mark.parametrize(
        "fit",
        [{}, {"ema": 0.9}, {"swa_epochs": 2, "keep": "last"}, {"keep": "last"}, {"precise_batch_norm": True},
         {"batch": 1, "epochs": 1}],
        ids=str,
    )  # fmt: skip
    def test_the_finished_network_has_the_statistics_of_its_own_weights(self, make_trainer, fit):
        assert_precise(finished(make_trainer, fit=fit))

    def test_as_keras_has_them_where_that_is_said(self, make_trainer):
        trainer = finished(make_trainer, fit={"precise_batch_norm": False, "epochs": 1})
        # Variances began with one, and three updates leave so much of that.
        assert trainer.network.network.layers[1].running_var.min() > 0.99**3

    def test_statistics_that_are_ready_stay(self, make_trainer):
        """With a momentum of 0.3 and three updates an epoch, a fortieth is older."""
        layers = [{"conv": 4}, {"batch_norm": {"momentum": 0.3}}, "flatten", {"dense": "classes"}]
        left, off, on = (
            statistics(finished(make_trainer, layers, fit={"precise_batch_norm": choice}, folder=str(choice)).network)
            for choice in ("auto", False, True)
        )
        for name, value in left.items():
            assert torch.equal(value, off[name])
            assert not torch.equal(value, on[name])

    def test_it_changes_no_update(self, make_trainer):
        off, on = (
            finished(make_trainer, fit={"precise_batch_norm": choice, "keep": "last"}, folder=str(choice))
            for choice in (False, True)
        )
        assert [row["loss"] for row in off.state.history] == [row["loss"] for row in on.state.history]
        assert off.state.history[0]["validation_loss"] != on.state.history[0]["validation_loss"]

    @pytest.mark.parametrize("fit", [{}, {"swa_epochs": 2}, {"ema": 0.9, "keep": "last"}], ids=str)
    def test_killed_at_any_step(self, make_trainer, require_exact, fit):
        def make(**choices):
            return make_trainer(layers=NORM, augment={"rotation": 10}, fit={"checkpoint": 0, **fit}, **choices)

        require_exact(make, (2, 5))

    @pytest.mark.parametrize("momentum", [0.1, None])
    def test_a_network_of_ones_own(self, make_trainer, momentum):
        trainer = finished(make_trainer, [], model={"module": "OwnNetwork"}, network=OwnNetwork(momentum))
        (pixels,) = trainer.spec.pictures.batches([trainer.spec.train.rows])
        own = trainer.network.network
        with torch.no_grad():
            values = own.conv((pixels.permute(0, 3, 1, 2).float() - 90) / 60)
        assert own.norm.running_var == pytest.approx(values.var([0, 2, 3]), rel=1e-4)
        assert own.norm.num_batches_tracked == 9  # updates

    def test_a_network_without_batch_norms(self, make_trainer):
        finished(make_trainer, [{"conv": 4}, {"group_norm": 2}, "flatten", {"dense": "classes"}])

    def test_a_batch_norm_that_is_not_trained_keeps_its_own(self, make_trainer):
        layers = [{"conv": 4}, {"batch_norm": {"trainable": False}}, "flatten", {"dense": "classes"}]
        norm = finished(make_trainer, layers).network.network.layers[1]
        assert norm.running_mean.tolist() == [0.0] * 4
        assert norm.running_var.tolist() == [1.0] * 4


class TestBackbones:
    def test_frozen_stages_keep_theirs_and_trained_ones_are_estimated(self, make_backbone_trainer):
        trainer = make_backbone_trainer(epochs=1, unfreeze=1)
        before = statistics(trainer.network)
        trainer.run()
        after = statistics(trainer.network)
        changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
        assert changed
        assert len(changed) < len(before)
        frozen = make_backbone_trainer(epochs=1, unfreeze="all", folder="frozen", batch_norm="frozen")
        before = statistics(frozen.network)
        frozen.run()
        assert all(torch.equal(value, before[name]) for name, value in statistics(frozen.network).items())

    def test_interpolated_weights_have_statistics_of_their_own(self, make_backbone_trainer):
        choices = {"epochs": 1, "unfreeze": "all", "batch_norm": "train", "weight_interpolation": 0.5}
        trainer = make_backbone_trainer(**choices)
        trainer.run()
        before = statistics(trainer.network)
        trainer.train_step.estimate_statistics()
        assert all(torch.equal(value, before[name]) for name, value in statistics(trainer.network).items())


class TestNotes:
    @pytest.mark.parametrize(("fit", "codes"), [({}, []), ({"precise_batch_norm": False}, ["batch_norm_unsettled"])])
    def test_statistics_that_are_not_ready_are_said_where_they_stay(self, make_trainer, tmp_path, fit, codes):
        trained = TrainingRun(make_trainer(layers=NORM, fit=fit).spec, Counts(0, 0, 0), []).train(tmp_path / "run")
        assert [note.code for note in trained.notes] == codes
        if codes:
            assert trained.notes[0].values["share"] == pytest.approx(0.99**9)

    def test_a_batch_norm_learns_in_a_few_updates(self, make_trainer):
        """With Keras's statistics these nine updates end at the guess."""
        layers = [{"conv": 8}, "batch_norm", {"activation": "relu"}, "global_avg_pool", {"dense": "classes"}]
        fit = {"optimizer": {"name": "adam", "learning_rate": 0.05}, "epochs": 6}
        precise = finished(make_trainer, layers, fit=fit, folder="precise").state.history[-1]
        assert precise["validation_accuracy"] >= precise["accuracy"] - 0.15
        assert np.isfinite(precise["validation_loss"])
