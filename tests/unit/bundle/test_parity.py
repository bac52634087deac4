"""The parity gate lets a faithful file pass, and stops one whose outputs differ from the fitted classifier's."""

from dataclasses import replace

import numpy as np
import pytest

from kilat.bundle.assemble import assemble_frozen, assemble_network
from kilat.bundle.parity import MAX_PICTURES, TOLERANCE, check_parity, sample_rows
from kilat.bundle.predictor import Classifier
from kilat.data.source import ArraySource, PathsSource
from kilat.errors import RunError
from kilat.evaluate.calibration import apply_temperature
from kilat.features.processing import OnnxRunner
from kilat.features.resize_graph import Resizer


@pytest.fixture
def pictures():
    random = np.random.default_rng(4)
    return [random.integers(0, 256, (*random.integers(3, 30, 2), 3), dtype=np.uint8) for _ in range(80)]


@pytest.fixture
def features(pictures, colours):
    """Their features."""
    fit, run = Resizer(colours.size, "crop"), OnnxRunner(colours)
    return np.concatenate([run(fit(one)[None]) for one in pictures])


@pytest.fixture
def expected(features, head):
    """The probabilities of the fitted classifier, part by part."""
    return apply_temperature(head.logits(features), 1.0)


@pytest.fixture
def unknown(features, head, ood):
    """The scores of the fitted detector."""
    return ood.detector.score(ood.projection((features - head.mean) * head.scale), head.logits(features))


def test_a_faithful_file_passes(small, pictures, expected, unknown):
    source = ArraySource(pictures, ["red"] * 80, "x")
    parity = check_parity(Classifier(small), source, np.arange(80), expected, unknown)
    assert parity.max_ood_difference < 1e-3
    assert parity.pictures == 80
    assert parity.max_difference < 1e-5
    assert parity.labels_agree == 1.0
    assert parity.tolerance == TOLERANCE <= 1e-3


@pytest.mark.parametrize("fault", ["temperature", "resize", "swapped"])
def test_an_unfaithful_file_is_stopped(colours, head, manifest, ood, pictures, expected, fault):
    if fault == "swapped":
        expected = expected[:, [1, 0, 2]]
    insensitive = replace(ood, detector=replace(ood.detector, spreads=(1e9, 1e9), threshold=0.0))
    temperature = 1.2 if fault == "temperature" else 1.0
    file = assemble_frozen(colours, "squash" if fault == "resize" else "crop", head, temperature, manifest, insensitive)
    with pytest.raises(RunError, match=r"a probability differs by 0\.\d+ .* on x\[\d+\]") as error:
        check_parity(Classifier(file), ArraySource(pictures, ["red"] * 80, "x"), np.arange(80), expected, np.zeros(80))
    assert error.value.exit_code == 1


@pytest.mark.parametrize("fault", ["threshold", "swapped", "no number", "none"])
def test_a_file_with_other_scores_is_stopped(small, pictures, expected, unknown, fault):
    faults = {"threshold": unknown + 0.05, "swapped": unknown[::-1], "no number": np.full(80, np.nan)}
    scores = {**faults, "none": np.full(80, -np.inf)}[fault]
    with pytest.raises(RunError, match=r"disagree on unknown pictures: a score differs by .* on x\[\d+\]"):
        check_parity(Classifier(small), ArraySource(pictures, ["red"] * 80, "x"), np.arange(80), expected, scores)


def test_a_file_without_a_detector_passes_where_there_is_none(trained, manifest, pictures):
    file = assemble_network(trained(np.eye(3)), size=4, resize="crop", temperature=1.0, manifest=manifest)
    expected = Classifier(file).predict_proba(pictures)
    source = ArraySource(pictures, ["red"] * 80, "x")
    assert check_parity(Classifier(file), source, np.arange(80), expected, None).max_ood_difference == 0
    with pytest.raises(RunError, match="disagree on unknown pictures"):
        check_parity(Classifier(file), source, np.arange(80), expected, np.zeros(80))


class TestHardlyVarying:
    """A classifier whose probabilities differ between pictures by less than the tolerance, so that logits must tell."""

    def file(self, trained, manifest, by: float, order=(0, 1, 2), resize="squash", scale=1.0) -> Classifier:
        """Return a classifier of the mean colour, whose logits vary by about ``by`` over the pictures."""
        network = trained(10 * by * scale * np.eye(3)[list(order)])
        return Classifier(assemble_network(network, size=4, resize=resize, temperature=1.0, manifest=manifest))

    @pytest.fixture
    def source(self, pictures):
        return ArraySource(pictures, ["red"] * 80, "x")

    def test_a_faithful_file_passes(self, trained, manifest, pictures, source):
        file = self.file(trained, manifest, 1e-3)
        expected = file.predict_proba(pictures)
        assert np.ptp(expected, axis=0).max() < TOLERANCE
        parity = check_parity(file, source, np.arange(80), expected, None)
        assert (parity.logit_difference, parity.labels_agree) == (0, 1)

    @pytest.mark.parametrize("by", [1e-3, 1.0])
    @pytest.mark.parametrize(
        "fault",
        [{"order": (2, 1, 0)}, {"scale": 255.0}, {"scale": 0.9}, {"resize": "crop"}],
        ids=["swapped channels", "missing rescaling", "perturbed weights", "wrong resize"],
    )
    def test_a_fault_is_found(self, fault, by, trained, manifest, pictures, source):
        expected = self.file(trained, manifest, by).predict_proba(pictures)
        unfaithful = self.file(trained, manifest, by, **fault)
        with pytest.raises(RunError, match=r"disagree: a (logit|probability) differs by"):
            check_parity(unfaithful, source, np.arange(80), expected, None)

    def test_a_fault_that_no_probability_shows_is_found_in_logits(self, trained, manifest, pictures, source):
        expected = self.file(trained, manifest, 1e-3).predict_proba(pictures)
        unfaithful = self.file(trained, manifest, 1e-3, scale=0.9)
        assert np.abs(unfaithful.predict_proba(pictures) - expected).max() < TOLERANCE
        with pytest.raises(RunError, match=r"a logit differs by \d+\.\d% of how logits vary over the pictures"):
            check_parity(unfaithful, source, np.arange(80), expected, None)

    def test_classes_in_another_order_are_found(self, trained, manifest, pictures, source):
        file = self.file(trained, manifest, 1e-3)
        with pytest.raises(RunError, match="a logit differs"):
            check_parity(file, source, np.arange(80), file.predict_proba(pictures)[:, [1, 0, 2]], None)

    @pytest.mark.parametrize(("by", "conclusive"), [(1.0, True), (1e-3, False), (0.0, False)])
    def test_it_says_whether_it_shows_anything(self, by, conclusive, trained, manifest, pictures, source):
        file = self.file(trained, manifest, by)
        parity = check_parity(file, source, np.arange(80), file.predict_proba(pictures), None)
        assert parity.conclusive is conclusive
        assert [note.code for note in parity.notes()] == ([] if conclusive else ["parity_inconclusive"])

    def test_one_picture_shows_nothing(self, trained, manifest, pictures, source):
        file = self.file(trained, manifest, 1.0)
        parity = check_parity(file, source, np.arange(1), file.predict_proba(pictures[:1]), None)
        assert not parity.conclusive
        assert "on one picture only" in parity.notes()[0].sentence()

    def test_answers_that_are_equally_likely_are_no_disagreement(self, trained, manifest, pictures, source):
        file = self.file(trained, manifest, 0.0)
        expected = file.predict_proba(pictures) + np.float32([0, 1e-7, 0])
        assert check_parity(file, source, np.arange(80), expected, None).labels_agree == 1


def test_a_probability_that_is_not_finite_is_stopped(small, pictures, expected, unknown):
    expected[3] = np.nan
    with pytest.raises(RunError):
        check_parity(Classifier(small), ArraySource(pictures, ["red"] * 80, "x"), np.arange(80), expected, unknown)


def test_a_picture_that_is_gone_is_an_error(small, tmp_path, expected, unknown):
    source = PathsSource([tmp_path / "gone.jpg"], ["red"])
    with pytest.raises(RunError, match="can no longer be read"):
        check_parity(Classifier(small), source, np.arange(1), expected[:1], unknown[:1])


@pytest.mark.parametrize("count", [1, 2, 63, MAX_PICTURES, 97, 5000])
def test_pictures_are_spread_over_all_of_them(count):
    rows = np.arange(0, 3 * count, 3)
    chosen = sample_rows(rows)
    assert len(chosen) == min(count, MAX_PICTURES) == len(set(chosen.tolist()))
    assert MAX_PICTURES >= 64
    assert set(chosen) <= set(rows)
    assert chosen[0] == rows[0]
    assert chosen[-1] == rows[-1]
