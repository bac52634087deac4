"""Cutout, Random Erasing, MixUp and CutMix: the pictures and their targets."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from scipy import stats  # noqa: E402 - after the check for the extra

from kilat.fit.augment import mixing, random  # noqa: E402
from kilat.fit.augment.augmenter import Augmenter  # noqa: E402
from kilat.recipe import Augment  # noqa: E402


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def numbered(n=64, height=8, width=6):
    """Picture i is all i, and of class i: what came from where can be read off."""
    return torch.arange(n).float().view(-1, 1, 1, 1).expand(n, 1, height, width).clone(), torch.eye(n)


@pytest.mark.parametrize("side", [1, 3, 4])
def test_cutout_is_one_grey_square_that_the_border_may_cut(side):
    planes = torch.zeros(500, 3, 10, 10)
    grey = mixing.cutout(planes, side, seeded()) == mixing.MEAN_GREY
    assert torch.equal(grey[:, :1].expand_as(grey), grey)  # all channels alike
    heights, widths = grey[:, 0].any(2).sum(1), grey[:, 0].any(1).sum(1)
    assert torch.equal(grey[:, 0].sum((1, 2)), heights * widths)  # a rectangle
    assert heights.max() == widths.max() == side
    assert heights.min() >= (side + 1) // 2
    whole = (heights == side) & (widths == side)
    expected = ((11 - side) / 10) ** 2
    assert abs(whole.float().mean() - expected) < 0.1
    assert grey[:, 0].any(0).all()  # every pixel is hit by some


def test_cutout_changes_nothing_else():
    planes = torch.rand(20, 3, 9, 9, generator=seeded(1)) * 100
    cut = mixing.cutout(planes, 4, seeded())
    assert torch.equal(cut[cut != mixing.MEAN_GREY], planes[cut != mixing.MEAN_GREY])


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_erasing_is_one_grey_rectangle_inside_of_a_share_of_the_pictures(share):
    planes = torch.rand(1000, 3, 40, 30, generator=seeded(1)) * 100
    erased = mixing.erasing(planes, share, seeded())
    grey = erased == mixing.MEAN_GREY
    assert torch.equal(grey[:, :1].expand_as(grey), grey)  # all channels alike
    assert torch.equal(erased[~grey], planes[~grey])
    heights, widths = grey[:, 0].any(2).sum(1), grey[:, 0].any(1).sum(1)
    areas = grey[:, 0].sum((1, 2))
    assert torch.equal(areas, heights * widths)  # a rectangle
    hit = areas > 0
    assert abs(hit.float().mean() - share) < 4 * (share * (1 - share) / 1000) ** 0.5 + 1e-6
    assert areas[hit].min() / 1200 > 0.015  # sides are whole pixels
    assert areas.max() / 1200 < 0.345
    aspect = (heights / widths)[hit]
    assert 0.25 < aspect.min() < 0.5
    assert 2.5 < aspect.max() < 4


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 9), (4, 4)])
def test_erasing_leaves_something_of_tiny_pictures(height, width):
    erased = mixing.erasing(torch.zeros(200, 1, height, width), 1.0, seeded())
    assert (erased == 0).flatten(1).any(1).all()


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_shares_follow_the_beta_distribution(alpha):
    shares = random.beta(4000, alpha, seeded()).numpy()
    assert stats.kstest(shares, stats.beta(alpha, alpha).cdf).pvalue > 0.01
    assert np.array_equal(shares, random.beta(4000, alpha, seeded()).numpy())


def test_mixup_blends_pictures_and_targets_alike():
    planes, targets = numbered()
    mixed, soft = mixing.mixup(planes, targets, 0.5, seeded())
    worth = soft @ torch.arange(64.0)  # what the targets say is in the picture
    torch.testing.assert_close(mixed[:, 0, 0, 0], worth, atol=1e-3, rtol=1e-4)
    assert (soft.count_nonzero(1) <= 2).all()
    assert len(soft.diagonal().unique()) > 50  # a share for every picture
    torch.testing.assert_close(soft.sum(1), torch.ones(64))


def test_mixup_takes_every_picture_as_partner_once():
    planes, targets = numbered()
    _, soft = mixing.mixup(planes, targets, 1.0, seeded())
    partners = (soft - torch.diag(soft.diagonal())).argmax(1)
    others = soft.diagonal() < 1
    assert len(partners[others].unique()) == others.sum()


def test_cutmix_targets_are_the_true_areas():
    planes, targets = numbered()
    mixed, soft = mixing.cutmix(planes, targets, 1.0, seeded())
    for number, picture in enumerate(mixed):
        shares = torch.bincount(picture.flatten().long(), minlength=64) / picture.numel()
        torch.testing.assert_close(soft[number], shares)
    assert (soft.diagonal() < 1).float().mean() > 0.7


def test_cutmix_pastes_a_box_from_the_same_place():
    planes = torch.rand(32, 3, 8, 6, generator=seeded(1))
    mixed, _ = mixing.cutmix(planes, torch.eye(32), 1.0, seeded())
    for own, picture in zip(planes, mixed, strict=True):
        pasted = (picture != own).any(0)
        assert pasted.sum() == pasted.any(0).sum() * pasted.any(1).sum()  # a rectangle
        sources = [(picture == other)[:, pasted].all() for other in planes]
        assert any(sources)


@pytest.mark.parametrize("choices", [{"mixup": 0.3}, {"cutmix": 1.0}, {"mixup": 0.3, "cutmix": 1.0}])
@pytest.mark.parametrize("n", [1, 7])
def test_targets_always_add_up_to_one(choices, n):
    pixels = torch.randint(0, 256, (n, 5, 5, 3), dtype=torch.uint8, generator=seeded())
    augmenter, generator = Augmenter(Augment(**choices)), seeded()
    for _ in range(20):
        _, targets = augmenter(pixels, torch.eye(3)[torch.arange(n) % 3], generator)
        torch.testing.assert_close(targets.sum(1), torch.ones(n))
        assert targets.min() >= 0


def test_with_both_each_batch_gets_one_of_them():
    pixels = numbered(32)[0].permute(0, 2, 3, 1).to(torch.uint8)
    augmenter, generator = Augmenter(Augment(mixup=1.0, cutmix=1.0)), seeded()
    blended = 0
    for _ in range(60):
        planes, _ = augmenter(pixels, torch.eye(32), generator)
        blended += not torch.equal(planes, planes.round())
    assert 15 <= blended <= 45
