"""Whether mirroring changes what pictures mean, by what a network makes of mirrored ones."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from kilat.fit.loader import InMemory  # noqa: E402
from kilat.fit.mirror_test import Mirrored, MirrorTest  # noqa: E402

SIDE = 8


@pytest.mark.parametrize(
    ("test", "validations", "harmless"),
    [
        (MirrorTest(1000, 100, 600, 300, 20), 1, False),  # half of what is known is lost
        (MirrorTest(1000, 100, 600, 60, 20), 1, False),  # few, but far more than chance would have it
        (MirrorTest(1000, 100, 600, 40, 20), 1, True),  # less than a twentieth
        (MirrorTest(1000, 100, 600, 110, 80), 1, True),  # by chance
        (MirrorTest(1000, 100, 600, 20, 300), 1, True),  # mirrored ones are easier
        (MirrorTest(1000, 100, 900, 0, 0), 0, True),
        (MirrorTest(1000, 100, 110, 60, 50), 1, None),  # it has learned nothing that could be lost
        (MirrorTest(20, 10, 18, 2, 1), 1, None),  # too few pictures to say
        (MirrorTest(20, 10, 18, 2, 2), 3, True),  # at last the best guess counts
        (MirrorTest(20, 10, 18, 4, 1), 3, False),
        (MirrorTest(20, 10, 10, 0, 0), 3, True),
        (MirrorTest(1, 1, 0, 0, 0), 3, True),
    ],
)
def test_what_is_decided(test, validations, harmless):
    assert test.is_harmless(validations) is harmless


def test_pictures_are_counted():
    correct, mirrored = (np.array(values, bool) for values in ([1, 1, 1, 0, 0], [1, 0, 0, 1, 0]))
    test = MirrorTest.of(correct, mirrored, np.array([0, 0, 1, 1, 1]))
    assert test == MirrorTest(pictures=5, majority=3, correct=3, lost=2, gained=1)
    assert (test.accuracy, test.mirrored_accuracy) == (0.6, 0.4)


def test_pictures_are_mirrored_left_to_right():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3)).astype(np.uint8)
    (found,) = Mirrored(InMemory(pixels, "cpu")).batches([np.array([3, 1])])
    np.testing.assert_array_equal(found.numpy(), pixels[[3, 1], :, ::-1])


def pictures(*, directed, count=400):
    """Pictures of two classes that differ in the side (or the half, top or bottom) that is bright, with noise."""
    truth = np.arange(count) % 2
    pixels = np.random.default_rng(1).integers(0, 150, (count, SIDE, SIDE, 3))
    for number, row in enumerate(truth):
        half = slice(0, SIDE // 2) if row else slice(SIDE // 2, SIDE)
        pixels[number][(slice(None), half) if directed else half] += 60
    return pixels.astype(np.uint8), truth


@pytest.fixture
def train(make_trainer):
    def train(folder="run", *, directed=True, flip="auto", flip_average=False, advance=None, classes=("a", "b"), **fit):
        pixels, truth = pictures(directed=directed)
        fit = {"epochs": 4, "optimizer": {"name": "adam", "learning_rate": 0.003}, "checkpoint": 0, **fit}
        rest = {"advance": advance} if advance else {}
        return make_trainer(
            layers=["flatten", {"dense": "classes"}], fit=fit, augment={"horizontal_flip": flip}, folder=folder,
            classes=classes, pixels=pixels, truth=truth, held_out=150, model={"flip_average": flip_average}, **rest,
        )  # fmt: skip

    return train


class TestTraining:
    @pytest.mark.parametrize("directed", [True, False])
    @pytest.mark.parametrize("flip", ["auto", True, False])
    def test_answers_are_averaged_where_training_mirrors(self, train, flip, directed):
        trainer = train(flip=flip, directed=directed, flip_average="auto")
        trainer.run()
        assert trainer.network.flip_average is bool(trainer.train_step.augment.horizontal_flip)

    def test_averaging_does_not_hide_that_mirroring_changes_the_class(self, train):
        trainer = train(flip_average=True)
        trainer.run()
        assert trainer.state.horizontal_flip is False
        assert trainer.network.flip_average

    def test_mirroring_stays_off_where_it_changes_the_class(self, train):
        trainer = train()
        trainer.run()
        assert trainer.state.horizontal_flip is False
        assert not trainer.train_step.augment.horizontal_flip
        (note,) = trainer.state.notes
        assert note.code == "flips_off_validation"
        assert note.values["mirrored"] < note.values["plain"] - 0.2
        assert "set augment.horizontal_flip=true" in note.sentence()

    def test_it_is_switched_on_where_it_does_not(self, train):
        trainer = train(directed=False)
        trainer.run()
        assert trainer.state.horizontal_flip is True
        assert trainer.train_step.augment.horizontal_flip is True
        assert trainer.state.notes == []

    @pytest.mark.parametrize("flip", [True, False])
    def test_what_was_chosen_stays(self, train, flip):
        trainer = train(flip=flip)
        trainer.run()
        assert trainer.train_step.augment.horizontal_flip is flip
        assert (trainer.state.horizontal_flip, trainer.state.notes) == (None, [])

    def test_the_first_epoch_is_that_without_mirroring(self, train):
        first = []
        for flip in ("auto", False):
            trainer = train(str(flip), directed=False, flip=flip)
            trainer.run()
            first.append(trainer.state.history[0]["loss"])
        assert first[0] == first[1]

    @pytest.mark.parametrize("directed", [True, False])
    def test_killed_at_any_step(self, train, require_exact, directed):
        def make(**choices):
            return train(directed=directed, batch=64, ema=0.5, **choices)

        require_exact(make, (3, 5, 9))
