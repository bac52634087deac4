import os
import shutil
import signal
import time

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from kilat.errors import RunError  # noqa: E402
from kilat.fit.loop import ROLLBACKS  # noqa: E402
from kilat.fit.signals import Stopped  # noqa: E402

EVERYTHING = {
    "layers": [{"conv": 4}, "batch_norm", "max_pool", "flatten", {"dropout": 0.3}, {"dense": "classes"}],
    "augment": {"rotation": 10, "horizontal_flip": True, "mixup": 0.2},
    "fit": {
        "epochs": 4, "optimizer": "adam", "schedule": {"name": "performance", "patience": 1}, "ema": 0.9,
        "checkpoint": 0,
    },
}  # fmt: skip
TIMINGS = ("seconds", "pictures_per_second")
LINEAR = ["flatten", {"dense": "classes"}]


class Killed(BaseException):
    """Ends a training at once, as a kill would."""


def killing(at):
    """A progress that ends the training when it is told for the ``at``-th time."""
    told = iter(range(at))

    def progress(done, total, note=""):
        if next(told, None) is None:
            raise Killed

    return progress


def state(training):
    """The newest checkpoint without what follows from the clock."""
    number, snapshot, _notes = training.checkpoints.newest()
    place = dict(snapshot.document["place"])
    assert place.pop("seconds") == 0
    del place["notes"]
    place["history"] = [{key: row[key] for key in row if key not in TIMINGS} for row in place["history"]]
    return number, place, {name: value.numpy().tobytes() for name, value in snapshot.tensors.items()}


def weights(training):
    return {name: value.clone() for name, value in training.network.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def trained(make_training):
    def run(**choices):
        training = make_training(**choices)
        training.run()
        return training

    return run


def test_it_learns_and_says_how(trained):
    rows, told = [], []
    training = trained(
        fit={"epochs": 12, "optimizer": {"name": "adam", "learning_rate": 0.01}},
        on_epoch=rows.append,
        advance=lambda done, total, note="": told.append((done, total, note)),
    )
    assert rows == training.place.history
    assert [row["epoch"] for row in rows] == list(range(1, 13))
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert rows[-1]["validation_accuracy"] == 1.0
    assert training.place.stop_reason == "all epochs"
    assert told[-1][:2] == (12 * 3 * 16, 12 * 3 * 16)
    assert "epoch 12 of 12" in told[-1][2]
    answers = training.answer(training.task.validation.rows)
    assert answers.dtype == np.float32
    assert (answers.argmax(1) == training.task.validation.truth).all()
    assert training.answer(np.zeros(0, np.int64)).shape == (0, 3)


def test_torchs_draws_are_left_alone_and_do_not_matter(trained):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = trained(**EVERYTHING, folder="one")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert state(one) == state(trained(**EVERYTHING, folder="other"))
    assert state(one) != state(trained(**EVERYTHING, folder="seed", seed=1))


class TestGoingOn:
    @pytest.fixture
    def whole(self, trained):
        return state(trained(**EVERYTHING, folder="whole"))

    def test_killed_after_any_step(self, make_training, trained, whole):
        for step in (0, 1, 2, 4, 8, 11):  # of 4 epochs with 3 steps each
            folder = f"killed-{step}"
            with pytest.raises(Killed):
                make_training(**EVERYTHING, folder=folder, advance=killing(step)).run()
            assert state(trained(**EVERYTHING, folder=folder)) == whole

    def test_killed_again_and_again(self, make_training, trained, whole):
        for _ in range(3):
            with pytest.raises(Killed):
                make_training(**EVERYTHING, advance=killing(3)).run()
        assert state(trained(**EVERYTHING)) == whole

    def test_a_finished_one_only_answers(self, trained, whole):
        first = trained(**EVERYTHING)
        rows = []
        again = trained(**EVERYTHING, on_epoch=rows.append, advance=killing(0))
        assert rows == first.place.history
        assert same(weights(again), weights(first))
        assert state(again) == whole

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_stopped_by_a_signal(self, make_training, trained, whole, number, code):
        told = []

        def progress(done, total, note=""):
            told.append(done)
            if len(told) == 5:
                os.kill(os.getpid(), number)

        with pytest.raises(Stopped) as stopped:
            make_training(**EVERYTHING, advance=progress).run()
        assert stopped.value.exit_code == code
        assert len(told) == 5
        going_on = make_training(**EVERYTHING)
        assert going_on.checkpoints.newest()[0] == 5
        going_on.run()
        assert state(going_on) == whole

    def test_stopped_after_validation_and_while_saving(self, make_training, trained, whole):
        def interrupt(*_, **__):
            signal.raise_signal(signal.SIGTERM)

        with pytest.raises(Stopped):
            make_training(**EVERYTHING, on_epoch=interrupt).run()
        saving = make_training(**EVERYTHING)
        save = saving.checkpoints.save

        def save_interrupted(*arguments, **choices):
            interrupt()
            save(*arguments, **choices)

        saving.checkpoints.save = save_interrupted
        with pytest.raises(Stopped):
            saving.run()
        assert len(saving.checkpoints.newest()[1].document["place"]["history"]) == 1
        assert state(trained(**EVERYTHING)) == whole

    def test_a_damaged_checkpoint_is_passed_over_and_said(self, make_training, trained, whole):
        with pytest.raises(Killed):
            make_training(**EVERYTHING, advance=killing(6)).run()
        newest = max(make_training(**EVERYTHING).checkpoints.folder.glob("*.safetensors"))
        newest.write_bytes(newest.read_bytes()[:-1] + b"?")
        again = trained(**EVERYTHING)
        assert state(again) == whole
        assert len(again.place.notes) == 1
        assert "passed over" in again.place.notes[0]

    def test_where_all_are_damaged_it_begins_anew_and_says_so(self, make_training, trained, whole):
        with pytest.raises(Killed):
            make_training(**EVERYTHING, advance=killing(6)).run()
        for file in make_training(**EVERYTHING).checkpoints.folder.glob("*.json"):
            file.write_text("{}")
        again = trained(**EVERYTHING)
        assert state(again) == whole
        assert again.place.notes == ["All checkpoints were damaged, so training began anew."]

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"changed": True}, "pictures"),
            ({"count": 63}, "pictures"),
            ({"classes": ("a", "b", "d")}, "pictures"),
            ({"augment": {"rotation": 11}}, "recipe"),
        ],
    )
    def test_something_else_is_refused(self, make_training, change, sentence):
        with pytest.raises(Killed):
            make_training(**EVERYTHING, advance=killing(2)).run()
        with pytest.raises(RunError, match=f"cannot go on: its {sentence}") as refused:
            make_training(**{**EVERYTHING, **change}).run()
        assert "--resume" in refused.value.hint


class TestWhatIsKept:
    @pytest.fixture
    def watched(self, make_training):
        """Trains, and gives the training and its weights after each epoch."""

        def run(**choices):
            training, states = make_training(**choices), []
            training.on_epoch = lambda row: states.append(weights(training))
            training.run()
            return training, states

        return run

    def test_early_stopping_takes_back_the_best(self, watched):
        fit = {"epochs": 50, "early_stopping": 3, "optimizer": {"name": "adam", "learning_rate": 0.01}}
        training, states = watched(fit=fit, layers=LINEAR, misled=True)
        losses = [row["validation_loss"] for row in training.place.history]
        best = int(np.argmin(losses))
        assert training.place.stop_reason == "early stopping"
        assert training.place.best == best
        assert len(losses) == best + 1 + 3
        assert same(weights(training), states[best])
        assert training.learner.validate()[0] == losses[best]

    def test_the_last_can_be_kept(self, watched):
        training, states = watched(fit={"keep": "last"}, layers=LINEAR, misled=True)
        assert training.place.best == 2
        assert same(weights(training), states[-1])

    def test_the_mean_of_the_weights_is_measured_and_kept(self, make_training):
        steps = []
        training = make_training(fit={"ema": 0.8, "keep": "last"}, model={"l2": 0.01})
        training.progress = lambda *_: steps.append(weights(training))
        training.run()
        mean = steps[0]
        for step in steps[1:]:
            mean = {name: 0.8 * mean[name] + 0.2 * step[name] for name in mean}
        for name, value in weights(training).items():
            assert torch.allclose(value, mean[name], atol=1e-6), name
        training.learner.weights.mean = {}
        assert training.learner.validate()[0] == pytest.approx(training.place.history[-1]["validation_loss"], abs=1e-6)

    def test_weights_stay_within_their_norm(self, trained):
        layers = ["flatten", {"dense": {"units": 5, "max_norm": 0.3}}, {"dense": "classes"}]
        training = trained(layers=layers, fit={"optimizer": {"name": "sgd", "learning_rate": 1.0}})
        kernels = [value for value in training.network.parameters() if value.ndim == 2]
        assert kernels[0].norm(dim=1).max() <= 0.3 + 1e-6
        assert kernels[1].norm(dim=1).max() > 0.3

    def test_a_class_that_weighs_more_is_answered_more(self, trained):
        def share(weight):
            training = trained(fit={"class_weight": {"b": weight}}, layers=LINEAR, folder=f"weight-{weight}")
            logits = training.answer(np.arange(60))
            return torch.from_numpy(logits).softmax(1)[:, 1].mean()

        assert share(0.1) < share(1) < share(10)
        balanced = trained(fit={"class_weight": "balanced"}, layers=LINEAR, folder="balanced")  # as the classes are
        assert same(weights(balanced), weights(trained(layers=LINEAR, folder="plain")))


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "focal"])
def test_one_unit_answers_for_two_classes(trained, loss):
    fit = {"loss": loss, "epochs": 10, "optimizer": {"name": "adam", "learning_rate": 0.01}}
    training = trained(layers=["flatten", {"dense": 1}], classes=("a", "b"), fit=fit)
    logits = training.answer(training.task.validation.rows)
    assert logits.shape == (15, 2)
    assert not logits[:, 0].any()
    truth = training.task.validation.truth
    assert logits[truth == 1, 1].min() > logits[truth == 0, 1].max()
    assert training.place.history[training.place.best]["validation_accuracy"] == (logits.argmax(1) == truth).mean()


class Cliff(nn.Module):
    """A linear network that answers no numbers once its weights have gone too far."""

    def __init__(self, far):
        super().__init__()
        self.far, self.linear = far, nn.Linear(8 * 8 * 3, 3)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, planes):
        size = self.linear.weight.abs().max()
        return self.linear(planes.flatten(1)) / torch.where(
            size > self.far, torch.zeros_like(size), torch.ones_like(size)
        )


class TestALossThatIsNoNumber:
    FIT = {"optimizer": {"name": "sgd", "learning_rate": 0.01}, "schedule": {"name": "linear"}, "epochs": 3}  # noqa: RUF012

    def cliff(self, make_training):
        """How far weights get in the last epoch, at the full rate only."""
        far = []
        training = make_training(fit=self.FIT, network=Cliff(1e9), folder="free")
        training.on_epoch = lambda row: far.append(float(training.network.network.linear.weight.detach().abs().max()))
        training.run()
        return 0.2 * far[1] + 0.8 * far[2]

    def test_it_is_taken_back_and_goes_on_slower(self, make_training):
        training = make_training(fit=self.FIT, network=Cliff(self.cliff(make_training)))
        training.run()
        place = training.place
        assert place.stop_reason == "all epochs"
        assert place.rollbacks == 1
        assert place.lr_scale == 0.5
        assert "was no number" in place.notes[0]
        assert all(np.isfinite(list(row.values())).all() for row in place.history)
        assert torch.isfinite(torch.from_numpy(training.answer(np.arange(60)))).all()

    def test_a_kill_changes_nothing(self, make_training):
        cliff = self.cliff(make_training)
        whole = make_training(fit={**self.FIT, "checkpoint": 0}, network=Cliff(cliff), folder="whole")
        whole.run()
        for step in range(0, 11, 2):
            choices = {"fit": {**self.FIT, "checkpoint": 0}, "folder": f"killed-{step}"}
            with pytest.raises(Killed):
                make_training(**choices, network=Cliff(cliff), advance=killing(step)).run()
            again = make_training(**choices, network=Cliff(cliff))
            again.run()
            assert state(again) == state(whole)

    def test_it_is_given_up_in_the_end_and_the_last_good_state_is_there(self, make_training):
        training = make_training(fit=self.FIT, network=Cliff(1e-6))
        with pytest.raises(RunError, match="no number in epoch 1") as given_up:
            training.run()
        assert "learning_rate" in given_up.value.hint
        assert training.place.rollbacks == ROLLBACKS
        assert all(torch.isfinite(value).all() for value in training.checkpoints.newest()[1].tensors.values())

    def test_where_the_start_of_the_epoch_was_damaged_it_goes_back_to_where_it_was_taken_up(self, make_training):
        fit, cliff = {**self.FIT, "checkpoint": 0}, self.cliff(make_training)
        training = make_training(fit=fit, network=Cliff(cliff), advance=killing(7))
        with pytest.raises(Killed):
            training.run()
        assert training.place.base == 6
        (training.checkpoints.folder / "step-00000006.json").write_text("{}")
        again = make_training(fit=fit, network=Cliff(cliff))
        again.run()
        assert again.place.stop_reason == "all epochs"
        assert again.place.rollbacks == 1


class Tiny(nn.Module):
    """What a backbone must be: planes to a map, in two stages."""

    num_features = 4
    feature_info = ({"module": "one"}, {"module": "two"})

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.one, self.two = nn.Conv2d(3, 4, 3, 2, 1), nn.Sequential(nn.Conv2d(4, 4, 3, 2, 1), nn.BatchNorm2d(4))
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.3, generator=generator)

    def forward_features(self, planes):
        return self.two(self.one(planes).relu())


class TestPhases:
    @pytest.fixture
    def run(self, make_training):
        from kilat.model.backbone_layer import BackboneModule

        def run(phases, **fit):
            head = nn.Linear(16, 3)
            for parameter in head.parameters():
                nn.init.zeros_(parameter)
            network = nn.Sequential(BackboneModule(Tiny(), "tiny", 8), nn.Flatten(), head)
            training = make_training(
                model={"module": "tests.Tiny"},
                layers=[],
                network=network,
                fit={"epochs": None, "phases": phases, **fit},
            )
            states = [weights(training)]
            training.on_epoch = lambda row: states.append(weights(training))
            training.run()
            return training, states

        return run

    @staticmethod
    def changed(one, other):
        parts = {"0.network.one": "one", "0.network.two": "two", "2.": "head"}
        return {part for start, part in parts.items() for name in one
                if name.startswith(f"network.{start}") and not torch.equal(one[name], other[name])}  # fmt: skip

    def test_frozen_then_its_top_at_a_small_rate(self, run):
        training, states = run([{"epochs": 2}, {"epochs": 1, "unfreeze": 1, "learning_rate": 1e-4}], keep="last")
        assert self.changed(states[0], states[2]) == {"head"}
        assert self.changed(states[2], states[3]) == {"two", "head"}
        assert [row["learning_rate"] for row in training.place.history] == [1e-3, 1e-3, 1e-4]
        assert max((states[3][name] - states[2][name]).abs().max() for name in states[2] if "weight" in name) < 1e-3

    def test_what_is_frozen_again_stays_as_it_is(self, run):
        _training, states = run([{"epochs": 1, "unfreeze": "all"}, {"epochs": 1}], keep="last")
        assert self.changed(states[0], states[1]) == {"one", "two", "head"}
        assert self.changed(states[1], states[2]) == {"head"}

    def test_a_worse_phase_is_taken_back_with_all_that_it_opened(self, run):
        training, states = run([{"epochs": 2}, {"epochs": 2, "unfreeze": "all", "learning_rate": 30.0}])
        assert training.place.best < 2
        assert self.changed(weights(training), states[training.place.best + 1]) == set()
        assert self.changed(states[-1], states[2]) == {"one", "two", "head"}


def test_a_time_limit_ends_with_its_schedule(make_training):
    training = make_training(fit={"epochs": 100_000, "schedule": {"name": "linear"}}, deadline=time.perf_counter() + 10)
    training.run()
    place = training.place
    assert place.stop_reason == "time limit"
    assert 0 < place.step < training.per_epoch * 100_000
    assert place.history[-1]["learning_rate"] < 0.1 * place.history[0]["learning_rate"]


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
def test_compiled_it_learns_the_same(trained):
    plain, compiled = (trained(layers=LINEAR, count=47, compiled=way, folder=str(way)) for way in (False, True))
    for one, other in zip(plain.place.history, compiled.place.history, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
    assert np.allclose(plain.answer(np.arange(47)), compiled.answer(np.arange(47)), atol=1e-3)
