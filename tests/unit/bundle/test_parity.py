"""The parity gate lets a faithful file pass, and stops one that answers differently from the fitted model."""

import numpy as np
import pytest

from kilat.bundle.export import export
from kilat.bundle.parity import PICTURES, TOLERANCE, check, sample
from kilat.bundle.predictor import Classifier
from kilat.data.source import ArraySource, PathsSource
from kilat.errors import RunError
from kilat.evaluate.calibration import soften
from kilat.features.extract import OnnxRunner
from kilat.features.fitting import Fitter


@pytest.fixture
def pictures():
    random = np.random.default_rng(4)
    return [random.integers(0, 256, (*random.integers(3, 30, 2), 3), dtype=np.uint8) for _ in range(80)]


@pytest.fixture
def expected(pictures, colours, head):
    """What the fitted model says of them, part by part."""
    fit, run = Fitter(colours.size, "crop"), OnnxRunner(colours)
    return soften(np.concatenate([head.logits(run(fit(one)[None])) for one in pictures]), 1.0)


def test_a_faithful_file_passes(small, pictures, expected):
    source = ArraySource(pictures, ["red"] * 80, "x")
    parity = check(Classifier(small), source, np.arange(80), expected)
    assert parity.pictures == 80
    assert parity.max_difference < 1e-5
    assert parity.labels_agree == 1.0
    assert parity.tolerance == TOLERANCE <= 1e-3


@pytest.mark.parametrize("fault", ["temperature", "resize", "swapped"])
def test_an_unfaithful_file_is_stopped(colours, head, manifest, pictures, expected, fault):
    if fault == "swapped":
        expected = expected[:, [1, 0, 2]]
    temperature = 1.2 if fault == "temperature" else 1.0
    file = export(colours, "squash" if fault == "resize" else "crop", head, temperature, manifest)
    with pytest.raises(RunError, match=r"a probability differs by 0\.\d+ .* on x\[\d+\]") as error:
        check(Classifier(file), ArraySource(pictures, ["red"] * 80, "x"), np.arange(80), expected)
    assert error.value.exit_code == 1


def test_an_answer_that_is_no_number_is_stopped(small, pictures, expected):
    expected[3] = np.nan
    with pytest.raises(RunError):
        check(Classifier(small), ArraySource(pictures, ["red"] * 80, "x"), np.arange(80), expected)


def test_a_picture_that_went_away_is_told(small, tmp_path, expected):
    source = PathsSource([tmp_path / "gone.jpg"], ["red"])
    with pytest.raises(RunError, match="can no longer be read"):
        check(Classifier(small), source, np.arange(1), expected[:1])


@pytest.mark.parametrize("count", [1, 2, 63, PICTURES, 97, 5000])
def test_pictures_are_spread_over_all_of_them(count):
    rows = np.arange(0, 3 * count, 3)
    chosen = sample(rows)
    assert len(chosen) == min(count, PICTURES) == len(set(chosen.tolist()))
    assert PICTURES >= 64
    assert set(chosen) <= set(rows)
    assert chosen[0] == rows[0]
    assert chosen[-1] == rows[-1]
