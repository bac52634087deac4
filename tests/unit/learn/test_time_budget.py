"""A pass gives up in time, and what is left out is the same share of every class and split."""

from collections import Counter

import numpy as np
import pytest

from kilat.data.arrays import ArraySource
from kilat.learn import time_budget
from kilat.recipe import Features


class Clock:
    """A clock that goes on by a step at every look."""

    def __init__(self, step):
        self.time, self.step = 0.0, step

    def __call__(self):
        self.time += self.step
        return self.time


def run(pace, total, seconds):
    """A pass in which every picture takes some seconds; gives how many were done."""
    advance = time_budget.watched(lambda done, total: None, seconds, now=Clock(pace))
    done = 0
    for done in range(1, total + 1):
        advance(done, total)
    return done


def test_what_ends_in_time_goes_on():
    assert run(pace=0.1, total=1000, seconds=101) == 1000


def test_what_would_not_is_given_up_early_with_its_rate():
    with pytest.raises(time_budget.TooSlowError) as caught:
        run(pace=0.1, total=10_000, seconds=100)
    assert caught.value.rate == pytest.approx(10)


def test_a_pass_that_is_well_on_its_way_is_let_end_a_little_late():
    advance = time_budget.watched(lambda done, total: None, 100, now=(clock := Clock(0.09)))
    for done in range(1, 600):
        advance(done, 1000)
    clock.step = 0.13
    for done in range(600, 1001):
        advance(done, 1000)


@pytest.mark.parametrize(
    ("wanted", "then"),
    [
        (Features(), [Features(), Features(precision="int8")]),
        (
            Features(backbone="efficientnet_lite0+efficientnet_lite2", precision="fp32", flip_average=True),
            [Features(backbone="efficientnet_lite0", precision="int8")],
        ),
        (Features(backbone="resnet18"), [Features(backbone="resnet18")]),
    ],
)
def test_what_is_looked_at_instead(wanted, then):
    found = list(time_budget.cheaper(wanted))
    assert found[0] == wanted
    assert found[-1] == then[-1]


def test_the_same_share_of_every_class_is_left_out():
    labels = np.repeat(["a", "b", "c"], [1000, 500, 20])
    source = ArraySource(np.zeros((len(labels), 2, 2, 3), np.uint8), labels, "made")
    gone = time_budget.left_out(source, rate=10, seconds=76)  # room for 608 of 1,520: four of ten
    left = Counter(labels.tolist()) - Counter(labels[gone].tolist())
    assert left == {"a": 400, "b": 200, "c": 20}
    assert len(set(gone.tolist())) == len(gone)
