"""How far pictures are from ImageNet: zero for its own statistics, and by the formula of normal distributions."""

import numpy as np
import pytest

from kilat.features import lite
from kilat.features.backbone import Block
from kilat.features.domain_shift import domain_shift


def features_with(change_mean=0.0, change_deviation=1.0):
    """Features of two pictures whose channels have ImageNet's statistics, changed by so many deviations, and scaled."""
    values, blocks = [], []
    for stage, (mean, variance) in enumerate(lite.pretrained_statistics(lite.NAME), 1):
        deviation = np.sqrt(variance)
        means = mean + change_mean * deviation
        log_variance = np.log(change_deviation**2 * variance + lite.LOG_FLOOR)
        values += [means, log_variance]
        blocks += [Block(f"stage{stage}.mean", len(mean)), Block(f"stage{stage}.log_variance", len(mean))]
    values.append(np.zeros(8))
    return np.tile(np.concatenate(values), (2, 1)).astype(np.float32), [*blocks, Block("last", 8)]


@pytest.mark.parametrize(
    ("change_mean", "change_deviation", "expected"),
    [(0.0, 1.0, 0.0), (1.0, 1.0, 0.5), (0.0, 2.0, 1.5 - np.log(2)), (2.0, 0.5, 2 - 0.375 + np.log(2))],
)
def test_it_is_the_divergence_of_normal_distributions(change_mean, change_deviation, expected):
    features, blocks = features_with(change_mean, change_deviation)
    assert domain_shift(features, blocks, lite.NAME) == pytest.approx(expected, abs=1e-3)


def test_differences_between_pictures_count_as_variance():
    """Half of the pictures one deviation above, half below: twice the variance, the same mean."""
    above, blocks = features_with(1.0)
    below, _ = features_with(-1.0)
    shift = domain_shift(np.concatenate([above, below]), blocks, lite.NAME)
    assert shift == pytest.approx((1 - np.log(2)) / 2, abs=1e-3)


def test_statistics_are_those_of_the_batch_norms():
    """A stage of one block has them as they are; the sum of two has both means and both variances."""
    tensors, statistics = lite.read_lite(lite.NAME), lite.pretrained_statistics(lite.NAME)
    assert [len(mean) for mean, _ in statistics] == [16, 24, 40, 80, 112, 192, 320]
    np.testing.assert_allclose(statistics[0][0], tensors["_blocks.0._bn2.bias"], rtol=1e-6)
    both = tensors["_blocks.1._bn2.weight"] ** 2 + tensors["_blocks.2._bn2.weight"] ** 2
    np.testing.assert_allclose(statistics[1][1], both, rtol=1e-6)


def test_other_backbones_have_no_known_statistics():
    assert domain_shift(np.zeros((2, 8), np.float32), [Block("last", 8)], "resnet18") is None
