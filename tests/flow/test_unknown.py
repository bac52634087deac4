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
def strange():
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
    def test_what_is_no_digit_is_unknown(self, digits_run, strange):
        answers = kilat.load(digits_run.folder).predict(strange)
        assert np.mean([answer.unknown for answer in answers]) >= 0.9
        assert all(answer.label in "0123456789" for answer in answers)

    def test_few_digits_are(self, digits_run):
        alarms = digits_run.metrics.unknown.test
        assert alarms["n"] == digits_run.metrics.test.n
        assert alarms["interval"][0] <= digits_run.metrics.unknown.rate == 0.05
        assert alarms["share"] == alarms["flagged"] / alarms["n"] < 0.1

    def test_classes_that_were_left_out_are_told_from_the_others(self, digits_run):
        measured = digits_run.metrics.unknown
        assert measured["left_out"] == 5
        assert measured["methods"][0] == "knn"
        assert measured["auroc"]["+".join(measured["methods"])] > 0.8
        assert all(0 <= area <= 1 for area in measured["auroc"].values())

    def test_the_file_says_of_the_test_pictures_what_the_metrics_say(self, plain, digits):
        catalog = pd.read_csv(plain.folder / "catalog.csv")
        rows = np.flatnonzero(catalog["split"] == "test")
        answers = plain.classifier.predict([digits[0][row] for row in rows])
        assert sum(answer.unknown for answer in answers) == plain.metrics.unknown.test.flagged
        sizes = [len(answer.set) for answer in answers]
        covered = [digits[1][row] in answer.set for row, answer in zip(rows, answers, strict=True)]
        assert np.mean(sizes) == pytest.approx(plain.metrics.test.sets.size)
        assert np.mean(covered) == pytest.approx(plain.metrics.test.sets.coverage)

    def test_bare_onnx_runtime_says_the_same(self, plain, digits, strange):
        session = ort.InferenceSession(plain.folder / "model.onnx", providers=["CPUExecutionProvider"])
        names = ["probabilities", "embedding", "unknown"]
        assert [one.name for one in session.get_outputs()] == names
        for picture in (*strange[::9], np.repeat(digits[0][3][..., None], 3, 2)):
            bare = session.run(names, {"image": picture[None]})
            (answer,) = plain.classifier.outcomes([picture])
            (prediction,) = plain.classifier.predict(picture)
            np.testing.assert_array_equal(answer.probabilities, bare[0][0])
            np.testing.assert_array_equal(answer.embedding, bare[1][0])
            assert answer.unknown == bare[2][0]
            assert prediction.unknown == bool(bare[2][0] > 0)
            fits = bare[0][0] >= sets_in(plain)["thresholds"][0]
            fits[bare[0][0].argmax()] = True
            assert set(prediction.set) == {plain.classifier.classes[at] for at in np.flatnonzero(fits)}

    def test_the_reference_is_where_the_test_pictures_lie(self, plain, digits):
        rows = split_rows(plain, "test")
        found = [answer.embedding for answer in plain.classifier.outcomes(digits[0][row] for row in rows)]
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
        assert (measured["method"], measured["target_coverage"], measured["per_class"]) == ("raps", 0.8, True)
        probabilities = run.classifier.predict_proba(digits[0][:50])
        members = ConformalSets.from_dict(sets, 10).members(probabilities, never_empty=True)
        for prediction, row, inside in zip(run.classifier.predict(digits[0][:50]), probabilities, members, strict=True):
            assert prediction.set == [
                run.classifier.classes[at] for at in np.argsort(-row, kind="stable") if inside[at]
            ]

    @pytest.mark.parametrize(
        ("given", "methods", "least"),
        [
            ("energy", ["energy"], 0.0),  # by what speaks for a class alone such pictures are hardly noticed
            ("max_softmax + knn", ["max_softmax", "knn"], 0.8),
            ("mahalanobis", ["mahalanobis"], 0.3),
        ],
    )
    def test_how_the_unknown_is_noticed(self, train, strange, given, methods, least):
        run = train(unknown=given)
        assert unknown_in(run)["methods"] == run.metrics.unknown.methods == methods
        assert (run.metrics.unknown.auroc, run.metrics.unknown.left_out) == ({}, 0)
        assert run.metrics.parity.max_ood_difference < 0.01
        assert np.mean([answer.unknown for answer in run.classifier.predict(strange)]) >= least

    def test_more_false_alarms(self, plain, train):
        loud = train(false_positive_rate=0.3)
        assert unknown_in(loud)["rate"] == loud.metrics.unknown.rate == 0.3
        alarms = loud.metrics.unknown.test
        assert alarms["flagged"] > plain.metrics.unknown.test.flagged
        assert alarms["interval"][0] <= 0.3

    @pytest.mark.parametrize(
        ("choice", "value", "told"),
        [
            ("unknown", "knnn", "'knn'"),
            ("unknown", "knn+enrgy", "'energy'"),
            ("unknown", "", "there is no ''"),
            ("unknown", "knn+", "there is no ''"),
            ("unknown", "autto", "'auto'"),
            ("sets", "rap", "'raps'"),
            ("coverage", 1, "less than 1"),
            ("coverage", 0, "greater than 0"),
            ("coverage", 95, "less than 1"),
            ("false_alarms", 0, "greater than 0"),
            ("false_alarms", 1.5, "less than 1"),
            ("per_class", "often", "per_class"),
            ("coverge", 0.9, "coverage"),
        ],
    )
    def test_what_cannot_be_meant_is_refused(self, train, choice, value, told):
        with pytest.raises(RecipeError) as caught:
            train(**{f"trust.{choice}": value})
        assert told in str(caught.value)
        assert choice in str(caught.value)

    def test_the_command_line_refuses_before_it_looks(self, kilat_here, tmp_path):
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
def learn(tmp_path_factory):
    """Trains the network on a source."""
    pytest.importorskip("torch")
    runs = tmp_path_factory.mktemp("networks")
    return lambda source, **choices: kilat.train(source, NETWORK, runs=runs, **choices)


@pytest.fixture(scope="module")
def learnt(learn, source):
    return learn(source)


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
    def test_some_pictures_are_kept_aside(self, learnt):
        counts = {split: len(split_rows(learnt, split)) for split in ("train", "validation", "calibration", "test")}
        assert sum(counts.values()) == learnt.metrics.data.used
        assert {split: learnt.metrics.data[split] for split in counts} == counts
        assert 80 <= counts["calibration"] <= 150
        assert learnt.metrics.validation.n == counts["validation"]
        answered = list(csv.DictReader(io.StringIO((learnt.folder / "predictions.csv").read_text("utf-8"))))
        splits = [row["split"] for row in answered]
        for split in ("validation", "calibration", "test"):
            assert splits.count(split) == counts[split]
        assert "train" not in splits

    def test_neither_training_nor_validation_holds_them(self, learnt, learn, digits):
        """With other labels for them the same network is learnt, and measured alike on the validation pictures."""
        images, labels = digits
        rows = split_rows(learnt, "calibration")
        changed = np.array(labels)
        changed[rows] = np.roll(changed[rows], 1)
        other = learn(ArraySource(images, changed.tolist(), "some digits"))
        assert split_rows(other, "calibration").tolist() == rows.tolist()
        assert len(weights(learnt)) >= 4
        assert weights(other) == weights(learnt)
        assert other.metrics.fit.temperature > learnt.metrics.fit.temperature
        assert other.metrics.validation.accuracy == learnt.metrics.validation.accuracy
        assert sets_in(other)["thresholds"] != sets_in(learnt)["thresholds"]
        assert other.metrics.test.sets.size > learnt.metrics.test.sets.size

    def test_sets_and_thresholds_come_from_them(self, learnt, digits):
        images, labels = digits
        rows = split_rows(learnt, "calibration")
        answers = list(learnt.classifier.outcomes(images[row] for row in rows))
        truth = np.array([learnt.classifier.classes.index(labels[row]) for row in rows])
        sets = ConformalSets.fit(np.stack([one.probabilities for one in answers]), truth)
        assert sets_in(learnt)["thresholds"] == pytest.approx(sets.thresholds, abs=1e-4)
        strange = np.array([one.unknown for one in answers])
        assert np.sort(strange)[math.ceil((len(rows) + 1) * 0.95) - 1] == pytest.approx(0, abs=1e-2)
        assert (strange > 0.01).sum() <= len(rows) - math.ceil((len(rows) + 1) * 0.95)

    def test_the_file_gives_all_that_a_heads_gives(self, learnt, digits, strange):
        outputs = [one.name for one in ort.InferenceSession(learnt.folder / "model.onnx").get_outputs()]
        assert outputs == ["probabilities", "embedding", "unknown"]
        (answer,) = learnt.classifier.outcomes([digits[0][0]])
        assert 10 < len(answer.embedding) <= 24
        assert learnt.classifier.reference.shape[1] == len(answer.embedding)
        assert np.mean([one.unknown for one in learnt.classifier.predict(strange)]) > 0.5
        assert learnt.metrics.unknown.test.share < 0.15
        assert learnt.metrics.unknown.left_out == 5
        assert learnt.metrics.parity.max_ood_difference < 0.01
        again = Classifier((learnt.folder / "model.onnx").read_bytes())
        assert again.predict(digits[0][0])[0].set == learnt.classifier.predict(digits[0][0])[0].set

    def test_equal_trainings_have_equal_bytes(self, learnt, learn, source, assert_same_run):
        assert_same_run(learn(source).folder, learnt.folder)

    def test_choices_act_here_too(self, learn, source):
        run = learn(source, **{"trust.unknown": "energy", "trust.coverage": 0.97, "trust.sets": "raps"})
        assert unknown_in(run)["methods"] == ["energy"]
        assert (sets_in(run)["method"], sets_in(run)["coverage"]) == ("raps", 0.97)

    def test_too_few_to_keep_any_aside(self, learn, digits):
        """Of classes with so few pictures none is drawn; those of the validation serve, and the report says so."""
        images, labels = digits
        few = [row for digit in "012" for row in [at for at, label in enumerate(labels) if label == digit][:7]]
        source = ArraySource(images[few], [labels[row] for row in few], "few")
        run = learn(source, **{"data.calibration": 0.001, "data.validation": 0.4, "data.test": 0.2})
        assert len(split_rows(run, "calibration")) == 0
        assert run.metrics.validation.n == len(split_rows(run, "validation")) > 0
        assert "Too few pictures to keep any aside for calibration" in (run.folder / "report.html").read_text("utf-8")
        answered = list(csv.DictReader(io.StringIO((run.folder / "predictions.csv").read_text("utf-8"))))
        paths = [row["path"] for row in answered]
        assert len(paths) == len(set(paths))


def test_one_unit_notices_too(learn, digits, strange):
    images, labels = digits
    chosen = [row for row, label in enumerate(labels) if label in "01"]
    source = ArraySource(images[chosen], [labels[row] for row in chosen], "zeros and ones")
    layers = ["flatten", {"dense": 8}, {"activation": "relu"}, {"dense": 1}]
    run = learn(source, **{"model.layers": layers, "fit.loss": "binary_cross_entropy"})
    assert run.metrics.unknown.methods == ["knn"]
    assert run.metrics.parity.max_ood_difference < 0.01
    assert sum(one.unknown for one in run.classifier.predict(strange)) > 20


def test_a_single_picture_of_each_class_promises_nothing(tmp_path):
    images = np.stack([np.full((12, 12, 3), value, np.uint8) for value in (20, 220)])
    run = kilat.train(ArraySource(images, ["dark", "light"], "two"), runs=tmp_path)
    assert unknown_in(run)["rate"] == 1
    answers = run.classifier.predict(np.random.default_rng(0).integers(0, 256, (5, 30, 30, 3), dtype=np.uint8))
    assert not any(answer.unknown for answer in answers)
    assert all(len(answer.set) == 2 for answer in answers)
