"""The training loop: it trains, resumes exactly, keeps the right weights, and recovers from losses that diverge."""

import os
import shutil
import signal

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from kilat.errors import RunError  # noqa: E402
from kilat.fit.saver import ROLLBACKS  # noqa: E402
from kilat.locale.notes import Note  # noqa: E402
from kilat.runtime.deadline import Deadline  # noqa: E402
from kilat.runtime.signals import Stopped  # noqa: E402

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


def kill_after(calls):
    """A progress that ends the training after so many calls."""
    remaining = iter(range(calls))

    def advance(done, total, note=""):
        if next(remaining, None) is None:
            raise Killed

    return advance


def saved(trainer):
    """The newest checkpoint without timings."""
    number, snapshot, _notes = trainer.saver.checkpoints.newest()
    state = dict(snapshot.document["state"])
    assert state.pop("seconds") == 0
    del state["notes"]
    state["history"] = [{key: row[key] for key in row if key not in TIMINGS} for row in state["history"]]
    return number, state, {name: value.numpy().tobytes() for name, value in snapshot.tensors.items()}


def weights(trainer):
    return {name: value.clone() for name, value in trainer.network.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def trained(make_trainer):
    def run(**choices):
        trainer = make_trainer(**choices)
        trainer.run()
        return trainer

    return run


def test_it_trains_and_reports_progress(trained):
    rows, reported = [], []
    trainer = trained(
        fit={"epochs": 12, "optimizer": {"name": "adam", "learning_rate": 0.01}},
        on_epoch=rows.append,
        advance=lambda done, total, note="": reported.append((done, total, note)),
    )
    assert rows == trainer.state.history
    assert [row["epoch"] for row in rows] == list(range(1, 13))
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert rows[-1]["validation_accuracy"] == 1.0
    assert trainer.state.stop_reason == "all_epochs"
    assert reported[-1][:2] == (12 * 3 * 16, 12 * 3 * 16)
    assert "epoch 12/12" in reported[-1][2]
    logits = trainer.inference.logits(trainer.spec.validation.rows)
    assert logits.dtype == np.float32
    assert (logits.argmax(1) == trainer.spec.validation.truth).all()
    assert trainer.inference.logits(np.zeros(0, np.int64)).shape == (0, 3)


def test_torchs_random_generator_is_left_alone_and_does_not_matter(trained):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = trained(**EVERYTHING, folder="one")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert saved(one) == saved(trained(**EVERYTHING, folder="other"))
    assert saved(one) != saved(trained(**EVERYTHING, folder="seed", seed=1))


class TestResuming:
    @pytest.fixture
    def whole(self, trained):
        return saved(trained(**EVERYTHING, folder="whole"))

    def test_killed_after_any_step(self, make_trainer, trained, whole):
        for step in (0, 1, 2, 4, 8, 11):  # of 4 epochs with 3 steps each
            folder = f"killed-{step}"
            with pytest.raises(Killed):
                make_trainer(**EVERYTHING, folder=folder, advance=kill_after(step)).run()
            assert saved(trained(**EVERYTHING, folder=folder)) == whole

    def test_killed_again_and_again(self, make_trainer, trained, whole):
        for _ in range(3):
            with pytest.raises(Killed):
                make_trainer(**EVERYTHING, advance=kill_after(3)).run()
        assert saved(trained(**EVERYTHING)) == whole

    def test_a_finished_one_only_computes_logits(self, trained, whole):
        first = trained(**EVERYTHING)
        rows = []
        again = trained(**EVERYTHING, on_epoch=rows.append, advance=kill_after(0))
        assert rows == first.state.history
        assert same(weights(again), weights(first))
        assert saved(again) == whole

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_stopped_by_a_signal(self, make_trainer, trained, whole, number, code):
        updates = []

        def advance(done, total, note=""):
            updates.append(done)
            if len(updates) == 5:
                os.kill(os.getpid(), number)

        with pytest.raises(Stopped) as stopped:
            make_trainer(**EVERYTHING, advance=advance).run()
        assert stopped.value.exit_code == code
        assert len(updates) == 5
        again = make_trainer(**EVERYTHING)
        assert again.saver.checkpoints.newest()[0] == 5
        again.run()
        assert saved(again) == whole

    def test_stopped_after_validation_and_while_saving(self, make_trainer, trained, whole):
        def interrupt(*_, **__):
            signal.raise_signal(signal.SIGTERM)

        with pytest.raises(Stopped):
            make_trainer(**EVERYTHING, on_epoch=interrupt).run()
        saving = make_trainer(**EVERYTHING)
        save = saving.saver.checkpoints.save

        def save_interrupted(*arguments, **choices):
            interrupt()
            save(*arguments, **choices)

        saving.saver.checkpoints.save = save_interrupted
        with pytest.raises(Stopped):
            saving.run()
        assert len(saving.saver.checkpoints.newest()[1].document["state"]["history"]) == 1
        assert saved(trained(**EVERYTHING)) == whole

    def test_a_damaged_checkpoint_is_skipped_with_a_note(self, make_trainer, trained, whole):
        with pytest.raises(Killed):
            make_trainer(**EVERYTHING, advance=kill_after(6)).run()
        newest = max(make_trainer(**EVERYTHING).saver.checkpoints.folder.glob("*.safetensors"))
        newest.write_bytes(newest.read_bytes()[:-1] + b"?")
        again = trained(**EVERYTHING)
        assert saved(again) == whole
        assert [note.code for note in again.state.notes] == ["checkpoint_tensors_damaged"]

    def test_where_all_are_damaged_it_starts_again_with_a_note(self, make_trainer, trained, whole):
        with pytest.raises(Killed):
            make_trainer(**EVERYTHING, advance=kill_after(6)).run()
        for file in make_trainer(**EVERYTHING).saver.checkpoints.folder.glob("*.json"):
            file.write_text("{}")
        again = trained(**EVERYTHING)
        assert saved(again) == whole
        assert again.state.notes == [Note("all_checkpoints_damaged")]

    @pytest.mark.parametrize(
        ("change", "changed"),
        [
            ({"changed": True}, "pictures"),
            ({"count": 63}, "pictures"),
            ({"classes": ("a", "b", "d")}, "pictures"),
            ({"augment": {"rotation": 11}}, "recipe"),
        ],
    )
    def test_another_training_is_refused(self, make_trainer, change, changed):
        with pytest.raises(Killed):
            make_trainer(**EVERYTHING, advance=kill_after(2)).run()
        with pytest.raises(RunError, match=f"cannot be resumed: its {changed}") as refused:
            make_trainer(**{**EVERYTHING, **change}).run()
        assert "--resume" in refused.value.hint


class TestWhatIsKept:
    @pytest.fixture
    def run(self, make_trainer):
        """Trains, and returns the trainer and its weights after each epoch."""

        def run(**choices):
            trainer, states = make_trainer(**choices), []
            trainer.on_epoch = lambda row: states.append(weights(trainer))
            trainer.run()
            return trainer, states

        return run

    def test_early_stopping_keeps_the_best(self, run):
        fit = {"epochs": 50, "early_stopping": 3, "optimizer": {"name": "adam", "learning_rate": 0.01}}
        trainer, states = run(fit=fit, layers=LINEAR, wrong_validation=True)
        losses = [row["validation_loss"] for row in trainer.state.history]
        best = int(np.argmin(losses))
        assert trainer.state.stop_reason == "early_stopping"
        assert trainer.state.best_epoch == best
        assert len(losses) == best + 1 + 3
        assert same(weights(trainer), states[best])
        assert trainer.train_step.validate()[0] == losses[best]

    @pytest.mark.parametrize(("from_start", "epochs"), [(False, 2), (True, 1)])
    def test_early_stopping_may_count_the_network_before_training(self, make_trainer, from_start, epochs):
        rule = {"patience": 1, "from_start": from_start}
        fit = {"epochs": 50, "early_stopping": rule, "optimizer": {"name": "adam", "learning_rate": 0.01}}
        trainer = make_trainer(fit=fit, layers=LINEAR, wrong_validation=True)
        trainer.run()
        assert trainer.state.stop_reason == "early_stopping"
        assert len(trainer.state.history) == epochs
        if from_start:
            assert trainer.state.start["loss"] < trainer.state.history[0]["validation_loss"]

    def test_the_last_can_be_kept(self, run):
        trainer, states = run(fit={"keep": "last"}, layers=LINEAR, wrong_validation=True)
        assert trainer.state.best_epoch == 2
        assert same(weights(trainer), states[-1])

    def test_the_moving_average_is_evaluated_and_kept(self, make_trainer):
        steps = []
        trainer = make_trainer(fit={"ema": 0.8, "keep": "last"}, model={"l2": 0.01})
        trainer.advance = lambda *_: steps.append(weights(trainer))
        trainer.run()
        mean = steps[0]
        for step in steps[1:]:
            mean = {name: 0.8 * mean[name] + 0.2 * step[name] for name in mean}
        for name, value in weights(trainer).items():
            assert torch.allclose(value, mean[name], atol=1e-6), name
        trainer.weights.ema = {}
        assert trainer.train_step.validate()[0] == pytest.approx(trainer.state.history[-1]["validation_loss"], abs=1e-6)

    def test_weights_stay_within_their_norm(self, trained):
        layers = ["flatten", {"dense": {"units": 5, "max_norm": 0.3}}, {"dense": "classes"}]
        trainer = trained(layers=layers, fit={"optimizer": {"name": "sgd", "learning_rate": 1.0}})
        kernels = [value for value in trainer.network.parameters() if value.ndim == 2]
        assert kernels[0].norm(dim=1).max() <= 0.3 + 1e-6
        assert kernels[1].norm(dim=1).max() > 0.3

    def test_a_class_with_more_weight_is_predicted_more(self, trained):
        def share(weight):
            trainer = trained(fit={"class_weight": {"b": weight}}, layers=LINEAR, folder=f"weight-{weight}")
            logits = trainer.inference.logits(np.arange(60))
            return torch.from_numpy(logits).softmax(1)[:, 1].mean()

        assert share(0.1) < share(1) < share(10)
        balanced = trained(fit={"class_weight": "balanced"}, layers=LINEAR, folder="balanced")  # as the classes are
        assert same(weights(balanced), weights(trained(layers=LINEAR, folder="plain")))


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "focal"])
def test_one_unit_decides_between_two_classes(trained, loss):
    fit = {"loss": loss, "epochs": 10, "optimizer": {"name": "adam", "learning_rate": 0.01}}
    trainer = trained(layers=["flatten", {"dense": 1}], classes=("a", "b"), fit=fit)
    logits = trainer.inference.logits(trainer.spec.validation.rows)
    assert logits.shape == (15, 2)
    assert not logits[:, 0].any()
    truth = trainer.spec.validation.truth
    assert logits[truth == 1, 1].min() > logits[truth == 0, 1].max()
    assert trainer.state.history[trainer.state.best_epoch]["validation_accuracy"] == (logits.argmax(1) == truth).mean()


class Diverging(nn.Module):
    """A linear network whose logits are not finite once a weight is too large."""

    def __init__(self, bound):
        super().__init__()
        self.bound, self.linear = bound, nn.Linear(8 * 8 * 3, 3)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, planes):
        size = self.linear.weight.abs().max()
        return self.linear(planes.flatten(1)) / torch.where(
            size > self.bound, torch.zeros_like(size), torch.ones_like(size)
        )


class TestALossThatIsNotFinite:
    FIT = {"optimizer": {"name": "sgd", "learning_rate": 0.01}, "schedule": {"name": "linear"}, "epochs": 3}  # noqa: RUF012

    def bound(self, make_trainer):
        """A size that weights reach in the last epoch, at the full rate only."""
        sizes = []
        trainer = make_trainer(fit=self.FIT, network=Diverging(1e9), folder="free")
        trainer.on_epoch = lambda row: sizes.append(float(trainer.network.network.linear.weight.detach().abs().max()))
        trainer.run()
        return 0.2 * sizes[1] + 0.8 * sizes[2]

    def test_training_goes_back_and_continues_at_half_the_rate(self, make_trainer):
        trainer = make_trainer(fit=self.FIT, network=Diverging(self.bound(make_trainer)))
        trainer.run()
        state = trainer.state
        assert state.stop_reason == "all_epochs"
        assert state.rollbacks == 1
        assert state.lr_scale == 0.5
        assert state.notes == [Note("loss_not_finite", {"epoch": 3})]
        assert all(np.isfinite(list(row.values())).all() for row in state.history)
        assert torch.isfinite(torch.from_numpy(trainer.inference.logits(np.arange(60)))).all()

    def test_a_kill_changes_nothing(self, make_trainer):
        bound = self.bound(make_trainer)
        whole = make_trainer(fit={**self.FIT, "checkpoint": 0}, network=Diverging(bound), folder="whole")
        whole.run()
        for step in range(0, 11, 2):
            choices = {"fit": {**self.FIT, "checkpoint": 0}, "folder": f"killed-{step}"}
            with pytest.raises(Killed):
                make_trainer(**choices, network=Diverging(bound), advance=kill_after(step)).run()
            again = make_trainer(**choices, network=Diverging(bound))
            again.run()
            assert saved(again) == saved(whole)

    def test_training_gives_up_in_the_end_and_the_last_good_checkpoint_is_there(self, make_trainer):
        trainer = make_trainer(fit=self.FIT, network=Diverging(1e-6))
        with pytest.raises(RunError, match="not finite in epoch 1") as given_up:
            trainer.run()
        assert "learning_rate" in given_up.value.hint
        assert trainer.state.rollbacks == ROLLBACKS
        assert all(torch.isfinite(value).all() for value in trainer.saver.checkpoints.newest()[1].tensors.values())

    def test_where_the_start_of_the_epoch_was_damaged_it_goes_back_to_where_it_was_resumed(self, make_trainer):
        fit, bound = {**self.FIT, "checkpoint": 0}, self.bound(make_trainer)
        trainer = make_trainer(fit=fit, network=Diverging(bound), advance=kill_after(7))
        with pytest.raises(Killed):
            trainer.run()
        assert trainer.state.rollback_step == 6
        (trainer.saver.checkpoints.folder / "step-00000006.json").write_text("{}")
        again = make_trainer(fit=fit, network=Diverging(bound))
        again.run()
        assert again.state.stop_reason == "all_epochs"
        assert again.state.rollbacks == 1


class Tiny(nn.Module):
    """A backbone of two stages, from planes to a map."""

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
    def run(self, make_trainer):
        from kilat.model.backbone_layer import BackboneModule

        def run(phases, **fit):
            head = nn.Linear(16, 3)
            for parameter in head.parameters():
                nn.init.zeros_(parameter)
            network = nn.Sequential(BackboneModule(Tiny(), "tiny", 8), nn.Flatten(), head)
            trainer = make_trainer(
                model={"module": "tests.Tiny"},
                layers=[],
                network=network,
                fit={"epochs": None, "phases": phases, **fit},
            )
            states = [weights(trainer)]
            trainer.on_epoch = lambda row: states.append(weights(trainer))
            trainer.run()
            return trainer, states

        return run

    @staticmethod
    def changed(one, other):
        parts = {"0.network.one": "one", "0.network.two": "two", "2.": "head"}
        return {part for start, part in parts.items() for name in one
                if name.startswith(f"network.{start}") and not torch.equal(one[name], other[name])}  # fmt: skip

    def test_the_head_then_the_top_stage_at_a_small_rate(self, run):
        trainer, states = run([{"epochs": 2}, {"epochs": 1, "unfreeze": 1, "learning_rate": 1e-4}], keep="last")
        assert self.changed(states[0], states[2]) == {"head"}
        assert self.changed(states[2], states[3]) == {"two", "head"}
        assert [row["learning_rate"] for row in trainer.state.history] == [1e-3, 1e-3, 1e-4]
        assert max((states[3][name] - states[2][name]).abs().max() for name in states[2] if "weight" in name) < 1e-3

    def test_what_is_frozen_again_stays_as_it_is(self, run):
        _training, states = run([{"epochs": 1, "unfreeze": "all"}, {"epochs": 1}], keep="last")
        assert self.changed(states[0], states[1]) == {"one", "two", "head"}
        assert self.changed(states[1], states[2]) == {"head"}

    def test_a_worse_phase_is_taken_back_with_all_that_it_unfroze(self, run):
        trainer, states = run([{"epochs": 2}, {"epochs": 2, "unfreeze": "all", "learning_rate": 30.0}])
        assert trainer.state.best_epoch < 2
        assert self.changed(weights(trainer), states[trainer.state.best_epoch + 1]) == set()
        assert self.changed(states[-1], states[2]) == {"one", "two", "head"}


def test_a_time_limit_ends_with_its_schedule(make_trainer, clock):
    clock.step = 0.015
    began = clock.time
    fit = {"epochs": 100_000, "schedule": {"name": "linear"}}
    trainer = make_trainer(fit=fit, deadline=Deadline(began + 13.0, clock))
    trainer.run()
    state = trainer.state
    assert state.stop_reason == "time_limit"
    assert 20 < state.step < trainer.per_epoch * 100_000
    assert state.history[-1]["learning_rate"] < 0.1 * state.history[0]["learning_rate"]
    assert clock.time < began + 13.0


@pytest.fixture
def quick_compiler():
    """torch.compile without what takes it longest: trying vector instructions, and precompiling a header."""
    from torch._inductor import config

    with config.patch({"cpp.simdlen": 1, "cpp.vec_isa_ok": True, "cpp_cache_precompile_headers": False}):
        yield


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
@pytest.mark.usefixtures("quick_compiler")
def test_compiled_it_trains_the_same(trained):
    plain, compiled = (trained(layers=LINEAR, count=47, compiled=way, folder=str(way)) for way in (False, True))
    for one, other in zip(plain.state.history, compiled.state.history, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
    assert np.allclose(plain.inference.logits(np.arange(47)), compiled.inference.logits(np.arange(47)), atol=1e-3)


def test_pictures_are_mirrored_in_one_epoch_or_the_next(make_trainer):
    """The network sees the bright edge of every picture on the left in half of the epochs, exactly every other one."""

    class Recorder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.left = torch.nn.Linear(1, 3), []

        def forward(self, planes):
            if self.training:
                # Which picture it is stands in the middle, whichever way round.
                numbers = planes[:, 0, 4, 3:5].sum(1).mul(30).add(90).round().int().tolist()
                self.left.append(dict(zip(numbers, (planes[:, 0, 0, 0] > 0).tolist(), strict=True)))
            return self.layer(planes.mean((1, 2, 3))[:, None])

    pixels = np.zeros((40, 8, 8, 3), np.uint8)
    pixels[:, :, 0] = 255
    pixels[:, 4, 3:5] = 2 * np.arange(40)[:, None, None]
    network = Recorder()
    make_trainer(
        network=network, pixels=pixels, truth=np.arange(40) % 3, augment={"horizontal_flip": True},
        fit={"epochs": 4, "batch": 64},
    ).run()  # fmt: skip
    first, second, third, fourth = network.left
    assert 5 < sum(first.values()) < 20
    assert second == {number: not left for number, left in first.items()}
    assert (third, fourth) == (first, second)


def test_few_pictures_make_more_epochs(make_trainer):
    trainer = make_trainer(fit={"epochs": 2, "min_steps": 8, "batch": 16})
    trainer.run()
    assert len(trainer.state.history) == 3  # of three updates each
    assert trainer.state.stop_reason == "all_epochs"
