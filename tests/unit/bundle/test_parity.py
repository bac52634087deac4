"""The parity gate lets a faithful file pass, and stops one that answers differently from the fitted model."""

from dataclasses import replace

import numpy as np
import pytest

from kilat.bundle.assemble import export, export_network
from kilat.bundle.parity import PICTURES, TOLERANCE, check, sample
from kilat.bundle.predictor import Classifier
from kilat.data.source import ArraySource, PathsSource
from kilat.errors import RunError
from kilat.evaluate.calibration import apply_temperature
from kilat.features.extract import OnnxRunner
from kilat.features.resize_graph import Resizer


@pytest.fixture
def pictures():
    random = np.random.default_rng(4)
    return [random.integers(0, 256, (*random.integers(3, 30, 2), 3), dtype=np.uint8) for _ in range(80)]


@pytest.fixture
def features(pictures, colours):
    """What the network sees of them."""
    fit, run = Resizer(colours.size, "crop"), OnnxRunner(colours)
    return np.concatenate([run(fit(one)[None]) for one in pictures])


@pytest.fixture
def expected(features, head):
    """What the fitted model says of them, part by part."""
    return apply_temperature(head.logits(features), 1.0)


@pytest.fixture
def unknown(features, head, senses):
    """How unknown they are to the fitted model."""
    return senses.detector.score(senses.projection((features - head.mean) * head.scale), head.logits(features))


def test_a_faithful_file_passes(small, pictures, expected, unknown):
    source = ArraySource(pictures, ["red"] * 80, "x")
    parity = check(Classifier(small), source, np.arange(80), expected, unknown)
    assert parity.max_ood_difference < 1e-3
    assert parity.pictures == 80
    assert parity.max_difference < 1e-5
    assert parity.labels_agree == 1.0
    assert parity.tolerance == TOLERANCE <= 1e-3


@pytest.mark.parametrize("fault", ["temperature", "resize", "swapped"])
def test_an_unfaithful_file_is_stopped(colours, head, manifest, senses, pictures, expected, fault):
    if fault == "swapped":
        expected = expected[:, [1, 0, 2]]
    blind = replace(senses, detector=replace(senses.detector, spreads=(1e9, 1e9), threshold=0.0))
    temperature = 1.2 if fault == "temperature" else 1.0
    file = export(colours, "squash" if fault == "resize" else "crop", head, temperature, manifest, blind)
    with pytest.raises(RunError, match=r"a probability differs by 0\.\d+ .* on x\[\d+\]") as error:
        check(Classifier(file), ArraySource(pictures, ["red"] * 80, "x"), np.arange(80), expected, np.zeros(80))
    assert error.value.exit_code == 1


@pytest.mark.parametrize("fault", ["threshold", "swapped", "no number", "none"])
def test_a_file_that_notices_other_pictures_is_stopped(small, pictures, expected, unknown, fault):
    faults = {"threshold": unknown + 0.05, "swapped": unknown[::-1], "no number": np.full(80, np.nan)}
    told = {**faults, "none": np.full(80, -np.inf)}[fault]
    with pytest.raises(RunError, match=r"does not notice unknown pictures as the fitted model does.* on x\[\d+\]"):
        check(Classifier(small), ArraySource(pictures, ["red"] * 80, "x"), np.arange(80), expected, told)


def test_a_file_that_notices_nothing_passes_where_nothing_is_to_be_noticed(trained, manifest, pictures):
    file = export_network(trained(np.eye(3)), size=4, resize="crop", temperature=1.0, manifest=manifest)
    expected = Classifier(file).predict_proba(pictures)
    source = ArraySource(pictures, ["red"] * 80, "x")
    assert check(Classifier(file), source, np.arange(80), expected, None).max_ood_difference == 0
    with pytest.raises(RunError, match="does not notice unknown pictures"):
        check(Classifier(file), source, np.arange(80), expected, np.zeros(80))


def test_an_answer_that_is_no_number_is_stopped(small, pictures, expected, unknown):
    expected[3] = np.nan
    with pytest.raises(RunError):
        check(Classifier(small), ArraySource(pictures, ["red"] * 80, "x"), np.arange(80), expected, unknown)


def test_a_picture_that_went_away_is_told(small, tmp_path, expected, unknown):
    source = PathsSource([tmp_path / "gone.jpg"], ["red"])
    with pytest.raises(RunError, match="can no longer be read"):
        check(Classifier(small), source, np.arange(1), expected[:1], unknown[:1])


@pytest.mark.parametrize("count", [1, 2, 63, PICTURES, 97, 5000])
def test_pictures_are_spread_over_all_of_them(count):
    rows = np.arange(0, 3 * count, 3)
    chosen = sample(rows)
    assert len(chosen) == min(count, PICTURES) == len(set(chosen.tolist()))
    assert PICTURES >= 64
    assert set(chosen) <= set(rows)
    assert chosen[0] == rows[0]
    assert chosen[-1] == rows[-1]
