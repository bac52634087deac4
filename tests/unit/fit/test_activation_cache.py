"""What frozen stages give, held instead of pixels: the same training, and exact wherever it is taken up again."""

import time

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
timm = pytest.importorskip("timm", reason="the extra torch is not installed")

from kilat import recipe as recipes  # noqa: E402
from kilat.data.split import Part  # noqa: E402
from kilat.fit.activation_cache import CachedActivations, prepare  # noqa: E402
from kilat.fit.checkpoint import Checkpoints  # noqa: E402
from kilat.fit.distributed.group import ALONE, Group  # noqa: E402
from kilat.fit.loader import InMemory  # noqa: E402
from kilat.fit.loop import Trainer  # noqa: E402
from kilat.fit.signals import Stopped  # noqa: E402
from kilat.fit.train_state import TrainSpec  # noqa: E402
from kilat.learn import time_budget  # noqa: E402
from kilat.model.feature_extractor import FeatureExtractor  # noqa: E402
from kilat.model.finetuned import FineTuned  # noqa: E402
from kilat.probe import Head  # noqa: E402
from kilat.runtime import memory  # noqa: E402

SIDE, COUNT, HELD, BATCH = 32, 48, 12, 12
CLASSES = ("a", "b", "c")
LEARNT = COUNT - HELD
TWO_PHASES = [{"epochs": 1, "unfreeze": "all", "learning_rate": 1e-4}, {"epochs": 2, "unfreeze": 1}]


class Counted(InMemory):
    """Counts how many pictures are asked for as pixels."""

    asked = 0

    def batches(self, order):
        self.asked += sum(len(rows) for rows in order)
        return super().batches(order)


def task(recipe, name="test_resnet"):
    """Pictures of which brighter ones are of another class, and a backbone of random weights with a random head."""
    random = np.random.default_rng(5)
    rows = random.permutation(COUNT)
    truth = rows % len(CLASSES)
    brightness = 60 * (np.arange(COUNT) % len(CLASSES))[:, None, None, None]
    pixels = (random.integers(0, 60, (COUNT, SIDE, SIDE, 3)) + brightness).astype(np.uint8)
    names = np.array([str(row) for row in rows], object)
    whole = Part(rows, truth, names, np.zeros(COUNT, bool), names)
    torch.manual_seed(0)
    eye = FeatureExtractor(timm.create_model(name, num_classes=0), SIDE)
    with torch.inference_mode():
        features = eye(torch.from_numpy(pixels)).numpy()
    weight = 0.01 * random.standard_normal((features.shape[1], len(CLASSES)))
    head = Head(features.mean(0), 1 / (features.std(0) + 0.01), weight.astype(np.float32), np.zeros(3, np.float32))
    norms = recipe.fit.batch_norm == "train"
    network = FineTuned([eye], head, flip_average=recipe.features.flip_average, train_batch_norms=norms)
    training, validation = whole.take(np.arange(LEARNT)), whole.take(np.arange(LEARNT, COUNT))
    return TrainSpec(network, Counted(pixels, "cpu"), training, validation, CLASSES, recipe, "cpu", answered_later=HELD)


@pytest.fixture
def make(tmp_path):
    """Makes a training of an opened backbone: ``make(unfreeze=2, epochs=2)``."""

    def make(*, folder="run", flip_average=False, augment=None, name="test_resnet", **given):
        rest = {key: given.pop(key) for key in ("progress", "on_epoch", "deadline", "group") if key in given}
        lengths = {} if "phases" in given else {"epochs": 2, "unfreeze": 2}
        optimizer = {"name": "adam", "learning_rate": 1e-3}
        fit = {"batch": BATCH, "precision": "fp32", "checkpoint": 0, "optimizer": optimizer, **lengths, **given}
        recipe = recipes.load({"fit": fit, "augment": augment or {}, "features": {"flip_average": flip_average}})
        return Trainer(task(recipe, name), Checkpoints(tmp_path / folder), **rest)

    return make


@pytest.fixture
def one():
    """A group of one process, which gathers what is its own."""
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield Group(0, 1, "cpu")
    torch.distributed.destroy_process_group()


def curve(training):
    keys = ("loss", "accuracy", "validation_loss", "validation_accuracy")
    return np.array([[row[key] for key in keys] for row in training.place.history])


def without_room(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 1000)


class TestMaps:
    def test_are_got_by_row(self):
        rows, values = np.array([2, 5, 9]), np.arange(12, dtype=np.float32).reshape(3, 2, 2)
        maps = CachedActivations(rows, values, "cpu")
        found = list(maps.batches([np.array([9, 2]), np.array([5])]))
        assert [batch.tolist() for batch in found] == [values[[2, 0]].tolist(), values[[1]].tolist()]
        assert maps.holds(np.array([5, 5, 2]))
        assert not maps.holds(np.array([5, 3]))
        assert not maps.holds(np.array([10]))

    @pytest.mark.parametrize("flip_average", [False, True])
    def test_hold_what_the_network_goes_on_from(self, make, flip_average):
        training = make(flip_average=flip_average)
        task, network = training.task, training.network
        network.unfreeze(2)
        told = []
        held = prepare(task, network.eval(), ALONE, lambda done, total: told.append((done, total)))
        assert told[-1] == (COUNT, COUNT)
        rows = task.validation.rows
        (pixels,), (values,) = task.pictures.batches([rows]), held.validation.batches([rows])
        assert values.shape[:2] == (HELD, 1 + flip_average)
        with torch.inference_mode():
            torch.testing.assert_close(network.forward_upper(values), network(pixels), rtol=1e-4, atol=1e-4)
            for chosen in (task.training.rows[:5], task.training.rows[5:].copy()):
                (pixels,), (values,) = task.pictures.batches([chosen]), held.training.batches([chosen])
                wanted = network.logits(pixels.permute(0, 3, 1, 2).float())
                torch.testing.assert_close(network.logits_upper(values), wanted, rtol=1e-4, atol=1e-4)

    def test_made_in_a_group(self, make, one):
        alone, together = (self.held(make(folder=name), group) for name, group in (("a", ALONE), ("b", one)))
        assert torch.equal(alone, together)

    @staticmethod
    def held(training, group):
        training.network.unfreeze(2)
        held = prepare(training.task, training.network.eval(), group, lambda done, total: None)
        (values,) = held.training.batches([training.task.training.rows])
        return values


class TestTraining:
    @pytest.mark.parametrize(
        "choices",
        [{}, {"flip_average": True, "batch_norm": "train", "ema": 0.9}, {"phases": TWO_PHASES}],
        ids=["plain", "much more", "phases"],
    )
    def test_is_the_same_with_them_and_without(self, make, monkeypatch, choices):
        held = make(folder="held", **choices)
        held.run()
        without_room(monkeypatch)
        plain = make(folder="plain", **choices)
        plain.run()
        np.testing.assert_allclose(curve(held), curve(plain), rtol=2e-3, atol=1e-4)
        assert not held.place.notes
        assert ["memory" in note for note in plain.place.notes] == [True]
        rows = np.arange(COUNT)
        np.testing.assert_allclose(held.answer(rows), plain.answer(rows), rtol=1e-2, atol=1e-2)

    def test_looks_at_every_picture_once(self, make):
        training = make()
        training.run()
        assert training.task.pictures.asked == COUNT
        training.answer(training.task.validation.rows)
        assert training.task.pictures.asked == COUNT + HELD

    @pytest.mark.parametrize(
        "choices",
        [{"augment": {"horizontal_flip": True}}, {"resolution": [32]}, {"unfreeze": "all"}, {"name": "test_mambaout"},
         {"epochs": 1}],
        ids=["augmentation", "resolutions", "nothing frozen", "no sequence", "one epoch"],
    )  # fmt: skip
    def test_goes_on_with_pixels(self, make, choices):
        training = make(**choices)
        training.run()
        assert training.task.pictures.asked == len(training.place.history) * COUNT
        assert not training.place.notes

    def test_learns_from_parts_of_a_batch(self, make):
        whole, parts = make(folder="whole"), make(folder="parts")
        parts.learner.portions = (5, 4)
        for training in (whole, parts):
            training.run()
        np.testing.assert_allclose(curve(parts), curve(whole), rtol=1e-3, atol=1e-5)

    @pytest.mark.parametrize("choices", [{"batch_norm": "train"}, {"phases": TWO_PHASES}], ids=["one", "two phases"])
    def test_killed_anywhere(self, make, require_exact, choices):
        """Steps of making maps are told too: one for the pictures learnt from, one for those of the validation."""
        steps = (2, 4, 6) if "phases" in choices else (0, 1, 6)
        whole = require_exact(make, steps, **choices)
        assert whole.place.stop_reason == "all epochs"

    def test_stopped_while_they_are_made(self, make, require_exact):
        whole = make(folder="whole")
        whole.run()
        stopped = make(folder="stopped")
        stopped.progress = lambda *_: setattr(stopped.listening, "number", 15)
        with pytest.raises(Stopped):
            stopped.run()
        again = make(folder="stopped")
        again.run()
        assert (curve(again) == curve(whole)).all()


class TestTimeLimit:
    def test_counts_the_time(self, make):
        training = make(epochs=1000, deadline=time.perf_counter() + 9.0)
        training.run()
        assert training.place.stop_reason == "time limit"
        assert training.task.pictures.asked == COUNT
        assert training.pace.extra > 0

    def test_leaves_them_out_where_they_would_take_too_long(self, make, monkeypatch):
        monkeypatch.setattr(time_budget, "_FIRST_SECONDS", 0.0)
        monkeypatch.setattr(time_budget, "_FIRST_PICTURES", 1)
        training = make(epochs=1000, deadline=time.perf_counter())
        training.run()
        assert "no time" in training.place.notes[0]
        assert training.place.stop_reason == "time limit"
        assert training.pace.extra == 0
