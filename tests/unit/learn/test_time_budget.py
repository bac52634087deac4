"""One budget divides a time limit: features, fine-tuning, training; and what is done where features take too long."""

import math
from collections import Counter

import numpy as np
import pytest

from kilat.data.arrays import ArraySource
from kilat.learn.time_budget import UNLIMITED, TimeBudget, cheaper_features, stratified_order
from kilat.recipe import Features


class Clock:
    """A clock that stands still until it is set."""

    time = 1000.0

    def __call__(self):
        return self.time


def test_without_a_limit_everything_takes_as_long_as_it_takes():
    budget = TimeBudget()
    assert budget.deadline is None
    assert budget.for_features(before_training=True) == math.inf
    assert not budget.is_late_for_finetuning


def test_a_limit_counts_from_the_start_of_the_run():
    clock = Clock()
    budget = TimeBudget(100.0, started=1000.0, now=clock)
    clock.time = 1010.0
    assert budget.deadline.remaining() == 90.0
    assert budget.for_features(before_training=False) == pytest.approx(50.0)
    assert budget.for_features(before_training=True) == pytest.approx(25.0)


def test_fine_tuning_begins_only_while_enough_is_left_for_it():
    clock = Clock()
    budget = TimeBudget(100.0, started=1000.0, now=clock)
    clock.time = 1039.0
    assert not budget.is_late_for_finetuning
    clock.time = 1041.0
    assert budget.is_late_for_finetuning
    clock.time = 1050.0
    assert not budget.is_late_for_training(19.0)
    assert budget.is_late_for_training(21.0)  # to answer pictures takes too long on this machine now
    assert not UNLIMITED.is_late_for_training(1e9)


@pytest.mark.parametrize(
    ("wanted", "last"),
    [
        (Features(), Features()),
        (Features(precision="fp32"), Features(precision="int8")),
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


class TestOrder:
    def test_wherever_it_ends_every_class_has_the_same_share(self):
        labels = np.repeat(["a", "b", "c"], [1000, 500, 20])
        order, least = stratified_order(ArraySource(np.zeros((1520, 2, 2, 3), np.uint8), labels, "made"))
        assert sorted(order.tolist()) == list(range(1520))
        assert least == 3
        assert set(labels[order[:3]]) == {"a", "b", "c"}
        assert Counter(labels[order[:6]].tolist()) == {"a": 2, "b": 2, "c": 2}
        for count in (152, 608, 1100):
            left = Counter(labels[order[:count]].tolist())
            for name, size in (("a", 1000), ("b", 500), ("c", 20)):
                assert abs(left[name] - size * count / 1520) <= 3, (count, name)

    def test_its_beginning_comes_from_all_over_a_class(self):
        order, _ = stratified_order(ArraySource(np.zeros((1000, 2, 2, 3), np.uint8), ["a"] * 1000, "made"))
        assert set(Counter((order[:100] // 100).tolist()).values()) <= {9, 10, 11}


class TestHead:
    def test_parts_end_in_turn_and_before_the_closing(self):
        clock = Clock()
        budget = TimeBudget(100.0, started=1000.0, now=clock)
        clock.time = 1035.0  # 50 seconds until the closing, which begins at 85
        times = budget.for_head()
        over = {name: [] for name in ("search", "folds", "end")}
        for second in range(1035, 1090):
            clock.time = float(second)
            for name, moments in over.items():
                if getattr(times, name)():
                    moments.append(second)
        assert {name: moments[0] for name, moments in over.items()} == {"search": 1055, "folds": 1068, "end": 1075}

    def test_where_it_is_late_already_all_are_over(self):
        budget = TimeBudget(10.0, started=0.0, now=lambda: 12.0)
        times = budget.for_head()
        assert times.search()
        assert times.folds()
        assert times.end()
        assert not budget.has_time()

    def test_without_a_limit_none_ever_is(self):
        times = UNLIMITED.for_head()
        assert not times.search()
        assert not times.folds()
        assert not times.end()
        assert UNLIMITED.has_time(1e9)


def test_there_is_time_for_what_ends_before_the_closing():
    clock = Clock()
    budget = TimeBudget(100.0, started=1000.0, now=clock)
    clock.time = 1080.0
    assert budget.has_time(4.9)
    assert not budget.has_time(5.1)
