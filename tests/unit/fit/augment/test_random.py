"""Alternating flips: half of the pictures are mirrored in an epoch, the others in the next."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from kilat.fit.augment import random  # noqa: E402

ROWS = np.arange(20_000)


def test_the_other_half_is_mirrored_in_the_next_epoch():
    first, second, third = (random.alternating(ROWS, seed=3, epoch=epoch) for epoch in range(3))
    # Five standard deviations of a fair coin.
    assert abs(int(first.sum()) - len(ROWS) / 2) < 5 * (len(ROWS) / 4) ** 0.5
    assert torch.equal(second, ~first)
    assert torch.equal(third, first)


def test_it_depends_on_the_picture_and_the_seed_alone():
    chosen = np.random.default_rng(0).permutation(ROWS)[:500]
    whole = random.alternating(ROWS, seed=3, epoch=0)
    assert torch.equal(random.alternating(chosen, seed=3, epoch=0), whole[torch.from_numpy(chosen)])
    for other in (random.alternating(ROWS, seed=4, epoch=0), whole.roll(1)):
        assert abs(int((other == whole).sum()) - len(ROWS) / 2) < 5 * (len(ROWS) / 4) ** 0.5
