"""One budget divides a time limit: features, fine-tuning, training; and what is done where features take too long."""

import math
from collections import Counter

import numpy as np
import pytest

from kilat.data.arrays import ArraySource
from kilat.learn.time_budget import TimeBudget, cheaper_features, rows_to_leave_out
from kilat.recipe import Features


class Clock:
    """A clock that stands still until it is set."""

    time = 1000.0

    def __call__(self):
        return self.time


def test_without_a_limit_everything_takes_as_long_as_it_takes():
    budget = TimeBudget()
    assert budget.deadline is None
    assert budget.for_features(before_finetuning=True) == math.inf
    assert not budget.is_late_for_finetuning


def test_a_limit_counts_from_the_start_of_the_run():
    clock = Clock()
    budget = TimeBudget(100.0, started=1000.0, now=clock)
    clock.time = 1010.0
    assert budget.deadline.remaining() == 90.0
    assert budget.for_features(before_finetuning=False) == pytest.approx(50.0)
    assert budget.for_features(before_finetuning=True) == pytest.approx(25.0)


def test_fine_tuning_begins_only_while_enough_is_left_for_it():
    clock = Clock()
    budget = TimeBudget(100.0, started=1000.0, now=clock)
    clock.time = 1039.0
    assert not budget.is_late_for_finetuning
    clock.time = 1041.0
    assert budget.is_late_for_finetuning


@pytest.mark.parametrize(
    ("wanted", "last"),
    [
        (Features(), Features(precision="int8")),
        (
            Features(backbone="efficientnet_lite0+efficientnet_lite2", precision="fp32", flip_average=True),
            Features(backbone="efficientnet_lite0", precision="int8"),
        ),
        (Features(backbone="resnet18"), Features(backbone="resnet18")),
    ],
)
def test_what_is_extracted_instead(wanted, last):
    found = list(cheaper_features(wanted))
    assert found[0] == wanted
    assert found[-1] == last


def test_the_same_share_of_every_class_is_left_out():
    labels = np.repeat(["a", "b", "c"], [1000, 500, 20])
    source = ArraySource(np.zeros((len(labels), 2, 2, 3), np.uint8), labels, "made")
    gone = rows_to_leave_out(source, rate=10, seconds=76)  # room for 608 of 1,520: four of ten
    left = Counter(labels.tolist()) - Counter(labels[gone].tolist())
    assert left == {"a": 400, "b": 200, "c": 20}
    assert len(set(gone.tolist())) == len(gone)
