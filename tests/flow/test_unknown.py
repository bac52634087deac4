"""What every answer comes with: sets and the unknown, for heads and for networks, as the recipe chooses them."""

import csv
import io
import math

import numpy as np
import onnx
import onnxruntime as ort
import pandas as pd
import pytest
from onnx import numpy_helper
from sklearn.datasets import load_digits, load_sample_images

import kilat
from kilat.bundle.predictor import Classifier
from kilat.data.draw import content_position
from kilat.data.source import ArraySource
from kilat.errors import RecipeError
from kilat.evaluate.conformal import ConformalSets

COUNT = 700


@pytest.fixture(scope="module")
def digits():
    """The first handwritten digits, every fifth of them noisy, so that not all are easy."""
    data, random = load_digits(), np.random.default_rng(0)
    images = data.images[:COUNT] * 15
    noise = random.normal(0, 70, images.shape) * (np.arange(COUNT) % 5 == 0)[:, None, None]
    return np.clip(images + noise, 0, 255).astype(np.uint8), [str(digit) for digit in data.target[:COUNT]]


@pytest.fixture(scope="module")
def source(digits):
    return ArraySource(*digits, "some digits")


@pytest.fixture(scope="module")
def not_digits():
    """Forty pictures that are no digits: pieces of photos, and noise."""
    photos, random = load_sample_images().images, np.random.default_rng(1)
    corners = [(int(y), int(x)) for y, x in random.integers(0, 350, (20, 2))]
    pieces = [photos[number % 2][y : y + 64, x : x + 64] for number, (y, x) in enumerate(corners)]
    return [*pieces, *random.integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)]


@pytest.fixture(scope="module")
def train(source, tmp_path_factory):
    """Trains a head on them with some choices."""
    runs = tmp_path_factory.mktemp("runs")
    return lambda **choices: kilat.train(source, runs=runs, **{"head.components": 64, **choices})


@pytest.fixture(scope="module")
def plain(train):
    return train()


def sets_in(run):
    return run.classifier.manifest.thresholds["set"]


def unknown_in(run):
    return run.classifier.manifest.thresholds["unknown"]


class TestDigits:
    def test_what_is_no_digit_is_unknown(self, digits_run, not_digits):
        answers = kilat.load(digits_run.folder).predict(not_digits)
        assert np.mean([answer.unknown for answer in answers]) >= 0.9
        assert all(answer.label in "0123456789" for answer in answers)

    def test_few_digits_are(self, digits_run):
        flagged = digits_run.metrics.unknown.test
        assert flagged.n == digits_run.metrics.test.n
        assert flagged.interval[0] <= digits_run.metrics.unknown.rate == 0.05
        assert flagged.share == flagged.flagged / flagged.n < 0.1

    def test_auroc_of_classes_that_were_left_out(self, digits_run):
        measured = digits_run.metrics.unknown
        assert measured.left_out == 5
        assert measured.methods[0] == "knn"
        assert measured.auroc["+".join(measured.methods)] > 0.8
        assert all(0 <= auroc <= 1 for auroc in measured.auroc.values())

    def test_the_file_says_of_the_test_pictures_what_the_metrics_say(self, plain, digits):
        catalog = pd.read_csv(plain.folder / "catalog.csv")
        rows = np.flatnonzero(catalog["split"] == "test")
        answers = plain.classifier.predict([digits[0][row] for row in rows])
        assert sum(answer.unknown for answer in answers) == plain.metrics.unknown.test.flagged
        sizes = [len(answer.set) for answer in answers]
        covered = [digits[1][row] in answer.set for row, answer in zip(rows, answers, strict=True)]
        assert np.mean(sizes) == pytest.approx(plain.metrics.test.sets.size)
        assert np.mean(covered) == pytest.approx(plain.metrics.test.sets.coverage)

    def test_bare_onnx_runtime_says_the_same(self, plain, digits, not_digits):
        session = ort.InferenceSession(plain.folder / "model.onnx", providers=["CPUExecutionProvider"])
        names = ["probabilities", "embedding", "unknown"]
        assert [one.name for one in session.get_outputs()] == names
        for picture in (*not_digits[::9], np.repeat(digits[0][3][..., None], 3, 2)):
            bare = session.run(names, {"image": picture[None]})
            (output,) = plain.classifier.outputs([picture])
            (prediction,) = plain.classifier.predict(picture)
            np.testing.assert_array_equal(output.probabilities, bare[0][0])
            np.testing.assert_array_equal(output.embedding, bare[1][0])
            assert output.ood_score == bare[2][0]
            assert prediction.unknown == bool(bare[2][0] > 0)
            fits = bare[0][0] >= sets_in(plain)["thresholds"][0]
            fits[bare[0][0].argmax()] = True
            assert set(prediction.set) == {plain.classifier.classes[at] for at in np.flatnonzero(fits)}

    def test_the_reference_is_the_embeddings_of_the_test_pictures(self, plain, digits):
        rows = split_rows(plain, "test")
        found = [output.embedding for output in plain.classifier.outputs(digits[0][row] for row in rows)]
        np.testing.assert_allclose(plain.classifier.reference, np.stack(found), atol=2e-3)

    def test_equal_runs_have_equal_bytes(self, plain, train, assert_same_run):
        assert_same_run(train().folder, plain.folder)


class TestChoices:
    def test_more_coverage_makes_larger_sets(self, plain, train):
        careful = train(coverage=0.99)
        assert (sets_in(plain)["coverage"], sets_in(careful)["coverage"]) == (0.9, 0.99)
        assert careful.metrics.test.sets.target_coverage == 0.99
        assert careful.metrics.test.sets.size > plain.metrics.test.sets.size
        assert careful.metrics.test.sets.coverage >= plain.metrics.test.sets.coverage
        assert careful.metrics.test.log_loss == plain.metrics.test.log_loss

    def test_adaptive_sets_for_every_class(self, train, digits):
        run = train(**{"trust.sets": "raps", "trust.per_class": True, "trust.coverage": 0.8})
        sets = sets_in(run)
        assert (sets["method"], sets["coverage"], len(sets["thresholds"])) == ("raps", 0.8, 10)
        measured = run.metrics.test.sets
        assert (measured.method, measured.target_coverage, measured.per_class) == ("raps", 0.8, True)
        probabilities = run.classifier.predict_proba(digits[0][:50])
        members = ConformalSets.from_dict(sets, 10).members(probabilities, never_empty=True)
        for prediction, row, inside in zip(run.classifier.predict(digits[0][:50]), probabilities, members, strict=True):
            assert prediction.set == [
                run.classifier.classes[at] for at in np.argsort(-row, kind="stable") if inside[at]
            ]

    @pytest.mark.parametrize(
        ("given", "methods", "least"),
        [
            ("energy", ["energy"], 0.0),  # by what speaks for a class alone such pictures are hardly found
            ("max_softmax + knn", ["max_softmax", "knn"], 0.8),
            ("mahalanobis", ["mahalanobis"], 0.3),
        ],
    )
    def test_methods_of_detection(self, train, not_digits, given, methods, least):
        run = train(unknown=given)
        assert unknown_in(run)["methods"] == run.metrics.unknown.methods == methods
        assert (run.metrics.unknown.auroc, run.metrics.unknown.left_out) == ({}, 0)
        assert run.metrics.parity.max_ood_difference < 0.01
        assert np.mean([answer.unknown for answer in run.classifier.predict(not_digits)]) >= least

    def test_a_higher_false_positive_rate(self, plain, train):
        run = train(false_positive_rate=0.3)
        assert unknown_in(run)["rate"] == run.metrics.unknown.rate == 0.3
        test = run.metrics.unknown.test
        assert test.flagged > plain.metrics.unknown.test.flagged
        assert test.interval[0] <= 0.3

    @pytest.mark.parametrize(
        ("choice", "value", "message"),
        [
            ("unknown", "knnn", "'knn'"),
            ("unknown", "knn+enrgy", "'energy'"),
            ("unknown", "", "unknown method ''"),
            ("unknown", "knn+", "unknown method ''"),
            ("unknown", "autto", "'auto'"),
            ("sets", "rap", "'raps'"),
            ("coverage", 1, "less than 1"),
            ("coverage", 0, "greater than 0"),
            ("coverage", 95, "less than 1"),
            ("false_positive_rate", 0, "greater than 0"),
            ("false_positive_rate", 1.5, "less than 1"),
            ("per_class", "often", "per_class"),
            ("coverge", 0.9, "coverage"),
        ],
    )
    def test_invalid_values_are_refused(self, train, choice, value, message):
        with pytest.raises(RecipeError) as caught:
            train(**{f"trust.{choice}": value})
        assert message in str(caught.value)
        assert choice in str(caught.value)

    def test_the_command_line_refuses_before_it_reads(self, kilat_here, tmp_path):
        done = kilat_here("train", "digits", "--set", "trust.unknown=knnn", "--runs", tmp_path / "runs")
        assert done.returncode == 2
        assert "'knn'" in done.stderr
        assert not (tmp_path / "runs").exists()


NETWORK = {
    "data": {"test": 0.2, "validation": 0.15, "calibration": 0.2},
    "input": {"size": 8, "colour": "grey"},
    "model": {"layers": ["flatten", {"dense": 24}, {"activation": "relu"}, {"dense": "classes"}]},
    "fit": {"epochs": 6, "batch": 32, "optimizer": {"name": "adam", "learning_rate": 0.01}},
}


@pytest.fixture(scope="module")
def train_network(tmp_path_factory):
    """Trains the network on a source."""
    pytest.importorskip("torch")
    runs = tmp_path_factory.mktemp("networks")
    return lambda source, **choices: kilat.train(source, NETWORK, runs=runs, **choices)


@pytest.fixture(scope="module")
def trained(train_network, source):
    return train_network(source)


def split_rows(run, split):
    catalog = pd.read_csv(run.folder / "catalog.csv")
    return np.flatnonzero((catalog["split"] == split) & (catalog["status"] == "used"))


def weights(run):
    """The constants of the network inside the file: not the temperature, and not what notices the unknown."""
    graph = onnx.load(run.folder / "model.onnx").graph
    ours = ("answer.", "unknown.", "embedding.")
    return {
        one.name: numpy_helper.to_array(one).tobytes() for one in graph.initializer if not one.name.startswith(ours)
    }


class TestNetwork:
    def test_some_pictures_are_held_out_for_calibration(self, trained):
        counts = {split: len(split_rows(trained, split)) for split in ("train", "validation", "calibration", "test")}
        assert sum(counts.values()) == trained.metrics.data.used
        assert {split: getattr(trained.metrics.data, split) for split in counts} == counts
        assert 80 <= counts["calibration"] <= 150
        assert trained.metrics.validation.n == counts["validation"]
        answered = list(csv.DictReader(io.StringIO((trained.folder / "predictions.csv").read_text("utf-8"))))
        splits = [row["split"] for row in answered]
        for split in ("validation", "calibration", "test"):
            assert splits.count(split) == counts[split]
        assert "train" not in splits

    def test_neither_training_nor_validation_has_them(self, trained, train_network, digits):
        """With other labels for them the same network is trained, with the same measures on the validation pictures.

        Splits are drawn class by class, so the pictures that change places are those far from every boundary.
        """
        images, labels = digits
        rows = split_rows(trained, "calibration")
        table, shares = trained.catalog.loc[rows], trained.recipe.data
        test, validation, calibration = (
            np.array([content_position(one, trained.recipe.runtime.seed, purpose) for one in table["digest"]])
            for purpose in ("test", "validation", "calibration")
        )
        near = (test < 1.6 * shares.test) | (validation < 1.7 * shares.validation)
        inside = rows[~near & (calibration < 0.5 * shares.calibration) & (table["group"] < 0)]
        assert len(inside) > 20
        changed = np.array(labels)
        changed[inside] = np.roll(changed[inside], 1)
        other = train_network(ArraySource(images, changed.tolist(), "some digits"))
        assert split_rows(other, "calibration").tolist() == rows.tolist()
        assert len(weights(trained)) >= 4
        assert weights(other) == weights(trained)
        assert other.metrics.fit.temperature > trained.metrics.fit.temperature
        assert other.metrics.validation.accuracy == trained.metrics.validation.accuracy
        assert sets_in(other)["thresholds"] != sets_in(trained)["thresholds"]
        assert other.metrics.test.sets.size > trained.metrics.test.sets.size

    def test_sets_and_thresholds_come_from_them(self, trained, digits):
        images, labels = digits
        rows = split_rows(trained, "calibration")
        outputs = list(trained.classifier.outputs(images[row] for row in rows))
        truth = np.array([trained.classifier.classes.index(labels[row]) for row in rows])
        sets = ConformalSets.fit(np.stack([one.probabilities for one in outputs]), truth)
        assert sets_in(trained)["thresholds"] == pytest.approx(sets.thresholds, abs=1e-4)
        scores = np.array([one.ood_score for one in outputs])
        assert np.sort(scores)[math.ceil((len(rows) + 1) * 0.95) - 1] == pytest.approx(0, abs=1e-2)
        assert (scores > 0.01).sum() <= len(rows) - math.ceil((len(rows) + 1) * 0.95)

    def test_the_file_has_the_outputs_of_a_head(self, trained, digits, not_digits):
        outputs = [one.name for one in ort.InferenceSession(trained.folder / "model.onnx").get_outputs()]
        assert outputs == ["probabilities", "embedding", "unknown"]
        (output,) = trained.classifier.outputs([digits[0][0]])
        assert 10 < len(output.embedding) <= 24
        assert trained.classifier.reference.shape[1] == len(output.embedding)
        assert np.mean([one.unknown for one in trained.classifier.predict(not_digits)]) > 0.5
        assert trained.metrics.unknown.test.share < 0.15
        assert trained.metrics.unknown.left_out == 5
        assert trained.metrics.parity.max_ood_difference < 0.01
        again = Classifier((trained.folder / "model.onnx").read_bytes())
        assert again.predict(digits[0][0])[0].set == trained.classifier.predict(digits[0][0])[0].set

    def test_equal_trainings_have_equal_bytes(self, trained, train_network, source, assert_same_run):
        assert_same_run(train_network(source).folder, trained.folder)

    def test_the_recipe_decides_here_too(self, train_network, source):
        run = train_network(source, **{"trust.unknown": "energy", "trust.coverage": 0.97, "trust.sets": "raps"})
        assert unknown_in(run)["methods"] == ["energy"]
        assert (sets_in(run)["method"], sets_in(run)["coverage"]) == ("raps", 0.97)

    def test_too_few_to_hold_any_out(self, train_network, digits):
        """Of classes with so few pictures none is drawn; those of the validation serve, and the report says so."""
        images, labels = digits
        few = [row for digit in "012" for row in [at for at, label in enumerate(labels) if label == digit][:7]]
        source = ArraySource(images[few], [labels[row] for row in few], "few")
        run = train_network(source, **{"data.calibration": 0.001, "data.validation": 0.4, "data.test": 0.2})
        assert len(split_rows(run, "calibration")) == 0
        assert run.metrics.validation.n == len(split_rows(run, "validation")) > 0
        assert "validation_serves_calibration" in [note.code for note in run.metrics.notes]
        assert "too few pictures to keep any for <a" in (run.folder / "report.html").read_text("utf-8")
        answered = list(csv.DictReader(io.StringIO((run.folder / "predictions.csv").read_text("utf-8"))))
        paths = [row["path"] for row in answered]
        assert len(paths) == len(set(paths))


def test_a_network_with_one_unit(train_network, digits, not_digits):
    images, labels = digits
    chosen = [row for row, label in enumerate(labels) if label in "01"]
    source = ArraySource(images[chosen], [labels[row] for row in chosen], "zeros and ones")
    layers = ["flatten", {"dense": 8}, {"activation": "relu"}, {"dense": 1}]
    run = train_network(source, **{"model.layers": layers, "fit.loss": "binary_cross_entropy"})
    assert run.metrics.unknown.methods == ["knn"]
    assert run.metrics.parity.max_ood_difference < 0.01
    assert sum(one.unknown for one in run.classifier.predict(not_digits)) > 20


def test_a_network_in_which_all_pictures_look_alike(train_network, digits):
    """As one whose units all died of too high a learning rate: it is measured, and the report says what happened."""
    images, labels = digits
    layers = ["flatten", {"rescale": {"scale": 0.0}}, {"dense": 8}, {"activation": "relu"}, {"dense": "classes"}]
    run = train_network(ArraySource(images[:200], labels[:200], "few"), **{"model.layers": layers, "fit.epochs": 1})
    assert run.metrics.unknown.test.share == 0
    assert "parity_inconclusive" in [note.code for note in run.metrics.notes]
    assert "the network has learned nothing" in (run.folder / "report.html").read_text("utf-8")


def test_a_single_picture_of_each_class_rules_nothing_out(tmp_path):
    images = np.stack([np.full((12, 12, 3), value, np.uint8) for value in (20, 220)])
    run = kilat.train(ArraySource(images, ["dark", "light"], "two"), runs=tmp_path)
    assert unknown_in(run)["rate"] == 1
    answers = run.classifier.predict(np.random.default_rng(0).integers(0, 256, (5, 30, 30, 3), dtype=np.uint8))
    assert not any(answer.unknown for answer in answers)
    assert all(len(answer.set) == 2 for answer in answers)
