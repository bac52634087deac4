"""Whether fine-tuning is worth its time: enough mistakes, and pictures unlike those of the pretraining."""

import pytest

from kilat.learn.prospects import Prospects


@pytest.mark.parametrize(
    ("pictures", "mistakes", "shift", "objection"),
    [
        (270, 1, 0.4, "finetuning_few_mistakes"),  # handwritten digits
        (15, 3, 0.02, "finetuning_few_mistakes"),  # 20 flowers a class
        (550, 27, 0.02, "finetuning_like_pretraining"),  # flowers
        (300, 30, 0.12, "finetuning_like_pretraining"),  # 2,000 of Fashion-MNIST
        (10_000, 700, 0.12, ""),  # all of it
        (150, 45, 0.5, ""),  # inspection pictures
        (9_000, 900, 0.06, ""),  # CIFAR-10
        (5_000, 500, 0.02, ""),  # with so many validation pictures a small gain shows
        (300, 30, None, ""),  # a backbone of which nothing is known
    ],
)
def test_it_is_tried_where_a_gain_could_show(pictures, mistakes, shift, objection):
    prospects = Prospects(pictures, mistakes, shift)
    assert prospects.objection == objection
    if objection:
        assert f"{pictures:,} validation pictures" in prospects.note().sentence()


def test_the_gain_that_is_needed_falls_with_the_root_of_the_pictures():
    few, many = (Prospects(count, 50, 0.1).needed_gain for count in (100, 400))
    assert few == pytest.approx(2 * many)


def test_the_gain_that_is_expected_grows_with_the_shift_up_to_a_half():
    gains = [Prospects(300, 50, shift).expected_gain for shift in (0.0, 0.05, 0.1, 1.0, 10.0)]
    assert gains == sorted(gains)
    assert gains[-1] == 0.5
