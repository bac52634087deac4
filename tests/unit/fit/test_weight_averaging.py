"""Weights averaged over the last epochs (stochastic weight averaging)."""

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from kilat.fit.training_run import training_metrics  # noqa: E402

LAYERS = ["batch_norm", "flatten", {"dense": "classes"}]
JUMPY = {"name": "adam", "learning_rate": 0.3}


def weights(trainer):
    return {name: value.clone() for name, value in trainer.network.state_dict().items()}


def validation_loss(trainer):
    return trainer.train_step.validate()[0]


@pytest.fixture
def run(make_trainer):
    """Trains, and returns the trainer and its weights at the end of every epoch."""

    def run(layers=LAYERS, **fit):
        trainer, states = make_trainer(layers=layers, fit={"epochs": 4, **fit}), []
        trainer.on_epoch = lambda row: states.append(weights(trainer))
        trainer.run()
        return trainer, states

    return run


def assert_mean(trainer, states):
    for name, value in weights(trainer).items():
        wanted = torch.stack([state[name] for state in states]).mean(0)
        assert torch.allclose(value, wanted, atol=1e-6), name


class TestWhatIsAveraged:
    @pytest.mark.parametrize(("swa_epochs", "averaged"), [(1, 1), (2, 2), (4, 4), (9, 4)])
    def test_the_last_epochs_with_their_running_statistics(self, run, swa_epochs, averaged):
        trainer, states = run(swa_epochs=swa_epochs, keep="last")
        assert any("running_mean" in name for name in states[0])
        assert_mean(trainer, states[-averaged:])
        assert training_metrics(trainer)["averaged"] == averaged

    def test_only_those_of_the_last_phase(self, run):
        trainer, states = run(epochs=None, phases=[{"epochs": 3}, {"epochs": 2}], swa_epochs=4, keep="last")
        assert_mean(trainer, states[-2:])
        assert training_metrics(trainer)["averaged"] == 2

    def test_none_by_default(self, run):
        trainer, states = run(keep="last")
        assert_mean(trainer, states[-1:])
        assert training_metrics(trainer)["averaged"] == 0

    def test_none_where_training_stops_before_with_a_note(self, make_trainer):
        fit = {"epochs": 50, "early_stopping": 1, "swa_epochs": 2, "optimizer": {"name": "adam", "learning_rate": 0.01}}
        trainer = make_trainer(layers=["flatten", {"dense": "classes"}], wrong_validation=True, fit=fit)
        trainer.run()
        assert trainer.state.stop_reason == "early_stopping"
        assert training_metrics(trainer)["averaged"] == 0
        assert [note.code for note in trainer.state.notes] == ["stopped_before_averaging"]


class TestWhatIsKept:
    def test_the_average_where_it_is_better_than_the_best(self, run):
        trainer, states = run(swa_epochs=3, optimizer=JUMPY)
        best = min(row["validation_loss"] for row in trainer.state.history)
        assert_mean(trainer, states[-3:])
        assert validation_loss(trainer) < best
        assert training_metrics(trainer)["averaged"] == 3

    def test_the_best_where_the_average_is_worse(self, run):
        """In a slow training the last epoch is better than any mean."""
        trainer, states = run(swa_epochs=4, optimizer={"name": "sgd", "learning_rate": 0.01})
        best = trainer.state.best_epoch
        assert validation_loss(trainer) == trainer.state.history[best]["validation_loss"]
        assert all(torch.equal(value, states[best][name]) for name, value in weights(trainer).items())
        assert training_metrics(trainer)["averaged"] == 0

    def test_by_the_measure_that_is_monitored(self, run):
        """By accuracy, which is 1 in all epochs; so nothing is better."""
        easy = {"optimizer": {"name": "adam", "learning_rate": 0.01}, "epochs": 14, "swa_epochs": 2}
        layers = [{"conv": 4}, "max_pool", "flatten", {"dense": "classes"}]
        trainer, _states = run(layers, **easy, early_stopping={"patience": 99, "monitor": "accuracy"})
        assert trainer.state.history[trainer.state.best_epoch]["validation_accuracy"] == 1
        assert training_metrics(trainer)["averaged"] == 0


@pytest.mark.parametrize(("keep", "optimizer"), [("best", JUMPY), ("best", "adam"), ("last", "adam")])
def test_killed_at_any_step(make_trainer, require_exact, keep, optimizer):
    fit = {"epochs": 4, "swa_epochs": 3, "keep": keep, "checkpoint": 0, "optimizer": optimizer}
    require_exact(
        lambda **choices: make_trainer(layers=LAYERS, augment={"rotation": 10}, **choices), (4, 7, 11), fit=fit
    )


def test_a_finished_one_is_resumed_as_it_was(make_trainer):
    fit = {"epochs": 4, "swa_epochs": 3, "optimizer": JUMPY}
    first, again = (make_trainer(layers=LAYERS, fit=fit) for _ in range(2))
    first.run()
    again.run()
    assert all(torch.equal(value, weights(first)[name]) for name, value in weights(again).items())
    assert training_metrics(again)["averaged"] == training_metrics(first)["averaged"] == 3


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_interpolated_weights_are_between_the_initial_ones_and_those_that_would_be_kept(make_trainer, share):
    first = weights(make_trainer(layers=LAYERS))
    then, between = (make_trainer(layers=LAYERS, fit={"epochs": 2}) for _ in range(2))
    between.selection.initial = between.weights.copy_all()
    between.selection.fit = between.fit.model_copy(update={"weight_interpolation": share})
    then.run()
    between.run()
    for name, value in weights(between).items():
        if value.is_floating_point():
            torch.testing.assert_close(value, torch.lerp(first[name], weights(then)[name], share), msg=name)
