"""Activations of frozen stages, cached instead of pixels: the same training, and exact wherever it is resumed."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
timm = pytest.importorskip("timm", reason="the extra torch is not installed")

from kilat import recipe as recipes  # noqa: E402
from kilat.data.split import Part  # noqa: E402
from kilat.fit import activation_cache  # noqa: E402
from kilat.fit.activation_cache import CachedActivations, compute_activations  # noqa: E402
from kilat.fit.checkpoint import Checkpoints  # noqa: E402
from kilat.fit.distributed.group import ALONE, Group  # noqa: E402
from kilat.fit.loader import InMemory  # noqa: E402
from kilat.fit.loop import Trainer  # noqa: E402
from kilat.fit.train_state import TrainSpec  # noqa: E402
from kilat.model.feature_extractor import FeatureExtractor  # noqa: E402
from kilat.model.finetuned import FineTuned  # noqa: E402
from kilat.probe import Head  # noqa: E402
from kilat.runtime.deadline import Deadline  # noqa: E402
from kilat.runtime.signals import Stopped  # noqa: E402

SIDE, COUNT, VALIDATION, BATCH = 32, 48, 12, 12
CLASSES = ("a", "b", "c")
TRAIN = COUNT - VALIDATION
TWO_PHASES = [{"epochs": 1, "unfreeze": "all", "learning_rate": 1e-4}, {"epochs": 2, "unfreeze": 1}]


class CountedPictures(InMemory):
    """Counts how many pictures are loaded as pixels."""

    loaded = 0

    def batches(self, order):
        self.loaded += sum(len(rows) for rows in order)
        return super().batches(order)


def make_spec(recipe, name="test_resnet"):
    """Pictures of which brighter ones are of another class, and a backbone of random weights with a random head."""
    random = np.random.default_rng(5)
    rows = random.permutation(COUNT)
    truth = rows % len(CLASSES)
    brightness = 60 * (np.arange(COUNT) % len(CLASSES))[:, None, None, None]
    pixels = (random.integers(0, 60, (COUNT, SIDE, SIDE, 3)) + brightness).astype(np.uint8)
    names = np.array([str(row) for row in rows], object)
    pictures = Part(rows, truth, names, np.zeros(COUNT, bool), names)
    torch.manual_seed(0)
    extractor = FeatureExtractor(timm.create_model(name, num_classes=0), SIDE)
    with torch.inference_mode():
        features = extractor(torch.from_numpy(pixels)).numpy()
    weight = 0.01 * random.standard_normal((features.shape[1], len(CLASSES)))
    head = Head(features.mean(0), 1 / (features.std(0) + 0.01), weight.astype(np.float32), np.zeros(3, np.float32))
    network = FineTuned(
        [extractor],
        head,
        flip_average=recipe.features.flip_average,
        train_batch_norms=recipe.fit.batch_norm == "train",
    )
    train, validation = pictures.take(np.arange(TRAIN)), pictures.take(np.arange(TRAIN, COUNT))
    counted = CountedPictures(pixels, "cpu")
    return TrainSpec(network, counted, train, validation, CLASSES, recipe, "cpu", later_pictures=VALIDATION)


@pytest.fixture
def make(tmp_path):
    """Makes a ``Trainer`` of a backbone and a head: ``make(unfreeze=2, epochs=2)``."""

    def make(*, folder="run", flip_average=False, augment=None, name="test_resnet", **given):
        options = ("advance", "on_epoch", "deadline", "group", "cache_share")
        rest = {key: given.pop(key) for key in options if key in given}
        lengths = {} if "phases" in given else {"epochs": 2, "unfreeze": 2}
        optimizer = {"name": "adam", "learning_rate": 1e-3}
        fit = {"batch": BATCH, "precision": "fp32", "checkpoint": 0, "optimizer": optimizer, **lengths, **given}
        recipe = recipes.load({"fit": fit, "augment": augment or {}, "features": {"flip_average": flip_average}})
        return Trainer(make_spec(recipe, name), Checkpoints(tmp_path / folder), **rest)

    return make


@pytest.fixture
def group_of_one():
    """A group of one process, which gathers what is its own."""
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield Group(0, 1)
    torch.distributed.destroy_process_group()


def curve(trainer):
    keys = ("loss", "accuracy", "validation_loss", "validation_accuracy")
    return np.array([[row[key] for key in keys] for row in trainer.state.history])


def codes(trainer):
    return [note.code for note in trainer.state.notes]


class TestActivations:
    def test_are_loaded_by_row(self):
        rows, values = np.array([2, 5, 9]), np.arange(12, dtype=np.float32).reshape(3, 2, 2)
        activations = CachedActivations(rows, values, "cpu")
        found = list(activations.batches([np.array([9, 2]), np.array([5])]))
        assert [batch.tolist() for batch in found] == [values[[2, 0]].tolist(), values[[1]].tolist()]
        assert activations.holds(np.array([5, 5, 2]))
        assert not activations.holds(np.array([5, 3]))
        assert not activations.holds(np.array([10]))

    @pytest.mark.parametrize("flip_average", [False, True])
    def test_are_what_the_network_goes_on_from(self, make, flip_average):
        trainer = make(flip_average=flip_average)
        spec, network = trainer.spec, trainer.network
        network.unfreeze(2)
        reported = []
        cache = compute_activations(spec, network.eval(), ALONE, lambda done, total: reported.append((done, total)))
        assert reported[-1] == (COUNT, COUNT)
        rows = spec.validation.rows
        (pixels,), (values,) = spec.pictures.batches([rows]), cache.validation.batches([rows])
        assert values.shape[:2] == (VALIDATION, 1 + flip_average)
        with torch.inference_mode():
            torch.testing.assert_close(network.forward_upper(values), network(pixels), rtol=1e-4, atol=1e-4)
            for chosen in (spec.train.rows[:5], spec.train.rows[5:].copy()):
                (pixels,), (values,) = spec.pictures.batches([chosen]), cache.train.batches([chosen])
                wanted = network.logits(pixels.permute(0, 3, 1, 2).float())
                torch.testing.assert_close(network.logits_upper(values), wanted, rtol=1e-4, atol=1e-4)

    def test_computed_in_a_group(self, make, group_of_one):
        groups = (("a", ALONE), ("b", group_of_one))
        alone, together = (self.of_training_pictures(make(folder=name), group) for name, group in groups)
        assert torch.equal(alone, together)

    @staticmethod
    def of_training_pictures(trainer, group):
        trainer.network.unfreeze(2)
        cache = compute_activations(trainer.spec, trainer.network.eval(), group, lambda done, total: None)
        (values,) = cache.train.batches([trainer.spec.train.rows])
        return values


class TestTraining:
    @pytest.mark.parametrize(
        "choices",
        [{}, {"flip_average": True, "batch_norm": "train", "ema": 0.9}, {"phases": TWO_PHASES}],
        ids=["plain", "much more", "phases"],
    )
    def test_is_the_same_with_them_and_without(self, make, monkeypatch, choices):
        cached = make(folder="cached", **choices)
        cached.run()
        monkeypatch.setattr(activation_cache, "has_room", lambda size: False)
        plain = make(folder="plain", **choices)
        plain.run()
        np.testing.assert_allclose(curve(cached), curve(plain), rtol=2e-3, atol=1e-4)
        assert codes(cached) == []
        assert codes(plain) == ["no_memory_for_activations"]
        rows = np.arange(COUNT)
        np.testing.assert_allclose(cached.inference.logits(rows), plain.inference.logits(rows), rtol=1e-2, atol=1e-2)

    def test_loads_every_picture_once(self, make):
        trainer = make()
        trainer.run()
        assert trainer.spec.pictures.loaded == COUNT
        trainer.inference.logits(trainer.spec.validation.rows)
        assert trainer.spec.pictures.loaded == COUNT + VALIDATION

    @pytest.mark.parametrize(
        "choices",
        [{"augment": {"horizontal_flip": True}}, {"resolution": [32]}, {"unfreeze": "all"}, {"name": "test_mambaout"},
         {"epochs": 1}],
        ids=["augmentation", "resolutions", "nothing frozen", "no sequence", "one epoch"],
    )  # fmt: skip
    def test_uses_pixels(self, make, choices):
        trainer = make(**choices)
        trainer.run()
        assert trainer.spec.pictures.loaded == len(trainer.state.history) * COUNT
        assert not trainer.state.notes

    def test_uses_pixels_as_long_as_it_may_mirror_them(self, make):
        """Also where it found out that it must not: a training that is resumed then has to do the same."""
        augment = {"horizontal_flip": "auto"}
        trainer = make(augment=augment)
        trainer.run()
        tests = 2 * 2 * VALIDATION  # before each epoch, as they are and mirrored
        assert trainer.spec.pictures.loaded == 2 * COUNT + tests
        assert trainer.state.horizontal_flip is None

    def test_in_parts_of_a_batch(self, make):
        whole, parts = make(folder="whole"), make(folder="parts")
        parts.train_step.micro_batch.size, parts.inference.micro_batch.size = 5, 4
        for trainer in (whole, parts):
            trainer.run()
        np.testing.assert_allclose(curve(parts), curve(whole), rtol=1e-3, atol=1e-5)

    @pytest.mark.parametrize("choices", [{"batch_norm": "train"}, {"phases": TWO_PHASES}], ids=["one", "two phases"])
    def test_killed_anywhere(self, make, require_exact, choices):
        """Caching is reported as well: once for the training pictures, and once for those of the validation."""
        steps = (2, 4, 6) if "phases" in choices else (0, 1, 6)
        whole = require_exact(make, steps, **choices)
        assert whole.state.stop_reason == "all_epochs"

    def test_stopped_while_they_are_computed(self, make):
        whole = make(folder="whole")
        whole.run()
        stopped = make(folder="stopped")
        stopped.advance = lambda *_: setattr(stopped.signals, "received", 15)
        with pytest.raises(Stopped):
            stopped.run()
        again = make(folder="stopped")
        again.run()
        assert (curve(again) == curve(whole)).all()


class TestTimeLimit:
    def test_counts_the_time(self, make, clock):
        clock.step = 0.1
        trainer = make(epochs=1000, deadline=Deadline(clock.time + 20.0, clock))
        trainer.run()
        assert trainer.state.stop_reason == "time_limit"
        assert trainer.spec.pictures.loaded == COUNT
        assert trainer.planner.later_extra > 0

    @pytest.mark.parametrize(("cache_share", "is_cached"), [(1.0, True), (0.3, False)])
    def test_leaves_them_out_where_they_would_take_too_long(self, make, clock, cache_share, is_cached):
        """Each of the two batches takes 6 of 25 seconds."""

        def load(done, total, note=""):
            clock.time += 6.0 * ("activations" in note)

        clock.step = 0.1
        deadline = Deadline(clock.time + 25.0, clock)
        trainer = make(epochs=1000, advance=load, deadline=deadline, cache_share=cache_share)
        trainer.run()
        assert codes(trainer) == ([] if is_cached else ["no_time_for_activations"])
        assert trainer.state.stop_reason == "time_limit"
        assert (trainer.planner.later_extra > 0) == is_cached
