"""Weights averaged over the last epochs (stochastic weight averaging)."""

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from kilat.fit import training_run  # noqa: E402

LAYERS = ["batch_norm", "flatten", {"dense": "classes"}]
JUMPY = {"name": "adam", "learning_rate": 0.3}


def weights(training):
    return {name: value.clone() for name, value in training.network.state_dict().items()}


def validation_loss(training):
    return training.learner.validate()[0]


@pytest.fixture
def run(make_training):
    """Trains, and gives the training and its weights at the end of every epoch."""

    def run(layers=LAYERS, **fit):
        training, states = make_training(layers=layers, fit={"epochs": 4, **fit}), []
        training.on_epoch = lambda row: states.append(weights(training))
        training.run()
        return training, states

    return run


def assert_mean(training, states):
    for name, value in weights(training).items():
        wanted = torch.stack([state[name] for state in states]).mean(0)
        assert torch.allclose(value, wanted, atol=1e-6), name


class TestWhatIsAveraged:
    @pytest.mark.parametrize(("asked", "taken"), [(1, 1), (2, 2), (4, 4), (9, 4)])
    def test_the_last_epochs_with_their_running_statistics(self, run, asked, taken):
        training, states = run(swa_epochs=asked, keep="last")
        assert any("running_mean" in name for name in states[0])
        assert_mean(training, states[-taken:])
        assert training_run._facts(training)["averaged"] == taken

    def test_only_those_of_the_last_phase(self, run):
        training, states = run(epochs=None, phases=[{"epochs": 3}, {"epochs": 2}], swa_epochs=4, keep="last")
        assert_mean(training, states[-2:])
        assert training_run._facts(training)["averaged"] == 2

    def test_none_unless_it_is_asked_for(self, run):
        training, states = run(keep="last")
        assert_mean(training, states[-1:])
        assert training_run._facts(training)["averaged"] == 0

    def test_none_where_training_stops_before_and_that_is_said(self, make_training):
        fit = {"epochs": 50, "early_stopping": 1, "swa_epochs": 2, "optimizer": {"name": "adam", "learning_rate": 0.01}}
        training = make_training(layers=["flatten", {"dense": "classes"}], misled=True, fit=fit)
        training.run()
        assert training.place.stop_reason == "early stopping"
        assert training_run._facts(training)["averaged"] == 0
        assert "fit.swa_epochs" in training.place.notes[0]


class TestWhatIsKept:
    def test_the_average_where_it_is_better_than_the_best(self, run):
        training, states = run(swa_epochs=3, optimizer=JUMPY)
        best = min(row["validation_loss"] for row in training.place.history)
        assert_mean(training, states[-3:])
        assert validation_loss(training) < best
        assert training_run._facts(training)["averaged"] == 3

    def test_the_best_where_the_average_is_worse(self, run):
        """Of the first epochs of a slow training the last is better than any mean."""
        training, states = run(swa_epochs=4, optimizer={"name": "sgd", "learning_rate": 0.01})
        best = training.place.best
        assert validation_loss(training) == training.place.history[best]["validation_loss"]
        assert all(torch.equal(value, states[best][name]) for name, value in weights(training).items())
        assert training_run._facts(training)["averaged"] == 0

    def test_by_the_measure_that_is_monitored(self, run):
        """By accuracy, of which all have all; so nothing is better."""
        easy = {"optimizer": {"name": "adam", "learning_rate": 0.01}, "epochs": 14, "swa_epochs": 2}
        layers = [{"conv": 4}, "max_pool", "flatten", {"dense": "classes"}]
        training, _states = run(layers, **easy, early_stopping={"patience": 99, "monitor": "accuracy"})
        assert training.place.history[training.place.best]["validation_accuracy"] == 1
        assert training_run._facts(training)["averaged"] == 0


@pytest.mark.parametrize(("keep", "optimizer"), [("best", JUMPY), ("best", "adam"), ("last", "adam")])
def test_killed_at_any_step(make_training, require_exact, keep, optimizer):
    fit = {"epochs": 4, "swa_epochs": 3, "keep": keep, "checkpoint": 0, "optimizer": optimizer}
    require_exact(
        lambda **choices: make_training(layers=LAYERS, augment={"rotation": 10}, **choices), (4, 7, 11), fit=fit
    )


def test_what_has_ended_is_taken_up_as_it_was(make_training):
    fit = {"epochs": 4, "swa_epochs": 3, "optimizer": JUMPY}
    first, again = (make_training(layers=LAYERS, fit=fit) for _ in range(2))
    first.run()
    again.run()
    assert all(torch.equal(value, weights(first)[name]) for name, value in weights(again).items())
    assert training_run._facts(again)["averaged"] == training_run._facts(first)["averaged"] == 3


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_blended_weights_lie_between_those_it_began_with_and_those_it_would_have_kept(make_training, share):
    first = weights(make_training(layers=LAYERS))
    then, between = (make_training(layers=LAYERS, fit={"epochs": 2}) for _ in range(2))
    between.first, between.fit = (
        between.weights.copied(),
        between.fit.model_copy(update={"weight_interpolation": share}),
    )
    then.run()
    between.run()
    for name, value in weights(between).items():
        if value.is_floating_point():
            torch.testing.assert_close(value, torch.lerp(first[name], weights(then)[name], share), msg=name)
