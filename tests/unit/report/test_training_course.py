"""How a training's curves read."""

from typing import Any

import pytest

from kilat.report.training_course import Course


def rows(losses: list[float]) -> list[dict[str, Any]]:
    return [
        {"epoch": e, "validation_loss": loss, "accuracy": 0.9, "validation_accuracy": 0.8}
        for e, loss in enumerate(losses, 1)
    ]


def course(*losses: float, best: int | None = None) -> Course:
    found = Course.of(rows(list(losses)), best)
    assert found is not None
    return found


def test_a_loss_that_rises_again_says_from_where_on():
    (first, both) = course(1.0, 0.5, 0.4, 0.6, 0.9).sentences()
    assert "to 0.4 in epoch 3 and rose again to 0.9 by epoch 5" in first
    assert "The weights of epoch 3 were kept." in first
    assert both == "In that epoch 90.0% of training pictures and 80.0% of validation pictures were right."


def test_a_loss_that_still_falls_says_so_and_one_at_rest_does_not():
    assert "still falling in epoch 5, the last" in course(2.0, 1.5, 1.1, 0.8, 0.5).sentences()[0]
    assert "had come to rest" in course(2.0, 1.0, 0.6, 0.5, 0.49).sentences()[0]


def test_a_loss_that_jumps_is_no_overfitting():
    (first, _both) = course(60.0, 9e7, 11.5, 5e9, 2e9).sentences()
    assert "jumped, from 60 after the first epoch to 5e+09" in first
    assert "11.5 in epoch 3" in first


@pytest.mark.parametrize("losses", [[], [None, float("nan")]])
def test_without_losses_there_is_no_course(losses):
    assert Course.of(rows(losses)) is None


def test_the_epoch_that_was_kept_counts_whatever_its_loss():
    found = course(1.0, 0.4, 0.5, best=3)
    assert (found.best, found.best_loss) == (3, 0.5)
    assert course(1.0, 0.4, best=9).best == 2


def test_one_epoch_has_nothing_to_read():
    assert course(1.0).sentences() == []
